//! Where a file has its rules: it is a rules file, or it carries one or several, as a ConfigMap does and as values of
//! prometheus-adapter's chart and ours do.
//!
//! What is taken out of a file keeps its places in the file.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::yaml::{self, InnerText, Key, Node, Place, Value, YamlError};

/// A rules file, and what it stands in.
#[derive(Debug)]
pub struct Carried {
    /// The rules file.
    pub rules: Node,
    /// The values of the chart that it was put together from.
    pub values: Option<Node>,
}

/// What a text carries.
#[derive(Debug, Default)]
pub struct Found {
    /// The rules files, in the order of the text.
    pub files: Vec<Carried>,
    /// The manifests that are rules of teams.
    pub team_rules: Vec<Node>,
    /// Why the text, or a part of it that should have rules, cannot be read; or that there are no rules at all.
    pub problems: Vec<YamlError>,
    /// Why texts cannot be read of which nothing says that they should have rules.
    unread: Vec<YamlError>,
    /// The kinds of the manifests.
    kinds: Vec<String>,
}

/// A place in manifests of a kind where rules may be.
struct Carrier {
    kind: &'static str,
    /// Keys, of which `*` is any. The items of a list are looked at one by one.
    path: &'static str,
    holds: Holds,
}

#[derive(Clone, Copy, PartialEq)]
enum Holds {
    /// A text, which is a rules file, values, manifests or a JSON patch.
    AnyText,
    /// The same in base64. What is in it stands where the whole does.
    Base64,
    /// A text of values.
    ValuesText,
    /// Values.
    Values,
    /// Manifests.
    Manifests,
}

const fn carrier(kind: &'static str, path: &'static str, holds: Holds) -> Carrier {
    Carrier { kind, path, holds }
}

/// What is known of manifests. What they refer to, such as `valuesFrom` and `valueFiles`, is in other files.
const CARRIERS: &[Carrier] = &[
    carrier("ConfigMap", "data.*", Holds::AnyText),
    carrier("ConfigMap", "binaryData.*", Holds::Base64),
    carrier("Secret", "stringData.*", Holds::AnyText),
    carrier("Secret", "data.*", Holds::Base64),
    // Of whatever kind: kubectl writes `List`, the API server `ConfigMapList`.
    carrier("List", "items", Holds::Manifests),
    carrier("ConfigMapList", "items", Holds::Manifests),
    carrier("SecretList", "items", Holds::Manifests),
    // OpenShift.
    carrier("Template", "objects", Holds::Manifests),
    // Flux and its controller before.
    carrier("HelmRelease", "spec.values", Holds::Values),
    // Argo CD.
    carrier("Application", "spec.source.helm.values", Holds::ValuesText),
    carrier("Application", "spec.source.helm.valuesObject", Holds::Values),
    carrier("Application", "spec.sources.helm.values", Holds::ValuesText),
    carrier("Application", "spec.sources.helm.valuesObject", Holds::Values),
    carrier("ApplicationSet", "spec.template.spec.source.helm.values", Holds::ValuesText),
    carrier("ApplicationSet", "spec.template.spec.source.helm.valuesObject", Holds::Values),
    carrier("ApplicationSet", "spec.template.spec.sources.helm.values", Holds::ValuesText),
    carrier("ApplicationSet", "spec.template.spec.sources.helm.valuesObject", Holds::Values),
    // k3s and RKE2.
    carrier("HelmChart", "spec.valuesContent", Holds::ValuesText),
    carrier("HelmChartConfig", "spec.valuesContent", Holds::ValuesText),
    carrier("Kustomization", "helmCharts.valuesInline", Holds::Values),
    carrier("Kustomization", "patches.patch", Holds::AnyText),
    carrier("Kustomization", "patchesStrategicMerge", Holds::AnyText),
    carrier("Kustomization", "patchesJson6902.patch", Holds::AnyText),
];

/// What the chart has under `rules`, and what a rules file calls it.
const SECTIONS: &[(&str, &str)] =
    &[("custom", "rules"), ("external", "externalRules"), ("resource", "resourceRules")];

/// What else the chart has there.
const SWITCHES: &[&str] = &["default", "existing"];

/// What no other file has than one with rules.
const RULE_KEYS: &[&str] = &["seriesQuery", "metricsQuery", "containerQuery"];

/// How many texts are looked at that stand in each other.
const MAX_INNER_TEXTS: usize = 4;

