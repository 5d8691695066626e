//! Our own certificate in `--cert-dir`.

use std::{io, path::Path};

use jiff::Timestamp;

use super::{
    authority::{AUTHORITIES, AUTHORITY_KEY, CERTIFICATE, Files, KEY, Own, OwnError},
    files::Paths,
    held::{Content, Held},
};
use crate::{blocking, kubeconfig};

/// A certificate and a key in a folder that are not ours: by our names, or by prometheus-adapter's. A folder that cannot
/// be looked at has none; that it cannot be written either is said where we try.
pub(super) async fn foreign(folder: &Path) -> Option<Paths> {
    let exists = async |path: &Path| tokio::fs::try_exists(path).await.unwrap_or(false);
    if exists(&folder.join(AUTHORITY_KEY)).await {
        return None;
    }
    for (certificate, key) in [(CERTIFICATE, KEY), ("apiserver.crt", "apiserver.key")] {
        let paths = Paths { certificate: folder.join(certificate), key: folder.join(key) };
        // One of the two is a fault that reading will name.
        if exists(&paths.certificate).await || exists(&paths.key).await {
            return Some(paths);
        }
    }
    None
}

/// What was written into a folder before, brought up to now, and whether it has to be written.
pub(super) async fn read(
    folder: &Path,
    names: &[String],
    now: Timestamp,
) -> Result<(Own, bool), OwnError> {
    let mut files = Files::new();
    for name in [AUTHORITIES, AUTHORITY_KEY, CERTIFICATE, KEY] {
        if let Ok(text) = tokio::fs::read(folder.join(name)).await {
            files.insert(name.to_owned(), text);
        }
    }
    match Content::read(files)?.brought_up(names, now)? {
        (Held::Ours(own), is_new) => Ok((*own, is_new)),
        // Somebody has put it there since we looked; it is theirs.
        (Held::Theirs(_), _) => Err(OwnError::Parts("the folder has another's certificate")),
    }
}

/// Writes a certificate into a folder, which is made if need be.
pub(super) async fn write(folder: &Path, own: &Own) -> io::Result<()> {
    let folder = folder.to_owned();
    let files = own.files().clone();
    let write = move || {
        std::fs::create_dir_all(&folder)?;
        // The authority's key first: it says that all are ours, even if this is where we end.
        let (first, rest): (Vec<_>, Vec<_>) =
            files.iter().partition(|(name, _)| *name == AUTHORITY_KEY);
        for (name, text) in first.into_iter().chain(rest) {
            kubeconfig::write(&folder.join(name), &String::from_utf8_lossy(text))?;
        }
        Ok(())
    };
    blocking::run(write).await
}
