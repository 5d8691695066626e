//! Several rules files as one set of rules.
//!
//! Rules are taken in the order of the files. A backend is known in all files. What may occur once (an entry of `resourceRules`,
//! the name of a backend or a delegate, `teamRules`) is taken of the first file that has it, and a problem of the others.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use super::{
    Backend, Compiler, ComputeResource, Delegate, FileName, Problem, ResourceRule, ResourceRules,
    RuleSet, backend, delegate, fields::Fields, form, resource, teams,
};
use crate::core::{go_regex, key_path::KeyPath, yaml::Node};

/// The keys of a file that a ConfigMap may have. The others say where queries are sent and with which credentials, whose usage
/// scales what, and what teams may do.
const OF_CONFIG_MAPS: [&str; 2] = ["rules", "externalRules"];

/// The keys of a file that hold rules.
const OF_RULES: [&str; 3] = ["rules", "externalRules", "resourceRules"];

/// Files that are used together.
#[derive(Debug)]
pub struct Merged {
    /// Their rules.
    pub rules: RuleSet,
    /// What has become of each file.
    pub outcomes: BTreeMap<FileName, Outcome>,
}

/// What has become of a file.
#[derive(Debug)]
pub enum Outcome {
    /// It is used, but for its problems among [`RuleSet::broken`].
    Read {
        /// How many rules it has that compile.
        rules: usize,
        /// Whether it says that there are no rules, as `rules: []` does.
        is_empty_on_purpose: bool,
    },
    /// Its form is wrong: nothing of it is used.
    Refused(Vec<Problem>),
}

/// Compiles files, which are given in their order. A file whose form is wrong does not change what becomes of the others.
pub fn merge(files: &[(FileName, &Node)]) -> Merged {
    let mut outcomes = BTreeMap::new();
    let mut parts = Vec::new();
    for (name, root) in files {
        match Part::read(name, root) {
            Ok(part) => parts.push(part),
            Err(mut problems) => {
                for problem in &mut problems {
                    problem.file = name.clone();
                }
                outcomes.insert(name.clone(), Outcome::Refused(problems));
            }
        }
    }
    let mut merger = Merger::default();
    for part in &mut parts {
        merger.servers(part);
    }
    for part in &mut parts {
        merger.rules(part);
    }
    let Merger { mut rules, cpu, memory, window, has_usage, teams, .. } = merger;
    rules.teams = teams::compile(teams.as_ref(), &rules.backends);
    rules.resource = has_usage.then(|| ResourceRules::new(cpu, memory, window));
    for part in parts {
        let Part { name, fields, delegates, mut broken, rules: count, .. } = part;
        let is_said = OF_RULES.iter().any(|key| fields.get(key).is_some()) || !delegates.is_empty();
        let is_empty_on_purpose = is_said && count == 0 && broken.is_empty();
        rules.is_empty_on_purpose |= is_empty_on_purpose;
        for problem in &mut broken {
            problem.file = name.clone();
        }
        rules.broken.append(&mut broken);
        outcomes.insert(name.clone(), Outcome::Read { rules: count, is_empty_on_purpose });
    }
    rules.is_empty_on_purpose &= rules.count() == 0 && rules.broken.is_empty();
    Merged { rules, outcomes }
}

/// A file while it is merged.
struct Part<'f> {
    name: &'f FileName,
    fields: Fields<'f>,
    backends: Vec<Arc<Backend>>,
    delegates: Vec<Arc<Delegate>>,
    /// The names of its backends that another file has.
    lost: Vec<Arc<str>>,
    /// How many rules compile.
    rules: usize,
    broken: Vec<Problem>,
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
            rules: 0,
            broken: Vec::new(),
        };
        if matches!(name, FileName::ConfigMap(_)) {
            part.restrict();
        } else {
            part.backends = backend::compile_all(&part.fields)?;
            part.delegates = delegate::compile_all(&part.fields)?;
        }
        Ok(part)
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

