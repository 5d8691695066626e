//! Explains an autoscaler: its metrics one by one, and what it makes of them.

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::Value;

use super::{Explainer, Known};
use crate::core::{
    autoscaler::{Metric, Scale, Source},
    explain::{
        Cause, Explanation, Outcome, Step,
        facts::{Asked, Facts, Of, Which},
        hpa::{self, Found, PastDay},
        metric, name,
        workload::{Documents, OwnedPod, Workload, selector_text},
    },
    selector::Selector,
};
use crate::prometheus::Answer;

impl Explainer {
    /// Explains a metric that was asked about by itself.
    pub async fn explain_metric(&self, object: String, asked: Asked, known: Known) -> Explanation {
        let facts = self.gather(asked, known).await;
        Explanation::conclude(object, metric::steps(&facts), None)
    }

    /// Explains an autoscaler by its document and those of what it is about.
    pub async fn explain_hpa(&self, document: &Value, documents: &Documents) -> Explanation {
        let text =
            |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let object = format!("hpa/{}", text("/metadata/name"));
        let namespace =
            Some(text("/metadata/namespace")).filter(|it| !it.is_empty()).unwrap_or("default");
        let (read, mut steps) = hpa::spec(document);
        let Some((hpa, spec)) = read else { return Explanation::conclude(object, steps, None) };
        let (workload, pods, step) = target(&hpa, namespace, documents);
        let is_missing = step.is_failure();
        steps.push(step);
        if is_missing {
            return Explanation::conclude(object, steps, None);
        }
        steps.push(Step::unknown(name::APISERVICE, "needs a cluster"));
        steps.push(Step::unknown(name::ACCESS, "needs a cluster"));
        let mut found = Vec::new();
        for metric in &spec.metrics {
            let (of_metric, it) = self.metric_of(metric, namespace, workload.as_ref(), &pods).await;
            steps.extend(of_metric);
            steps.extend(hpa::target_steps(metric, &it));
            found.push(it);
        }
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let (outcome, decision): (Outcome, Vec<Step>) =
            hpa::decide(&spec, &hpa, workload.as_ref(), &pods, &found, now_ms);
        steps.extend(decision);
        Explanation::conclude(object, steps, Some(outcome))
    }

    async fn metric_of(
        &self,
        metric: &Metric,
        namespace: &str,
        workload: Option<&Workload>,
        pods: &[OwnedPod],
    ) -> (Vec<Step>, Found) {
        let mut known = Known::default();
        let (of, name, selector) = match &metric.source {
            Source::Pods { metric, selector } => {
                let kind = super::kind(&self.discovery.catalog(), "pods");
                let text = workload.map_or("", |workload| workload.selector.as_str());
                let which = Which::Selected(Selector::parse(text).unwrap_or_default());
                if !pods.is_empty() {
                    known.selected = Some(pods.iter().map(OwnedPod::facts).collect());
                }
                known.owner = workload.map(|workload| workload.name.clone());
                known.is_at_zero = workload.is_some_and(|workload| workload.scale.spec == 0);
                (Of::Objects { kind, which }, metric, selector)
            }
            Source::Object { object, metric, selector } => {
                let group =
                    object.api_version.as_deref().and_then(|version| version.split_once('/'));
                let resource = crate::core::kinds::guess_plural(&object.kind);
                let resource =
                    group.map_or(resource.clone(), |(group, _)| format!("{resource}.{group}"));
                let kind = self.kind_of(&object.kind, &resource);
                (Of::Objects { kind, which: Which::Named(object.name.clone()) }, metric, selector)
            }
            Source::External { metric, selector } => (Of::External, metric, selector),
            Source::Resource { resource, .. } => {
                let seen =
                    format!("{resource} is read from metrics.k8s.io: see `kubectl top pods`");
                let found =
                    Found { values: Err(seen.clone()), query: String::new(), history: None };
                return (vec![Step::unknown(name::VALUES, seen)], found);
            }
        };
        let selector =
            serde_json::to_value(selector).map(|it| selector_text(&it)).unwrap_or_default();
        let is_namespaced = match &of {
            Of::Objects { kind: Ok(kind), .. } => kind.namespaced,
            _ => true,
        };
        let asked = Asked {
            metric: name.clone(),
            of,
            namespace: is_namespaced.then(|| namespace.to_owned()),
            selector: Selector::parse(&selector).unwrap_or_default(),
        };
        let facts = self.gather(asked, known).await;
        let steps = metric::steps(&facts);
        let found = self.found(&facts).await;
        (steps, found)
    }

