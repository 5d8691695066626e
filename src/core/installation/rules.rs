//! What the rules serve now.

use super::{Finding, Subject};
use crate::core::{
    explain::{Cause, facts::Failure, metric::advice_for},
    quantity::Decimal,
    rules::RuleId,
    yaml::Place,
};

/// The code of a rule whose metrics are all of another rule, as `loadline check` has it for files.
const CLAIMED_TWICE: &str = "metric-claimed-twice";

/// The code of a quantile of buckets whose label is aggregated away, as `loadline check` has it for files.
const WITHOUT_LE: &str = "histogram-without-le";

/// The code of a metric whose query returns nothing, though it has series.
const NO_VALUE: &str = "no-value";

/// What was found of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleFacts {
    /// The rule.
    pub id: RuleId,
    /// Where it is in its file.
    pub place: Place,
    /// What it serves.
    pub serves: Serves,
}

/// What a rule serves.
#[derive(Clone, Debug, PartialEq)]
pub enum Serves {
    /// Metrics.
    Metrics {
        /// How many.
        count: usize,
        /// What some of them are now.
        examples: Vec<Example>,
    },
    /// No metric.
    None(Result<Series, Failure>),
    /// It was not looked at, and why.
    Unknown(String),
}

/// The series of a rule that serves no metric.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Series {
    /// None within a day.
    Absent,
    /// There were some within a day.
    Ended,
    /// There are some, and the rule has no name for this one.
    Unnamed(String),
    /// There are some, and their metrics are of another rule.
    Taken(String),
    /// There are some, such as this one, and they do not carry the labels.
    Unlabelled(String),
}

/// A metric and what it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The metric, with the resource that it is of: `pods/requests`.
    pub metric: String,
    /// What its query returned.
    pub value: Result<Value, Failure>,
}

/// What a query returned.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A value, in thousandths, and whose it is; empty where it is nobody's.
    Of(String, i64),
    /// The same, and other samples are native histograms.
    AmongHistograms(String, i64),
    /// Samples without the label that names the objects; `true` if they have no labels at all.
    Unlabelled(bool),
    /// Samples that are no numbers: NaN, infinite, or native histograms.
    NotFinite(Cause),
    /// Nothing, because a quantile is taken of buckets whose label `le` is aggregated away.
    WithoutBuckets,
    /// Nothing.
    Nothing,
}

/// What there is to say of a rule.
pub fn judge(facts: RuleFacts) -> Vec<Finding> {
    let RuleFacts { id, place, serves } = facts;
    let subject = || Subject::Rule(Some((id.clone(), place)));
    match serves {
        Serves::Unknown(why) => {
            vec![Finding::incomplete(subject(), why, "")]
        }
        Serves::None(Err(failure)) => vec![failed(subject(), "its series", &failure)],
        Serves::None(Ok(series)) => vec![none(subject(), series)],
        Serves::Metrics { count, examples } => {
            let shown = examples.len();
            let mut findings: Vec<_> =
                examples.into_iter().map(|example| of_example(subject(), example)).collect();
            let more = count.saturating_sub(shown);
            if more > 0 {
                let message = format!("{more} more metrics");
                findings.push(Finding::unchecked(subject(), message));
            }
            findings
        }
    }
}

fn none(subject: Subject, series: Series) -> Finding {
    match series {
        Series::Absent => Finding::warning(
            subject,
            Cause::SeriesAbsent.code(),
            "no metric: `seriesQuery` has found no series within a day",
            "correct `seriesQuery`, or see in Prometheus whether the exporter is scraped",
        ),
        Series::Ended => Finding::warning(
            subject,
            Cause::SeriesEnded.code(),
            "no metric: the series of `seriesQuery` have ended within the last day",
            "see in Prometheus whether the exporter is still scraped",
        ),
        Series::Unnamed(series) => Finding::warning(
            subject,
            Cause::NameDoesNotMatch.code(),
            format!(
                "no metric: `seriesFilters` and `name` leave out all series, such as `{series}`"
            ),
            "correct `seriesFilters` or `name.matches`",
        ),
        Series::Taken(metric) => Finding::warning(
            subject,
            CLAIMED_TWICE,
            format!("no metric: another rule serves its metrics, such as `{metric}`"),
            "remove one of the rules, or give the metrics another name by `name.as`",
        ),
        Series::Unlabelled(series) => Finding::warning(
            subject,
            Cause::LabelMissing.code(),
            format!(
                "no metric: its series, such as `{series}`, carry none of the labels that `resources` maps"
            ),
            "map a label that the series carry",
        ),
    }
}

fn of_example(subject: Subject, example: Example) -> Finding {
    let Example { metric, value } = example;
    let value = match value {
        Ok(value) => value,
        Err(failure) => return failed(subject, &metric, &failure),
    };
    let explain = "ask for the cause: `loadline explain` with the metric and one of its objects";
    match value {
        Value::Of(whose, milli) => Finding::ok(subject, is(&metric, &whose, milli)),
        Value::AmongHistograms(whose, milli) => {
            let is = is(&metric, &whose, milli);
            let message =
                format!("{is}, but other samples are native histograms, which are no values");
            Finding::warning(subject, Cause::HistogramSample.code(), message, explain)
        }
        Value::Unlabelled(has_none) => {
            let cause = if has_none { Cause::NoLabels } else { Cause::AggregatedAway };
            let message = format!("{metric}: the result has no label that names objects");
            Finding::warning(subject, cause.code(), message, "aggregate by (<<.GroupBy>>)")
        }
        Value::NotFinite(cause) => {
            let message = format!("{metric}: no value is a number");
            Finding::warning(subject, cause.code(), message, explain)
        }
        Value::WithoutBuckets => {
            let message = format!(
                "{metric}: its query returns nothing: `histogram_quantile` needs the label `le` of the buckets, which is aggregated away"
            );
            Finding::warning(subject, WITHOUT_LE, message, "add `le` to the grouping")
        }
        Value::Nothing => {
            let message = format!("{metric}: its query returns nothing now");
            Finding::warning(subject, NO_VALUE, message, explain)
        }
    }
}

fn is(metric: &str, whose: &str, milli: i64) -> String {
    let of = if whose.is_empty() { String::new() } else { format!(" for {whose}") };
    format!("{metric} is {}{of}", Decimal(milli))
}

/// A request that has failed. What the backend is to blame for is reported once, with the backend.
fn failed(subject: Subject, what: &str, failure: &Failure) -> Finding {
    let Failure { cause, text } = failure;
    let message = format!("{what}: {text}");
    if cause.code().starts_with("backend-") {
        return Finding::incomplete(subject, message, "");
    }
    Finding::error(subject, cause.code(), message, advice_for(*cause))
}
