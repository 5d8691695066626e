//! Which of the credentials that the process can read a rules file may use, and where they may be sent.
//!
//! The editor of the rules file is often not the operator of the server. The editor chooses the URL of a backend, so without limits
//! any file of the pod, and its service account, could be sent anywhere.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use url::{Host, Url};

use super::{Auth, Backend, CaSource, Delegate, auth};
use crate::core::{
    credential,
    excerpt::{self, SAID},
    key_path::KeyPath,
};

/// The folder whose files a rules file may name where nothing else is said.
pub const DEFAULT_FOLDER: &str = "/etc/loadline";

/// What a rules file may use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CredentialPolicy {
    /// The folders whose files backends may name.
    pub folders: Arc<[PathBuf]>,
    /// The hosts that the service account's token may be sent to.
    pub in_cluster_hosts: Vec<HostPattern>,
    /// The hosts, besides those of the managed services, that the credentials of cloud identities may be sent to.
    pub cloud_hosts: Vec<HostPattern>,
    /// The hosts, besides loopback ones, that credentials may be sent to in plain text.
    pub plaintext_hosts: Vec<HostPattern>,
}

impl Default for CredentialPolicy {
    fn default() -> Self {
        Self {
            folders: [DEFAULT_FOLDER.into()].into(),
            in_cluster_hosts: Vec::new(),
            cloud_hosts: Vec::new(),
            plaintext_hosts: Vec::new(),
        }
    }
}

/// Why a backend is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The backend's key that this is about.
    pub key: KeyPath,
    /// What is not allowed, and the flag that allows it. Without credentials.
    pub message: String,
}

impl CredentialPolicy {
    /// The credentials of a backend that it may not use, as far as its text shows: links are resolved when a file is read.
    pub fn refusals(&self, backend: &Backend) -> Vec<Refusal> {
        let files = [
            ("tokenFile", &backend.token_file),
            ("caFile", &backend.ca_file),
            ("clientTLSCertFile", &backend.client_tls_cert_file),
            ("clientTLSKeyFile", &backend.client_tls_key_file),
            ("authConfig", &backend.auth_config),
        ];
        let files =
            files.into_iter().filter_map(|(key, file)| Some((key.into(), file.as_deref()?)));
        let of_auth = backend.auth.iter().flat_map(Auth::files);
        let files = files.chain(of_auth.map(|(key, file)| (KeyPath::from(key), file)));
        let has_user =
            |(_, url): (KeyPath, &Url)| !url.username().is_empty() || url.password().is_some();
        let is_secret = backend.token_file.is_some()
            || backend.auth.is_some()
            || backend.auth_in_cluster
            || backend.auth_config.is_some()
            || backend.urls().any(has_user);
        let mut refusals = self.file_refusals(files);
        for (key, url) in backend.urls() {
            refusals.extend(self.host_refusals(key, (url, backend.auth_in_cluster, is_secret)));
            if let Some(auth) = &backend.auth {
                self.auth_refusals(auth, url, &mut |key, message| {
                    let refusal = Refusal { key, message };
                    // What is about no URL is the same for all of them.
                    if !refusals.contains(&refusal) {
                        refusals.push(refusal);
                    }
                });
            }
        }
        refusals
    }

    /// [`CredentialPolicy::refusals`] of a delegate.
    pub fn refusals_of_delegate(&self, delegate: &Delegate) -> Vec<Refusal> {
        let Delegate { url, auth_in_cluster, token_file, authority, .. } = delegate;
        let authority = match authority {
            CaSource::File(path) => Some(("caFile".into(), path.as_path())),
            CaSource::System | CaSource::Secret { .. } | CaSource::BundleOf(_) => None,
        };
        let token = token_file.as_deref().map(|path| ("tokenFile".into(), path));
        let is_secret = *auth_in_cluster || token_file.is_some();
        let files = token.into_iter().chain(authority);
        let mut refusals = self.file_refusals(files);
        refusals.extend(self.host_refusals("url".into(), (url, *auth_in_cluster, is_secret)));
        refusals
    }

