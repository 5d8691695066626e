//! AWS Signature Version 4, in the headers of a request.
//!
//! The process is that of "Create a signed AWS API request" in the AWS IAM user guide. The rules are those of all services except S3:
//! the path is normalized and encoded once more than it is sent.

use std::{borrow::Cow, fmt::Write as _};

use jiff::{Timestamp, tz::TimeZone};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{
    digest::{SHA256, digest},
    hmac,
};
use secrecy::{ExposeSecret, SecretString};

/// The name of the algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The end of a credential's scope.
const TERMINATOR: &str = "aws4_request";

/// All bytes except the unreserved ones.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same without the slashes of a path.
const PATH: &AsciiSet = &VALUE.remove(b'/');

/// AWS credentials.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The access key ID. It names the secret, and is not one.
    pub id: String,
    /// The secret access key.
    pub secret: SecretString,
    /// The session token of temporary credentials.
    pub session: Option<SecretString>,
}

impl Keys {
    /// The part that no header can hold, or that cannot be a part of one, if there is such.
    pub fn unsendable(&self) -> Option<KeyPart> {
        let is_sendable =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let session = self.session.as_ref().map(ExposeSecret::expose_secret);
        let parts = [
            (KeyPart::Id, Some(self.id.as_str())),
            (KeyPart::Secret, Some(self.secret.expose_secret())),
            (KeyPart::Session, session),
        ];
        let mut wrong = parts.into_iter().filter(|(_, text)| !text.is_none_or(is_sendable));
        wrong.next().map(|(part, _)| part)
    }
}

/// A part of [`Keys`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyPart {
    /// [`Keys::id`].
    Id,
    /// [`Keys::secret`].
    Secret,
    /// [`Keys::session`].
    Session,
}

impl KeyPart {
    /// The key of the shared files that holds it. In upper case, it is the variable of the environment.
    pub fn key(self) -> &'static str {
        match self {
            Self::Id => "aws_access_key_id",
            Self::Secret => "aws_secret_access_key",
            Self::Session => "aws_session_token",
        }
    }
}

/// For what a signature is good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scope<'s> {
    /// The region, such as `eu-west-1`.
    pub region: &'s str,
    /// The signing name of the service, such as `aps`.
    pub service: &'s str,
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The method.
    pub method: &'r str,
    /// The path as it is sent.
    pub path: &'r str,
    /// The text after the question mark. It must be sent as [`canonical_query`] returns it.
    pub query: &'r str,
    /// The headers to be signed, `host` included.
    pub headers: &'r [(&'r str, &'r str)],
    /// The body.
    pub body: &'r [u8],
}

/// The headers that authenticate a request: the time, the session token if there is one, and the signature.
pub fn sign(
    request: &Request<'_>,
    keys: &Keys,
    scope: Scope<'_>,
    at: Timestamp,
) -> Vec<(&'static str, String)> {
    let at = at.to_zoned(TimeZone::UTC);
    let time = at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let date = at.strftime("%Y%m%d").to_string();
    let mut added = vec![("x-amz-date", time.clone())];
    if let Some(session) = &keys.session {
        added.push(("x-amz-security-token", session.expose_secret().to_owned()));
    }
    let own = added.iter().map(|(name, value)| (*name, value.as_str()));
    let headers: Vec<_> = request.headers.iter().copied().chain(own).collect();
    let (canonical, signed) = canonical(request, &headers);
    let Scope { region, service } = scope;
    let scope = format!("{date}/{region}/{service}/{TERMINATOR}");
    let hash = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{hash}");
    let secret = format!("AWS4{}", keys.secret.expose_secret()).into_bytes();
    let steps = [date.as_str(), region, service, TERMINATOR];
    let key = steps.iter().fold(secret, |key, step| mac(&key, step));
    let signature = hex(&mac(&key, &to_sign));
    let id = &keys.id;
    added.push((
        "authorization",
        format!(
            "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
        ),
    ));
    added
}

