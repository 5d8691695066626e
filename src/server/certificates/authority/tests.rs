use std::sync::Arc;

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring::default_provider,
    pki_types::{ServerName, UnixTime},
};

use super::*;
use crate::server::certificates::fixtures::at;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Whether a client that trusts a bundle takes a certificate for a name at a time.
fn verifies(own: &Own, bundle: &[u8], name: &str, now: Timestamp) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in pair::certificates(bundle).unwrap() {
        roots.add(certificate).unwrap();
    }
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
            .build()
            .unwrap();
    let seconds = u64::try_from(now.as_second()).unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let (leaf, chain) = own.pair.key.cert.split_first().unwrap();
    let name = ServerName::try_from(name).unwrap();
    verifier.verify_server_cert(leaf, chain, &name, &[], now).map(drop)
}

fn bundle(own: &Own) -> Vec<u8> {
    own.part(AUTHORITIES).to_vec()
}

#[test]
fn a_client_that_trusts_the_authority_takes_the_names_and_no_others() {
    let now = at("2026-01-01");
    let wanted = names(&["loadline.monitoring.svc", "localhost", "127.0.0.1", "::1"]);
    let own = Own::create(&wanted, now).unwrap();
    for name in &wanted {
        verifies(&own, &bundle(&own), name, now).unwrap();
    }
    assert!(verifies(&own, &bundle(&own), "loadline.other.svc", now).is_err());
    assert!(verifies(&own, &bundle(&own), "localhost", at("2027-01-02")).is_err());
    let other = Own::create(&wanted, now).unwrap();
    assert!(verifies(&own, &bundle(&other), "localhost", now).is_err());
}

#[test]
fn a_certificate_survives_its_files() {
    let now = at("2026-01-01");
    let own = Own::create(&names(&["a"]), now).unwrap();
    let again = Own::parse(own.files().clone()).unwrap();
    assert_eq!(again.pair.key.cert, own.pair.key.cert);
    assert_eq!(again.pair.authority.as_bytes(), bundle(&own));
    assert_eq!(again.due(&names(&["a"]), now), None);
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let now = at("2026-01-01");
    let own = Own::create(&names(&["a"]), now).unwrap();
    let other = Own::create(&names(&["a"]), now).unwrap();
    for name in [AUTHORITIES, AUTHORITY_KEY, CERTIFICATE, KEY] {
        let mut files = own.files().clone();
        files.insert(name.to_owned(), other.part(name).to_vec());
        assert!(Own::parse(files.clone()).is_err(), "{name}");
        files.insert(name.to_owned(), b"rubbish".to_vec());
        assert!(Own::parse(files.clone()).is_err(), "{name}");
        files.remove(name);
        assert!(Own::parse(files).is_err(), "{name}");
    }
}

#[test]
fn what_is_due_at_a_time() {
    let own = Own::create(&names(&["a", "b"]), at("2026-01-01")).unwrap();
    let cases = [
        ("2026-01-01", None),
        ("2026-08-30", None),
        ("2026-09-02", Some(Due::Leaf)),
        ("2028-01-01", Some(Due::Leaf)),
        ("2033-12-25", Some(Due::Leaf)),
        ("2034-01-15", Some(Due::Authority)),
        ("2060-01-01", Some(Due::Authority)),
        // A clock that was ahead when it was made.
        ("2025-01-01", Some(Due::Authority)),
    ];
    for (day, wanted) in cases {
        assert_eq!(own.due(&names(&["b"]), at(day)), wanted, "{day}");
    }
    let missing = own.due(&names(&["a", "c"]), at("2026-01-01"));
    assert_eq!(missing, Some(Due::Names));
}

#[test]
fn a_new_leaf_is_signed_by_the_same_authority() {
    let own = Own::create(&names(&["a"]), at("2026-01-01")).unwrap();
    let now = at("2026-10-01");
    let renewed = own.renewed(&names(&["a"]), now).unwrap().unwrap();
    verifies(&renewed, &bundle(&own), "a", at("2027-09-01")).unwrap();
    assert_eq!(bundle(&renewed), bundle(&own));
    assert!(renewed.renewed(&names(&["a"]), now).unwrap().is_none());
}

#[test]
fn replicas_that_want_different_names_settle_on_both() {
    let now = at("2026-01-01");
    let (mine, theirs) = (names(&["a", "b"]), names(&["b", "c"]));
    let own = Own::create(&mine, now).unwrap();
    let both = own.renewed(&theirs, now).unwrap().unwrap();
    assert_eq!(both.due(&mine, now), None);
    assert_eq!(both.due(&theirs, now), None);
    // With the next leaf the names that nobody wants any more are gone.
    let next = both.renewed(&theirs, at("2026-10-01")).unwrap().unwrap();
    assert_eq!(next.pair.leaf.names, theirs);
}

#[test]
fn an_authority_is_rotated_without_a_gap() {
    let wanted = names(&["a"]);
    let day = SignedDuration::from_hours(24);
    let first = Own::create(&wanted, at("2026-01-01")).unwrap();
    let mut own = first.clone();
    let mut now = at("2033-06-01");
    own = own.renewed(&wanted, now).unwrap().unwrap();
    while own.authorities.len() == 1 {
        now = now.checked_add(day).unwrap();
        own = own.renewed(&wanted, now).unwrap().unwrap_or(own);
    }
    // Both are trusted; the leaf is still the old one's, so that those who know only that one take it.
    assert_eq!(own.authorities.len(), 2);
    verifies(&own, &bundle(&first), "a", now).unwrap();
    verifies(&own, &bundle(&own), "a", now).unwrap();
    assert_eq!(own.due(&wanted, now), None);
    let announced = own.clone();

    now = now.checked_add(day).unwrap();
    own = own.renewed(&wanted, now).unwrap().unwrap();
    assert!(verifies(&own, &bundle(&first), "a", now).is_err());
    verifies(&own, &bundle(&announced), "a", now).unwrap();
    assert_eq!(bundle(&own), bundle(&announced));

    // In the end the old one falls out of the bundle.
    now = at("2036-06-01");
    own = own.renewed(&wanted, now).unwrap().unwrap();
    assert_eq!(own.authorities.len(), 1);
    verifies(&own, &bundle(&own), "a", now).unwrap();
}

#[test]
fn after_a_long_sleep_everything_is_made_at_once() {
    let wanted = names(&["a"]);
    let own = Own::create(&wanted, at("2026-01-01")).unwrap();
    for day in ["2034-06-01", "2060-01-01", "2020-01-01"] {
        let now = at(day);
        let renewed = own.renewed(&wanted, now).unwrap().unwrap();
        verifies(&renewed, &bundle(&renewed), "a", now).unwrap();
        assert_eq!(renewed.due(&wanted, now), None, "{day}");
    }
}
