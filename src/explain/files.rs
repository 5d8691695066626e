//! An explanation without a cluster: rules and objects of files, and a Prometheus.

use std::{path::Path, sync::Arc, time::Duration};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::Value;
use tokio_util::sync::DropGuard;

use super::{
    Explainer, Known,
    begin::begin,
    environment::{Environment, Target, Way},
};
use crate::{
    core::{
        autoscaler::Scale,
        explain::{
            Answered, Api, Cause, Inquiry, Step,
            hpa::Found,
            name,
            sight::Sight,
            workload::{Documents, OwnedPod, Workload, scale},
        },
        kinds::Kinds,
        rules::CredentialPolicy,
        rules_files::{RulesFiles, Update},
        selector::Selector,
    },
    kubernetes::KindsSource,
    objects::{Manifests, Objects},
    prometheus::{Config, ConfigError},
    rules_file::{ConfigPath, Rules},
};

/// What a process that explains works with, until it ends.
pub struct Standalone {
    explainer: Explainer,
    /// The manifests.
    documents: Documents,
    _stop: DropGuard,
}

impl Standalone {
    /// Connects the backends and discovers once the metrics of the rules that had samples within `max_age`.
    pub async fn begin(
        prometheus: Config,
        policy: CredentialPolicy,
        rules: Rules,
        manifests: Option<Manifests>,
        documents: Documents,
        max_age: Duration,
    ) -> Result<Self, ConfigError> {
        let kinds = manifests.as_ref().map_or_else(Kinds::builtin, Manifests::kinds);
        let kinds = KindsSource::Builtin(Arc::new(kinds));
        let objects = manifests.map_or(Objects::Unknown, Objects::Manifests);
        let (explainer, stop) = begin(prometheus, policy, rules, kinds, objects, max_age).await?;
        Ok(Self { explainer, documents, _stop: stop })
    }

    /// What asks the backends.
    pub(crate) fn explainer(&self) -> &Explainer {
        &self.explainer
    }

    /// The manifests.
    pub(crate) fn documents(&self) -> &Documents {
        &self.documents
    }
}

/// Compiles a rules file, or those of a folder. Of one that is refused whole, every rule is a broken one.
///
/// # Errors
///
/// The folder, or a file, cannot be read, or the folder has no rules files or too many.
pub fn rules(path: &Path) -> Result<Rules, String> {
    let files = ConfigPath::new(path).read_all()?;
    let Update { files, rules, .. } = RulesFiles::default().update(files);
    Ok(Rules::new(rules.unwrap_or_default()).of_files(&files))
}

impl Environment for Standalone {
    async fn target(&self, hpa: &HorizontalPodAutoscaler, namespace: &str) -> Target {
        let (workload, pods, step) = target(hpa, namespace, &self.documents);
        // Where none is written down, the objects that the query returns say which there are.
        Target { workload, pods, all_pods: Vec::new(), steps: vec![step] }
    }

    async fn way(&self, _inquiries: &[Inquiry]) -> Way {
        let steps = [name::APISERVICE, name::ACCESS];
        let steps = steps.map(|name| Step::unknown(name, "needs a cluster"));
        Way { steps: steps.into(), ..Way::default() }
    }

    async fn metric(
        &self,
        _way: &Way,
        inquiry: &Inquiry,
        mut known: Known,
    ) -> Result<Answered, Step> {
        if inquiry.api() == Api::Resource && !self.explainer.has_usage_rules() {
            let resource = &inquiry.metric;
            let seen = format!(
                "the rules have no `resourceRules`: {resource} is read from another server, such as metrics-server (`kubectl top pods`)"
            );
            let steps = vec![Step::unknown(name::VALUES, seen.clone())];
            return Ok(Answered { steps, found: Found::missing(seen) });
        }
        known.selected = known.selected.filter(|selected| !selected.is_empty());
        let asked = self.explainer.asked(inquiry);
        Ok(self.explainer.answer(asked, known, Sight::Backend).await)
    }
}

/// Reads the documents of a file, or of every `.yaml`, `.yml` and `.json` file of a folder.
pub fn documents(path: &Path) -> Result<Documents, String> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries =
            std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let is_document = |path: &std::path::PathBuf| {
            path.extension()
                .and_then(|it| it.to_str())
                .is_some_and(|it| ["yaml", "yml", "json"].contains(&it))
        };
        files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_document).collect();
        files.sort();
    }
    let mut all = Documents::default();
    for file in files {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(&file).map_err(|error| failed(&error))?;
        all.extend(documents_of(&text).map_err(|error| failed(&error))?);
    }
    Ok(all)
}

/// Reads the documents of a text.
pub fn documents_of(text: &str) -> Result<Documents, String> {
    // `n` and `yes` are names, as in all that Kubernetes writes, and what is not looked at may hold any number.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
    };
    let documents: Vec<Option<Value>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| error.without_snippet().to_string())?;
    Ok(Documents::new(documents.into_iter().flatten().collect()))
}

