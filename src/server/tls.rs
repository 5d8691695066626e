//! The server's side of TLS: its certificate, and client certificates that are asked for, never demanded.

pub mod options;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

/// A certificate chain, leaf first, with its key.
#[derive(Debug)]
pub struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authority: String,
}

/// A certificate that cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds no PEM of the kind.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// No certificate could be made.
    #[error("no certificate could be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// Certificate and key were refused, or do not belong together.
    #[error("the serving certificate cannot be used: {0}")]
    Refused(#[from] rustls::Error),
}

impl Pair {
    /// Reads a certificate, with its chain behind it, and a key.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let failed = |path: &Path, message: String| TlsError::File {
            path: path.to_owned(),
            message,
        };
        let authority = std::fs::read_to_string(certificate)
            .map_err(|error| failed(certificate, error.to_string()))?;
        let chain = CertificateDer::pem_slice_iter(authority.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(certificate, format!("{error:?}")))?;
        if chain.is_empty() {
            return Err(failed(certificate, "holds no certificate".to_owned()));
        }
        let key_text = std::fs::read(key).map_err(|error| failed(key, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(&key_text)
            .map_err(|error| failed(key, format!("no private key: {error:?}")))?;
        Ok(Self {
            chain,
            key,
            authority,
        })
    }

    /// Makes a certificate for the names of this machine's loopback and an address, signed by itself.
    pub fn self_signed(address: IpAddr) -> Result<Self, TlsError> {
        let mut names = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let address = address.to_string();
        if !names.contains(&address) {
            names.push(address);
        }
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names)?;
        Ok(Self {
            chain: vec![cert.der().clone()],
            authority: cert.pem(),
            key: PrivateKeyDer::try_from(signing_key.serialize_der())
                .map_err(|error| rustls::Error::General(error.to_owned()))?,
        })
    }

    /// What a client has to trust, as PEM: the certificate file, which may hold more than the authority.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The configuration for TLS 1.2 and 1.3 with HTTP/2 and, unless `http2` is off, HTTP/1.1 by ALPN.
    pub fn into_config(self, http2: bool) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(AnyClientCertificate::new(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain, self.key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(Arc::new(config))
    }
}

/// Asks for a client certificate and takes any, as Go's `tls.RequestClientCert`: that its holder has the key is checked
/// here, whom it stands for is a question of each request. The list of authorities is empty, because a Go client withholds
/// a certificate whose issuer is not in it.
#[derive(Debug)]
struct AnyClientCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyClientCertificate {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
