//! The way to a Service: `kubectl port-forward`, with the user's kubeconfig.
//!
//! kube-apiserver's proxy to Services (`…/services/https:NAME:PORT/proxy/…`) leads there too, but it takes the user's
//! credentials away and adds none, so a server with authorization refuses such a request.

use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{Uri, uri};

use tokio::{sync::oneshot, task::JoinHandle};

use super::Connecting;
use crate::core::excerpt::{SAID, excerpt};

/// How long kubectl may take until it listens.
const LIMIT: Duration = Duration::from_secs(30);

/// The most that is read of what kubectl says.
const MOST_BYTES: u64 = 4 << 10;

/// Why there is no way to a Service.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// There is no kubectl.
    #[error("kubectl, which leads to Services, cannot be started: {0}; name the server by its URL")]
    Start(#[source] io::Error),
    /// It does not lead there.
    #[error("kubectl port-forward: {0}")]
    Refused(String),
    /// It does not say that it does.
    #[error("kubectl port-forward does not listen within {} s", LIMIT.as_secs())]
    Timeout,
}

/// A running `kubectl port-forward`, which ends with this.
pub(super) struct Forward {
    port: u16,
    _process: Running,
    /// What reads its output, and what reads its errors: both end with the process.
    _output: JoinHandle<Option<u64>>,
    _complaint: JoinHandle<String>,
}

/// A process that is killed when nobody needs it any more.
struct Running(Mutex<Child>);

impl Running {
    fn kill(&self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended by itself.
        child.kill().unwrap_or_default();
        child.wait().map(drop).unwrap_or_default();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Forward {
    /// Opens a way to a port of a Service.
    pub(super) async fn open(
        by: &Connecting,
        namespace: &str,
        service: &str,
        port: u16,
    ) -> Result<Self, ForwardError> {
        let mut command = Command::new("kubectl");
        if let Some(kubeconfig) = &by.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        if let Some(context) = &by.context {
            command.args(["--context", context]);
        }
        command.args(["--namespace", namespace, "port-forward", "--address=127.0.0.1"]);
        command.args([format!("service/{service}"), format!(":{port}")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(ForwardError::Start)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let process = Running(Mutex::new(child));
        let (found, port) = oneshot::channel();
        let output = tokio::task::spawn_blocking(move || {
            let mut reader = BufReader::new(stdout?);
            let mut line = Vec::new();
            // What cannot be read says nothing.
            reader.by_ref().take(MOST_BYTES).read_until(b'\n', &mut line).unwrap_or_default();
            if let Some(port) = port_of(&String::from_utf8_lossy(&line)) {
                found.send(port).unwrap_or_default();
            }
            // It writes a line for each connection, and ends where nobody reads it.
            io::copy(&mut reader, &mut io::sink()).ok()
        });
        let complaint = tokio::task::spawn_blocking(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                stderr.by_ref().take(MOST_BYTES).read_to_end(&mut text).unwrap_or_default();
                io::copy(&mut stderr, &mut io::sink()).unwrap_or_default();
            }
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        match tokio::time::timeout(LIMIT, port).await {
            Ok(Ok(port)) => {
                Ok(Self { port, _process: process, _output: output, _complaint: complaint })
            }
            Ok(Err(_no_port)) => {
                process.kill();
                let said = complaint.await.unwrap_or_default();
                Err(ForwardError::Refused(excerpt(&said, SAID)))
            }
            Err(_elapsed) => Err(ForwardError::Timeout),
        }
    }

    /// The URL at this end.
    pub(super) fn url(&self) -> Uri {
        let parts = uri::Builder::new().scheme("https").path_and_query("/");
        let built = parts.authority(format!("127.0.0.1:{}", self.port)).build();
        // A port is a number: nothing of it can fail.
        built.unwrap_or_default()
    }
}

/// The port at this end, from `Forwarding from 127.0.0.1:40123 -> 6443`.
fn port_of(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("Forwarding from 127.0.0.1:")?;
    rest.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_in_what_kubectl_says() {
        assert_eq!(port_of("Forwarding from 127.0.0.1:40123 -> 6443\n"), Some(40123));
        for other in [
            "",
            "error: no pods",
            "Forwarding from [::1]:1 -> 2",
            "Forwarding from 127.0.0.1:x -> 2",
        ] {
            assert_eq!(port_of(other), None, "{other}");
        }
    }
}
