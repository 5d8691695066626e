//! The rules file as it is written: values and their places. Nothing is compiled here.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Aggregate, ComputeResource, Nan, OnEmpty, Problem, RuleId,
    content::Content,
    fields::{Fields, Flag, Text},
    form::Problems,
    keys::{FILE, GROUP_RESOURCE},
};
use crate::core::{
    key_path::KeyPath,
    yaml::{Node, Place, Value},
};

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct RulesFile {
    pub(super) rules: Vec<Rule>,
    /// Each with its `aggregate`.
    pub(super) external_rules: Vec<(Rule, Aggregate)>,
    pub(super) resource_rules: Option<ResourceRules>,
    pub(super) backends: Vec<Backend>,
    /// Whether one of the keys for rules has a value, if only an empty one.
    pub(super) names_rules: bool,
}

/// One entry of `rules` or `externalRules`.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: RuleId,
    pub(super) place: Place,
    pub(super) content: Content,
    pub(super) series_query: Text,
    pub(super) series_filters: Vec<Filter>,
    pub(super) resources: Resources,
    pub(super) name_matches: Text,
    pub(super) name_as: Text,
    pub(super) metrics_query: Text,
    pub(super) is_static: Flag,
    pub(super) window: Option<Duration>,
    pub(super) nan: Option<Nan>,
    pub(super) on_empty: OnEmpty,
    pub(super) options: Options,
}

/// What rules of all kinds have.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) cache_ttl: Option<Duration>,
    pub(super) max_stale: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) prometheus: Text,
    /// Header to value, in the order of the file.
    pub(super) headers: Vec<(String, Text)>,
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

/// `resourceRules`.
#[derive(Debug)]
pub(super) struct ResourceRules {
    pub(super) cpu: Option<ResourceRule>,
    pub(super) memory: Option<ResourceRule>,
    pub(super) window: Option<Duration>,
}

/// `resourceRules.cpu` or `resourceRules.memory`.
#[derive(Debug)]
pub(super) struct ResourceRule {
    pub(super) resource: ComputeResource,
    pub(super) place: Place,
    pub(super) content: Content,
    pub(super) container_query: Text,
    pub(super) node_query: Text,
    pub(super) container_label: Text,
    pub(super) resources: Resources,
    pub(super) options: Options,
}

/// One entry of `backends`.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) path: KeyPath,
    pub(super) place: Place,
    pub(super) content: Content,
    pub(super) name: Text,
    pub(super) url: Text,
    pub(super) headers: Vec<(String, Text)>,
    pub(super) token_file: Text,
    pub(super) ca_file: Text,
    pub(super) client_tls_cert_file: Text,
    pub(super) client_tls_key_file: Text,
    pub(super) auth_in_cluster: Flag,
    pub(super) auth_config: Text,
    pub(super) verb: Text,
    pub(super) timeout: Option<Duration>,
    pub(super) discovery_timeout: Option<Duration>,
    pub(super) concurrency: Option<u32>,
}

