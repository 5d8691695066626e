//! A question and how it is put to Prometheus: the query's text, and how to read this question's answer out of the result.
//!
//! A question can be put in several ways. The exact query names the objects that are asked for, as prometheus-adapter does.
//! Where the query is pointwise in the label that names the objects, one query for all objects of a namespace, or of the
//! cluster, has the same answer in it ([`shareable`]).

mod matchers;
pub mod shareable;
mod source;

use std::sync::Arc;

pub(super) use matchers::Matchers;
use matchers::alternatives;
pub use source::Source;

use super::{
    go_quote::quote,
    names,
    rules::RuleId,
    selector::{Contradiction, Given, Selector},
    template::{QueryArguments, TemplateError},
};

/// Which objects a question is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Objects {
    /// These, by name: sorted, each once.
    Named(Vec<Arc<str>>),
    /// All that the query returns: nobody can say which objects there are.
    Any,
}

/// A query with the key of its samples.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The PromQL text. Equal questions have equal texts.
    pub query: Arc<str>,
    /// How an object's samples are found in the result.
    pub key: Key,
}

/// A plan for some of the objects that are asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartialPlan {
    /// The text of the query.
    pub plan: Plan,
    /// The objects that are asked for: sorted, each once.
    pub names: Vec<Arc<str>>,
}

/// How samples are assigned to objects, and which of several samples of an object counts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Key {
    /// The label that holds the object's name.
    pub name: Arc<str>,
    /// The label that holds the namespace, where the objects are in one. What says that it is of another namespace is not of
    /// the one that is asked for.
    pub namespace: Option<Arc<str>>,
    /// Whether the result was asked for objects of every namespace. Then what does not say its namespace is of no object;
    /// else it is of the namespace that the question is about.
    pub spans: bool,
    /// Whether the query puts its samples in an order. Then the last one of an object counts; else the choice does not depend
    /// on the order.
    pub is_sorted: bool,
}

/// The objects that a rendering of the query asks for.
#[derive(Clone, Copy, Debug)]
enum Names<'a> {
    These(&'a [Arc<str>]),
    All,
}

/// Where a rendering of the query looks for objects.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    /// The kind has no namespaces.
    Cluster,
    Namespace(&'a str),
    EveryNamespace,
}

impl<'a> Place<'a> {
    fn of(namespace: Option<&'a str>) -> Self {
        namespace.map_or(Self::Cluster, Self::Namespace)
    }
}

/// A question that cannot be put to Prometheus.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The metric selector asks for something that label matchers cannot say.
    #[error("{0}")]
    Selector(String),
    /// The request names a namespace, but the rule maps no label to namespaces.
    #[error("{rule} maps no label to namespaces, so its metrics cannot be read in a namespace")]
    NoNamespaceLabel {
        /// The rule.
        rule: RuleId,
    },
    /// The rule's template fails for this question.
    #[error("{rule}: {source}")]
    Template {
        /// The rule.
        rule: RuleId,
        /// What the template says.
        source: TemplateError,
    },
}

/// The query for exactly the requested objects, in prometheus-adapter's form.
///
/// Matchers come in the order metric selector (by key), namespace, object. Several names are joined to a regular
/// expression, each escaped; `.LabelValuesByName` joins them by `|` as they are.
pub fn exact(
    source: Source<'_>,
    namespace: Option<&str>,
    objects: &Objects,
    metric_selector: &Selector,
) -> Result<Plan, PlanError> {
    let names = match objects {
        Objects::Named(names) => Names::These(names),
        Objects::Any => Names::All,
    };
    plan(source, Place::of(namespace), names, metric_selector)
}

/// Refuses a metric selector that no series of the object can match, or of any object of the namespace. One that the query does not
/// depend on is let pass.
pub fn check_selector(
    source: Source<'_>,
    namespace: Option<&str>,
    object: Option<&str>,
    metric_selector: &Selector,
) -> Result<(), PlanError> {
    let of_namespace = source.namespace_label.zip(namespace).map(|(label, namespace)| Given {
        label,
        value: Some(namespace),
        of: "the requested namespace",
    });
    let of_object = Given { label: source.label, value: object, of: "the requested object" };
    let given: Vec<_> = of_namespace.into_iter().chain([of_object]).collect();
    for Contradiction { label, why } in metric_selector.contradictions(&given) {
        let query = |selector| render(source, Place::of(namespace), Names::All, selector);
        if query(metric_selector)? != query(&metric_selector.without(label))? {
            return Err(PlanError::Selector(why));
        }
    }
    Ok(())
}

