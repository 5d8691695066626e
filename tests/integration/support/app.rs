//! loadline itself, in this process, and a client that trusts it.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use loadline::{
    app::{self, Cluster, ClusterSettings, Settings},
    auth::{access::Ttls, trust},
    core::{
        budgets::MemoryBudgets,
        rules::{self, CredentialPolicy, RuleSet},
    },
    discovery,
    hpas::ExpectedReads,
    planner,
    prometheus::{self, Prometheus},
    registrations,
    rules_file::Source,
    server::{certificates, limits::Limits, tls::options::Options},
    traces,
};
use regex::Regex;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{cluster::Kubernetes, install_tls_provider};

/// What differs between the servers of these tests.
pub(crate) struct Launch {
    rules: String,
    /// The rules of files, and where these are, if there are any; else the rules of a text.
    pub(crate) source: Option<(RuleSet, Source)>,
    pub(crate) prometheus: prometheus::Config,
    pub(crate) credentials: Arc<CredentialPolicy>,
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) objects: Option<PathBuf>,
    pub(crate) relist_interval: Duration,
    pub(crate) max_age: Duration,
    /// How far back discovery looks at the least; no further than `max_age` where nothing is said, for tests in which series
    /// end.
    pub(crate) lookback: Option<Duration>,
    pub(crate) planning: planner::Settings,
    /// Whether the cluster is asked who asks and may read; else everybody may read everything.
    pub(crate) guarded: bool,
    pub(crate) certificates: certificates::Settings,
    /// The Service that the cluster reaches it by.
    pub(crate) service: Option<registrations::Service>,
    pub(crate) token_ttl: Duration,
    pub(crate) access_ttls: Ttls,
    pub(crate) trust: trust::Overrides,
    pub(crate) limits: Limits,
    pub(crate) memory: MemoryBudgets,
    traces: Option<Box<traces::Settings>>,
    /// Whether rules of teams are watched.
    pub(crate) team_rules: bool,
    /// Whether there is a debug address.
    pub(crate) debug: bool,
}

/// How long answers are kept where nothing else is said: longer than any test.
const KEPT: Duration = Duration::from_secs(600);

impl Launch {
    /// A standalone server that keeps no results and discovers once.
    pub(crate) fn new(rules: &str, prometheus_url: &str) -> Self {
        install_tls_provider();
        Self {
            rules: rules.to_owned(),
            source: None,
            prometheus: prometheus::Config::new(prometheus_url).expect("a URL"),
            credentials: Arc::default(),
            kubeconfig: None,
            objects: None,
            relist_interval: Duration::from_secs(600),
            max_age: Duration::from_secs(600),
            lookback: None,
            planning: planner::Settings::with_ttl(Duration::ZERO),
            guarded: false,
            certificates: certificates::Settings {
                names: certificates::Names::new("loadline", None, &[]),
                ..certificates::Settings::default()
            },
            service: None,
            token_ttl: KEPT,
            access_ttls: Ttls { authorized: KEPT, unauthorized: KEPT },
            trust: trust::Overrides::default(),
            limits: Limits::default(),
            memory: MemoryBudgets::default(),
            traces: None,
            team_rules: false,
            debug: false,
        }
    }

    /// Exports traces as these variables of the environment say.
    pub(crate) fn traced(mut self, variables: &[(&str, &str)]) -> Self {
        let settings = traces::Settings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        self.traces = settings.expect("variables that can be meant").map(Box::new);
        self
    }

    /// Takes kinds and objects from a cluster.
    pub(crate) fn cluster(mut self, cluster: &Kubernetes) -> Self {
        self.kubeconfig = Some(cluster.kubeconfig.clone());
        self
    }

