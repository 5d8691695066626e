//! The servers that queries go to: the one of the flags, and those of the rules file.

use std::{collections::HashSet, iter, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        failover::PERIOD,
        key_path::KeyPath,
        overview::{BackendRow, State, exchanges::Exchanges},
        rules::{
            Backend, CredentialPolicy, Fingerprint, HeaderError, Problem, QueryOptions, RuleSet,
        },
    },
    metrics::Metrics,
    prometheus::{BackendHandle, Config, ConfigError, Replicas, bodies::Bodies},
};

/// How often files with credentials are read again. Kubernetes refreshes a projected token well before it ends, so this only
/// bounds how long an old one is used.
const RECHECK: Duration = Duration::from_secs(10);

/// Nobody can be asked for a rule.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A header has no value for the namespace.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The backend cannot be used, or the rules file has changed meanwhile and does not have it any more.
    #[error("the backend {backend} cannot be used")]
    Unusable {
        /// Its name.
        backend: Arc<str>,
    },
}

/// The backends of the rules file.
#[derive(Default)]
struct Named {
    /// By what the file says of them, those of the file before included: reads under way may still ask them.
    known: Vec<(Fingerprint, Arc<Replicas>)>,
    /// How many are in the file, which come first.
    in_use: usize,
}

/// All backends.
pub struct Backends {
    flags: Config,
    default: BackendHandle,
    of_flags: Arc<Replicas>,
    named: ArcSwap<Named>,
    /// What backends of the file may use.
    policy: Arc<CredentialPolicy>,
    /// Why backends of the file cannot be used.
    unusable: ArcSwap<Vec<Problem>>,
    metrics: Arc<Metrics>,
}

impl Backends {
    /// The backend of the flags alone.
    pub fn new(
        flags: Config,
        policy: Arc<CredentialPolicy>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ConfigError> {
        let of_flags = Arc::new(Replicas::new(flags.clone(), &metrics)?);
        of_flags.report();
        let default = BackendHandle::new(Arc::clone(&of_flags), Vec::new(), None);
        Ok(Self {
            flags,
            default,
            of_flags,
            named: ArcSwap::default(),
            policy,
            unusable: ArcSwap::default(),
            metrics,
        })
    }

    /// The memory that answers of all servers share.
    pub fn bodies(&self) -> Arc<Bodies> {
        Arc::clone(&self.flags.bodies)
    }

    /// Which credentials the rules file may use.
    pub fn policy(&self) -> Arc<CredentialPolicy> {
        Arc::clone(&self.policy)
    }

    /// The backend of the flags.
    pub fn of_flags(&self) -> &Arc<Replicas> {
        &self.of_flags
    }

    /// Tries those of these backends again that could not be used: a file that they name may have come.
    pub fn retry(&self, rules: &RuleSet) {
        if !self.unusable.load().is_empty() {
            self.install(rules);
        }
    }

    /// Gets ready for the backends of a file, and for what it allows rules of teams. Backends that have not changed go on as they are. Of one that cannot be used the
    /// rules fail and no others; what is wrong with it is returned, and logged once.
    pub fn install(&self, rules: &RuleSet) -> Arc<Vec<Problem>> {
        let RuleSet { backends, teams, .. } = rules;
        let queries = teams.quotas.queries.get();
        self.flags.team_queries.set(usize::try_from(queries).unwrap_or(usize::MAX));
        let before = &self.named.load_full().known;
        let mut named = Vec::new();
        let mut problems = Vec::new();
        for backend in backends {
            let known = find(before, backend.fingerprint).map(Ok);
            match known.unwrap_or_else(|| self.connect(backend)) {
                Ok(replicas) => named.push((backend.fingerprint, replicas)),
                Err(error) => {
                    let path = KeyPath::from(["backends", &backend.name]);
                    problems.push(Problem::new(Some(backend.place), path, error.to_string()));
                }
            }
        }
        let known = self.unusable.load_full();
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            tracing::error!("{problem}; the rules that name this backend fail");
        }
        for problem in known.iter().filter(|problem| !problems.contains(problem)) {
            tracing::info!(
                backend = problem.path.to_string(),
                "no longer a problem: {}",
                problem.message
            );
        }
        let problems = Arc::new(problems);
        self.unusable.store(Arc::clone(&problems));
        let is_new =
            |fingerprint: Fingerprint| named.iter().all(|(known, _)| *known != fingerprint);
        let gone: Vec<_> =
            before.iter().filter(|(fingerprint, _)| is_new(*fingerprint)).cloned().collect();
        for (_, gone) in &gone {
            gone.forget();
        }
        // The metrics of a name are those of the first that has it.
        let used = || doubles(named.iter().map(|(_, replicas)| replicas));
        for (double, _) in used().filter(|(_, is_double)| *is_double) {
            double.forget();
        }
        for (first, _) in used().filter(|(_, is_double)| !is_double) {
            first.report();
        }
        let in_use = named.len();
        named.extend(gone.into_iter().take(backends.len().max(16)));
        self.named.store(Arc::new(Named { known: named, in_use }));
        problems
    }

    fn connect(&self, backend: &Backend) -> Result<Arc<Replicas>, ConfigError> {
        let config = Config::of_file(backend, &self.flags, &self.policy)?;
        Ok(Arc::new(Replicas::new(config, &self.metrics)?))
    }

