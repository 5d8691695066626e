mod abuse;

use std::net::Ipv4Addr;

use axum::{Router, routing::get};
use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::task::AbortOnDropHandle;

use super::{
    certificates::{Names, Serving, Settings},
    tls::options::{Minimum, Options, Suites},
    *,
};

const SERVICE: &str = "loadline.monitoring.svc";

async fn serving() -> Serving {
    let settings =
        Settings { names: Names::new("loadline", Some("monitoring"), &[]), ..Settings::default() };
    let now = jiff::Timestamp::now();
    Serving::load(settings, None, Arc::default(), now).await.unwrap()
}

async fn listener(config: Arc<ServerConfig>, limits: Limits) -> Listener {
    Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), config, limits).await.unwrap()
}

/// A client of some versions and protocols that trusts an authority.
fn connector(
    authority: &str,
    versions: &[&'static rustls::SupportedProtocolVersion],
    protocols: &[&str],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().into()).collect();
    TlsConnector::from(Arc::new(config))
}

/// A handshake through memory.
async fn handshake(
    serving: &Serving,
    options: &Options,
    client: &TlsConnector,
) -> io::Result<TlsStream<tokio::io::DuplexStream>> {
    let config = tls::config(serving.resolver(), options).unwrap();
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = ServerName::try_from(SERVICE).unwrap();
    let (client, server) =
        tokio::join!(client.connect(name, near), TlsAcceptor::from(config).accept(far));
    server?;
    client
}

#[tokio::test]
async fn both_versions_and_protocols_are_offered() {
    let serving = serving().await;
    for (version, wanted) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        for (protocols, http2, chosen) in [
            (&["h2", "http/1.1"][..], true, Some("h2")),
            (&["http/1.1"], true, Some("http/1.1")),
            (&["h2", "http/1.1"], false, Some("http/1.1")),
            (&[], true, None),
        ] {
            let client = connector(serving.authority(), &[version], protocols);
            let options = Options { http2, ..Options::default() };
            let stream = handshake(&serving, &options, &client).await.unwrap();
            let (_, session) = stream.get_ref();
            assert_eq!(session.protocol_version(), Some(wanted));
            assert_eq!(session.alpn_protocol(), chosen.map(str::as_bytes));
        }
    }
}

#[tokio::test]
async fn versions_and_suites_can_be_narrowed() {
    let serving = serving().await;
    let old = connector(serving.authority(), &[&rustls::version::TLS12], &[]);
    let new = connector(serving.authority(), &[&rustls::version::TLS13], &[]);
    let narrow = |minimum, names: &[&str]| Options {
        minimum,
        suites: (!names.is_empty()).then(|| Suites::parse(names.iter().copied()).unwrap().offered),
        http2: true,
    };
    let one = ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"];
    let newest = narrow(Minimum::Tls13, &[]);
    assert!(handshake(&serving, &newest, &old).await.is_err());
    handshake(&serving, &newest, &new).await.unwrap();
    let chosen = narrow(Minimum::Tls12, &one);
    let stream = handshake(&serving, &chosen, &old).await.unwrap();
    let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap();
    assert_eq!(format!("{:?}", suite.suite()), one[0]);
    handshake(&serving, &chosen, &new).await.unwrap();
    // Suites that are left out leave only the newest version.
    let none = narrow(Minimum::Tls12, &["TLS_RSA_WITH_AES_128_CBC_SHA"]);
    assert!(handshake(&serving, &none, &old).await.is_err());
    handshake(&serving, &none, &new).await.unwrap();
}

#[tokio::test]
async fn handshakes_that_hang_cost_nobody_else_anything() {
    let serving = serving().await;
    let config = tls::config(serving.resolver(), &Options::default()).unwrap();
    let listener = listener(config, Limits::default()).await;
    let address = listener.address().unwrap();
    let stop = CancellationToken::new();
    let router = Router::new().route("/", get(|| async { "served" }));
    let served = tokio::spawn(listener.serve(router, stop.clone()));

    let mut silent = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The beginning of a handshake that never goes on.
        stream.write_all(&[22, 3, 1]).await.unwrap();
        silent.push(stream);
    }
    let client = connector(serving.authority(), rustls::ALL_VERSIONS, &["http/1.1"]);
    let request = async {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(SERVICE).unwrap();
        let mut stream = client.connect(name, stream).await?;
        let text = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(text).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(FIRST_HEAD / 2, request).await;
    let answer = answer.unwrap().unwrap();
    assert!(answer.ends_with("served"), "{answer}");
    drop(silent);
    stop.cancel();
    served.await.unwrap();
}

/// What a kind of connection has done when the server is stopped.
#[derive(Clone, Copy, Debug)]
enum Progress {
    Connected,
    Greeted,
}

#[tokio::test]
async fn a_connection_made_before_the_stop_is_served_once() {
    let serving = serving().await;
    let config = tls::config(serving.resolver(), &Options::default()).unwrap();
    for progress in [Progress::Connected, Progress::Greeted] {
        let listener = listener(Arc::clone(&config), Limits::default()).await;
        let address = listener.address().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "served" }));
        let served = tokio::spawn(listener.serve(router, stop.clone()));

        let client = connector(serving.authority(), rustls::ALL_VERSIONS, &["http/1.1"]);
        let name = ServerName::try_from(SERVICE).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = match progress {
            Progress::Connected => {
                stop.cancel();
                client.connect(name, stream).await.unwrap()
            }
            Progress::Greeted => {
                let stream = client.connect(name, stream).await.unwrap();
                stop.cancel();
                stream
            }
        };
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("\r\nconnection: close\r\n"), "{progress:?}: {answer}");
        assert!(answer.ends_with("served"), "{progress:?}: {answer}");
        served.await.unwrap();
        TcpStream::connect(address).await.unwrap_err();
    }
}

