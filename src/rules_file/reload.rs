//! The task that takes over changes of the files. They are looked at every few seconds, and at SIGHUP.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    ConfigPath, Reloads, Rules, Source, Unusable,
    attempt::{Attempt, Prepared},
    config_maps::ConfigMapFiles,
    log_findings, log_problems,
};
use crate::{
    backends::Backends,
    blocking,
    core::{
        resource::UsageRules,
        rules::{FileName, RuleSet},
        rules_files::{FileProblems, Given, RulesFiles, Update},
    },
    delegates::Delegates,
    discovery, files,
    metrics::Metrics,
};

/// How often the files are looked at, and the least time between two changes of ConfigMaps that are taken over.
const INTERVAL: Duration = Duration::from_secs(5);

/// The task that takes over changes of the files.
pub struct Reload {
    config: Option<Arc<ConfigPath>>,
    /// What the path had when it was read last; nothing if it could not be read.
    content: Option<Vec<Given>>,
    /// The files of the path, as they are to be used.
    of_config: Vec<Given>,
    /// Why the path, or what it has, is not used as it is.
    trouble: Option<String>,
    config_maps: Option<ConfigMapFiles>,
    /// Whether the rules of ConfigMaps are in use.
    known: watch::Sender<bool>,
    files: RulesFiles,
    attempt: Attempt,
    asked: Arc<Notify>,
    changed: Changed,
}

/// What a change of the rules changes.
pub struct Changed {
    /// What readers hold.
    pub rules: Rules,
    /// The servers that rules name.
    pub backends: Arc<Backends>,
    /// Other servers of the metrics APIs.
    pub delegates: Arc<Delegates>,
    /// What there is of the rules.
    pub discovery: discovery::Handle,
    /// Where reloads are counted.
    pub metrics: Arc<Metrics>,
}

impl Reload {
    /// Makes the task, which does nothing before [`Reload::run`]. The sender says that the rules of ConfigMaps are in use.
    pub fn new(
        source: Source,
        config_maps: Option<ConfigMapFiles>,
        known: watch::Sender<bool>,
        changed: Changed,
    ) -> Self {
        let Source { config, files, content, attempt, asked, .. } = source;
        let of_config = content.clone().unwrap_or_default();
        let config = config.map(Arc::new);
        Self {
            config,
            content,
            of_config,
            trouble: None,
            config_maps,
            known,
            files,
            attempt,
            asked,
            changed,
        }
    }

