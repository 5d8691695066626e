//! Our own authority and the certificate that it signs: pure but for random numbers.
//!
//! The authority lives ten years, the leaf one; the leaf is made anew when two thirds of its life are over. Two years before
//! an authority ends a new one stands beside it, and the two are trusted together; the new one signs the leaf when all who
//! verify have had a day to learn of it. Only the newest authority's key is kept.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use super::pair::{self, Facts, Pair, PairError};

/// The leaf, under the names of a Secret of the type `kubernetes.io/tls`, and of files in `--cert-dir`.
pub(super) const CERTIFICATE: &str = "tls.crt";
/// The leaf's key.
pub(super) const KEY: &str = "tls.key";
/// The authorities, the newest first.
pub(super) const AUTHORITIES: &str = "ca.crt";
/// The newest authority's key. Nobody else writes a file of this name: where it is, all are ours.
pub(super) const AUTHORITY_KEY: &str = "loadline-ca.key";

const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);
const ROTATION: SignedDuration = SignedDuration::from_hours(24 * 730);

/// How long a new authority is made known before it signs.
const ANNOUNCED: SignedDuration = SignedDuration::from_hours(24);

/// What a leaf must have left to live for it to wait until a new authority is known.
const URGENT: SignedDuration = SignedDuration::from_hours(48);

/// How much clocks may differ.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

const NAME: &str = "loadline serving CA ";

/// PEM texts by file name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Our own certificate, with all that it takes to renew it.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pair: Pair,
    authorities: Vec<Facts>,
    files: Files,
}

/// An own certificate that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// Certificate and key are broken.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The parts do not belong together.
    #[error("{0}")]
    Parts(&'static str),
    /// The library refused.
    #[error("no certificate could be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// A time that no certificate can name.
    #[error("the clock is out of range: {0}")]
    Time(#[from] jiff::Error),
}

/// What has to be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// A new authority beside the old one.
    Authority,
    /// A new leaf.
    Leaf,
    /// A new leaf, because names are missing.
    Names,
}

impl Own {
    /// Makes an authority and a leaf.
    pub(super) fn create(names: &[String], now: Timestamp) -> Result<Self, OwnError> {
        let (certificate, key) = new_authority(now)?;
        let leaf = new_leaf(names, &key, now, checked(now, AUTHORITY_LIFE)?)?;
        Self::parse(files(certificate, &key, leaf))
    }

    /// Takes the parts of one that was made before.
    pub(super) fn parse(files: Files) -> Result<Self, OwnError> {
        let part = |name| files.get(name).map(Vec::as_slice).unwrap_or_default();
        let authorities = pair::certificates(part(AUTHORITIES))?
            .iter()
            .map(Facts::read)
            .collect::<Result<Vec<_>, _>>()?;
        let key = KeyPair::from_pem(&String::from_utf8_lossy(part(AUTHORITY_KEY)))?;
        let newest = authorities.first().and_then(|facts| facts.common_name.as_deref());
        if newest != Some(name_of(&key).as_str()) {
            return Err(OwnError::Parts("the authority's key is not the one of its certificate"));
        }
        let pair = Pair::parse(part(CERTIFICATE), part(KEY), Some(part(AUTHORITIES)))?;
        if authorities.iter().all(|authority| authority.common_name != pair.leaf.issuer) {
            return Err(OwnError::Parts("another authority has signed the leaf"));
        }
        Ok(Self { pair, authorities, files })
    }

    /// What is served.
    pub(super) fn pair(&self) -> &Pair {
        &self.pair
    }

    /// All parts, as they are kept.
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// What has to be made now, if anything.
    pub(super) fn due(&self, names: &[String], now: Timestamp) -> Option<Due> {
        let leaf = &self.pair.leaf;
        let newest = self.authorities.first()?;
        let left = newest.not_after.duration_since(now);
        if left < ROTATION || newest.not_before > now {
            return Some(Due::Authority);
        }
        let is_newest = leaf.issuer == newest.common_name;
        let is_known = now.duration_since(newest.not_before) >= SKEW + ANNOUNCED;
        if !is_newest && !is_known && !self.is_urgent(now) {
            return None;
        }
        let life = leaf.not_after.duration_since(leaf.not_before);
        let age = now.duration_since(leaf.not_before);
        if !is_newest || age >= life * 2 / 3 || self.is_urgent(now) {
            return Some(Due::Leaf);
        }
        let is_missing = |name: &String| !leaf.names.contains(name);
        names.iter().any(is_missing).then_some(Due::Names)
    }

