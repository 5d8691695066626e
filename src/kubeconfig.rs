//! A kubeconfig for this server, so that `kubectl` on the same machine can read from it.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

/// The kubeconfig's text: JSON, which is YAML.
pub fn render(server: &str, authority_pem: &str, token: &str) -> String {
    let name = "loadline";
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {
            "server": server,
            "certificate-authority-data": STANDARD.encode(authority_pem),
        }}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    });
    format!("{config:#}\n")
}

/// Writes a file that only its owner can read. It appears whole or not at all. What somebody else has left where it is put
/// together is removed, whatever it is.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.tmp", std::process::id()));
    let partial = Path::new(&partial);
    match fs::remove_file(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(partial).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        fs::rename(partial, path)
    });
    if written.is_err() {
        // What is left of it is of no use; the first error is what counts.
        fs::remove_file(partial).unwrap_or_default();
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn kube_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        write(&path, &render("https://127.0.0.1:6443", "PEM", "secret")).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let config = kube::config::Kubeconfig::read_from(&path).unwrap();
        let cluster = config.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:6443"));
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("UEVN"));
        assert_eq!(config.current_context.as_deref(), Some("loadline"));
    }

    #[test]
    fn what_is_left_of_another_run_lends_it_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("config"), folder.path().join("other"));
        fs::write(&other, "before").unwrap();
        let partial = folder.path().join(format!("config.{}.tmp", std::process::id()));
        std::os::unix::fs::symlink(&other, &partial).unwrap();
        write(&path, "token").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "before");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!path.is_symlink());
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(&folder.path().join("no/config"), "").is_err());
    }
}
