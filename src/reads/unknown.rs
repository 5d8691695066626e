//! Why a metric, or its objects, cannot be found.

use std::sync::Arc;

use super::{MetricRequest, ReadError, Reads, external::ExternalRequest, kind, look::About};
use crate::{
    core::{
        catalog::Catalog,
        explain::command::ExplainBy,
        kinds::{GroupResource, Kind},
        nearest::did_you_mean,
        oddity, plan,
        rules::{RuleEntry, RuleId},
    },
    discovery::Problem,
};

/// How many rules an error names.
const MAX_NAMED: usize = 5;

impl Reads {
    /// Why a metric of objects is not known.
    pub(super) async fn unknown(&self, request: &MetricRequest) -> ReadError {
        let catalog = self.catalog();
        let renamed = self.renamed_label(&catalog, request).await;
        let (problems, remarks) = (self.discovery.problems(), self.discovery.remarks());
        unknown(&catalog, (&problems, &remarks), request, renamed.as_deref())
    }

    /// The label of the objects, if that is what the metric lacks: it is one of other objects, and its series have the label by
    /// another name.
    async fn renamed_label(&self, catalog: &Catalog, request: &MetricRequest) -> Option<Arc<str>> {
        let path = &request.path;
        let kind = kind(catalog, path)?;
        // It may have been found meanwhile.
        if catalog.get(&kind.resource, &path.metric).is_some() {
            return None;
        }
        let mut others = catalog.kinds_with(&path.metric).into_iter();
        let entry = others.find_map(|other| catalog.get(other, &path.metric))?;
        let rule = &entry.rule.base;
        let mapping = rule.mapping.resolve(catalog.kinds());
        let label = Arc::from(mapping.label(&kind.resource)?);
        let query = plan::renamed_labels(&entry.series, [&*label])?;
        self.looks.renamed(About::new(rule, &label), path.scope(), &query).await
    }
}

/// Why a metric of objects is not known, by the problems and the remarks of discovery. `renamed` is the label of the objects that
/// the series of other objects have by another name.
fn unknown(
    catalog: &Catalog,
    (problems, remarks): (&[Problem], &[Problem]),
    request: &MetricRequest,
    renamed: Option<&str>,
) -> ReadError {
    let path = &request.path;
    if catalog.kinds().is_empty() {
        return ReadError::NotDiscovered { cause: "the cluster's kinds are not known".to_owned() };
    }
    if let Some(error) =
        waiting(catalog, problems, |rule| matches!(rule.entry, RuleEntry::Custom(_)))
    {
        return error;
    }
    let GroupResource { group, resource } = &path.resource;
    let resolved = catalog.kinds().resolve(group, resource);
    let name = resolved.map_or(&path.resource, |kind| &kind.resource);
    let cause = match resolved {
        None => {
            let near = catalog.kinds().near(&path.resource);
            format!("{}{}", catalog.kinds().lacks(&path.resource), did_you_mean(&near))
        }
        Some(kind) if kind.namespaced && path.namespace.is_none() => {
            format!("{name} are read in a namespace: namespaces/NAMESPACE/{name}/…")
        }
        Some(kind) if !kind.namespaced && path.namespace.is_some() => {
            format!("{name} are not in a namespace")
        }
        Some(kind) => {
            let idle = idle(remarks, &path.metric, |rule| matches!(rule, RuleEntry::Custom(_)));
            let renamed = renamed.map(oddity::renamed);
            let served = || catalog.why_unknown(&kind.resource, &path.metric);
            let served = (idle.is_none() || catalog.has_anywhere(&path.metric)).then(served);
            let refused =
                refused(problems, &path.metric, |rule| matches!(rule, RuleEntry::Custom(_)));
            let causes = served.into_iter().chain(renamed).chain(idle).chain(refused);
            let causes: Vec<_> = causes.collect();
            causes.join("; ")
        }
    };
    request.unknown(name.to_string(), cause)
}

/// Why no object is read.
pub(super) fn no_objects(request: &MetricRequest, kind: &Kind) -> String {
    let place = match &request.path.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => String::new(),
    };
    if request.objects.is_empty() {
        format!("there are no {}{place}", kind.resource)
    } else {
        format!("no {}{place} match the label selector `{}`", kind.resource, request.objects)
    }
}

