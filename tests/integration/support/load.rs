//! Clients that do not let up, and count what becomes of their requests.

use std::{
    collections::HashSet,
    error::Error as _,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, StatusCode,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName},
};
use tempfile::TempDir;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{install_tls_provider, until};

/// How many requests a client sends at most.
const LIMIT: usize = 20_000;

/// The pause of a client between two requests.
const PAUSE: Duration = Duration::from_millis(5);

/// An authority for serving certificates of 127.0.0.1.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        install_tls_provider();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// A certificate and its key, as PEM, and the certificate as DER.
    pub(crate) fn leaf(&self) -> (String, String, CertificateDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let leaf = params.signed_by(&key, &self.0).expect("a certificate");
        (leaf.pem(), key.serialize_pem(), leaf.der().clone())
    }

    /// A client's side of TLS, for one protocol.
    pub(crate) fn connector(&self, protocol: &str) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        // A session that goes on shows no certificate.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

/// A volume as the kubelet makes it: `tls.crt` → `..data/tls.crt`, `..data` → a folder of one version.
pub(crate) struct Volume(TempDir);

impl Volume {
    pub(crate) fn new(certificate: &str, key: &str) -> Self {
        let volume = Self(tempfile::tempdir().expect("a temporary folder"));
        for file in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(file), volume.file(file)).expect("a link");
        }
        volume.put("first", certificate, key);
        volume
    }

    pub(crate) fn put(&self, version: &str, certificate: &str, key: &str) {
        fs::create_dir(self.file(version)).expect("a new folder");
        fs::write(self.file(version).join("tls.crt"), certificate).expect("a new file");
        fs::write(self.file(version).join("tls.key"), key).expect("a new file");
        symlink(version, self.file("..data_tmp")).expect("a link");
        fs::rename(self.file("..data_tmp"), self.file("..data")).expect("a swap");
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    /// Nobody listens.
    Refused,
    /// It was made and did not last to the end of the handshake.
    Handshake(io::Error),
}

/// A connection, its handshake done.
pub(crate) async fn connect(
    address: SocketAddr,
    connector: &TlsConnector,
) -> Result<TlsStream<TcpStream>, NoConnection> {
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(NoConnection::Refused);
        }
        Err(error) => return Err(NoConnection::Handshake(error)),
    };
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
    connector.connect(name, stream).await.map_err(NoConnection::Handshake)
}

/// What a client does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Kind {
    /// HTTP/1.1 on one connection.
    KeepAlive,
    /// HTTP/2 on one connection.
    Http2,
    /// A new connection for each request.
    New,
}

const KINDS: [Kind; 3] = [Kind::KeepAlive, Kind::Http2, Kind::New];

/// Sends requests on a connection.
pub(crate) enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// What came back for a request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    /// Whether the server says that it closes the connection.
    pub(crate) closes: bool,
    pub(crate) body: Bytes,
}

impl Sender {
    /// Speaks HTTP on a connection, in the version that was agreed on.
    pub(crate) async fn new(stream: TlsStream<TcpStream>) -> hyper::Result<Self> {
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        if is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            return Ok(Self::Http2(sender));
        }
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    /// Sends a GET. A cancelled one was not sent.
    pub(crate) async fn get(&mut self, address: SocketAddr, path: &str) -> hyper::Result<Answered> {
        let request = |uri: String| {
            let request = Request::get(uri).header("host", address.to_string());
            request.body(Empty::new()).expect("a request")
        };
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request(path.to_owned())).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request(format!("https://{address}{path}"))).await?
            }
        };
        let status = response.status();
        let closes = response.headers().get("connection").is_some_and(|value| value == "close");
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answered { status, closes, body })
    }
}

/// Whether the end of the connection was known before the request was sent on it. A server that announces the end with the
/// highest number of a stream has taken all that came before.
fn was_not_sent(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    let is_announced = cause.is_some_and(|cause| {
        cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR)
    });
    error.is_canceled() || error.is_closed() || is_announced
}

/// A load, and what has become of it.
#[derive(Clone)]
pub(crate) struct Load(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    path: String,
    http1: TlsConnector,
    http2: TlsConnector,
    stop: CancellationToken,
    /// A connection was refused.
    is_gone: AtomicBool,
    succeeded: [AtomicUsize; KINDS.len()],
    /// Requests that were sent again, because their connection was closed under them.
    retried: AtomicUsize,
    /// Answers that told to close the connection.
    closing: AtomicUsize,
    failures: Mutex<Vec<String>>,
    certificates: Mutex<HashSet<CertificateDer<'static>>>,
}

/// What a request has come to, unless it has failed.
enum Outcome {
    Succeeded,
    /// There was no connection to send it on.
    Unsent,
}

