//! Why no rule serves a metric.

use std::collections::BTreeSet;

use super::{
    advice_for,
    series::{ended, holder, lacks_label, renamed_or_missing},
    words::{listed, mapping, resource},
};
use crate::core::{
    explain::{
        Api, Cause, Step,
        candidates::{self, Candidate, Gap, mentions},
        facts::{Facts, Of, RuleFacts, Series, UnknownKind},
        name,
    },
    nearest::{did_you_mean, nearest},
};

/// Why no rule serves the metric.
pub(super) fn unserved(facts: &Facts) -> Step {
    let asked = &facts.asked;
    let near = candidates::nearest(&asked.metric, asked.api(), &facts.rules);
    if let Of::Objects { kind: Err(UnknownKind { written, near }), .. } = &asked.of {
        let seen = format!("there is no resource `{written}`{}", did_you_mean(near));
        let advice = "correct the kind of the object, and its group";
        return Step::found(name::RULE, Cause::OtherResource, seen, advice);
    }
    let facts_of = |candidate: &Candidate| facts.rules.get(candidate.rule);
    match near.as_ref().and_then(|near| Some((near, facts_of(near)?))) {
        Some((Candidate { series, gap: Gap::None, .. }, rule)) => unmapped(facts, rule, series),
        _ if facts.is_in_other_api => wrong_api(facts),
        Some((candidate, rule)) if !matches!(candidate.gap, Gap::Renamed(_)) => {
            hindered(facts, rule, candidate)
        }
        renamed => {
            let failed = facts.rules.iter().filter(|facts| Api::of(&facts.rule) == asked.api());
            let failure = failed.clone().find_map(|rule| Some((rule, rule.names.as_ref().err()?)));
            if let Some((rule, failure)) = failure {
                let seen = format!("{}: {}", rule.rule.base().id, failure.text);
                return Step::found(name::RULE, failure.cause, seen, advice_for(failure.cause));
            }
            if let Some(step) = broken(facts) {
                return step;
            }
            match renamed {
                Some((Candidate { series, gap: Gap::Renamed(name), .. }, rule)) => {
                    let seen =
                        format!("{} calls the series `{series}` `{name}`", rule.rule.base().id);
                    let advice =
                        format!("ask for `{name}`, or change `name` of {}", rule.rule.base().id);
                    Step::found(name::RULE, Cause::UnknownMetric, seen, advice)
                }
                _ => unknown(facts),
            }
        }
    }
}

fn wrong_api(facts: &Facts) -> Step {
    let metric = &facts.asked.metric;
    let (here, there, advice) = if facts.asked.api() == Api::Custom {
        (
            "custom.metrics.k8s.io",
            "external.metrics.k8s.io",
            "use `type: External` in the autoscaler, or add a rule to `rules`",
        )
    } else {
        (
            "external.metrics.k8s.io",
            "custom.metrics.k8s.io",
            "use `type: Pods` or `type: Object` in the autoscaler, or add a rule to `externalRules`",
        )
    };
    let seen = format!("{there} serves `{metric}`, and {here} does not");
    Step::found(name::RULE, Cause::WrongApi, seen, advice)
}

/// Which of the rules that do not compile is meant, if one may be.
fn broken(facts: &Facts) -> Option<Step> {
    let metric = &facts.asked.metric;
    let broken = facts.broken.iter().find(|broken| mentions(metric, &broken.text));
    broken.map(|broken| {
        let seen = format!("{}: {}", broken.path, broken.problem);
        let (cause, advice) = if broken.is_over_quota {
            (Cause::QuotaExceeded, advice_for(Cause::QuotaExceeded))
        } else {
            (Cause::BrokenRule, "correct the rule; `loadline check` shows its place")
        };
        Step::found(name::RULE, cause, seen, advice)
    })
}

fn unknown(facts: &Facts) -> Step {
    let asked = &facts.asked;
    if !facts.undiscovered.is_empty() {
        let seen = format!("nothing is known yet of {}", listed(&facts.undiscovered));
        return Step::found(name::RULE, Cause::NotReady, seen, "wait for the first discovery");
    }
    let near = nearest(&asked.metric, facts.served_names.iter().map(String::as_str));
    let seen = format!("no rule serves a metric `{}`{}", asked.metric, did_you_mean(&near));
    let advice = match near.first() {
        Some(near) => format!("ask for `{near}`, or add a rule"),
        None => "add a rule whose `seriesQuery` finds the series".to_owned(),
    };
    Step::found(name::RULE, Cause::UnknownMetric, seen, advice)
}

/// Why a series that the rule calls so is no metric of the kind.
fn unmapped(facts: &Facts, rule: &RuleFacts, series: &str) -> Step {
    let id = &rule.rule.base().id.to_string();
    let all = facts.series.as_ref();
    let found = matching(rule, all.map(|series| series.day.as_slice()).unwrap_or_default());
    if let Some(all) = all.filter(|all| all.now.is_empty()) {
        return ended(facts, all);
    }
    let Some(label) = &rule.label else {
        if facts.asked.api() == Api::External {
            return missing_namespace(id, series, &found, rule.namespace_label.as_deref());
        }
        return elsewhere(facts, rule, series, &found);
    };
    if found.iter().all(|series| series.label(label).is_empty()) {
        return lacks_label(facts, id, series, &found, label);
    }
    missing_namespace(id, series, &found, rule.namespace_label.as_deref())
}

