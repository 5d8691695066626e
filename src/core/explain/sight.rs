//! What of an explanation somebody may see: series of other namespaces, and what backends say in their own words, are not for
//! everybody.

use std::collections::BTreeMap;

use super::{
    Cause, candidates,
    facts::{AnswerFacts, Facts, Failure, HIDDEN, Of, Series},
};
use crate::core::{names, nesting, promql};

/// Who looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sight {
    /// A user with credentials of their own at the backend.
    Backend,
    /// Somebody who may see all namespaces of the cluster.
    Cluster,
    /// Somebody who may see the requested namespace.
    Namespace {
        /// Whether they may read the metric itself there.
        may_read: bool,
    },
}

impl Sight {
    /// Whether results of a query other than the served values may be shown, such as the maximum of a day.
    pub fn has_all_of(self, facts: &Facts) -> bool {
        !matches!(self, Self::Namespace { .. }) || is_limited(facts)
    }
}

/// Leaves of the facts what may be seen. Labels of other namespaces' series keep their names.
pub fn limit(facts: &mut Facts, sight: Sight) {
    if sight == Sight::Backend {
        return;
    }
    for warning in facts.answer.iter_mut().flat_map(|answer| &mut answer.warnings) {
        // It may name the backend's own stores.
        "its text is not shown, because it may contain addresses".clone_into(warning);
    }
    let Sight::Namespace { may_read } = sight else { return };
    let Some(namespace) = facts.asked.namespace.clone() else { return };
    let label = label(facts);
    if let Some(series) = &mut facts.series {
        for list in [&mut series.now, &mut series.day] {
            *list = visible(std::mem::take(list), label.as_deref(), &namespace);
        }
    }
    let is_open = may_read || is_limited(facts);
    let is_delegated = facts.delegate.is_some();
    let Some(answer) = &mut facts.answer else { return };
    if let Some(label) = &label {
        let is_foreign = |sample: &Series| {
            let value = sample.label(label);
            !value.is_empty() && value != namespace
        };
        answer.samples.retain(|sample| !is_foreign(sample));
    }
    // What a delegate says of a read is for those who may send it.
    if !is_open && (is_delegated || answer.failure.is_none()) {
        let text = if is_delegated {
            "the answer of the delegate is shown only to those who may read the metric"
        } else {
            "the query is not limited to the namespace, so its values are shown only to those who may read the metric"
        };
        let failure = Failure { cause: Cause::NotAuthorizedMe, text: text.to_owned() };
        let query = std::mem::take(&mut answer.query);
        *answer = AnswerFacts { query, failure: Some(failure), ..AnswerFacts::default() };
    }
}

/// The label that says of which namespace a series is.
fn label(facts: &Facts) -> Option<String> {
    if let Some(served) = &facts.served {
        return served.namespace_label.clone();
    }
    let near = candidates::nearest(&facts.asked.metric, facts.asked.api(), &facts.rules)?;
    facts.rules.get(near.rule)?.namespace_label.clone()
}

/// Whether the query reads series of the namespace alone. One that is not understood is not known to do so.
fn is_limited(facts: &Facts) -> bool {
    let label = facts.served.as_ref().and_then(|served| served.namespace_label.as_ref());
    let (Some(label), Some(namespace)) = (label, &facts.asked.namespace) else { return false };
    let query = facts.answer.as_ref().map_or("", |answer| &answer.query);
    let is_of_kind = match &facts.asked.of {
        Of::Objects { kind, .. } => kind.as_ref().is_ok_and(|kind| kind.namespaced),
        Of::External => true,
    };
    is_of_kind && reads_only(query, label, namespace)
}

/// Whether all selectors of a query require the namespace.
fn reads_only(query: &str, label: &str, namespace: &str) -> bool {
    nesting::is_safe(query)
        && promql::parse(query)
            .is_ok_and(|tree| promql::every_selector_requires(&tree, label, namespace))
}

