//! The user in the headers of kube-apiserver's aggregator, which count only together with its client certificate.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use rustls::pki_types::UnixTime;

use super::{Peer, User, Verdict, certificate::Authority};

/// Header names that count where nothing else is configured, and that are never let through.
const DEFAULTS: [&str; 4] = ["x-remote-user", "x-remote-group", "x-remote-uid", "x-remote-extra-"];

/// Whose word is taken, and in which headers it stands.
#[derive(Clone, Debug)]
pub struct FrontProxy {
    /// The authorities of the proxy's certificate.
    pub authority: Authority,
    /// The common names that the certificate may have; empty allows any.
    pub allowed_names: Vec<String>,
    /// Where the user's name stands; the first header that is not empty counts.
    pub username_headers: Vec<String>,
    /// Where groups stand: all values of all headers.
    pub group_headers: Vec<String>,
    /// Where the user's identifier stands.
    pub uid_headers: Vec<String>,
    /// What the names of headers with further facts begin with.
    pub extra_prefixes: Vec<String>,
}

impl FrontProxy {
    /// The user that the proxy names, if the request is the proxy's.
    pub fn authenticate(&self, headers: &HeaderMap, peer: &Peer, now: UnixTime) -> Verdict {
        let Some(subject) = self.authority.subject(peer, now)? else {
            return Ok(None);
        };
        let name = &subject.common_name;
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(name) {
            return Err(format!(
                "the certificate of {name:?} is not one of an allowed front proxy"
            ));
        }
        let Some(name) = first(headers, &self.username_headers) else {
            return Ok(None);
        };
        Ok(Some(Arc::new(User {
            name,
            uid: first(headers, &self.uid_headers).unwrap_or_default(),
            groups: self
                .group_headers
                .iter()
                .flat_map(|name| values(headers, name))
                .filter(|group| !group.is_empty())
                .collect(),
            extra: self.extra(headers),
        })))
    }

    /// Further facts. Keys are lower case and percent-decoded.
    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in headers.keys() {
            for prefix in &self.extra_prefixes {
                let Some(key) = after(name, prefix) else {
                    continue;
                };
                let key = percent_decode_str(key)
                    .decode_utf8()
                    .map_or_else(|_| key.to_owned(), Cow::into_owned);
                extra.entry(key).or_default().extend(values(headers, name.as_str()));
            }
        }
        extra
    }

    fn speaks_in(&self, header: &HeaderName) -> bool {
        let is_it = |name: &String| name.eq_ignore_ascii_case(header.as_str());
        let begins_it = |prefix: &String| after(header, prefix).is_some();
        self.username_headers.iter().any(is_it)
            || self.group_headers.iter().any(is_it)
            || self.uid_headers.iter().any(is_it)
            || self.extra_prefixes.iter().any(begins_it)
    }
}

/// Removes every header that only the front proxy may send, before anything else reads them.
pub fn strip(headers: &mut HeaderMap, proxy: Option<&FrontProxy>) {
    // Without any, as in nearly all requests, this allocates nothing.
    let names: Vec<_> = headers
        .keys()
        .filter(|name| {
            DEFAULTS.iter().any(|default| name.as_str().starts_with(default))
                || proxy.is_some_and(|proxy| proxy.speaks_in(name))
        })
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// What a header's name has after a prefix, whatever the case of that.
fn after<'n>(name: &'n HeaderName, prefix: &str) -> Option<&'n str> {
    let (beginning, rest) = name.as_str().split_at_checked(prefix.len())?;
    beginning.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn first(headers: &HeaderMap, names: &[String]) -> Option<String> {
    names.iter().find_map(|name| values(headers, name).find(|value| !value.is_empty()))
}

fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = String> + use<'h> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok();
    name.map(|name| headers.get_all(name).into_iter())
        .into_iter()
        .flatten()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_proxy_may_say_is_removed() {
        let mut headers = HeaderMap::new();
        for name in
            ["x-remote-user", "X-Remote-Group", "x-remote-extra-scopes", "x-remote-uid", "accept"]
        {
            headers.append(
                HeaderName::from_bytes(name.to_lowercase().as_bytes()).unwrap(),
                "x".parse().unwrap(),
            );
        }
        strip(&mut headers, None);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
