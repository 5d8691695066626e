mod forms;

use std::collections::BTreeMap;

use regex::Regex;

use super::*;
use crate::core::template::{QueryArguments, QueryTemplate};
use forms::{EVERYDAY, REFUSED, REFUSED_IN_CLUSTER};

const OBJECT: Key<'static> = Key { label: "pod", one: "n-1", several: &["n-2", "n-3"] };
const NAMESPACE: Key<'static> = Key { label: "namespace", one: "s-1", several: &["s-2"] };

/// What is asked for: the matchers, the values, and the grouping.
struct Question<'a> {
    matchers: &'a str,
    values: [(&'a str, &'a str); 2],
    group_by: &'a [&'a str],
}

fn render(template: &str, question: &Question<'_>) -> String {
    let labels = question.group_by.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
    let values = question.values.map(|(label, value)| (label.to_owned(), value.to_owned()));
    let arguments = QueryArguments {
        series: "some_series",
        label_matchers: question.matchers,
        label_values_by_name: &BTreeMap::from(values),
        group_by: &labels.join(","),
        group_by_slice: &labels,
    };
    QueryTemplate::compile(template).unwrap().render(&arguments).unwrap()
}

/// The judgement on the query of one namespace.
fn namespaced(template: &str) -> Result<Pointwise, Refusal> {
    let render = |matchers: &str, names: &str| {
        let matchers = &format!("namespace=\"s-0\",{matchers}");
        let values = [("namespace", "s-0"), ("pod", names)];
        render(template, &Question { matchers, values, group_by: &["pod"] })
    };
    let renderings = Renderings {
        one: &render("pod=\"n-1\"", "n-1"),
        several: &render("pod=~\"n-2|n-3\"", "n-2|n-3"),
        wide: &render("pod!=\"\"", ".+"),
    };
    judge(&OBJECT, None, renderings)
}

/// The judgement on the query of the whole cluster.
fn clusterwide(template: &str) -> Result<Pointwise, Refusal> {
    let render = |matchers: &str, namespace: &str, names: &str, group_by: &[&str]| {
        let values = [("namespace", namespace), ("pod", names)];
        render(template, &Question { matchers, values, group_by })
    };
    let renderings = Renderings {
        one: &render("namespace=\"s-1\",pod=\"n-1\"", "s-1", "n-1", &["pod"]),
        several: &render("namespace=\"s-2\",pod=~\"n-2|n-3\"", "s-2", "n-2|n-3", &["pod"]),
        wide: &render("namespace!=\"\",pod!=\"\"", ".+", ".+", &["namespace", "pod"]),
    };
    judge(&OBJECT, Some(&NAMESPACE), renderings)
}

/// Where a query is shared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shared {
    /// In the namespace, not in the whole cluster.
    InNamespace,
    /// In both.
    InCluster,
}

/// The template that a form of [`forms`] is short for.
fn template(short: &str) -> String {
    let (selector, label) = (Regex::new(r"\bD\b").unwrap(), Regex::new(r"\bG\b").unwrap());
    let long = selector.replace_all(short, "<<.Series>>{<<.LabelMatchers>>}");
    label.replace_all(&long, "<<.GroupBy>>").into_owned()
}

#[test]
fn everyday_forms_are_shared() {
    for (name, form, shared) in EVERYDAY {
        let template = template(form);
        assert_eq!(namespaced(&template), Ok(Pointwise::Dependent), "{name}: {form}");
        let in_cluster = clusterwide(&template).is_ok();
        assert_eq!(
            in_cluster,
            *shared == Shared::InCluster,
            "{name}: {form}: {:?}",
            clusterwide(&template)
        );
    }
}

#[test]
fn without_names_everybody_asks_the_same() {
    for form in [
        "sum(some_series)",
        "vector(1)",
        "42",
        "absent(some_series)",
        "some_series{pod=~\"fixed|names\"}",
        "{__name__=\"a\" or __name__=\"b\"}",
        "sum(a * on (pod) group_left (node) b)",
    ] {
        assert_eq!(namespaced(form), Ok(Pointwise::Independent), "{form}");
        assert_eq!(clusterwide(form), Ok(Pointwise::Independent), "{form}");
    }
}

#[test]
fn what_is_not_pointwise_is_refused() {
    for (form, reason) in REFUSED {
        let error = namespaced(&template(form)).unwrap_err();
        assert_eq!(error.to_string(), *reason, "{form}");
    }
}

#[test]
fn what_the_whole_cluster_cannot_share() {
    for (form, reason) in REFUSED_IN_CLUSTER {
        let error = clusterwide(&template(form)).unwrap_err();
        assert_eq!(error.to_string(), *reason, "{form}");
    }
}

