mod adapter;
mod keda;
mod nothing_is_dropped;
mod untrusted;

use serde_json::Value;

use super::*;
use crate::core::{
    lint::{self, Severity},
    rules,
};

/// The documents of a text.
fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Option<Value>> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().flatten().collect()
}

fn of_keda(text: &str) -> Migration {
    keda(documents(text), &Settings::default())
}

/// The only autoscaler.
#[track_caller]
fn autoscaler(migration: &Migration) -> Value {
    let mut all = migration.autoscalers();
    let only = all.next().unwrap_or_else(|| panic!("none: {:#?}", migration.notes())).clone();
    assert!(all.next().is_none());
    only
}

/// The rules file as it is printed.
fn rules_file(migration: &Migration) -> Value {
    serde_saphyr::from_str(&migration.rules_yaml()).unwrap()
}

/// The notes, without the object.
fn said(migration: &Migration) -> Vec<(Level, String)> {
    let notes = migration.notes().iter();
    notes.map(|note| (note.level, note.path.to_string())).collect()
}

/// What is printed is read again as it was meant, and passes `check --strict` but for `codes`.
#[track_caller]
fn passes_but_for(migration: &Migration, codes: &[&str]) {
    let (file, manifests) = (migration.rules_yaml(), migration.manifests_yaml());
    let printed = documents(&manifests);
    let autoscalers: Vec<_> =
        printed.iter().filter(|it| it["kind"] == "HorizontalPodAutoscaler").collect();
    assert_eq!(autoscalers, migration.autoscalers().collect::<Vec<_>>(), "{manifests}");
    if file.is_empty() {
        return;
    }
    let loaded = rules::load(&file).unwrap_or_else(|error| panic!("{error:?}\n{file}"));
    assert_eq!(loaded.external.len(), migration.rules.rules().len(), "{file}");
    for text in [&file, &manifests] {
        let found = lint::check(text);
        let grave = found.iter().filter(|found| found.severity <= Severity::Warning);
        let grave: Vec<_> = grave.filter(|found| !codes.contains(&found.code)).collect();
        assert!(grave.is_empty(), "{grave:?}\n{text}");
    }
}
