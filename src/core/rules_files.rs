//! The rules files in use, each kept by itself: a file that becomes one that cannot be used keeps its rules and changes nothing of
//! the others. What teams may do is that of the files of `--config` together: it changes only while each of them can be used, because
//! the one that cannot may be the one that limits teams.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    embedded::{self, Carried},
    explain::{broken, facts::BrokenRule},
    key_path::KeyPath,
    lint::{self, Finding, Severity},
    rules::{
        Claims, Contents, FileName, Merged, Outcome, Precedence, Problem, RuleSet, SECTIONS,
        Section, TeamPolicy, merge,
    },
};

/// How often texts are put together before a refusal counts for all new texts of whoever writes the files. What one of them has may
/// decide about the next one, and so on.
const MAX_ROUNDS: usize = 8;

/// A file as it is read now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Given {
    /// The file.
    pub name: FileName,
    /// Where it is, as messages have it: its path, or its name.
    pub location: Arc<str>,
    /// Its text, or why it cannot be read.
    pub text: Result<Arc<str>, String>,
}

/// What has to be so that files are used, and that a server starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requirements {
    /// Whether all rules have to compile, and all files to be usable at the start. Else rules that do not compile are left out.
    pub is_strict: bool,
    /// Whether rules of teams are served. All files then have to be usable at the start: without one of them teams may be able to do
    /// more than they should.
    pub serves_teams: bool,
}

/// What is known of files, and which of their texts are used.
#[derive(Clone, Debug, Default)]
pub struct RulesFiles {
    files: BTreeMap<FileName, File>,
    /// What went to the log of the texts in use.
    told: Arc<BTreeSet<String>>,
    /// Which of them has what may occur once.
    claims: Arc<Claims>,
    /// What teams may do; nothing before there are rules, and where no rules of teams are served.
    teams: Option<TeamPolicy>,
    /// If the texts in use say something else of teams: the backends of before that are asked for rules of teams only.
    kept_backends: Option<Vec<Arc<str>>>,
    /// How often texts have been tried.
    tries: u64,
    requirements: Requirements,
}

#[derive(Clone, Debug)]
struct File {
    location: Arc<str>,
    /// The text that was seen last; nothing if it could not be read.
    seen: Option<Arc<str>>,
    /// The text in use; nothing if none ever could be used.
    used: Option<Arc<str>>,
    /// How much of that text is used.
    contents: Contents,
    /// Which try it came into use with.
    since: u64,
    /// Why the text that was seen last is not in use.
    problems: Vec<Problem>,
}

/// Why the text of a file is not in use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileProblems {
    /// The file.
    pub file: FileName,
    /// What is wrong, a line each, with file, line and column.
    pub lines: Vec<String>,
    /// Whether rules of an earlier text are in use.
    pub keeps_rules: bool,
}

impl FileProblems {
    /// The lines, of which the first says what becomes of the file.
    pub fn told(&self) -> impl Iterator<Item = String> {
        let becomes =
            if self.keeps_rules { "keeping the previous rules" } else { "the file is left out" };
        let first = self.lines.first().map(|line| format!("{line}; {becomes}"));
        first.into_iter().chain(self.lines.iter().skip(1).cloned())
    }
}

/// What the texts in use are together.
struct Settled {
    rules: RuleSet,
    /// What each of them carries.
    carried: Vec<(FileName, Carried)>,
    /// What candidates do not have any more.
    absences: Vec<(FileName, Problem)>,
}

/// What files have become.
#[derive(Debug)]
pub struct Update {
    /// What is known now.
    pub files: RulesFiles,
    /// The rules of all files, unless they are those of before.
    pub rules: Option<RuleSet>,
    /// The files of which another text is used than before, or none any more.
    pub changed: Vec<FileName>,
    /// What is left out or odd and has not been told before, a line each.
    pub findings: Vec<String>,
}

impl RulesFiles {
    /// No files.
    pub fn new(requirements: Requirements) -> Self {
        Self { requirements, ..Self::default() }
    }

