//! Why a metric that is served has no value.

use std::collections::BTreeSet;

use super::{
    EXAMPLES, OF_HISTOGRAMS,
    series::{ended, holder, lacks_label, renamed, renamed_or_missing},
    words::{listed, resource},
};
use crate::core::{
    duration,
    excerpt::{SAID, excerpt},
    explain::{
        Cause, Step,
        facts::{
            AnswerFacts, Facts, HIDDEN, Of, OperandsFacts, Series, SeriesFacts, Served, SideFacts,
            Which,
        },
        name,
    },
    kinds::is_object_name,
    lint::has_buckets_without_le,
    names,
    nearest::nearest,
    rules::Nan,
    selector::{Operator, Selector},
};

/// Why a metric that is served has no value.
pub(super) fn no_value(facts: &Facts, served: &Served, answer: &AnswerFacts) -> Step {
    let has_histograms = answer.histograms.count > 0 || answer.histograms.are_left_out;
    if answer.histograms.replace_value || (answer.samples.is_empty() && has_histograms) {
        let seen = if answer.histograms.count > 0 {
            "the query returned a native histogram, which is no value"
        } else {
            "the query returned nothing, and Prometheus says that it left native histograms out"
        };
        return Step::found(name::VALUES, Cause::HistogramSample, seen, OF_HISTOGRAMS);
    }
    if let Some(rule) = &served.object {
        return of_team(facts, rule, served, answer);
    }
    match &served.label {
        Some(label) => no_object(facts, served, answer, label),
        None => no_external(facts, served, answer),
    }
}

/// The query of a team's rule is known to its team, and what it selects is not looked at here.
fn of_team(facts: &Facts, rule: &str, served: &Served, answer: &AnswerFacts) -> Step {
    if let Some(step) = valueless(answer, answer.samples.iter(), rule) {
        return step;
    }
    if let (Some(samples @ 1..), selector) = (answer.without_selector, &facts.asked.selector) {
        return Step::found(
            name::QUERY,
            Cause::Filtered,
            format!(
                "the selector `{selector}` chooses none of the {samples} samples of the result"
            ),
            "choose by labels that the result has: the query may aggregate others away",
        );
    }
    let lacks = |label: &String| answer.samples.iter().all(|sample| sample.label(label).is_empty());
    match &served.label {
        Some(label) if !answer.samples.is_empty() && lacks(label) => {
            aggregated(answer, rule, label)
        }
        Some(_) if !answer.samples.is_empty() => Step::found(
            name::VALUES,
            Cause::NamesDiffer,
            "the result has samples of other objects only".to_owned(),
            format!("compare the names of the objects with the result of spec.query of {rule}"),
        ),
        _ if has_buckets_without_le(&answer.query) => without_le(&format!("spec.query of {rule}")),
        _ => Step::found(
            name::SERIES,
            Cause::SeriesAbsent,
            "the query returns no sample for the namespace".to_owned(),
            format!("check the selectors of spec.query of {rule}, and the labels of the series"),
        ),
    }
}

fn no_external(facts: &Facts, served: &Served, answer: &AnswerFacts) -> Step {
    if let Some(step) = valueless(answer, answer.samples.iter(), &served.query()) {
        return step;
    }
    let series = facts.series.clone().unwrap_or_default();
    if series.now.is_empty() {
        return ended(facts, &series);
    }
    let all: Vec<&Series> = series.now.iter().collect();
    if let Some(step) = other_namespace(facts, served, &series.name, &all) {
        return step;
    }
    if answer.without_selector.is_some_and(|count| count > 0) {
        return refused_by_selector(&facts.asked.selector, &series.name, &all);
    }
    nothing(served, answer, &series)
}

/// The samples that there are have no usable value.
fn valueless<'s>(
    answer: &AnswerFacts,
    samples: impl Iterator<Item = &'s Series>,
    query: &str,
) -> Option<Step> {
    let values: Vec<f64> = samples.map(|sample| sample.value).collect();
    if values.iter().any(|value| value.is_nan()) && answer.nan != Some(Nan::Zero) {
        let or = if answer.nan.is_some() { ", or set `nan: zero`" } else { "" };
        return Some(Step::found(
            name::VALUES,
            Cause::Nan,
            "the query returned NaN, which is no value",
            format!("avoid a division by zero in {query}{or}"),
        ));
    }
    values.iter().any(|value| value.is_infinite()).then(|| {
        Step::found(
            name::VALUES,
            Cause::Infinite,
            "the query returned an infinite value",
            format!("avoid a division by zero in {query}"),
        )
    })
}

