//! Which authorities are trusted: the ConfigMap `extension-apiserver-authentication` that kube-apiserver writes, watched, so
//! that a rotated authority counts without a restart.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{certificate::Authority, front_proxy::FrontProxy};

/// The ConfigMap's namespace.
const NAMESPACE: &str = "kube-system";

/// The ConfigMap's name.
const NAME: &str = "extension-apiserver-authentication";

/// Whose certificates are taken, for what.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The aggregator.
    pub front_proxy: Option<FrontProxy>,
    /// Clients with certificates of their own.
    pub client_authority: Option<Authority>,
}

/// What the flags say; it comes before what the ConfigMap says.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--client-ca-file`
    pub client_ca_file: Option<PathBuf>,
    /// `--requestheader-client-ca-file`
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// `--requestheader-allowed-names`
    pub allowed_names: Vec<String>,
    /// `--requestheader-username-headers`
    pub username_headers: Vec<String>,
    /// `--requestheader-group-headers`
    pub group_headers: Vec<String>,
    /// `--requestheader-uid-headers`
    pub uid_headers: Vec<String>,
    /// `--requestheader-extra-headers-prefix`
    pub extra_prefixes: Vec<String>,
}

impl Overrides {
    /// The contents of the files, as far as they can be read.
    fn files(&self) -> Vec<Option<Vec<u8>>> {
        let files = [&self.client_ca_file, &self.requestheader_client_ca_file];
        files.into_iter().flatten().map(|file| std::fs::read(file).ok()).collect()
    }
}

impl Trust {
    /// Takes the ConfigMap's data, and what the flags say in its place. Of authorities that cannot be used those `before`
    /// are kept, as kube-apiserver does: a slip in writing them should not lock everybody out. It is said.
    pub fn read(
        data: &BTreeMap<String, String>,
        overrides: &Overrides,
        before: &Self,
    ) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut authority = |file: Option<&PathBuf>, key: &str, before: Option<&Authority>| {
            let bundle = match file {
                Some(path) => match std::fs::read_to_string(path) {
                    Ok(bundle) => bundle,
                    Err(error) => {
                        problems.push(format!("{}: {error}", path.display()));
                        return before.cloned();
                    }
                },
                None => data.get(key).filter(|bundle| !bundle.trim().is_empty())?.clone(),
            };
            match Authority::new(&bundle) {
                Ok(authority) => Some(authority),
                Err(error) => {
                    problems.push(format!("{key}: {error}"));
                    before.cloned()
                }
            }
        };
        let client_authority = authority(
            overrides.client_ca_file.as_ref(),
            "client-ca-file",
            before.client_authority.as_ref(),
        );
        let proxy_authority = authority(
            overrides.requestheader_client_ca_file.as_ref(),
            "requestheader-client-ca-file",
            before.front_proxy.as_ref().map(|proxy| &proxy.authority),
        );
        let mut list = |flag: &[String], key: &str, default: &[&str]| {
            if !flag.is_empty() {
                return Some(flag.to_vec());
            }
            let Some(text) = data.get(key) else {
                return Some(default.iter().map(ToString::to_string).collect());
            };
            serde_json::from_str::<Vec<String>>(text)
                .map_err(|error| problems.push(format!("{key}: {error}")))
                .ok()
        };
        let mut lists = || {
            Some((
                list(&overrides.allowed_names, "requestheader-allowed-names", &[])?,
                list(
                    &overrides.username_headers,
                    "requestheader-username-headers",
                    &["X-Remote-User"],
                )?,
                list(&overrides.group_headers, "requestheader-group-headers", &["X-Remote-Group"])?,
                list(&overrides.uid_headers, "requestheader-uid-headers", &[])?,
                list(
                    &overrides.extra_prefixes,
                    "requestheader-extra-headers-prefix",
                    &["X-Remote-Extra-"],
                )?,
            ))
        };
        let front_proxy = match (proxy_authority, lists()) {
            (None, _) => None,
            // A list that cannot be read must not allow more than it says.
            (Some(_), None) => before.front_proxy.clone(),
            (Some(authority), Some(lists)) => {
                let (allowed_names, username_headers, group_headers, uid_headers, extra_prefixes) =
                    lists;
                Some(FrontProxy {
                    authority,
                    allowed_names,
                    username_headers,
                    group_headers,
                    uid_headers,
                    extra_prefixes,
                })
            }
        };
        (Self { front_proxy, client_authority }, problems)
    }
}

/// How often the files that flags name are looked at.
const RECHECK: Duration = Duration::from_secs(10);

