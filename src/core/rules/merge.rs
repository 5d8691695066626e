//! Several rules files as one set of rules.
//!
//! Rules are taken in the order of the files. A backend is known in all files. What may occur once (an entry of `resourceRules`,
//! the name of a backend or a delegate, `teamRules`) is taken of one file, and a problem of the others: the file of which it was
//! taken before, or else the first one. In the same way texts that have been in use for longer have the memory for patterns first.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use super::{
    Backend, Compiler, ComputeResource, CustomRule, Delegate, ExternalRule, FileName, Problem,
    ResourceRule, ResourceRules, RuleSet, backend, delegate, fields::Fields, form, resource, teams,
};
use crate::core::{go_regex, key_path::KeyPath, yaml::Node};

/// The keys of a file that a ConfigMap may have. The others say where queries are sent and with which credentials, whose usage
/// scales what, and what teams may do.
const OF_CONFIG_MAPS: [&str; 2] = ["rules", "externalRules"];

/// The lists of rules in a file. An empty one says that no rules are wanted.
const LISTS: [&str; 2] = ["rules", "externalRules"];

/// The keys that hold rules.
pub const SECTIONS: [&str; 3] = ["rules", "externalRules", "resourceRules"];

/// The keys of `resourceRules`, each of which may occur once.
const OF_USAGE: [&str; 3] = ["cpu", "memory", "window"];

/// The most problems of a file that are listed.
const MAX_PROBLEMS: usize = 1_000;

/// The most of a ConfigMap's: its writers are not trusted with the memory of the process.
const MAX_PROBLEMS_OF_CONFIG_MAP: usize = 100;

/// Which file has what may occur once: a list and a name, or a key.
pub type Claims = BTreeMap<(&'static str, String), FileName>;

/// What files have had until now.
#[derive(Clone, Debug, Default)]
pub struct Precedence {
    /// How late the text of a file came into use; what is not here is earlier.
    pub since: BTreeMap<FileName, u64>,
    /// Who had what may occur once.
    pub claims: Claims,
}

/// Files that are used together.
#[derive(Debug)]
pub struct Merged {
    /// Their rules.
    pub rules: RuleSet,
    /// What has become of each file.
    pub outcomes: BTreeMap<FileName, Outcome>,
    /// Who has what may occur once.
    pub claims: Claims,
}

/// How much there is in a file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Contents {
    /// The rules that compile.
    pub rules: usize,
    /// Those of each of [`SECTIONS`].
    pub of_sections: [usize; SECTIONS.len()],
    /// `backends`, `delegates` and `teamRules`.
    pub others: usize,
}

/// How much a file says of a key that holds rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Section {
    /// It has a value.
    Written,
    /// It has none: a file ends so that was cut off.
    Blank,
    /// It is not there.
    Absent,
}

impl Contents {
    /// Whether there is nothing.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rules, self.others) {
            (0, others) => write!(f, "{others} of `backends`, `delegates` and `teamRules`"),
            (1, _) => f.write_str("1 rule"),
            (rules, _) => write!(f, "{rules} rules"),
        }
    }
}

/// What has become of a file.
#[derive(Debug)]
pub enum Outcome {
    /// It is used, but for its problems among [`RuleSet::broken`].
    Read {
        /// How much it has.
        contents: Contents,
        /// Whether it says that there are no rules, as `rules: []` does.
        says_no_rules: bool,
        /// What it says of each of [`SECTIONS`].
        sections: [Section; SECTIONS.len()],
    },
    /// Its form is wrong: nothing of it is used.
    Refused(Vec<Problem>),
}

/// Compiles files, which are given in their order. A file whose form is wrong does not change what becomes of the others.
pub fn merge(files: &[(FileName, &Node)], before: &Precedence) -> Merged {
    let mut outcomes = BTreeMap::new();
    let mut parts = Vec::new();
    for (name, root) in files {
        match Part::read(name, root) {
            Ok(part) => parts.push(part),
            Err(mut problems) => {
                let more = cut(name, &mut problems);
                problems.extend(unlisted(more));
                for problem in &mut problems {
                    problem.file = name.clone();
                }
                outcomes.insert(name.clone(), Outcome::Refused(problems));
            }
        }
    }
    let mut merger = Merger { claims: claims(&parts, &before.claims), ..Merger::default() };
    for part in &mut parts {
        merger.servers(part);
    }
    let mut by_age: Vec<_> = parts.iter_mut().collect();
    by_age.sort_by_key(|part| before.since.get(part.name));
    for part in by_age {
        merger.rules(part);
    }
    let Merger { mut rules, cpu, memory, window, has_usage, teams, claims, .. } = merger;
    rules.teams = teams::compile(teams.as_ref(), &rules.backends);
    rules.resource = has_usage.then(|| ResourceRules::new(cpu, memory, window));
    for part in parts {
        let contents = part.contents();
        let Part { name, fields, delegates, mut broken, more, custom, external, .. } = part;
        let has_none = contents.rules == 0 && broken.is_empty();
        let has_any = |keys: &[&str]| has_none && keys.iter().any(|key| fields.get(key).is_some());
        let says_no_rules = has_any(&LISTS);
        // A file may be there for its delegates, and one with nothing but `resourceRules` serves metrics.k8s.io.
        let has_others = has_any(&["resourceRules"]) || (has_none && !delegates.is_empty());
        rules.is_empty_on_purpose |= says_no_rules || has_others;
        rules.custom.extend(custom);
        rules.external.extend(external);
        let more = more + cut(name, &mut broken);
        broken.extend(unlisted(more));
        for problem in &mut broken {
            problem.file = name.clone();
        }
        rules.broken.append(&mut broken);
        let sections = SECTIONS.map(|key| match (fields.get(key), fields.has(key)) {
            (Some(_), _) => Section::Written,
            (None, true) => Section::Blank,
            (None, false) => Section::Absent,
        });
        outcomes.insert(name.clone(), Outcome::Read { contents, says_no_rules, sections });
    }
    rules.is_empty_on_purpose &= rules.count() == 0 && rules.broken.is_empty();
    Merged { rules, outcomes, claims }
}

