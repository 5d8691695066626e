//! The rules file: reading it, and taking over its changes without a restart.
//!
//! The file is looked at every few seconds, and at SIGHUP.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    backends::Backends,
    blocking,
    core::{
        explain::{broken, facts::BrokenRule},
        key_path::KeyPath,
        lint::{self, Finding, Severity},
        resource::UsageRules,
        rules::{self, Delegate, Problem, RuleSet},
        yaml,
    },
    delegates::Delegates,
    discovery, files,
    metrics::Metrics,
    wire::discovery::{CUSTOM, EXTERNAL, Group, RESOURCE},
};

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// How many findings about a file go to the log.
const MOST_LOGGED: usize = 50;

/// A rules file.
#[derive(Clone, Debug)]
pub struct RulesFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether rules that do not compile make the whole file one that cannot be used; else they are left out.
    pub strict: bool,
}

/// A file that cannot be used: what is wrong, a line each, with file, line and column.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Unusable(pub Vec<String>);

impl RulesFile {
    /// Reads the text; one that is too long for a rules file is cut where that shows.
    pub fn read(&self) -> Result<String, Unusable> {
        let mut text = String::new();
        let limit = u64::try_from(yaml::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        std::fs::File::open(&self.path)
            .and_then(|file| file.take(limit).read_to_string(&mut text))
            .map_err(|error| {
                Unusable(vec![format!("{}: cannot be read: {error}", self.path.display())])
            })?;
        Ok(text)
    }

    /// Compiles a text of the file. What is left out, or odd and no error, goes to the log.
    ///
    /// A text without a rule does not replace the rules in use, of which there are `in_use`: more likely it was truncated. Only
    /// an empty list says that no rules are meant.
    pub fn compile(&self, text: &str, in_use: usize) -> Result<RuleSet, Unusable> {
        let lines = |problems: &[Problem]| {
            Unusable(problems.iter().map(|problem| self.line(problem)).collect())
        };
        let rules = rules::load(text).map_err(|problems| lines(&problems))?;
        if self.strict && !rules.broken.is_empty() {
            return Err(lines(&rules.broken));
        }
        if in_use > 0 && rules.count() == 0 && !rules.is_empty_on_purpose {
            let message = format!(
                "it has no usable rule, and would replace {in_use}; write `rules: []` if none are wanted"
            );
            let lost = Problem::new(None, KeyPath::default(), message);
            let problems: Vec<_> = std::iter::once(lost).chain(rules.broken).collect();
            return Err(lines(&problems));
        }
        let findings = lint::check_rules(text, &rules);
        let logged: Vec<_> =
            findings.iter().filter(|finding| finding.severity < Severity::Info).collect();
        for Finding { place, path, message, help, .. } in logged.iter().take(MOST_LOGGED) {
            let problem = Problem::new(*place, path.clone(), message);
            tracing::warn!("{}; {help}", self.line(&problem));
        }
        let more = logged.len().saturating_sub(MOST_LOGGED);
        if more > 0 {
            tracing::warn!(more, "`loadline check` shows the rest");
        }
        Ok(rules)
    }

    fn line(&self, problem: &Problem) -> String {
        line(&self.path, problem)
    }
}

/// A problem with the file that it is in.
fn line(path: &Path, problem: &Problem) -> String {
    match problem.place {
        Some(_) => format!("{}:{problem}", path.display()),
        None => format!("{}: {problem}", path.display()),
    }
}

/// Where the rules are from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub file: RulesFile,
    /// The text of the rules that are used.
    pub text: String,
    /// Notified when the file is to be read now.
    pub asked: Arc<Notify>,
}

/// What readers hold of the rules: those that are used now, and why a newer file is not.
#[derive(Clone)]
pub struct Rules {
    current: Arc<ArcSwap<RuleSet>>,
    usage: Arc<ArcSwapOption<UsageRules>>,
    broken: Arc<ArcSwap<Vec<BrokenRule>>>,
    problem: Arc<ArcSwapOption<Unusable>>,
    reloads: Arc<ArcSwap<Reloads>>,
    /// Whether rules of teams are served beside those of the file.
    serves_teams: bool,
}

