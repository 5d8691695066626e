//! Certificate files that are read again when their content changes.
//!
//! The content is compared, not the time or the name: volumes of Secrets and ConfigMaps swap a symbolic link above the file.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::pair::{Pair, PairError};

/// How often a pair is read when it changes under the reader.
const TRIES: usize = 3;

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

/// Files that are watched.
pub(super) struct Watched {
    paths: Paths,
    seen: Content,
    is_broken: bool,
}

#[derive(Clone, Eq, PartialEq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
}

impl Watched {
    /// Reads the files for the first time. Then an expired certificate is better than none.
    pub(super) async fn open(paths: Paths, now: Timestamp) -> Result<(Self, Pair), FileError> {
        let seen = read(&paths).await?;
        let pair = parse(&paths, &seen)?;
        if pair.leaf.not_after < now {
            tracing::warn!(
                certificate = %paths.certificate.display(),
                "the serving certificate has expired on {}",
                pair.leaf.not_after
            );
        }
        let watched = Self { paths, seen, is_broken: false };
        Ok((watched, pair))
    }

    /// Reads the files again: the new pair, if they have changed and are good.
    pub(super) async fn poll(&mut self, now: Timestamp) -> Option<Pair> {
        let new = match read(&self.paths).await {
            Ok(content) if content == self.seen => {
                self.report(None);
                return None;
            }
            Ok(content) => parse(&self.paths, &content)
                .and_then(|pair| {
                    pair.unexpired(now)
                        .map_err(|cause| FileError::Pair { paths: self.paths.clone(), cause })
                })
                .map(|pair| (content, pair)),
            Err(error) => Err(error),
        };
        match new {
            Ok((content, pair)) => {
                self.seen = content;
                self.is_broken = false;
                tracing::info!(
                    certificate = %self.paths.certificate.display(),
                    not_after = %pair.leaf.not_after,
                    "a changed certificate is served"
                );
                Some(pair)
            }
            Err(error) => {
                self.report(Some(&error));
                None
            }
        }
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

/// Reads certificate and key as of one moment.
async fn read(paths: &Paths) -> Result<Content, FileError> {
    let mut content = read_once(paths).await?;
    for _ in 1..TRIES {
        let again = read_once(paths).await?;
        if again == content {
            break;
        }
        content = again;
    }
    Ok(content)
}

async fn read_once(paths: &Paths) -> Result<Content, FileError> {
    let read = async |path: &Path| {
        tokio::fs::read(path).await.map_err(|cause| FileError::Io { path: path.to_owned(), cause })
    };
    // cert-manager writes the authority beside the certificate.
    let authorities = paths.certificate.with_file_name(super::authority::AUTHORITIES);
    Ok(Content {
        certificate: read(&paths.certificate).await?,
        key: read(&paths.key).await?,
        authorities: tokio::fs::read(authorities).await.ok(),
    })
}

fn parse(paths: &Paths, content: &Content) -> Result<Pair, FileError> {
    let authorities = content.authorities.as_deref();
    Pair::parse(&content.certificate, &content.key, authorities)
        .map_err(|cause| FileError::Pair { paths: paths.clone(), cause })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

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

    #[tokio::test]
    async fn a_swapped_volume_is_seen_once() {
        let volume = Volume::new();
        let (first, second) = (self_signed(&["first"]), self_signed(&["second"]));
        volume.put("1", (&first.0, &first.1));
        let (mut watched, pair) = Watched::open(volume.paths(), at(NOW)).await.unwrap();
        assert_eq!(pair.leaf.names, ["first"]);
        assert!(watched.poll(at(NOW)).await.is_none());
        volume.put("2", (&second.0, &second.1));
        let pair = watched.poll(at(NOW)).await.unwrap();
        assert_eq!(pair.leaf.names, ["second"]);
        assert!(watched.poll(at(NOW)).await.is_none());
        // A swap that changes nothing.
        volume.put("3", (&second.0, &second.1));
        assert!(watched.poll(at(NOW)).await.is_none());
    }

    #[tokio::test]
    async fn a_chain_is_served_whole() {
        let root = Signer::root("root");
        let middle = root.intermediate("middle");
        let (leaf, key) = middle.leaf(&["a"]);
        let volume = Volume::new();
        volume.put("1", (&format!("{leaf}{}", middle.pem()), &key));
        fs::write(volume.0.path().join("ca.crt"), root.pem()).unwrap();
        let (_, pair) = Watched::open(volume.paths(), at(NOW)).await.unwrap();
        assert_eq!(pair.key.cert.len(), 2);
        assert_eq!(pair.authority, root.pem());
    }

    #[tokio::test]
    async fn a_broken_pair_leaves_the_one_before() {
        let volume = Volume::new();
        let (first, second) = (self_signed(&["first"]), self_signed(&["second"]));
        volume.put("1", (&first.0, &first.1));
        let (mut watched, _) = Watched::open(volume.paths(), at(NOW)).await.unwrap();
        for (version, pair) in [
            ("2", (second.0.as_str(), first.1.as_str())),
            ("3", ("", "")),
            ("4", (&second.0, "rubbish")),
        ] {
            volume.put(version, pair);
            assert!(watched.poll(at(NOW)).await.is_none(), "{version}");
            assert!(watched.is_broken);
        }
        fs::remove_file(volume.0.path().join("..data")).unwrap();
        assert!(watched.poll(at(NOW)).await.is_none());
        // An end that has come already: rcgen's certificates end with the year 4095.
        volume.put("5", (&second.0, &second.1));
        assert!(watched.poll(at("4097-01-01")).await.is_none());
        let pair = watched.poll(at(NOW)).await.unwrap();
        assert_eq!(pair.leaf.names, ["second"]);
        assert!(!watched.is_broken);
    }

    #[tokio::test]
    async fn the_first_pair_must_be_good() {
        let volume = Volume::new();
        let error = Watched::open(volume.paths(), at(NOW)).await.err().unwrap();
        assert!(error.to_string().contains("tls.crt"), "{error}");
        let (first, second) = (self_signed(&["a"]), self_signed(&["a"]));
        volume.put("1", (&first.0, &second.1));
        assert!(Watched::open(volume.paths(), at(NOW)).await.is_err());
    }
}