/// Why none of the series is of the namespace, if none is.
fn other_namespace(facts: &Facts, served: &Served, series: &str, all: &[&Series]) -> Option<Step> {
    let (label, namespace) = (served.namespace_label.as_ref()?, facts.asked.namespace.as_ref()?);
    if all.iter().any(|series| series.label(label) == namespace) {
        return None;
    }
    let exported = names::exported(label);
    if all.iter().any(|series| series.label(&exported) == namespace) {
        return Some(renamed(series, label));
    }
    if all.iter().all(|series| series.label(label).is_empty()) {
        return Some(renamed_or_missing(&served.rule.to_string(), series, all, label));
    }
    let others: BTreeSet<&str> = all.iter().map(|series| series.label(label)).collect();
    let others: Vec<String> =
        others.into_iter().filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let others = match others.as_slice() {
        [hidden] if hidden == HIDDEN => "other namespaces".to_owned(),
        others => listed(others),
    };
    Some(Step::found(
        name::SERIES,
        Cause::WrongNamespace,
        format!("series of `{series}` are of {others}, and not of namespace {namespace}"),
        "ask in that namespace; for a metric of no namespace set `resources.namespaced: false`",
    ))
}

fn refused_by_selector(selector: &Selector, series: &str, all: &[&Series]) -> Step {
    for requirement in selector.requirements() {
        let needs = !matches!(requirement.operator, Operator::NotIn | Operator::DoesNotExist);
        if needs && all.iter().all(|series| series.label(&requirement.key).is_empty()) {
            return renamed_or_missing("the autoscaler's selector", series, all, &requirement.key);
        }
    }
    let of = |key: &str| {
        let values: BTreeSet<&str> = all.iter().map(|series| series.label(key)).collect();
        let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
        format!("{key}={}", listed(&values))
    };
    let there: Vec<_> = selector.requirements().iter().map(|it| of(&it.key)).collect();
    Step::found(
        name::QUERY,
        Cause::Filtered,
        format!(
            "the selector `{selector}` of the autoscaler leaves out all series: there are {}",
            there.join("; ")
        ),
        "correct `metric.selector` of the autoscaler",
    )
}

/// Nothing came out of series that are there.
fn nothing(served: &Served, answer: &AnswerFacts, series: &SeriesFacts) -> Step {
    if answer.samples.is_empty() && has_buckets_without_le(&answer.query) {
        return without_le(&served.query());
    }
    // Without a single sample in the range there is no answer either.
    let most = series.most_in_range.unwrap_or_default();
    if let Some(range) = series.range.filter(|_| most < 2.0) {
        let range = duration::prometheus(range);
        return Step::found(
            name::SERIES,
            Cause::TooFewSamples,
            format!(
                "no series has more than {most} samples within the query's range of {range}, and a rate needs two"
            ),
            "make the range at least four times the scrape interval",
        );
    }
    if let Some(operands) = &answer.operands {
        return no_result(operands, &served.query());
    }
    Step::found(
        name::QUERY,
        Cause::Filtered,
        format!("there are series of `{}`, and the query leaves out all of them", series.name),
        format!("check the matchers and comparisons in {}", served.query()),
    )
}

fn without_le(query: &str) -> Step {
    Step::found(
        name::QUERY,
        Cause::HistogramWithoutLe,
        "`histogram_quantile` needs the label `le` of the buckets, which is aggregated away",
        format!("add it to the grouping in {query}: `sum(rate(…)) by (<<.GroupBy>>, le)`"),
    )
}

/// Why an operation of two sides returns nothing.
fn no_result(operands: &OperandsFacts, query: &str) -> Step {
    let OperandsFacts { operator, sides } = operands;
    let shown = |side: &SideFacts| excerpt(&side.query, SAID);
    let [left, right] = sides;
    if let (Some(one), Some(other)) = (&left.labels, &right.labels) {
        let labels = if one == other {
            format!("both have {}", labels(one))
        } else {
            format!("the left one has {}, the right one {}", labels(one), labels(other))
        };
        return Step::found(
            name::QUERY,
            Cause::UnmatchedSides,
            format!(
                "both sides of `{operator}` have samples, and none of `{}` matches one of `{}`: {labels}",
                shown(left),
                shown(right)
            ),
            format!(
                "aggregate both sides in {query} `by (<<.GroupBy>>)`, or say which labels match, as in `a {} on(<<.GroupBy>>) b`",
                operator.split(' ').next().unwrap_or(operator)
            ),
        );
    }
    let (place, empty) = if left.labels.is_none() { ("left", left) } else { ("right", right) };
    let seen = format!("the {place} side of `{operator}` has no sample: `{}`", shown(empty));
    if empty.absent.is_empty() {
        return Step::found(
            name::QUERY,
            Cause::Filtered,
            seen,
            format!("check its matchers, comparisons and ranges in {query}"),
        );
    }
    let absent: Vec<_> = empty.absent.iter().map(|name| format!("`{name}`")).collect();
    Step::found(
        name::SERIES,
        Cause::SeriesAbsent,
        format!("{seen}, and there are no series of {}", listed(&absent)),
        format!("check that they are scraped, and their names in {query}"),
    )
}

fn labels(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "no label".to_owned() } else { names.join(", ") }
}