/// How often the file has changed.
#[derive(Clone, Copy, Debug)]
pub struct Reloads {
    /// Since when the rules are in use.
    pub since: Timestamp,
    /// How many files were taken over after the first.
    pub taken: u64,
    /// How many could not be used.
    pub refused: u64,
    /// When that was last.
    pub last_refused: Option<Timestamp>,
}

impl Rules {
    /// Rules of a file, or of none.
    pub fn of_source(rules: RuleSet, source: Option<&Source>) -> Self {
        Self::new(rules, source.map_or("", |source| &source.text))
    }

    /// Rules that nobody changes until a [`Reload`] does, and the text that they are from.
    pub fn new(rules: RuleSet, text: &str) -> Self {
        let new = Self {
            current: Arc::default(),
            usage: Arc::default(),
            broken: Arc::default(),
            problem: Arc::default(),
            reloads: Arc::new(ArcSwap::from_pointee(Reloads {
                since: Timestamp::now(),
                taken: 0,
                refused: 0,
                last_refused: None,
            })),
            serves_teams: false,
        };
        new.replace(Arc::new(rules), text);
        new
    }

    fn replace(&self, rules: Arc<RuleSet>, text: &str) {
        self.broken.store(Arc::new(broken::rules(&rules.broken, text)));
        let before = self.usage();
        let resource = rules.resource.as_ref();
        // What has not changed keeps what is known of it.
        let keeps = before.zip(resource).is_some_and(|(before, rules)| before.is_of(rules));
        if !keeps {
            let usage = resource.and_then(UsageRules::new);
            for (what, why) in usage.iter().flat_map(UsageRules::problems) {
                tracing::warn!(what, why, "usage that cannot be served");
            }
            self.usage.store(usage.map(Arc::new));
        }
        self.current.store(rules);
    }

    /// Reports the rules in use, which are those of the current file.
    pub fn count(&self, metrics: &Metrics) {
        let rules = self.current();
        let usage = rules.resource.iter().flat_map(|usage| [&usage.cpu, &usage.memory]);
        metrics.rules(CUSTOM.name, rules.custom.len());
        metrics.rules(EXTERNAL.name, rules.external.len());
        metrics.rules(RESOURCE.name, usage.flatten().count());
        metrics.left_out_rules(rules.broken.len());
        metrics.reloaded(true);
    }

    /// What usage of pods and nodes is read by; nothing without rules for it.
    pub fn usage(&self) -> Option<Arc<UsageRules>> {
        self.usage.load_full()
    }

    /// The same with rules of teams beside those of the file, if they are served.
    #[must_use]
    pub fn with_team_rules(self, serves_teams: bool) -> Self {
        Self { serves_teams, ..self }
    }

    /// The API groups that there are rules or delegates for, or may be rules of teams for.
    pub fn served(&self) -> Vec<Group> {
        let rules = self.current();
        let delegated = |is_of: fn(&Delegate) -> bool| rules.delegates.iter().any(|it| is_of(it));
        let groups = [
            (
                CUSTOM,
                !rules.custom.is_empty() || self.serves_teams || delegated(|it| it.apis.custom),
            ),
            (
                EXTERNAL,
                !rules.external.is_empty() || self.serves_teams || delegated(|it| it.apis.external),
            ),
            (RESOURCE, rules.resource.is_some()),
        ];
        groups.into_iter().filter(|(_, has_rules)| *has_rules).map(|(group, _)| group).collect()
    }

    /// The rules that are used now.
    pub fn current(&self) -> Arc<RuleSet> {
        self.current.load_full()
    }

    /// The rules that were left out because they do not compile, with what the file says of them.
    pub fn broken(&self) -> Arc<Vec<BrokenRule>> {
        self.broken.load_full()
    }

    /// How often the file has changed.
    pub fn reloads(&self) -> Reloads {
        **self.reloads.load()
    }

