//! The steps from a metric's name to its values.

use std::collections::BTreeSet;

use super::{
    Api, Cause, Step,
    candidates::{self, Candidate, Gap, mentions},
    facts::{
        AnswerFacts, Asked, Facts, HIDDEN, ObjectsFacts, Of, RuleFacts, Series, SeriesFacts,
        Served, Which,
    },
    name,
};
use crate::core::{
    duration,
    excerpt::{NAME, excerpt},
    nearest::{did_you_mean, nearest},
    quantity::Decimal,
    rules::{Aggregate, MetricRule, Nan},
    selector::{Operator, Selector},
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

/// Why no rule serves the metric.
fn unserved(facts: &Facts) -> Step {
    let asked = &facts.asked;
    let near = candidates::nearest(&asked.metric, asked.api(), &facts.rules);
    if let Of::Objects { kind: Err(resource), .. } = &asked.of {
        let seen = format!("there is no resource `{resource}`");
        return Step::found(
            name::RULE,
            Cause::OtherResource,
            seen,
            "correct the kind of the object",
        );
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
        Step::found(
            name::RULE,
            Cause::BrokenRule,
            seen,
            "correct the rule; `loadline check` shows its place",
        )
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

/// The series lack the label that names the objects.
fn lacks_label(facts: &Facts, id: &str, series: &str, found: &[&Series], label: &str) -> Step {
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

fn renamed_or_missing(id: &str, series: &str, found: &[&Series], label: &str) -> Step {
    let exported = format!("exported_{label}");
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

fn renamed(series: &str, label: &str) -> Step {
    Step::found(
        name::SERIES,
        Cause::ExportedLabels,
        format!(
            "series of `{series}` carry `exported_{label}`: Prometheus has set its own `{label}`"
        ),
        format!("set `honorLabels: true` at the scrape, or map `exported_{label}`"),
    )
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

fn ended(facts: &Facts, series: &SeriesFacts) -> Step {
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
        return Step::found(name::SERIES, Cause::AbsentAtZero, seen, AT_ZERO);
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

/// Why a metric that is served has no value.
fn no_value(facts: &Facts, served: &Served, answer: &AnswerFacts) -> Step {
    if answer.histograms > 0 && answer.samples.is_empty() {
        return Step::found(
            name::VALUES,
            Cause::HistogramSample,
            "the query returned a native histogram, which is no value",
            "take a number from it: `histogram_quantile(0.9, …)`, or `histogram_count(…)`",
        );
    }
    match &served.label {
        Some(label) => no_object(facts, served, answer, label),
        None => no_external(facts, served, answer),
    }
}

fn no_external(facts: &Facts, served: &Served, answer: &AnswerFacts) -> Step {
    let id = &served.rule.base().id.to_string();
    if let Some(step) = valueless(answer, answer.samples.iter(), id) {
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
    nothing(served, &series)
}

/// The samples that there are have no usable value.
fn valueless<'s>(
    answer: &AnswerFacts,
    samples: impl Iterator<Item = &'s Series>,
    id: &str,
) -> Option<Step> {
    let values: Vec<f64> = samples.map(|sample| sample.value).collect();
    if values.iter().any(|value| value.is_nan()) && answer.nan == Some(Nan::Drop) {
        return Some(Step::found(
            name::VALUES,
            Cause::Nan,
            "the query returned NaN, which is no value",
            format!("avoid a division by zero in metricsQuery of {id}, or set `nan: zero`"),
        ));
    }
    values.iter().any(|value| value.is_infinite()).then(|| {
        Step::found(
            name::VALUES,
            Cause::Infinite,
            "the query returned an infinite value",
            format!("avoid a division by zero in metricsQuery of {id}"),
        )
    })
}

/// Why none of the series is of the namespace, if none is.
fn other_namespace(facts: &Facts, served: &Served, series: &str, all: &[&Series]) -> Option<Step> {
    let (label, namespace) = (served.namespace_label.as_ref()?, facts.asked.namespace.as_ref()?);
    if all.iter().any(|series| series.label(label) == namespace) {
        return None;
    }
    let exported = format!("exported_{label}");
    if all.iter().any(|series| series.label(&exported) == namespace) {
        return Some(renamed(series, label));
    }
    if all.iter().all(|series| series.label(label).is_empty()) {
        return Some(renamed_or_missing(&served.rule.base().id.to_string(), series, all, label));
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
fn nothing(served: &Served, series: &SeriesFacts) -> Step {
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
    Step::found(
        name::QUERY,
        Cause::Filtered,
        format!("there are series of `{}`, and the query leaves out all of them", series.name),
        format!("check the matchers and comparisons in metricsQuery of {}", served.rule.base().id),
    )
}

fn no_object(facts: &Facts, served: &Served, answer: &AnswerFacts, label: &str) -> Step {
    let id = &served.rule.base().id.to_string();
    let series = facts.series.clone().unwrap_or_default();
    let all: Vec<&Series> = series.now.iter().collect();
    let wanted = wanted(facts);
    if !answer.samples.is_empty() {
        let of_wanted = answer.samples.iter().filter(|sample| wanted.contains(sample.label(label)));
        if let Some(step) = valueless(answer, of_wanted, id) {
            return step;
        }
        let is_lost = answer.samples.iter().all(|sample| sample.label(label).is_empty());
        let is_carried = all.is_empty() || all.iter().any(|series| !series.label(label).is_empty());
        if is_lost && is_carried {
            return aggregated(answer, id, label);
        }
    }
    if all.is_empty() {
        return ended(facts, &series);
    }
    if all.iter().all(|series| series.label(label).is_empty()) {
        return lacks_label(facts, id, &series.name, &all, label);
    }
    let exported = format!("exported_{label}");
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
    nothing(served, &series)
}

/// The names that values are wanted for.
fn wanted(facts: &Facts) -> BTreeSet<&str> {
    match &facts.asked.of {
        Of::Objects { which: Which::Named(name), .. } => BTreeSet::from([name.as_str()]),
        _ => facts.objects.selected.iter().map(|object| object.name.as_str()).collect(),
    }
}

fn aggregated(answer: &AnswerFacts, id: &str, label: &str) -> Step {
    let advice = format!("keep it: `sum(…) by (<<.GroupBy>>)` in metricsQuery of {id}");
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
    let (cause, what) = if held.iter().any(|value| is_object_name(value)) {
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

/// Whether a text can be the name of an object: a DNS subdomain, as RFC 1123 has it.
fn is_object_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let is_address = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.len() <= 253
        && text.chars().all(is_plain)
        && !is_address
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
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

fn resource(asked: &Asked) -> String {
    match &asked.of {
        Of::Objects { kind: Ok(kind), .. } => kind.resource.to_string(),
        Of::Objects { kind: Err(text), .. } => text.clone(),
        Of::External => "external metrics".to_owned(),
    }
}

/// What `resources.overrides` maps a label of the objects to.
fn mapping(asked: &Asked) -> String {
    match &asked.of {
        Of::Objects { kind: Ok(kind), .. } if !kind.resource.group.is_empty() => {
            format!("{}, group: {}", kind.singular, kind.resource.group)
        }
        Of::Objects { kind: Ok(kind), .. } => kind.singular.clone(),
        _ => resource(asked),
    }
}

/// The label whose values are among these names, if one is.
fn holder<'s>(found: &[&'s Series], names: &BTreeSet<&str>) -> Option<&'s str> {
    let mut labels = found.iter().flat_map(|series| &series.labels);
    labels.find(|(_, value)| names.contains(value.as_str())).map(|(label, _)| label.as_str())
}

fn listed(texts: &[String]) -> String {
    let shown: Vec<String> = texts.iter().take(EXAMPLES).map(|text| excerpt(text, NAME)).collect();
    let more = texts.len().saturating_sub(EXAMPLES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

fn examples(texts: &[String]) -> String {
    if texts.is_empty() { String::new() } else { format!(": {}", listed(texts)) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an age in seconds")]
fn spoken(seconds: f64) -> String {
    let seconds = std::time::Duration::from_secs(seconds.max(0.0).round() as u64);
    duration::prometheus(seconds)
}
