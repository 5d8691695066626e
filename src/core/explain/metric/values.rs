//! The steps of values that are served.

use std::collections::BTreeSet;

use super::{
    super::{
        Cause, Step,
        facts::{AnswerFacts, Facts, Served},
        name,
    },
    OF_HISTOGRAMS,
    words::{examples, listed},
};
use crate::core::{
    quantity::Decimal,
    rules::{Aggregate, Nan},
};

/// Labels by which copies of one exporter differ, and parts of one workload do not mean to.
const EXPORTERS: [&str; 10] = [
    "instance",
    "pod",
    "replica",
    "controller",
    "endpoint",
    "node",
    "container",
    "prometheus",
    "prometheus_replica",
    "host",
];

pub(super) fn values(answer: &AnswerFacts) -> Step {
    values_of(&answer.values)
}

/// The step of values by object, in thousandths.
pub fn values_of(values: &[(String, i64)]) -> Step {
    let shown = values.iter().take(10).map(|(name, milli)| {
        let name = if name.is_empty() { "{}" } else { name };
        format!("{name}={}", Decimal(*milli))
    });
    let mut seen = shown.collect::<Vec<_>>().join(", ");
    if values.len() > 10 {
        seen.push_str(&format!(" and {} more", values.len() - 10));
    }
    Step::good(name::VALUES, seen)
}

/// What may be wrong with values that are served.
pub(super) fn remarks(facts: &Facts, served: &Served, answer: &AnswerFacts) -> Vec<Step> {
    let mut steps = Vec::new();
    let query = &served.query();
    if answer.ignores_selector && !facts.asked.selector.is_empty() {
        let seen = format!("the query does not contain the selector `{}`", facts.asked.selector);
        let advice = format!("add `<<.LabelMatchers>>` to {query}");
        steps.push(Step::doubtful(name::QUERY, Cause::SelectorIgnored, seen, advice));
    }
    if !answer.several.is_empty() {
        let seen = format!("several samples for one object{}", examples(&answer.several));
        let advice = format!("aggregate in {query}: `sum(…) by (<<.GroupBy>>)`");
        steps.push(Step::doubtful(name::VALUES, Cause::SeveralSamples, seen, advice));
    }
    if answer.nan == Some(Nan::Zero) && answer.samples.iter().any(|sample| sample.value.is_nan()) {
        let seen = "the query returned NaN, which is served as 0";
        let advice = format!("avoid a division by zero in {query}, or set `nan: drop`");
        steps.push(Step::doubtful(name::VALUES, Cause::Nan, seen, advice));
    }
    steps.extend(histograms(served, answer));
    if served.aggregate == Some(Aggregate::None) {
        steps.extend(summed(answer, query));
    }
    steps
}

/// Whether native histograms are no values beside those that are served. What the rule puts in their place hides that.
fn histograms(served: &Served, answer: &AnswerFacts) -> Option<Step> {
    let is_aggregated = served.aggregate.is_some_and(|it| it != Aggregate::None);
    let (is_hidden, seen) = if answer.histograms.replace_value {
        if answer.filled > 0 {
            (true, "a sample is a native histogram, which is no value, and `onEmpty` hides that")
        } else if is_aggregated {
            (true, "a sample is a native histogram, which is not in the value of `aggregate`")
        } else {
            (false, "a sample is a native histogram, which is no value")
        }
    } else if answer.histograms.are_left_out && answer.filled > 0 {
        let seen = "Prometheus says that it left native histograms out, and `onEmpty` hides that";
        (answer.samples.is_empty(), seen)
    } else {
        return None;
    };
    let cause = Cause::HistogramSample;
    Some(if is_hidden {
        Step::found(name::VALUES, cause, seen, OF_HISTOGRAMS)
    } else {
        Step::doubtful(name::VALUES, cause, seen, OF_HISTOGRAMS)
    })
}

/// Whether an autoscaler adds what should not be added.
fn summed(answer: &AnswerFacts, query: &str) -> Option<Step> {
    let [first, others @ ..] = answer.samples.as_slice() else { return None };
    if others.is_empty() {
        return None;
    }
    let names: BTreeSet<&String> = answer.samples.iter().flat_map(|it| it.labels.keys()).collect();
    let differs = |name: &&&String| others.iter().any(|it| it.label(name) != first.label(name));
    let differing: Vec<String> = names.iter().filter(differs).map(|it| (**it).clone()).collect();
    let is_exporters = differing.iter().all(|label| EXPORTERS.contains(&label.as_str()));
    let values: BTreeSet<i64> = answer.values.iter().map(|(_, milli)| *milli).collect();
    let are_copies = values.len() == 1 && !values.contains(&0);
    if !is_exporters && !are_copies {
        return None;
    }
    let by =
        if differing.is_empty() { String::new() } else { format!(", by {}", listed(&differing)) };
    let seen = format!("{} values{by}, which an autoscaler adds", answer.samples.len());
    let advice = format!("aggregate in {query}: `max(…)` of copies, `sum(…)` of parts");
    Some(Step::doubtful(name::VALUES, Cause::SeveralSummed, seen, advice))
}