/// Why an external metric is not known. The message names no resource, as in prometheus-adapter.
pub(super) fn unknown_external(
    catalog: &Catalog,
    (problems, remarks): (&[Problem], &[Problem]),
    request: &ExternalRequest,
) -> ReadError {
    let metric = &request.path.metric;
    let is_external = |rule: &RuleEntry| matches!(rule, RuleEntry::External(_));
    let cause = || {
        let known = idle(remarks, metric, is_external);
        let known = known.unwrap_or_else(|| catalog.why_unknown_external(metric));
        let causes: Vec<_> =
            [known].into_iter().chain(refused(problems, metric, is_external)).collect();
        causes.join("; ")
    };
    let waiting = waiting(catalog, problems, |rule| matches!(rule.entry, RuleEntry::External(_)));
    waiting.unwrap_or_else(|| ReadError::UnknownMetric {
        metric: metric.clone(),
        of: String::new(),
        cause: cause(),
        inquiry: Box::new(request.inquiry()),
        by: ExplainBy::default(),
    })
}

/// Why a rule that may be one of the metric serves none: the backend refuses to look for its series.
fn refused(
    problems: &[Problem],
    metric: &str,
    is_of_api: impl Fn(&RuleEntry) -> bool,
) -> Option<String> {
    let may_be = |problem: &Problem| problem.metric.as_deref().is_none_or(|it| it == metric);
    serves_none(problems, is_of_api, |problem| problem.is_refusal && may_be(problem))
}

/// Why the rule that would serve a metric serves none, where there is such a rule.
fn idle(
    remarks: &[Problem],
    metric: &str,
    is_of_api: impl Fn(&RuleEntry) -> bool,
) -> Option<String> {
    serves_none(remarks, is_of_api, |remark| remark.metric.as_deref() == Some(metric))
}

/// The first problem that is meant, of a rule of the API.
fn serves_none(
    problems: &[Problem],
    is_of_api: impl Fn(&RuleEntry) -> bool,
    is_meant: impl Fn(&Problem) -> bool,
) -> Option<String> {
    problems.iter().filter(|problem| is_meant(problem)).find_map(|problem| {
        let rule = problem.rule.as_ref().filter(|rule| is_of_api(&rule.entry))?;
        Some(format!("{rule} serves no metric: {}", problem.cause))
    })
}