    /// What the files of now change. Those that are not given are gone.
    #[must_use]
    pub fn update(&self, given: Vec<Given>) -> Update {
        let mut next = Self {
            files: BTreeMap::new(),
            told: Arc::clone(&self.told),
            claims: Arc::clone(&self.claims),
            teams: self.teams.clone(),
            kept_backends: self.kept_backends.clone(),
            tries: self.tries,
            requirements: self.requirements,
        };
        let mut candidates = BTreeSet::new();
        for Given { name, location, text } in given {
            let before = self.files.get(&name);
            let text = text.and_then(|text| self.usable(&name, text));
            let (file, is_candidate) = File::read(before, &name, location, text);
            if is_candidate {
                candidates.insert(name.clone());
            }
            next.files.insert(name, file);
        }
        let is_gone = |(name, file): &(&FileName, &File)| {
            file.used.is_some() && !next.files.contains_key(name)
        };
        let gone: Vec<_> =
            self.files.iter().filter(is_gone).map(|(name, _)| name.clone()).collect();
        let takes_teams =
            |next: &Self| self.kept_backends.is_some() && next.unusable().next().is_none();
        if candidates.is_empty() && gone.is_empty() && !takes_teams(&next) {
            return Update { files: next, rules: None, changed: gone, findings: Vec::new() };
        }
        // What was refused may have been so because of another file.
        for (name, file) in &mut next.files {
            if file.seen.is_some() && file.seen != file.used {
                file.used.clone_from(&file.seen);
                file.problems.clear();
                candidates.insert(name.clone());
            }
        }
        next.tries += 1;
        for name in &candidates {
            if let Some(file) = next.files.get_mut(name) {
                file.since = next.tries;
            }
        }
        let Settled { mut rules, carried, absences } = next.settle(self, &mut candidates);
        let changed: Vec<_> = gone.into_iter().chain(candidates).collect();
        if changed.is_empty() && !takes_teams(&next) {
            return Update { files: next, rules: None, changed, findings: Vec::new() };
        }
        let mut findings = next.tell(&rules, carried, &changed);
        findings.extend(absences.iter().map(|(file, problem)| next.line(file, problem)));
        next.limit_teams(&mut rules);
        Update { files: next, rules: Some(rules), changed, findings }
    }

    /// A text, unless it is empty and may have been the one that limits teams: who empties a file seldom means it, and a start knows
    /// nothing of what the file had.
    fn usable(&self, name: &FileName, text: Arc<str>) -> Result<Arc<str>, String> {
        let may_limit = self.requirements.serves_teams && name.namespace().is_none();
        if may_limit && text.trim().is_empty() {
            let message = "it is empty, and may have said what rules of teams may do; write `rules: []` if no rules are wanted";
            return Err(message.to_owned());
        }
        Ok(text)
    }

    /// Merges the texts in use. A candidate whose text cannot be used gets that of before, and is none any more.
    fn settle(&mut self, before: &Self, candidates: &mut BTreeSet<FileName>) -> Settled {
        let mut round = 0;
        loop {
            round += 1;
            let mut refused: BTreeMap<FileName, Vec<Problem>> = BTreeMap::new();
            let mut carried = Vec::new();
            for (name, file) in &self.files {
                match file.used.as_deref().map(embedded::one) {
                    Some(Ok(one)) => carried.push((name.clone(), one)),
                    Some(Err(errors)) => {
                        let problems = errors.into_iter().map(Problem::from).collect();
                        refused.insert(name.clone(), problems);
                    }
                    None => {}
                }
            }
            let roots: Vec<_> =
                carried.iter().map(|(name, one)| (name.clone(), &one.rules)).collect();
            let since = self.files.iter().map(|(name, file)| (name.clone(), file.since)).collect();
            let precedence = Precedence { since, claims: (*before.claims).clone() };
            let Merged { rules, outcomes, claims } = merge(&roots, &precedence);
            let mut broken_of: BTreeMap<&FileName, Vec<&Problem>> = BTreeMap::new();
            for problem in &rules.broken {
                broken_of.entry(&problem.file).or_default().push(problem);
            }
            let mut read = Vec::new();
            let mut absences = Vec::new();
            for (name, outcome) in outcomes {
                match outcome {
                    Outcome::Refused(problems) => {
                        refused.insert(name, problems);
                    }
                    Outcome::Read { contents, says_no_rules, sections } => {
                        let broken = broken_of.remove(&name).unwrap_or_default();
                        let in_use = before.files.get(&name).map(|file| file.contents);
                        let in_use = in_use.unwrap_or_default();
                        let listed = || broken.iter().copied().cloned();
                        if self.requirements.is_strict && !broken.is_empty() {
                            refused.insert(name, listed().collect());
                        } else if !says_no_rules && is_lost(in_use, contents) {
                            refused.insert(name, lost(in_use).chain(listed()).collect());
                        } else if let Some(problem) =
                            gone(in_use, contents, sections, Section::Blank).next()
                        {
                            refused
                                .insert(name, std::iter::once(problem).chain(listed()).collect());
                        } else {
                            let absent = gone(in_use, contents, sections, Section::Absent);
                            absences.extend(absent.map(|problem| (name.clone(), problem)));
                            read.push((name, contents));
                        }
                    }
                }
            }
            // A text that is in use already stays, whatever other files have made of its rules.
            refused.retain(|name, _| candidates.remove(name));
            if refused.is_empty() {
                for (name, contents) in read {
                    if let Some(file) = self.files.get_mut(&name) {
                        file.contents = contents;
                    }
                }
                self.claims = Arc::new(claims);
                absences.retain(|(name, _)| candidates.contains(name));
                return Settled { rules, carried, absences };
            }
            if round >= MAX_ROUNDS {
                refuse_others(&mut refused, candidates);
            }
            for (name, mut problems) in refused {
                let Some(file) = self.files.get_mut(&name) else { continue };
                for problem in &mut problems {
                    problem.file = name.clone();
                }
                let old = before.files.get(&name);
                file.used = old.and_then(|old| old.used.clone());
                file.since = old.map_or(0, |old| old.since);
                file.problems = problems;
            }
        }
    }