/// The query for all objects, in all namespaces where they are in some, whether or not it can be shared.
pub fn everything(source: Source<'_>) -> Result<Plan, PlanError> {
    let place = if source.is_namespaced { Place::EveryNamespace } else { Place::Cluster };
    plan(source, place, Names::All, &Selector::default())
}

/// The label by which [`renamed`] says which label it is about.
pub const RENAMED: &str = "label";

/// A query that has a sample for each label of a metric's objects and namespaces that its series carry as `exported_…`, which is
/// what Prometheus makes of a label of the exporter's that it sets itself. Nothing where the series is not known.
pub fn renamed(source: Source<'_>) -> Option<String> {
    let labels = [Some(source.label), source.namespace_label].into_iter().flatten();
    renamed_labels(source.series, labels.map(|label| &**label))
}

/// As [`renamed`], for some labels of a series.
pub fn renamed_labels<'l>(
    series: &str,
    labels: impl IntoIterator<Item = &'l str>,
) -> Option<String> {
    let of = |label| renamed_label(series, label, "!=", "");
    let parts: Vec<_> = labels.into_iter().map(of).collect();
    (!series.is_empty() && !parts.is_empty()).then(|| parts.join(" or "))
}

/// As [`renamed`], for a label of namespaces alone and series that say this namespace.
pub fn renamed_namespace(series: &str, label: &str, namespace: &str) -> Option<String> {
    (!series.is_empty()).then(|| renamed_label(series, label, "=", namespace))
}

fn renamed_label(series: &str, label: &str, operator: &str, value: &str) -> String {
    let (name, value, from) = (quote(series), quote(value), quote(label));
    let exported = names::exported(label);
    let exported = names::label(&exported);
    format!(
        "label_replace(count({{__name__={name},{exported}{operator}{value}}}),\"{RENAMED}\",{from},\"\",\"\")"
    )
}

/// The most parts that an exact query is sent in; with more, one long query is the lesser evil.
const MAX_PARTS: usize = 64;

/// Exact queries for parts of the names, so that no query is longer than `max_bytes` where that takes no more than 64 parts and
/// the names are at least half of each. The parts keep the order. The caller must know that the query is pointwise.
pub fn exact_in_parts(
    source: Source<'_>,
    namespace: Option<&str>,
    names: &[Arc<str>],
    metric_selector: &Selector,
    max_bytes: usize,
) -> Result<Vec<PartialPlan>, PlanError> {
    let whole = plan(source, Place::of(namespace), Names::These(names), metric_selector)?;
    let plain = |whole| Ok(vec![PartialPlan { plan: whole, names: names.to_vec() }]);
    let Some((first, _)) = names.split_first().filter(|_| whole.query.len() > max_bytes) else {
        return plain(whole);
    };
    // What a query has besides names is sent with every part.
    let one = std::slice::from_ref(first);
    let least = plan(source, Place::of(namespace), Names::These(one), metric_selector)?.query.len();
    let limit = max_bytes.max(least.saturating_mul(2));
    if whole.query.len() / limit >= MAX_PARTS {
        return plain(whole);
    }
    halves(source, namespace, names, metric_selector, limit)
}

fn halves(
    source: Source<'_>,
    namespace: Option<&str>,
    names: &[Arc<str>],
    metric_selector: &Selector,
    limit: usize,
) -> Result<Vec<PartialPlan>, PlanError> {
    let whole = plan(source, Place::of(namespace), Names::These(names), metric_selector)?;
    if whole.query.len() <= limit || names.len() < 2 {
        return Ok(vec![PartialPlan { plan: whole, names: names.to_vec() }]);
    }
    let (first, second) = names.split_at(names.len() / 2);
    let mut parts = halves(source, namespace, first, metric_selector, limit)?;
    parts.extend(halves(source, namespace, second, metric_selector, limit)?);
    Ok(parts)
}

