//! What is wrong with the series behind a metric.

use std::collections::BTreeSet;

use super::{
    advice_for,
    words::{mapping, spoken},
};
use crate::core::explain::{
    Cause, Step,
    facts::{Facts, Series, SeriesFacts},
    name,
};
use crate::core::names;

/// The series lack the label that names the objects.
pub(super) fn lacks_label(
    facts: &Facts,
    id: &str,
    series: &str,
    found: &[&Series],
    label: &str,
) -> Step {
    let step = renamed_or_missing(id, series, found, label);
    if !matches!(step.cause, Some((Cause::LabelMissing, _))) {
        return step;
    }
    let names: BTreeSet<&str> = facts.objects.all.iter().map(String::as_str).collect();
    match holder(found, &names) {
        Some(holder) => {
            let advice = format!(
                "the label `{holder}` holds the names: map `{holder}: {{resource: {}}}`",
                mapping(&facts.asked)
            );
            Step { advice, ..step }
        }
        None => step,
    }
}

pub(super) fn renamed_or_missing(id: &str, series: &str, found: &[&Series], label: &str) -> Step {
    let exported = names::exported(label);
    if found.iter().any(|series| !series.label(&exported).is_empty()) {
        return renamed(series, label);
    }
    let carried: BTreeSet<&str> =
        found.iter().flat_map(|series| series.labels.keys().map(String::as_str)).collect();
    let carried: Vec<String> = carried.into_iter().map(|label| format!("`{label}`")).collect();
    let carried = if carried.is_empty() { "no labels".to_owned() } else { carried.join(", ") };
    Step::found(
        name::SERIES,
        Cause::LabelMissing,
        format!(
            "series of `{series}` carry {carried}, and not the label `{label}` that {id} needs"
        ),
        format!("add the label `{label}` at the scrape, or map one that they carry"),
    )
}

pub(super) fn renamed(series: &str, label: &str) -> Step {
    Step::found(
        name::SERIES,
        Cause::ExportedLabels,
        format!(
            "series of `{series}` carry `exported_{label}`: Prometheus has set its own `{label}`"
        ),
        format!("set `honorLabels: true` at the scrape, or map `exported_{label}`"),
    )
}

/// What to do where the series end with the last pod.
const SERIES_AT_ZERO: &str = "scale on a metric that is there without pods, such as the length of a queue; where no series does mean a value, make the rule `static` and set `onEmpty`; or keep `minReplicas: 1`";

pub(super) fn ended(facts: &Facts, series: &SeriesFacts) -> Step {
    let name = &series.name;
    if let Some(failure) = &series.failure {
        let advice = advice_for(failure.cause);
        return Step::found(name::SERIES, failure.cause, failure.text.clone(), advice);
    }
    if series.day.is_empty() {
        return Step::found(
            name::SERIES,
            Cause::SeriesAbsent,
            format!("Prometheus has had no series `{name}` within a day"),
            "check that the exporter is scraped, and that the series' name is right",
        );
    }
    let is_of_pods = |series: &Series| {
        ["pod", "exported_pod"].iter().any(|label| !series.label(label).is_empty())
    };
    if facts.asked.is_at_zero && series.day.iter().any(is_of_pods) {
        let seen = format!("series of `{name}` come from pods, and the workload has none");
        return Step::found(name::SERIES, Cause::AbsentAtZero, seen, SERIES_AT_ZERO);
    }
    let when = match series.newest_age_s {
        Some(age) => format!("{} ago", spoken(age)),
        None => "within the last day".to_owned(),
    };
    Step::found(
        name::SERIES,
        Cause::SeriesEnded,
        format!("series of `{name}` ended {when}"),
        "check that the exporter is running and scraped",
    )
}

/// The label whose values are among these names, if one is.
pub(super) fn holder<'s>(found: &[&'s Series], names: &BTreeSet<&str>) -> Option<&'s str> {
    let mut labels = found.iter().flat_map(|series| &series.labels);
    labels.find(|(_, value)| names.contains(value.as_str())).map(|(label, _)| label.as_str())
}
