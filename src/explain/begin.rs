//! An explainer without a server: backends and a discovery of its own.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::{CancellationToken, DropGuard};

use super::Explainer;
use crate::{
    backends::Backends,
    core::rules::CredentialPolicy,
    discovery::{self, Discovery},
    kubernetes::KindsSource,
    metrics::Metrics,
    objects::Objects,
    prometheus::{Audience, Config, ConfigError},
    rules_file::Rules,
    team_rules::TeamRules,
    traces::Traces,
};

/// How long an explanation may take. Each query has a time of its own besides.
const PATIENCE: Duration = Duration::from_secs(120);

/// Without a server there is no log of one, and nobody else to be protected from what a backend says.
const AUDIENCE: Audience = Audience::Operator;

/// Connects the backends and discovers once the metrics of the rules that had samples within `max_age`. The discovery ends with the guard.
pub(crate) async fn begin(
    prometheus: Config,
    policy: CredentialPolicy,
    rules: Rules,
    kinds: KindsSource,
    objects: Objects,
    max_age: Duration,
) -> Result<(Explainer, DropGuard), ConfigError> {
    let metrics = Arc::new(Metrics::default());
    let backends = Arc::new(Backends::new(prometheus, Arc::new(policy), Arc::clone(&metrics))?);
    let current = rules.current();
    backends.install(&current);
    let settings = discovery::Settings {
        interval: Duration::from_secs(3_600),
        max_age,
        lookback: discovery::LOOKBACK,
    };
    let (discovery, handle) = Discovery::new(
        Arc::clone(&backends),
        kinds,
        &current,
        settings,
        metrics,
        Traces::default(),
    );
    let stop = CancellationToken::new();
    tokio::spawn(discovery.told_to(AUDIENCE).run(stop.clone()));
    let stop = stop.drop_guard();
    handle.first_try().await;
    let objects = Arc::new(objects);
    let explainer = Explainer {
        discovery: handle,
        objects,
        backends,
        delegates: None,
        rules,
        fallbacks: None,
        team_rules: TeamRules::default(),
        patience: PATIENCE,
        audience: AUDIENCE,
    };
    Ok((explainer, stop))
}
