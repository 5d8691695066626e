//! Which authorities are trusted: the ConfigMap `extension-apiserver-authentication` that kube-apiserver writes, watched, so
//! that a rotated authority counts without a restart.

use std::{
    collections::BTreeMap, convert::Infallible, fs, future, mem, path::PathBuf, sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use kube::Client;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{certificate::Authority, front_proxy::FrontProxy};
use crate::{
    blocking,
    core::kinds::Kind,
    files,
    kubernetes::{
        collection::Collection,
        list::Object,
        retries::Broken,
        watch::{Event, Watch},
    },
};

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

/// The authorities in the files that flags name, as PEM.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bundles {
    client_ca: Option<FileContent>,
    requestheader_client_ca: Option<FileContent>,
}

/// The text of a file, or why it cannot be read.
type FileContent = Result<String, String>;

impl Overrides {
    fn read(&self) -> Bundles {
        let read = |path: &PathBuf| {
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        Bundles {
            client_ca: self.client_ca_file.as_ref().map(read),
            requestheader_client_ca: self.requestheader_client_ca_file.as_ref().map(read),
        }
    }
}

impl Trust {
    /// Takes the ConfigMap's data, and what the flags and the files that they name say in its place. Of authorities that cannot
    /// be used those `before` are kept, as kube-apiserver does: a slip in writing them should not lock everybody out. The
    /// problems are returned.
    pub fn read(
        data: &Data,
        overrides: &Overrides,
        bundles: &Bundles,
        before: &Self,
    ) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut authority = |file: &Option<FileContent>, key: &str, before: Option<&Authority>| {
            let bundle = match file {
                Some(bundle) => bundle.clone(),
                None => Ok(data.get(key).filter(|bundle| !bundle.trim().is_empty())?.clone()),
            };
            let authority = bundle.and_then(|bundle| {
                Authority::new(&bundle).map_err(|error| format!("{key}: {error}"))
            });
            match authority {
                Ok(authority) => Some(authority),
                Err(problem) => {
                    problems.push(problem);
                    before.cloned()
                }
            }
        };
        let client_authority =
            authority(&bundles.client_ca, "client-ca-file", before.client_authority.as_ref());
        let proxy_authority = authority(
            &bundles.requestheader_client_ca,
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
        let front_proxy = proxy_authority.and_then(|authority| {
            let read = || {
                Some(FrontProxy {
                    authority,
                    allowed_names: list(
                        &overrides.allowed_names,
                        "requestheader-allowed-names",
                        &[],
                    )?,
                    username_headers: list(
                        &overrides.username_headers,
                        "requestheader-username-headers",
                        &["X-Remote-User"],
                    )?,
                    group_headers: list(
                        &overrides.group_headers,
                        "requestheader-group-headers",
                        &["X-Remote-Group"],
                    )?,
                    uid_headers: list(&overrides.uid_headers, "requestheader-uid-headers", &[])?,
                    extra_prefixes: list(
                        &overrides.extra_prefixes,
                        "requestheader-extra-headers-prefix",
                        &["X-Remote-Extra-"],
                    )?,
                })
            };
            // A list that cannot be read must not allow more than it says.
            read().or_else(|| before.front_proxy.clone())
        });
        (Self { front_proxy, client_authority }, problems)
    }
}

/// How often the files that flags name are looked at.
const RECHECK: Duration = Duration::from_secs(10);

/// The data of the ConfigMap.
type Data = BTreeMap<String, String>;

/// Keeps [`Trust`] as the ConfigMap and the files that flags name have it.
pub struct TrustTask {
    /// Nothing where the ConfigMap is not looked up.
    client: Option<Client>,
    overrides: Overrides,
    bundles: Bundles,
    trust: Arc<ArcSwap<Trust>>,
    known: watch::Sender<bool>,
}

impl TrustTask {
    /// Reads the files, and makes the task, which does nothing before [`TrustTask::run`], with the trust that it keeps and
    /// whether the ConfigMap has been read yet.
    pub async fn new(
        client: Option<Client>,
        overrides: Overrides,
    ) -> (Self, Arc<ArcSwap<Trust>>, watch::Receiver<bool>) {
        let files = overrides.clone();
        let bundles = blocking::run(move || files.read()).await;
        let trust = Arc::new(ArcSwap::default());
        let (known, is_known) = watch::channel(false);
        let task = Self { client, overrides, bundles, trust: Arc::clone(&trust), known };
        task.renew(&Data::new());
        (task, trust, is_known)
    }

    /// Watches until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let (written, config) = watch::channel(None);
        let client = self.client.take();
        let watching = async {
            match client {
                Some(client) => follow(client, &written).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watching => {}
            () = self.keep(config) => {}
        }
    }

