//! What rules of teams may do. It is set by whoever runs loadline, not by the teams.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{Backend, fields::Fields};

/// `teamRules` of the rules file, and the entries of `backends` that rules of teams may query.
#[derive(Clone, Debug)]
pub struct TeamPolicy {
    /// The label of series that holds the namespace. Teams must not be able to choose its value.
    pub namespace_label: Arc<str>,
    /// The servers that rules may name, in the order of the file. A rule that names none asks the first of them. If there are
    /// none, rules ask the server of `--prometheus-url` and may name none.
    pub backends: Vec<Arc<Backend>>,
    /// The limits of each namespace.
    pub quotas: TeamQuotas,
}

/// What the rules of a namespace may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TeamQuotas {
    /// `MetricRule`s. Of more, the oldest count.
    pub rules: NonZeroU32,
    /// Queries at a time.
    pub queries: NonZeroU32,
    /// Samples in the result of a query.
    pub samples: NonZeroU32,
    /// How long a query may take; never zero.
    pub query_time: Duration,
}

impl Default for TeamPolicy {
    fn default() -> Self {
        Self {
            namespace_label: "namespace".into(),
            backends: Vec::new(),
            quotas: TeamQuotas::default(),
        }
    }
}

impl Default for TeamQuotas {
    fn default() -> Self {
        let count = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self {
            rules: count(100),
            queries: count(4),
            samples: count(10_000),
            query_time: Duration::from_secs(5),
        }
    }
}

impl TeamPolicy {
    /// Whether it is the same, word by word for the backends.
    pub(in crate::core) fn is_same(&self, other: &Self) -> bool {
        let fingerprints = |policy: &Self| -> Vec<_> {
            policy.backends.iter().map(|backend| backend.fingerprint).collect()
        };
        (&self.namespace_label, self.quotas) == (&other.namespace_label, other.quotas)
            && fingerprints(self) == fingerprints(other)
    }
}

/// The policy of `teamRules`, if a file has it, and of these backends.
pub(super) fn compile(written: Option<&Fields<'_>>, backends: &[Arc<Backend>]) -> TeamPolicy {
    let mut policy = TeamPolicy {
        backends: backends.iter().filter(|backend| backend.team_rules).cloned().collect(),
        ..TeamPolicy::default()
    };
    let Some(written) = written else { return policy };
    let label = written.text("namespaceLabel").value;
    if !label.is_empty() {
        policy.namespace_label = label.into();
    }
    let Some(quotas) = written.object("quotas") else { return policy };
    let count = |key| quotas.text(key).value.parse().ok();
    let default = TeamQuotas::default();
    policy.quotas = TeamQuotas {
        rules: count("rules").unwrap_or(default.rules),
        queries: count("queries").unwrap_or(default.queries),
        samples: count("samples").unwrap_or(default.samples),
        query_time: quotas.duration("queryTime").unwrap_or(default.query_time),
    };
    policy
}
