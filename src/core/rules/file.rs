//! The rules file as it is written: keys, types and places. Nothing is compiled here.

use std::{collections::BTreeMap, time::Duration};

use super::Problem;
use crate::core::{
    duration,
    yaml::{Node, Place, Value},
};

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct RulesFile {
    pub(super) rules: Vec<Rule>,
    pub(super) external_rules: Vec<Rule>,
    pub(super) resource_rules: Option<ResourceRules>,
}

/// One entry of `rules` or `externalRules`.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) series_query: Text,
    pub(super) series_filters: Vec<Filter>,
    pub(super) resources: Resources,
    pub(super) name_matches: Text,
    pub(super) name_as: Text,
    pub(super) metrics_query: Text,
}

/// A string and where it stands; empty where the key is absent, with the place of what should hold it.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) place: Place,
}

/// One entry of `seriesFilters`.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) pattern: Text,
    pub(super) positive: bool,
}

/// `resources`.
#[derive(Clone, Debug, Default)]
pub(super) struct Resources {
    pub(super) template: Text,
    /// Label to group and resource.
    pub(super) overrides: BTreeMap<String, Override>,
    pub(super) namespaced: Option<bool>,
}

/// One entry of `resources.overrides`.
#[derive(Clone, Debug)]
pub(super) struct Override {
    pub(super) place: Place,
    pub(super) group: String,
    pub(super) resource: String,
}

/// `resourceRules`, as written.
#[derive(Debug)]
pub struct ResourceRules {
    /// How CPU is queried, in cores.
    pub cpu: Option<ResourceRule>,
    /// How memory is queried, in bytes.
    pub memory: Option<ResourceRule>,
    /// The window that the answers report.
    pub window: Option<Duration>,
}

/// One entry of `resourceRules`, as written.
#[derive(Debug)]
pub struct ResourceRule {
    /// The template of the query for containers.
    pub container_query: String,
    /// The template of the query for nodes.
    pub node_query: String,
    /// The label that holds the container's name.
    pub container_label: String,
}

/// Takes the file apart, or says everything that is wrong with its form.
pub(super) fn read(root: &Node) -> Result<RulesFile, Vec<Problem>> {
    let mut reader = Reader::default();
    let file = reader.file(root);
    if reader.problems.is_empty() {
        return Ok(file);
    }
    reader.problems.sort_by_key(|problem| problem.place);
    Err(reader.problems)
}

const FILE: &[&str] = &["rules", "externalRules", "resourceRules"];
const RULE: &[&str] = &["seriesQuery", "seriesFilters", "resources", "name", "metricsQuery"];
const RESOURCES: &[&str] = &["template", "overrides", "namespaced"];
const RESOURCE_RULES: &[&str] = &["cpu", "memory", "window"];
const RESOURCE_RULE: &[&str] = &["containerQuery", "nodeQuery", "resources", "containerLabel"];

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
}

/// A mapping whose keys have been checked, and the path to it.
struct Fields<'n> {
    path: String,
    place: Place,
    entries: &'n [(crate::core::yaml::Key, Node)],
}

