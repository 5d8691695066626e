//! The flags about Prometheus and about the credentials of backends.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;

use super::{UsageError, boolean, listed};
use crate::{
    cache::slot::Life,
    core::{
        credential, duration,
        rules::{Auth, CredentialPolicy, DEFAULT_FOLDER, HostPattern, auth},
    },
    kubeconfig::ReadError,
    planner,
    prometheus::{self, AuthSettings, ConfigError, FLAGS, Source, Variables},
};

/// The longest time that a value may count as fresh, as for rules.
const LONGEST_TTL: Duration = Duration::from_secs(3_600);

/// The oldest value that may be used for all rules. With older ones an autoscaler would multiply again and again.
const LONGEST_STALE: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
#[command(next_help_heading = "Prometheus")]
pub(in crate::cli) struct PrometheusFlags {
    /// URL of Prometheus, with any path prefix; user and password in it are used for basic authentication
    #[arg(long, value_name = "URL", default_value = "https://localhost")]
    prometheus_url: String,

    /// URL of another Prometheus with the same series, which is asked while those before it are not well; repeatable
    #[arg(long, value_name = "URL")]
    prometheus_fallback_url: Vec<String>,

    /// Authenticate to Prometheus with the service account of the pod
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    prometheus_auth_incluster: bool,

    /// Authenticate to Prometheus with the user of a kubeconfig
    #[arg(long, value_name = "FILE")]
    prometheus_auth_config: Option<PathBuf>,

    /// Certificate authorities that verify Prometheus' certificate
    #[arg(long, value_name = "FILE")]
    prometheus_ca_file: Option<PathBuf>,

    /// Client certificate for Prometheus
    #[arg(long, value_name = "FILE")]
    prometheus_client_tls_cert_file: Option<PathBuf>,

    /// Key of the client certificate
    #[arg(long, value_name = "FILE")]
    prometheus_client_tls_key_file: Option<PathBuf>,

    /// File with a bearer token for Prometheus; read again when it changes
    #[arg(long, value_name = "FILE")]
    prometheus_token_file: Option<PathBuf>,

    /// How to authenticate to Prometheus, as `auth` of a backend in the rules file: such as '{sigv4: {region: eu-west-1}}'
    #[arg(long, value_name = "YAML")]
    prometheus_auth: Option<String>,

    /// Header of every request to Prometheus, such as X-Scope-OrgID=team; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    prometheus_header: Vec<String>,

    /// HTTP method of requests to Prometheus, GET or POST; long queries are always sent by POST
    #[arg(long, value_name = "METHOD", default_value = "GET", value_parser = method)]
    prometheus_verb: prometheus::Method,

    /// Timeout of a query
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_go)]
    prometheus_query_timeout: Duration,

    /// Timeout of a discovery request
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration::parse_go)]
    prometheus_discovery_timeout: Duration,

    /// How long a query result is fresh; 0 asks Prometheus for every read
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse_go)]
    cache_ttl: Duration,

    /// Maximum age of a query result that is used while Prometheus fails; 0 uses none
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_go)]
    max_stale: Duration,

    /// Length above which a query is split, where the parts have the same answer
    #[arg(long, value_name = "BYTES", default_value = "8192")]
    max_query_bytes: usize,

    /// Share one query between readers of all namespaces, where each gets the same answer and it pays
    #[arg(long, value_name = "BOOL", default_value_t = true, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    share_across_namespaces: bool,
}

/// What backends of the rules file may use: an editor of that file need not be trusted with all that the process can read.
#[derive(Args, Debug)]
#[command(next_help_heading = "Credentials of backends in the rules file")]
pub(in crate::cli) struct CredentialFlags {
    /// Folder whose files backends may name, except the service account's; repeatable
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    backend_credentials_dir: Vec<String>,

    /// Hosts that backends with `authInCluster` may have: HOST, HOST:PORT or .DOMAIN
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    in_cluster_auth_hosts: Vec<String>,

    /// Hosts, besides those of the services, that backends with `sigv4`, `entra` or `google` may have: HOST, HOST:PORT or .DOMAIN
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    cloud_auth_hosts: Vec<String>,

    /// Hosts, besides loopback, that may receive credentials over plain http: HOST, HOST:PORT or .DOMAIN
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    plaintext_credentials_hosts: Vec<String>,
}

