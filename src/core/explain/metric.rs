//! The steps from a metric's name to its values.

mod no_value;
mod series;
mod unserved;
mod words;

use std::collections::BTreeSet;

use no_value::no_value;
use unserved::unserved;
use words::{examples, listed, resource, spoken};

use super::{
    Cause, Step,
    facts::{AnswerFacts, Asked, Facts, ObjectsFacts, Of, SeriesFacts, Served, Which},
    name,
};
use crate::core::{
    excerpt::excerpt,
    quantity::Decimal,
    rules::{Aggregate, MetricRule, Nan},
};

/// Older than this in seconds, the newest sample is too old: scrapes are rarely further apart than a minute.
const STALE_S: f64 = 150.0;

/// What to do where a metric ends with the pods that it should bring back.
const AT_ZERO: &str = "scale on a metric that is there without pods, such as the length of a queue, or keep `minReplicas: 1`";

/// How many examples a sentence has.
const EXAMPLES: usize = 3;

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

/// The steps of a metric.
pub fn steps(facts: &Facts) -> Vec<Step> {
    let Some(served) = &facts.served else { return vec![unserved(facts)] };
    let mut steps = vec![rule(facts, served)];
    steps.extend(objects(&facts.asked, &facts.objects));
    if steps.iter().any(Step::is_failure) {
        return steps;
    }
    let Some(answer) = &facts.answer else { return steps };
    steps.push(Step::good(name::QUERY, format!("{} ({})", answer.query, served.sharing)));
    if let Some(failure) = &answer.failure {
        let advice = advice_for(failure.cause);
        steps.push(Step::found(name::ANSWER, failure.cause, failure.text.clone(), advice));
        return steps;
    }
    if answer.values.is_empty() {
        steps.push(answered(answer));
        steps.push(no_value(facts, served, answer));
        return steps;
    }
    if let Some(series) = &facts.series {
        steps.extend(series_of(series));
    }
    steps.push(answered(answer));
    steps.extend(remarks(facts, served, answer));
    steps.push(values(answer));
    steps
}

fn rule(facts: &Facts, served: &Served) -> Step {
    let Served { rule, series, label, namespace_label, .. } = served;
    let rule = rule.base();
    let of = |label: &Option<String>, what: &str| {
        label.as_ref().map_or(String::new(), |label| format!(", {what} by the label `{label}`"))
    };
    Step::good(
        name::RULE,
        format!(
            "{} at {} serves `{}` from series `{series}`{}{}",
            rule.id,
            rule.place,
            facts.asked.metric,
            of(label, "objects"),
            of(namespace_label, "namespaces"),
        ),
    )
}

/// Puts what somebody else knows better of the objects in the place of what the steps say of them. Where that ends the way,
/// nothing follows.
pub fn with_objects(steps: Vec<Step>, known: Vec<Step>) -> Vec<Step> {
    let is_of_objects = |step: &Step| step.name == name::OBJECTS;
    let Some(at) = steps.iter().position(is_of_objects) else { return steps };
    let is_end = known.iter().any(Step::is_failure);
    if !is_end && steps.iter().any(|step| is_of_objects(step) && step.is_failure()) {
        return steps;
    }
    let mut rest = steps;
    let mut all: Vec<Step> = rest.drain(..at).chain(known).collect();
    if !is_end {
        all.extend(rest.into_iter().filter(|step| !is_of_objects(step)));
    }
    all
}

/// The objects that are asked about.
pub fn objects(asked: &Asked, objects: &ObjectsFacts) -> Vec<Step> {
    let Of::Objects { which, .. } = &asked.of else { return Vec::new() };
    let ObjectsFacts { selected, all, is_known, owner } = objects;
    let resource = resource(asked);
    let place = asked.namespace.as_ref().map_or(String::new(), |it| format!(" in namespace {it}"));
    if !is_known {
        return vec![Step::unknown(name::OBJECTS, "nobody says which objects there are")];
    }
    let Which::Selected(selector) = which else {
        let Which::Named(name) = which else { return Vec::new() };
        let seen = if all.contains(name) {
            format!("{name} is there")
        } else {
            format!("there is no {name} among the {} {resource}{place}{}", all.len(), examples(all))
        };
        return vec![Step {
            ok: all.contains(name).then_some(true),
            ..Step::good(name::OBJECTS, seen)
        }];
    };
    if selected.is_empty() {
        if asked.is_at_zero {
            let seen =
                format!("the workload has no pods, and `{}` is read from its pods", asked.metric);
            return vec![Step::found(name::OBJECTS, Cause::AbsentAtZero, seen, AT_ZERO)];
        }
        let seen = if all.is_empty() {
            format!("there are no {resource}{place}")
        } else {
            format!("no {resource}{place} match `{selector}`{}", examples(all))
        };
        let advice = "correct the selector, or the labels of the objects";
        return vec![Step::found(name::OBJECTS, Cause::NoObjectSelected, seen, advice)];
    }
    let names: Vec<String> = selected.iter().map(|object| object.name.clone()).collect();
    let seen = format!("{} of {} {resource}{place}{}", selected.len(), all.len(), examples(&names));
    let ready = selected.iter().filter(|object| object.is_ready != Some(false)).count();
    if ready == 0 {
        let seen = format!("{seen}; none of them is ready");
        let advice = "see why the pods do not become ready: an autoscaler ignores them until then";
        return vec![Step::found(name::OBJECTS, Cause::NotReady, seen, advice)];
    }
    let mut steps = vec![Step::good(
        name::OBJECTS,
        if ready == selected.len() { seen } else { format!("{seen}; {ready} are ready") },
    )];
    if let Some(owner) = owner {
        let is_foreign = |owners: &[String]| !owners.is_empty() && !owners.contains(owner);
        let foreign: Vec<String> = selected
            .iter()
            .filter(|object| is_foreign(&object.owners))
            .map(|object| format!("{} of {}", object.name, object.owners.join(" of ")))
            .collect();
        if !foreign.is_empty() {
            let seen = format!(
                "{} of {} that match the selector do not belong to {owner}{}",
                foreign.len(),
                selected.len(),
                examples(&foreign)
            );
            let advice = format!("give the pods of {owner} a label of their own, and select by it");
            steps.push(Step::doubtful(name::OBJECTS, Cause::ForeignOwner, seen, advice));
        }
    }
    steps
}