/// Takes the file apart, or says everything that is wrong with its form.
pub(super) fn read(root: &Node) -> Result<RulesFile, Vec<Problem>> {
    if matches!(root.value, Value::Null) {
        return Ok(RulesFile::default());
    }
    let mut problems = Problems::default();
    problems.check(root, &KeyPath::default(), &FILE);
    let fields = Fields::of(root, KeyPath::default(), &FILE);
    for key in ["rules", "externalRules"] {
        for rule in fields.items(key) {
            check_filters(&rule, &mut problems);
        }
    }
    problems.into_result()?;
    let custom_rule =
        |(position, fields): (usize, Fields<'_>)| rule(&fields, "rules", RuleId::Custom(position));
    let external_rule = |(position, fields): (usize, Fields<'_>)| {
        let aggregate = aggregate(&fields.text("aggregate").value);
        (rule(&fields, "externalRules", RuleId::External(position)), aggregate)
    };
    Ok(RulesFile {
        rules: (0..).zip(fields.items("rules")).map(custom_rule).collect(),
        external_rules: (0..).zip(fields.items("externalRules")).map(external_rule).collect(),
        resource_rules: fields.object("resourceRules").map(|rules| resource_rules(&rules)),
        backends: fields.items("backends").map(|backend| self::backend(&backend)).collect(),
        names_rules: ["rules", "externalRules", "resourceRules"]
            .iter()
            .any(|key| fields.get(key).is_some()),
    })
}

/// Each filter says one thing.
fn check_filters(rule: &Fields<'_>, problems: &mut Problems) {
    for filter in rule.items("seriesFilters") {
        let given = ["is", "isNot"].map(|key| !filter.text(key).value.is_empty());
        if given[0] == given[1] && filter.is_mapping {
            let message = "exactly one of `is` and `isNot` is expected";
            problems.add(filter.place, &filter.path, message);
        }
    }
}

fn rule(fields: &Fields<'_>, list: &str, id: RuleId) -> Rule {
    let name = fields.object("name");
    let name_text = |key| name.as_ref().map(|name| name.text(key)).unwrap_or_default();
    Rule {
        id,
        place: fields.place,
        content: fields.content(list),
        series_query: fields.text("seriesQuery"),
        series_filters: fields.items("seriesFilters").map(|filter| self::filter(&filter)).collect(),
        resources: resources(fields),
        name_matches: name_text("matches"),
        name_as: name_text("as"),
        metrics_query: fields.text("metricsQuery"),
        is_static: fields.flag("static"),
        window: fields.duration("window"),
        nan: match fields.text("nan").value.as_str() {
            "zero" => Some(Nan::Zero),
            "drop" => Some(Nan::Drop),
            _ => None,
        },
        on_empty: if fields.text("onEmpty").value == "zero" {
            OnEmpty::Zero
        } else {
            OnEmpty::Omit
        },
        options: options(fields),
    }
}

fn aggregate(word: &str) -> Aggregate {
    match word {
        "sum" => Aggregate::Sum,
        "max" => Aggregate::Max,
        "avg" => Aggregate::Avg,
        _ => Aggregate::None,
    }
}

fn options(fields: &Fields<'_>) -> Options {
    Options {
        cache_ttl: fields.duration("cacheTTL"),
        max_stale: fields.duration("maxStale"),
        timeout: fields.duration("timeout"),
        prometheus: fields.text("prometheus"),
        headers: fields.headers(),
    }
}

fn filter(fields: &Fields<'_>) -> Filter {
    let is = fields.text("is");
    let positive = !is.value.is_empty();
    Filter { pattern: if positive { is } else { fields.text("isNot") }, positive }
}

fn resources(rule: &Fields<'_>) -> Resources {
    let Some(fields) = rule.object("resources") else {
        return Resources::default();
    };
    let overrides = fields.entries_of("overrides").iter().map(|(label, node)| {
        let fields = Fields::of(node, KeyPath::default(), &GROUP_RESOURCE);
        let written = Override {
            place: node.place,
            group: fields.text("group").value,
            resource: fields.text("resource").value,
        };
        (label.text.trim().to_owned(), written)
    });
    Resources {
        template: fields.text("template"),
        overrides: overrides.collect(),
        namespaced: fields.get("namespaced").map(|_| fields.flag("namespaced").value),
    }
}

fn resource_rules(fields: &Fields<'_>) -> ResourceRules {
    ResourceRules {
        cpu: fields.object("cpu").map(|rule| resource_rule(&rule, ComputeResource::Cpu)),
        memory: fields.object("memory").map(|rule| resource_rule(&rule, ComputeResource::Memory)),
        window: fields.duration("window"),
    }
}

fn resource_rule(fields: &Fields<'_>, resource: ComputeResource) -> ResourceRule {
    ResourceRule {
        resource,
        place: fields.place,
        content: fields.content(&RuleId::Resource(resource).to_string()),
        container_query: fields.text("containerQuery"),
        node_query: fields.text("nodeQuery"),
        container_label: fields.text("containerLabel"),
        resources: resources(fields),
        options: options(fields),
    }
}

fn backend(fields: &Fields<'_>) -> Backend {
    Backend {
        path: fields.path.clone(),
        place: fields.place,
        content: fields.content("backends"),
        name: fields.text("name"),
        url: fields.text("url"),
        headers: fields.headers(),
        token_file: fields.text("tokenFile"),
        ca_file: fields.text("caFile"),
        client_tls_cert_file: fields.text("clientTLSCertFile"),
        client_tls_key_file: fields.text("clientTLSKeyFile"),
        auth_in_cluster: fields.flag("authInCluster"),
        auth_config: fields.text("authConfig"),
        verb: fields.text("verb"),
        timeout: fields.duration("timeout"),
        discovery_timeout: fields.duration("discoveryTimeout"),
        concurrency: fields.text("concurrency").value.parse().ok(),
    }
}