fn no_object(facts: &Facts, served: &Served, answer: &AnswerFacts, label: &str) -> Step {
    let id = &served.rule.to_string();
    let series = facts.series.clone().unwrap_or_default();
    let all: Vec<&Series> = series.now.iter().collect();
    let wanted = wanted(facts);
    if !answer.samples.is_empty() {
        let of_wanted = answer.samples.iter().filter(|sample| wanted.contains(sample.label(label)));
        if let Some(step) = valueless(answer, of_wanted, &served.query()) {
            return step;
        }
        let is_lost = answer.samples.iter().all(|sample| sample.label(label).is_empty());
        let is_carried = all.is_empty() || all.iter().any(|series| !series.label(label).is_empty());
        if is_lost && is_carried {
            return aggregated(answer, &served.query(), label);
        }
    }
    if all.is_empty() {
        return ended(facts, &series);
    }
    if all.iter().all(|series| series.label(label).is_empty()) {
        return lacks_label(facts, id, &series.name, &all, label);
    }
    let exported = names::exported(label);
    if all.iter().any(|series| wanted.contains(series.label(&exported))) {
        return renamed(&series.name, label);
    }
    if let Some(step) = other_namespace(facts, served, &series.name, &all) {
        return step;
    }
    let in_namespace = all.iter().copied().filter(|series| {
        match (&served.namespace_label, &facts.asked.namespace) {
            (Some(label), Some(namespace)) => series.label(label) == namespace,
            _ => true,
        }
    });
    let in_namespace: Vec<&Series> = in_namespace.collect();
    if !wanted.is_empty() && in_namespace.iter().all(|it| !wanted.contains(it.label(label))) {
        return other_names(facts, &series.name, &in_namespace, label, &wanted);
    }
    if answer.without_selector.is_some_and(|count| count > 0) {
        return refused_by_selector(&facts.asked.selector, &series.name, &in_namespace);
    }
    nothing(served, answer, &series)
}

/// The names that values are wanted for.
fn wanted(facts: &Facts) -> BTreeSet<&str> {
    match &facts.asked.of {
        Of::Objects { which: Which::Named(name), .. } => BTreeSet::from([name.as_str()]),
        _ => facts.objects.selected.iter().map(|object| object.name.as_str()).collect(),
    }
}

fn aggregated(answer: &AnswerFacts, query: &str, label: &str) -> Step {
    let advice = format!("keep it: `sum(…) by (<<.GroupBy>>)` in {query}");
    match answer.samples.as_slice() {
        [only] if only.labels.is_empty() => Step::found(
            name::VALUES,
            Cause::NoLabels,
            format!("the result has no labels, so its value {} is of no object", only.value),
            advice,
        ),
        samples => {
            let carried: BTreeSet<&String> =
                samples.iter().flat_map(|it| it.labels.keys()).collect();
            let carried: Vec<String> = carried.into_iter().cloned().collect();
            Step::found(
                name::VALUES,
                Cause::AggregatedAway,
                format!("the result has the labels {}, and not `{label}`", listed(&carried)),
                advice,
            )
        }
    }
}

/// The series carry other names than the objects have.
fn other_names(
    facts: &Facts,
    series: &str,
    found: &[&Series],
    label: &str,
    wanted: &BTreeSet<&str>,
) -> Step {
    let held: BTreeSet<&str> = found.iter().map(|series| series.label(label)).collect();
    let held: Vec<&str> = held.into_iter().filter(|value| !value.is_empty()).collect();
    let shown: Vec<String> = held.iter().map(|value| (*value).to_owned()).collect();
    let is_known = |value: &&str| facts.objects.all.iter().any(|name| name == value);
    if held.iter().any(is_known) {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        return Step::found(
            name::SERIES,
            Cause::SeriesAbsent,
            format!("there are series of {}, and none of {}", listed(&shown), listed(&wanted)),
            "check that these objects expose the metric, and that they are scraped",
        );
    }
    let resource = resource(&facts.asked);
    let first = held.first().copied().unwrap_or_default();
    let near = nearest(first, facts.objects.all.iter().map(String::as_str));
    let near: Vec<String> = if near.is_empty() {
        wanted.iter().take(EXAMPLES).map(|name| (*name).to_owned()).collect()
    } else {
        near.into_iter().map(str::to_owned).collect()
    };
    let advice = match holder(found, wanted) {
        Some(holder) => {
            format!("the label `{holder}` holds the names: map it in place of `{label}`")
        }
        None => format!("relabel at the scrape, so that `{label}` holds names of {resource}"),
    };
    let (cause, what) = if held.iter().any(|value| is_plausible_name(value)) {
        (Cause::NamesDiffer, "which are other names than those of")
    } else {
        (Cause::LabelIsNoObject, "which cannot be names of")
    };
    let seen = format!(
        "the label `{label}` of `{series}` holds {}, {what} {resource}, such as {}",
        listed(&shown),
        listed(&near)
    );
    Step::found(name::SERIES, cause, seen, advice)
}

/// Whether a text is the name of an object rather than an address, which has the form of a name too.
fn is_plausible_name(text: &str) -> bool {
    is_object_name(text) && !text.chars().all(|c| c.is_ascii_digit() || c == '.')
}
