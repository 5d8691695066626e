//! A certificate chain with its key, as PEM files hold them: pure.

use std::{fmt, net::IpAddr, sync::Arc};

use jiff::Timestamp;
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::{
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// A certificate chain, leaf first, with the key of the leaf.
#[derive(Clone)]
pub(super) struct Pair {
    /// What a handshake is answered with.
    pub key: Arc<CertifiedKey>,
    /// What the leaf says about itself.
    pub leaf: Facts,
    /// What a client has to trust, as PEM: the authority, where it is known, else what is nearest to it in the chain.
    pub authority: String,
}

/// What a certificate says about itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Facts {
    /// The common name of the subject.
    pub common_name: Option<String>,
    /// The common name of the issuer.
    pub issuer: Option<String>,
    /// The alternative names: DNS names and IP addresses as text.
    pub names: Vec<String>,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    issuer_raw: Vec<u8>,
    subject_raw: Vec<u8>,
}

/// A certificate or a key that cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The text is no PEM.
    #[error("the certificate is not PEM: {0}")]
    CertificatePem(String),
    /// It has come to its end.
    #[error("the certificate has expired on {0}")]
    Expired(Timestamp),
    /// There is no key in the text.
    #[error("there is no private key: {0}")]
    Key(String),
    /// There is no certificate in the text.
    #[error("there is no certificate")]
    Missing,
    /// The key is of an unknown kind, or another certificate's.
    #[error("certificate and key cannot be used together: {0}")]
    Refused(#[from] rustls::Error),
    /// The certificate is not what X.509 wants.
    #[error("the certificate cannot be read: {0}")]
    X509(String),
}

impl Pair {
    /// Reads a chain and a key. `authorities` are what may have signed the chain; they are taken if they have.
    pub(super) fn parse(
        chain: &[u8],
        key: &[u8],
        authorities: Option<&[u8]>,
    ) -> Result<Self, PairError> {
        let chain = certificates(chain)?;
        let facts = chain.iter().map(Facts::read).collect::<Result<Vec<_>, _>>()?;
        let (Some(leaf), Some(last)) = (facts.first(), facts.last()) else {
            return Err(PairError::Missing);
        };
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| PairError::Key(format!("{error:?}")))?;
        let authority = authorities.and_then(|text| signers(text, last)).unwrap_or_else(|| {
            match chain.get(1..) {
                Some(rest) if !rest.is_empty() => rest.iter().map(pem).collect(),
                _ => chain.iter().map(pem).collect(),
            }
        });
        let leaf = leaf.clone();
        let key = CertifiedKey::from_der(chain, key, &default_provider())?;
        Ok(Self { key: Arc::new(key), leaf, authority })
    }

    /// Refuses a pair that is not valid any more.
    pub(super) fn unexpired(self, now: Timestamp) -> Result<Self, PairError> {
        if self.leaf.not_after < now {
            return Err(PairError::Expired(self.leaf.not_after));
        }
        Ok(self)
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pair").field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

impl Facts {
    /// Reads a certificate.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Result<Self, PairError> {
        let (_, x509) = X509Certificate::from_der(certificate)
            .map_err(|error| PairError::X509(error.to_string()))?;
        let common_name = |name: &x509_parser::x509::X509Name<'_>| {
            let first = name.iter_common_name().next()?;
            first.as_str().ok().map(str::to_owned)
        };
        let alternative =
            x509.subject_alternative_name().map_err(|error| PairError::X509(error.to_string()))?;
        let names = alternative
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
                _ => None,
            })
            .collect();
        // An end that is meant as «never» lies behind the last timestamp that there is.
        let time = |at: x509_parser::time::ASN1Time| {
            Timestamp::from_second(at.timestamp()).unwrap_or(Timestamp::MAX)
        };
        Ok(Self {
            common_name: common_name(x509.subject()),
            issuer: common_name(x509.issuer()),
            names,
            not_before: time(x509.validity().not_before),
            not_after: time(x509.validity().not_after),
            issuer_raw: x509.issuer().as_raw().to_vec(),
            subject_raw: x509.subject().as_raw().to_vec(),
        })
    }
}

/// The certificates of a PEM text.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PairError> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PairError::CertificatePem(format!("{error:?}")))
}

/// A certificate as PEM.
pub(super) fn pem(certificate: &CertificateDer<'_>) -> String {
    let certificate = Pem::new("CERTIFICATE", certificate.as_ref());
    pem::encode_config(&certificate, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// The authorities of a text, if one of them has the name that signed the end of the chain.
fn signers(text: &[u8], last: &Facts) -> Option<String> {
    let authorities = certificates(text).ok()?;
    let signed = authorities.iter().any(|authority| {
        Facts::read(authority).is_ok_and(|facts| facts.subject_raw == last.issuer_raw)
    });
    signed.then(|| authorities.iter().map(pem).collect())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::certificates::fixtures::{Signer, at, self_signed};

    #[test]
    fn a_chain_is_kept_whole() {
        let root = Signer::root("root");
        let middle = root.intermediate("middle");
        let (leaf, key) = middle.leaf(&["a.example"]);
        let chain = format!("{leaf}{}", middle.pem());
        let pair = Pair::parse(chain.as_bytes(), key.as_bytes(), None).unwrap();
        assert_eq!(pair.key.cert.len(), 2);
        assert_eq!(pair.leaf.names, ["a.example"]);
        assert_eq!(pair.leaf.issuer.as_deref(), Some("middle"));
        assert_eq!(pair.authority, middle.pem());
    }

    #[test]
    fn an_authority_beside_the_chain_counts_if_it_has_signed_it() {
        let root = Signer::root("root");
        let (leaf, key) = root.leaf(&["a.example"]);
        let parse = |authorities: &str| {
            let authorities = Some(authorities.as_bytes());
            Pair::parse(leaf.as_bytes(), key.as_bytes(), authorities).unwrap().authority
        };
        assert_eq!(parse(&root.pem()), root.pem());
        assert_eq!(parse(&Signer::root("other").pem()), leaf);
        assert_eq!(parse("nothing"), leaf);
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let (certificate, key) = self_signed(&["a.example"]);
        let (_, other) = self_signed(&["a.example"]);
        let cases = [
            ("", key.as_str(), "no certificate"),
            ("text", &key, "no certificate"),
            (&certificate, "", "no private key"),
            (&certificate, &other, "used together"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &key,
                "cannot be read",
            ),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", &key, "the certificate is not PEM"),
        ];
        for (certificate, key, wanted) in cases {
            let error =
                Pair::parse(certificate.as_bytes(), key.as_bytes(), None).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn an_expired_pair_is_refused() {
        let (certificate, key) = self_signed(&["a.example"]);
        let pair = Pair::parse(certificate.as_bytes(), key.as_bytes(), None).unwrap();
        // rcgen's own certificates end with the year 4095.
        assert!(pair.clone().unexpired(at("2026-01-01")).is_ok());
        assert!(pair.unexpired(at("4097-01-01")).is_err());
    }
}