    /// The backend of the flags, and those of the file.
    fn in_use(&self) -> Vec<Arc<Replicas>> {
        let named = self.named.load();
        let named = named.known.iter().take(named.in_use).map(|(_, replicas)| replicas);
        iter::once(&self.of_flags).chain(named).cloned().collect()
    }

    /// Probes servers of backends that have several, until stopped.
    pub async fn check_servers(self: Arc<Self>, stop: CancellationToken) {
        let checking = async {
            let mut pause = pin!(sleep(PERIOD));
            // No server waits for the probe of another.
            let mut probes = FuturesUnordered::new();
            loop {
                tokio::select! {
                    () = &mut pause => {
                        for replicas in self.in_use() {
                            for number in replicas.due() {
                                let replicas = Arc::clone(&replicas);
                                probes.push(async move { replicas.probe(number).await });
                            }
                        }
                        pause.as_mut().reset(Instant::now() + PERIOD);
                    }
                    Some(()) = probes.next() => {}
                }
            }
        };
        stop.run_until_cancelled(checking).await;
    }

    /// Takes credentials whose files have changed, and renews those that end soon, until stopped.
    pub async fn keep_credentials(self: Arc<Self>, stop: CancellationToken) {
        let keeping = async {
            loop {
                sleep(RECHECK).await;
                let named = self.named.load_full();
                let known = named.known.iter().map(|(_, replicas)| replicas);
                let servers = iter::once(&self.of_flags).chain(known);
                for server in servers.flat_map(|replicas| replicas.servers()) {
                    server.reread_credentials().await;
                }
                // One that is not in the file any more is asked for a moment only.
                let used = self.in_use();
                let servers = used.iter().flat_map(|replicas| replicas.servers());
                servers.for_each(|server| server.renew_credentials());
            }
        };
        stop.run_until_cancelled(keeping).await;
    }

    /// The backends that cannot be used or do not answer, since when and why, as public sentences.
    pub fn problems(&self) -> Vec<String> {
        let used = self.in_use();
        let silent = used.iter().flat_map(|replicas| replicas.problems());
        let unusable = self.unusable.load();
        let unusable = unusable.iter().map(|problem| format!("{}: cannot be used", problem.path));
        silent.chain(unusable).collect()
    }

    /// Why nobody can be asked, as far as the error does not say it, for the operator alone: there may be paths in it.
    pub fn reason(&self, error: &BackendError) -> Option<String> {
        let BackendError::Unusable { backend } = error else { return None };
        let path = KeyPath::from(["backends", &**backend]);
        let unusable = self.unusable.load();
        unusable.iter().find(|problem| problem.path == path).map(|problem| problem.message.clone())
    }

    /// What people are shown of the backends: that of the flags, those of the file, and those that cannot be used.
    pub fn rows(&self) -> Vec<BackendRow> {
        let used = self.in_use();
        let used = doubles(used.iter()).flat_map(|(replicas, is_double)| {
            let mark = if is_double { " (as before, for rules of teams)" } else { "" };
            let rows = replicas.rows().into_iter();
            rows.map(move |row| BackendRow { name: row.name + mark, ..row })
        });
        let unusable = self.unusable.load();
        let unusable = unusable.iter().map(|problem| BackendRow {
            name: problem.path.to_string(),
            url: String::new(),
            state: State::Bad("unusable", "the log says why".to_owned()),
            exchanges: Exchanges::default(),
            received_bytes: 0,
        });
        used.chain(unusable).collect()
    }

    /// Who is asked for a rule, about a namespace or, where that is empty, about none.
    pub fn handle(
        &self,
        options: &QueryOptions,
        namespace: &str,
    ) -> Result<BackendHandle, BackendError> {
        let handle =
            if options.backend.is_none() && options.headers.is_empty() && options.timeout.is_none()
            {
                self.default.clone()
            } else {
                let headers = options.render_headers(namespace)?;
                BackendHandle::new(self.of(options)?, headers, options.timeout)
            };
        Ok(handle.asked_for(namespace).owned_by(options.owner))
    }

    /// Who is asked which metrics there are for a rule: nobody knows for which namespace, so headers that depend on it are
    /// left out.
    pub fn discovery_handle(&self, options: &QueryOptions) -> Result<BackendHandle, BackendError> {
        let same = options.headers.iter().filter(|header| !header.value.may_depend_on_namespace());
        let headers =
            same.filter_map(|header| Some((header.name.clone(), header.render("").ok()?)));
        Ok(BackendHandle::new(self.of(options)?, headers.collect(), options.timeout))
    }

    fn of(&self, options: &QueryOptions) -> Result<Arc<Replicas>, BackendError> {
        let Some(backend) = &options.backend else {
            return Ok(Arc::clone(&self.of_flags));
        };
        find(&self.named.load().known, backend.fingerprint)
            .ok_or_else(|| BackendError::Unusable { backend: Arc::clone(&backend.name) })
    }
}

/// Backends, and whether one before has the same name. Such a one is of the file before, and kept for rules of teams.
fn doubles<'r>(
    backends: impl Iterator<Item = &'r Arc<Replicas>>,
) -> impl Iterator<Item = (&'r Arc<Replicas>, bool)> {
    let mut names = HashSet::new();
    backends.map(move |replicas| (replicas, !names.insert(replicas.name())))
}

fn find(named: &[(Fingerprint, Arc<Replicas>)], fingerprint: Fingerprint) -> Option<Arc<Replicas>> {
    named.iter().find(|(known, _)| *known == fingerprint).map(|(_, found)| Arc::clone(found))
}

#[cfg(test)]
mod tests;
