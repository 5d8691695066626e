//! The flags of `serve`: prometheus-adapter's, and ours.
//!
//! Go's syntax is taken: `--x=y`, `--x y`, a bare boolean, `--x=false`, `-v=4`, durations as `1m30s`; of a flag that is given
//! twice the last one counts.

mod certificates;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};

use self::certificates::CertificateFlags;
use crate::{
    app::ClusterSettings,
    auth::{access, trust},
    cache::slot::Life,
    core::{
        duration,
        rules::{CredentialPolicy, DEFAULT_FOLDER, HostPattern},
    },
    kubeconfig::ReadError,
    planner,
    prometheus::{self, ConfigError, Source},
    server::limits::Limits,
};

/// A command line that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

/// The flags of `serve`.
#[derive(Args, Debug)]
#[command(args_override_self = true)]
pub(super) struct Serve {
    /// The rules file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Refuse to start when a rule does not compile, instead of leaving it out
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    pub(super) strict: bool,

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
    pub(super) logging: LoggingFlags,
    #[command(flatten)]
    pub(super) accepted: AcceptedFlags,

    /// Arguments that are no flags, as they may be shown. They have no effect.
    #[arg(skip)]
    pub(super) strays: Vec<String>,
}

/// How long a cluster takes to withdraw the endpoints of a server that ends.
const WITHDRAWAL: Duration = Duration::from_secs(5);

/// The longest that a value may be taken for fresh, as for rules.
const LONGEST_TTL: Duration = Duration::from_secs(3_600);

/// The longest that a value may be used for all rules. With an older one an autoscaler would multiply again and again.
const LONGEST_STALE: Duration = Duration::from_secs(60);

/// What backends of the rules file may use: whoever edits that file need not be trusted with all that the process can read.
#[derive(Args, Debug)]
#[command(next_help_heading = "Credentials of backends in the rules file")]
pub(super) struct CredentialFlags {
    /// A folder whose files backends may name, never those of the service account; can be given several times
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    backend_credentials_dir: Vec<String>,

    /// The hosts of backends with `authInCluster`: HOST, HOST:PORT or .DOMAIN
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    in_cluster_auth_hosts: Vec<String>,

    /// The hosts, besides loopback ones, that credentials are sent to over http: HOST, HOST:PORT or .DOMAIN
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    plaintext_credentials_hosts: Vec<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Prometheus")]
pub(super) struct PrometheusFlags {
    /// The URL of Prometheus, with any path prefix. User and password in it are used for basic authentication
    #[arg(long, value_name = "URL", default_value = "https://localhost")]
    prometheus_url: String,

    /// Authenticate to Prometheus with the service account of the pod
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    prometheus_auth_incluster: bool,

    /// Authenticate to Prometheus with the user of a kubeconfig
    #[arg(long, value_name = "FILE")]
    prometheus_auth_config: Option<PathBuf>,

    /// The certification authorities that Prometheus' certificate is checked with
    #[arg(long, value_name = "FILE")]
    prometheus_ca_file: Option<PathBuf>,

    /// A client certificate for Prometheus
    #[arg(long, value_name = "FILE")]
    prometheus_client_tls_cert_file: Option<PathBuf>,

    /// The key of the client certificate
    #[arg(long, value_name = "FILE")]
    prometheus_client_tls_key_file: Option<PathBuf>,

    /// A file with a bearer token for Prometheus; read again when it changes
    #[arg(long, value_name = "FILE")]
    prometheus_token_file: Option<PathBuf>,

    /// A header of every request to Prometheus, such as X-Scope-OrgID=team; can be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    prometheus_header: Vec<String>,

    /// The HTTP method of requests to Prometheus: GET or POST. Long queries always go by POST
    #[arg(long, value_name = "METHOD", default_value = "GET", value_parser = method)]
    prometheus_verb: prometheus::Method,