/// Everything that a text carries.
pub fn find(text: &str) -> Found {
    let mut found = Found::default();
    match yaml::documents(text) {
        Err(error) => found.problems.push(error),
        Ok(documents) => found.file(documents, text),
    }
    found
}

/// The rules file that a text is or carries, for somebody who needs exactly one.
pub fn one(text: &str) -> Result<Carried, Vec<YamlError>> {
    let Found { files, mut problems, .. } = find(text);
    let mut files = files.into_iter();
    let first = files.next();
    if first.is_none() && problems.is_empty() {
        let message = "rules of teams are objects of the cluster, and no rules file";
        problems.push(YamlError::new(Place::START, message));
    }
    if let Some(second) = files.next() {
        let message = "a second rules file in this one, and only one can be used";
        problems.push(YamlError::new(second.rules.place, message));
    }
    match first {
        Some(first) if problems.is_empty() => Ok(first),
        _ => Err(problems),
    }
}

impl Found {
    fn file(&mut self, mut documents: Vec<Node>, text: &str) {
        if let [only] = documents.as_slice()
            && kind(only).is_none()
        {
            if let Value::Sequence(items) = &only.value
                && items.iter().any(|item| item.get("op").is_some())
            {
                self.json_patch(items, text, 0);
                return self.say_if_empty(only.place);
            }
            return documents.drain(..).for_each(|only| self.plain_file(only));
        }
        let Some(first) = documents.first().map(|node| node.place) else {
            let nothing = Node { place: Place::START, quote: None, value: Value::Null };
            return self.files.push(Carried { rules: nothing, values: None });
        };
        if let Some(second) = documents.get(1)
            && documents.iter().any(|document| kind(document).is_none())
        {
            let message = "the file holds several YAML documents; one is expected";
            return self.problems.push(YamlError::new(second.place, message));
        }
        for document in &documents {
            self.manifest(document, text, 0);
        }
        self.say_if_empty(first);
    }

    /// A file that is no manifest. What is neither values nor has any known key is taken for a rules file with problems where
    /// that is more helpful than the error that it is none.
    fn plain_file(&mut self, node: Node) {
        let Value::Mapping(entries) = &node.value else {
            return self.files.push(Carried { rules: node, values: None });
        };
        if is_values(&node) {
            return self.add_values(&node);
        }
        if let Some(rules) = node.get("rules")
            && matches!(rules.value, Value::Mapping(_))
        {
            let message = "`rules` is neither a list, as in a rules file, nor a mapping with `custom`, `external` or `resource`, as in the chart's values";
            return self.problems.push(YamlError::new(rules.place, message));
        }
        let is_near = |key: &Key| {
            let mut known = SECTIONS.iter().map(|(_, known)| *known).chain([
                "backends",
                "delegates",
                "teamRules",
            ]);
            known.any(|known| strsim::damerau_levenshtein(known, &key.text) <= 2)
        };
        // An empty mapping is an empty file.
        if entries.is_empty() || entries.iter().any(|(key, _)| is_near(key)) {
            return self.files.push(Carried { rules: node, values: None });
        }
        self.umbrella(&node);
        self.say_if_empty(node.place);
    }

    fn say_if_empty(&mut self, place: Place) {
        if !self.files.is_empty() || !self.problems.is_empty() || !self.team_rules.is_empty() {
            return;
        }
        self.problems.append(&mut self.unread);
        self.kinds.sort();
        self.kinds.dedup();
        let looked_at: Vec<_> = self
            .kinds
            .iter()
            .map(|kind| {
                let paths: Vec<_> =
                    carriers(kind).map(|carrier| format!("`{}`", carrier.path)).collect();
                if paths.is_empty() {
                    format!("{kind}, which is not looked into")
                } else {
                    format!("{} of {kind}", paths.join(" and "))
                }
            })
            .collect();
        let message = if looked_at.is_empty() {
            "no rules found: a rules file has `rules`, `externalRules` or `resourceRules`, and the chart's values have `custom`, `external` or `resource` under `rules`".to_owned()
        } else {
            format!("no rules found in {}", looked_at.join("; "))
        };
        self.problems.push(YamlError::new(place, message));
    }

    fn manifest(&mut self, node: &Node, text: &str, depth: usize) {
        let Some(kind) = kind(node) else { return };
        if is_team_rule(node, kind) {
            return self.team_rules.push(node.clone());
        }
        self.kinds.push(kind.to_owned());
        self.beside_data(node, kind);
        for carrier in carriers(kind) {
            for held in at(node, carrier.path) {
                match carrier.holds {
                    Holds::Manifests => self.manifest(held, text, depth),
                    Holds::Values => self.values(held),
                    Holds::AnyText | Holds::ValuesText => {
                        self.text(held, carrier.holds, text, depth);
                    }
                    Holds::Base64 => self.base64(held, depth),
                }
            }
        }
    }

