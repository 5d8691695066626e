//! Requests that no client of ours sends: each is answered once at the most and never with 500, and what stands behind one is no
//! other one.

use loadline::server::certificates::Paths;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    app::{App, Launch},
    backend::{Answer, Backend, knows, pods},
    load::{Authority, Volume, connect},
};

const RULES: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";

/// A read that is answered.
const READ: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n/pods/*/m";

struct Stage {
    app: App,
    authority: Authority,
    _backend: Backend,
    _volume: Volume,
}

impl Stage {
    async fn new() -> Self {
        let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("a", "1")])))).await;
        let authority = Authority::new();
        let (certificate, key, _) = authority.leaf();
        let volume = Volume::new(&certificate, &key);
        let mut launch = Launch::new(RULES, &backend.url);
        launch.certificates.files =
            Some(Paths { certificate: volume.file("tls.crt"), key: volume.file("tls.key") });
        Self { app: launch.start().await, authority, _backend: backend, _volume: volume }
    }

    /// The statuses of all answers to these bytes.
    async fn statuses(&self, bytes: &[u8]) -> Vec<u16> {
        let connector = self.authority.connector("http/1.1");
        let mut stream = connect(self.app.address, &connector).await.unwrap();
        // It may be closed before all of them are read.
        let _sent = stream.write_all(bytes).await;
        let mut answers = vec![0; 64 << 10];
        let first = stream.read(&mut answers).await.unwrap_or_default();
        answers.truncate(first);
        // Whoever waits for more of a body waits no longer.
        let _closed = stream.shutdown().await;
        let _closed = stream.read_to_end(&mut answers).await;
        let text = String::from_utf8_lossy(&answers);
        let lines = text.split("HTTP/1.").skip(1);
        lines.map(|line| line.get(2..5).unwrap_or_default().parse().expect("a status")).collect()
    }
}

/// A request with these headers.
fn request(method: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_paths_and_methods_are_answered_once() {
    let (stage, mut wrong) = (Stage::new().await, Vec::new());
    let of = |from: &str, to: &str| READ.replacen(from, to, 1);
    for (path, wanted) in [
        (READ.to_owned(), 200),
        (format!("/{READ}"), 404),
        (of("/apis", "/apis/"), 404),
        (of("v1beta2/", "v1beta2//"), 400),
        (of("/n/", "/n/../o/"), 400),
        (of("/n/", "/o/%2e%2e/n/"), 400),
        (of("/n/", "/%6E/"), 200),
        (of("/n/", "/n%2Fpods/"), 400),
        (of("/n/", "//"), 400),
        (of("/n/", "/*/"), 400),
        (of("/n/", "/N/"), 400),
        (of("/pods/", "/pods;x=1/"), 404),
        (format!("{READ}%00"), 404),
        (format!("{READ}?labelSelector=%00"), 400),
        (format!("{READ}/"), 200),
        (format!("{READ}/x"), 400),
        (of("/namespaces", "%2Fnamespaces"), 404),
        (of("/custom", "%2Fcustom"), 404),
        ("http://another/apis".to_owned(), 200),
        ("/%ff".to_owned(), 404),
        ("/readyz/..%2fmetrics".to_owned(), 404),
        ("/healthz/../metrics".to_owned(), 404),
        ("/livez%00".to_owned(), 404),
        ("/openapi/v3/apis/../x".to_owned(), 404),
        (format!("/{}", "a".repeat(60_000)), 414),
        (format!("/apis/{}", "a/".repeat(20_000)), 414),
        ("*".to_owned(), 404),
        (String::new(), 400),
    ] {
        let statuses = stage.statuses(&request("GET", &path, "")).await;
        if statuses != [wanted] {
            wrong.push(format!("{path:.80}: {statuses:?}, not {wanted}"));
        }
    }
    // It depends on how many of the bytes come at once whether the path or the head is what is too long.
    let longer = stage.statuses(&request("GET", &format!("/{}", "a".repeat(70_000)), "")).await;
    assert!([[414], [431]].iter().any(|wanted| longer == wanted), "{longer:?}");
    for (method, wanted) in [
        ("HEAD", 200),
        ("OPTIONS", 405),
        ("POST", 405),
        ("TRACE", 405),
        ("CONNECT", 405),
        ("G\0T", 400),
        ("get", 405),
        ("PRI", 405),
        (&"X".repeat(300), 405),
    ] {
        let statuses = stage.statuses(&request(method, READ, "")).await;
        if statuses != [wanted] {
            wrong.push(format!("{method:.20}: {statuses:?}, not {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_headers_and_bodies_hide_no_second_request() {
    let (stage, mut wrong) = (Stage::new().await, Vec::new());
    let behind = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST /livez HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}").into_bytes()
    };
    let get = |headers: &str| request("GET", READ, headers);
    for (what, bytes, wanted) in [
        (
            "both lengths",
            post(
                "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
                &format!("0\r\n\r\n{behind}"),
            ),
            405,
        ),
        (
            "both lengths, the other way round",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                "8\r\nSMUGGLED\r\n0\r\n\r\n",
            ),
            405,
        ),
        (
            "two encodings",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                &format!("0\r\n\r\n{behind}"),
            ),
            400,
        ),
        (
            "an unknown encoding",
            post("Transfer-Encoding: xchunked\r\n", &format!("0\r\n\r\n{behind}")),
            400,
        ),
        ("two lengths", post("Content-Length: 5\r\nContent-Length: 0\r\n", behind), 400),
        ("a signed length", post("Content-Length: +5\r\n", "abcde"), 400),
        ("a body that looks like a request", post("Content-Length: 33\r\n", behind), 405),
        ("a body of 2 GB", post("Content-Length: 2147483648\r\n", "xx"), 413),
        (
            "a chunk that is too long",
            post("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n"),
            405,
        ),
        ("a folded header", get("X-Remote-User: a\r\n\tdmin\r\n"), 400),
        ("a space before the colon", get("X-Remote-User : admin\r\n"), 400),
        ("a bare CR", get("A: b\rX-Remote-User: admin\r\n"), 400),
        ("NUL in a value", get("A: b\0c\r\n"), 400),
        ("no version", b"GET /livez\r\n\r\n".to_vec(), 400),
        ("an odd media type", get("Accept: application/json;q=NaN, */*;q=1e999, ;;;=,\r\n"), 200),
        (
            "an odd trace",
            get(&format!(
                "traceparent: 00-{}-ff\r\ntracestate: a={}\r\n",
                "f".repeat(49),
                "b".repeat(3_000)
            )),
            200,
        ),
        ("a part", get("Range: bytes=0-1\r\n"), 200),
        ("an upgrade", get("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), 200),
    ] {
        let statuses = stage.statuses(&bytes).await;
        if statuses != [wanted] {
            wrong.push(format!("{what}: {statuses:?}, not {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(stage.statuses(http2).await, [0; 0], "it was not agreed on");
}
