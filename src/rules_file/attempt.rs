//! Work on texts of which some may end in a panic. That is a mistake in loadline, and concerns their files only.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::core::{
    explain::facts::BrokenRule,
    resource::UsageRules,
    rules::{FileName, RuleSet},
    rules_files::{Given, RulesFiles, Update},
};

/// The most texts that are looked for one by one.
const MAX_CULPRITS: usize = 8;

/// The problem of a file whose text is withheld.
const WITHHELD: &str = "loadline failed while it compiled this text, which is a mistake in loadline; it is tried again when the text changes";

/// What files become. A panic on the way is one of their texts.
pub(super) struct Prepared {
    pub(super) update: Update,
    /// The rules that are broken then; nothing if they are those of before.
    pub(super) broken: Option<Vec<BrokenRule>>,
    /// What usage is read by, if rules change.
    pub(super) usage: Option<UsageRules>,
}

impl Prepared {
    /// It takes a while where there are many rules.
    pub(super) fn new(files: &RulesFiles, given: Vec<Given>, current: &RuleSet) -> Self {
        let update = files.update(given);
        let is_other = update.rules.is_some() || !files.problems().eq(update.files.problems());
        let broken = is_other.then(|| {
            let rules = update.rules.as_ref().unwrap_or(current);
            update.files.broken(rules)
        });
        let resource = update.rules.as_ref().and_then(|rules| rules.resource.as_ref());
        let usage = resource.and_then(UsageRules::new);
        Self { update, broken, usage }
    }
}

/// Texts that end the work in a panic, and are withheld from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempt {
    /// Those that were found.
    culprits: BTreeMap<FileName, Arc<str>>,
    /// Those that were withheld because too many were found.
    unsought: BTreeMap<FileName, Arc<str>>,
    /// The files of which even those ended it that are in use.
    hopeless: Option<Vec<Given>>,
}

