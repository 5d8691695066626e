//! Looks at an installation: gathers what `core::installation` draws its conclusions from.
//!
//! Registrations, rights and autoscalers are read from kube-apiserver, and what lies behind an autoscaler's metric from the server
//! that is installed. Backends and rules are looked at with a backend connection and a discovery of our own, where somebody says how.

mod access;
mod apis;
mod backends;
mod hpas;
mod rules;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    core::{
        installation::{self, Finding, Subject},
        rules::CredentialPolicy,
    },
    discovery::LOOKBACK,
    explain::{begin, cluster::Cluster},
    objects::Objects,
    prometheus::{Config, ConfigError},
    rules_file::Rules,
};

/// How the server that is installed asks its backends, and by which rules.
pub struct Source {
    /// The backend of the flags.
    pub prometheus: Config,
    /// What backends of the rules file may use.
    pub policy: CredentialPolicy,
    /// The rules.
    pub rules: Rules,
    /// The namespaces of ConfigMaps with rules, if the server reads such; where it is empty, its own.
    pub config_maps: Option<BTreeSet<Arc<str>>>,
}

/// What is looked at.
pub struct Scope {
    /// The namespace whose autoscalers are looked at; nothing for all.
    pub namespace: Option<String>,
    /// How long everything may take.
    pub timeout: Duration,
}

/// Looks at everything. What was not reached in time is among the findings. Without a source, backends and rules are not looked at.
pub async fn check(
    cluster: &Cluster,
    source: Option<Source>,
    scope: &Scope,
) -> Result<Vec<Finding>, ConfigError> {
    let until = Instant::now() + scope.timeout;
    let rules = source.as_ref().map(|source| source.rules.clone());
    let config_maps = source.as_ref().and_then(|source| source.config_maps.clone());
    let (of_cluster, of_source) = tokio::join!(
        of_cluster(cluster, (rules.as_ref(), config_maps.as_ref()), scope, until),
        of_source(cluster, source, until),
    );
    let (mut findings, of_hpas) = of_cluster;
    findings.extend(of_source?);
    findings.extend(of_hpas);
    Ok(findings)
}

/// What kube-apiserver says: of registrations and rights, and of autoscalers.
async fn of_cluster(
    cluster: &Cluster,
    (rules, config_maps): (Option<&Rules>, Option<&BTreeSet<Arc<str>>>),
    scope: &Scope,
    until: Instant,
) -> (Vec<Finding>, Vec<Finding>) {
    let late = |subject: Subject| {
        Finding::incomplete(subject, "not looked at in time", "allow more time by --timeout")
    };
    let Ok(apis) = timeout_at(until, apis::look(cluster, rules)).await else {
        return (vec![late(Subject::ApiService(String::new()))], Vec::new());
    };
    let mut findings = installation::apis::judge(&apis.facts);
    let service = installation::apis::service(&apis.facts);
    let candidate = installation::apis::candidate(&apis.facts);
    let services = (service.as_deref(), candidate.as_deref());
    let access = access::look(cluster, &apis.listed, services, config_maps);
    match timeout_at(until, access).await {
        Ok(access) => findings.extend(access),
        Err(_elapsed) => {
            let subject = Subject::Access(installation::Who::HpaController);
            findings.push(late(subject));
        }
    }
    let hpas = hpas::look(cluster, &apis, scope.namespace.as_deref(), until).await;
    (findings, hpas)
}

/// What the backends say, and what the rules serve.
async fn of_source(
    cluster: &Cluster,
    source: Option<Source>,
    until: Instant,
) -> Result<Vec<Finding>, ConfigError> {
    let subjects = || [Subject::Backend(String::new()), Subject::Rule(None)];
    let Some(Source { prometheus, policy, rules, .. }) = source else {
        let why = "they can only be looked at with the arguments of the server, after `--`; the Job of the manifests does so in the cluster";
        return Ok(subjects().map(|subject| Finding::unchecked(subject, why)).into());
    };
    let kinds = cluster.reader().kinds();
    let begun = begin(prometheus, policy, rules, kinds, Objects::Unknown, LOOKBACK);
    let Ok(begun) = timeout_at(until, begun).await else {
        let late = "no discovery has ended in time";
        let help = "allow more time by --timeout";
        return Ok(subjects().map(|it| Finding::incomplete(it, late, help)).into());
    };
    let (explainer, _stop) = begun?;
    let deadline = explainer.by(until);
    let mut findings = backends::look(&explainer, deadline).await;
    findings.extend(rules::look(&explainer, deadline).await);
    Ok(findings)
}