/// The namespace's own series, and those that say so by an `exported_` label. Without any, that there are others.
fn visible(series: Vec<Series>, label: Option<&str>, namespace: &str) -> Vec<Series> {
    let exported = label.map(names::exported);
    let (mut own, mut others) = (Vec::new(), Vec::<Series>::new());
    for series in series {
        let says = |label: Option<&str>| label.is_some_and(|it| series.label(it) == namespace);
        if says(label) {
            own.push(series);
        } else if says(exported.as_deref()) {
            own.push(hidden(&series, |label| label.starts_with("exported_")));
        } else {
            let hidden = hidden(&series, |_| false);
            if !others.contains(&hidden) {
                others.push(hidden);
            }
        }
    }
    if own.is_empty() { others } else { own }
}

/// A series of which only some labels keep their values.
fn hidden(series: &Series, is_shown: impl Fn(&str) -> bool) -> Series {
    let labels = series.labels.iter().map(|(name, value)| {
        let value = if is_shown(name) { value.clone() } else { HIDDEN.to_owned() };
        (name.clone(), value)
    });
    Series { labels: labels.collect::<BTreeMap<_, _>>(), value: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)]) -> Series {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Series { labels: labels.iter().map(pair).collect(), value: 42.0 }
    }

    #[test]
    fn a_query_is_limited_where_all_its_selectors_require_the_namespace() {
        let quoted = r#"sum({__name__="a.b","k8s.namespace.name"="n"})"#;
        for (query, label) in [
            (r#"sum(up{namespace="n",pod="a"}) by (pod)"#, "namespace"),
            (r#"rate(a{namespace="n"}[2m]) / on(pod) b{pod!="",namespace='n'}"#, "namespace"),
            (quoted, "k8s.namespace.name"),
        ] {
            assert!(reads_only(query, label, "n"), "{query}");
            assert!(!reads_only(query, label, "m"), "{query}");
            assert!(!reads_only(query, "name", "n"), "it is the end of another label");
        }
        for query in [
            "",
            r#"up{exported_namespace="n"}"#,
            r#"up{namespace=~"n"}"#,
            r#"up{namespace="n" or pod="a"}"#,
            r#"up{namespace="n"} * on(pod) group_left b"#,
            r#"label_replace(up, "a", "namespace=\"n\"", "", "")"#,
            r#"up{pod='namespace="n"'}"#,
            r#"up # namespace="n""#,
            r#"up{namespace="n"} keep_metric_names"#,
        ] {
            assert!(!reads_only(query, "namespace", "n"), "{query}");
        }
    }

    #[test]
    fn series_of_other_namespaces_keep_the_names_of_their_labels() {
        let own = series(&[("ns", "n"), ("pod", "a")]);
        let other = series(&[("ns", "m"), ("pod", "secret")]);
        let nobodys = series(&[("pod", "secret")]);
        let exported = series(&[("ns", "m"), ("pod", "secret"), ("exported_ns", "n")]);
        let seen = |all: &[&Series], label| {
            visible(all.iter().map(|it| (*it).clone()).collect(), label, "n")
        };
        assert_eq!(seen(&[&own, &other, &nobodys], Some("ns")), std::slice::from_ref(&own));
        let hidden = seen(&[&other, &other, &nobodys], Some("ns"));
        assert_eq!(hidden.len(), 2, "{hidden:?}");
        assert!(!format!("{hidden:?}").contains("secret"), "{hidden:?}");
        assert!(hidden.iter().all(|it| it.value == 0.0 && !it.label("pod").is_empty()));
        let renamed = seen(&[&exported], Some("ns"));
        assert_eq!((renamed[0].label("exported_ns"), renamed[0].label("pod")), ("n", HIDDEN));
        // Without a label that says so, no series is known to be of the namespace.
        assert!(!format!("{:?}", seen(&[&own], None)).contains("\"a\""));
    }
}