#[test]
fn the_label_of_the_object_decides() {
    let judge = |label: &str, form: &str| {
        let render = |matcher: &str| form.replace('D', &format!("a{{{label}{matcher}}}"));
        let renderings = Renderings {
            one: &render("=\"n-1\""),
            several: &render("=~\"n-2|n-3\""),
            wide: &render("!=\"\""),
        };
        judge(&Key { label, ..OBJECT }, None, renderings).map_err(|error| error.to_string())
    };
    let buckets = "histogram_quantile(0.9, D)";
    assert_eq!(judge("pod", buckets), Ok(Pointwise::Dependent));
    assert_eq!(
        judge("le", buckets),
        Err("`histogram_quantile` aggregates the label `le` away".to_owned())
    );
    assert_eq!(judge("node", "sum(D) by (node)"), Ok(Pointwise::Dependent));
}

#[test]
fn the_renderings_have_to_agree() {
    let judge = |one, several, wide| judge(&OBJECT, None, Renderings { one, several, wide });
    let several = "a{pod=~\"n-2|n-3\"}";
    assert_eq!(judge("a{pod=\"n-1\"}", several, "a{pod!=\"\"}"), Ok(Pointwise::Dependent));
    assert_eq!(judge("a{pod=~\"n-1\"}", several, "a{pod=~\".+\"}"), Ok(Pointwise::Dependent));
    for (one, several, wide) in [
        ("a{pod=\"n-1\"}", "a", "a"),
        ("a{pod!=\"\"}", several, "a{pod!=\"\"}"),
        ("a{pod=\"n-1\"} + b", "a{pod=~\"n-2|n-3\"} - b", "a{pod!=\"\"} + b"),
        ("a{pod=\"n-1\"}[1m]", "a{pod=~\"n-2|n-3\"}[1m]", "a{pod!=\"\"}[2m]"),
        ("a{pod=\"n-1\"} offset 1m", "a{pod=~\"n-2|n-3\"} offset 1m", "a{pod!=\"\"}"),
        ("a{pod=\"n-1\",x=\"y\"}", "a{pod=~\"n-2|n-3\",x=\"y\"}", "a{pod!=\"\"}"),
        ("b{pod=\"n-1\"}", several, "a{pod!=\"\"}"),
        ("a{pod=\"n-1\"} > 1", "a{pod=~\"n-2|n-3\"} > 1", "a{pod!=\"\"} > bool 1"),
        (
            "sum by (pod) (a{pod=\"n-1\"})",
            "sum by (pod) (a{pod=~\"n-2|n-3\"})",
            "max by (pod) (a{pod!=\"\"})",
        ),
        (
            "sum by (pod) (a{pod=\"n-1\"})",
            "sum by (pod) (a{pod=~\"n-2|n-3\"})",
            "sum by (pod, x) (a{pod!=\"\"})",
        ),
    ] {
        assert_eq!(judge(one, several, wide), Err(Refusal::Differs), "{one} {several} {wide}");
    }
    for (one, several, wide) in [
        ("a{pod=\"n-9\"}", several, "a{pod!=\"\"}"),
        ("a{pod!=\"n-1\"}", several, "a{pod!=\"\"}"),
        ("a{pod=\"n-1\"}", "a{pod=~\"n-2\"}", "a{pod!=\"\"}"),
        ("a{pod=\"n-1\"}", "a{pod=\"n-2|n-3\"}", "a{pod!=\"\"}"),
        ("a{pod=\"n-1\"}", several, "a{pod=~\".*\"}"),
        ("a{pod=\"n-1\"}", several, "a{pod!=\"x\"}"),
    ] {
        let refusal = judge(one, several, wide);
        assert!(
            matches!(refusal, Err(Refusal::Form { .. })),
            "{one} {several} {wide}: {refusal:?}"
        );
    }
}

/// On a stack as small as that of a thread of the runtime.
#[test]
fn deep_and_long_queries_are_refused() {
    let selector = "a{pod=\"n-1\"}";
    let judge_all = |query: &str| {
        let renderings = Renderings { one: query, several: query, wide: query };
        judge(&OBJECT, None, renderings)
    };
    let nested = |open: &str, close: &str, times: usize| {
        format!("{}{selector}{}", open.repeat(times), close.repeat(times))
    };
    assert_eq!(judge_all(&nested("(", ")", 50)), Ok(Pointwise::Independent));
    let length = nested("(", ")", 50_000).len();
    assert_eq!(judge_all(&nested("(", ")", 50_000)), Err(Refusal::TooLong { bytes: length }));
    let room = MAX_LENGTH - selector.len();
    for (open, close) in [
        ("(", ")"),
        ("-", ""),
        ("abs(", ")"),
        ("sum(", ")"),
        ("1+", ""),
        ("", "+1"),
        ("(", ""),
        ("", "or a"),
    ] {
        let times = room / (open.len() + close.len());
        let refusal = judge_all(&nested(open, close, times)).unwrap_err();
        let is_expected = matches!(refusal, Refusal::TooDeep | Refusal::Unknown { .. });
        assert!(is_expected, "{open} {close}: {refusal}");
    }
}