    /// How long a query may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_go)]
    prometheus_query_timeout: Duration,

    /// How long a request of discovery may take
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration::parse_go)]
    prometheus_discovery_timeout: Duration,

    /// How long query results are kept; 0 asks Prometheus for every read
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse_go)]
    cache_ttl: Duration,

    /// How old a query result may be that is used because Prometheus fails; 0 uses none
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_go)]
    max_stale: Duration,

    /// The length from which on a query is sent in parts, where that gives the same answer
    #[arg(long, value_name = "BYTES", default_value = "8192")]
    max_query_bytes: usize,

    /// Let one query serve the readers in all namespaces where that gives the same answer
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    share_across_namespaces: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Discovery")]
pub(super) struct DiscoveryFlags {
    /// The time between two discoveries of the metrics that there are
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::parse_go)]
    pub(super) metrics_relist_interval: Duration,

    /// How far back discovery looks for series, at least as far as queries do [default: the relist interval]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_go)]
    metrics_max_age: Option<Duration>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterFlags {
    /// The kubeconfig of the cluster whose objects are described [default: the cluster that we run in]
    #[arg(long, value_name = "FILE")]
    pub(super) lister_kubeconfig: Option<PathBuf>,

    /// Serve without a cluster: Kubernetes' built-in kinds are known, and every object that a query returns is listed
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    pub(super) standalone: bool,

    /// With --standalone: the objects that there are, as a file or a directory of manifests
    #[arg(long, value_name = "PATH")]
    pub(super) objects: Option<PathBuf>,

    /// Write a kubeconfig whose credentials this server accepts
    #[arg(long, value_name = "FILE")]
    pub(super) write_kubeconfig: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Serving")]
pub(super) struct ServingFlags {
    /// The address to listen on [default: 0.0.0.0; with --standalone 127.0.0.1]
    #[arg(long, value_name = "IP")]
    bind_address: Option<IpAddr>,

    /// The port to listen on; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    pub(super) secure_port: u16,

    /// The time from the signal to stop to the end of accepting connections, while readiness says no [default: 5s, and 0s
    /// with --standalone]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_go)]
    shutdown_delay: Option<Duration>,

    /// The most connections at a time. Three quarters of the files that the process may have open are the most
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().connections)]
    max_connections: usize,

    /// The most connections from one address on which nobody has shown a good credential yet; one of them makes room for a new one
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
    /// The kubeconfig for reviews of bearer tokens and for the cluster's trusted authorities [default: as
    /// --lister-kubeconfig]
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

    /// How long reviews of bearer tokens are remembered
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_go)]
    authentication_token_webhook_cache_ttl: Duration,

    /// Authorities of client certificates, in place of the cluster's
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,

    /// Authorities of the front proxy's certificate, in place of the cluster's
    #[arg(long, value_name = "FILE")]
    requestheader_client_ca_file: Option<PathBuf>,

    /// Common names that the front proxy's certificate may have, in place of the cluster's
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,

    /// Headers with the user's name, in place of the cluster's
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_username_headers: Vec<String>,

    /// Headers with the user's groups, in place of the cluster's
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_group_headers: Vec<String>,

    /// Headers with the user's identifier, in place of the cluster's
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_uid_headers: Vec<String>,

    /// What headers with further facts begin with, in place of the cluster's
    #[arg(long, value_name = "PREFIXES", value_delimiter = ',')]
    requestheader_extra_headers_prefix: Vec<String>,

    /// The kubeconfig for access reviews [default: as --lister-kubeconfig]
    #[arg(long, value_name = "FILE")]
    authorization_kubeconfig: Option<PathBuf>,

    /// Paths that everybody may read; one that ends in * stands for all that begin so
    #[arg(
        long,
        value_name = "PATHS",
        value_delimiter = ',',
        default_value = "/healthz,/readyz,/livez"
    )]
    authorization_always_allow_paths: Vec<String>,

    /// How long access reviews that allow are remembered
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_go)]
    authorization_webhook_cache_authorized_ttl: Duration,

    /// How long access reviews that refuse are remembered
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_go)]
    authorization_webhook_cache_unauthorized_ttl: Duration,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Logging")]