    /// Texts with rules that stand beside an empty `data`, where nobody looks for them.
    fn beside_data(&mut self, node: &Node, kind: &str) {
        let Value::Mapping(entries) = &node.value else { return };
        let is_empty = |(key, node): &&(Key, Node)| {
            ["data", "stringData"].contains(&key.text.as_str()) && matches!(node.value, Value::Null)
        };
        if !["ConfigMap", "Secret"].contains(&kind) {
            return;
        }
        let Some((data, _)) = entries.iter().find(is_empty) else { return };
        for (key, value) in entries {
            let text = value.text().unwrap_or_default();
            if RULE_KEYS.iter().any(|rule_key| text.contains(rule_key)) {
                let message = format!(
                    "`{}` belongs to `{}`: indent it below that, which is empty",
                    key.text, data.text
                );
                self.problems.push(YamlError::new(key.place, message));
            }
        }
    }

    /// A text that is a scalar of another one.
    fn text(&mut self, scalar: &Node, holds: Holds, outer: &str, depth: usize) {
        let Some(text) = scalar.text() else {
            if is_values(scalar) || is_rules(scalar) {
                let message = "a text is expected here: write `|` behind the key";
                self.problems.push(YamlError::new(scalar.place, message));
            } else if is_rule(scalar) && self.problems.is_empty() {
                let message =
                    "this rule is beside the text that it belongs to: indent it below the `|`";
                self.problems.push(YamlError::new(scalar.place, message));
            }
            return;
        };
        let found = Self::of_text(text, holds, depth);
        if found.files.is_empty() && found.problems.is_empty() && found.unread.is_empty() {
            return;
        }
        let places = InnerText::new(scalar, outer);
        self.add(found, |place| places.outer(place));
    }

    /// A text in base64 that is a scalar of another one.
    fn base64(&mut self, scalar: &Node, depth: usize) {
        let Some(text) = scalar.text() else { return };
        // The API server accepts line breaks.
        let written = text.split_whitespace().collect::<String>();
        match STANDARD.decode(written) {
            // What is no text, such as a packed file, holds no rules.
            Ok(bytes) => {
                if let Ok(text) = String::from_utf8(bytes) {
                    self.add(Self::of_text(&text, Holds::AnyText, depth), |_inner| scalar.place);
                }
            }
            Err(_) if RULE_KEYS.iter().any(|key| text.contains(key)) => {
                let message = "base64 is expected here: a Secret has plain text under `stringData`, a ConfigMap under `data`";
                self.problems.push(YamlError::new(scalar.place, message));
            }
            Err(_) => {}
        }
    }

    /// What is in a text that is a scalar of another one, by the places in it.
    fn of_text(text: &str, holds: Holds, depth: usize) -> Self {
        let mut found = Self::default();
        if depth == MAX_INNER_TEXTS {
            return found;
        }
        match yaml::documents(text) {
            Ok(documents) => {
                for document in documents {
                    found.document(document, holds, text, depth + 1);
                }
            }
            Err(error) if RULE_KEYS.iter().any(|key| text.contains(key)) => {
                found.problems.push(error);
            }
            Err(error) => found.unread.push(error),
        }
        found
    }

    /// Takes in what a part of the text has. `outer` returns the place in the text of a place in the part.
    fn add(&mut self, found: Self, outer: impl Fn(Place) -> Place) {
        for mut carried in found.files {
            carried.rules.relocate(&outer);
            if let Some(values) = &mut carried.values {
                values.relocate(&outer);
            }
            self.files.push(carried);
        }
        self.problems.extend(found.problems.into_iter().map(|error| error.relocated(&outer)));
        self.unread.extend(found.unread.into_iter().map(|error| error.relocated(&outer)));
    }

    fn document(&mut self, node: Node, holds: Holds, text: &str, depth: usize) {
        if holds == Holds::ValuesText || is_values(&node) {
            self.values(&node);
        } else if kind(&node).is_some() {
            self.manifest(&node, text, depth);
        } else if is_rules(&node) {
            self.files.push(Carried { rules: node, values: None });
        } else if let Value::Sequence(operations) = &node.value {
            self.json_patch(operations, text, depth);
        } else {
            self.umbrella(&node);
        }
    }

