//! Files that a rules file names: read only where they are allowed to be, wherever links lead.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::config::{ConfigError, SERVICE_ACCOUNT};

/// The most bytes that a file with credentials has.
const MAX_BYTES: u64 = 1 << 20;

/// A file that a rules file names.
#[derive(Clone, Debug)]
pub struct Confined {
    pub(super) path: PathBuf,
    folders: Arc<[PathBuf]>,
    /// The folder that is never read, whatever the allowed ones are.
    account: PathBuf,
}

impl Confined {
    /// A file that may be read as long as it is below one of these folders.
    pub(super) fn new(path: PathBuf, folders: &Arc<[PathBuf]>) -> Self {
        Self { path, folders: Arc::clone(folders), account: SERVICE_ACCOUNT.into() }
    }

    /// The file's content as it is now.
    pub(super) fn read(&self) -> Result<Vec<u8>, ConfigError> {
        let failed = |message: String| ConfigError::File { path: self.path.clone(), message };
        // What is opened is the path without links, so that it is the one that was looked at.
        let path = self.path.canonicalize();
        let path = path.map_err(|error| ConfigError::unreadable(&self.path, &error))?;
        let is_below =
            |folder: &Path| folder.canonicalize().is_ok_and(|folder| path.starts_with(folder));
        if is_below(&self.account) {
            return Err(failed(
                "a rules file cannot use the files of the service account".to_owned(),
            ));
        }
        if !self.folders.iter().any(|folder| is_below(folder)) {
            let text = "it leads out of the folders that --backend-credentials-dir allows";
            return Err(failed(text.to_owned()));
        }
        content(&path).map_err(|error| failed(error.to_string()))
    }
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    // Opening another kind of file may wait for ever.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length <= MAX_BYTES) {
        Ok(content)
    } else {
        Err(io::Error::other(format!("it is longer than {MAX_BYTES} bytes")))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A pod's file system: what is mounted for backends, the service account, and the rest.
    #[test]
    fn files_are_read_where_they_are_allowed_to_be() {
        let pod = tempfile::tempdir().unwrap();
        let at = |path: &str| pod.path().join(path);
        for folder in ["etc/loadline/mimir/..2026", "run/secrets/account", "etc/adapter"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        symlink(at("run"), at("var-run")).unwrap();
        fs::write(at("etc/loadline/mimir/..2026/token"), "good").unwrap();
        fs::write(at("run/secrets/account/token"), "stolen").unwrap();
        fs::write(at("etc/adapter/config.yaml"), "stolen").unwrap();
        // As Kubernetes mounts a Secret.
        symlink("..2026", at("etc/loadline/mimir/..data")).unwrap();
        symlink("..data/token", at("etc/loadline/mimir/token")).unwrap();
        symlink(at("run/secrets/account/token"), at("etc/loadline/account")).unwrap();
        symlink(at("run/secrets"), at("etc/loadline/folder")).unwrap();
        symlink("../adapter/config.yaml", at("etc/loadline/up")).unwrap();
        fs::create_dir(at("etc/loadline-other")).unwrap();
        fs::write(at("etc/loadline-other/token"), "stolen").unwrap();
        fs::write(at("etc/loadline/long"), vec![b'a'; 1 + (1 << 20)]).unwrap();
        let fifo = at("etc/loadline/fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());

        let through_root = format!("/proc/self/root{}", pod.path().display());
        let read = |path: PathBuf, folders: &[&str]| {
            let folders: Arc<[PathBuf]> = folders.iter().map(|folder| at(folder)).collect();
            let account = at("var-run/secrets/account");
            let file = Confined { path, folders, account };
            file.read().map_err(|error| error.to_string())
        };
        let own = ["etc/loadline"];
        for path in ["etc/loadline/mimir/token", "etc/loadline/mimir/../mimir/..data/token"] {
            assert_eq!(read(at(path), &own).unwrap(), b"good", "{path}");
        }
        let same = PathBuf::from(format!("{through_root}/etc/loadline/mimir/token"));
        assert_eq!(read(same, &own).unwrap(), b"good");
        // The allowed folder may be a link itself.
        symlink(at("etc/loadline"), at("link")).unwrap();
        assert_eq!(read(at("link/mimir/token"), &["link"]).unwrap(), b"good");

        let stolen = [
            at("run/secrets/account/token"),
            at("var-run/secrets/account/token"),
            at("etc/adapter/config.yaml"),
            at("etc/loadline/account"),
            at("etc/loadline/folder/account/token"),
            at("etc/loadline/up"),
            at("etc/loadline/../adapter/config.yaml"),
            at("etc/loadline-other/token"),
            PathBuf::from(format!("{through_root}/run/secrets/account/token")),
            PathBuf::from(format!("{through_root}/etc/adapter/config.yaml")),
            PathBuf::from("/proc/self/environ"),
            PathBuf::from("/dev/zero"),
        ];
        for path in stolen {
            let error = read(path.clone(), &own).unwrap_err();
            let wanted = ["--backend-credentials-dir", "service account"];
            assert!(wanted.iter().any(|part| error.contains(part)), "{}: {error}", path.display());
        }
        // The service account's are not read, whatever is allowed.
        for folders in [["run"], ["."], ["run/secrets/account"], ["var-run/secrets"]] {
            for path in ["run/secrets/account/token", "var-run/secrets/account/token"] {
                let error = read(at(path), &folders).unwrap_err();
                assert!(error.contains("service account"), "{path}: {error}");
            }
        }
        for (path, wanted) in [
            ("etc/loadline/long", "longer than"),
            ("etc/loadline/fifo", "not a file"),
            ("etc/loadline/mimir", "not a file"),
            ("etc/loadline/none", "No such file"),
        ] {
            let error = read(at(path), &own).unwrap_err();
            assert!(error.contains(wanted), "{path}: {error}");
        }
        // At each read.
        let token = at("etc/loadline/mimir/token");
        fs::remove_file(&token).unwrap();
        symlink(at("run/secrets/account/token"), &token).unwrap();
        assert!(read(token, &own).is_err());
    }
}
