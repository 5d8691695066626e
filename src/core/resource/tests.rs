//! Queries, proofs and readings of `resourceRules`.

use super::*;
use crate::core::{
    oddity::Oddity,
    plan::{self, Key, Objects, shareable},
    rules::load,
    samples::{Index, Vector},
    selector::Selector,
};

const RULES: &str = include_str!("../../../deploy/overlays/resource-metrics/config.yaml");

/// What kube-prometheus has for nodes: their names come from another series.
const JOINED: &str = "sum by (<<.GroupBy>>) ((1 - irate(node_cpu_seconds_total{mode=\"idle\"}[60s])) * on (namespace, pod) group_left (node) node_namespace_pod:kube_pod_info:{<<.LabelMatchers>>})";

#[track_caller]
fn sources(text: &str) -> UsageRules {
    let rules = load(text).unwrap();
    UsageRules::new(rules.resource.as_ref().unwrap()).unwrap()
}

fn named(names: &[&str]) -> Objects {
    Objects::Named(names.iter().map(|name| Arc::from(*name)).collect())
}

#[test]
fn queries_are_those_of_prometheus_adapter() {
    let sources = sources(RULES);
    let (pods, nodes) = (sources.pods.queries.unwrap(), sources.nodes.queries.unwrap());
    let exact = |source, namespace, names: &[&str]| {
        plan::exact(source, namespace, &named(names), &Selector::default()).unwrap().query
    };
    assert_eq!(
        &*exact(pods.cpu.source(), Some("team"), &["a", "b"]),
        r#"sum by (pod,container) (rate(container_cpu_usage_seconds_total{namespace="team",pod=~"a|b",container!="",pod!=""}[3m]))"#
    );
    assert_eq!(
        &*exact(nodes.memory.source(), None, &["n1"]),
        r#"sum by (node) (node_memory_MemTotal_bytes{node="n1"} - node_memory_MemAvailable_bytes{node="n1"})"#
    );
    assert_eq!(sources.window, std::time::Duration::from_secs(180));
}

