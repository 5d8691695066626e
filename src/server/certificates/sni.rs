//! Which certificate a client gets that names a host: pure.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr, sync::Arc};

use rustls::sign::CertifiedKey;

use super::{files::Paths, pair::Pair};

/// A value of `--tls-sni-cert-key`: `certificate,key` or `certificate,key:name,*.name`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedPaths {
    /// The files.
    pub paths: Paths,
    /// The hosts they are for; without any, those of the certificate.
    pub hosts: Vec<String>,
}

impl FromStr for NamedPaths {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (files, names) = text.split_once(':').unwrap_or((text, ""));
        let Some((certificate, key)) = files.split_once(',') else {
            return Err("a certificate and a key file are expected, separated by a comma");
        };
        if certificate.is_empty() || key.is_empty() || key.contains(',') || names.contains(':') {
            return Err("certificate,key or certificate,key:name,name is expected");
        }
        Ok(Self {
            paths: Paths { certificate: PathBuf::from(certificate), key: PathBuf::from(key) },
            hosts: names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        })
    }
}

/// Certificates by host.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeMap<String, Arc<CertifiedKey>>);

impl Named {
    /// Of two pairs for a host the first counts, and names that were given count before names of certificates.
    pub(super) fn new<'a>(
        pairs: impl DoubleEndedIterator<Item = (&'a [String], &'a Pair)> + Clone,
    ) -> Self {
        let mut by_host = BTreeMap::new();
        let implicit = pairs.clone().filter(|(hosts, _)| hosts.is_empty());
        for (_, pair) in implicit.rev() {
            let hosts = hosts_of(pair);
            by_host.extend(hosts.map(|host| (host.to_lowercase(), Arc::clone(&pair.key))));
        }
        for (hosts, pair) in pairs.rev() {
            let hosts = hosts.iter();
            by_host.extend(hosts.map(|host| (host.to_lowercase(), Arc::clone(&pair.key))));
        }
        Self(by_host)
    }

    /// The certificate for a host: by its name, or with a star for its first label.
    pub(super) fn find(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let host = host.to_lowercase();
        let found = self.0.get(&host).or_else(|| {
            let (_, rest) = host.split_once('.')?;
            self.0.get(&format!("*.{rest}"))
        });
        found.cloned()
    }
}

fn hosts_of(pair: &Pair) -> impl Iterator<Item = &String> {
    let common_name = pair.leaf.common_name.iter();
    common_name.chain(&pair.leaf.names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::certificates::fixtures::self_signed;

    fn pair(names: &[&str]) -> Pair {
        let (certificate, key) = self_signed(names);
        Pair::parse(certificate.as_bytes(), key.as_bytes(), None).unwrap()
    }

    #[test]
    fn values_are_kubernetes() {
        let value: NamedPaths = "a.pem,a.key:*.example.com,foo".parse().unwrap();
        assert_eq!(value.paths.certificate.to_str(), Some("a.pem"));
        assert_eq!(value.paths.key.to_str(), Some("a.key"));
        assert_eq!(value.hosts, ["*.example.com", "foo"]);
        let value: NamedPaths = "a.pem,a.key".parse().unwrap();
        assert!(value.hosts.is_empty());
        for text in ["", "a.pem", "a.pem,", ",a.key", "a,b,c", "a,b:c:d"] {
            assert!(text.parse::<NamedPaths>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_most_explicit_pair_is_chosen() {
        let pairs = [
            pair(&["implicit.example", "*.wild.example"]),
            pair(&["implicit.example", "given.example"]),
            pair(&["other.example"]),
        ];
        let hosts =
            [vec![], vec![], vec!["Given.example".to_owned(), "*.given.example".to_owned()]];
        let named = Named::new(hosts.iter().map(Vec::as_slice).zip(&pairs));
        let cases = [
            ("implicit.example", Some(0)),
            ("IMPLICIT.example", Some(0)),
            ("a.wild.example", Some(0)),
            ("a.b.wild.example", None),
            ("wild.example", None),
            ("given.example", Some(2)),
            ("a.given.example", Some(2)),
            ("other.example", None),
            ("", None),
        ];
        for (host, wanted) in cases {
            let found = named.find(host);
            let index = found.map(|key| pairs.iter().position(|pair| Arc::ptr_eq(&pair.key, &key)));
            assert_eq!(index.flatten(), wanted, "{host}");
        }
    }
}
