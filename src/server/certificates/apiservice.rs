//! Our authorities in the registrations of our APIs, so that kube-apiserver can verify us.

use jiff::Timestamp;

use super::{
    authority,
    pair::{self, Facts},
};
use crate::kubernetes::{
    apiservices::{Registration, Registrations},
    refusal::Refusal,
};

/// The versions of groups that we may serve.
const NAMES: [&str; 5] = [
    "v1beta1.custom.metrics.k8s.io",
    "v1beta2.custom.metrics.k8s.io",
    "v1beta1.external.metrics.k8s.io",
    "v1beta1.metrics.k8s.io",
    "v1.metrics.k8s.io",
];

/// How many authorities of ours a bundle keeps that are not our own: those of replicas that share none with us.
const OTHERS: usize = 16;

/// How often another writer may be faster.
const TRIES: usize = 5;

/// Writes our authorities into the registrations that point at our service.
pub(super) struct Trust {
    registrations: Registrations,
    service: String,
    namespace: String,
    /// By registration: whether its fault was reported.
    reported: [bool; NAMES.len()],
}

/// What came of one registration.
enum Outcome {
    Unchanged,
    Written,
    Fault(String),
}

impl Trust {
    pub(super) fn new(registrations: Registrations, service: &str, namespace: &str) -> Self {
        Self {
            registrations,
            service: service.to_owned(),
            namespace: namespace.to_owned(),
            reported: [false; NAMES.len()],
        }
    }

    /// Looks at every registration, and adds what is missing.
    pub(super) async fn sync(&mut self, authorities: &str, now: Timestamp) {
        let mut reported = self.reported;
        for (name, is_reported) in NAMES.into_iter().zip(&mut reported) {
            let outcome = match self.sync_one(name, authorities, now).await {
                Ok(outcome) => outcome,
                Err(error) => Outcome::Fault(error.to_string()),
            };
            match &outcome {
                Outcome::Written => {
                    tracing::info!(apiservice = name, "our authorities were added to caBundle");
                }
                Outcome::Fault(error) if !*is_reported => {
                    tracing::warn!(apiservice = name, %error, "caBundle cannot be kept");
                }
                Outcome::Fault(_) | Outcome::Unchanged => {}
            }
            *is_reported = matches!(outcome, Outcome::Fault(_));
        }
        self.reported = reported;
    }

    async fn sync_one(
        &self,
        name: &str,
        authorities: &str,
        now: Timestamp,
    ) -> Result<Outcome, Refusal> {
        for _ in 0..TRIES {
            let Some(registration) = self.ours(name).await? else {
                return Ok(Outcome::Unchanged);
            };
            let Some(bundle) = merged(registration.bundle(), authorities, now) else {
                return Ok(Outcome::Unchanged);
            };
            if registration.is_injected() {
                let text = "cert-manager writes it, and our authority is not in it";
                return Ok(Outcome::Fault(text.to_owned()));
            }
            match self.registrations.trust(&registration, &bundle).await {
                Ok(()) => return Ok(Outcome::Written),
                Err(Refusal::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Refusal::Conflict)
    }

    async fn ours(&self, name: &str) -> Result<Option<Registration>, Refusal> {
        let registration = self.registrations.read(name).await?;
        Ok(registration.filter(|found| found.is_served_by(&self.service, &self.namespace)))
    }
}

/// A bundle with our authorities in front; nothing if all are in it already. What others have put there stays, except
/// what has expired.
fn merged(bundle: &[u8], ours: &str, now: Timestamp) -> Option<String> {
    // The API server takes no bundle that cannot be read; ours replaces it.
    let found = pair::certificates(bundle).unwrap_or_default();
    let ours = pair::certificates(ours.as_bytes()).unwrap_or_default();
    if ours.iter().all(|certificate| found.contains(certificate)) {
        return None;
    }
    let mut merged: String = ours.iter().map(pair::pem).collect();
    let mut others = 0;
    for certificate in found.iter().filter(|found| !ours.contains(found)) {
        let Ok(facts) = Facts::read(certificate) else {
            continue;
        };
        if facts.common_name.as_deref().is_some_and(authority::is_ours) {
            others += 1;
            if others > OTHERS {
                continue;
            }
        }
        if facts.not_after >= now {
            merged.push_str(&pair::pem(certificate));
        }
    }
    Some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::certificates::{
        authority::Own,
        fixtures::{Signer, at},
    };

    fn authorities(day: &str) -> String {
        let own = Own::create(&["a".to_owned()], at(day)).unwrap();
        own.pair().authority.clone()
    }

    #[test]
    fn what_is_there_already_is_not_written() {
        let now = at("2026-01-01");
        let ours = authorities("2026-01-01");
        assert_eq!(merged(ours.as_bytes(), &ours, now), None);
        let more = format!("{}{ours}", Signer::root("other").pem());
        assert_eq!(merged(more.as_bytes(), &ours, now), None);
    }

    #[test]
    fn ours_come_first_and_the_rest_stays() {
        let now = at("2026-01-01");
        let ours = authorities("2026-01-01");
        assert_eq!(merged(b"", &ours, now), Some(ours.clone()));
        assert_eq!(merged(b"rubbish", &ours, now), Some(ours.clone()));
        let (before, foreign) = (authorities("2025-01-01"), Signer::root("other").pem());
        let expired = authorities("2015-01-01");
        let found = format!("{foreign}{expired}{before}");
        let wanted = format!("{ours}{foreign}{before}");
        assert_eq!(merged(found.as_bytes(), &ours, now), Some(wanted));
    }

    #[test]
    fn a_bundle_does_not_grow_for_ever() {
        let now = at("2026-01-01");
        let mut bundle = String::new();
        for _ in 0..OTHERS + 4 {
            bundle = merged(bundle.as_bytes(), &authorities("2026-01-01"), now).unwrap();
        }
        let kept = pair::certificates(bundle.as_bytes()).unwrap().len();
        assert_eq!(kept, OTHERS + 1);
    }
}
