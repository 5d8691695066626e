//! `resourceRules`.

use super::{super::*, problems};

const LABELS: &str = "resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}, instance: {resource: node}}}";

#[track_caller]
fn resource(text: &str) -> ResourceRules {
    let rules = load(text).unwrap();
    assert_eq!(rules.broken, []);
    rules.resource.unwrap()
}

#[test]
fn queries_are_rendered_as_prometheus_adapter_renders_them() {
    let rules = resource(&format!(
        "resourceRules: {{cpu: {{containerLabel: c, {LABELS}, cacheTTL: 5s, headers: {{X-A: b}}, containerQuery: 'sum by (<<.GroupBy>>) (rate(x<<.Series>>{{<<.LabelMatchers>>}}[3m]))', nodeQuery: 'sum(y{{<<.LabelMatchers>>}}) by (<<index .GroupBySlice 0>>)'}}}}"
    ));
    let cpu = rules.cpu.as_deref().unwrap();
    assert_eq!((cpu.resource, cpu.container_label.as_str()), (ComputeResource::Cpu, "c"));
    assert_eq!(cpu.options.cache_ttl.unwrap().as_secs(), 5);
    assert_eq!(cpu.options.headers.len(), 1);
    let mapping = cpu.mapping.resolve(&crate::core::kinds::Kinds::builtin());
    assert_eq!(mapping.namespace_label(), Some("ns"));
    let render = |query: &Option<Arc<QueryTemplate>>, matchers: &str, group_by: &[&str]| {
        let group_by: Vec<_> = group_by.iter().map(|&label| label.to_owned()).collect();
        query
            .as_ref()
            .unwrap()
            .render(&QueryArguments {
                series: "",
                label_matchers: matchers,
                label_values_by_name: &BTreeMap::new(),
                group_by: &group_by.join(","),
                group_by_slice: &group_by,
            })
            .unwrap()
    };
    assert_eq!(
        render(&cpu.container_query, "ns=\"a\",pod=~\"b|c\"", &["pod", "c"]),
        "sum by (pod,c) (rate(x{ns=\"a\",pod=~\"b|c\"}[3m]))"
    );
    assert_eq!(
        render(&cpu.node_query, "instance=\"n\"", &["instance"]),
        "sum(y{instance=\"n\"}) by (instance)"
    );
    assert!(rules.memory.is_none());
}

#[test]
fn the_window_is_the_files_or_the_queries_or_a_minute() {
    for (window, query, wanted) in [
        ("window: 5m, ", "rate(x[3m])", 300),
        ("window: 0, ", "rate(x[3m])", 0),
        ("", "rate(x[3m])", 180),
        ("", "x", 60),
    ] {
        let rules = resource(&format!(
            "resourceRules: {{{window}cpu: {{{LABELS}, nodeQuery: '{query}'}}}}"
        ));
        assert_eq!(rules.window.as_secs(), wanted, "{window} {query}");
    }
}

#[test]
fn what_does_not_compile_is_left_out_alone() {
    let text = format!(
        "resourceRules:\n  cpu: {{containerQuery: '<<.Nope>>', nodeQuery: x, prometheus: nobody, resources: {{overrides: {{pod: {{resource: pod}}}}}}}}\n  memory: {{nodeQuery: x, {LABELS}}}\n"
    );
    let rules = load(&text).unwrap();
    let resource = rules.resource.unwrap();
    assert!(resource.cpu.is_none() && resource.memory.is_some());
    assert!(resource.memory.unwrap().container_query.is_none());
    insta::assert_snapshot!(problems(&text).join("\n"));
    assert_eq!(
        problems("resourceRules: {memory: {}}"),
        [
            "1:25: resourceRules.memory.containerQuery: `containerQuery` for pods or `nodeQuery` for nodes is required"
        ]
    );
}
