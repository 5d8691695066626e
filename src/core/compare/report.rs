//! A comparison as a whole: what was compared, what differs, and the verdict.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Aspect, Finding, MetricsApi, Reason, Sides};
use crate::core::{
    excerpt::{SAID, excerpt},
    explain::Cause,
};

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The verdict.
    pub verdict: Verdict,
    /// The server that is to be replaced, as the user named it.
    pub reference: String,
    /// The one that replaces it.
    pub with: String,
    /// How much was compared.
    pub compared: Counts,
    /// What differs, by API, metric, aspect and reason.
    pub differences: Vec<Difference>,
    /// What was not compared, in sentences.
    pub notes: Vec<String>,
}

/// Whether two servers are alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing differs.
    Same,
    /// Everything that differs is meant to.
    Explained,
    /// Something differs, and nothing says why.
    Different,
}

impl Verdict {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Same, Self::Explained, Self::Different];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Explained => "explained",
            Self::Different => "different",
        }
    }
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Metrics that both list.
    pub metrics: usize,
    /// Reads that both were asked for.
    pub reads: usize,
    /// Values that both have.
    pub values: usize,
    /// Values that were only alike over time.
    pub moved: usize,
}

/// A difference, of one or several objects.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The API.
    pub api: MetricsApi,
    /// The metric as the API lists it.
    pub metric: String,
    /// In what they differ.
    pub aspect: Aspect,
    /// The namespace that was read; nothing for objects of the cluster.
    pub namespace: Option<String>,
    /// One of the objects; empty where it is about whole answers.
    pub object: String,
    /// How many objects, or answers, differ so.
    pub count: usize,
    /// What the reference has; nothing where it has none.
    pub reference: Option<String>,
    /// What the other has; nothing where it has none.
    pub with: Option<String>,
    /// The documented reason, if there is one.
    pub reason: Option<Reason>,
    /// The first cause that the other names, asked by `explain`.
    pub cause: Option<Cause>,
}

/// Differences while they are collected: those of one metric that are alike are one.
#[derive(Debug, Default)]
pub struct Differences(BTreeMap<Key, Difference>);

/// API, metric, aspect, reason, and which of the servers has something.
type Key = (MetricsApi, String, Aspect, Option<Reason>, [bool; 2]);

impl Differences {
    /// Adds a finding about a read.
    pub fn add(
        &mut self,
        api: MetricsApi,
        metric: &str,
        namespace: Option<&str>,
        finding: Finding,
    ) {
        let Finding { aspect, object, sides: Sides { reference, with }, reason } = finding;
        // Whatever a server writes is shown in one line.
        let short = |text: &str| excerpt(text, SAID);
        let has = [reference.is_some(), with.is_some()];
        let key = (api, metric.to_owned(), aspect, reason, has);
        let difference = self.0.entry(key).or_insert_with(|| Difference {
            api,
            metric: short(metric),
            aspect,
            namespace: namespace.map(str::to_owned),
            object: short(&object),
            count: 0,
            reference: reference.as_deref().map(short),
            with: with.as_deref().map(short),
            reason,
            cause: None,
        });
        difference.count += 1;
    }

    /// All of them.
    pub fn into_all(self) -> Vec<Difference> {
        self.0.into_values().collect()
    }
}

impl Comparison {
    /// Draws the conclusion.
    pub fn conclude(
        sides: Sides<String>,
        compared: Counts,
        differences: Vec<Difference>,
        notes: Vec<String>,
    ) -> Self {
        let verdict = if differences.is_empty() {
            Verdict::Same
        } else if differences.iter().all(|difference| difference.reason.is_some()) {
            Verdict::Explained
        } else {
            Verdict::Different
        };
        let Sides { reference, with } = sides;
        Self { verdict, reference, with, compared, differences, notes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(object: &str, reason: Option<Reason>) -> Finding {
        let sides = Sides { reference: Some("1".to_owned()), with: Some("2\n".to_owned()) };
        Finding { aspect: Aspect::Value, object: object.to_owned(), sides, reason }
    }

    #[test]
    fn differences_of_a_metric_that_are_alike_are_one() {
        let mut differences = Differences::default();
        for (metric, object, reason) in [
            ("m", "a", None),
            ("m", "b", None),
            ("m", "c", Some(Reason::Rounding)),
            ("n", "a", None),
        ] {
            differences.add(MetricsApi::Custom, metric, Some("ns"), finding(object, reason));
        }
        let all = differences.into_all();
        let shown: Vec<_> =
            all.iter().map(|it| (&*it.metric, &*it.object, it.count, it.reason)).collect();
        let rounding = Some(Reason::Rounding);
        assert_eq!(shown, [("m", "a", 2, None), ("m", "c", 1, rounding), ("n", "a", 1, None)]);
        assert_eq!(all[0].with.as_deref(), Some("2\\n"));
    }

    #[test]
    fn one_difference_without_a_reason_decides() {
        let verdict = |reasons: &[Option<Reason>]| {
            let mut differences = Differences::default();
            for reason in reasons {
                differences.add(MetricsApi::Custom, "m", None, finding("a", *reason));
            }
            let sides = Sides { reference: "a".to_owned(), with: "b".to_owned() };
            let all = differences.into_all();
            Comparison::conclude(sides, Counts::default(), all, Vec::new()).verdict
        };
        assert_eq!(verdict(&[]), Verdict::Same);
        assert_eq!(verdict(&[Some(Reason::Rounding)]), Verdict::Explained);
        assert_eq!(verdict(&[Some(Reason::Rounding), None]), Verdict::Different);
    }
}