    /// Whether the leaf is so near to its end that nothing can be waited for.
    pub(super) fn is_urgent(&self, now: Timestamp) -> bool {
        let leaf = &self.pair.leaf;
        leaf.not_before > now || leaf.not_after.duration_since(now) < URGENT
    }

    /// This certificate with everything made that is due; nothing if nothing is.
    pub(super) fn renewed(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<Option<Self>, OwnError> {
        let Some(mut due) = self.due(names, now) else {
            return Ok(None);
        };
        let mut own = self.clone();
        // A new authority, and then perhaps a leaf from it.
        for _ in 0..2 {
            own = own.with(due, names, now)?;
            match own.due(names, now) {
                Some(next) => due = next,
                None => break,
            }
        }
        Ok(Some(own))
    }

    fn with(&self, due: Due, names: &[String], now: Timestamp) -> Result<Self, OwnError> {
        let mut files = self.files.clone();
        let mut authorities = String::new();
        if due == Due::Authority {
            let (certificate, key) = new_authority(now)?;
            authorities.push_str(&certificate);
            files.insert(AUTHORITY_KEY.to_owned(), key.serialize_pem().into());
        }
        let old = pair::certificates(self.part(AUTHORITIES))?;
        for (certificate, facts) in old.iter().zip(&self.authorities) {
            // The leaf needs the one that has signed it, whatever the clock says.
            if facts.not_after > now || facts.common_name == self.pair.leaf.issuer {
                authorities.push_str(&pair::pem(certificate));
            }
        }
        files.insert(AUTHORITIES.to_owned(), authorities.into());
        let mut wanted = names.to_vec();
        match (due, self.authorities.first()) {
            (Due::Authority, _) | (_, None) => return Self::parse(files),
            (Due::Leaf, Some(_)) => {}
            // Replicas of two versions that want different names settle on both.
            (Due::Names, Some(_)) => {
                let kept = self.pair.leaf.names.iter();
                wanted.extend(kept.filter(|name| !names.contains(name)).cloned());
            }
        }
        let key = KeyPair::from_pem(&String::from_utf8_lossy(self.part(AUTHORITY_KEY)))?;
        let end = self.authorities.first().map_or(now, |newest| newest.not_after);
        let (leaf, leaf_key) = new_leaf(&wanted, &key, now, end)?;
        files.insert(CERTIFICATE.to_owned(), leaf.into());
        files.insert(KEY.to_owned(), leaf_key.into());
        Self::parse(files)
    }

    fn part(&self, name: &str) -> &[u8] {
        self.files.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

fn files(authority: String, key: &KeyPair, (leaf, leaf_key): (String, String)) -> Files {
    [
        (AUTHORITIES, authority),
        (AUTHORITY_KEY, key.serialize_pem()),
        (CERTIFICATE, leaf),
        (KEY, leaf_key),
    ]
    .map(|(name, text)| (name.to_owned(), text.into_bytes()))
    .into()
}

/// Whether a name is one that our authorities have.
pub(super) fn is_ours(common_name: &str) -> bool {
    common_name.starts_with(NAME)
}

/// Every authority has a name of its own, which follows from its key.
fn name_of(key: &KeyPair) -> String {
    let id = CertificateParams::default().key_identifier(key);
    let hex: String = id.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{NAME}{hex}")
}

fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&name_of(key));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn new_authority(now: Timestamp) -> Result<(String, KeyPair), OwnError> {
    let key = KeyPair::generate()?;
    let mut params = authority_params(&key);
    set_validity(&mut params, now, checked(now, AUTHORITY_LIFE)?)?;
    let certificate = params.self_signed(&key)?;
    Ok((pair::pem(certificate.der()), key))
}

fn new_leaf(
    names: &[String],
    authority: &KeyPair,
    now: Timestamp,
    end: Timestamp,
) -> Result<(String, String), OwnError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named("loadline");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, checked(now, LEAF_LIFE)?.min(end))?;
    let issuer = Issuer::new(authority_params(authority), authority);
    let certificate = params.signed_by(&key, &issuer)?;
    Ok((pair::pem(certificate.der()), key.serialize_pem()))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(
    params: &mut CertificateParams,
    now: Timestamp,
    end: Timestamp,
) -> Result<(), OwnError> {
    params.not_before = std::time::SystemTime::from(now.checked_sub(SKEW)?).into();
    params.not_after = std::time::SystemTime::from(end).into();
    Ok(())
}

fn checked(now: Timestamp, life: SignedDuration) -> Result<Timestamp, OwnError> {
    Ok(now.checked_add(life)?)
}

#[cfg(test)]
mod tests;
