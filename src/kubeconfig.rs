//! Kubeconfigs: those that we are given, and the one for this server, so that `kubectl` on the same machine can read from it.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::config::{Kubeconfig, KubeconfigError};
use serde_json::json;

use crate::core::yaml::{self, Key, Node, Place, Value};

/// What a kubeconfig has at least one of.
const KEYS: [&str; 3] = ["clusters", "contexts", "users"];

/// Why a file cannot be used as a kubeconfig. No text repeats what stands in the file: it may be a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is no YAML, and shows no sign of a kubeconfig.
    #[error("{}this is no YAML: a kubeconfig is expected, with `clusters`, `contexts` and `users`", at(*.0))]
    NoYaml(Option<Place>),
    /// It is something else.
    #[error("this is no kubeconfig: it has none of `clusters`, `contexts` and `users`")]
    Other,
    /// It is one, and not well written.
    #[error("this kubeconfig is not well written{0}")]
    Malformed(String),
}

/// Reads a kubeconfig. Paths in it are those from its folder.
pub fn read(path: &Path) -> Result<Kubeconfig, ReadError> {
    let bytes = fs::read(path).map_err(|error| ReadError::Unreadable(error.to_string()))?;
    let text = String::from_utf8_lossy(&bytes);
    let is_key = |(key, _): &(Key, Node)| KEYS.contains(&key.text.as_str());
    let is_kubeconfig = |root: &Node| match &root.value {
        Value::Mapping(entries) => entries.iter().any(is_key),
        _ => false,
    };
    match yaml::documents(&text) {
        Ok(documents) if !documents.iter().any(is_kubeconfig) => return Err(ReadError::Other),
        // One that is not well written may still be one.
        Err(error) if !KEYS.iter().any(|key| text.contains(key)) => {
            return Err(ReadError::NoYaml(error.place));
        }
        Ok(_) | Err(_) => {}
    }
    // kube reads UTF-16 by pairs of bytes, and panics at half a pair.
    if matches!(bytes.as_slice(), [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]) && bytes.len() % 2 == 1 {
        return Err(ReadError::Malformed(": it ends within a character".to_owned()));
    }
    Kubeconfig::read_from(path).map_err(|error| match error {
        KubeconfigError::ReadConfig(error, _) => ReadError::Unreadable(error.to_string()),
        KubeconfigError::Parse(error) => {
            ReadError::Malformed(error.location().map_or_else(String::new, |at| {
                format!(", at line {}, column {}, or before", at.line(), at.column())
            }))
        }
        _ => ReadError::Malformed(String::new()),
    })
}

fn at(place: Option<Place>) -> String {
    place
        .map_or_else(String::new, |place| format!("line {}, column {}: ", place.line, place.column))
}

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
    fn what_is_no_kubeconfig_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let read_text = |text: &str| {
            fs::write(&path, text).unwrap();
            read(&path)
        };
        for text in [
            "tlsConfig: {caFile: secret}\nauthConfig: {authorization: {credentialsFile: secret}}",
            "secret",
            "- secret",
            "",
            "user: secret",
        ] {
            let error = read_text(text).unwrap_err();
            assert!(matches!(error, ReadError::Other), "{text}: {error}");
        }
        for text in ["-----BEGIN CERTIFICATE-----\nsecret: [\n", "\u{0}secret"] {
            let error = read_text(text).unwrap_err();
            assert!(matches!(error, ReadError::NoYaml(_)), "{text}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let error = read_text("a: b\nsecret: [\n").unwrap_err().to_string();
        assert!(
            error.starts_with("line ") && error.contains("a kubeconfig is expected"),
            "{error}"
        );
        for text in [
            "users: secret",
            "users: [{name: a, user: secret}]",
            "users:\n- name: a\n  user: {token: secret\n",
        ] {
            let error = read_text(text).unwrap_err();
            assert!(matches!(error, ReadError::Malformed(_)), "{text}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        fs::write(&path, b"\xFF\xFE\nusers: [a]").unwrap();
        assert!(matches!(read(&path), Err(ReadError::Malformed(_))), "half a character");
        let good = read_text(&render("https://host", "PEM", "secret")).unwrap();
        assert_eq!(good.current_context.as_deref(), Some("loadline"));
        assert!(matches!(read(Path::new("/nowhere")), Err(ReadError::Unreadable(_))));
    }

    #[test]
    fn kube_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        write(&path, &render("https://127.0.0.1:6443", "PEM", "secret")).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let config = Kubeconfig::read_from(&path).unwrap();
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