/// Keeps [`Trust`] as the ConfigMap and the files that flags name have it.
pub struct Keeper {
    /// Nothing where the ConfigMap is not looked up.
    client: Option<Client>,
    data: BTreeMap<String, String>,
    files: Vec<Option<Vec<u8>>>,
    overrides: Overrides,
    trust: Arc<ArcSwap<Trust>>,
    known: watch::Sender<bool>,
}

impl Keeper {
    /// Makes the task, which does nothing before [`Keeper::run`], with the trust that it keeps and whether that has been
    /// read yet.
    pub fn new(
        client: Option<Client>,
        overrides: Overrides,
    ) -> (Self, Arc<ArcSwap<Trust>>, watch::Receiver<bool>) {
        let (trust, problems) = Trust::read(&BTreeMap::new(), &overrides, &Trust::default());
        warn(&problems);
        let trust = Arc::new(ArcSwap::from_pointee(trust));
        let (known, is_known) = watch::channel(false);
        let keeper = Self {
            client,
            data: BTreeMap::new(),
            files: overrides.files(),
            overrides,
            trust: Arc::clone(&trust),
            known,
        };
        (keeper, trust, is_known)
    }

    /// Watches until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut events = match self.client.take() {
            Some(client) => {
                let config_maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
                let only = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
                watcher(config_maps, only).default_backoff().boxed()
            }
            None => stream::pending().boxed(),
        };
        let mut recheck = tokio::time::interval(RECHECK);
        let mut failing = false;
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                _ = recheck.tick() => {
                    self.look_at_files();
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                // Every try begins so, also one that fails.
                Some(Ok(watcher::Event::Init)) => {}
                Some(Ok(event)) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("{NAMESPACE}/{NAME} can be read again");
                    }
                    self.take(event);
                }
                Some(Err(error)) => {
                    if !std::mem::replace(&mut failing, true) {
                        let error = crate::kubernetes::of_watch(&error);
                        tracing::warn!(error, "cannot read {NAMESPACE}/{NAME}; retrying");
                    }
                }
                // The stream has no end of its own.
                None => return,
            }
        }
    }

    /// Takes files that have changed. They are few and small, and read as seldom as every [`RECHECK`].
    fn look_at_files(&mut self) {
        let files = self.overrides.files();
        if files != self.files {
            self.files = files;
            self.renew();
        }
    }

    fn renew(&self) {
        let (trust, problems) = Trust::read(&self.data, &self.overrides, &self.trust.load());
        warn(&problems);
        self.trust.store(Arc::new(trust));
    }

    fn take(&mut self, event: watcher::Event<ConfigMap>) {
        match event {
            watcher::Event::Apply(map) | watcher::Event::InitApply(map) => {
                self.data = map.data.unwrap_or_default();
                self.renew();
                self.known.send_replace(true);
            }
            watcher::Event::Delete(_) => {
                tracing::warn!("{NAMESPACE}/{NAME} was deleted; its last content is kept");
            }
            watcher::Event::Init => {}
            watcher::Event::InitDone => {
                if !*self.known.borrow() {
                    tracing::warn!("{NAMESPACE}/{NAME} does not exist yet");
                }
            }
        }
    }
}

fn warn(problems: &[String]) {
    for problem in problems {
        tracing::warn!(problem, "some of the trusted authorities cannot be used");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(allowed_names: &str) -> BTreeMap<String, String> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = parameters.self_signed(&key).unwrap().pem();
        BTreeMap::from([
            ("requestheader-client-ca-file".to_owned(), authority),
            ("requestheader-allowed-names".to_owned(), allowed_names.to_owned()),
        ])
    }

    #[test]
    fn names_that_cannot_be_read_do_not_allow_everybody() {
        let overrides = Overrides::default();
        let (nothing, problems) =
            Trust::read(&data("front-proxy-client"), &overrides, &Trust::default());
        assert!(nothing.front_proxy.is_none());
        assert!(problems[0].starts_with("requestheader-allowed-names: "), "{problems:?}");

        let (before, _) = Trust::read(&data("[\"front-proxy-client\"]"), &overrides, &nothing);
        let (after, _) = Trust::read(&data("[\"front-proxy-client\""), &overrides, &before);
        assert_eq!(after.front_proxy.unwrap().allowed_names, ["front-proxy-client"]);
    }

    #[test]
    fn nothing_is_trusted_before_anything_is_known() {
        let (trust, problems) =
            Trust::read(&BTreeMap::new(), &Overrides::default(), &Trust::default());
        assert!(trust.front_proxy.is_none() && trust.client_authority.is_none());
        assert!(problems.is_empty(), "{problems:?}");
    }
}
