//! Client certificates: on a long-lived connection a certificate is verified, at each request, against the authorities that are
//! trusted then.

use std::sync::Arc;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, UnixTime, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{Peer, User, Verdict};

/// Certification authorities whose client certificates are taken.
#[derive(Clone, Debug)]
pub struct Authority {
    verifier: Arc<dyn ClientCertVerifier>,
}

/// A bundle of authorities that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct BundleError(String);

/// Who a certificate was issued to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subject {
    /// The common name.
    pub common_name: String,
    /// Every organization.
    pub organizations: Vec<String>,
}

impl Authority {
    /// Takes every certificate of a PEM bundle. What is not a usable certificate among them is left out; if nothing is left,
    /// that is an error.
    pub fn new(bundle: &str) -> Result<Self, BundleError> {
        let mut roots = RootCertStore::empty();
        let mut refused = None;
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            let added = match certificate {
                Ok(certificate) => roots.add(certificate).map_err(|error| error.to_string()),
                Err(error) => Err(format!("{error:?}")),
            };
            if let Err(error) = added {
                tracing::warn!(error, "a certificate of an authority bundle is left out");
                refused = Some(error);
            }
        }
        if roots.is_empty() {
            let why = refused.unwrap_or_else(|| "it holds no certificate".to_owned());
            return Err(BundleError(format!("the bundle of authorities cannot be used: {why}")));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| BundleError(error.to_string()))?;
        Ok(Self { verifier })
    }

    /// The subject of the certificate that a client has shown, if it chains to one of these authorities; nothing if it has
    /// shown none.
    pub fn subject(&self, peer: &Peer, now: UnixTime) -> Result<Option<Arc<Subject>>, String> {
        peer.subject(&self.verifier, now, |leaf, chain| {
            self.verifier
                .verify_client_cert(leaf, chain, now)
                .map_err(|error| format!("client certificate: {error}"))?;
            subject(leaf)
        })
    }

    /// The user that a client certificate stands for: its common name, in every organization as a group.
    pub fn authenticate(&self, peer: &Peer, now: UnixTime) -> Verdict {
        let subject = self.subject(peer, now)?;
        Ok(subject.filter(|subject| !subject.common_name.is_empty()).map(|subject| {
            Arc::new(User {
                name: subject.common_name.clone(),
                groups: subject.organizations.clone(),
                ..User::default()
            })
        }))
    }
}

fn subject(certificate: &CertificateDer<'_>) -> Result<Subject, String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("client certificate: {error}"))?;
    let name = parsed.subject();
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        value.as_str().map(str::to_owned).map_err(|error| format!("client certificate: {error}"))
    };
    // Of several common names Go takes the last.
    let common_name = name.iter_common_name().last().map(text).transpose()?;
    let organizations = name.iter_organization().map(text).collect::<Result<_, _>>()?;
    Ok(Subject { common_name: common_name.unwrap_or_default(), organizations })
}
