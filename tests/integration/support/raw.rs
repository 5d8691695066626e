//! Bytes as no client of ours would send them.

use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{app::App, load::connect};

/// How long a server is waited for that neither answers nor closes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back on a connection until it was closed.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) text: String,
}

impl Answers {
    /// The statuses of the answers by HTTP/1.1.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let status = |rest: &str| rest.get(..3).and_then(|status| status.parse().ok());
        self.text.split("HTTP/1.1 ").skip(1).filter_map(status).collect()
    }
}

/// A connection on which the protocol was agreed.
pub(crate) async fn open(app: &App, protocol: &str) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(app.authority_pem.as_bytes()).expect("PEM");
    roots.add(authority).expect("an authority");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    connect(app.address, &TlsConnector::from(Arc::new(config))).await.expect("a connection")
}

/// Sends bytes on a connection of their own, and reads until the server closes it.
pub(crate) async fn exchange(app: &App, bytes: &[u8]) -> Answers {
    let mut stream = open(app, "http/1.1").await;
    let mut answer = Vec::new();
    let exchange = async {
        let (mut from, mut to) = tokio::io::split(&mut stream);
        // The server may have had enough before the end, and then it closes with an error.
        let (sent, read) = tokio::join!(to.write_all(bytes), from.read_to_end(&mut answer));
        drop((sent, read));
    };
    let shown = String::from_utf8_lossy(bytes.get(..bytes.len().min(200)).unwrap_or_default());
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("it hangs: {shown}"));
    Answers { text: String::from_utf8_lossy(&answer).into_owned() }
}
