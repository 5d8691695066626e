//! The ConfigMaps whose keys are rules files: what is kept of them, within bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    rules::{ConfigMapKey, FileName},
    rules_files::Given,
};

/// The most files of a namespace.
pub const MAX_FILES: usize = 100;

/// The most bytes of the texts of a namespace.
pub const MAX_BYTES: usize = 1 << 20;

/// How many files that are left out are remembered for each namespace.
const MAX_LEFT_OUT: usize = MAX_FILES;

/// How many of them a message names.
const MAX_NAMED: usize = 3;

/// The files of ConfigMaps, as they are known of watches of their namespaces.
#[derive(Debug, Default)]
pub struct ConfigMaps(BTreeMap<Arc<str>, Namespace>);

#[derive(Debug, Default)]
struct Namespace {
    files: Files,
    /// The files of a list that is not complete yet.
    listed: Option<Files>,
    is_known: bool,
    /// Why the namespace is not watched.
    trouble: Option<String>,
    /// Whether files were left out that there may be room for now.
    wants_list: bool,
    /// The texts that somebody has been given.
    given: Texts,
}

/// Texts by name of the ConfigMap and key.
type Texts = BTreeMap<(Arc<str>, Arc<str>), Arc<str>>;

/// The files of a namespace.
#[derive(Debug, Default)]
struct Files {
    texts: Texts,
    bytes: usize,
    /// The texts that take more room than their file did before: they give way to the others.
    grown: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Whether there are more than these.
    has_more: bool,
    /// Files whose text of now has no room. Of those that are new some may be missing here.
    left_out: BTreeSet<(Arc<str>, Arc<str>)>,
}

impl Files {
    /// Takes the files of a ConfigMap. Of too many, those are left out that take more room than `before`, the last ones first;
    /// a file that was known before keeps its text of then, so that it does not lose its room.
    fn put(&mut self, name: &str, data: BTreeMap<String, String>, before: &Texts) {
        let name: Arc<str> = name.into();
        for (key, text) in data {
            if FileName::is_rules_file(&key) {
                let file = (Arc::clone(&name), Arc::from(key));
                if before.get(&file).is_none_or(|before| before.len() < text.len()) {
                    self.grown.insert(file.clone());
                }
                self.insert(file, text.into());
                while self.texts.len() > MAX_FILES || self.bytes > MAX_BYTES {
                    let Some(file) = self.grown.pop_last() else { break };
                    self.leave_out(file, before);
                }
            }
        }
    }

    fn leave_out(&mut self, file: (Arc<str>, Arc<str>), before: &Texts) {
        self.has_more = true;
        if let Some(text) = before.get(&file) {
            self.left_out.insert(file.clone());
            self.insert(file, Arc::clone(text));
        } else {
            self.bytes -= self.texts.remove(&file).map_or(0, |it| it.len());
            if self.left_out.len() < MAX_LEFT_OUT {
                self.left_out.insert(file);
            }
        }
    }

    fn insert(&mut self, file: (Arc<str>, Arc<str>), text: Arc<str>) {
        self.bytes += text.len();
        self.bytes -= self.texts.insert(file, text).map_or(0, |replaced| replaced.len());
    }

    /// Takes the files of a ConfigMap away.
    fn remove(&mut self, name: &str) -> Texts {
        let is_of = |file: &(Arc<str>, Arc<str>)| *file.0 == *name;
        let of_it = self.texts.iter().filter(|(file, _)| is_of(file));
        let removed: Texts = of_it.map(|(file, text)| (file.clone(), Arc::clone(text))).collect();
        self.texts.retain(|file, _| !is_of(file));
        self.left_out.retain(|file| !is_of(file));
        self.bytes -= removed.values().map(|text| text.len()).sum::<usize>();
        removed
    }
}

impl ConfigMaps {
    /// Nothing is known of these namespaces yet.
    pub fn new(namespaces: &BTreeSet<Arc<str>>) -> Self {
        Self(namespaces.iter().map(|name| (Arc::clone(name), Namespace::default())).collect())
    }

    fn of(&mut self, namespace: &str) -> Option<&mut Namespace> {
        self.0.get_mut(namespace)
    }

    /// A list of the ConfigMaps of a namespace begins.
    pub fn listing(&mut self, namespace: &str) {
        if let Some(known) = self.of(namespace) {
            known.listed = Some(Files::default());
            known.wants_list = false;
        }
    }

    /// A ConfigMap is in the list.
    pub fn listed(&mut self, namespace: &str, name: &str, data: BTreeMap<String, String>) {
        if let Some(Namespace { files, listed: Some(listed), .. }) = self.of(namespace) {
            listed.put(name, data, &files.texts);
        }
    }

    /// The list, if one has begun, is complete, and the namespace is watched.
    pub fn synced(&mut self, namespace: &str) {
        if let Some(known) = self.of(namespace) {
            if let Some(listed) = known.listed.take() {
                known.files = Files { grown: BTreeSet::new(), ..listed };
            }
            known.is_known = true;
            known.trouble = None;
        }
    }

