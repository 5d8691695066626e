//! The flags of `serve`: prometheus-adapter's, and ours.
//!
//! Go's syntax is taken: `--x=y`, `--x y`, a bare boolean, `--x=false`, `-v=4`, durations as `1m30s`; of a flag that is given
//! twice the last one counts.

mod accepted;
mod certificates;
mod memory;
mod prometheus;
mod rules;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};

use self::{accepted::AcceptedFlags, certificates::CertificateFlags, memory::MemoryFlags};
pub(super) use self::{
    memory::MemoryLimit,
    prometheus::{CredentialFlags, PrometheusFlags},
    rules::RulesFlags,
};
use crate::{
    app::ClusterSettings,
    auth::{access, trust},
    core::duration,
    server::limits::Limits,
};

/// An invalid command line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

/// The flags of `serve`.
#[derive(Args, Debug)]
#[command(args_override_self = true)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) rules: RulesFlags,
    #[command(flatten)]
    pub(super) prometheus: PrometheusFlags,
    #[command(flatten)]
    pub(super) credentials: CredentialFlags,
    #[command(flatten)]
    pub(super) discovery: DiscoveryFlags,
    #[command(flatten)]
    pub(super) cluster: ClusterFlags,
    #[command(flatten)]
    pub(super) serving: ServingFlags,
    #[command(flatten)]
    pub(super) access: AccessFlags,
    #[command(flatten)]
    pub(super) certificates: CertificateFlags,
    #[command(flatten)]
    pub(super) memory: MemoryFlags,
    #[command(flatten)]
    pub(super) logging: LoggingFlags,
    #[command(flatten)]
    pub(super) accepted: AcceptedFlags,

    /// Arguments that are not flags, in a form that may be logged. They have no effect.
    #[arg(skip)]
    pub(super) strays: Vec<String>,
}

/// How long a cluster takes to withdraw the endpoints of a server that stops.
const WITHDRAWAL: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
#[command(next_help_heading = "Discovery")]
pub(super) struct DiscoveryFlags {
    /// Interval of metric discovery
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::parse_go)]
    pub(super) metrics_relist_interval: Duration,

    /// How far back discovery looks for series, at least as far as queries do [default: the relist interval]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_go)]
    metrics_max_age: Option<Duration>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterFlags {
    /// Kubeconfig of the cluster whose objects are described [default: the cluster that loadline runs in]
    #[arg(long, value_name = "FILE")]
    pub(super) lister_kubeconfig: Option<PathBuf>,

    /// Serve without a cluster: with Kubernetes' built-in kinds, and every object that a query returns
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    pub(super) standalone: bool,

    /// With --standalone: the objects that exist, as a file or directory of manifests
    #[arg(long, value_name = "PATH")]
    pub(super) objects: Option<PathBuf>,

    /// Serve the metrics of MetricRules and ClusterMetricRules, which are watched in all namespaces
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    pub(super) team_rules: bool,

    /// Write a kubeconfig for this server
    #[arg(long, value_name = "FILE")]
    pub(super) write_kubeconfig: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Serving")]
pub(super) struct ServingFlags {
    /// Address to listen on [default: 0.0.0.0; with --standalone 127.0.0.1]
    #[arg(long, value_name = "IP")]
    bind_address: Option<IpAddr>,

    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    pub(super) secure_port: u16,

    /// Address of the status page and of profiles, without TLS and authentication: a port of loopback, or IP:PORT
    #[arg(long, value_name = "ADDRESS", value_parser = debug_address)]
    pub(super) debug_address: Option<SocketAddr>,

    /// How long connections are still accepted after SIGTERM, while /readyz fails [default: 5s; with --standalone 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_go)]
    shutdown_delay: Option<Duration>,

    /// Maximum number of connections; at most three quarters of the files that the process may have open [default: 4096, or as
    /// many as take a sixteenth of the memory limit]
    #[arg(long, value_name = "COUNT")]
    max_connections: Option<usize>,

    /// Maximum number of connections from one address without a valid credential; a new one replaces one of them
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().strangers_per_address)]
    max_anonymous_connections: usize,

    /// Serve HTTP/1.1 only
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean, alias = "disable-http2-serving")]
    disable_http2: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Authentication and authorization")]
pub(super) struct AccessFlags {
    /// Kubeconfig for token reviews and for the cluster's trusted authorities [default: that of --lister-kubeconfig]
    #[arg(long, value_name = "FILE")]
    authentication_kubeconfig: Option<PathBuf>,

    /// Do not look up the cluster's trusted authorities
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    authentication_skip_lookup: bool,

    /// Be ready before the cluster's trusted authorities have been read
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    authentication_tolerate_lookup_failure: bool,