fn series_of(series: &SeriesFacts) -> Vec<Step> {
    let age = series.newest_age_s.unwrap_or_default();
    let count = series.now.len();
    if count == 0 {
        return Vec::new();
    }
    let seen = format!("{count} of `{}`, the newest sample {} old", series.name, spoken(age));
    if age > STALE_S {
        let advice = "check why the exporter is not scraped more often";
        return vec![Step::doubtful(name::SERIES, Cause::Stale, seen, advice)];
    }
    vec![Step::good(
        name::SERIES,
        if series.newest_age_s.is_some() { seen } else { format!("{count} of `{}`", series.name) },
    )]
}

fn answered(answer: &AnswerFacts) -> Step {
    let mut seen = match answer.samples.len() {
        0 => "no sample".to_owned(),
        1 => "1 sample".to_owned(),
        many => format!("{many} samples"),
    };
    if answer.histograms > 0 {
        seen.push_str(&format!(", {} native histograms", answer.histograms));
    }
    if answer.is_partial {
        seen.push_str(", and the answer is partial");
    }
    for warning in answer.warnings.iter().take(EXAMPLES) {
        seen.push_str(&format!("; warning: {}", excerpt(warning, 200)));
    }
    Step::good(name::ANSWER, seen)
}

fn values(answer: &AnswerFacts) -> Step {
    let shown = answer.values.iter().take(10).map(|(name, milli)| {
        let name = if name.is_empty() { "{}" } else { name };
        format!("{name}={}", Decimal(*milli))
    });
    let mut seen = shown.collect::<Vec<_>>().join(", ");
    if answer.values.len() > 10 {
        seen.push_str(&format!(" and {} more", answer.values.len() - 10));
    }
    Step::good(name::VALUES, seen)
}

/// What may be wrong with values that are served.
fn remarks(facts: &Facts, served: &Served, answer: &AnswerFacts) -> Vec<Step> {
    let mut steps = Vec::new();
    let id = &served.rule.base().id.to_string();
    if answer.ignores_selector && !facts.asked.selector.is_empty() {
        let seen = format!("the query does not contain the selector `{}`", facts.asked.selector);
        let advice = format!("add `<<.LabelMatchers>>` to metricsQuery of {id}");
        steps.push(Step::doubtful(name::QUERY, Cause::SelectorIgnored, seen, advice));
    }
    if !answer.several.is_empty() {
        let seen = format!("several samples for one object{}", examples(&answer.several));
        let advice = format!("aggregate in metricsQuery of {id}: `sum(…) by (<<.GroupBy>>)`");
        steps.push(Step::doubtful(name::VALUES, Cause::SeveralSamples, seen, advice));
    }
    if answer.nan == Some(Nan::Zero) && answer.samples.iter().any(|sample| sample.value.is_nan()) {
        let seen = "the query returned NaN, which is served as 0";
        let advice =
            format!("avoid a division by zero in metricsQuery of {id}, or set `nan: drop`");
        steps.push(Step::doubtful(name::VALUES, Cause::Nan, seen, advice));
    }
    if let MetricRule::External(rule) = &served.rule
        && rule.aggregate == Aggregate::None
    {
        steps.extend(summed(answer, id));
    }
    steps
}

/// Whether an autoscaler adds what should not be added.
fn summed(answer: &AnswerFacts, id: &str) -> Option<Step> {
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
    let advice =
        format!("aggregate in metricsQuery of {id}: `max(…)` of copies, `sum(…)` of parts");
    Some(Step::doubtful(name::VALUES, Cause::SeveralSummed, seen, advice))
}

/// What to do about a backend that fails.
pub fn advice_for(cause: Cause) -> &'static str {
    match cause {
        Cause::BackendUnauthorized => {
            "check the credentials of the backend: its token file, header or certificate"
        }
        Cause::BackendUnreachable => {
            "check the URL of the backend, its Service, and NetworkPolicies"
        }
        Cause::BackendTls => "check the scheme of the URL, and the CA of the backend",
        Cause::BackendNotPrometheus => "check the URL of the backend, and its path prefix",
        Cause::BackendTimeout => "see whether the backend is overloaded, or the query too slow",
        Cause::BackendLimited => {
            "raise the backend's limit, or ask it less often: `concurrency` of the backend, `cacheTTL`"
        }
        Cause::TooLarge => "narrow the query, or raise --max-answer-bytes",
        Cause::QueryError => "try the query in Prometheus: it says what is wrong with it",
        Cause::NotAuthorizedMe => "ask for the right to read the metric",
        _ => "",
    }
}