pub(super) struct LoggingFlags {
    /// How much is logged: from 4 on debug messages, from 8 on everything
    #[arg(short, long, value_name = "LEVEL", default_value_t = 0, allow_negative_numbers = true)]
    v: i32,

    /// The format of the log, on standard error
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

/// Defines flags of prometheus-adapter that are taken and have no effect.
macro_rules! accepted {
    ($($name:ident),* $(,)?) => {
        /// Flags of prometheus-adapter that are taken and have no effect.
        #[derive(Args, Debug)]
        pub(super) struct AcceptedFlags {
            $(
                #[arg(long, hide = true, num_args = 0..=1, require_equals = false, default_missing_value = "")]
                $name: Vec<String>,
            )*
        }

        impl AcceptedFlags {
            /// The flags that were given, as they are written.
            pub(super) fn given(&self) -> Vec<String> {
                let mut given = Vec::new();
                $(
                    if !self.$name.is_empty() {
                        given.push(format!("--{}", stringify!($name).replace('_', "-")));
                    }
                )*
                given
            }
        }
    };
}

accepted! {
    add_dir_header,
    alsologtostderr,
    audit_log_batch_buffer_size,
    audit_log_batch_max_size,
    audit_log_batch_max_wait,
    audit_log_batch_throttle_burst,
    audit_log_batch_throttle_enable,
    audit_log_batch_throttle_qps,
    audit_log_compress,
    audit_log_format,
    audit_log_maxage,
    audit_log_maxbackup,
    audit_log_maxsize,
    audit_log_mode,
    audit_log_path,
    audit_log_truncate_enabled,
    audit_log_truncate_max_batch_size,
    audit_log_truncate_max_event_size,
    audit_log_version,
    audit_policy_file,
    audit_webhook_batch_buffer_size,
    audit_webhook_batch_initial_backoff,
    audit_webhook_batch_max_size,
    audit_webhook_batch_max_wait,
    audit_webhook_batch_throttle_burst,
    audit_webhook_batch_throttle_enable,
    audit_webhook_batch_throttle_qps,
    audit_webhook_config_file,
    audit_webhook_initial_backoff,
    audit_webhook_mode,
    audit_webhook_truncate_enabled,
    audit_webhook_truncate_max_batch_size,
    audit_webhook_truncate_max_event_size,
    audit_webhook_version,
    client_burst,
    client_qps,
    contention_profiling,
    debug_socket_path,
    discovery_interval,
    enable_priority_and_fairness,
    http2_max_streams_per_connection,
    log_backtrace_at,
    log_dir,
    log_file,
    log_file_max_size,
    log_flush_frequency,
    logtostderr,
    one_output,
    permit_address_sharing,
    permit_port_sharing,
    profiling,
    skip_headers,
    skip_log_headers,
    stderrthreshold,
    tls_curve_preferences,
    vmodule,
}

impl Serve {
    /// klog's verbosity.
    pub(super) fn verbosity(&self) -> i32 {
        self.logging.v
    }
}

impl DiscoveryFlags {
    /// How far back discovery looks; where there is something to discover it has to reach back to the time before.
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
    /// How the cluster is asked who asks and may read.
    pub(super) fn settings(&self, lister_kubeconfig: Option<PathBuf>) -> ClusterSettings {
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
        }
    }
}