    fn file_refusals<'f>(&self, files: impl Iterator<Item = (KeyPath, &'f Path)>) -> Vec<Refusal> {
        let refused = files.filter(|(_, path)| !self.is_below_a_folder(path));
        let refused = refused.map(|(key, path)| {
            if credential::is_in_place_of_a_path(path) {
                let message =
                    "the value looks like a token, not like a path: the path of a file is expected";
                return Refusal { key, message: message.to_owned() };
            }
            let path = excerpt::excerpt(&path.to_string_lossy(), SAID);
            let message = format!(
                "`{path}` is not below a folder that --backend-credentials-dir allows, or has `..` in it"
            );
            Refusal { key, message }
        });
        refused.collect()
    }

    /// What may not be sent to the host of the URL of this key.
    fn host_refusals(
        &self,
        of_url: KeyPath,
        (url, auth_in_cluster, is_secret): (&Url, bool, bool),
    ) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut refuse = |key: KeyPath, message| refusals.push(Refusal { key, message });
        let host = origin(url);
        let is_in = |hosts: &[HostPattern]| hosts.iter().any(|known| known.matches(url));
        if auth_in_cluster && !is_in(&self.in_cluster_hosts) {
            refuse(
                "authInCluster".into(),
                format!(
                    "the token of the service account is not sent to `{host}`, because --in-cluster-auth-hosts does not allow it"
                ),
            );
        }
        if is_secret
            && url.scheme() != "https"
            && !is_loopback(url)
            && !is_in(&self.plaintext_hosts)
        {
            refuse(
                of_url,
                format!(
                    "credentials are not sent to `{host}` over http: use https, or allow the host by --plaintext-credentials-hosts"
                ),
            );
        }
        refusals
    }

    /// A cloud's credentials are those of the pod, and whoever receives a token can use it: so they are for the service alone.
    fn auth_refusals(&self, auth: &Auth, url: &Url, refuse: &mut impl FnMut(KeyPath, String)) {
        let is_in = |hosts: &[HostPattern], url| hosts.iter().any(|known| known.matches(url));
        if let Some(service) = auth.service()
            && !auth.is_at_home(url)
            && !is_in(&self.cloud_hosts, url)
        {
            let host = origin(url);
            refuse(
                [auth::KEY, auth.kind()].into(),
                format!(
                    "these credentials are not sent to `{host}`: it is no host of {service}, and --cloud-auth-hosts does not allow it"
                ),
            );
        }
        if let Auth::OAuth2(oauth2) = auth
            && oauth2.token_url.scheme() != "https"
            && !is_loopback(&oauth2.token_url)
            && !is_in(&self.plaintext_hosts, &oauth2.token_url)
        {
            let host = origin(&oauth2.token_url);
            refuse(
                [auth::KEY, auth.kind(), "tokenURL"].into(),
                format!(
                    "the client's secret is not sent to `{host}` over http: use https, or allow the host by --plaintext-credentials-hosts"
                ),
            );
        }
    }

    fn is_below_a_folder(&self, path: &Path) -> bool {
        let climbs = path.components().any(|part| part == Component::ParentDir);
        !climbs && self.folders.iter().any(|folder| path != folder && path.starts_with(folder))
    }
}

/// Whether a URL leads to this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Host and port of a URL.
pub fn origin(url: &Url) -> String {
    let host = excerpt::excerpt(url.host_str().unwrap_or_default(), SAID);
    url.port_or_known_default().map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

/// Hosts that a flag names: one, as `thanos.monitoring.svc`, or all below a domain, as `.monitoring.svc`; of any port, or of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPattern {
    /// As URLs have it.
    host: Host<String>,
    is_suffix: bool,
    port: Option<u16>,
}

