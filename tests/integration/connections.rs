//! Connections: none is lost by a stop or a new certificate, and slow ones cost nobody else anything.

use std::{net::SocketAddr, process::Command, sync::Arc, time::Duration};

use loadline::server::{certificates::Paths, limits};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};
use tokio_rustls::client::TlsStream;

use crate::support::{
    app::{Launch, custom},
    backend::{Answer, Asked, Backend, knows, pods},
    load::{Answered, Authority, Load, Sender, Volume, connect},
    process::{Process, loadline},
    until,
};

const RULES: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";

/// A backend whose queries are answered, those for namespaces with `slow` in their names once the gate is open.
async fn backend(gate: watch::Receiver<bool>) -> Backend {
    Backend::start(knows(&["m"], move |asked| {
        let data = pods(&[("a", "1")]);
        if is_slow(asked) { Answer::Gated(gate.clone(), data) } else { Answer::Data(data) }
    }))
    .await
}

fn is_slow(asked: &Asked) -> bool {
    asked.is_query() && asked.parameter("query").contains("slow")
}

/// The standalone server as a process: a shell may set limits before.
struct Server {
    process: Process,
    address: SocketAddr,
    _volume: Volume,
}

impl Server {
    async fn start(backend: &Backend, authority: &Authority, setup: &str, more: &[&str]) -> Self {
        let (certificate, key, _) = authority.leaf();
        let volume = Volume::new(&certificate, &key);
        std::fs::write(volume.file("rules.yaml"), RULES).unwrap();
        let flag = |name: &str, file| format!("--{name}={}", volume.file(file).display());
        let mut server = loadline(&[
            "serve",
            "--standalone",
            "--secure-port=0",
            // Two things have to be seen in this time.
            "--shutdown-delay=3s",
            &format!("--prometheus-url={}", backend.url),
            &flag("config", "rules.yaml"),
            &flag("tls-cert-file", "tls.crt"),
            &flag("tls-private-key-file", "tls.key"),
        ]);
        server.args(more);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{setup}; exec \"$0\" \"$@\"")]).arg(server.get_program());
        shell.args(server.get_args()).env_remove("RUST_LOG");
        let mut process = Process::start(shell, "it comes with every Unix");
        let address = SocketAddr::from(([127, 0, 0, 1], process.port().await));
        Self { process, address, _volume: volume }
    }
}

/// One GET on a connection of its own.
async fn get(address: SocketAddr, authority: &Authority, protocol: &str, path: &str) -> Answered {
    let stream = connect(address, &authority.connector(protocol)).await.unwrap();
    let mut sender = Sender::new(stream).await.unwrap();
    sender.get(address, path).await.unwrap()
}