/// The error while rules have not been discovered yet, with the first of their problems.
fn waiting(
    catalog: &Catalog,
    problems: &[Problem],
    is_of_api: impl Fn(&RuleId) -> bool,
) -> Option<ReadError> {
    let is_refused = |rule: &RuleId| {
        problems.iter().any(|problem| problem.is_refusal && problem.rule.as_ref() == Some(rule))
    };
    let rules = catalog.undiscovered().iter().filter(|rule| is_of_api(rule) && !is_refused(rule));
    let rules: Vec<_> = rules.cloned().collect();
    let (named, rest) = rules.split_at(rules.len().min(MAX_NAMED));
    let mut cause = format!("waiting for {}", RuleId::list(named));
    if !rest.is_empty() {
        cause.push_str(&format!(" and {} more", rest.len()));
    }
    let is_of_these =
        |problem: &&Problem| problem.rule.as_ref().is_some_and(|rule| rules.contains(rule));
    if let Some(problem) = problems.iter().find(is_of_these) {
        cause.push_str(&format!(": {}", problem.cause));
    }
    (!rules.is_empty()).then_some(ReadError::NotDiscovered { cause })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::{
        core::{
            catalog::{DiscoveredRule, Found, external::NAME},
            kinds::Kinds,
            rules::load,
            selector::Selector,
        },
        wire::path,
    };

    const RULES: &str = "rules:
- {seriesQuery: a, resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: a}
externalRules:
- {seriesQuery: b, resources: {namespaced: false}, metricsQuery: b}
";

    /// The metric `requests` of pods and the external metric `queue`; or nothing, before any discovery has succeeded.
    fn catalog(kinds: Kinds, is_discovered: bool) -> Catalog {
        let rules = load(RULES).unwrap();
        let names = [("pod", "requests"), (NAME, "queue")];
        let discovered: Vec<_> = rules
            .of_metrics()
            .zip(names)
            .map(|(rule, (label, name))| {
                let mut found = Found::default();
                found.insert(label, name);
                DiscoveredRule {
                    mapping: Arc::new(rule.base().mapping.resolve(&kinds)),
                    rule,
                    found: is_discovered.then(|| Arc::new(found)),
                }
            })
            .collect();
        Catalog::build(Arc::new(kinds), &discovered, &BTreeSet::new())
    }

    fn request(path: &str, objects: &str) -> MetricRequest {
        MetricRequest {
            path: path::parse(path).unwrap(),
            objects: Selector::parse(objects).unwrap(),
            metric: Selector::default(),
        }
    }

    fn external(metric: &str) -> ExternalRequest {
        let path = path::parse_external(&format!("namespaces/n/{metric}")).unwrap();
        ExternalRequest { path, selector: Selector::parse("queue=jobs").unwrap() }
    }

    #[test]
    fn what_is_missing_is_named_once_with_the_command_that_explains_it() {
        let catalog = catalog(Kinds::builtin(), true);
        for (path, selector, of, command) in [
            ("namespaces/n/pods/p/request", "", "pods: ", "-n n pods/p request"),
            ("namespaces/n/pod/*/request", "app=a", "pods: ", "-n n --selector=app=a pod request"),
            ("namespaces/n/gadgets/g/x", "", "gadgets: ", "-n n gadgets/g x"),
            ("pods/p/requests", "", "pods: ", "pods/p requests"),
            ("namespaces/n/nodes/a/x", "", "nodes: ", "-n n nodes/a x"),
            ("namespaces/n/metrics/x", "", "namespaces: ", "-n n namespaces/n x"),
        ] {
            let message = unknown(&catalog, (&[], &[]), &request(path, selector), None).to_string();
            let begin = "the server could not find the metric ";
            let end = format!("; run: loadline explain {command}");
            assert!(message.starts_with(begin) && message.contains(of), "{message}");
            assert!(message.ends_with(&end), "{message}");
            assert_eq!(message.matches("loadline explain").count(), 1, "{message}");
        }
        let message = unknown_external(&catalog, (&[], &[]), &external("queues")).to_string();
        let end = "; run: loadline explain -n n --selector=queue=jobs external queues";
        assert!(message.contains("queues for : ") && message.ends_with(end), "{message}");
    }

    #[test]
    fn before_a_discovery_nothing_is_missing() {
        let catalog = catalog(Kinds::builtin(), false);
        let problem = |rule, cause: &str| Problem {
            rule,
            cause: cause.to_owned(),
            metric: None,
            is_refusal: false,
        };
        let problems = [
            problem(None, "of all"),
            problem(Some(RuleEntry::External(0).into()), "of the other API"),
            problem(Some(RuleEntry::Custom(0).into()), "own"),
        ];
        let request = request("namespaces/n/pods/p/requests", "");
        let waiting = |error| match error {
            ReadError::NotDiscovered { cause } => cause,
            error => panic!("{error}"),
        };
        let cause = waiting(unknown(&catalog, (&problems, &[]), &request, None));
        assert_eq!(cause, "waiting for rules[0]: own");
        assert_eq!(waiting(unknown(&catalog, (&[], &[]), &request, None)), "waiting for rules[0]");
        let cause = waiting(unknown_external(&catalog, (&problems, &[]), &external("queue")));
        assert_eq!(cause, "waiting for externalRules[0]: of the other API");
    }

    #[test]
    fn the_rule_that_would_serve_a_metric_is_named_with_its_reason() {
        let catalog = catalog(Kinds::builtin(), true);
        let remark = |rule: RuleEntry, metric: &str| Problem {
            rule: Some(rule.into()),
            cause: "of its own".to_owned(),
            metric: Some(metric.to_owned()),
            is_refusal: false,
        };
        let remarks = [
            remark(RuleEntry::External(0), "k"),
            remark(RuleEntry::Custom(1), "other"),
            remark(RuleEntry::Custom(2), "k"),
            remark(RuleEntry::Custom(3), "queue"),
        ];
        let why = |metric: &str, renamed| {
            let request = request(&format!("namespaces/n/pods/p/{metric}"), "");
            unknown(&catalog, (&[], &remarks), &request, renamed).to_string()
        };
        let cause = ": rules[2] serves no metric: of its own; run: ";
        assert!(why("k", None).contains(cause), "{}", why("k", None));
        let served = why("queue", Some("pod"));
        for cause in ["external.metrics.k8s.io has", "`exported_pod`", "rules[3] serves no metric"]
        {
            assert!(served.contains(cause), "{served}");
        }
        let message = unknown_external(&catalog, (&[], &remarks), &external("k")).to_string();
        assert!(message.contains(": externalRules[0] serves no metric: of its own"), "{message}");
    }

    /// Otherwise one rule would keep every unknown name from being told.
    #[test]
    fn a_rule_whose_series_the_backend_refuses_to_look_for_is_not_waited_for() {
        let catalog = catalog(Kinds::builtin(), false);
        let refused = |rule: RuleEntry, metric: Option<&str>| Problem {
            rule: Some(rule.into()),
            cause: "refused".to_owned(),
            metric: metric.map(str::to_owned),
            is_refusal: true,
        };
        let path = "namespaces/n/pods/p/requests";
        for (metric, is_told) in [(None, true), (Some("requests"), true), (Some("x"), false)] {
            let problems =
                [refused(RuleEntry::Custom(0), metric), refused(RuleEntry::External(0), metric)];
            let error = unknown(&catalog, (&problems, &[]), &request(path, ""), None);
            assert!(matches!(error, ReadError::UnknownMetric { .. }), "{error}");
            let cause = "rules[0] serves no metric: refused";
            assert_eq!(error.to_string().contains(cause), is_told, "{error}");
            let error = unknown_external(&catalog, (&problems, &[]), &external("requests"));
            let cause = "externalRules[0] serves no metric: refused";
            assert_eq!(error.to_string().contains(cause), is_told, "{error}");
        }
    }

    #[test]
    fn without_kinds_no_resource_is_missing() {
        let catalog = catalog(Kinds::default(), true);
        let error = unknown(&catalog, (&[], &[]), &request("namespaces/n/pods/p/x", ""), None);
        assert!(matches!(error, ReadError::NotDiscovered { .. }), "{error}");
    }

    #[test]
    fn an_error_names_a_few_rules_of_many() {
        let rules: String = (0..MAX_NAMED + 2)
            .map(|rule| format!("- {{seriesQuery: a{rule}, resources: {{template: <<.Resource>>}}, metricsQuery: a}}\n"))
            .collect();
        let rules = load(&format!("rules:\n{rules}")).unwrap();
        let kinds = Arc::new(Kinds::builtin());
        let undiscovered = |rule: crate::core::rules::MetricRule| DiscoveredRule {
            mapping: Arc::new(rule.base().mapping.resolve(&kinds)),
            rule,
            found: None,
        };
        let discovered: Vec<_> = rules.of_metrics().map(undiscovered).collect();
        let catalog = Catalog::build(Arc::clone(&kinds), &discovered, &BTreeSet::new());
        let error =
            unknown(&catalog, (&[], &[]), &request("namespaces/n/pods/p/x", ""), None).to_string();
        assert!(error.ends_with(" and 2 more") && !error.contains("rules[5]"), "{error}");
    }

    #[test]
    fn the_place_of_missing_objects_is_named() {
        let kinds = Kinds::builtin();
        for (path, selector, why) in [
            ("namespaces/n/pods/*/x", "", "there are no pods in namespace n"),
            (
                "namespaces/n/pods/*/x",
                "a=b",
                "no pods in namespace n match the label selector `a=b`",
            ),
            ("nodes/*/x", "", "there are no nodes"),
        ] {
            let request = request(path, selector);
            let kind = kinds.resolve("", &request.path.resource.resource).unwrap();
            assert_eq!(no_objects(&request, kind), why);
        }
    }
}