impl Attempt {
    /// Works on files. A text that ends the work in a panic is withheld until it changes, as if it could not be read. Of too many, all
    /// new texts of those who write them are, or of everybody if that does not help, until one that is withheld changes. Texts that
    /// `files` uses are beyond suspicion.
    ///
    /// # Errors
    ///
    /// The work panics without any new text.
    pub(super) fn make<T>(
        &mut self,
        files: &RulesFiles,
        given: &[Given],
        work: impl Fn(Vec<Given>) -> T,
    ) -> Result<T, String> {
        let hopeless = || {
            "the rules files: loadline failed while it compiled them, which is a mistake in loadline; no change of them is taken over until they change again".to_owned()
        };
        if self.hopeless.as_deref() == Some(given) {
            return Err(hopeless());
        }
        let now: BTreeMap<_, _> =
            given.iter().filter_map(|it| Some((&it.name, it.text.as_ref().ok()?))).collect();
        let is_same = |name: &FileName, text: &Arc<str>| now.get(name) == Some(&text);
        let found = self.culprits.len();
        self.culprits.retain(|name, text| is_same(name, text));
        let is_changed = self.unsought.iter().any(|(name, text)| !is_same(name, text));
        if is_changed || self.culprits.len() < found {
            // Some of the others may be innocent.
            self.unsought.clear();
        }
        let mut suspects: Vec<_> =
            now.into_iter().filter(|(name, text)| !files.uses(name, text)).collect();
        let run = |is_withheld: &dyn Fn(&FileName) -> bool| {
            let given = given.iter().map(|it| {
                let text =
                    if is_withheld(&it.name) { Err(WITHHELD.to_owned()) } else { it.text.clone() };
                Given { text, ..it.clone() }
            });
            let given = given.collect();
            catch_unwind(AssertUnwindSafe(|| work(given))).ok()
        };
        for found in 0.. {
            let is_known = |name: &FileName| {
                self.culprits.contains_key(name) || self.unsought.contains_key(name)
            };
            if let Some(done) = run(&is_known) {
                self.hopeless = None;
                return Ok(done);
            }
            suspects.retain(|(name, _)| !is_known(name));
            let panics_with = |count: usize| {
                let others: BTreeSet<_> =
                    suspects.iter().skip(count).map(|(name, _)| *name).collect();
                run(&|name| is_known(name) || others.contains(name)).is_none()
            };
            if suspects.is_empty() || panics_with(0) {
                break;
            }
            let owned = |(name, text): &(&FileName, &Arc<str>)| ((*name).clone(), Arc::clone(text));
            if found >= MAX_CULPRITS {
                let writers: BTreeSet<_> = self.culprits.keys().map(FileName::namespace).collect();
                let is_theirs =
                    |name: &FileName| found > MAX_CULPRITS || writers.contains(&name.namespace());
                let theirs = suspects.iter().filter(|(name, _)| is_theirs(name));
                self.unsought.extend(theirs.map(owned));
                continue;
            }
            // Of the shortest list that panics the last one is to blame.
            let (mut fine, mut bad) = (0, suspects.len());
            while bad - fine > 1 {
                let middle = fine.midpoint(bad);
                if panics_with(middle) {
                    bad = middle;
                } else {
                    fine = middle;
                }
            }
            self.culprits.extend(suspects.get(fine).map(owned));
        }
        tracing::error!("compiling the rules files has failed");
        self.hopeless = Some(given.to_vec());
        Err(hopeless())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn text(series: &str) -> Arc<str> {
        format!(
            "externalRules: [{{seriesQuery: '{series}', resources: {{namespaced: false}}, metricsQuery: '{series}'}}]"
        )
        .into()
    }

    /// Files of a folder with these series; `n/x` is a ConfigMap of the namespace `n`.
    fn given(series: &[&str]) -> Vec<Given> {
        let given = (0..).zip(series).map(|(n, series): (usize, _)| Given {
            name: match series.split_once('/') {
                Some((namespace, _)) => {
                    FileName::config_map(namespace, &format!("{n:03}"), "r.yaml")
                }
                None => FileName::InFolder(format!("{n:03}.yaml").into()),
            },
            location: format!("{n:03}").into(),
            text: Ok(text(series.rsplit('/').next().unwrap_or_default())),
        });
        given.collect()
    }

    /// The series of the rules in use after the work, which panics for those that begin with `bad`.
    fn served(attempt: &mut Attempt, files: &mut RulesFiles, series: &[&str]) -> Vec<String> {
        let work = |given: Vec<Given>| {
            let texts = given.iter().filter_map(|it| it.text.as_ref().ok());
            assert!(!texts.clone().any(|text| text.contains("'bad")), "nobody expected this");
            files.update(given)
        };
        let update = attempt.make(files, &given(series), work).unwrap();
        *files = update.files;
        let rules = update.rules.into_iter().flat_map(|rules| rules.external);
        rules.map(|rule| rule.base.selector.text().to_owned()).collect()
    }

    #[test]
    fn a_text_that_ends_in_a_panic_keeps_no_other_from_being_used() {
        let (mut attempt, mut files) = (Attempt::default(), RulesFiles::default());
        assert_eq!(served(&mut attempt, &mut files, &["a", "b", "c"]), ["a", "b", "c"]);
        assert_eq!(served(&mut attempt, &mut files, &["d", "bad", "e"]), ["d", "b", "e"]);
        let problems: Vec<_> = files.problems().collect();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.keeps_rules && problem.lines[0].starts_with("001: loadline failed"));
        // Others change meanwhile, then it is mended.
        assert_eq!(served(&mut attempt, &mut files, &["f", "bad", "e"]), ["f", "b", "e"]);
        assert_eq!(served(&mut attempt, &mut files, &["f", "g", "e"]), ["f", "g", "e"]);
        assert_eq!(files.problems().count(), 0);
    }