/// A server that answers `served`, and a client of it.
struct Stage {
    address: SocketAddr,
    client: TlsConnector,
    _task: AbortOnDropHandle<()>,
}

impl Stage {
    async fn start(protocol: &str, limits: Limits) -> Self {
        let router = Router::new().fallback(async || "served");
        Self::serving(router, &Options::default(), protocol, limits).await
    }

    async fn serving(router: Router, options: &Options, protocol: &str, limits: Limits) -> Self {
        let serving = serving().await;
        let config = tls::config(serving.resolver(), options).unwrap();
        let listener = listener(config, limits).await;
        let address = listener.address().unwrap();
        let task = tokio::spawn(listener.serve(router, CancellationToken::new()));
        let client = connector(serving.authority(), rustls::ALL_VERSIONS, &[protocol]);
        Self { address, client, _task: AbortOnDropHandle::new(task) }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        self.client.connect(ServerName::try_from(SERVICE).unwrap(), stream).await.unwrap()
    }
}

/// One request by HTTP/1.1: the beginning of its answer.
async fn ask(stream: &mut TlsStream<TcpStream>, header: &str) -> String {
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {header}\r\n\r\n");
    // What is not read would end the connection before its answer is.
    let most = text.len().min(usize::try_from(MAX_HEAD_BYTES).unwrap());
    stream.write_all(&text.as_bytes()[..most]).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

#[tokio::test]
async fn heads_have_a_length_that_is_taken() {
    let most = usize::try_from(MAX_HEAD_BYTES).unwrap();
    // By HTTP/2 one that is far longer ends the connection.
    for (length, wanted) in [(most - 1_024, "200"), (most + 1_024, "431")] {
        let header = "a".repeat(length);
        let stage = Stage::start("http/1.1", Limits::default()).await;
        let answer = ask(&mut stage.connect().await, &header).await;
        assert_eq!(answer, format!("HTTP/1.1 {wanted}"));

        let stage = Stage::start("h2", Limits::default()).await;
        let (sender, connection) = h2::client::handshake(stage.connect().await).await.unwrap();
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::get("https://a/").header("x", &header).body(()).unwrap();
        let mut sender = sender.ready().await.unwrap();
        let (answer, _) = sender.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status().as_str(), wanted);
    }
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let stage = Stage::start("http/1.1", Limits::default()).await;
    for beginning in ["", "GET / HTTP/1.1\r\nHost: "] {
        let mut stream = stage.connect().await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        // Nobody can do anything any more, so that the next timer fires.
        tokio::time::pause();
        let start = Instant::now();
        let closed = stream.read(&mut [0; 1]).await.unwrap_or_default();
        assert_eq!(closed, 0);
        assert!(start.elapsed() <= FIRST_HEAD + GRACE, "{beginning}");
        tokio::time::resume();
    }
    // One that has had its answer may be idle for longer, though not for ever.
    for beginning in ["", "GET / HTTP/1.1\r\nHost: "] {
        let mut stream = stage.connect().await;
        assert_eq!(ask(&mut stream, "").await, "HTTP/1.1 200");
        stream.write_all(beginning.as_bytes()).await.unwrap();
        tokio::time::pause();
        let start = Instant::now();
        stream.read_to_end(&mut Vec::new()).await.unwrap_or_default();
        let idle = start.elapsed();
        assert!((FIRST_HEAD * 2..=REQUEST_HEAD + GRACE).contains(&idle), "{beginning}: {idle:?}");
        tokio::time::resume();
    }
    let mut stream = stage.connect().await;
    assert_eq!(ask(&mut stream, "").await, "HTTP/1.1 200");
    tokio::time::pause();
    tokio::time::advance(FIRST_HEAD * 2).await;
    tokio::time::resume();
    let mut rest = [0; 1_024];
    let length = stream.read(&mut rest).await.unwrap();
    assert!(rest[..length].ends_with(b"served"));
    assert_eq!(ask(&mut stream, "").await, "HTTP/1.1 200");
}

#[tokio::test]
async fn heads_have_a_number_of_headers_that_is_taken() {
    for (http2, most) in [(true, 100), (false, MAX_HEADERS)] {
        for (count, wanted) in [(most, "200"), (most + 1, "431")] {
            let options = Options { http2, ..Options::default() };
            let router = Router::new().fallback(async || "served");
            let stage = Stage::serving(router, &options, "http/1.1", Limits::default()).await;
            // Two are there already.
            let more: String = (2..count).map(|number| format!("\r\na{number}: b")).collect();
            let answer = ask(&mut stage.connect().await, &more).await;
            assert_eq!(answer, format!("HTTP/1.1 {wanted}"), "{count}");
        }
    }
}

#[tokio::test]
async fn the_oldest_stranger_makes_room() {
    let limits = Limits { connections: 100, strangers_per_address: 2 };
    let stage = Stage::start("http/1.1", limits).await;
    let mut first = stage.connect().await;
    let mut second = stage.connect().await;
    assert_eq!(ask(&mut first, "").await, "HTTP/1.1 200");
    assert_eq!(ask(&mut second, "").await, "HTTP/1.1 200");
    let mut third = stage.connect().await;
    assert_eq!(ask(&mut third, "").await, "HTTP/1.1 200", "a new one is served");
    let mut rest = Vec::new();
    // It may be closed in any way.
    first.read_to_end(&mut rest).await.unwrap_or_default();
}
