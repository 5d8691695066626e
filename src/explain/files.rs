//! An explanation without a cluster: rules and objects of files, and a Prometheus.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Explainer;
use crate::{
    backends::Backends,
    core::{
        explain::{facts::BrokenRule, workload::Documents},
        kinds::Kinds,
        rules::{self, CredentialPolicy, Problem, RuleId, RuleSet},
    },
    discovery::{self, Discovery},
    kubernetes::KindsSource,
    metrics::Metrics,
    objects::{Manifests, Objects},
    prometheus::{Config, ConfigError},
    traces::Traces,
};

/// What a process that explains works with, until it ends.
pub struct Standalone {
    /// What explains.
    pub explainer: Explainer,
    stop: CancellationToken,
}

impl Standalone {
    /// Connects the backends and discovers the metrics of the rules once.
    pub async fn begin(
        prometheus: Config,
        policy: CredentialPolicy,
        rules: (RuleSet, Vec<BrokenRule>),
        manifests: Option<Manifests>,
    ) -> Result<Self, ConfigError> {
        let metrics = Arc::new(Metrics::default());
        let backends = Arc::new(Backends::new(prometheus, Arc::new(policy), Arc::clone(&metrics))?);
        let (rules, broken) = rules;
        backends.install(&rules.backends);
        let kinds = manifests.as_ref().map_or_else(Kinds::builtin, Manifests::kinds);
        let settings = discovery::Settings {
            interval: Duration::from_secs(3_600),
            max_age: discovery::LOOKBACK,
            lookback: discovery::LOOKBACK,
        };
        let (discovery, handle) = Discovery::new(
            Arc::clone(&backends),
            KindsSource::Builtin(Arc::new(kinds)),
            &rules,
            settings,
            metrics,
            Traces::default(),
        );
        let stop = CancellationToken::new();
        tokio::spawn(discovery.run(stop.clone()));
        handle.first_try().await;
        let objects = Arc::new(manifests.map_or(Objects::Unknown, Objects::Manifests));
        let rules = Arc::new(rules);
        Ok(Self {
            explainer: Explainer { discovery: handle, objects, backends, rules, broken },
            stop,
        })
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Compiles a rules file. Of one that is refused whole, every rule is a broken one.
pub fn rules(text: &str) -> (RuleSet, Vec<BrokenRule>) {
    let written = written(text);
    let (rules, problems) = match rules::load(text) {
        Ok(mut rules) => {
            let broken = std::mem::take(&mut rules.broken);
            (rules, broken)
        }
        Err(problems) => (RuleSet::default(), problems),
    };
    let broken = problems.iter().map(|problem| broken(problem, &written, text));
    (rules, broken.collect())
}

fn broken(problem: &Problem, written: &BTreeMap<String, String>, all: &str) -> BrokenRule {
    let path = problem.path.to_string();
    let rule = RuleId::of(&problem.path).map(|rule| rule.to_string());
    let text = rule.and_then(|rule| written.get(&rule)).map_or(all, String::as_str);
    let place = problem.place.map(|place| format!("{place}: ")).unwrap_or_default();
    BrokenRule {
        path: if path.is_empty() { "the rules file".to_owned() } else { path },
        problem: format!("{place}{}", problem.message),
        text: text.to_owned(),
    }
}

/// What the file says of each rule, as text, by its path.
fn written(text: &str) -> BTreeMap<String, String> {
    let root: Value = serde_saphyr::from_str(text).unwrap_or_default();
    let lists = ["rules", "externalRules"].into_iter().flat_map(|list| {
        let rules = root.get(list).and_then(Value::as_array).into_iter().flatten();
        rules.enumerate().map(move |(index, rule)| (format!("{list}[{index}]"), rule.to_string()))
    });
    lists.collect()
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
        // `n` and `yes` are names, as in all that Kubernetes writes, and what is not looked at may hold any number.
        let options = serde_saphyr::options! {
            strict_booleans: true,
            non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        };
        let documents: Vec<Option<Value>> =
            serde_saphyr::from_multiple_with_options(&text, options)
                .map_err(|error| failed(&error.without_snippet()))?;
        all.extend(Documents::new(documents.into_iter().flatten().collect()));
    }
    Ok(all)
}