impl ServingFlags {
    /// The address to listen on. Without a cluster nobody can be authenticated, so the default is this machine then.
    pub(super) fn address(&self, standalone: bool) -> SocketAddr {
        let default = if standalone { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        SocketAddr::new(self.bind_address.unwrap_or(default.into()), self.secure_port)
    }

    /// How long after the signal connections are still accepted. Without a cluster nobody withdraws endpoints first.
    pub(super) fn shutdown_delay(&self, standalone: bool) -> Duration {
        let default = if standalone { Duration::ZERO } else { WITHDRAWAL };
        self.shutdown_delay.unwrap_or(default)
    }

    /// How many connections there may be.
    pub(super) fn limits(&self) -> Result<Limits, UsageError> {
        let (connections, strangers_per_address) =
            (self.max_connections, self.max_anonymous_connections);
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

impl CredentialFlags {
    /// What the rules file may use.
    pub(super) fn policy(&self) -> Result<CredentialPolicy, UsageError> {
        let hosts = |flag: &str, hosts: &[String]| {
            let parsed = listed(hosts).into_iter().map(|host| {
                let pattern: Result<HostPattern, _> = host.parse();
                pattern.map_err(|error| UsageError(format!("{flag}={host}: {error}")))
            });
            parsed.collect::<Result<Vec<_>, _>>()
        };
        Ok(CredentialPolicy {
            folders: listed(&self.backend_credentials_dir).into_iter().map(PathBuf::from).collect(),
            in_cluster_hosts: hosts("--in-cluster-auth-hosts", &self.in_cluster_auth_hosts)?,
            plaintext_hosts: hosts(
                "--plaintext-credentials-hosts",
                &self.plaintext_credentials_hosts,
            )?,
        })
    }
}

impl PrometheusFlags {
    /// How queries are shared, and how long their results may be used.
    pub(super) fn planning(&self) -> Result<planner::Settings, UsageError> {
        if self.cache_ttl > LONGEST_TTL {
            let most = LONGEST_TTL.as_secs();
            return Err(UsageError(format!("--cache-ttl: {most}s is the most")));
        }
        if self.max_stale > LONGEST_STALE {
            let (given, most) = (self.max_stale.as_secs(), LONGEST_STALE.as_secs());
            return Err(UsageError(format!(
                "--max-stale={given}s: {most}s is the most, since an autoscaler does not see how old a value is"
            )));
        }
        Ok(planner::Settings {
            life: Life { ttl: self.cache_ttl, max_stale: self.max_stale },
            across_namespaces: self.share_across_namespaces,
            max_query_bytes: self.max_query_bytes,
        })
    }

    /// How to reach Prometheus.
    pub(super) fn config(&self) -> anyhow::Result<prometheus::Config> {
        let usage = |error: ConfigError| UsageError(error.to_string());
        let mut config = prometheus::Config::new(&self.prometheus_url).map_err(usage)?;
        for header in &self.prometheus_header {
            config.add_header(header).map_err(usage)?;
            if let Some((name, value)) = header.split_once('=')
                && value.starts_with(['"', '\''])
            {
                tracing::warn!(
                    header = name,
                    "--prometheus-header: the value begins with a quote, which is sent as a part of it"
                );
            }
        }
        config.method = self.prometheus_verb;
        config.query_timeout = self.prometheus_query_timeout;
        config.discovery_timeout = self.prometheus_discovery_timeout;
        if self.prometheus_auth_incluster {
            if self.prometheus_auth_config.is_some() {
                let text =
                    "--prometheus-auth-incluster and --prometheus-auth-config exclude each other";
                return Err(UsageError(text.to_owned()).into());
            }
            config.add_service_account();
        }
        if let Some(path) = &self.prometheus_auth_config {
            config.add_kubeconfig(path, Source::file).map_err(|error| {
                let flag = "--prometheus-auth-config";
                match &error {
                    ConfigError::Kubeconfig { error: ReadError::Other, .. } => {
                        anyhow::anyhow!("{flag}: {error}; {OTHER_CREDENTIALS}")
                    }
                    _ => anyhow::anyhow!("{flag}: {error}"),
                }
            })?;
        }
        let files = [
            self.prometheus_ca_file.as_deref(),
            self.prometheus_client_tls_cert_file.as_deref(),
            self.prometheus_client_tls_key_file.as_deref(),
            self.prometheus_token_file.as_deref(),
        ];
        for ((flag, wanted), path) in CREDENTIALS.into_iter().zip(files) {
            if let Some(path) = path {
                check_file(wanted, path).map_err(|error| anyhow::anyhow!("{flag}: {error}"))?;
            }
        }
        config.add_files(files, Source::file);
        Ok(config)
    }
}

/// What a file of credentials holds.
#[derive(Clone, Copy)]
enum Credential {
    /// A block of PEM whose name ends so.
    Pem(&'static str),
    Token,
}

/// The flags that take files of credentials.
const CREDENTIALS: [(&str, Credential); 4] = [
    ("--prometheus-ca-file", Credential::Pem("CERTIFICATE")),
    ("--prometheus-client-tls-cert-file", Credential::Pem("CERTIFICATE")),
    ("--prometheus-client-tls-key-file", Credential::Pem("PRIVATE KEY")),
    ("--prometheus-token-file", Credential::Token),
];

/// Fails where a file is none of the kind that its flag takes. No error repeats what it holds.
fn check_file(wanted: Credential, path: &Path) -> Result<(), String> {
    let content = Source::file(path).read();
    let content = content.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&content);
    let path = path.display();
    match wanted {
        Credential::Pem(name) => {
            let (begin, end) = ("-----BEGIN ", format!("{name}-----"));
            let mut lines = text.lines().map(str::trim);
            if lines.any(|line| line.starts_with(begin) && line.ends_with(&end)) {
                return Ok(());
            }
            Err(format!("{path} holds no {}, as PEM", name.to_lowercase()))
        }
        Credential::Token if text.trim().contains(char::is_whitespace) => Err(format!(
            "{path} holds no bearer token: one word is expected, which is sent behind `Bearer `"
        )),
        Credential::Token => Ok(()),
    }
}

/// What takes the credentials that people put into files of other forms.
const OTHER_CREDENTIALS: &str = "a bearer token in a file is taken by --prometheus-token-file, authorities by --prometheus-ca-file, a client certificate by --prometheus-client-tls-cert-file and --prometheus-client-tls-key-file, and a user with a password stands in --prometheus-url";

fn method(text: &str) -> Result<prometheus::Method, &'static str> {
    match text {
        "GET" => Ok(prometheus::Method::Get),
        "POST" => Ok(prometheus::Method::Post),
        _ => Err("GET or POST is expected"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_credentials_are_of_the_kind_that_the_flag_takes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let pem = |name: &str| format!("-----BEGIN {name}-----\nsecret\n-----END {name}-----\n");
        let (certificate, key) = (Credential::Pem("CERTIFICATE"), Credential::Pem("PRIVATE KEY"));
        for (wanted, text, is_good) in [
            (certificate, format!("# ours\r\n{}", pem("CERTIFICATE")), true),
            (certificate, pem("PRIVATE KEY"), false),
            (certificate, "secret".to_owned(), false),
            (key, pem("PRIVATE KEY"), true),
            (key, pem("CERTIFICATE") + &pem("EC PRIVATE KEY"), true),
            (key, pem("CERTIFICATE"), false),
            (Credential::Token, "secret\n".to_owned(), true),
            // It may be filled later.
            (Credential::Token, String::new(), true),
            (Credential::Token, "Bearer secret".to_owned(), false),
            (Credential::Token, pem("CERTIFICATE"), false),
        ] {
            std::fs::write(&path, &text).unwrap();
            match check_file(wanted, &path) {
                Ok(()) => assert!(is_good, "{text}"),
                Err(error) => {
                    assert!(!is_good && !error.contains("secret"), "{text}: {error}");
                }
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert!(check_file(certificate, &path).unwrap_err().contains("file"));
    }
}