/// Who has what may occur once: of the files that claim it the one that had it, or else the first.
fn claims(parts: &[Part<'_>], before: &Claims) -> Claims {
    let mut claims = Claims::new();
    for part in parts {
        for claim in part.claims() {
            let had_it = before.get(&claim) == Some(part.name);
            let holder = claims.entry(claim).or_insert_with(|| part.name.clone());
            if had_it {
                holder.clone_from(part.name);
            }
        }
    }
    claims
}

/// Cuts the list of a file's problems where it is too long to be read. Returns how many more there were.
fn cut(file: &FileName, problems: &mut Vec<Problem>) -> usize {
    let most = match file {
        FileName::ConfigMap(_) => MAX_PROBLEMS_OF_CONFIG_MAP,
        FileName::Config | FileName::InFolder(_) => MAX_PROBLEMS,
    };
    let more = problems.len().saturating_sub(most);
    problems.truncate(most);
    more
}

/// What stands for the problems that are not listed, if there are any.
fn unlisted(more: usize) -> Option<Problem> {
    let message = format!("{more} more problems are not listed");
    (more > 0).then(|| Problem::new(None, KeyPath::default(), message))
}

/// A file while it is merged.
struct Part<'f> {
    name: &'f FileName,
    fields: Fields<'f>,
    backends: Vec<Arc<Backend>>,
    delegates: Vec<Arc<Delegate>>,
    /// The names of its backends that another file has.
    lost: Vec<Arc<str>>,
    custom: Vec<Arc<CustomRule>>,
    external: Vec<Arc<ExternalRule>>,
    /// How many rules for usage compile.
    usage: usize,
    broken: Vec<Problem>,
    /// How many problems were cut off.
    more: usize,
}

impl<'f> Part<'f> {
    fn read(name: &'f FileName, root: &'f Node) -> Result<Self, Vec<Problem>> {
        let fields = form::read(root)?;
        let mut part = Self {
            name,
            fields,
            backends: Vec::new(),
            delegates: Vec::new(),
            lost: Vec::new(),
            custom: Vec::new(),
            external: Vec::new(),
            usage: 0,
            broken: Vec::new(),
            more: 0,
        };
        if part.is_restricted() {
            part.restrict();
        } else {
            part.backends = backend::compile_all(&part.fields)?;
            part.delegates = delegate::compile_all(&part.fields)?;
        }
        Ok(part)
    }

    fn is_restricted(&self) -> bool {
        matches!(self.name, FileName::ConfigMap(_))
    }

    fn contents(&self) -> Contents {
        let has_teams = !self.is_restricted() && self.fields.get("teamRules").is_some();
        Contents {
            rules: self.custom.len() + self.external.len() + self.usage,
            of_sections: [self.custom.len(), self.external.len(), self.usage],
            others: self.backends.len() + self.delegates.len() + usize::from(has_teams),
        }
    }

    /// What it has that may occur once.
    fn claims(&self) -> Vec<(&'static str, String)> {
        if self.is_restricted() {
            return Vec::new();
        }
        let backends = self.backends.iter().map(|it| ("backends", it.name.to_string()));
        let delegates = self.delegates.iter().map(|it| ("delegates", it.name.to_string()));
        let usage = self.fields.object("resourceRules").into_iter().flat_map(|usage| {
            let own = OF_USAGE.into_iter().filter(move |key| usage.get(key).is_some());
            own.map(|key| ("resourceRules", key.to_owned()))
        });
        let teams = self.fields.get("teamRules").map(|_| ("teamRules", String::new()));
        backends.chain(delegates).chain(usage).chain(teams).collect()
    }

    /// Reports the keys that a ConfigMap may not have. They are not read.
    fn restrict(&mut self) {
        for (key, _) in self.fields.entries() {
            if !OF_CONFIG_MAPS.contains(&key.text.as_str()) {
                let message = "a ConfigMap may have `rules` and `externalRules` only: this belongs to a file of --config";
                let path = KeyPath::from(key.text.as_str());
                self.broken.push(Problem::new(Some(key.place), path, message));
            }
        }
    }
}

