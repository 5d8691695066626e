//! Certificate files that somebody else renews.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::pair::{Pair, PairError};
use crate::{blocking, files};

/// A certificate file, with its chain, and a key file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Paths {
    /// The certificate, with its chain behind it.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Files that cannot be served from.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file cannot be read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The files cannot be used.
    #[error("{} and {}: {cause}", paths.certificate.display(), paths.key.display())]
    Pair {
        /// The files.
        paths: Paths,
        /// Why.
        cause: PairError,
    },
}

/// A certificate and its key as the files have them.
pub(super) struct CertificateFiles {
    paths: Paths,
    /// What is served.
    used: PemFiles,
    is_broken: bool,
}

#[derive(Eq, PartialEq)]
struct PemFiles {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
}

impl CertificateFiles {
    /// Reads the files for the first time. Then an expired certificate is better than none.
    pub(super) async fn open(paths: Paths, now: Timestamp) -> Result<(Self, Pair), FileError> {
        let reader = paths.clone();
        let used = blocking::run(move || reader.read()).await?;
        let pair = paths.parse(&used)?;
        if pair.leaf.not_after < now {
            tracing::warn!(
                certificate = %paths.certificate.display(),
                "the serving certificate has expired on {}",
                pair.leaf.not_after
            );
        }
        Ok((Self { paths, used, is_broken: false }, pair))
    }

    /// Reads the files again: the new pair, if they have changed and are good.
    pub(super) async fn poll(&mut self, now: Timestamp) -> Option<Pair> {
        let (files, pair) = match self.changed(now).await {
            Ok(Some(changed)) => changed,
            Ok(None) => {
                self.report(None);
                return None;
            }
            Err(error) => {
                self.report(Some(&error));
                return None;
            }
        };
        self.used = files;
        self.is_broken = false;
        tracing::info!(
            certificate = %self.paths.certificate.display(),
            not_after = %pair.leaf.not_after,
            "a changed certificate is served"
        );
        Some(pair)
    }

    async fn changed(&self, now: Timestamp) -> Result<Option<(PemFiles, Pair)>, FileError> {
        let reader = self.paths.clone();
        let changed = files::changed(Some(&self.used), move || reader.read()).await?;
        let Some(files) = changed else { return Ok(None) };
        let pair = self.paths.parse(&files)?.unexpired(now);
        Ok(Some((files, pair.map_err(|cause| self.paths.unusable(cause))?)))
    }

    /// One line when the files become unusable, and one when they are as they were.
    fn report(&mut self, error: Option<&FileError>) {
        match error {
            Some(error) if !self.is_broken => {
                tracing::warn!(%error, "keeping the previous certificate");
            }
            None if self.is_broken => tracing::info!("the certificate's files can be used again"),
            _ => {}
        }
        self.is_broken = error.is_some();
    }
}

impl Paths {
    fn read(&self) -> Result<PemFiles, FileError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|cause| FileError::Io { path: path.to_owned(), cause })
        };
        // cert-manager writes the authority beside the certificate.
        let authorities = self.certificate.with_file_name(super::authority::AUTHORITIES);
        Ok(PemFiles {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            authorities: fs::read(authorities).ok(),
        })
    }

    fn parse(&self, files: &PemFiles) -> Result<Pair, FileError> {
        let authorities = files.authorities.as_deref();
        Pair::parse(&files.certificate, &files.key, authorities)
            .map_err(|cause| self.unusable(cause))
    }

    fn unusable(&self, cause: PairError) -> FileError {
        FileError::Pair { paths: self.clone(), cause }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::server::certificates::fixtures::{Signer, at, self_signed};

    const NOW: &str = "2026-01-01";

    /// A volume as the kubelet makes it: `tls.crt` → `..data/tls.crt`, `..data` → a folder of one version.
    struct Volume(tempfile::TempDir);

    impl Volume {
        fn new() -> Self {
            let volume = Self(tempfile::tempdir().unwrap());
            for file in ["tls.crt", "tls.key"] {
                symlink(Path::new("..data").join(file), volume.0.path().join(file)).unwrap();
            }
            volume
        }

        fn put(&self, version: &str, (certificate, key): (&str, &str)) {
            let root = self.0.path();
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("tls.crt"), certificate).unwrap();
            fs::write(root.join(version).join("tls.key"), key).unwrap();
            symlink(version, root.join("..data_tmp")).unwrap();
            fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        }

        fn paths(&self) -> Paths {
            Paths { certificate: self.0.path().join("tls.crt"), key: self.0.path().join("tls.key") }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_swapped_volume_is_seen_once() {
        let volume = Volume::new();
        let (first, second) = (self_signed(&["first"]), self_signed(&["second"]));
        volume.put("1", (&first.0, &first.1));
        let (mut files, pair) = CertificateFiles::open(volume.paths(), at(NOW)).await.unwrap();
        assert_eq!(pair.leaf.names, ["first"]);
        assert!(files.poll(at(NOW)).await.is_none());
        volume.put("2", (&second.0, &second.1));
        let pair = files.poll(at(NOW)).await.unwrap();
        assert_eq!(pair.leaf.names, ["second"]);
        assert!(files.poll(at(NOW)).await.is_none());
        // A swap that changes nothing.
        volume.put("3", (&second.0, &second.1));
        assert!(files.poll(at(NOW)).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_is_served_whole() {
        let root = Signer::root("root");
        let middle = root.intermediate("middle");
        let (leaf, key) = middle.leaf(&["a"]);
        let volume = Volume::new();
        volume.put("1", (&format!("{leaf}{}", middle.pem()), &key));
        fs::write(volume.0.path().join("ca.crt"), root.pem()).unwrap();
        let (_, pair) = CertificateFiles::open(volume.paths(), at(NOW)).await.unwrap();
        assert_eq!(pair.key.cert.len(), 2);
        assert_eq!(pair.authority, root.pem());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_pair_leaves_the_one_before() {
        let volume = Volume::new();
        let (first, second) = (self_signed(&["first"]), self_signed(&["second"]));
        volume.put("1", (&first.0, &first.1));
        let (mut files, _) = CertificateFiles::open(volume.paths(), at(NOW)).await.unwrap();
        for (version, pair) in [
            ("2", (second.0.as_str(), first.1.as_str())),
            ("3", ("", "")),
            ("4", (&second.0, "rubbish")),
        ] {
            volume.put(version, pair);
            assert!(files.poll(at(NOW)).await.is_none(), "{version}");
            assert!(files.is_broken);
        }
        fs::remove_file(volume.0.path().join("..data")).unwrap();
        assert!(files.poll(at(NOW)).await.is_none());
        // An end that has come already: rcgen's certificates end with the year 4095.
        volume.put("5", (&second.0, &second.1));
        assert!(files.poll(at("4097-01-01")).await.is_none());
        let pair = files.poll(at(NOW)).await.unwrap();
        assert_eq!(pair.leaf.names, ["second"]);
        assert!(!files.is_broken);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_pair_must_be_good() {
        let volume = Volume::new();
        let error = CertificateFiles::open(volume.paths(), at(NOW)).await.err().unwrap();
        assert!(error.to_string().contains("tls.crt"), "{error}");
        let (first, second) = (self_signed(&["a"]), self_signed(&["a"]));
        volume.put("1", (&first.0, &second.1));
        assert!(CertificateFiles::open(volume.paths(), at(NOW)).await.is_err());
    }
}