    /// The texts that a JSON patch sets.
    fn json_patch(&mut self, operations: &[Node], text: &str, depth: usize) {
        let set = operations.iter().filter(|operation| operation.get("op").is_some());
        for value in set.filter_map(|operation| operation.get("value")) {
            if value.text().is_some() {
                self.text(value, Holds::AnyText, text, depth);
            }
        }
    }

    /// Values of a chart, which may be another one.
    fn values(&mut self, node: &Node) {
        if is_values(node) {
            self.add_values(node);
        } else if let Some(rules) = node.get("rules")
            && is_rules(node)
        {
            let message = "`rules` of the chart's values is a mapping with `custom`, `external` and `resource`, not a list";
            self.problems.push(YamlError::new(rules.place, message));
        } else {
            self.umbrella(node);
        }
    }

    /// Values of a chart that has others in it, whose values stand under their names.
    fn umbrella(&mut self, node: &Node) {
        let Value::Mapping(entries) = &node.value else { return };
        for (_, node) in entries {
            if is_values(node) {
                self.add_values(node);
            } else {
                self.umbrella(node);
            }
        }
    }

    fn add_values(&mut self, values: &Node) {
        let Some(Node { place, value: Value::Mapping(entries), .. }) = values.get("rules") else {
            return;
        };
        let file = entries.iter().filter_map(|(key, node)| {
            let (_, ours) = SECTIONS.iter().find(|(section, _)| *section == key.text)?;
            let text = (*ours).to_owned();
            Some((Key { text, ..key.clone() }, node.clone()))
        });
        let rules = Node { place: *place, quote: None, value: Value::Mapping(file.collect()) };
        self.files.push(Carried { rules, values: Some(values.clone()) });
    }
}

/// The kind of a manifest. Values of a chart may have a key of that name, too.
fn kind(node: &Node) -> Option<&str> {
    let is_manifest = node.get("apiVersion").is_some() || node.get("rules").is_none();
    node.get("kind").filter(|_| is_manifest)?.text()
}

/// Whether a manifest is a rule of a team.
fn is_team_rule(node: &Node, kind: &str) -> bool {
    let version = node.get("apiVersion").and_then(Node::text).unwrap_or_default();
    version.starts_with("loadline.dev/") && ["MetricRule", "ClusterMetricRule"].contains(&kind)
}

fn carriers(kind: &str) -> impl Iterator<Item = &'static Carrier> {
    CARRIERS.iter().filter(move |carrier| carrier.kind == kind)
}

/// What stands at a path of a [`Carrier`].
fn at<'n>(node: &'n Node, path: &str) -> Vec<&'n Node> {
    path.split('.').fold(vec![node], |nodes, step| {
        let found = nodes.into_iter().flat_map(|node| match (&node.value, step) {
            (Value::Mapping(entries), "*") => entries.iter().map(|(_, node)| node).collect(),
            _ => Vec::from_iter(node.get(step)),
        });
        let items = found.flat_map(|node| match &node.value {
            Value::Sequence(items) => items.iter().collect(),
            _ => vec![node],
        });
        items.collect()
    })
}

/// Whether these are values of our chart or prometheus-adapter's.
fn is_values(node: &Node) -> bool {
    let known = || SECTIONS.iter().map(|(section, _)| section).chain(SWITCHES);
    matches!(
        node.get("rules").map(|rules| &rules.value),
        Some(Value::Mapping(entries))
            if entries.iter().any(|(key, _)| known().any(|known| *known == key.text))
    )
}

/// Whether this is a rules file, and not something else with a key `rules`.
fn is_rules(node: &Node) -> bool {
    let Value::Mapping(entries) = &node.value else { return false };
    entries.iter().any(|(key, node)| match (key.text.as_str(), &node.value) {
        ("externalRules" | "resourceRules", _)
        | ("rules", Value::Null)
        | ("delegates", Value::Sequence(_)) => true,
        ("rules", Value::Sequence(items)) => items.is_empty() || items.iter().any(is_rule),
        _ => false,
    })
}

fn is_rule(node: &Node) -> bool {
    let Value::Mapping(entries) = &node.value else { return false };
    let is_known = |key: &str| RULE_KEYS.iter().any(|known| key.eq_ignore_ascii_case(known));
    entries.iter().any(|(key, _)| is_known(&key.text))
}

#[cfg(test)]
mod tests;