/// Says nothing on an HTTP/2 connection but what the protocol demands, until the server ends it: what it has announced as
/// the last stream that it takes.
async fn announced(mut stream: TlsStream<TcpStream>) -> Vec<u32> {
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const ACKNOWLEDGED: u8 = 1;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await.unwrap();
    let mut announced = Vec::new();
    for _ in 0..100 {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            break;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut body = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        if head[3] == GOAWAY {
            announced.push(u32::from_be_bytes([body[0], body[1], body[2], body[3]]));
        }
        if matches!(head[3], SETTINGS | PING) && head[4] & ACKNOWLEDGED == 0 {
            let body = if head[3] == PING { &body[..] } else { &[] };
            let length = u8::try_from(body.len()).unwrap();
            let head = [0, 0, length, head[3], ACKNOWLEDGED, 0, 0, 0, 0];
            stream.write_all(&[&head, body].concat()).await.unwrap();
        }
    }
    announced
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_loses_no_request() {
    let (gate, is_open) = watch::channel(false);
    let backend = backend(is_open).await;
    let authority = Arc::new(Authority::new());
    let Server { mut process, address, _volume } =
        Server::start(&backend, &authority, ":", &[]).await;
    let ready = async || get(address, &authority, "http/1.1", "/readyz").await;
    until("the server is ready", async || (ready().await.status == 200).then_some(())).await;

    let path = custom("namespaces/n/pods/*/m");
    let (load, clients) = Load::start(address, &path, &authority, 3);
    load.more(20).await;
    // Requests that go on for longer than the listener.
    let open = [("http/1.1", "slow-1"), ("h2", "slow-2")].map(|(protocol, namespace)| {
        let authority = Arc::clone(&authority);
        tokio::spawn(async move {
            let path = custom(&format!("namespaces/{namespace}/pods/*/m"));
            get(address, &authority, protocol, &path).await
        })
    });
    until("both are at the backend", async || (backend.count(is_slow) == 2).then_some(())).await;
    let idle = connect(address, &authority.connector("h2")).await.unwrap();
    let idle = tokio::spawn(announced(idle));

    process.signal("TERM");
    let answer = until("the server is not ready", async || {
        let answer = ready().await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.status, 500);
    assert!(String::from_utf8_lossy(&answer.body).contains("shutdown"), "{answer:?}");
    load.more(10).await;
    assert!(!load.is_gone());
    assert_eq!(load.closing(), 0, "connections are kept for as long as there are new ones");

    // Each client goes on until its connections are refused.
    clients.join_all().await;
    assert!(load.is_gone());
    load.check();
    assert!(load.closing() > 0);
    // First all that may be on the way, then those that were.
    assert_eq!(idle.await.unwrap(), [u32::MAX >> 1, 0]);
    assert!(process.runs(), "{}", process.stderr());
    gate.send(true).unwrap();
    for (request, closes) in open.into_iter().zip([true, false]) {
        let answer = request.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.closes), (200, closes), "{answer:?}");
    }
    let ended = process.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_loses_no_request() {
    let (_gate, is_open) = watch::channel(false);
    let backend = backend(is_open).await;
    let authority = Authority::new();
    let [first, second, third] = [(); 3].map(|()| authority.leaf());
    let volume = Volume::new(&first.0, &first.1);
    let mut launch = Launch::new(RULES, &backend.url);
    launch.certificates.files =
        Some(Paths { certificate: volume.file("tls.crt"), key: volume.file("tls.key") });
    launch.certificates.interval = Duration::from_millis(20);
    let app = launch.start().await;

    let path = custom("namespaces/n/pods/*/m");
    let (load, clients) = Load::start(app.address, &path, &authority, 3);
    let shown = async |wanted: &_| {
        until("new connections are shown the new certificate", async || {
            let connector = authority.connector("http/1.1");
            let stream = connect(app.address, &connector).await.unwrap();
            (stream.get_ref().1.peer_certificates().unwrap()[0] == *wanted).then_some(())
        })
        .await;
    };
    load.more(10).await;
    shown(&first.2).await;
    volume.put("second", &second.0, &second.1);
    shown(&second.2).await;
    load.more(10).await;
    // Another pair's key: what was before is served on, and what comes after it is taken.
    volume.put("broken", &third.0, &first.1);
    load.more(50).await;
    shown(&second.2).await;
    volume.put("third", &third.0, &third.1);
    shown(&third.2).await;
    load.more(10).await;

    load.stop();
    clients.join_all().await;
    load.check();
    assert!(!load.is_gone());
    assert_eq!(load.closing(), 0);
    let certificates = load.certificates();
    assert!([&first.2, &second.2, &third.2].into_iter().all(|one| certificates.contains(one)));
    assert_eq!(certificates.len(), 3);
    app.stop().await;
}

/// Whether the other end has not closed a connection. Nothing is expected to come on it.
fn is_held(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0; 1]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_cost_nobody_else_anything() {
    const IDLE: usize = 2_000;
    const SLOW: usize = 200;
    let limit = limits::raise_open_files();
    let needed = u64::try_from(IDLE + 4 * SLOW).unwrap();
    assert!(
        limit.is_none_or(|limit| limit > needed),
        "this test needs {needed} open files, and may have no more than {limit:?}: see `ulimit -Hn`"
    );
    let (_gate, is_open) = watch::channel(false);
    let backend = backend(is_open).await;
    let authority = Authority::new();
    // The server has to raise the limit itself.
    let room = format!("--max-anonymous-connections={needed}");
    let server = Server::start(&backend, &authority, "ulimit -Sn 1024", &[&room]).await;
    let address = server.address;
    until("the server is ready", async || {
        let answer = get(address, &authority, "http/1.1", "/readyz").await;
        (answer.status == 200).then_some(())
    })
    .await;

    let mut idle = Vec::new();
    for protocol in ["http/1.1", "h2"] {
        let connector = authority.connector(protocol);
        for _ in 0..IDLE / 2 {
            let stream = connect(address, &connector).await.unwrap();
            let mut sender = Sender::new(stream).await.unwrap();
            assert_eq!(sender.get(address, "/version").await.unwrap().status, 200);
            idle.push(sender);
        }
    }
    let connector = authority.connector("http/1.1");
    let (mut silent, mut greeting, mut heads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SLOW {
        silent.push(TcpStream::connect(address).await.unwrap());
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The first bytes of a handshake of 512.
        stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        greeting.push(stream);
        let mut stream = connect(address, &connector).await.unwrap();
        stream.write_all(b"GET /version HTTP/1.1\r\nHost: ").await.unwrap();
        heads.push(stream);
    }

    let (load, clients) = Load::start(address, &custom("namespaces/n/pods/*/m"), &authority, 2);
    load.more(20).await;
    let (silent, greeting) = (silent.iter().filter(|it| is_held(it)), greeting.iter());
    assert_eq!((silent.count(), greeting.filter(|it| is_held(it)).count()), (SLOW, SLOW));
    let sockets = std::fs::read_dir(format!("/proc/{}/fd", server.process.id())).unwrap().count();
    assert!(sockets > IDLE + 3 * SLOW, "the server has {sockets} files open");
    load.stop();
    clients.join_all().await;
    load.check();

    // Who was slow, or idle, is served when it goes on.
    for mut stream in heads {
        stream.write_all(b"a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    for mut sender in idle.into_iter().step_by(10) {
        assert_eq!(sender.get(address, "/version").await.unwrap().status, 200);
    }
}

/// Clients that say nothing take all files that connections may have. They make room for others, and queries have files of
/// their own.
#[tokio::test(flavor = "multi_thread")]
async fn open_files_that_run_out_stop_no_read() {
    const FILES: usize = 64;
    let (_gate, is_open) = watch::channel(false);
    let backend = backend(is_open).await;
    let authority = Authority::new();
    let server = Server::start(&backend, &authority, &format!("ulimit -n {FILES}"), &[]).await;
    let address = server.address;
    let path = custom("namespaces/n/pods/*/m");
    let is_read = async || get(address, &authority, "http/1.1", &path).await.status == 200;
    until("the server is ready", async || is_read().await.then_some(())).await;
    let connector = authority.connector("http/1.1");
    let mut idle = Vec::new();
    for _ in 0..2 * FILES {
        idle.push(connect(address, &connector).await.unwrap());
    }
    for _ in 0..10 {
        assert!(is_read().await);
    }
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.process.id())).unwrap().count();
    assert!(files < FILES, "the server has {files} files open");
    let log = server.process.stderr();
    assert!(!log.contains("could not be accepted"), "{log}");
    drop(idle);
    assert!(is_read().await);
}