    /// Works until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        self.changed.metrics.rules_files(self.files.current());
        let mut taken = None;
        loop {
            let of_config_maps = async {
                match &self.config_maps {
                    Some(config_maps) => {
                        config_maps.changed().await;
                        // Whoever changes a ConfigMap again and again does not occupy the server.
                        if let Some(taken) = taken {
                            tokio::time::sleep_until(taken + INTERVAL).await;
                        }
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.asked.notified() => {}
                () = tokio::time::sleep(INTERVAL) => {}
                () = of_config_maps => taken = Some(Instant::now()),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look() => {}
            }
        }
    }

    /// Takes over what has changed. A file that cannot be used changes only the reported status.
    async fn look(&mut self) {
        let (backends, current) =
            (Arc::clone(&self.changed.backends), self.changed.rules.current());
        blocking::run(move || backends.retry(&current)).await;
        self.read().await;
        let are_known = self.config_maps.as_ref().is_none_or(ConfigMapFiles::are_known);
        let of_config_maps = self.config_maps.as_ref().map(ConfigMapFiles::read);
        let (of_config_maps, troubles) = of_config_maps.unwrap_or_default();
        let given: Vec<_> = self.of_config.iter().cloned().chain(of_config_maps).collect();
        let mut unread: Vec<_> = self.trouble.iter().cloned().chain(troubles).collect();
        match self.update(given).await {
            Ok(prepared) => {
                self.take_over(prepared, unread).await;
                if are_known {
                    self.known.send_if_modified(|known| !std::mem::replace(known, true));
                }
            }
            Err(panic) => {
                self.log_unread(&unread);
                unread.push(panic);
                self.refuse(Unusable(unread));
            }
        }
    }

    /// Reads what the path has, if that is not what it had.
    async fn read(&mut self) {
        let Some(config) = self.config.clone() else { return };
        let path = config.path().display().to_string();
        let known = Arc::new(self.files.in_folder());
        match files::changed(self.content.as_ref(), move || config.read(&known)).await {
            Ok(None) => {}
            Ok(Some(content)) => {
                self.content = Some(content.clone());
                self.trouble = None;
                let of_config = |file: &FileName| !matches!(file, FileName::ConfigMap(_));
                let in_use = self.files.contents(of_config);
                if content.is_empty() && !in_use.is_empty() {
                    self.trouble = Some(format!(
                        "{path}: the folder has no rules files, and would replace {in_use}; write a file with `rules: []` if none are wanted; keeping the previous rules"
                    ));
                } else {
                    self.of_config = content;
                }
            }
            Err(problem) => {
                self.content = None;
                self.trouble = Some(format!("{problem}; keeping the previous rules"));
            }
        }
    }

    /// What files change; it takes a while where there are many rules.
    async fn update(&mut self, given: Vec<Given>) -> Result<Prepared, String> {
        let (files, current) = (self.files.clone(), self.changed.rules.current());
        let mut attempt = std::mem::take(&mut self.attempt);
        let work = move || {
            let prepare = |given| Prepared::new(&files, given, &current);
            let made = attempt.make(&files, &given, prepare);
            (attempt, made)
        };
        let (attempt, made) = blocking::run(work).await;
        self.attempt = attempt;
        made
    }

    async fn take_over(&mut self, prepared: Prepared, mut unread: Vec<String>) {
        let Prepared { update, broken, usage } = prepared;
        let Update { files, rules, changed, findings } = update;
        let before: Vec<FileProblems> = self.files.problems().collect();
        let problems: Vec<_> = files.problems().collect();
        log_problems(&problems, &before);
        log_findings(&findings);
        let is_same = rules.is_none();
        if let Some(rules) = rules {
            let (custom, external) = (rules.custom.len(), rules.external.len());
            self.changed.install(rules, usage).await;
            match changed.as_slice() {
                [] => tracing::info!("what the rules files let rules of teams do is in use"),
                [file] if files.current().any(|(known, _)| known == file) => {
                    tracing::info!(%file, custom, external, "the rules file has changed and is in use");
                }
                several => {
                    let files: Vec<_> = several.iter().map(ToString::to_string).collect();
                    let files = files.join(", ");
                    tracing::info!(
                        files,
                        custom,
                        external,
                        "rules files have changed; their rules are in use"
                    );
                }
            }
        }
        if let Some(broken) = broken {
            self.changed.rules.note_broken(broken);
        }
        let known: BTreeSet<_> = files.current().map(|(file, _)| file).collect();
        for (gone, _) in self.files.current().filter(|(file, _)| !known.contains(file)) {
            self.changed.metrics.forget_rules_file(gone);
        }
        self.files = files;
        unread.extend(self.files.kept_teams());
        match Unusable::of(&self.files, &unread) {
            None if is_same && self.changed.rules.problem().is_some() => {
                tracing::info!("the rules files are those in use again");
                self.changed.accept();
            }
            None if !is_same => self.changed.accept(),
            None => {}
            Some(problem) => {
                if !is_same {
                    self.changed.rules.count(&self.changed.metrics);
                }
                self.log_unread(&unread);
                self.refuse(problem);
            }
        }
        self.changed.metrics.rules_files(self.files.current());
    }

    /// Logs why files are not read, unless that is known.
    fn log_unread(&self, unread: &[String]) {
        let known = self.changed.rules.problem();
        let known = known.as_ref().map_or(&[][..], |known| &known.0);
        for line in unread.iter().filter(|line| !known.contains(line)) {
            tracing::error!("{line}");
        }
    }

    fn refuse(&self, problem: Unusable) {
        let Changed { rules, metrics, .. } = &self.changed;
        metrics.reloaded(false);
        if rules.problem().as_deref() == Some(&problem) {
            return;
        }
        let last_refused = Some(Timestamp::now());
        rules.note(|it| Reloads { refused: it.refused.saturating_add(1), last_refused, ..it });
        rules.problem.store(Some(Arc::new(problem)));
    }
}

impl Changed {
    async fn install(&self, rules: RuleSet, usage: Option<UsageRules>) {
        let backends = Arc::clone(&self.backends);
        let install = move || {
            backends.install(&rules);
            rules
        };
        let rules = Arc::new(blocking::run(install).await);
        self.rules.replace(Arc::clone(&rules), usage);
        self.delegates.install(&rules.delegates);
        let since = Timestamp::now();
        self.rules.note(|it| Reloads { since, taken: it.taken.saturating_add(1), ..it });
        self.discovery.replace(rules).await;
    }

    fn accept(&self) {
        self.rules.problem.store(None);
        self.rules.count(&self.metrics);
    }
}