fn missing_namespace(id: &str, series: &str, found: &[&Series], label: Option<&str>) -> Step {
    match label {
        Some(label) => renamed_or_missing(id, series, found, label),
        None => Step::found(
            name::RULE,
            Cause::LabelMissing,
            format!("{id} maps no label to namespaces"),
            "map the label that holds the namespace: `namespace: {resource: namespace}`",
        ),
    }
}

/// The label for the kind is not mapped.
fn elsewhere(facts: &Facts, rule: &RuleFacts, series: &str, found: &[&Series]) -> Step {
    let id = &rule.rule.base().id.to_string();
    let names: BTreeSet<&str> = facts.objects.all.iter().map(String::as_str).collect();
    let holds = |label: &str| found.iter().any(|series| names.contains(series.label(label)));
    let resource = resource(&facts.asked);
    if let Some((label, other)) = rule.labels.iter().find(|(label, _)| holds(label)) {
        let seen = format!(
            "the label `{label}` of `{series}` holds names of {resource}, and {id} maps it to {other}"
        );
        let advice = format!("map it: `{label}: {{resource: {}}}`", mapping(&facts.asked));
        return Step::found(name::RULE, Cause::LabelMapsElsewhere, seen, advice);
    }
    let carried = rule
        .labels
        .iter()
        .filter(|(label, _)| found.iter().any(|series| !series.label(label).is_empty()));
    let others: BTreeSet<String> = carried.map(|(_, resource)| resource.clone()).collect();
    let others: Vec<String> = others.into_iter().collect();
    let seen =
        format!("{id} serves `{}` for {}, not for {resource}", facts.asked.metric, listed(&others));
    let advice = match holder(found, &names) {
        Some(label) => format!("map the label: `{label}: {{resource: {}}}`", mapping(&facts.asked)),
        None => "ask for an object of these, or map the label that holds the names".to_owned(),
    };
    Step::found(name::RULE, Cause::OtherResource, seen, advice)
}

/// Why the rule that is meant does not serve the series.
fn hindered(facts: &Facts, rule: &RuleFacts, candidate: &Candidate) -> Step {
    let (id, series) = (&rule.rule.base().id.to_string(), &candidate.series);
    match candidate.gap {
        Gap::Filter(filter) => Step::found(
            name::RULE,
            Cause::Filtered,
            format!("seriesFilters[{filter}] of {id} leaves out `{series}`"),
            format!("change seriesFilters[{filter}] of {id}"),
        ),
        Gap::Matches => Step::found(
            name::RULE,
            Cause::NameDoesNotMatch,
            format!("name.matches of {id} does not match `{series}`"),
            format!(
                "change name.matches of {id}, so that it matches the whole name that it should"
            ),
        ),
        Gap::Excluded => excluded(facts, rule, series),
        Gap::Absent | Gap::None | Gap::Renamed(_) => Step::found(
            name::SERIES,
            Cause::SeriesAbsent,
            format!(
                "{id} would serve it from `{series}`, and Prometheus has had no such series within a day"
            ),
            "check that the exporter is scraped, and that the series' name is right",
        ),
    }
}

/// Which matcher of `seriesQuery` leaves a series out.
fn excluded(facts: &Facts, rule: &RuleFacts, series: &str) -> Step {
    let id = &rule.rule.base().id.to_string();
    let day = facts.series.as_ref().map(|series| series.day.as_slice()).unwrap_or_default();
    let all: Vec<&Series> = day.iter().collect();
    let matchers = rule.rule.base().selector.matchers().unwrap_or_default();
    let matchers = matchers.iter().filter(|matcher| matcher.name != "__name__");
    let refusing = matchers
        .filter(|matcher| all.iter().all(|series| !matcher.is_match(series.label(&matcher.name))));
    let refusing = refusing.collect::<Vec<_>>();
    let is_lacking = |label: &str| all.iter().all(|series| series.label(label).is_empty());
    if let Some(lacking) = refusing.iter().find(|matcher| is_lacking(&matcher.name)) {
        return lacks_label(facts, id, series, &all, &lacking.name);
    }
    let (matcher, example) = match refusing.first() {
        Some(matcher) => {
            let values: BTreeSet<&str> = all.iter().map(|it| it.label(&matcher.name)).collect();
            let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
            (
                format!("the matcher `{matcher}`"),
                format!("; the series have {}={}", matcher.name, listed(&values)),
            )
        }
        None => ("its matchers".to_owned(), String::new()),
    };
    Step::found(
        name::RULE,
        Cause::Filtered,
        format!("seriesQuery of {id} leaves out `{series}` by {matcher}{example}"),
        format!("change seriesQuery of {id}"),
    )
}

/// Those of the series that `seriesQuery` finds.
fn matching<'s>(rule: &RuleFacts, series: &'s [Series]) -> Vec<&'s Series> {
    let matchers = rule.rule.base().selector.matchers().unwrap_or_default();
    let is_found = |series: &&Series| {
        let mut others = matchers.iter().filter(|matcher| matcher.name != "__name__");
        others.all(|matcher| matcher.is_match(series.label(&matcher.name)))
    };
    let found: Vec<_> = series.iter().filter(is_found).collect();
    if found.is_empty() { series.iter().collect() } else { found }
}
