//! What queries are rendered from.

use std::sync::Arc;

use crate::core::{
    rules::{Fingerprint, QueryOptions, RuleId},
    template::QueryTemplate,
    yaml::Place,
};

/// What a rule's query reads of objects of one kind: a metric of the catalog, or the usage of pods or nodes.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What the rule is called in messages.
    pub rule: &'a RuleId,
    /// What the file says of the rule. Sources with the same fingerprint, series and label have the same queries.
    pub fingerprint: Fingerprint,
    /// Where the rule stands in its file.
    pub place: Place,
    /// The template of the query.
    pub query: &'a QueryTemplate,
    /// Whether the query sorts its samples, so that of several samples of an object the last one counts.
    pub is_sorted: bool,
    /// The series behind the metric; empty where the template names it.
    pub series: &'a Arc<str>,
    /// The label that holds an object's name.
    pub label: &'a Arc<str>,
    /// The label that holds the namespace, where the rule maps one.
    pub namespace_label: Option<&'a Arc<str>>,
    /// Whether the objects are in namespaces.
    pub is_namespaced: bool,
    /// The label that distinguishes the parts of an object that has several samples. The query groups by it, too.
    pub part_label: Option<&'a str>,
    /// How the query is sent, and how long its result is used.
    pub options: &'a QueryOptions,
}