/// The patterns of ConfigMaps of a namespace: whoever may write ConfigMaps there shares them.
type Budgets<'f> = HashMap<&'f str, go_regex::Budget>;

#[derive(Default)]
struct Merger<'f> {
    rules: RuleSet,
    cpu: Option<ResourceRule>,
    memory: Option<ResourceRule>,
    window: Option<Duration>,
    has_usage: bool,
    teams: Option<Fields<'f>>,
    /// Who has what may occur once.
    claims: HashMap<(&'static str, String), &'f FileName>,
    budgets: Budgets<'f>,
}

impl<'f> Merger<'f> {
    /// Takes the servers of a file, which rules of all files may name, and `teamRules`.
    fn servers(&mut self, part: &mut Part<'f>) {
        for (position, backend) in part.backends.iter().enumerate() {
            let claim = ("backends", backend.name.to_string());
            let path = KeyPath::from("backends").index(position).key("name");
            match self.claim(claim, part.name) {
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
            match self.claim(claim, part.name) {
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
        let mut own = go_regex::Budget::default();
        let patterns = match part.name {
            FileName::ConfigMap(key) => {
                self.budgets.entry(&key.namespace).or_insert_with(go_regex::Budget::strict)
            }
            FileName::Config | FileName::InFolder(_) => &mut own,
        };
        let broken = std::mem::take(&mut part.broken);
        let mut compiler = Compiler { file: part.name, backends: &backends, patterns, broken };
        let custom = (0..).zip(part.fields.items("rules"));
        let custom = custom.filter_map(|(position, rule)| compiler.custom(position, &rule));
        let custom: Vec<_> = custom.map(Arc::new).collect();
        let external = (0..).zip(part.fields.items("externalRules"));
        let external = external.filter_map(|(position, rule)| compiler.external(position, &rule));
        let external: Vec<_> = external.map(Arc::new).collect();
        part.broken = compiler.broken;
        part.rules = custom.len() + external.len();
        self.rules.custom.extend(custom);
        self.rules.external.extend(external);
        if !matches!(part.name, FileName::ConfigMap(_)) {
            self.usage(part, &backends);
            self.teams(part);
        }
    }

    fn usage(&mut self, part: &mut Part<'f>, backends: &[Arc<Backend>]) {
        let Some(written) = part.fields.object("resourceRules") else { return };
        self.has_usage = true;
        let mut is_own = |key: &'static str| {
            let Some(node) = written.get(key) else { return false };
            let claimed = self.claim(("resourceRules", key.to_owned()), part.name);
            claimed
                .map_err(|other| {
                    let message =
                        format!("{other} has `resourceRules.{key}`, too: this one is not used");
                    let path = written.path.key(key);
                    part.broken.push(Problem::new(Some(node.place), path, message));
                })
                .is_ok()
        };
        let [cpu, memory, window] = ["cpu", "memory", "window"].map(&mut is_own);
        let mut rule = |key, resource| {
            let rule = written.object(key)?;
            let rule = resource::compile(part.name, &rule, resource, backends, &mut part.broken)?;
            part.rules += 1;
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
        match self.claim(("teamRules", String::new()), part.name) {
            Ok(()) => self.teams = part.fields.object("teamRules"),
            Err(other) => {
                let message = format!("{other} has `teamRules`, too: these are not used");
                part.broken.push(Problem::new(Some(node.place), "teamRules".into(), message));
            }
        }
    }

    /// Takes what may occur once for a file, or returns the file that has it.
    fn claim(
        &mut self,
        what: (&'static str, String),
        file: &'f FileName,
    ) -> Result<(), &'f FileName> {
        match self.claims.entry(what) {
            Entry::Vacant(free) => {
                free.insert(file);
                Ok(())
            }
            Entry::Occupied(taken) => Err(*taken.get()),
        }
    }
}
