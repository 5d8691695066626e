//! The rules files: reading them, and taking over their changes without a restart.

mod attempt;
pub mod config_maps;
mod reload;
mod source;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use tokio::sync::watch;

pub use crate::core::rules_files::Requirements;
use crate::{
    core::{
        explain::facts::BrokenRule,
        resource::UsageRules,
        rules::{Delegate, RuleSet},
        rules_files::{FileProblems, RulesFiles},
    },
    metrics::Metrics,
    wire::discovery::{CUSTOM, EXTERNAL, Group, RESOURCE},
};
pub use reload::{Changed, Reload};
pub use source::{ConfigPath, Source, text_of};

/// How many findings about files go to the log at a time.
const MOST_LOGGED: usize = 50;

/// Files that cannot be used: what is wrong, a line each, with file, line and column.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Unusable(pub Vec<String>);

impl Unusable {
    /// What is wrong with files and what becomes of them, and what keeps further ones from being read.
    fn of(files: &RulesFiles, unread: &[String]) -> Option<Self> {
        let problems: Vec<_> = files.problems().collect();
        let lines = problems.iter().flat_map(FileProblems::told);
        let lines: Vec<_> = unread.iter().cloned().chain(lines).collect();
        (!lines.is_empty()).then_some(Self(lines))
    }
}

/// Logs what is wrong with files, but for what was logged `before`.
fn log_problems(problems: &[FileProblems], before: &[FileProblems]) {
    let before: BTreeMap<_, _> = before.iter().map(|known| (&known.file, known)).collect();
    for file in problems.iter().filter(|it| before.get(&it.file) != Some(it)) {
        let more = Some(file.lines.len().saturating_sub(1)).filter(|more| *more > 0);
        let first = file.told().next().unwrap_or_default();
        tracing::error!(more, "{first}");
    }
}

fn log_findings(findings: &[String]) {
    for finding in findings.iter().take(MOST_LOGGED) {
        tracing::warn!("{finding}");
    }
    let more = findings.len().saturating_sub(MOST_LOGGED);
    if more > 0 {
        tracing::warn!(more, "`loadline check` shows the rest");
    }
}

/// What readers hold of the rules: those that are used now, and why a newer file is not.
#[derive(Clone)]
pub struct Rules {
    current: Arc<ArcSwap<RuleSet>>,
    usage: Arc<ArcSwapOption<UsageRules>>,
    broken: Arc<ArcSwap<Vec<BrokenRule>>>,
    problem: Arc<ArcSwapOption<Unusable>>,
    reloads: Arc<ArcSwap<Reloads>>,
    /// Whether rules of teams are served beside those of files.
    serves_teams: bool,
    /// Whether the ConfigMaps with rules are known; nothing where there are none.
    config_maps: Option<watch::Receiver<bool>>,
}

/// How often the files have changed.
#[derive(Clone, Copy, Debug)]
pub struct Reloads {
    /// Since when the rules are in use.
    pub since: Timestamp,
    /// How many changes were taken over.
    pub taken: u64,
    /// How many could not be used.
    pub refused: u64,
    /// When that was last.
    pub last_refused: Option<Timestamp>,
}

impl Rules {
    /// Rules that nobody changes until a [`Reload`] does.
    pub fn new(rules: RuleSet) -> Self {
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
            config_maps: None,
        };
        let usage = rules.resource.as_ref().and_then(UsageRules::new);
        new.replace(Arc::new(rules), usage);
        new
    }

    /// No rules.
    pub fn none() -> Self {
        Self::new(RuleSet::default())
    }

    /// The same, from these files.
    #[must_use]
    pub fn of_files(self, files: &RulesFiles) -> Self {
        let broken = files.broken(&self.current());
        self.told(files, broken)
    }

    /// The same, with what is wrong with the files, and which rules are not in use.
    fn told(self, files: &RulesFiles, broken: Vec<BrokenRule>) -> Self {
        self.note_broken(broken);
        self.problem.store(Unusable::of(files, &[]).map(Arc::new));
        self
    }

    /// Takes rules in place of those that there are; `usage` is made from them.
    fn replace(&self, rules: Arc<RuleSet>, usage: Option<UsageRules>) {
        let before = self.usage();
        // What has not changed keeps what is known of it.
        let resource = rules.resource.as_ref();
        let keeps = before.zip(resource).is_some_and(|(before, rules)| before.is_of(rules));
        if !keeps {
            for (what, why) in usage.iter().flat_map(UsageRules::problems) {
                tracing::warn!(what, why, "usage that cannot be served");
            }
            self.usage.store(usage.map(Arc::new));
        }
        self.current.store(rules);
    }

    /// Notes which rules are not in use because they, or their file, cannot be used.
    fn note_broken(&self, broken: Vec<BrokenRule>) {
        self.broken.store(Arc::new(broken));
    }

    /// Reports the rules in use, and whether they are those of the files of now.
    pub fn count(&self, metrics: &Metrics) {
        let rules = self.current();
        let usage = rules.resource.iter().flat_map(|usage| [&usage.cpu, &usage.memory]);
        metrics.rules(CUSTOM.name, rules.custom.len());
        metrics.rules(EXTERNAL.name, rules.external.len());
        metrics.rules(RESOURCE.name, usage.flatten().count());
        metrics.left_out_rules(rules.broken.len());
        metrics.reloaded(self.problem().is_none());
    }

    /// What usage of pods and nodes is read by; nothing without rules for it.
    pub fn usage(&self) -> Option<Arc<UsageRules>> {
        self.usage.load_full()
    }

    /// The same with rules of teams beside those of files, if they are served.
    #[must_use]
    pub fn with_team_rules(self, serves_teams: bool) -> Self {
        Self { serves_teams, ..self }
    }

    /// The same, known when the ConfigMaps are.
    #[must_use]
    pub fn with_config_maps(self, known: Option<watch::Receiver<bool>>) -> Self {
        Self { config_maps: known, ..self }
    }

    /// Whether the ConfigMaps with rules have been read, where there are such.
    pub fn are_config_maps_known(&self) -> Option<bool> {
        self.config_maps.as_ref().map(|known| *known.borrow())
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

    /// The rules that were left out because they do not compile, with what their file says of them.
    pub fn broken(&self) -> Arc<Vec<BrokenRule>> {
        self.broken.load_full()
    }

    /// How often the files have changed.
    pub fn reloads(&self) -> Reloads {
        **self.reloads.load()
    }

    fn note(&self, change: impl Fn(Reloads) -> Reloads) {
        self.reloads.rcu(|reloads| change(**reloads));
    }

    /// What is wrong with files that have changed since and cannot be used.
    pub fn problem(&self) -> Option<Arc<Unusable>> {
        self.problem.load_full()
    }
}
