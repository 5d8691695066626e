//! The real kubectl.

use std::{path::Path, process::Command};

use super::process::{Ended, Process};

/// Runs kubectl with a home of its own: it keeps discovery documents there.
pub(crate) async fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Ended {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(kubeconfig).args(arguments);
    command.env("HOME", home.path()).env_remove("KUBECONFIG");
    Process::start(command, "apt-get install kubernetes-client").end().await
}

/// What kubectl prints, which has to succeed.
pub(crate) async fn succeeds(kubeconfig: &Path, arguments: &[&str]) -> String {
    let ended = kubectl(kubeconfig, arguments).await;
    assert_eq!(ended.code, Some(0), "kubectl {arguments:?}: {ended:?}");
    ended.stdout
}