impl PrometheusFlags {
    /// How queries are shared, and how long their results may be used.
    pub(in crate::cli) fn planning(&self) -> Result<planner::Settings, UsageError> {
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
    pub(in crate::cli) fn config(&self) -> anyhow::Result<prometheus::Config> {
        let usage = |error: ConfigError| UsageError(error.to_string());
        let mut config = prometheus::Config::new(&self.prometheus_url).map_err(usage)?;
        for url in &self.prometheus_fallback_url {
            config.add_fallback(url).map_err(usage)?;
        }
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
            config.add_service_account("--prometheus-auth-incluster");
        }
        if let Some(path) = &self.prometheus_auth_config {
            let flag = "--prometheus-auth-config";
            config.add_kubeconfig(path, flag, Source::file).map_err(|error| match &error {
                ConfigError::Kubeconfig {
                    error: ReadError::Other | ReadError::NoYaml(_), ..
                } => {
                    anyhow::anyhow!("{flag}: {error}; {OTHER_CREDENTIALS}")
                }
                _ => anyhow::anyhow!("{flag}: {error}"),
            })?;
        }
        let files = [
            self.prometheus_ca_file.as_deref(),
            self.prometheus_client_tls_cert_file.as_deref(),
            self.prometheus_client_tls_key_file.as_deref(),
            self.prometheus_token_file.as_deref(),
        ];
        for ((flag, wanted), path) in FLAGS.into_iter().zip(CREDENTIALS).zip(files) {
            if let Some(path) = path {
                check_file(wanted, path).map_err(|error| anyhow::anyhow!("{flag}: {error}"))?;
            }
        }
        config.add_files(files, FLAGS, Source::file);
        config.variables = Arc::new(Variables::read(|name| std::env::var(name).ok()));
        if let Some(text) = &self.prometheus_auth {
            config.add_auth(AuthSettings::of_flags(self.auth(text, &config)?));
        }
        Ok(config)
    }

    fn auth(&self, text: &str, config: &prometheus::Config) -> Result<Auth, UsageError> {
        let flag = "--prometheus-auth";
        let others = [
            ("--prometheus-auth-incluster", self.prometheus_auth_incluster),
            ("--prometheus-auth-config", self.prometheus_auth_config.is_some()),
            ("--prometheus-token-file", self.prometheus_token_file.is_some()),
            ("a user or password in --prometheus-url", config.basic.is_some()),
            (
                "a user or password in --prometheus-fallback-url",
                config.others.iter().any(|(.., basic)| basic.is_some()),
            ),
        ];
        if let Some((other, _)) = others.iter().find(|(_, is_given)| *is_given) {
            return Err(UsageError(format!("{flag} and {other} exclude each other")));
        }
        auth::load(text).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            UsageError(format!("{flag}: {}", problems.join("; ")))
        })
    }
}

/// What a file of credentials holds.
#[derive(Clone, Copy)]
enum Credential {
    /// A block of PEM whose name ends so.
    Pem(&'static str),
    Token,
}

/// What the flags that take files of credentials expect.
const CREDENTIALS: [Credential; 4] = [
    Credential::Pem("CERTIFICATE"),
    Credential::Pem("CERTIFICATE"),
    Credential::Pem("PRIVATE KEY"),
    Credential::Token,
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
        Credential::Token => {
            let token = credential::token(&content).map_err(|flaw| format!("{path}: {flaw}"))?;
            if token.contains(char::is_whitespace) {
                return Err(format!(
                    "{path} holds no bearer token: one word is expected, which is sent behind `Bearer `"
                ));
            }
            Ok(())
        }
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

impl CredentialFlags {
    /// What the rules file may use.
    pub(in crate::cli) fn policy(&self) -> Result<CredentialPolicy, UsageError> {
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
            cloud_hosts: hosts("--cloud-auth-hosts", &self.cloud_auth_hosts)?,
            plaintext_hosts: hosts(
                "--plaintext-credentials-hosts",
                &self.plaintext_credentials_hosts,
            )?,
        })
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
            (Credential::Token, String::new(), false),
            (Credential::Token, "\u{feff}secret".to_owned(), false),
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