    /// Renews the trust when the ConfigMap or a file has changed; without end.
    async fn keep(mut self, mut config: watch::Receiver<Option<Data>>) {
        let mut recheck = tokio::time::interval(RECHECK);
        loop {
            tokio::select! {
                Ok(()) = config.changed() => {}
                _ = recheck.tick() => {
                    let overrides = self.overrides.clone();
                    let read = move || Ok::<_, Infallible>(overrides.read());
                    let Ok(changed) = files::changed(Some(&self.bundles), read).await;
                    let Some(bundles) = changed else { continue };
                    self.bundles = bundles;
                }
            }
            let data = config.borrow_and_update().clone();
            self.renew(data.as_ref().unwrap_or(&Data::new()));
            self.known.send_replace(data.is_some());
        }
    }

    fn renew(&self, data: &Data) {
        let before = self.trust.load();
        let (trust, problems) = Trust::read(data, &self.overrides, &self.bundles, &before);
        for problem in problems {
            tracing::warn!(problem, "some of the trusted authorities cannot be used");
        }
        self.trust.store(Arc::new(trust));
    }
}

/// Publishes what is written into the ConfigMap; without end.
async fn follow(client: Client, written: &watch::Sender<Option<Data>>) {
    let kind = Kind::new("", "v1", "configmaps", "ConfigMap", true);
    let mut watch =
        Watch::new(Collection::<Object<(), (), Data>>::one(client, &kind, NAMESPACE, NAME));
    let (mut is_failing, mut is_missing) = (false, false);
    loop {
        let broken = watch.follow(|event| match event {
            Event::Listing => {}
            Event::Listed(map) | Event::Applied(map) => {
                written.send_replace(Some(map.data));
            }
            Event::Synced => {
                if mem::take(&mut is_failing) {
                    tracing::info!("{NAMESPACE}/{NAME} can be read again");
                }
                if written.borrow().is_none() && !mem::replace(&mut is_missing, true) {
                    tracing::warn!("{NAMESPACE}/{NAME} does not exist yet");
                }
            }
            Event::Deleted(_) => {
                tracing::warn!("{NAMESPACE}/{NAME} was deleted; its last content is kept");
            }
        });
        let broken = broken.await;
        // Nothing is ready without it, so a refusal is not waited out for longer than anything else.
        let pause = watch.pause(&broken, Duration::ZERO);
        let is_failure = !matches!(broken, Broken::Expired);
        if is_failure && !mem::replace(&mut is_failing, true) {
            tracing::warn!(error = %broken, "cannot read {NAMESPACE}/{NAME}; retrying");
        }
        sleep(pause).await;
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
        let read = |allowed_names: &str, before: &Trust| {
            Trust::read(&data(allowed_names), &Overrides::default(), &Bundles::default(), before)
        };
        let (nothing, problems) = read("front-proxy-client", &Trust::default());
        assert!(nothing.front_proxy.is_none());
        assert!(problems[0].starts_with("requestheader-allowed-names: "), "{problems:?}");

        let (before, _) = read("[\"front-proxy-client\"]", &nothing);
        let (after, _) = read("[\"front-proxy-client\"", &before);
        assert_eq!(after.front_proxy.unwrap().allowed_names, ["front-proxy-client"]);
    }

    #[test]
    fn nothing_is_trusted_before_anything_is_known() {
        let (trust, problems) = Trust::read(
            &Data::new(),
            &Overrides::default(),
            &Bundles::default(),
            &Trust::default(),
        );
        assert!(trust.front_proxy.is_none() && trust.client_authority.is_none());
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_taken_and_one_that_cannot_be_used_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let overrides = Overrides { client_ca_file: Some(file.clone()), ..Overrides::default() };
        let (task, trust, is_known) = TrustTask::new(None, overrides).await;
        assert!(trust.load().client_authority.is_none());
        let stop = CancellationToken::new();
        let running = tokio::spawn(task.run(stop.clone()));
        let is_trusted_then = async || {
            let before = trust.load_full();
            while Arc::ptr_eq(&before, &trust.load_full()) {
                sleep(RECHECK).await;
            }
            trust.load().client_authority.is_some()
        };
        fs::write(&file, &data("[]")["requestheader-client-ca-file"]).unwrap();
        assert!(is_trusted_then().await);
        fs::write(&file, "no certificate").unwrap();
        assert!(is_trusted_then().await);
        fs::remove_file(&file).unwrap();
        assert!(is_trusted_then().await);
        assert!(!*is_known.borrow(), "the ConfigMap has not been read");
        stop.cancel();
        running.await.unwrap();
    }
}