/// The workload that an autoscaler scales, its pods as far as they are known, and what there is to say of it.
fn target(
    hpa: &HorizontalPodAutoscaler,
    namespace: &str,
    documents: &Documents,
) -> (Option<Workload>, Option<Vec<OwnedPod>>, Step) {
    let wanted = &hpa.spec.scale_target_ref;
    let called = format!("{}/{}", wanted.kind, wanted.name);
    let current = hpa.status.as_ref().and_then(|status| status.current_replicas);
    let document = documents.find(&wanted.kind, namespace, &wanted.name);
    if let Some(mut workload) = documents.workload(&wanted.kind, namespace, &wanted.name) {
        let selector = Selector::parse(&workload.selector).unwrap_or_default();
        let pods = documents.pods(namespace, &selector);
        if !document.is_some_and(says_replicas) {
            let there = i32::try_from(pods.len()).unwrap_or(i32::MAX).max(1);
            let spec = current.unwrap_or(there);
            workload.scale = Scale { spec, status: spec };
        }
        let seen = format!(
            "{called} has {} replicas, selector `{}`",
            workload.scale.spec, workload.selector
        );
        return (Some(workload), Some(pods), Step::good(name::TARGET, seen));
    }
    // Manifests of pods alone: those of the workload are known by their owner, or by their names.
    let all = documents.pods(namespace, &Selector::default());
    let prefix = format!("{}-", wanted.name);
    let is_own =
        |owned: &&OwnedPod| owned.owners.contains(&called) || owned.pod.name.starts_with(&prefix);
    let own: Vec<_> = all.iter().filter(is_own).cloned().collect();
    if let Some(document) = document {
        let mut scale = scale(document);
        if !says_replicas(document) {
            let there = i32::try_from(own.len()).unwrap_or(i32::MAX).max(1);
            let spec = current.unwrap_or(there);
            scale = Scale { spec, status: spec };
        }
        let pods = (!own.is_empty()).then_some(own);
        let known = match &pods {
            Some(pods) => format!("{} pods are taken for its own", pods.len()),
            None => "which pods are its own is not known".to_owned(),
        };
        let seen = format!(
            "{called} is there, and its manifest has no selector, neither `spec.selector` nor `status.selector`: {known}; the controller reads it from `.status.selector` of the scale subresource"
        );
        let workload = Workload { name: called, scale, selector: String::new() };
        return (Some(workload), pods, Step::unknown(name::TARGET, seen));
    }
    let mut others = documents.of_kind(&wanted.kind);
    if others.next().is_some() {
        let seen = format!("there is no {called} in namespace {namespace}");
        let advice = "correct `scaleTargetRef` of the autoscaler";
        return (None, None, Step::found(name::TARGET, Cause::HpaTargetNotFound, seen, advice));
    }
    let pods = if own.is_empty() { all } else { own };
    let there = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    let spec = current.unwrap_or(there);
    let workload = (!pods.is_empty() || current.is_some()).then(|| Workload {
        name: called.clone(),
        scale: Scale { spec, status: spec },
        selector: String::new(),
    });
    let seen = format!("{called} is not among the objects; {there} pods are taken for its own");
    (workload, Some(pods), Step::unknown(name::TARGET, seen))
}

fn says_replicas(document: &Value) -> bool {
    document.pointer("/spec/replicas").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manifest_without_a_selector_is_there_all_the_same() {
        let hpa = |name: &str| -> HorizontalPodAutoscaler {
            let target = json!({"apiVersion": "x.io/v1", "kind": "Model", "name": name});
            let spec = json!({"scaleTargetRef": target, "maxReplicas": 5});
            serde_json::from_value(json!({"spec": spec})).unwrap()
        };
        let documents = documents_of(
            "
apiVersion: v1
kind: List
items:
- {apiVersion: x.io/v1, kind: Model, metadata: {name: iris, namespace: n}}
- {apiVersion: x.io/v1, kind: Model, metadata: {name: served, namespace: n}, spec: {replicas: 3}}
- {apiVersion: x.io/v1, kind: Model, metadata: {name: whole, namespace: n}, status: {selector: app=whole}}
- {apiVersion: v1, kind: Pod, metadata: {name: served-0, namespace: n}}
- {apiVersion: v1, kind: Pod, metadata: {name: other-0, namespace: n}}
",
        )
        .unwrap();
        let of = |name: &str| {
            let (workload, pods, step) = target(&hpa(name), "n", &documents);
            let replicas = workload.map(|workload| workload.scale.spec);
            (replicas, pods.map(|pods| pods.len()), step)
        };
        for (name, replicas, pods, lacks_selector) in
            [("iris", 1, None, true), ("served", 3, Some(1), true), ("whole", 1, Some(0), false)]
        {
            let (found, own, step) = of(name);
            assert_eq!((found, own, step.is_failure()), (Some(replicas), pods, false), "{name}");
            assert_eq!(step.seen.contains("`.status.selector`"), lacks_selector, "{}", step.seen);
        }
        let (found, own, step) = of("missing");
        assert_eq!((found, own, step.is_failure()), (None, None, true));
    }
}