    fn note(&self, change: impl Fn(Reloads) -> Reloads) {
        self.reloads.rcu(|reloads| change(**reloads));
    }

    /// What is wrong with the file, if it has changed since and cannot be used.
    pub fn problem(&self) -> Option<Arc<Unusable>> {
        self.problem.load_full()
    }
}

/// The task that takes over changes of the file.
pub struct Reload {
    file: RulesFile,
    /// The text of the rules that are used.
    used: String,
    /// The text that was tried last; nothing if the file could not be read.
    tried: Option<String>,
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
    /// Makes the task, which does nothing before [`Reload::run`].
    pub fn new(source: Source, changed: Changed) -> Self {
        let Source { file, text, asked } = source;
        Self { file, tried: Some(text.clone()), used: text, asked, changed }
    }

    /// Works until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.asked.notified() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look() => {}
            }
        }
    }

    /// Loads the file if it has changed. A file that cannot be used changes only the reported status.
    async fn look(&mut self) {
        let (backends, current) =
            (Arc::clone(&self.changed.backends), self.changed.rules.current());
        blocking::run(move || backends.retry(&current.backends)).await;
        let Some(text) = self.changed_text().await else { return };
        self.tried = Some(text.clone());
        if text == self.used {
            tracing::info!(file = %self.file.path.display(), "the rules file is the one in use again");
            self.changed.accept();
            return;
        }
        let Ok(rules) = self.compile(text.clone()).await else { return };
        let backends = Arc::clone(&self.changed.backends);
        let install = move || {
            backends.install(&rules.backends);
            rules
        };
        let rules = blocking::run(install).await;
        let (custom, external) = (rules.custom.len(), rules.external.len());
        self.changed.take_over(rules, &text).await;
        self.used = text;
        let file = self.file.path.display();
        tracing::info!(%file, custom, external, "the rules file has changed and is in use");
    }

    /// The text of the file, if it is not the one that was tried last.
    async fn changed_text(&mut self) -> Option<String> {
        let file = self.file.clone();
        let text = files::changed(self.tried.as_ref(), move || file.read()).await;
        text.unwrap_or_else(|problem| {
            self.tried = None;
            self.changed.refuse(problem);
            None
        })
    }

    /// Compiles a text, which takes a while where there are many rules. A panic is a problem of the text: the rules in use stay.
    async fn compile(&self, text: String) -> Result<RuleSet, ()> {
        let (file, in_use) = (self.file.clone(), self.changed.rules.current().count());
        let path = &self.file.path;
        let compiled = tokio::task::spawn_blocking(move || file.compile(&text, in_use)).await;
        compiled
            .unwrap_or_else(|error| Err(Unusable(vec![format!("{}: {error}", path.display())])))
            .map_err(|problem| self.changed.refuse(problem))
    }
}

impl Changed {
    async fn take_over(&self, rules: RuleSet, text: &str) {
        let rules = Arc::new(rules);
        self.rules.replace(Arc::clone(&rules), text);
        self.delegates.install(&rules.delegates);
        let since = Timestamp::now();
        self.rules.note(|it| Reloads { since, taken: it.taken.saturating_add(1), ..it });
        self.discovery.replace(rules).await;
        self.accept();
    }

    fn accept(&self) {
        self.rules.problem.store(None);
        self.rules.count(&self.metrics);
    }

    /// Says once what is wrong.
    fn refuse(&self, problem: Unusable) {
        self.metrics.reloaded(false);
        if self.rules.problem().as_deref() == Some(&problem) {
            return;
        }
        let last_refused = Some(Timestamp::now());
        self.rules.note(|it| Reloads { refused: it.refused.saturating_add(1), last_refused, ..it });
        let first = problem.0.first().map_or("", String::as_str);
        let more = Some(problem.0.len().saturating_sub(1)).filter(|more| *more > 0);
        tracing::error!(more, "{first}; keeping the previous rules");
        self.rules.problem.store(Some(Arc::new(problem)));
    }
}
