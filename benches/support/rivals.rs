//! Servers that send the same bytes to every client, over TLS.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    http::header,
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::CertifiedKey;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap()
}

/// A server with the libraries of loadline.
pub(crate) async fn bare((media, body): (String, Bytes)) -> (SocketAddr, String) {
    let key = certificate();
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let handler =
        async move || -> Response { ([(header::CONTENT_TYPE, media)], body).into_response() };
    let router = Router::new().route("/{*any}", get(handler));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let tls = acceptor.accept(stream).await.unwrap();
                let builder = auto::Builder::new(TokioExecutor::new());
                let service = TowerToHyperService::new(router);
                builder.serve_connection(TokioIo::new(tls), service).await.unwrap_or_default();
            });
        }
    });
    (address, key.cert.pem())
}

/// nginx with two workers and a file.
pub(crate) struct Nginx {
    master: Child,
    address: SocketAddr,
    authority: String,
    config: PathBuf,
    _folder: TempDir,
}

impl Nginx {
    /// Serves this file; returns none if nginx is not installed.
    pub(crate) fn start(body: &[u8]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        // If root starts nginx, the workers run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let key = certificate();
        let authority = key.cert.pem();
        for (name, content) in [
            ("answer", body),
            ("cert.pem", authority.as_bytes()),
            ("key.pem", key.signing_key.serialize_pem().as_bytes()),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        // Another process may take the port in between; then nginx exits, and so does the benchmark.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let config = folder.path().join("nginx.conf");
        let here = folder.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {here}/{of};"))
            .join(" ");
        let text = format!(
            "daemon off; worker_processes 2; pid {here}/pid; error_log stderr error;
            events {{}}
            http {{
                {temporary}
                access_log off; open_file_cache max=8; default_type application/json;
                keepalive_requests 1000000000;
                server {{
                    listen {address} ssl; ssl_certificate {here}/cert.pem; ssl_certificate_key {here}/key.pem;
                    location / {{ root {here}; rewrite ^ /answer break; }}
                }}
            }}"
        );
        fs::write(&config, text).unwrap();
        let master = match Command::new("nginx").arg("-c").arg(&config).spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            master => master.unwrap(),
        };
        let mut nginx = Self { master, address, authority, config, _folder: folder };
        while TcpStream::connect(address).is_err() {
            assert!(nginx.master.try_wait().unwrap().is_none(), "nginx has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(nginx)
    }

    /// Its address and its CA.
    pub(crate) fn place(&self) -> (SocketAddr, String) {
        (self.address, self.authority.clone())
    }

    /// The worker processes.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let id = self.master.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().map(|child| child.parse().unwrap()).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let stop = Command::new("nginx").arg("-c").arg(&self.config).args(["-s", "stop"]).output();
        assert!(stop.is_ok_and(|stopped| stopped.status.success()), "nginx stops");
        self.master.wait().unwrap();
    }
}
