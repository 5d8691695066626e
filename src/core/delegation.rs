//! Reads that other servers of the metrics APIs answer: whose a read is, when a delegate is given a rest, and what they list.

pub mod breaker;
pub mod listing;

use std::sync::Arc;

use super::{
    explain::Api,
    rules::{Apis, Delegate, Match},
    selector::Selector,
};

/// A read, as far as it decides whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Read<'r> {
    /// The API.
    pub api: Api,
    /// The namespace that is read; empty for objects that are in none.
    pub namespace: &'r str,
    /// The metric.
    pub metric: &'r str,
    /// The selectors of objects and of series.
    pub selectors: [&'r Selector; 2],
}

/// Who answers a read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Route {
    /// The rules.
    Ours,
    /// This delegate alone, because its `match` says so.
    Matched(usize),
    /// The first of these delegates that has the metric; then the rules say why there is none.
    InTurn(Vec<usize>),
}

/// Decides who answers a read. A `match` goes before the rules, the rules go before the other delegates, and delegates are asked in
/// the order of the file. `has_rule` says whether a rule serves the metric.
pub fn route(
    delegates: &[Arc<Delegate>],
    read: Read<'_>,
    has_rule: impl FnOnce() -> bool,
) -> Route {
    let of_api = || {
        let all = delegates.iter().enumerate();
        all.filter(|(_, delegate)| serves(delegate.apis, read.api))
    };
    let matched = of_api().find(|(_, delegate)| {
        delegate.matching.as_ref().is_some_and(|matching| is_match(matching, read))
    });
    if let Some((index, _)) = matched {
        return Route::Matched(index);
    }
    let others: Vec<_> = of_api()
        .filter(|(_, delegate)| delegate.matching.is_none())
        .map(|(index, _)| index)
        .collect();
    if others.is_empty() || has_rule() { Route::Ours } else { Route::InTurn(others) }
}

/// Whether an API is among some. Usage of pods and nodes is never delegated.
pub fn serves(apis: Apis, api: Api) -> bool {
    match api {
        Api::Custom => apis.custom,
        Api::External => apis.external,
        Api::Resource => false,
    }
}

fn is_match(matching: &Match, read: Read<'_>) -> bool {
    let Match { metrics, selector_key, namespaces } = matching;
    let has_key = |key: &String| {
        let requirements = read.selectors.iter().flat_map(|selector| selector.requirements());
        requirements.into_iter().any(|requirement| requirement.key == *key)
    };
    metrics.as_ref().is_none_or(|metrics| metrics.is_match(read.metric))
        && selector_key.as_ref().is_none_or(has_key)
        && (namespaces.is_empty() || namespaces.iter().any(|known| known == read.namespace))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::rules::load;

    const FILE: &str = "delegates:
- name: keda
  url: https://keda
  api: external
  match: {selectorKey: scaledobject.keda.sh/name}
- name: old
  url: https://old
- name: team
  url: https://team
  match: {metrics: 'team_.*|t', namespaces: [team-a, team-b]}
- name: datadog
  url: https://datadog
  api: external
";

    fn routed(read: (Api, &str, &str, &str), has_rule: bool) -> String {
        let rules = load(FILE).unwrap();
        let (api, namespace, metric, selector) = read;
        let (selector, none) = (Selector::parse(selector).unwrap(), Selector::default());
        let read = Read { api, namespace, metric, selectors: [&none, &selector] };
        let name = |index: usize| rules.delegates[index].name.to_string();
        match route(&rules.delegates, read, || has_rule) {
            Route::Ours => "ours".to_owned(),
            Route::Matched(index) => format!("{} alone", name(index)),
            Route::InTurn(all) => all.into_iter().map(name).collect::<Vec<_>>().join(", "),
        }
    }

    #[test]
    fn a_match_is_first_then_rules_then_delegates_in_their_order() {
        use Api::{Custom, External};
        let keda = "scaledobject.keda.sh/name=web,x!=y";
        for (read, has_rule, wanted) in [
            ((External, "n", "s0-prometheus", keda), false, "keda alone"),
            ((External, "n", "s0-prometheus", keda), true, "keda alone"),
            ((External, "n", "s0-prometheus", "name=web"), false, "old, datadog"),
            ((External, "n", "s0-prometheus", ""), true, "ours"),
            // The other API, although the key is there.
            ((Custom, "n", "s0-prometheus", keda), false, "old"),
            ((Custom, "n", "requests", ""), true, "ours"),
            ((Custom, "team-a", "team_requests", ""), true, "team alone"),
            ((Custom, "team-b", "t", ""), false, "team alone"),
            ((Custom, "team-c", "team_requests", ""), true, "ours"),
            // The whole name has to match.
            ((Custom, "team-a", "my_team_requests", ""), false, "old"),
            ((Custom, "team-a", "tt", ""), false, "old"),
            ((External, "team-b", "team_x", ""), false, "team alone"),
        ] {
            assert_eq!(routed(read, has_rule), wanted, "{read:?} {has_rule}");
        }
    }

    #[test]
    fn without_delegates_nobody_looks_for_a_rule() {
        let none = Selector::default();
        let read = Read { api: Api::Custom, namespace: "", metric: "m", selectors: [&none, &none] };
        assert_eq!(route(&[], read, || panic!("no need")), Route::Ours);
    }

    proptest! {
        #[test]
        fn a_metric_of_ours_leaves_only_by_a_match(
            namespace in "(team-[a-c]|n)", metric in "(team_)?[a-z]{1,3}", key in "[a-z]{0,3}",
            is_custom: bool,
        ) {
            let api = if is_custom { Api::Custom } else { Api::External };
            let route = routed((api, &namespace, &metric, &key), true);
            let is_of_team = (metric.starts_with("team_") || metric == "t")
                && ["team-a", "team-b"].contains(&namespace.as_str());
            prop_assert_eq!(route, if is_of_team { "team alone" } else { "ours" });
        }
    }
}