    /// The kind of an object that an autoscaler names, by its resource or by its own name.
    fn kind_of(&self, kind: &str, resource: &str) -> Result<Arc<crate::core::kinds::Kind>, String> {
        let catalog = self.discovery.catalog();
        super::kind(&catalog, resource).or_else(|_| {
            let mut kinds = catalog.kinds().iter();
            kinds
                .find(|known| known.kind == kind)
                .map(Arc::clone)
                .ok_or_else(|| resource.to_owned())
        })
    }

    async fn found(&self, facts: &Facts) -> Found {
        let Some(answer) = facts.answer.as_ref().filter(|answer| !answer.values.is_empty()) else {
            let steps = metric::steps(facts);
            let why = steps.iter().rev().find(|step| step.is_failure());
            let why = why.map_or_else(|| "no value".to_owned(), |step| step.seen.clone());
            return Found { values: Err(why), query: String::new(), history: None };
        };
        let history = self.history(facts, &answer.query).await;
        Found { values: Ok(answer.values.clone()), query: answer.query.clone(), history }
    }

    /// What the query has returned within a day.
    async fn history(&self, facts: &Facts, query: &str) -> Option<PastDay> {
        let rule = facts.served.as_ref()?.rule.base();
        let namespace = facts.asked.namespace.as_deref().unwrap_or_default();
        let backend = self.backends.handle(&rule.options, namespace).ok()?;
        let ask = async |query: String| match backend.query(&query).await {
            Ok(Answer::Vector(vector)) => vector.samples.first().map(|sample| sample.value),
            _ => None,
        };
        let step = PastDay::STEP_S;
        let highest = ask(format!("max(max_over_time(({query})[1d:{step}s]))")).await;
        let steps = ask(format!("max(count_over_time(({query})[1d:{step}s]))")).await;
        Some(PastDay { highest: highest?, steps: steps? })
    }
}

/// The workload that an autoscaler scales, its pods, and what there is to say of it.
fn target(
    hpa: &HorizontalPodAutoscaler,
    namespace: &str,
    documents: &Documents,
) -> (Option<Workload>, Vec<OwnedPod>, Step) {
    let wanted = &hpa.spec.scale_target_ref;
    let called = format!("{}/{}", wanted.kind, wanted.name);
    let current = hpa.status.as_ref().and_then(|status| status.current_replicas);
    if let Some(mut workload) = documents.workload(&wanted.kind, namespace, &wanted.name) {
        let selector = Selector::parse(&workload.selector).unwrap_or_default();
        let pods = documents.pods(namespace, &selector);
        let document = documents.find(&wanted.kind, namespace, &wanted.name);
        let is_written = document.is_some_and(|it| it.pointer("/spec/replicas").is_some());
        if !is_written {
            let there = i32::try_from(pods.len()).unwrap_or(i32::MAX).max(1);
            let spec = current.unwrap_or(there);
            workload.scale = Scale { spec, status: spec };
        }
        let seen = format!(
            "{called} has {} replicas, selector `{}`",
            workload.scale.spec, workload.selector
        );
        return (Some(workload), pods, Step::good(name::TARGET, seen));
    }
    let mut others = documents.of_kind(&wanted.kind);
    if others.next().is_some() {
        let seen = format!("there is no {called} in namespace {namespace}");
        let advice = "correct `scaleTargetRef` of the autoscaler";
        return (
            None,
            Vec::new(),
            Step::found(name::TARGET, Cause::HpaTargetNotFound, seen, advice),
        );
    }
    // Manifests of pods alone: those of the workload are known by their owner, or by their names.
    let all = documents.pods(namespace, &Selector::default());
    let prefix = format!("{}-", wanted.name);
    let is_own =
        |owned: &&OwnedPod| owned.owners.contains(&called) || owned.pod.name.starts_with(&prefix);
    let own: Vec<_> = all.iter().filter(is_own).cloned().collect();
    let pods = if own.is_empty() { all } else { own };
    let there = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    let spec = current.unwrap_or(there);
    let workload = (!pods.is_empty() || current.is_some()).then(|| Workload {
        name: called.clone(),
        scale: Scale { spec, status: spec },
        selector: String::new(),
    });
    let seen = format!("{called} is not among the objects; {there} pods are taken for its own");
    (workload, pods, Step::unknown(name::TARGET, seen))
}