/// The parameters of a URL in the order and the encoding that are signed. A plus sign is a space.
pub fn canonical_query(query: &str) -> String {
    let encode = |text: &str| utf8_percent_encode(text, VALUE).to_string();
    let pairs = form_urlencoded::parse(query.as_bytes());
    let mut pairs: Vec<_> = pairs.map(|(name, value)| (encode(&name), encode(&value))).collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// The canonical request, and the names of the signed headers.
fn canonical(request: &Request<'_>, headers: &[(&str, &str)]) -> (String, String) {
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        match merged.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.push(',');
                values.push_str(&value);
            }
            None => merged.push((name, value)),
        }
    }
    merged.sort();
    let signed = merged.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let lines: String = merged.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let method = request.method;
    let path = utf8_percent_encode(&normalized(request.path), PATH).to_string();
    let query = canonical_query(request.query);
    let body = hex(digest(&SHA256, request.body).as_ref());
    (format!("{method}\n{path}\n{query}\n{lines}\n{signed}\n{body}"), signed)
}

/// A path without empty and dot segments.
fn normalized(path: &str) -> Cow<'_, str> {
    if !path.contains("//") && !path.contains("/.") && path.starts_with('/') {
        return path.into();
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/")).into()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Suite {
        id: String,
        secret: String,
        region: String,
        service: String,
        time: Timestamp,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        method: String,
        path: String,
        query: String,
        headers: Vec<(String, String)>,
        body: String,
        token: Option<String>,
        canonical: String,
        signature: String,
    }

    #[test]
    fn signatures_are_those_of_the_test_suite_of_aws() {
        let suite = include_str!("../../../tests/vectors/sigv4.json");
        let suite: Suite = serde_json::from_str(suite).unwrap();
        assert_eq!(suite.cases.len(), 30);
        let scope = Scope { region: &suite.region, service: &suite.service };
        for case in &suite.cases {
            let keys = Keys {
                id: suite.id.clone(),
                secret: suite.secret.clone().into(),
                session: case.token.clone().map(SecretString::from),
            };
            let headers: Vec<_> =
                case.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let request = Request {
                method: &case.method,
                path: &case.path,
                query: &case.query,
                headers: &headers,
                body: case.body.as_bytes(),
            };
            let added = sign(&request, &keys, scope, suite.time);
            let own = added.iter().filter(|(name, _)| *name != "authorization");
            let all: Vec<_> = headers
                .iter()
                .copied()
                .chain(own.map(|(name, value)| (*name, value.as_str())))
                .collect();
            assert_eq!(canonical(&request, &all).0, case.canonical, "{}", case.name);
            let (_, authorization) = added.last().unwrap();
            let (_, signature) = authorization.rsplit_once('=').unwrap();
            assert_eq!(signature, case.signature, "{}", case.name);
        }
    }

    #[test]
    fn parameters_are_sent_as_they_are_signed() {
        for (query, wanted) in [
            ("", ""),
            (
                "query=sum(a%7Bb%3D%22c%22%7D)+by+(d)",
                "query=sum%28a%7Bb%3D%22c%22%7D%29%20by%20%28d%29",
            ),
            ("match%5B%5D=b&match[]=a&end=1", "end=1&match%5B%5D=a&match%5B%5D=b"),
            ("a=1%2B1", "a=1%2B1"),
        ] {
            assert_eq!(canonical_query(query), wanted);
            assert_eq!(canonical_query(wanted), wanted, "twice is once");
        }
    }

    #[test]
    fn a_key_that_no_header_can_hold_is_told_by_its_part() {
        let keys = |id: &str, secret: &str, session: Option<&str>| Keys {
            id: id.to_owned(),
            secret: secret.to_owned().into(),
            session: session.map(|token| token.to_owned().into()),
        };
        assert_eq!(keys("AKID", "a/b+c=", None).unsendable(), None);
        assert_eq!(keys("AKID", "s", Some("t+/=")).unsendable(), None);
        for text in ["", "a\nb", "a b", "\u{7f}", "é"] {
            for (keys, wanted) in [
                (keys(text, "s", None), KeyPart::Id),
                (keys("AKID", text, None), KeyPart::Secret),
                (keys("AKID", "s", Some(text)), KeyPart::Session),
            ] {
                assert_eq!(keys.unsendable(), Some(wanted), "{text:?}");
            }
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let keys = Keys {
            id: "AKID".to_owned(),
            secret: "hidden-key".to_owned().into(),
            session: Some("hidden-token".to_owned().into()),
        };
        assert!(!format!("{keys:?}").contains("hidden"), "{keys:?}");
    }
}