    /// The only place that knows all settings.
    fn settings(self) -> Settings {
        let (rules, source) = self.source.map_or_else(
            || {
                let rules = rules::load(&self.rules);
                let rules = rules.unwrap_or_else(|problems| panic!("{problems:?}"));
                assert!(rules.broken.is_empty(), "{:?}", rules.broken);
                (rules, None)
            },
            |(rules, source)| (rules, Some(source)),
        );
        let cluster = match self.kubeconfig {
            Some(kubeconfig) => {
                let open = if self.guarded { "/healthz,/readyz,/livez" } else { "*" };
                Cluster::Kubernetes(Box::new(ClusterSettings {
                    lister_kubeconfig: Some(kubeconfig),
                    authentication_kubeconfig: None,
                    authorization_kubeconfig: None,
                    trust: self.trust,
                    skip_lookup: !self.guarded,
                    tolerate_lookup_failure: false,
                    token_ttl: self.token_ttl,
                    access_ttls: self.access_ttls,
                    always_allowed: open.split(',').map(str::to_owned).collect(),
                    team_rules: self.team_rules,
                }))
            }
            None => Cluster::Standalone { objects: self.objects },
        };
        Settings {
            rules,
            source,
            prometheus: self.prometheus,
            credentials: self.credentials,
            cluster,
            address: ([127, 0, 0, 1], 0).into(),
            debug_address: self.debug.then(|| ([127, 0, 0, 1], 0).into()),
            host: "loadline-0".to_owned(),
            certificates: self.certificates,
            service: self.service,
            tls: Options::default(),
            limits: self.limits,
            memory: self.memory,
            discovery: discovery::Settings {
                interval: self.relist_interval,
                max_age: self.max_age,
                lookback: self.lookback.unwrap_or(self.max_age),
            },
            planning: self.planning,
            write_kubeconfig: None,
            shutdown_delay: Duration::ZERO,
            traces: self.traces,
        }
    }

    /// Starts the server and waits until its first discovery has been tried.
    pub(crate) async fn start(self) -> App {
        let app = self.start_early().await;
        app.discovery.first_try().await;
        app
    }

    /// Starts the server and does not wait.
    pub(crate) async fn start_early(self) -> App {
        let bound = Box::pin(app::build(self.settings())).await.expect("the server can be built");
        let authority = reqwest::Certificate::from_pem(bound.authority().as_bytes()).expect("PEM");
        let client = reqwest::Client::builder().tls_certs_only([authority.clone()]).no_proxy();
        let stop = CancellationToken::new();
        App {
            address: bound.address(),
            debug_address: bound.debug_address(),
            token: bound.token().to_owned(),
            authority_pem: bound.authority().to_owned(),
            authority,
            client: client.build().expect("a client"),
            prometheus: bound.prometheus(),
            discovery: bound.discovery(),
            expected_reads: bound.expected_reads(),
            task: tokio::spawn(bound.run(stop.clone())),
            stop,
        }
    }
}

/// A running server.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) debug_address: Option<SocketAddr>,
    pub(crate) token: String,
    pub(crate) authority_pem: String,
    pub(crate) authority: reqwest::Certificate,
    pub(crate) client: reqwest::Client,
    pub(crate) prometheus: Arc<Prometheus>,
    pub(crate) discovery: discovery::Handle,
    pub(crate) expected_reads: Option<ExpectedReads>,
    task: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

/// An answer, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The request and the whole answer to it in two lines, times left out.
    pub(crate) fn shown(&self, request: &str) -> String {
        let timestamps =
            Regex::new(r#""timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ""#).expect("ours");
        let body = timestamps.replace_all(&self.body, r#""timestamp":"…""#);
        format!("{request}\n  {} {}\n", self.status.as_u16(), body.trim_end())
    }

    /// Name and value of every item.
    #[track_caller]
    pub(crate) fn values(&self) -> Vec<(String, String)> {
        assert_eq!(self.status, 200, "{}", self.body);
        let list = self.json();
        let items = list["items"].as_array().expect("items").iter();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        items.map(|item| (text(&item["describedObject"]["name"]), text(&item["value"]))).collect()
    }

    /// The message of a `Status` whose code is that of the answer.
    #[track_caller]
    pub(crate) fn failure(&self) -> String {
        let status = self.json();
        assert_eq!(status["kind"], "Status", "{self:?}");
        assert_eq!(status["code"], self.status.as_u16(), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/json");
        status["message"].as_str().expect("text").to_owned()
    }
}

/// A path of the custom metrics API.
pub(crate) fn custom(rest: &str) -> String {
    format!("/apis/custom.metrics.k8s.io/v1beta2/{rest}")
}

/// A path of the external metrics API.
pub(crate) fn external(rest: &str) -> String {
    format!("/apis/external.metrics.k8s.io/v1beta1/{rest}")
}

impl App {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request(Method::GET, path, &[]).await
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        Self::send(&self.client, method, &self.url(path), headers).await
    }

    /// Asks by another client.
    pub(crate) async fn send(
        client: &reqwest::Client,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = client.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.expect("a body");
        let body = String::from_utf8(body.to_vec()).expect("text");
        Reply { status, headers, body }
    }

    /// Stops the server, which has to end without an error.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.expect("no panic").expect("a clean end");
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}