#[test]
fn the_usual_rules_can_be_shared() {
    let sources = sources(RULES);
    let (pods, nodes) = (sources.pods.queries.unwrap(), sources.nodes.queries.unwrap());
    let selector = Selector::default();
    for source in [pods.cpu.source(), pods.memory.source()] {
        let shared = shareable::prove(source, Some("team"), &selector).unwrap();
        assert!(shared.depends_on_names);
        let everywhere = shareable::prove(source, None, &selector).unwrap();
        assert_eq!(everywhere.plan.key.namespace.as_deref(), Some("namespace"));
        assert!(
            everywhere.plan.query.contains("by (pod,container,namespace)"),
            "{}",
            everywhere.plan.query
        );
        assert!(
            everywhere.plan.query.contains(r#"{namespace!="",pod!="","#),
            "{}",
            everywhere.plan.query
        );
    }
    for source in [nodes.cpu.source(), nodes.memory.source()] {
        assert!(shareable::prove(source, None, &selector).is_ok());
    }
}

#[test]
fn what_is_not_pointwise_is_not_shared() {
    let rules = RULES.replace("sum by (<<.GroupBy>>) (rate(node_cpu", "max(rate(node_cpu");
    let nodes = sources(&rules).nodes.queries.unwrap();
    assert!(shareable::prove(nodes.cpu.source(), None, &Selector::default()).is_err());
    let is_node_query = |line: &&str| line.contains("(rate(node_cpu");
    let written = RULES.lines().find(is_node_query).unwrap();
    let rules = RULES.replace(written.trim(), JOINED);
    let nodes = sources(&rules).nodes.queries.unwrap();
    assert!(shareable::prove(nodes.cpu.source(), None, &Selector::default()).is_err());
}

#[test]
fn what_cannot_be_read_says_why() {
    let text = "resourceRules:\n  cpu:\n    containerQuery: x\n    containerLabel: c\n    resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}\n";
    let sources = sources(text);
    assert_eq!(
        sources.pods.queries.unwrap_err(),
        "resourceRules.memory is missing, or has been left out"
    );
    assert_eq!(sources.nodes.queries.unwrap_err(), "resourceRules.cpu has no nodeQuery");
}

#[test]
fn a_template_gives_labels() {
    let text = RULES.replace("overrides:\n        namespace: {resource: namespace}\n        node: {resource: node}\n        pod: {resource: pod}", "template: kube_<<.Resource>>");
    let pods = sources(&text).pods.queries.unwrap();
    let plan =
        plan::exact(pods.memory.source(), Some("n"), &named(&["a"]), &Selector::default()).unwrap();
    assert!(plan.query.contains(r#"{kube_namespace="n",kube_pod="a","#), "{}", plan.query);
}

fn vector(samples: &[(&[(&str, &str)], f64)]) -> Vector {
    Vector::of(samples.iter().map(|(labels, value)| (*labels, 1_000, *value)))
}

/// Samples of pods and containers, at a time.
fn containers(at_ms: i64, samples: &[(&str, &str, f64)], objects: &Objects) -> Containers {
    let labels: Vec<_> = samples
        .iter()
        .map(|(pod, container, _)| [("pod", *pod), ("container", *container)])
        .collect();
    let rows = labels.iter().zip(samples).map(|(labels, (.., value))| (&labels[..], at_ms, *value));
    let vector = Vector::of(rows);
    let index = Index::new(&vector, &Key { name: "pod".into(), ..Key::default() });
    Containers::read(&vector, &index, "", objects, "container")
}

/// `pod: container cpu memory, …` for each pod.
fn shown(pods: &[PodUsage]) -> Vec<String> {
    let container = |container: &ContainerUsage| {
        let Usage { cpu_milli, memory_milli } = container.usage;
        format!("{} {cpu_milli} {memory_milli}", container.name)
    };
    pods.iter()
        .map(|pod| {
            let containers: Vec<_> = pod.containers.iter().map(container).collect();
            format!("{}: {}", pod.name, containers.join(", "))
        })
        .collect()
}

#[test]
fn pods_need_cpu_and_memory_and_containers_one_of_both() {
    let cpu = [("a", "web", 0.5), ("a", "init", 0.1), ("b", "web", 1.0)];
    let memory = [("a", "web", 2.0), ("a", "new", 3.0), ("c", "web", 1.0)];
    let (cpu, memory) = (containers(5, &cpu, &Objects::Any), containers(3, &memory, &Objects::Any));
    let pods = pods(&cpu, &memory);
    assert_eq!(shown(&pods), ["a: init 100 0, new 0 3000, web 500 2000"]);
    assert_eq!(pods[0].at_ms, 3, "the earlier time");
}

#[test]
fn only_the_pods_that_were_asked_for_are_read() {
    let samples = [("a", "web", 1.0), ("b", "web", 1.0), ("c", "web", 1.0)];
    let read = containers(0, &samples, &named(&["b", "c", "d"]));
    assert_eq!(shown(&pods(&read, &read)), ["b: web 1000 1000", "c: web 1000 1000"]);
}

#[test]
fn sandboxes_and_sums_are_no_containers() {
    let samples =
        [("a", "", 3.0), ("a", "POD", 1.0), ("a", "web", 2.0), ("b", "", 4.0), ("c", "POD", 1.0)];
    let read = containers(0, &samples, &Objects::Any);
    assert_eq!(shown(&pods(&read, &read)), ["a: web 2000 2000", "b:  4000 4000"]);
}

#[test]
fn what_is_not_finite_is_no_value_and_negative_is_zero() {
    let memory = containers(0, &[("a", "x", 1.0), ("a", "y", 1.0), ("b", "x", 1.0)], &Objects::Any);
    let cpu = [("a", "x", f64::NAN), ("a", "y", 1.0), ("b", "x", f64::INFINITY)];
    let cpu = containers(0, &cpu, &Objects::Any);
    assert_eq!(shown(&pods(&cpu, &memory)), Vec::<String>::new());
    assert_eq!(cpu.odd.example(Oddity::NotANumber), Some("a"));
    assert_eq!(cpu.odd.example(Oddity::Infinite), Some("b"));
    let negative = containers(0, &[("a", "x", -1.0), ("a", "POD", f64::NAN)], &Objects::Any);
    assert_eq!(shown(&pods(&negative, &memory)), ["a: x 0 1000, y 0 1000"]);
    let large = containers(0, &[("a", "x", 1e300)], &Objects::Any);
    assert_eq!(pods(&large, &large)[0].containers[0].usage.cpu_milli, i64::MAX);
}

#[test]
fn of_several_samples_the_choice_does_not_depend_on_their_order() {
    let one = (&[("container", "c"), ("id", "x"), ("pod", "a")][..], 1.0);
    let two = (&[("container", "c"), ("id", "y"), ("pod", "a")][..], 2.0);
    for samples in [[one, two], [two, one]] {
        let vector = vector(&samples);
        let index = Index::new(&vector, &Key { name: "pod".into(), ..Key::default() });
        let read = Containers::read(&vector, &index, "", &Objects::Any, "container");
        assert_eq!(shown(&pods(&read, &read)), ["a: c 2000 2000"]);
        assert_eq!(read.odd.example(Oddity::SeveralSamples), Some("a"));
        let nodes = Nodes::read(&vector, &index, &named(&["a"]));
        assert_eq!(super::nodes(&nodes, &nodes)[0].usage.cpu_milli, 2000);
        assert_eq!(nodes.odd.example(Oddity::SeveralSamples), Some("a"));
    }
}

#[test]
fn namespaces_are_told_apart() {
    let samples = vector(&[
        (&[("container", "c"), ("namespace", "one"), ("pod", "a")], 1.0),
        (&[("container", "d"), ("namespace", "one"), ("pod", "a")], 1.0),
        (&[("container", "c"), ("namespace", "two"), ("pod", "a")], 2.0),
        (&[("container", "c"), ("pod", "a")], 4.0),
    ]);
    let namespace = Some("namespace".into());
    let key = Key { name: "pod".into(), namespace, spans: true, is_sorted: false };
    let index = Index::new(&samples, &key);
    let read = Containers::read(&samples, &index, "two", &named(&["a"]), "container");
    assert_eq!(shown(&pods(&read, &read)), ["a: c 2000 2000"]);
    assert!(read.odd.has(Oddity::NoLabel));
    assert_eq!(index.namespaces(&samples).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(index.objects_len(), 2);
}

#[test]
fn nodes_need_cpu_and_memory() {
    let cpu = vector(&[(&[("node", "n1")], 1.5), (&[("node", "n2")], 1.0), (&[], 7.0)]);
    let memory = vector(&[(&[("node", "n1")], 1024.0), (&[("node", "n3")], 1.0)]);
    let key = Key { name: "node".into(), ..Key::default() };
    let read = |vector: &Vector| Nodes::read(vector, &Index::new(vector, &key), &Objects::Any);
    let (cpu, memory) = (read(&cpu), read(&memory));
    let wanted = NodeUsage {
        name: "n1".into(),
        at_ms: 1_000,
        usage: Usage { cpu_milli: 1500, memory_milli: 1_024_000 },
    };
    assert_eq!(nodes(&cpu, &memory), [wanted]);
    assert!(cpu.odd.has(Oddity::NoLabel));
}

#[test]
fn usage_that_is_missing_says_why() {
    let all = named(&["a", "b", "c", "d"]);
    let cpu = [("a", "web", 0.5), ("b", "web", f64::NAN), ("c", "web", 1.0), ("d", "POD", 1.0)];
    let memory = [("b", "web", 1.0), ("c", "", 1.0), ("c", "POD", 1.0), ("d", "POD", 1.0)];
    let (cpu, memory) = (containers(0, &cpu, &all), containers(0, &memory, &all));
    assert_eq!(shown(&pods(&cpu, &memory)), [""; 0]);
    let unlabelled = Some(Oddity::NoContainerLabel);
    for (name, wanted) in [
        ("a", [None, Some(Oddity::NoSample)]),
        ("b", [Some(Oddity::NotANumber), None]),
        ("c", [None, unlabelled]),
        ("d", [unlabelled, unlabelled]),
    ] {
        assert_eq!(why_no_pod(&cpu, &memory, name), wanted, "{name}");
    }

    let key = Key { name: "node".into(), ..Key::default() };
    let histogram = vector(&[]).and_unusable(&[("node", "n1")], Oddity::NativeHistogram);
    let read = |vector: &Vector| Nodes::read(vector, &Index::new(vector, &key), &named(&["n1"]));
    let cpu = read(&histogram);
    let memory = read(&vector(&[(&[("node", "n1")], 1.0)]));
    assert_eq!(why_no_node(&cpu, &memory, "n1"), [Some(Oddity::NativeHistogram), None]);
}

#[test]
fn usage_of_another_namespace_is_not_of_this_one() {
    let samples = vector(&[
        (&[("container", "c"), ("namespace", "one"), ("pod", "a")], 1.0),
        (&[("container", "c"), ("namespace", "two"), ("pod", "a")], 2.0),
        (&[("container", "c"), ("namespace", "two"), ("pod", "b")], 4.0),
    ]);
    let namespace = Some("namespace".into());
    let key = Key { name: "pod".into(), namespace, ..Key::default() };
    let index = Index::new(&samples, &key);
    let read = Containers::read(&samples, &index, "one", &named(&["a", "b"]), "container");
    assert_eq!(shown(&pods(&read, &read)), ["a: c 1000 1000"]);
    let elsewhere = Some(Oddity::OtherNamespaces);
    assert_eq!(why_no_pod(&read, &read, "b"), [elsewhere, elsewhere]);
}