    /// How long token reviews are cached
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_go)]
    authentication_token_webhook_cache_ttl: Duration,

    /// Authorities of client certificates, instead of the cluster's
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,

    /// Authorities of the front proxy's certificate, instead of the cluster's
    #[arg(long, value_name = "FILE")]
    requestheader_client_ca_file: Option<PathBuf>,

    /// Allowed common names of the front proxy's certificate, instead of the cluster's
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,

    /// Headers with the user's name, instead of the cluster's
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_username_headers: Vec<String>,

    /// Headers with the user's groups, instead of the cluster's
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_group_headers: Vec<String>,

    /// Headers with the user's UID, instead of the cluster's
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_uid_headers: Vec<String>,

    /// Prefixes of headers with the user's extra fields, instead of the cluster's
    #[arg(long, value_name = "PREFIXES", value_delimiter = ',')]
    requestheader_extra_headers_prefix: Vec<String>,

    /// Kubeconfig for access reviews [default: that of --lister-kubeconfig]
    #[arg(long, value_name = "FILE")]
    authorization_kubeconfig: Option<PathBuf>,

    /// Paths that need no authorization; a final * matches every path with that prefix
    #[arg(
        long,
        value_name = "PATHS",
        value_delimiter = ',',
        default_value = "/healthz,/readyz,/livez"
    )]
    authorization_always_allow_paths: Vec<String>,

    /// How long access reviews that allow are cached
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_go)]
    authorization_webhook_cache_authorized_ttl: Duration,

    /// How long access reviews that deny are cached
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_go)]
    authorization_webhook_cache_unauthorized_ttl: Duration,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Logging")]
pub(super) struct LoggingFlags {
    /// Log verbosity: debug messages from 4, everything from 8
    #[arg(short, long, value_name = "LEVEL", default_value_t = 0, allow_negative_numbers = true)]
    v: i32,

    /// Log format, on standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Serve {
    /// klog's verbosity.
    pub(super) fn verbosity(&self) -> i32 {
        self.logging.v
    }
}

impl DiscoveryFlags {
    /// How far back discovery looks. With rules it must cover the interval between two discoveries.
    pub(super) fn max_age(&self, has_rules: bool) -> Result<Duration, UsageError> {
        let interval = self.metrics_relist_interval;
        let max_age = self.metrics_max_age.unwrap_or(interval);
        if interval.is_zero() {
            return Err(UsageError("--metrics-relist-interval must not be 0".to_owned()));
        }
        if has_rules && max_age < interval {
            let text = "--metrics-max-age must not be less than --metrics-relist-interval";
            return Err(UsageError(text.to_owned()));
        }
        Ok(max_age)
    }
}

impl AccessFlags {
    /// How the cluster authenticates and authorizes callers.
    pub(super) fn settings(
        &self,
        lister_kubeconfig: Option<PathBuf>,
        team_rules: bool,
    ) -> ClusterSettings {
        ClusterSettings {
            lister_kubeconfig,
            authentication_kubeconfig: self.authentication_kubeconfig.clone(),
            authorization_kubeconfig: self.authorization_kubeconfig.clone(),
            trust: trust::Overrides {
                client_ca_file: self.client_ca_file.clone(),
                requestheader_client_ca_file: self.requestheader_client_ca_file.clone(),
                allowed_names: listed(&self.requestheader_allowed_names),
                username_headers: listed(&self.requestheader_username_headers),
                group_headers: listed(&self.requestheader_group_headers),
                uid_headers: listed(&self.requestheader_uid_headers),
                extra_prefixes: listed(&self.requestheader_extra_headers_prefix),
            },
            skip_lookup: self.authentication_skip_lookup,
            tolerate_lookup_failure: self.authentication_tolerate_lookup_failure,
            token_ttl: self.authentication_token_webhook_cache_ttl,
            access_ttls: access::Ttls {
                authorized: self.authorization_webhook_cache_authorized_ttl,
                unauthorized: self.authorization_webhook_cache_unauthorized_ttl,
            },
            always_allowed: listed(&self.authorization_always_allow_paths),
            team_rules,
        }
    }
}

impl ServingFlags {
    /// The address to listen on. Without a cluster nobody can be authenticated, so the default is loopback then.
    pub(super) fn address(&self, standalone: bool) -> SocketAddr {
        let default = if standalone { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        SocketAddr::new(self.bind_address.unwrap_or(default.into()), self.secure_port)
    }

    /// How long connections are accepted after the signal. Without a cluster no endpoints are withdrawn.
    pub(super) fn shutdown_delay(&self, standalone: bool) -> Duration {
        let default = if standalone { Duration::ZERO } else { WITHDRAWAL };
        self.shutdown_delay.unwrap_or(default)
    }

    /// How many connections there may be, where there is memory for so many.
    pub(super) fn limits(&self, connections: usize) -> Result<Limits, UsageError> {
        let (connections, strangers_per_address) =
            (self.max_connections.unwrap_or(connections), self.max_anonymous_connections);
        if connections < 2 || strangers_per_address == 0 {
            let text =
                "--max-connections has to be 2 at the least, and --max-anonymous-connections 1";
            return Err(UsageError(text.to_owned()));
        }
        Ok(Limits { connections, strangers_per_address })
    }

    /// Whether HTTP/2 is offered.
    pub(super) fn http2(&self) -> bool {
        !self.disable_http2
    }
}

/// A port of loopback, or an IP address with a port.
fn debug_address(text: &str) -> Result<SocketAddr, &'static str> {
    let port = text.strip_prefix(':').unwrap_or(text).parse();
    let loopback = port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    loopback.or_else(|_| text.parse()).map_err(|_no_address| "a port or IP:PORT is expected")
}

/// A list of a flag; nothing between two commas is nothing. As in Go, which reads CSV, an item may stand in quotes.
fn listed(items: &[String]) -> Vec<String> {
    let items = items.iter().map(|item| item.trim_matches('"'));
    items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// The spellings of Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("true or false is expected"),
    }
}
