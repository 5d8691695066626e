//! Servers behind TLS, with certificates of the tests' own authorities.

use std::sync::Arc;

use loadline::server::{Listener, limits::Limits};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{backend::Backend, install_tls_provider};

/// An authority, and what it has signed: certificate and key as PEM.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: rcgen::Certificate,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(parameters, key), certificate }
    }

    pub(crate) fn sign(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut parameters);
        (parameters.signed_by(&key, &self.issuer).unwrap().pem(), key)
    }
}

/// A backend behind TLS, which may want certificates of an authority. It ends with the guard.
pub(crate) async fn behind_tls(
    backend: &Backend,
    (certificate, key): (String, KeyPair),
    clients: Option<&Authority>,
) -> (String, DropGuard) {
    let tls = server_config((certificate, key), clients);
    let address = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind(address, Arc::new(tls), Limits::default()).await.unwrap();
    let url = format!("https://{}", listener.address().unwrap());
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    tokio::spawn(listener.serve(backend.router(), stop));
    (url, guard)
}

pub(crate) fn server_config(
    (certificate, key): (String, KeyPair),
    clients: Option<&Authority>,
) -> ServerConfig {
    install_tls_provider();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = rustls::pki_types::pem::PemObject::pem_slice_iter(certificate.as_bytes());
    let chain: Vec<CertificateDer<'static>> = chain.map(Result::unwrap).collect();
    let tls = match clients {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    tls.with_single_cert(chain, key).unwrap()
}