    /// A ConfigMap was made or changed.
    pub fn applied(&mut self, namespace: &str, name: &str, data: BTreeMap<String, String>) {
        if let Some(known) = self.of(namespace) {
            let had_more = known.files.has_more;
            let before = known.files.remove(name);
            known.files.put(name, data, &before);
            known.files.grown.clear();
            known.wants_list |= had_more;
        }
    }

    /// A ConfigMap was deleted, or the selector does not select it any more.
    pub fn deleted(&mut self, namespace: &str, name: &str) {
        if let Some(known) = self.of(namespace) {
            known.files.remove(name);
            known.wants_list |= known.files.has_more;
        }
    }

    /// The namespace has not been read in time: nobody waits for it any longer. A list that has begun goes on.
    pub fn overdue(&mut self, namespace: &str, why: &str) {
        if let Some(known) = self.of(namespace)
            && !known.is_known
        {
            known.is_known = true;
            known.trouble = Some(why.to_owned());
        }
    }

    /// The namespace is not watched. What is known of it stays, and the next watch begins with a list.
    pub fn unwatched(&mut self, namespace: &str, why: String) {
        if let Some(known) = self.of(namespace) {
            known.listed = None;
            known.is_known = true;
            known.trouble = Some(why);
        }
    }

    /// Whether files were left out that there may be room for now.
    pub fn wants_list(&self, namespace: &str) -> bool {
        self.0.get(namespace).is_some_and(|known| known.wants_list)
    }

    /// Whether every namespace has been read, or cannot be.
    pub fn are_known(&self) -> bool {
        self.0.values().all(|known| known.is_known)
    }

    /// The files. One whose text of now has no room has that as its error, once the text that it keeps has been given.
    pub fn given(&mut self) -> Vec<Given> {
        let files = self.0.iter_mut().flat_map(|(namespace, Namespace { files, given, .. })| {
            let files = &*files;
            let before = std::mem::replace(given, files.texts.clone());
            files.texts.iter().map(move |(file, text)| {
                let is_kept = before.get(file).is_some_and(|before| Arc::ptr_eq(before, text));
                let text = if is_kept && files.left_out.contains(file) {
                    Err("there is no room for its text of now in the namespace".to_owned())
                } else {
                    Ok(Arc::clone(text))
                };
                let [namespace, name, key] = [namespace, &file.0, &file.1].map(Arc::clone);
                let name = FileName::ConfigMap(Arc::new(ConfigMapKey { namespace, name, key }));
                let location = name.to_string().into();
                Given { name, location, text }
            })
        });
        files.collect()
    }