/// What is no pattern of hosts.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("HOST, HOST:PORT or .DOMAIN is expected, without a scheme and a path")]
pub struct HostPatternError;

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => {
                (host, Some(port.parse().map_err(|_invalid| HostPatternError)?))
            }
            _ => (text, None),
        };
        if host.contains('*') {
            return Err(HostPatternError);
        }
        let suffix = host.strip_prefix('.');
        let host = Host::parse(suffix.unwrap_or(host)).map_err(|_invalid| HostPatternError)?;
        let is_suffix = suffix.is_some();
        if is_suffix && !matches!(host, Host::Domain(_)) {
            return Err(HostPatternError);
        }
        Ok(Self { host, is_suffix, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.is_suffix { "." } else { "" };
        write!(f, "{dot}{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl HostPattern {
    fn matches(&self, url: &Url) -> bool {
        let is_port = self.port.is_none() || self.port == url.port_or_known_default();
        let is_host = match (&self.host, url.host()) {
            (Host::Domain(domain), Some(Host::Domain(name))) if self.is_suffix => name
                .strip_suffix(domain.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
            (host, Some(named)) => *host == named.to_owned(),
            (_, None) => false,
        };
        is_port && is_host
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rules;

    fn backend(keys: &str) -> Arc<Backend> {
        let text = format!("backends:\n- {{name: a, {keys}}}\n");
        Arc::clone(&rules::load(&text).unwrap().backends[0])
    }

    fn refused(policy: &CredentialPolicy, keys: &str) -> Vec<String> {
        policy.refusals(&backend(keys)).into_iter().map(|refusal| refusal.key.to_string()).collect()
    }

    #[test]
    fn files_are_named_below_the_folders() {
        let folders: [PathBuf; 2] = ["/etc/loadline".into(), "/creds/".into()];
        let policy = CredentialPolicy { folders: folders.into(), ..CredentialPolicy::default() };
        for path in ["/etc/loadline/a/token", "/etc//loadline/./token", "/creds/token"] {
            let of_all = format!(
                "url: 'https://h', tokenFile: '{path}', caFile: '{path}', clientTLSCertFile: '{path}', clientTLSKeyFile: '{path}'"
            );
            assert_eq!(refused(&policy, &of_all), [""; 0], "{path}");
        }
        for path in [
            "/etc/loadline",
            "/etc/loadline-other/token",
            "/etc/adapter/config.yaml",
            "etc/loadline/token",
            "/etc/loadline/../passwd",
            "/etc/loadline/a/../token",
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "/run/secrets/kubernetes.io/serviceaccount/token",
            "/proc/self/root/etc/loadline/token",
            "/proc/self/environ",
            "token",
        ] {
            let keys = [
                ("tokenFile", format!("tokenFile: '{path}'")),
                ("caFile", format!("caFile: '{path}'")),
                (
                    "clientTLSCertFile",
                    format!("clientTLSCertFile: '{path}', clientTLSKeyFile: /creds/k"),
                ),
                (
                    "clientTLSKeyFile",
                    format!("clientTLSKeyFile: '{path}', clientTLSCertFile: /creds/c"),
                ),
                ("authConfig", format!("authConfig: '{path}'")),
            ];
            for (key, written) in keys {
                let written = format!("url: 'https://h', {written}");
                assert_eq!(refused(&policy, &written), [key], "{written}");
            }
        }
        let nothing = CredentialPolicy { folders: Arc::default(), ..CredentialPolicy::default() };
        assert_eq!(refused(&nothing, "url: 'https://h', caFile: /etc/loadline/ca"), ["caFile"]);
    }

    #[test]
    fn a_token_in_place_of_its_path_is_not_repeated() {
        let backend = backend("url: 'https://h', auth: {bearer: {tokenFile: eyINLINESECRET}}");
        let refusals = CredentialPolicy::default().refusals(&backend);
        let [Refusal { key, message }] = refusals.as_slice() else { panic!("{refusals:?}") };
        assert_eq!(key.to_string(), "auth.bearer.tokenFile");
        assert!(message.contains("looks like a token") && !message.contains("SECRET"), "{message}");
    }

    #[test]
    fn the_service_account_and_plain_text_are_for_the_hosts_of_the_flags() {
        let hosts = |hosts: &[&str]| hosts.iter().map(|host| host.parse().unwrap()).collect();
        let policy = CredentialPolicy {
            in_cluster_hosts: hosts(&["thanos.monitoring.svc:9091", ".openshift.svc", "[fd00::1]"]),
            plaintext_hosts: hosts(&["plain.svc"]),
            ..CredentialPolicy::default()
        };
        for (url, wanted) in [
            ("https://thanos.monitoring.svc:9091", &[][..]),
            ("https://THANOS.monitoring.svc:9091/prefix", &[]),
            ("https://a.b.openshift.svc:1", &[]),
            ("https://[fd00::1]:1", &[]),
            ("https://thanos.monitoring.svc", &["authInCluster"]),
            ("https://thanos.monitoring.svc:9092", &["authInCluster"]),
            ("https://thanos.monitoring.svc.evil.example:9091", &["authInCluster"]),
            ("https://thanos.monitoring.svc:9091@evil.example", &["authInCluster"]),
            ("https://openshift.svc", &["authInCluster"]),
            ("https://notopenshift.svc", &["authInCluster"]),
            ("https://a.openshift.svc.", &["authInCluster"]),
            ("https://localhost", &["authInCluster"]),
            ("http://a.openshift.svc", &["url"]),
            ("http://plain.svc", &["authInCluster"]),
            ("http://evil.example", &["authInCluster", "url"]),
        ] {
            let keys = format!("url: '{url}', authInCluster: true");
            assert_eq!(refused(&policy, &keys), wanted, "{url}");
        }
        for (keys, wanted) in [
            ("url: 'http://h'", &[][..]),
            ("url: 'http://h', headers: {X-Scope-OrgID: a}", &[]),
            ("url: 'http://h', caFile: /etc/loadline/ca", &[]),
            ("url: 'http://h', tokenFile: /etc/loadline/token", &["url"]),
            ("url: 'http://h', authConfig: /etc/loadline/kubeconfig", &["url"]),
            ("url: 'http://user@h'", &["url"]),
            ("url: 'http://:password@h'", &["url"]),
            ("url: 'https://user:password@h'", &[]),
            ("url: 'http://user:password@plain.svc:1'", &[]),
            ("url: 'http://user:password@localhost:1'", &[]),
            ("url: 'http://user:password@127.3.2.1'", &[]),
            ("url: 'http://user:password@[::1]'", &[]),
            ("url: 'http://user:password@localhost.evil.example'", &["url"]),
            ("url: 'http://user:password@127.0.0.1.evil.example'", &["url"]),
        ] {
            assert_eq!(refused(&policy, keys), wanted, "{keys}");
        }
        for (keys, wanted) in [
            ("urls: ['https://plain.svc', 'http://h']", &[][..]),
            ("urls: ['https://plain.svc', 'http://h'], tokenFile: /etc/loadline/t", &["urls[1]"]),
            ("urls: ['http://h', 'https://user:secret@h']", &["urls[0]"]),
            (
                "urls: ['https://a.openshift.svc', 'https://evil.example'], authInCluster: true",
                &["authInCluster"],
            ),
            (
                "urls: ['https://evil.example', 'https://h'], auth: {google: {}}",
                &["auth.google", "auth.google"],
            ),
            (
                "urls: ['https://h', 'https://i'], auth: {bearer: {tokenFile: /t}}",
                &["auth.bearer.tokenFile"],
            ),
        ] {
            assert_eq!(refused(&policy, keys), wanted, "{keys}");
        }
        let backend = backend("url: 'http://user:secret@h', tokenFile: /x");
        let refusals = policy.refusals(&backend);
        assert!(!format!("{refusals:?}").contains("secret"), "{refusals:?}");
    }

    #[test]
    fn a_cloud_identity_is_for_the_hosts_of_its_service() {
        let amp = "aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-1";
        for (auth, host, is_allowed) in [
            ("sigv4", amp, true),
            ("sigv4", "aps-workspaces-fips.us-east-1.amazonaws.com", true),
            ("sigv4", "aps-workspaces.cn-north-1.amazonaws.com.cn", true),
            ("sigv4", "aps-workspaces.eu-west-1.api.aws", true),
            ("sigv4", "vpce-1-2.aps-workspaces.eu-west-1.vpce.amazonaws.com", true),
            ("sigv4", "aps-workspaces.eu-west-1.amazonaws.com.evil.example", false),
            ("sigv4", "aps-workspaces.eu-west-1.amazonaws.com.", false),
            ("sigv4", "aps-workspaces.evil.example", false),
            ("sigv4", "iam.amazonaws.com", false),
            ("sigv4", "bucket.s3.amazonaws.com", false),
            ("sigv4", "127.0.0.1", false),
            ("sigv4", "proxy.svc", true),
            ("entra", "w-ab.westeurope.prometheus.monitor.azure.com", true),
            ("entra", "w-ab.usgovvirginia.prometheus.monitor.azure.us", true),
            ("entra", "evil.azure.com", false),
            ("entra", "prometheus.monitor.azure.com.evil.example", false),
            ("google", "monitoring.googleapis.com/v1/projects/p/location/global/prometheus", true),
            ("google", "storage.googleapis.com", false),
            ("google", "monitoring.googleapis.com.evil.example", false),
        ] {
            let policy = CredentialPolicy {
                cloud_hosts: vec!["proxy.svc".parse().unwrap()],
                ..CredentialPolicy::default()
            };
            let keys = format!("url: 'https://{host}', auth: {{{auth}: {{}}}}");
            let wanted = if is_allowed { vec![] } else { vec![format!("auth.{auth}")] };
            assert_eq!(refused(&policy, &keys), wanted, "{keys}");
            let plain = refused(&policy, &keys.replace("https", "http"));
            let local = host == "127.0.0.1";
            assert_eq!(plain.contains(&"url".to_owned()), !local, "{keys}");
        }
    }

    #[test]
    fn files_and_endpoints_of_auth_are_those_that_are_allowed() {
        let policy = CredentialPolicy::default();
        let file = "/etc/loadline/a/secret";
        let oauth2 = |url: &str, secret: &str, ca: &str| {
            format!(
                "oauth2: {{tokenURL: '{url}', clientID: c, clientSecretFile: '{secret}', caFile: '{ca}'}}"
            )
        };
        for (auth, wanted) in [
            (format!("bearer: {{tokenFile: {file}}}"), &[][..]),
            ("bearer: {tokenFile: /t}".to_owned(), &["auth.bearer.tokenFile"]),
            ("basic: {username: u, passwordFile: /p}".to_owned(), &["auth.basic.passwordFile"]),
            (oauth2("https://h/t", file, file), &[]),
            (oauth2("http://127.0.0.1:1/t", file, file), &[]),
            (oauth2("http://h/t", file, "/ca"), &["auth.oauth2.caFile", "auth.oauth2.tokenURL"]),
            (oauth2("https://h/t", "/s", file), &["auth.oauth2.clientSecretFile"]),
            (
                "entra: {clientSecretFile: /s}".to_owned(),
                &["auth.entra.clientSecretFile", "auth.entra"],
            ),
            (
                "google: {credentialsFile: /s}".to_owned(),
                &["auth.google.credentialsFile", "auth.google"],
            ),
        ] {
            let keys = format!("url: 'https://h', auth: {{{auth}}}");
            assert_eq!(refused(&policy, &keys), wanted, "{keys}");
        }
    }

    #[test]
    fn patterns_of_hosts_are_hosts() {
        for text in ["host", "host:1", ".svc", ".svc:9090", "10.0.0.1", "[fd00::1]:1", "[fd00::1]"]
        {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
        }
        for text in [
            "",
            ".",
            ":1",
            "*",
            "*.svc",
            "https://host",
            "host/path",
            "user@host",
            "host:",
            "host:x",
            "host:99999",
            "fd00::1",
            ".10.0.0.1",
            "a b",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }
}
