//! A metric that is not served: the rules that come near, and their series.

use std::time::Duration;

use futures::{StreamExt as _, stream};

use super::{
    Explainer,
    asking::{Deadline, series},
};
use crate::{
    core::{
        catalog::Catalog,
        explain::{
            Api,
            candidates::{self, Gap},
            facts::{Asked, Facts, Failure, Of, RuleFacts},
        },
        go_quote::quote,
        go_regex::quote_meta,
        kinds::Kinds,
        rules::{MetricRule, RuleBase},
    },
    prometheus::Range,
};

/// How far back series are looked for that may have ended.
const DAY: Duration = Duration::from_secs(86_400);

/// How many rules are looked at at the same time.
const AT_ONCE: usize = 4;

impl Explainer {
    /// What comes near to a metric that is not served.
    pub(super) async fn unserved(&self, facts: &mut Facts, catalog: &Catalog, deadline: Deadline) {
        facts.served_names = served_names(catalog, &facts.asked);
        let metric = facts.asked.metric.clone();
        let rules = self.rules.current();
        let asked = &facts.asked;
        let mut looks = Vec::new();
        for rule in rules.of_metrics() {
            looks.push(self.look(rule, asked, catalog, deadline));
        }
        facts.rules = stream::iter(looks).buffered(AT_ONCE).collect().await;
        let other = match facts.asked.api() {
            Api::Custom => Api::External,
            Api::External | Api::Resource => Api::Custom,
        };
        let in_other = candidates::nearest(&metric, other, &facts.rules);
        facts.is_in_other_api |= in_other.is_some_and(|it| it.gap == Gap::None);
        let near = candidates::nearest(&metric, facts.asked.api(), &facts.rules);
        if let Some(near) = near
            && let Some(rule) = facts.rules.get(near.rule)
            && let Ok(backend) = self.backends.discovery_handle(&rule.rule.base().options)
        {
            facts.series = Some(series(&backend, &near.series, None, deadline).await);
        }
    }

    /// What there is of a rule that may come near.
    async fn look(
        &self,
        rule: MetricRule,
        asked: &Asked,
        catalog: &Catalog,
        deadline: Deadline,
    ) -> RuleFacts {
        let base = rule.base();
        let mapping = match Api::of(&rule) {
            Api::Custom => base.mapping.resolve(catalog.kinds()),
            Api::External | Api::Resource => base.mapping.resolve(&Kinds::builtin()),
        };
        let label = match &asked.of {
            Of::Objects { kind: Ok(kind), .. } => mapping.label(&kind.resource),
            _ => None,
        };
        let labels = mapping.labels();
        RuleFacts {
            label: label.map(str::to_owned),
            namespace_label: mapping.namespace_label().map(str::to_owned),
            labels: labels
                .map(|(label, kind)| (label.to_owned(), kind.resource.to_string()))
                .collect(),
            names: self.names(base, base.selector.text(), deadline).await,
            excluded: self.excluded(base, &asked.metric, deadline).await,
            rule,
        }
    }

    async fn names(
        &self,
        rule: &RuleBase,
        selector: &str,
        deadline: Deadline,
    ) -> Result<Vec<String>, Failure> {
        let backend = self.backends.discovery_handle(&rule.options);
        let backend = backend.map_err(|error| self.unusable(&error))?;
        let now = jiff::Timestamp::now().as_second();
        let day = i64::try_from(DAY.as_secs()).unwrap_or(i64::MAX);
        let range = Range { start: now.saturating_sub(day), end: now.saturating_add(1) };
        let names = deadline.ask_of(&backend, backend.metric_names(selector, range)).await?;
        Ok(names.data.iter().map(str::to_owned).collect())
    }

    /// Series that the rule would call so, which are there although `seriesQuery` does not find them.
    async fn excluded(&self, rule: &RuleBase, metric: &str, deadline: Deadline) -> Vec<String> {
        let guesses = candidates::guesses(metric, rule);
        if guesses.is_empty() {
            return guesses;
        }
        let selector = match guesses.as_slice() {
            [one] => format!("{{__name__={}}}", quote(one)),
            many => {
                let alternatives: Vec<_> = many.iter().map(|name| quote_meta(name)).collect();
                format!("{{__name__=~{}}}", quote(&alternatives.join("|")))
            }
        };
        self.names(rule, &selector, deadline).await.unwrap_or_default()
    }
}

fn served_names(catalog: &Catalog, asked: &Asked) -> Vec<String> {
    match &asked.of {
        Of::Objects { kind: Ok(kind), .. } => {
            let of_kind = catalog.list().filter(|listed| listed.kind.resource == kind.resource);
            of_kind.map(|listed| listed.metric.to_owned()).collect()
        }
        Of::Objects { .. } => Vec::new(),
        Of::External => catalog.external().names().map(str::to_owned).collect(),
    }
}
