//! Everything that a server is made from.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    auth::{access::Ttls, trust},
    core::{
        budgets::MemoryBudgets,
        rules::{CredentialPolicy, RuleSet},
    },
    discovery, planner, prometheus, registrations,
    rules_file::Source,
    server::{certificates, limits::Limits, tls},
    traces,
};

/// Everything that a server is made from.
pub struct Settings {
    /// The compiled rules of files.
    pub rules: RuleSet,
    /// Where the rules are from, if they can change.
    pub source: Option<Source>,
    /// The backend.
    pub prometheus: prometheus::Config,
    /// Which credentials the backends of the rules file may use.
    pub credentials: Arc<CredentialPolicy>,
    /// Where kinds and objects come from, and who may read.
    pub cluster: Cluster,
    /// The address to listen on; port 0 takes a free one.
    pub address: SocketAddr,
    /// Where the status page is served without authentication, if it is wanted.
    pub debug_address: Option<SocketAddr>,
    /// The name of the host, for the status page.
    pub host: String,
    /// Where the serving certificate comes from.
    pub certificates: certificates::Settings,
    /// The Service that the cluster reaches us by, if that is known.
    pub service: Option<registrations::Service>,
    /// The versions and suites of TLS, and whether HTTP/2 is offered.
    pub tls: tls::options::Options,
    /// How many connections there may be.
    pub limits: Limits,
    /// What the parts may take in memory.
    pub memory: MemoryBudgets,
    /// When metrics are discovered, and how far back.
    pub discovery: discovery::Settings,
    /// How queries are shared and how long their results may be used.
    pub planning: planner::Settings,
    /// Where to write a kubeconfig for this server.
    pub write_kubeconfig: Option<PathBuf>,
    /// The time from the request to stop to the end of accepting connections.
    pub shutdown_delay: Duration,
    /// Where traces go, if they are wanted.
    pub traces: Option<Box<traces::Settings>>,
}

/// Where kinds and objects come from, and who may read.
pub enum Cluster {
    /// A cluster, which also authenticates and authorizes users.
    Kubernetes(Box<ClusterSettings>),
    /// No cluster: the built-in kinds, the objects of manifests or, without any, those that queries return; everybody on
    /// this machine may read.
    Standalone {
        /// A file or a directory of manifests.
        objects: Option<PathBuf>,
    },
}

/// How the cluster is reached and asked. Without a kubeconfig it is the one that we run in.
pub struct ClusterSettings {
    /// The kubeconfig for kinds and objects.
    pub lister_kubeconfig: Option<PathBuf>,
    /// The kubeconfig for token reviews and the trusted authorities.
    pub authentication_kubeconfig: Option<PathBuf>,
    /// The kubeconfig for access reviews.
    pub authorization_kubeconfig: Option<PathBuf>,
    /// What the flags say of trusted authorities.
    pub trust: trust::Overrides,
    /// Whether the trusted authorities of the cluster are not looked up at all.
    pub skip_lookup: bool,
    /// Whether readiness does not wait for the trusted authorities.
    pub tolerate_lookup_failure: bool,
    /// How long token reviews are remembered.
    pub token_ttl: Duration,
    /// How long access reviews are remembered.
    pub access_ttls: Ttls,
    /// Paths that everybody may read.
    pub always_allowed: Vec<String>,
    /// Whether rules of teams are watched and served.
    pub team_rules: bool,
}