fn plan(
    source: Source<'_>,
    place: Place<'_>,
    names: Names<'_>,
    metric_selector: &Selector,
) -> Result<Plan, PlanError> {
    let namespace = match place {
        Place::Cluster => None,
        Place::Namespace(_) | Place::EveryNamespace => source.namespace_label.cloned(),
    };
    Ok(Plan {
        query: render(source, place, names, metric_selector)?.into(),
        key: Key {
            name: Arc::clone(source.label),
            namespace,
            spans: matches!(place, Place::EveryNamespace),
            is_sorted: source.is_sorted,
        },
    })
}

fn render(
    source: Source<'_>,
    place: Place<'_>,
    names: Names<'_>,
    metric_selector: &Selector,
) -> Result<String, PlanError> {
    let no_namespace_label = || PlanError::NoNamespaceLabel { rule: source.rule.clone() };
    let namespace_label = || source.namespace_label.ok_or_else(no_namespace_label);
    let label = source.label;
    let mut matchers = Matchers::default();
    let mut group_by = vec![names::label(label).into_owned()];
    group_by.extend(source.part_label.map(|part| names::label(part).into_owned()));
    matchers.selector(metric_selector)?;
    match place {
        Place::Cluster => {}
        Place::Namespace(namespace) => {
            matchers.push(namespace_label()?, "=", namespace, namespace.to_owned());
        }
        Place::EveryNamespace => {
            let label = namespace_label()?;
            matchers.push(label, "!=", "", ".+".to_owned());
            group_by.push(names::label(label).into_owned());
        }
    }
    match names {
        // Who matches by the value itself takes every object, too.
        Names::All => matchers.push(label, "!=", "", ".+".to_owned()),
        Names::These([name]) => matchers.push(label, "=", name, name.to_string()),
        Names::These(names) => {
            matchers.push(label, "=~", &alternatives(names), names.join("|"));
        }
    }
    let arguments = QueryArguments {
        series: source.series,
        label_matchers: &matchers.text,
        label_values_by_name: &matchers.values,
        group_by: &group_by.join(","),
        group_by_slice: &group_by,
    };
    source
        .query
        .render(&arguments)
        .map_err(|error| PlanError::Template { rule: source.rule.clone(), source: error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{catalog::Entry, kinds::Kinds, rules::load};

    fn entry(query: &str, overrides: &str) -> Entry {
        let text = format!(
            "rules:\n- seriesQuery: up\n  metricsQuery: '{query}'\n  resources: {{overrides: {{{overrides}}}}}\n"
        );
        let rules = load(&text).unwrap();
        assert!(rules.broken.is_empty(), "{:?}", rules.broken);
        let rule = Arc::clone(&rules.custom[0]);
        let kinds = Kinds::builtin();
        let mapping = rule.base.mapping.resolve(&kinds);
        let kind = Arc::clone(kinds.resolve("", "pod").unwrap());
        Entry {
            series: "up".into(),
            label: mapping.label(&kind.resource).unwrap().into(),
            namespace_label: mapping.namespace_label().map(Arc::from),
            kind,
            rule,
        }
    }

    const BOTH: &str = "pod: {resource: pod}, ns: {resource: namespace}";

    #[track_caller]
    fn query(template: &str, namespace: Option<&str>, names: &[&str], selector: &str) -> String {
        let objects = if names.is_empty() {
            Objects::Any
        } else {
            Objects::Named(names.iter().map(|name| Arc::from(*name)).collect())
        };
        let selector = Selector::parse(selector).unwrap();
        exact(entry(template, BOTH).source(), namespace, &objects, &selector)
            .unwrap()
            .query
            .to_string()
    }

    /// The query for the pod `a` in the namespace `n`, by other labels.
    fn query_of(template: &str, labels: &str, selector: &str) -> Result<String, PlanError> {
        let objects = Objects::Named(vec!["a".into()]);
        let selector = Selector::parse(selector).unwrap();
        let plan = exact(entry(template, labels).source(), Some("n"), &objects, &selector)?;
        Ok(plan.query.to_string())
    }

    #[test]
    fn matchers_are_those_of_prometheus_adapter() {
        let matchers = "<<.LabelMatchers>>";
        let cases = [
            ("", &["a"][..], r#"ns="n",pod="a""#),
            ("", &["a-0", "b.c"], r#"ns="n",pod=~"a-0|b\\.c""#),
            ("", &[], r#"ns="n",pod!="""#),
            ("k=v", &["a"], r#"k="v",ns="n",pod="a""#),
            ("k==v", &["a"], r#"k="v",ns="n",pod="a""#),
            ("k!=v", &["a"], r#"k!="v",ns="n",pod="a""#),
            ("k in (v)", &["a"], r#"k=~"v",ns="n",pod="a""#),
            ("k in (v,w.x)", &["a"], r#"k=~"v|w\\.x",ns="n",pod="a""#),
            ("k notin (w,v)", &["a"], r#"k!~"v|w",ns="n",pod="a""#),
            ("k", &["a"], r#"k!="",ns="n",pod="a""#),
            ("!k", &["a"], r#"k="",ns="n",pod="a""#),
            ("z=1,b=2", &["a"], r#"b="2",z="1",ns="n",pod="a""#),
            ("x.io/y=v", &["a"], r#""x.io/y"="v",ns="n",pod="a""#),
        ];
        for (selector, names, wanted) in cases {
            assert_eq!(query(matchers, Some("n"), names, selector), wanted, "{selector}");
        }
        assert_eq!(query(matchers, None, &["a"], ""), r#"pod="a""#);
    }

    #[test]
    fn values_by_name_are_joined_as_they_are() {
        let template =
            r#"<<index .LabelValuesByName "pod">> <<index .LabelValuesByName "k">> <<.GroupBy>>"#;
        assert_eq!(query(template, Some("n"), &["a.b", "c"], "k in (x,y)"), "a.b|c x|y pod");
    }

    #[test]
    fn samples_say_their_namespace_where_objects_are_in_one() {
        let names = Objects::Named(vec!["a".into()]);
        let key = |query: &str, labels: &str, namespace| {
            exact(entry(query, labels).source(), namespace, &names, &Selector::default())
                .unwrap()
                .key
        };
        let wanted = Key { name: "pod".into(), namespace: Some("ns".into()), ..Key::default() };
        assert_eq!(key("x", BOTH, Some("n")), wanted);
        // Also the objects of the kind Namespace, whose own label that is.
        assert_eq!(key("x", BOTH, None).namespace, None);
        assert!(key("sort_desc(x{<<.LabelMatchers>>})", BOTH, Some("n")).is_sorted);
    }

    #[test]
    fn queries_that_ask_by_name_are_told_from_those_that_do_not() {
        for (query, wanted) in [
            ("sum by (pod) (x{<<.LabelMatchers>>})", true),
            (r#"x{pod=~"<<index .LabelValuesByName "pod">>"}"#, true),
            (r#"x{ns="<<index .LabelValuesByName "ns">>"}"#, false),
            ("sum by (<<.GroupBy>>) (x)", false),
        ] {
            let depends = shareable::depends_on_names(entry(query, BOTH).source(), Some("n"));
            assert_eq!(depends, wanted, "{query}");
        }
    }

    #[test]
    fn renamed_labels_are_those_of_objects_and_namespaces() {
        let query = renamed(entry("x", BOTH).source()).unwrap();
        promql_parser::parser::parse(&query).unwrap();
        for label in ["exported_pod", "exported_ns"] {
            assert!(query.contains(&format!(r#"{{__name__="up",{label}!=""}}"#)), "{query}");
        }
        let query = renamed_namespace("up", "ns", "n").unwrap();
        promql_parser::parser::parse(&query).unwrap();
        assert!(query.contains(r#"{__name__="up",exported_ns="n"}"#), "{query}");
        assert_eq!(renamed_namespace("", "ns", "n"), None);
    }

    #[test]
    fn what_matchers_cannot_say_is_refused() {
        let entry = entry("<<.LabelMatchers>>", BOTH);
        let names = Objects::Named(vec!["a".into()]);
        let selector = Selector::parse("k>1").unwrap();
        let error = exact(entry.source(), Some("n"), &names, &selector).unwrap_err();
        assert!(error.to_string().contains("compares `k`"), "{error}");
    }

    #[test]
    fn labels_are_quoted_where_they_have_to_be() {
        let labels =
            r#""k8s.pod.name": {resource: pod}, "k8s.namespace.name": {resource: namespace}"#;
        let template = r#"<<.LabelMatchers>> <<.GroupBy>> <<index .GroupBySlice 0>> <<index .LabelValuesByName "k8s.pod.name">> <<index .LabelValuesByName (index .GroupBySlice 0)>>"#;
        let names = Objects::Named(vec!["a".into(), "b".into()]);
        let plan = exact(entry(template, labels).source(), Some("n"), &names, &Selector::default());
        let plan = plan.unwrap();
        assert_eq!(
            &*plan.query,
            r#""k8s.namespace.name"="n","k8s.pod.name"=~"a|b" "k8s.pod.name" "k8s.pod.name" a|b a|b"#
        );
        assert_eq!(&*plan.key.name, "k8s.pod.name", "the samples have the name as it is");
    }

    #[test]
    fn values_by_name_hold_each_label_once_and_quoted_where_it_has_to_be() {
        let labels = "k8s.pod.name: {resource: pod}, ns: {resource: namespace}";
        let render = |template: &str| query_of(template, labels, "q.n=v");
        let range = |body: &str| format!("<<range $k, $v := .LabelValuesByName>>{body}<<end>>");
        let all = r#""k8s.pod.name"="a","q.n"="v",ns="n","#;
        assert_eq!(render(&range(r#"<<$k>>="<<$v>>","#)).unwrap(), all);
        assert_eq!(
            render(&range(r#""<<$k>>"="<<$v>>","#)).unwrap(),
            r#""k8s.pod.name"="a","q.n"="v","ns"="n","#
        );
        assert_eq!(
            render(&range(r#"<<printf "%q" $k>>="<<$v>>","#)).unwrap(),
            r#""k8s.pod.name"="a","q.n"="v","ns"="n","#
        );
        assert_eq!(render("<<len .LabelValuesByName>>").unwrap(), "3");
        for name in [r#""q.n""#, "(index .GroupBySlice 0)"] {
            let template = format!(r#"f("<<.GroupBy>>") <<index .LabelValuesByName {name}>>"#);
            let value = if name.contains("q.n") { "v" } else { "a" };
            assert_eq!(render(&template).unwrap(), format!(r#"f("k8s.pod.name") {value}"#));
        }
    }

    #[test]
    fn queries_with_quoted_names_are_shared() {
        let labels =
            r#""k8s.pod.name": {resource: pod}, "k8s.namespace.name": {resource: namespace}"#;
        let template = "sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[2m]))";
        let entry = Entry { series: "http.requests".into(), ..entry(template, labels) };
        let shared = shareable::prove(entry.source(), Some("n"), &Selector::default()).unwrap();
        assert!(shared.depends_on_names);
        assert_eq!(
            &*shared.plan.query,
            r#"sum by ("k8s.pod.name") (rate({__name__="http.requests","k8s.namespace.name"="n","k8s.pod.name"!=""}[2m]))"#
        );
        shareable::prove(entry.source(), None, &Selector::default()).unwrap();
    }

    #[test]
    fn a_selector_that_no_series_can_match_is_refused_where_the_query_has_it() {
        let check = |template: &str, object, selector: &str| {
            let selector = Selector::parse(selector).unwrap();
            check_selector(entry(template, BOTH).source(), Some("n"), object, &selector)
        };
        let template = "up{<<.LabelMatchers>>}";
        for (object, selector) in
            [(None, "ns=m"), (None, "!pod"), (Some("a"), "pod=b"), (None, "k=1,k=2")]
        {
            let error = check(template, object, selector).unwrap_err();
            assert!(matches!(error, PlanError::Selector(_)), "{error}");
            check("sum(up) by (pod)", object, selector).unwrap();
        }
        for (object, selector) in
            [(None, "ns=n"), (None, "pod=b"), (Some("a"), "pod=a"), (Some("a"), "k=1")]
        {
            check(template, object, selector).unwrap();
        }
    }

    #[test]
    fn a_rule_without_a_namespace_label_cannot_be_read_in_a_namespace() {
        let entry = entry("<<.LabelMatchers>>", "pod: {resource: pod}");
        let names = Objects::Named(vec!["a".into()]);
        let error =
            exact(entry.source(), Some("n"), &names, &Selector::parse("").unwrap()).unwrap_err();
        assert!(matches!(error, PlanError::NoNamespaceLabel { .. }), "{error}");
    }
}
