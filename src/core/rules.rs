//! The rules file: what prometheus-adapter reads, strictly, with every problem and its place.
//!
//! Reading has two stages. A file that is not YAML, or that has unknown or malformed keys, is refused whole ([`load`]
//! fails with all problems). A rule that is well written but does not compile (a template, a regular expression) is left
//! out and reported, and the others go on, unless the caller is strict about it.

mod external;
mod file;
mod mapping;
mod naming;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub(crate) use file::is_label_name;
pub use file::{ResourceRule, ResourceRules};
pub use mapping::{Mapping, ResolvedMapping};
pub use naming::Namer;

use super::{
    series::SeriesSelector,
    template::{QueryArguments, QueryTemplate},
    window,
    yaml::{self, Place},
};

/// A compiled rules file.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// `rules`: custom.metrics.k8s.io, in the order of the file.
    pub custom: Vec<Arc<Rule>>,
    /// `externalRules`: external.metrics.k8s.io, in the order of the file.
    pub external: Vec<Arc<Rule>>,
    /// `resourceRules`: metrics.k8s.io, as written.
    pub resource: Option<ResourceRules>,
    /// Rules that were left out because they do not compile.
    pub broken: Vec<Problem>,
}

/// A rule that compiled.
#[derive(Debug)]
pub struct Rule {
    /// What the rule is called in messages: `rules[2]`, its position in the file.
    pub id: String,
    /// Where the rule stands in its file.
    pub place: Place,
    /// Which series the rule is about.
    pub selector: SeriesSelector,
    /// Which series names are taken and what they are called in the API.
    pub namer: Namer,
    /// Labels to resources and back.
    pub mapping: Mapping,
    /// The query's template.
    pub query: QueryTemplate,
    /// The range that the rule's queries look over in seconds, where it is known.
    pub window_seconds: Option<i64>,
}

/// Something wrong in a rules file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where in the file, if that is known.
    pub place: Option<Place>,
    /// The key's path: `rules[2].name.as`; empty for the file itself.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Reads and compiles a rules file. Fails with every problem of the file's form; rules that do not compile are left out
/// and stand in [`RuleSet::broken`].
pub fn load(text: &str) -> Result<RuleSet, Vec<Problem>> {
    let root = yaml::parse(text).map_err(|error| {
        vec![Problem { place: error.place, path: String::new(), message: error.message }]
    })?;
    let file = file::read(&root)?;
    let mut broken = Vec::new();
    let custom = compile_all(&file.rules, &mut broken);
    let external = external::check(compile_all(&file.external_rules, &mut broken), &mut broken);
    Ok(RuleSet { custom, external, resource: file.resource_rules, broken })
}

fn compile_all(written: &[file::Rule], broken: &mut Vec<Problem>) -> Vec<Arc<Rule>> {
    written.iter().filter_map(|rule| compile(rule, broken).map(Arc::new)).collect()
}

/// Compiles one rule, reporting everything that is wrong with it.
fn compile(rule: &file::Rule, broken: &mut Vec<Problem>) -> Option<Rule> {
    let problems_before = broken.len();
    let mut problem = |place: Place, key: &str, message: String| {
        broken.push(Problem { place: Some(place), path: format!("{}.{key}", rule.id), message });
    };
    if rule.series_query.value.trim().is_empty() {
        problem(rule.series_query.place, "seriesQuery", "a series selector is required".to_owned());
    }
    let namer = Namer::compile(rule, &mut problem);
    let mapping = Mapping::compile(rule, &mut problem);
    let query = if rule.metrics_query.value.is_empty() {
        problem(
            rule.metrics_query.place,
            "metricsQuery",
            "a query template is required".to_owned(),
        );
        None
    } else {
        QueryTemplate::compile(&rule.metrics_query.value)
            .map_err(|error| problem(rule.metrics_query.place, "metricsQuery", error.to_string()))
            .ok()
    };
    if broken.len() > problems_before {
        return None;
    }
    let query = query?;
    Some(Rule {
        window_seconds: window_seconds(&query),
        id: rule.id.clone(),
        place: rule.place,
        selector: SeriesSelector::new(&rule.series_query.value),
        namer: namer?,
        mapping: mapping?,
        query,
    })
}