impl Load {
    /// Starts so many clients of each kind.
    pub(crate) fn start(
        address: SocketAddr,
        path: &str,
        authority: &Authority,
        each: usize,
    ) -> (Self, JoinSet<()>) {
        let load = Self(Arc::new(Shared {
            address,
            path: path.to_owned(),
            http1: authority.connector("http/1.1"),
            http2: authority.connector("h2"),
            stop: CancellationToken::new(),
            is_gone: AtomicBool::new(false),
            succeeded: Default::default(),
            retried: AtomicUsize::new(0),
            closing: AtomicUsize::new(0),
            failures: Mutex::default(),
            certificates: Mutex::default(),
        }));
        let mut clients = JoinSet::new();
        for kind in KINDS {
            for _ in 0..each {
                clients.spawn(load.clone().client(kind));
            }
        }
        (load, clients)
    }

    /// Lets the clients end after the request that they are at.
    pub(crate) fn stop(&self) {
        self.0.stop.cancel();
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_gone.load(Ordering::SeqCst)
    }

    pub(crate) fn succeeded(&self) -> [usize; KINDS.len()] {
        self.0.succeeded.each_ref().map(|count| count.load(Ordering::SeqCst))
    }

    /// Waits until so many more requests of each kind have succeeded.
    pub(crate) async fn more(&self, count: usize) {
        let before = self.succeeded();
        until(&format!("{count} more requests of each kind succeed"), async || {
            let pairs = self.succeeded().into_iter().zip(before);
            pairs.into_iter().all(|(now, before)| now >= before + count).then_some(())
        })
        .await;
    }

    pub(crate) fn closing(&self) -> usize {
        self.0.closing.load(Ordering::SeqCst)
    }

    /// The certificates that were shown.
    pub(crate) fn certificates(&self) -> HashSet<CertificateDer<'static>> {
        self.0.certificates.lock().expect("not poisoned").clone()
    }

    /// Fails unless every request that was sent while somebody listened has succeeded.
    #[track_caller]
    pub(crate) fn check(&self) {
        let failures = self.0.failures.lock().expect("not poisoned");
        println!(
            "{:?} succeeded, {} retried, {} told to close",
            self.succeeded(),
            self.0.retried.load(Ordering::SeqCst),
            self.closing()
        );
        assert!(failures.is_empty(), "{} failures: {failures:#?}", failures.len());
    }

    async fn client(self, kind: Kind) {
        let mut open = None;
        for _ in 0..LIMIT {
            let before_the_end = !self.is_gone();
            match self.request(kind, &mut open).await {
                Ok(Outcome::Succeeded) => {
                    self.0.succeeded[kind as usize].fetch_add(1, Ordering::SeqCst);
                }
                Err(error) if before_the_end => self.fail(format!("{kind:?}: {error}")),
                Ok(Outcome::Unsent) | Err(_) => return,
            }
            if self.0.stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
        }
        self.fail(format!("{kind:?}: {LIMIT} requests and no end"));
    }

    /// One request. It is sent again, on a new connection, if the one it was sent on had been used and was closed.
    async fn request(&self, kind: Kind, open: &mut Option<Sender>) -> Result<Outcome, String> {
        let mut error = None;
        for _ in 0..2 {
            let (mut sender, is_used) = match open.take() {
                Some(sender) => (sender, true),
                None => match self.connection(kind).await? {
                    Some(sender) => (sender, false),
                    None => {
                        return error.map_or(Ok(Outcome::Unsent), |error| {
                            Err(format!("{error}, and then nobody listened"))
                        });
                    }
                },
            };
            match sender.get(self.0.address, &self.0.path).await {
                Ok(Answered { status: StatusCode::OK, closes, .. }) => {
                    if closes {
                        self.0.closing.fetch_add(1, Ordering::SeqCst);
                    } else if kind != Kind::New {
                        *open = Some(sender);
                    }
                    return Ok(Outcome::Succeeded);
                }
                Ok(other) => return Err(format!("{other:?}")),
                Err(lost) if !is_used => return Err(format!("a new connection: {lost:?}")),
                Err(lost) if was_not_sent(&lost) => {}
                Err(lost) => {
                    self.0.retried.fetch_add(1, Ordering::SeqCst);
                    error = Some(format!("{lost:?}"));
                }
            }
        }
        Err(format!("twice: {error:?}"))
    }

    /// A new connection; nothing if nobody listens.
    async fn connection(&self, kind: Kind) -> Result<Option<Sender>, String> {
        let connector = if kind == Kind::Http2 { &self.0.http2 } else { &self.0.http1 };
        let stream = match connect(self.0.address, connector).await {
            Ok(stream) => stream,
            Err(NoConnection::Refused) => {
                self.0.is_gone.store(true, Ordering::SeqCst);
                return Ok(None);
            }
            // It may have come between the last that was accepted and the end: then nobody listens now.
            Err(NoConnection::Handshake(error)) => match TcpStream::connect(self.0.address).await {
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                    self.0.is_gone.store(true, Ordering::SeqCst);
                    return Ok(None);
                }
                _ => return Err(format!("a handshake: {error}")),
            },
        };
        if let Some([leaf, ..]) = stream.get_ref().1.peer_certificates() {
            self.0.certificates.lock().expect("not poisoned").insert(leaf.clone());
        }
        Sender::new(stream).await.map(Some).map_err(|error| format!("a new connection: {error:?}"))
    }

    fn fail(&self, failure: String) {
        self.0.failures.lock().expect("not poisoned").push(failure);
    }
}