    #[test]
    fn a_text_that_ended_in_a_panic_is_not_tried_again_and_a_first_one_is_left_out() {
        let (mut attempt, files, tries) =
            (Attempt::default(), RulesFiles::default(), Cell::new(0_usize));
        let mut work = |series: &[&str]| {
            tries.set(0);
            let work = |given: Vec<Given>| {
                tries.set(tries.get() + 1);
                assert!(
                    !given.iter().any(|it| it.text.as_ref().is_ok_and(|it| it.contains("'bad")))
                );
                files.update(given)
            };
            let update = attempt.make(&files, &given(series), work).unwrap();
            (update.files.problems().filter(|it| !it.keeps_rules).count(), tries.get())
        };
        let (left_out, first) = work(&["bad", "a", "bad2"]);
        assert_eq!(left_out, 2);
        assert!(first > 1, "{first}");
        assert_eq!(work(&["bad", "a", "bad2"]), (2, 1));
        assert_eq!(work(&["bad", "b", "bad2"]), (2, 1));
    }

    #[test]
    fn of_many_texts_that_panic_not_each_is_looked_for() {
        let (mut attempt, mut files) = (Attempt::default(), RulesFiles::default());
        let bad: Vec<_> = (0..100).map(|n| format!("bad{n}")).collect();
        let many: Vec<_> = std::iter::once("a").chain(bad.iter().map(String::as_str)).collect();
        served(&mut attempt, &mut files, &many);
        assert_eq!(files.problems().count(), many.len());
        // A change of one of them clears those that are innocent.
        assert_eq!(served(&mut attempt, &mut files, &["a", "b"]), ["a", "b"]);
    }

    #[test]
    fn many_texts_of_a_namespace_that_panic_withhold_no_others() {
        let (mut attempt, mut files) = (Attempt::default(), RulesFiles::default());
        let bad: Vec<_> = (0..=MAX_CULPRITS).map(|n| format!("n/bad{n}")).collect();
        let bad = bad.iter().map(String::as_str);
        let many: Vec<_> = ["own", "m/a", "n/b"].into_iter().chain(bad).collect();
        assert_eq!(served(&mut attempt, &mut files, &many), ["own", "a"]);
        assert_eq!(files.problems().count(), many.len() - 2);
        // The others change, and then one of those that are withheld.
        let mut next = many.clone();
        next[1] = "m/c";
        assert_eq!(served(&mut attempt, &mut files, &next), ["own", "c"]);
        next[3] = "n/d";
        assert_eq!(served(&mut attempt, &mut files, &next), ["own", "c", "b", "d"]);
        assert_eq!(files.problems().count(), MAX_CULPRITS);
    }

    #[test]
    fn a_change_clears_no_mark_of_another_text() {
        let (mut attempt, mut files) = (Attempt::default(), RulesFiles::default());
        served(&mut attempt, &mut files, &["bad", "bad2"]);
        let culprits = attempt.culprits.clone();
        served(&mut attempt, &mut files, &["a", "bad2"]);
        assert!(culprits.len() == 2 && attempt.culprits.len() == 1);
        let tries = Cell::new(0_usize);
        let work = |given| {
            tries.set(tries.get() + 1);
            files.update(given)
        };
        attempt.make(&files, &given(&["b", "bad2"]), work).unwrap();
        assert_eq!(tries.get(), 1);
    }

    #[test]
    fn a_panic_without_a_new_text_is_an_error_and_not_tried_again() {
        let (mut attempt, files, tries) =
            (Attempt::default(), RulesFiles::default(), Cell::new(0_usize));
        let mut work = |given: &[Given]| {
            let work = |_: Vec<Given>| {
                tries.set(tries.get() + 1);
                panic!("always");
            };
            let made: Result<(), _> = attempt.make(&files, given, work);
            assert!(made.is_err());
            tries.get()
        };
        let first = work(&given(&["a"]));
        assert_eq!(work(&given(&["a"])), first);
        assert!(work(&given(&["b"])) > first);
    }
}
