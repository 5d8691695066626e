//! The memory of an idle connection.
//!
//! Starts the binary, opens TLS connections with one response each, and reads the memory of the
//! process from the system. The client is in this process, whose memory does not count.

#![expect(clippy::unwrap_used, reason = "a benchmark whose setup fails has nothing to measure")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use loadline::server::limits;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, client::Resumption,
    pki_types::ServerName,
};

/// The minimum of HTTP/2: preface, SETTINGS, and a HEADERS frame of GET /version with the static table.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
    \0\0\x0f\x01\x05\0\0\0\x01\x82\x87\x04\x08/version\x41\x01a";

const HTTP1: &[u8] = b"GET /version HTTP/1.1\r\nHost: loadline\r\n\r\n";

/// The timeout of a run.
const DEADLINE: Duration = Duration::from_secs(50);

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn main() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let limit = limits::raise_open_files();
    assert!(limit.is_none_or(|limit| limit > 5_100), "5,100 open files are needed: `ulimit -Hn`");
    let start = Instant::now();
    println!(
        "{:12} {:>11} {:>12} {:>12} {:>14}",
        "", "connections", "RSS before", "RSS after", "a connection"
    );
    for (protocol, request) in [("http/1.1", HTTP1), ("h2", HTTP2)] {
        for connections in [1_000, 5_000] {
            measure(protocol, request, connections, start);
        }
    }
}

/// Uses a new process for each figure, because freed memory may not have returned to the system.
fn measure(protocol: &str, request: &[u8], connections: usize, start: Instant) {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let mut server = Server(
        Command::new(env!("CARGO_BIN_EXE_loadline"))
            .args(["serve", "--standalone", "--secure-port=0", "--shutdown-delay=0s"])
            // No server listens there: discovery fails, and the responses do not need it.
            .arg("--prometheus-url=http://127.0.0.1:9")
            .arg(format!("--config={}", file("rules.yaml", "rules: []\n")))
            .arg(format!("--tls-cert-file={}", file("tls.crt", &key.cert.pem())))
            .arg(format!(
                "--tls-private-key-file={}",
                file("tls.key", &key.signing_key.serialize_pem())
            ))
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut log = BufReader::new(server.0.stderr.take().unwrap());
    let address = address(&mut log);
    // Drains the log.
    std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));

    let mut roots = RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config.resumption = Resumption::disabled();
    let config = Arc::new(config);
    // The first connection has one-time costs.
    let _first = open(address, &config, request);
    let before = resident(server.0.id());
    let mut open_connections = Vec::with_capacity(connections);
    for _ in 0..connections {
        assert!(start.elapsed() < DEADLINE, "the benchmark does not end in time");
        open_connections.push(open(address, &config, request));
    }
    let after = resident(server.0.id());
    let files = fs::read_dir(format!("/proc/{}/fd", server.0.id())).unwrap().count();
    assert!(files > connections, "the server holds all connections");
    println!(
        "{protocol:12} {connections:11} {before:8} KiB {after:8} KiB {:10} byte",
        (after - before) * 1_024 / connections
    );
}

/// Opens a connection and waits for the response to its request.
fn open(address: SocketAddr, config: &Arc<ClientConfig>, request: &[u8]) -> Tls {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut tls = StreamOwned::new(session, stream);
    tls.write_all(request).unwrap();
    let (mut answer, mut part) = (Vec::new(), [0; 4_096]);
    while !answer.windows(12).any(|window| window == b"\"gitVersion\"") {
        let length = tls.read(&mut part).unwrap();
        assert!(length > 0, "the server has closed a connection");
        answer.extend_from_slice(part.get(..length).unwrap());
    }
    tls
}

/// The address from the server's log.
fn address(log: &mut impl io::BufRead) -> SocketAddr {
    let line = log.lines().map(Result::unwrap).find(|line| line.contains("serving")).unwrap();
    let port = line.split("127.0.0.1:").nth(1).unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
}

/// The memory of a process, in KiB.
fn resident(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Killed when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}