impl<'n> Fields<'n> {
    /// The value of a key; an explicit null counts as absent, as in Go's YAML.
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(known, _)| known.text == key)
            .map(|(_, node)| node)
            .filter(|node| !matches!(node.value, Value::Null))
    }

    fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl Reader {
    fn file(&mut self, root: &Node) -> RulesFile {
        if matches!(root.value, Value::Null) {
            return RulesFile::default();
        }
        let Some(fields) = self.mapping(root, String::new(), FILE) else {
            return RulesFile::default();
        };
        RulesFile {
            rules: self.rules(&fields, "rules"),
            external_rules: self.rules(&fields, "externalRules"),
            resource_rules: fields
                .get("resourceRules")
                .and_then(|node| self.resource_rules(node, fields.path("resourceRules"))),
        }
    }

    fn rules(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Rule> {
        self.sequence(fields, key, Self::rule)
    }

    fn rule(&mut self, node: &Node, path: String) -> Option<Rule> {
        let fields = self.mapping(node, path, RULE)?;
        let name = fields
            .get("name")
            .and_then(|node| self.mapping(node, fields.path("name"), &["matches", "as"]));
        let (name_matches, name_as) = match &name {
            Some(name) => (self.text(name, "matches"), self.text(name, "as")),
            None => Default::default(),
        };
        Some(Rule {
            id: fields.path.clone(),
            place: node.place,
            series_query: self.text(&fields, "seriesQuery"),
            series_filters: self.sequence(&fields, "seriesFilters", Self::filter),
            resources: self.resources(&fields),
            name_matches,
            name_as,
            metrics_query: self.text(&fields, "metricsQuery"),
        })
    }

    fn filter(&mut self, node: &Node, path: String) -> Option<Filter> {
        let fields = self.mapping(node, path, &["is", "isNot"])?;
        let is = self.text(&fields, "is");
        let is_not = self.text(&fields, "isNot");
        match (is.value.is_empty(), is_not.value.is_empty()) {
            (false, true) => Some(Filter { pattern: is, positive: true }),
            (true, false) => Some(Filter { pattern: is_not, positive: false }),
            _ => {
                let message = "exactly one of `is` and `isNot` is expected";
                self.problem(node.place, fields.path, message.to_owned());
                None
            }
        }
    }

    fn resources(&mut self, rule: &Fields<'_>) -> Resources {
        let Some(node) = rule.get("resources") else {
            return Resources::default();
        };
        let Some(fields) = self.mapping(node, rule.path("resources"), RESOURCES) else {
            return Resources::default();
        };
        Resources {
            template: self.text(&fields, "template"),
            overrides: self.overrides(&fields),
            namespaced: self.boolean(&fields, "namespaced"),
        }
    }

    fn overrides(&mut self, resources: &Fields<'_>) -> BTreeMap<String, Override> {
        let path = resources.path("overrides");
        let Some(node) = resources.get("overrides") else {
            return BTreeMap::new();
        };
        let Value::Mapping(entries) = &node.value else {
            let message = "a mapping from label to `{group, resource}` is expected";
            self.problem(node.place, path, message.to_owned());
            return BTreeMap::new();
        };
        let mut overrides = BTreeMap::new();
        for (label, node) in entries {
            let path = format!("{path}.{}", label.text);
            if !is_label_name(&label.text) {
                let message = format!("`{}` is not a Prometheus label name", label.text);
                self.problem(label.place, path.clone(), message);
            }
            let Some(fields) = self.mapping(node, path, &["group", "resource"]) else {
                continue;
            };
            let group = self.text(&fields, "group").value;
            let resource = self.text(&fields, "resource").value;
            if resource.is_empty() {
                let message = "`resource` is required, such as `pod`";
                self.problem(node.place, fields.path, message.to_owned());
                continue;
            }
            let place = node.place;
            overrides.insert(label.text.clone(), Override { place, group, resource });
        }
        overrides
    }

    fn resource_rules(&mut self, node: &Node, path: String) -> Option<ResourceRules> {
        let fields = self.mapping(node, path, RESOURCE_RULES)?;
        let window = self.text(&fields, "window");
        let window = if window.value.is_empty() {
            None
        } else {
            let parsed = duration::parse_prometheus(&window.value).ok();
            if parsed.is_none() {
                let message = "a duration such as `5m` is expected";
                self.problem(window.place, fields.path("window"), message.to_owned());
            }
            parsed
        };
        let mut rule =
            |key: &str| fields.get(key).and_then(|node| self.resource_rule(node, fields.path(key)));
        Some(ResourceRules { cpu: rule("cpu"), memory: rule("memory"), window })
    }

    fn resource_rule(&mut self, node: &Node, path: String) -> Option<ResourceRule> {
        let fields = self.mapping(node, path, RESOURCE_RULE)?;
        // Its form is checked here; the resource metrics API is what compiles it.
        self.resources(&fields);
        Some(ResourceRule {
            container_query: self.text(&fields, "containerQuery").value,
            node_query: self.text(&fields, "nodeQuery").value,
            container_label: self.text(&fields, "containerLabel").value,
        })
    }

    fn mapping<'n>(&mut self, node: &'n Node, path: String, keys: &[&str]) -> Option<Fields<'n>> {
        let Value::Mapping(entries) = &node.value else {
            let message = format!("a mapping is expected, with the keys {}", quoted(keys));
            self.problem(node.place, path, message);
            return None;
        };
        let fields = Fields { path, place: node.place, entries };
        for (key, _) in entries {
            if keys.contains(&key.text.as_str()) {
                continue;
            }
            let message = match nearest(&key.text, keys) {
                Some(known) => format!("unknown key; did you mean `{known}`?"),
                None => format!("unknown key; expected one of {}", quoted(keys)),
            };
            self.problem(key.place, fields.path(&key.text), message);
        }
        Some(fields)
    }

    fn sequence<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        mut item: impl FnMut(&mut Self, &Node, String) -> Option<T>,
    ) -> Vec<T> {
        let Some(node) = fields.get(key) else {
            return Vec::new();
        };
        let path = fields.path(key);
        let Value::Sequence(items) = &node.value else {
            self.problem(node.place, path, "a list is expected".to_owned());
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .filter_map(|(index, node)| item(self, node, format!("{path}[{index}]")))
            .collect()
    }

    fn text(&mut self, fields: &Fields<'_>, key: &str) -> Text {
        let Some(node) = fields.get(key) else {
            return Text { value: String::new(), place: fields.place };
        };
        let value = match &node.value {
            Value::Scalar(value) => value.clone(),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => {
                self.problem(node.place, fields.path(key), "a string is expected".to_owned());
                String::new()
            }
        };
        Text { value, place: node.place }
    }

    fn boolean(&mut self, fields: &Fields<'_>, key: &str) -> Option<bool> {
        let text = self.text(fields, key);
        // The spellings of YAML 1.1, which Go's yaml.v2 reads.
        match text.value.to_lowercase().as_str() {
            "" => None,
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => {
                let message = format!("`{}` is neither true nor false", text.value);
                self.problem(text.place, fields.path(key), message);
                None
            }
        }
    }

    fn problem(&mut self, place: Place, path: String, message: String) {
        self.problems.push(Problem { place: Some(place), path, message });
    }
}

fn quoted(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// The known key that differs least, if it does not differ by more than a third of its letters.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|key| (strsim::damerau_levenshtein(&word.to_lowercase(), &key.to_lowercase()), *key))
        .filter(|(distance, key)| distance * 3 <= key.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

/// Whether this is a label name of Prometheus' classic data model, the only one that a query can write without quotes.
pub(crate) fn is_label_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|rest| rest.is_ascii_alphanumeric() || rest == '_')
}