/// The window is a matter of the template, not of what it is rendered with.
fn window_seconds(query: &QueryTemplate) -> Option<i64> {
    let rendered = query.render(&QueryArguments {
        series: "series",
        label_matchers: "label=\"value\"",
        label_values_by_name: &BTreeMap::new(),
        group_by: "label",
        group_by_slice: &["label".to_owned()],
    });
    window::seconds(&rendered.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = r#"
rules:
- seriesQuery: 'lsp_requests_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
- seriesQuery: 'queue_depth{namespace!=""}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: 'queue_depth{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}, namespaced: no}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
resourceRules:
  cpu:
    containerQuery: sum(rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>}[3m])) by (<<.GroupBy>>)
    nodeQuery: sum(rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>,id='/'}[3m])) by (<<.GroupBy>>)
    resources: {overrides: {node: {resource: node}}}
    containerLabel: container
  window: 3m
"#;

    #[track_caller]
    fn problems(text: &str) -> Vec<String> {
        match load(text) {
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
            Ok(rules) => rules.broken.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn reads_what_prometheus_adapter_reads() {
        let rules = load(LAB).unwrap();
        assert!(rules.broken.is_empty(), "{:?}", rules.broken);
        assert_eq!(rules.custom.len(), 2);
        assert_eq!(rules.custom[0].window_seconds, Some(60));
        assert_eq!(rules.custom[1].window_seconds, None);
        assert_eq!(rules.external[0].id, "externalRules[0]");
        assert!(!rules.external[0].mapping.namespaced());
        let resource = rules.resource.unwrap();
        assert_eq!(resource.window, Some(std::time::Duration::from_secs(180)));
        assert_eq!(resource.cpu.unwrap().container_label, "container");
        assert!(resource.memory.is_none());
    }

    #[test]
    fn an_empty_file_has_no_rules() {
        for text in ["", "rules:\n", "rules: []\nexternalRules: ~\n", "# nothing\n"] {
            let rules = load(text).unwrap();
            assert!(rules.custom.is_empty() && rules.external.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn reports_every_problem_of_form_with_its_place() {
        insta::assert_snapshot!(problems(
            "rules:\n- serieQuery: up\n  seriesFilters: [{is: a, isNot: b}, {}]\n  resources: {template: [x], namespaced: maybe}\n  name: 7\n- just a word\nexternalRule: []\nresourceRules: {cpu: {window: 5m}, window: forever}\n"
        ).join("\n"), @r"
        2:3: rules[0].serieQuery: unknown key; did you mean `seriesQuery`?
        3:19: rules[0].seriesFilters[0]: exactly one of `is` and `isNot` is expected
        3:38: rules[0].seriesFilters[1]: exactly one of `is` and `isNot` is expected
        4:25: rules[0].resources.template: a string is expected
        4:42: rules[0].resources.namespaced: `maybe` is neither true nor false
        5:9: rules[0].name: a mapping is expected, with the keys `matches`, `as`
        6:3: rules[1]: a mapping is expected, with the keys `seriesQuery`, `seriesFilters`, `resources`, `name`, `metricsQuery`
        7:1: externalRule: unknown key; did you mean `externalRules`?
        8:23: resourceRules.cpu.window: unknown key; expected one of `containerQuery`, `nodeQuery`, `resources`, `containerLabel`
        8:44: resourceRules.window: a duration such as `5m` is expected
        ");
    }

    #[test]
    fn a_rule_that_does_not_compile_leaves_the_others_alone() {
        let text = r#"
rules:
- seriesQuery: up
  name: {matches: "(", as: x}
  resources: {template: "kube"}
  metricsQuery: '<<.Serie>>'
- seriesQuery: 'up{pod!=""}'
  resources: {overrides: {pod: {resource: pod}}}
  name: {matches: "(a)(b)"}
  metricsQuery: '<<.Series>>'
- seriesQuery: 'up{pod!=""}'
  resources: {overrides: {pod: {resource: pod}}}
  metricsQuery: '<<.Series>>'
"#;
        let rules = load(text).unwrap();
        assert_eq!(rules.custom.len(), 1);
        assert_eq!(rules.custom[0].id, "rules[2]");
        let paths: Vec<_> = rules.broken.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "rules[0].name.matches",
                "rules[0].resources.template",
                "rules[0].metricsQuery",
                "rules[1].name.as"
            ]
        );
    }

    #[test]
    fn what_is_not_yaml_is_an_error_with_a_place() {
        let text = problems("rules:\n- seriesQuery: 'up\n").join("\n");
        assert!(text.starts_with("2:") || text.starts_with("3:"), "{text}");
    }
}