    /// Takes what these rules let teams do, or what was before if a file may say something else.
    fn limit_teams(&mut self, rules: &mut RuleSet) {
        if !self.requirements.serves_teams {
            return;
        }
        let is_kept = self.unusable().next().is_some();
        let kept = self.teams.take().filter(|known| is_kept && !known.is_same(&rules.teams));
        self.kept_backends = kept.map(|kept| rules.keep_teams(&kept));
        self.teams = Some(rules.teams.clone());
    }

    /// What is odd in the texts that have changed, and what files do to each other that has not been told.
    fn tell(
        &mut self,
        rules: &RuleSet,
        carried: Vec<(FileName, Carried)>,
        changed: &[FileName],
    ) -> Vec<String> {
        let findings = lint::check_set(carried, rules, None);
        let mut findings: Vec<_> =
            findings.into_iter().filter(|(_, it)| it.severity < Severity::Info).collect();
        findings.sort_by(|(file, a), (other, b)| {
            (file, a.place, a.severity).cmp(&(other, b.place, b.severity))
        });
        let lines = findings.iter().map(|(file, Finding { place, path, message, help, .. })| {
            let problem = Problem::new(*place, path.clone(), message);
            (file, format!("{}; {help}", self.line(file, &problem)))
        });
        let lines: Vec<_> = lines.collect();
        let is_new = |(file, line): &&(&FileName, String)| {
            changed.contains(file) || !self.told.contains(line)
        };
        let new = lines.iter().filter(is_new).map(|(_, line)| line.clone()).collect();
        self.told = Arc::new(lines.into_iter().map(|(_, line)| line).collect());
        new
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// How much is in use of files that this holds for.
    pub fn contents(&self, is_meant: impl Fn(&FileName) -> bool) -> Contents {
        let meant = self.files.iter().filter(|(name, _)| is_meant(name));
        meant.fold(Contents::default(), |sum, (_, file)| Contents {
            rules: sum.rules + file.contents.rules,
            of_sections: std::array::from_fn(|at| {
                let of = |contents: &Contents| contents.of_sections.get(at).copied();
                of(&sum).unwrap_or_default() + of(&file.contents).unwrap_or_default()
            }),
            others: sum.others + file.contents.others,
        })
    }

    /// The files of `--config` that may say something else of teams than is known: their text of now is not in use.
    pub fn unusable(&self) -> impl Iterator<Item = &FileName> {
        let of_config = self.current().filter(|(name, _)| name.namespace().is_none());
        of_config.filter(|(_, is_current)| !is_current).map(|(name, _)| name)
    }

    /// That teams may do what they could before, although the texts in use say something else.
    pub fn kept_teams(&self) -> Option<String> {
        let (kept, file) = (self.kept_backends.as_ref()?, self.unusable().next()?);
        let asked = match kept.as_slice() {
            [] => String::new(),
            kept => format!("; these rules still ask backends as they were: {}", kept.join(", ")),
        };
        Some(format!(
            "what rules of teams may do stays as it was until all files of --config can be used: {file} cannot{asked}"
        ))
    }

    /// The names of the files of a folder that are in use, and how many bytes of each.
    pub fn in_folder(&self) -> BTreeMap<Arc<str>, usize> {
        let sizes = self.files.iter().filter_map(|(name, file)| match name {
            FileName::InFolder(name) => Some((Arc::clone(name), file.used.as_ref()?.len())),
            FileName::Config | FileName::ConfigMap(_) => None,
        });
        sizes.collect()
    }

    /// The files, and whether the text of now is in use.
    pub fn current(&self) -> impl Iterator<Item = (&FileName, bool)> {
        self.files.iter().map(|(name, file)| (name, file.problems.is_empty()))
    }

    /// What is wrong with the texts of now that are not in use, a line each, by file.
    pub fn problems(&self) -> impl Iterator<Item = FileProblems> {
        let wrong = self.files.iter().filter(|(_, file)| !file.problems.is_empty());
        wrong.map(|(name, file)| FileProblems {
            file: name.clone(),
            lines: file.problems.iter().map(|problem| self.line(name, problem)).collect(),
            keeps_rules: file.used.is_some(),
        })
    }

    /// Whether a text is the one of a file that is in use.
    pub fn uses(&self, name: &FileName, text: &str) -> bool {
        self.files.get(name).and_then(|file| file.used.as_deref()) == Some(text)
    }

    /// The rules that do not compile, and the files of which nothing is used, with what they say. It reads the texts again.
    pub fn broken(&self, rules: &RuleSet) -> Vec<BrokenRule> {
        let unused = self.files.values().filter(|file| file.used.is_none());
        let problems = unused.flat_map(|file| &file.problems).chain(&rules.broken);
        broken::rules(problems, |name| {
            let file = self.files.get(name)?;
            file.used.clone().or_else(|| file.seen.clone())
        })
    }

    /// A problem with the file that it is in.
    fn line(&self, name: &FileName, problem: &Problem) -> String {
        let location = self.files.get(name).map_or("", |file| &file.location);
        match problem.place {
            Some(_) => format!("{location}:{problem}"),
            None => format!("{location}: {problem}"),
        }
    }
}

impl File {
    /// A file of now, and whether its text has to be tried.
    fn read(
        before: Option<&Self>,
        name: &FileName,
        location: Arc<str>,
        text: Result<Arc<str>, String>,
    ) -> (Self, bool) {
        let new = Self {
            location,
            seen: None,
            used: None,
            contents: Contents::default(),
            since: 0,
            problems: Vec::new(),
        };
        let before =
            before.map_or(new.clone(), |before| Self { location: new.location, ..before.clone() });
        let problem = |message: String| {
            let problem = Problem::new(None, KeyPath::default(), message);
            vec![Problem { file: name.clone(), ..problem }]
        };
        match text {
            Err(message) => (Self { seen: None, problems: problem(message), ..before }, false),
            Ok(text) if before.seen.as_ref() == Some(&text) => (before, false),
            Ok(text) if before.used.as_ref() == Some(&text) => {
                (Self { seen: Some(text), problems: Vec::new(), ..before }, false)
            }
            Ok(text) => {
                let (seen, used) = (Some(Arc::clone(&text)), Some(text));
                (Self { seen, used, problems: Vec::new(), ..before }, true)
            }
        }
    }
}

/// Whether a text lacks what there is to be: a text without a rule does not replace rules, and one without anything does not
/// replace servers. More likely it was truncated.
fn is_lost(in_use: Contents, new: Contents) -> bool {
    new.rules == 0 && (in_use.rules > 0 || (in_use.others > 0 && new.is_empty()))
}

/// Only an empty list says that no rules are meant.
fn lost(in_use: Contents) -> impl Iterator<Item = Problem> {
    let message = format!(
        "it has no usable rule, and would replace {in_use}; write `rules: []` if none are wanted"
    );
    std::iter::once(Problem::new(None, KeyPath::default(), message))
}

/// The sections of a file that had rules in use and have none, because of what it says of them.
fn gone(
    in_use: Contents,
    new: Contents,
    sections: [Section; SECTIONS.len()],
    because: Section,
) -> impl Iterator<Item = Problem> {
    let counts = in_use.of_sections.into_iter().zip(new.of_sections);
    let all = SECTIONS.into_iter().zip(sections).zip(counts);
    let gone = all.filter(move |((_, section), (before, now))| {
        *section == because && *before > 0 && *now == 0
    });
    gone.map(move |((key, _), (before, _))| {
        let rules = Contents { rules: before, ..Contents::default() };
        let message = match because {
            Section::Blank if key == "resourceRules" => format!(
                "`{key}` has no value, and would replace {rules}; take the key out if none are wanted"
            ),
            Section::Blank => format!(
                "`{key}` has no value, and would replace {rules}; write `{key}: []` if none are wanted"
            ),
            Section::Absent | Section::Written => {
                format!("the file has no `{key}` any more, which had {rules}")
            }
        };
        Problem::new(None, KeyPath::default(), message)
    })
}

/// Refuses, beside these, the other new texts of those who write them.
fn refuse_others(
    refused: &mut BTreeMap<FileName, Vec<Problem>>,
    candidates: &mut BTreeSet<FileName>,
) {
    let writers: BTreeSet<_> = refused.keys().map(|name| name.namespace().cloned()).collect();
    let is_of_them = |name: &FileName| writers.contains(&name.namespace().cloned());
    let (others, rest): (BTreeSet<_>, _) =
        std::mem::take(candidates).into_iter().partition(is_of_them);
    *candidates = rest;
    for name in others {
        let message = "too many of the files that have changed with it cannot be used; it is tried again when a file changes";
        refused.insert(name, vec![Problem::new(None, KeyPath::default(), message)]);
    }
}

#[cfg(test)]
mod tests;