/// What patterns may take, by who writes the files: the files of `--config` share one budget, and the ConfigMaps of each namespace.
type Budgets<'f> = HashMap<Option<&'f str>, go_regex::Budget>;

#[derive(Default)]
struct Merger<'f> {
    rules: RuleSet,
    cpu: Option<ResourceRule>,
    memory: Option<ResourceRule>,
    window: Option<Duration>,
    has_usage: bool,
    teams: Option<Fields<'f>>,
    /// Who has what may occur once.
    claims: Claims,
    budgets: Budgets<'f>,
}

impl<'f> Merger<'f> {
    /// Takes the servers of a file, which rules of all files may name, and `teamRules`.
    fn servers(&mut self, part: &mut Part<'f>) {
        for (position, backend) in part.backends.iter().enumerate() {
            let claim = ("backends", backend.name.to_string());
            let path = KeyPath::from("backends").index(position).key("name");
            match self.claim(&claim, part.name) {
                Ok(()) => self.rules.backends.push(Arc::clone(backend)),
                Err(other) => {
                    let name = &backend.name;
                    let message = format!(
                        "{other} has the backend `{name}`, too: this one is not used, and neither are the rules of this file that name it"
                    );
                    part.broken.push(Problem::new(Some(backend.place), path, message));
                    part.lost.push(Arc::clone(name));
                }
            }
        }
        for (position, delegate) in part.delegates.iter().enumerate() {
            let claim = ("delegates", delegate.name.to_string());
            let path = KeyPath::from("delegates").index(position).key("name");
            match self.claim(&claim, part.name) {
                Ok(()) => self.rules.delegates.push(Arc::clone(delegate)),
                Err(other) => {
                    let message = format!(
                        "{other} has the delegate `{}`, too: this one is not used",
                        delegate.name
                    );
                    part.broken.push(Problem::new(Some(delegate.place), path, message));
                }
            }
        }
    }

    /// Compiles the rules of a file.
    fn rules(&mut self, part: &mut Part<'f>) {
        let known = &self.rules.backends;
        let is_lost = |backend: &Arc<Backend>| part.lost.contains(&backend.name);
        let backends: Vec<_> = known.iter().filter(|it| !is_lost(it)).cloned().collect();
        let patterns = match part.name {
            FileName::ConfigMap(key) => {
                let of_namespace = self.budgets.entry(Some(&key.namespace));
                of_namespace.or_insert_with(go_regex::Budget::strict)
            }
            FileName::Config | FileName::InFolder(_) => self.budgets.entry(None).or_default(),
        };
        let broken = std::mem::take(&mut part.broken);
        let mut compiler = Compiler { file: part.name, backends: &backends, patterns, broken };
        let custom = (0..).zip(part.fields.items("rules"));
        for (position, rule) in custom {
            part.custom.extend(compiler.custom(position, &rule).map(Arc::new));
            part.more += cut(part.name, &mut compiler.broken);
        }
        let external = (0..).zip(part.fields.items("externalRules"));
        for (position, rule) in external {
            part.external.extend(compiler.external(position, &rule).map(Arc::new));
            part.more += cut(part.name, &mut compiler.broken);
        }
        part.broken = compiler.broken;
        if !part.is_restricted() {
            self.usage(part, &backends);
            self.teams(part);
        }
    }

    fn usage(&mut self, part: &mut Part<'f>, backends: &[Arc<Backend>]) {
        let Some(written) = part.fields.object("resourceRules") else { return };
        self.has_usage = true;
        let mut is_own = |key: &'static str| {
            let Some(node) = written.get(key) else { return false };
            let claimed = self.claim(&("resourceRules", key.to_owned()), part.name);
            claimed
                .map_err(|other| {
                    let message =
                        format!("{other} has `resourceRules.{key}`, too: this one is not used");
                    let path = written.path.key(key);
                    part.broken.push(Problem::new(Some(node.place), path, message));
                })
                .is_ok()
        };
        let [cpu, memory, window] = OF_USAGE.map(&mut is_own);
        let mut rule = |key, resource| {
            let rule = written.object(key)?;
            let rule = resource::compile(part.name, &rule, resource, backends, &mut part.broken)?;
            part.usage += 1;
            Some(rule)
        };
        if cpu {
            self.cpu = rule("cpu", ComputeResource::Cpu);
        }
        if memory {
            self.memory = rule("memory", ComputeResource::Memory);
        }
        if window {
            self.window = written.duration("window");
        }
    }

    fn teams(&mut self, part: &mut Part<'f>) {
        let Some(node) = part.fields.get("teamRules") else { return };
        match self.claim(&("teamRules", String::new()), part.name) {
            Ok(()) => self.teams = part.fields.object("teamRules"),
            Err(other) => {
                let message = format!("{other} has `teamRules`, too: these are not used");
                part.broken.push(Problem::new(Some(node.place), "teamRules".into(), message));
            }
        }
    }

    /// Whether a file has what may occur once, or which one has it.
    fn claim(&self, what: &(&'static str, String), file: &FileName) -> Result<(), FileName> {
        match self.claims.get(what) {
            Some(holder) if holder != file => Err(holder.clone()),
            _ => Ok(()),
        }
    }
}
