//! The steps from a metric's name to its values.

mod behind;
mod delegated;
mod no_value;
mod objects;
mod series;
mod unserved;
mod values;
mod words;

pub use behind::pods;
use delegated::delegated;
use no_value::no_value;
pub use objects::{objects, with_objects};
use unserved::unserved;
pub use values::values_of;
use values::{remarks, values};
use words::spoken;

use super::{
    Cause, Step,
    facts::{AnswerFacts, Facts, FallbackFacts, SeriesFacts, Served},
    name,
};
use crate::core::{excerpt::excerpt, quantity::Decimal};

/// Older than this in seconds, the newest sample is too old: scrapes are rarely further apart than a minute.
const STALE_S: f64 = 150.0;

/// What to do where a metric ends with the pods that it should bring back.
const AT_ZERO: &str = "scale on a metric that is there without pods, such as the length of a queue, or keep `minReplicas: 1`";

/// What to do where the sample is a native histogram.
const OF_HISTOGRAMS: &str =
    "take a number from the histogram: `histogram_quantile(0.9, …)`, or `histogram_count(…)`";

/// How many examples a sentence has.
const EXAMPLES: usize = 3;

/// The steps of a metric.
pub fn steps(facts: &Facts) -> Vec<Step> {
    if let Some(delegate) = &facts.delegate {
        return delegated(facts, delegate);
    }
    let Some(served) = &facts.served else { return vec![unserved(facts)] };
    let mut steps = vec![rule(facts, served)];
    steps.extend(objects(&facts.asked, &facts.objects));
    if steps.iter().any(Step::is_failure) {
        return steps;
    }
    let Some(answer) = &facts.answer else { return steps };
    let has_query = !answer.query.is_empty();
    if has_query {
        steps.push(Step::good(name::QUERY, format!("{} ({})", answer.query, served.sharing)));
    }
    if let Some(failure) = &answer.failure {
        let advice = advice_for(failure.cause);
        if failure.cause == Cause::Filtered && !has_query {
            let advice = "correct `metric.selector` of the autoscaler";
            steps.push(Step::found(name::QUERY, failure.cause, failure.text.clone(), advice));
            return steps;
        }
        let seen = failure.text.clone();
        // What fails is known, and what autoscalers read is the fallback.
        steps.push(match &facts.fallback {
            Some(_) => Step::doubtful(name::ANSWER, failure.cause, seen, advice),
            None => Step::found(name::ANSWER, failure.cause, seen, advice),
        });
        steps.extend(facts.fallback.map(|fallback| fallen_back(served, fallback)));
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
    let Served { rule, object, place, series, label, namespace_label, .. } = served;
    let of = |label: &Option<String>, what: &str| {
        label.as_ref().map_or(String::new(), |label| format!(", {what} by the label `{label}`"))
    };
    let (metric, labels) =
        (&facts.asked.metric, of(label, "objects") + &of(namespace_label, "namespaces"));
    let seen = match object {
        Some(object) => format!("{object} serves `{metric}`{labels}"),
        None => format!("{rule} at {place} serves `{metric}` from series `{series}`{labels}"),
    };
    Step::good(name::RULE, seen)
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

fn fallen_back(served: &Served, FallbackFacts { milli, since }: FallbackFacts) -> Step {
    let (value, rule) = (Decimal(milli), &served.rule);
    let seen = format!("reads have returned {value}, the `fallback` of {rule}, since {since}");
    let advice = "see why the backend fails: the value is not measured, and ends with the first read that succeeds";
    Step::doubtful(name::VALUES, Cause::FallbackInUse, seen, advice)
}

fn answered(answer: &AnswerFacts) -> Step {
    let mut seen = match answer.samples.len() {
        0 => "no sample".to_owned(),
        1 => "1 sample".to_owned(),
        many => format!("{many} samples"),
    };
    match answer.histograms.count {
        0 => {}
        1 => seen.push_str(", 1 native histogram"),
        many => seen.push_str(&format!(", {many} native histograms")),
    }
    if answer.is_partial {
        seen.push_str(", and the answer is partial");
    }
    for warning in answer.warnings.iter().take(EXAMPLES) {
        seen.push_str(&format!("; warning: {}", excerpt(warning, 200)));
    }
    Step::good(name::ANSWER, seen)
}

/// What to do about a backend that fails.
pub fn advice_for(cause: Cause) -> &'static str {
    match cause {
        Cause::BackendUnauthorized => {
            "check the credentials of the backend: its `auth`, token file, header or certificate"
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
        Cause::QuotaExceeded => {
            "ask for less, or have an administrator raise the quota: `teamRules.quotas` of the rules file"
        }
        Cause::TooLarge => "narrow the query, or raise --max-answer-bytes",
        Cause::QueryError => "try the query in Prometheus: it says what is wrong with it",
        Cause::NotAuthorizedMe => "ask for the right to read the metric",
        _ => "",
    }
}
