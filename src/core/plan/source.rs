//! What queries are rendered from.

use std::sync::Arc;

use crate::core::{
    catalog::Entry,
    rules::{Content, QueryOptions},
    template::QueryTemplate,
    yaml::Place,
};

/// Something that is read of objects of a kind by a rule's query: a metric of the catalog, or the usage of pods or nodes.
pub trait Source: Send + Sync {
    /// What the rule is called in messages.
    fn rule(&self) -> &str;

    /// What the file says of the rule. Sources with the same content, series and label have the same queries.
    fn content(&self) -> Content;

    /// Where the rule stands in its file.
    fn place(&self) -> Place;

    /// The template of the query.
    fn query(&self) -> &QueryTemplate;

    /// Whether the query puts its samples in an order, so that of several samples of an object the last one counts.
    fn is_sorted(&self) -> bool;

    /// The series behind the metric; empty where the template has it.
    fn series(&self) -> &Arc<str>;

    /// The label that holds an object's name.
    fn label(&self) -> &Arc<str>;

    /// The label that holds the namespace, where the rule maps one.
    fn namespace_label(&self) -> Option<&Arc<str>>;

    /// Whether the objects are in namespaces.
    fn is_namespaced(&self) -> bool;

    /// The label that tells the parts of an object apart, if it has several samples. The query groups by it, too.
    fn part_label(&self) -> Option<&str>;

    /// How the query is sent, and how long its answer is used.
    fn options(&self) -> &QueryOptions;
}

impl Source for Entry {
    fn rule(&self) -> &str {
        &self.rule.id
    }

    fn content(&self) -> Content {
        self.rule.content
    }

    fn place(&self) -> Place {
        self.rule.place
    }

    fn query(&self) -> &QueryTemplate {
        &self.rule.query
    }

    fn is_sorted(&self) -> bool {
        self.rule.is_sorted
    }

    fn series(&self) -> &Arc<str> {
        &self.series
    }

    fn label(&self) -> &Arc<str> {
        &self.label
    }

    fn namespace_label(&self) -> Option<&Arc<str>> {
        self.namespace_label.as_ref()
    }

    fn is_namespaced(&self) -> bool {
        self.kind.namespaced
    }

    fn part_label(&self) -> Option<&str> {
        None
    }

    fn options(&self) -> &QueryOptions {
        &self.rule.options
    }
}