    /// What keeps files from being read, a line for each namespace.
    pub fn problems(&self) -> Vec<String> {
        let problems = self.0.iter().flat_map(|(namespace, known)| {
            let trouble = known.trouble.as_ref().map(|why| {
                format!("configmaps of namespace {namespace}: they are not watched: {why}")
            });
            let more = known.files.has_more.then(|| {
                let named = known.files.left_out.iter().take(MAX_NAMED);
                let named: Vec<_> = named.map(|(name, key)| format!("{name} key {key}")).collect();
                let named = match named.as_slice() {
                    [] => String::new(),
                    named => format!(", such as {}", named.join(", ")),
                };
                format!(
                    "configmaps of namespace {namespace}: they have more than {MAX_FILES} rules files, or more than {MAX_BYTES} bytes of them; what came last is left out{named}"
                )
            });
            trouble.into_iter().chain(more)
        });
        problems.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    fn namespaces(names: &[&str]) -> ConfigMaps {
        ConfigMaps::new(&names.iter().map(|name| Arc::from(*name)).collect())
    }

    fn names(known: &mut ConfigMaps) -> Vec<String> {
        known.given().iter().map(|given| given.name.to_string()).collect()
    }

    #[test]
    fn a_key_is_a_file_and_a_list_counts_when_it_is_complete() {
        let mut known = namespaces(&["a", "b"]);
        known.listing("a");
        known.listed("a", "z", data(&[("r.yaml", "1"), ("README.md", "no"), (".r.yaml", "no")]));
        known.listed("a", "m", data(&[("r.json", "2")]));
        assert!(names(&mut known).is_empty() && !known.are_known());
        known.synced("a");
        assert_eq!(names(&mut known), ["configmap a/m key r.json", "configmap a/z key r.yaml"]);
        known.synced("b");
        assert!(known.are_known());
        known.applied("b", "x", data(&[("r.yml", "3")]));
        known.deleted("a", "z");
        known.applied("a", "m", data(&[("other.json", "2")]));
        assert_eq!(names(&mut known), ["configmap a/m key other.json", "configmap b/x key r.yml"]);
        known.applied("c", "x", data(&[("r.yml", "3")]));
        assert_eq!(names(&mut known).len(), 2, "a namespace that nobody chose");
    }

    #[test]
    fn what_is_known_stays_until_a_list_says_otherwise() {
        let mut known = namespaces(&["a"]);
        known.listing("a");
        known.listed("a", "m", data(&[("r.yaml", "1")]));
        known.synced("a");
        known.listing("a");
        known.unwatched("a", "not allowed".to_owned());
        assert_eq!(names(&mut known), ["configmap a/m key r.yaml"]);
        assert!(known.problems()[0].contains("not allowed"));
        known.listing("a");
        known.synced("a");
        assert!(names(&mut known).is_empty() && known.problems().is_empty());
    }

    #[test]
    fn a_list_that_takes_longer_than_anybody_waits_is_not_lost() {
        let mut known = namespaces(&["a", "b"]);
        known.listing("a");
        known.listed("a", "m", data(&[("r.yaml", "1")]));
        known.overdue("a", "no answer yet");
        known.overdue("b", "no answer yet");
        assert!(known.are_known() && names(&mut known).is_empty());
        assert_eq!(known.problems().len(), 2);
        known.listed("a", "z", data(&[("r.yaml", "2")]));
        known.synced("a");
        assert_eq!(names(&mut known), ["configmap a/m key r.yaml", "configmap a/z key r.yaml"]);
        assert_eq!(known.problems().len(), 1);
        // What is known is not overdue.
        known.overdue("a", "no answer yet");
        assert_eq!(known.problems().len(), 1);
    }

    #[test]
    fn who_comes_with_an_earlier_name_takes_no_room_of_others() {
        let mut known = namespaces(&["n"]);
        let text = |known: &mut ConfigMaps, file: &str| {
            let given = known.given();
            let given = given.iter().find(|given| given.name.to_string().contains(file));
            given.map(|given| given.text.as_ref().map(|text| text.len()).ok())
        };
        let list = |known: &mut ConfigMaps, maps: &[(&str, &str)]| {
            known.listing("n");
            for (name, text) in maps {
                known.listed("n", name, data(&[("r.yaml", text)]));
            }
            known.synced("n");
        };
        let (half, more, small) = ("x".repeat(MAX_BYTES / 2), "x".repeat(MAX_BYTES), "y");
        list(&mut known, &[("m", &half), ("z", &half)]);
        // A new one has no room, whether a watch or a list has it.
        let is_full = |known: &mut ConfigMaps| {
            let [problem] = &known.problems()[..] else { panic!("{:?}", known.problems()) };
            assert!(problem.contains("a key r.yaml"), "{problem}");
            (text(known, "/a"), text(known, "/z")) == (None, Some(Some(half.len())))
        };
        known.applied("n", "a", data(&[("r.yaml", small)]));
        assert!(is_full(&mut known));
        list(&mut known, &[("a", small), ("m", &half), ("z", &half)]);
        assert!(is_full(&mut known));
        // One that grows too large is not what it is now, and one that shrinks makes room.
        let kept = |known: &mut ConfigMaps| {
            let problems = known.problems();
            assert!(problems[0].contains("m key r.yaml"), "{problems:?}");
            (text(known, "/m"), text(known, "/z")) == (Some(None), Some(Some(half.len())))
        };
        list(&mut known, &[("a", small), ("m", &more), ("z", &half)]);
        assert!(kept(&mut known));
        known.applied("n", "m", data(&[("r.yaml", &more)]));
        assert!(kept(&mut known));
        known.applied("n", "m", data(&[("r.yaml", &half)]));
        assert_eq!(text(&mut known, "/m"), Some(Some(half.len())));
        known.applied("n", "m", data(&[("r.yaml", small)]));
        assert!(known.wants_list("n"));
        list(&mut known, &[("a", small), ("m", small), ("z", &half)]);
        assert_eq!(
            (text(&mut known, "/a"), text(&mut known, "/m")),
            (Some(Some(1)), Some(Some(1)))
        );
        assert!(known.problems().is_empty());
    }

    #[test]
    fn a_text_that_is_kept_is_given_although_that_of_now_has_no_room() {
        let mut known = namespaces(&["n"]);
        let more = "x".repeat(MAX_BYTES + 1);
        let text = |known: &mut ConfigMaps| known.given()[0].text.clone().ok();
        for kept in ["1", "2"] {
            known.applied("n", "m", data(&[("r.yaml", kept)]));
            known.applied("n", "m", data(&[("r.yaml", &more)]));
            assert_eq!(text(&mut known).as_deref(), Some(kept));
            assert_eq!((text(&mut known), known.problems().len()), (None, 1));
        }
    }

    #[test]
    fn a_namespace_has_so_many_files_and_bytes() {
        let mut known = namespaces(&["a"]);
        let many =
            |count: usize| (0..count).map(|n| (format!("{n:04}.yaml"), String::new())).collect();
        known.applied("a", "m", many(MAX_FILES + 1));
        assert_eq!(known.given().len(), MAX_FILES);
        assert_eq!(known.problems().len(), 1);
        // Those that were left out can only be found by another list.
        assert!(!known.wants_list("a"));
        known.deleted("a", "m");
        assert!(known.wants_list("a"));
        known.listing("a");
        let half = "x".repeat(MAX_BYTES / 2);
        known.listed("a", "m", data(&[("1.yaml", &half), ("2.yaml", &half), ("3.yaml", "x")]));
        known.synced("a");
        assert_eq!((known.given().len(), known.problems().len()), (2, 1));
        assert!(!known.wants_list("a"));
    }
}
