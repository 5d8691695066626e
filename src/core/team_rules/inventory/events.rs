//! What the API server says of objects: which there are, and which of them are kept.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{Held, Inventory, Key, MAX_SPEC_BYTES, Received, Verdict};
use crate::core::{
    rules::TeamRuleKind,
    team_rules::{
        Object, Spec,
        report::{Outcomes, Pace, Standing},
    },
};

/// The most objects that are kept, of all namespaces.
const MOST_OBJECTS: usize = 10_000;

/// The most bytes of all specs that are kept.
const MOST_BYTES: usize = 32 << 20;

/// A namespace has as many objects kept as its quota has rules, times this: those over the quota are told so.
const KEPT_BEYOND_QUOTA: usize = 2;

impl Inventory {
    /// A list of a kind begins.
    pub fn listing(&mut self, kind: TeamRuleKind) {
        self.listing.insert(kind, BTreeSet::new());
    }

    /// A list of a kind is complete: what it did not have does not exist.
    pub fn synced(&mut self, kind: TeamRuleKind) {
        if let Some(listed) = self.listing.remove(&kind) {
            let of_kind = self.held.keys().chain(self.left_out.values().flatten());
            let gone = of_kind.filter(|key| key.kind == kind && !listed.contains(key));
            for key in gone.cloned().collect::<Vec<_>>() {
                self.delete(&key);
            }
        }
        self.is_known(kind);
    }

    /// Nothing more is to be known of a kind for now: it has been listed, or cannot be.
    pub fn is_known(&mut self, kind: TeamRuleKind) {
        if !self.known.contains(&kind) {
            self.known.push(kind);
            self.dirty.insert(Arc::default());
        }
    }

    /// An object exists. `chance` is a random number between 0 and 1.
    pub fn apply(&mut self, received: Received, now: Instant, chance: f64) {
        let Received { key, uid, created, generation, spec, status } = received;
        if let Some(listed) = self.listing.get_mut(&key.kind) {
            listed.insert(key.clone());
        }
        let (spec, bytes, verdict) = match spec {
            Ok((spec, bytes)) => (spec, bytes.max(1), Verdict::Unknown),
            Err(problem) => (Spec::default(), 0, Verdict::Refused("InvalidSpec", problem.into())),
        };
        if let Some(held) = self.held.get_mut(&key).filter(|held| held.uid == uid) {
            if held.observed != status {
                held.observed.clone_from(&status);
                held.pace.changed(now);
                held.look = Some(now);
            }
            let is_same = held.object.spec == spec
                && held.object.metadata.generation == generation
                && (bytes == 0) == (held.bytes == 0);
            if is_same {
                return;
            }
            held.pace.begin(now);
        } else if self.held.contains_key(&key) {
            self.delete(&key);
        }
        if !self.has_room(&key, bytes) {
            self.delete(&key);
            self.left_out.entry(Arc::clone(&key.namespace)).or_default().insert(key);
            return;
        }
        self.revisions += 1;
        let (before, observed) = match self.held.remove(&key) {
            Some(held) => {
                self.bytes -= held.bytes;
                (Some(held.pace), held.observed)
            }
            None => (None, None),
        };
        let metadata = ObjectMeta {
            name: Some(key.name.to_string()),
            namespace: (!key.namespace.is_empty()).then(|| key.namespace.to_string()),
            generation,
            creation_timestamp: Some(Time(created)),
            ..ObjectMeta::default()
        };
        self.bytes += bytes;
        self.dirty.insert(Arc::clone(&key.namespace));
        if matches!(verdict, Verdict::Unknown) {
            self.uncompiled.insert(key.clone());
        }
        let held = Held {
            object: Arc::new(Object { metadata, spec, status: None }),
            uid,
            created,
            bytes,
            observed: observed.or(status),
            revision: self.revisions,
            verdict,
            standing: Standing::Waiting,
            outcomes: Outcomes::default(),
            pace: before.unwrap_or_else(|| Pace::new(now, chance)),
            look: None,
            check: now,
            in_vain: 0,
        };
        self.held.insert(key, held);
    }

    /// An object does not exist.
    pub fn delete(&mut self, key: &Key) {
        if let Some(left_out) = self.left_out.get_mut(&key.namespace) {
            left_out.remove(key);
            if left_out.is_empty() {
                self.left_out.remove(&key.namespace);
            }
        }
        if let Some(held) = self.held.remove(key) {
            self.bytes -= held.bytes;
            self.uncompiled.remove(key);
            self.dirty.insert(Arc::clone(&key.namespace));
        }
    }

    /// Whether an object may be kept, in place of the one that it replaces.
    fn has_room(&self, key: &Key, bytes: usize) -> bool {
        let before = self.held.get(key);
        let in_all = self.held.len() - usize::from(before.is_some());
        let of_namespace = self.of_namespace(&key.namespace).filter(|(known, _)| *known != key);
        let is_own = key.kind == TeamRuleKind::MetricRule;
        in_all < MOST_OBJECTS
            && self.bytes - before.map_or(0, |held| held.bytes) + bytes <= MOST_BYTES
            && !(is_own && of_namespace.count() >= self.most_kept())
    }

    fn most_kept(&self) -> usize {
        self.quota().saturating_mul(KEPT_BEYOND_QUOTA)
    }

    /// Whether an object that is not kept has room now: only a new list brings it.
    pub fn wants_list(&self) -> bool {
        let mut firsts = self.left_out.values().filter_map(BTreeSet::first);
        firsts.any(|key| self.has_room(key, MAX_SPEC_BYTES))
    }
}
