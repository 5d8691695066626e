//! A cheap client for benchmarks: HTTP/1.1 over TLS, one request after another.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The request of kube-controller-manager for a path. Like every Go client it accepts gzip.
pub(crate) fn request(path: &str, token: &str) -> Arc<[u8]> {
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: loadline\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\nUser-Agent: kube-controller-manager/v1.35.0\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    Arc::from(text.into_bytes())
}

/// A keep-alive connection of HTTP/1.1. All responses have the length of the first, so the client need not parse them.
pub(crate) struct Connection {
    tls: TlsStream<TcpStream>,
    answer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, authority: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        Self { tls, answer: Vec::new() }
    }

    /// Sends a request and records the length of the response. Returns media type and body.
    pub(crate) async fn first(&mut self, request: &[u8]) -> (String, Bytes) {
        self.tls.write_all(request).await.unwrap();
        loop {
            assert!(self.tls.read_buf(&mut self.answer).await.unwrap() > 0, "the connection ended");
            let Some(head) = self.head_length() else { continue };
            let length: usize = self.header("content-length").unwrap().parse().unwrap();
            if self.answer.len() == head + length {
                break;
            }
        }
        assert!(
            self.answer.starts_with(b"HTTP/1.1 200 OK\r\n"),
            "{}",
            String::from_utf8_lossy(&self.answer)
        );
        let body = self.answer.get(self.head_length().unwrap()..).unwrap();
        (self.header("content-type").unwrap(), Bytes::copy_from_slice(body))
    }

    pub(crate) async fn again(&mut self, request: &[u8]) {
        self.tls.write_all(request).await.unwrap();
        self.tls.read_exact(&mut self.answer).await.unwrap();
        assert!(self.answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "every request is answered");
    }

    fn head_length(&self) -> Option<usize> {
        self.answer.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
    }

    fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(self.answer.get(..self.head_length()?)?).into_owned();
        head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }
}
