//! What token endpoints reply: OAuth 2.0 (RFC 6749, also Entra's and Google's metadata servers), AWS's credential endpoints, and STS.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::sigv4::Keys;
use crate::core::excerpt::{SAID, excerpt};

/// How long a token is used whose reply does not say.
const UNSAID: Duration = Duration::from_secs(300);

/// The most bytes of a token or a key.
const MAX_BYTES: usize = 32 << 10;

/// A reply that holds no credential. No text repeats the reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// It has another form.
    #[error("the reply does not have the expected form")]
    Form,
    /// The credential cannot be sent in a header.
    #[error(
        "the reply holds a credential that is empty, too long, or not made of visible ASCII characters"
    )]
    Credential,
    /// The reply says that there is none.
    #[error("the reply says that there are no credentials")]
    NoCredentials,
}

/// A bearer token and how long it is good from its receipt on.
#[derive(Debug)]
pub struct Token {
    /// The token.
    pub text: SecretString,
    /// Its lifetime.
    pub lifetime: Duration,
}

/// AWS credentials and how long they are good from their receipt on.
#[derive(Debug)]
pub struct TemporaryKeys {
    /// The credentials.
    pub keys: Keys,
    /// Their lifetime; nothing if they do not end.
    pub lifetime: Option<Duration>,
}

/// The token of an OAuth 2.0 reply. Azure's metadata server writes the lifetime as a string.
pub fn token(body: &[u8]) -> Result<Token, ReplyError> {
    #[derive(Deserialize)]
    struct Reply {
        access_token: String,
        #[serde(default, deserialize_with = "seconds")]
        expires_in: Option<f64>,
    }
    let reply: Reply = serde_json::from_slice(body).map_err(|_its_text| ReplyError::Form)?;
    let lifetime = reply.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Token { text: credential(reply.access_token)?, lifetime: lifetime.unwrap_or(UNSAID) })
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Text(String),
        Null(()),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Number(number) => Some(number),
        Written::Text(text) => text.trim().parse().ok(),
        Written::Null(()) => None,
    })
}

/// The code and the description of an OAuth 2.0 error, or of one of Google's APIs.
pub fn token_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Reply {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let reply: Reply = serde_json::from_slice(body).ok()?;
    let separator = if reply.error_description.is_empty() { "" } else { ": " };
    Some(excerpt(&format!("{}{separator}{}", reply.error, reply.error_description), SAID))
}

/// The credentials that EC2's metadata service, ECS and EKS Pod Identity reply with. `at` is when the reply was made, by the clock of
/// its sender.
pub fn aws_keys(body: &[u8], at: Timestamp) -> Result<TemporaryKeys, ReplyError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Reply {
        code: Option<String>,
        access_key_id: Option<String>,
        secret_access_key: Option<String>,
        token: Option<String>,
        expiration: Option<String>,
    }
    let reply: Reply = serde_json::from_slice(body).map_err(|_its_text| ReplyError::Form)?;
    if reply.code.is_some_and(|code| code != "Success") {
        return Err(ReplyError::NoCredentials);
    }
    let (Some(id), Some(secret)) = (reply.access_key_id, reply.secret_access_key) else {
        return Err(ReplyError::Form);
    };
    let lifetime = reply.expiration.map(|end| until(&end, at)).transpose()?;
    Ok(TemporaryKeys { keys: keys(id, secret, reply.token)?, lifetime })
}

/// The credentials of STS: the reply to `AssumeRole` and to `AssumeRoleWithWebIdentity`. `at` is as for [`aws_keys`].
pub fn sts_keys(body: &[u8], at: Timestamp) -> Result<TemporaryKeys, ReplyError> {
    #[derive(Deserialize)]
    struct Reply {
        #[serde(rename = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
        result: Assumed,
    }
    #[derive(Deserialize)]
    struct Assumed {
        #[serde(rename = "Credentials")]
        credentials: Written,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Written {
        access_key_id: String,
        secret_access_key: String,
        session_token: String,
        expiration: String,
    }
    let reply: Reply = xml(body).ok_or(ReplyError::Form)?;
    let Written { access_key_id, secret_access_key, session_token, expiration } =
        reply.result.credentials;
    let lifetime = Some(until(&expiration, at)?);
    Ok(TemporaryKeys {
        keys: keys(access_key_id, secret_access_key, Some(session_token))?,
        lifetime,
    })
}

/// The code and the message of an error of STS.
pub fn sts_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Reply {
        #[serde(rename = "Error")]
        error: Written,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Written {
        code: String,
        #[serde(default)]
        message: String,
    }
    let Written { code, message } = xml::<Reply>(body)?.error;
    Some(excerpt(&format!("{code}: {message}"), SAID))
}

fn xml<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Option<T> {
    quick_xml::de::from_str(std::str::from_utf8(body).ok()?).ok()
}

fn keys(id: String, secret: String, session: Option<String>) -> Result<Keys, ReplyError> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(ReplyError::Credential);
    }
    let session = session.filter(|session| !session.is_empty());
    Ok(Keys { id, secret: credential(secret)?, session: session.map(credential).transpose()? })
}

/// A text that a header can hold.
fn credential(text: String) -> Result<SecretString, ReplyError> {
    let is_good = !text.is_empty()
        && text.len() <= MAX_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good { Ok(text.into()) } else { Err(ReplyError::Credential) }
}

/// How long it takes to a time; nothing if it has passed.
fn until(end: &str, at: Timestamp) -> Result<Duration, ReplyError> {
    let end: Timestamp = end.trim().parse().map_err(|_its_text| ReplyError::Form)?;
    Ok(Duration::try_from(end.duration_since(at)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn at() -> Timestamp {
        "2026-11-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn tokens_have_a_lifetime() {
        for (body, lifetime) in [
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":3599}"#, 3599),
            (r#"{"access_token":"t","expires_in":"86399","expires_on":"1"}"#, 86399),
            (r#"{"access_token":"t"}"#, 300),
            (r#"{"access_token":"t","expires_in":null}"#, 300),
            (r#"{"access_token":"t","expires_in":-5}"#, 300),
            (r#"{"access_token":"t","expires_in":1e300}"#, 300),
            (r#"{"access_token":"t","expires_in":"soon"}"#, 300),
        ] {
            let token = token(body.as_bytes()).unwrap();
            assert_eq!(token.text.expose_secret(), "t", "{body}");
            assert_eq!(token.lifetime.as_secs(), lifetime, "{body}");
        }
        for (body, wanted) in [
            ("", ReplyError::Form),
            ("<html>", ReplyError::Form),
            ("{}", ReplyError::Form),
            (r#"{"access_token":5}"#, ReplyError::Form),
            (r#"{"access_token":""}"#, ReplyError::Credential),
            (r#"{"access_token":"a b"}"#, ReplyError::Credential),
            (r#"{"access_token":"a\nb"}"#, ReplyError::Credential),
            (r#"{"access_token":"é"}"#, ReplyError::Credential),
        ] {
            assert_eq!(token(body.as_bytes()).unwrap_err(), wanted, "{body}");
        }
        let long = format!(r#"{{"access_token":"{}"}}"#, "a".repeat(MAX_BYTES + 1));
        assert_eq!(token(long.as_bytes()).unwrap_err(), ReplyError::Credential);
    }

    #[test]
    fn errors_of_endpoints_are_read() {
        let body = br#"{"error":"invalid_client","error_description":"AADSTS7000215: bad secret"}"#;
        assert_eq!(token_error(body).unwrap(), "invalid_client: AADSTS7000215: bad secret");
        assert_eq!(token_error(br#"{"error":"invalid_scope"}"#).unwrap(), "invalid_scope");
        assert_eq!(token_error(b"<html>"), None);
        let body = b"<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized &amp; so on</Message></Error><RequestId>1</RequestId></ErrorResponse>";
        assert_eq!(sts_error(body).unwrap(), "AccessDenied: Not authorized & so on");
        assert_eq!(sts_error(b"no xml"), None);
    }

    #[test]
    fn credentials_of_aws_end_by_the_clock_of_their_sender() {
        let body = br#"{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIA1","SecretAccessKey":"s","Token":"t","Expiration":"2026-11-01T18:00:00Z"}"#;
        let found = aws_keys(body, at()).unwrap();
        assert_eq!(found.keys.id, "ASIA1");
        assert_eq!(found.keys.session.unwrap().expose_secret(), "t");
        assert_eq!(found.lifetime.unwrap().as_secs(), 6 * 3600);
        let past = br#"{"AccessKeyId":"A","SecretAccessKey":"s","Token":"","Expiration":"2026-11-01T11:00:00Z"}"#;
        let found = aws_keys(past, at()).unwrap();
        assert!(found.lifetime == Some(Duration::ZERO) && found.keys.session.is_none());
        let lasting = br#"{"AccessKeyId":"A","SecretAccessKey":"s"}"#;
        assert!(aws_keys(lasting, at()).unwrap().lifetime.is_none());
        for (body, wanted) in [
            (r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"m"}"#, ReplyError::NoCredentials),
            (r#"{"AccessKeyId":"A"}"#, ReplyError::Form),
            (r#"{"AccessKeyId":"A/B","SecretAccessKey":"s"}"#, ReplyError::Credential),
            (
                r#"{"AccessKeyId":"A","SecretAccessKey":"s","Token":"a\r\nb: c"}"#,
                ReplyError::Credential,
            ),
            (r#"{"AccessKeyId":"A","SecretAccessKey":"s","Expiration":"soon"}"#, ReplyError::Form),
            ("[]", ReplyError::Form),
        ] {
            assert_eq!(aws_keys(body.as_bytes(), at()).unwrap_err(), wanted, "{body}");
        }
    }

    #[test]
    fn roles_are_replied_as_xml() {
        for action in ["AssumeRole", "AssumeRoleWithWebIdentity"] {
            let body = format!(
                "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Audience>sts.amazonaws.com</Audience><AssumedRoleUser><AssumedRoleId>R:s</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser><Credentials><SessionToken>t+/=</SessionToken><SecretAccessKey>s</SecretAccessKey><Expiration>2026-11-01T13:00:00Z</Expiration><AccessKeyId>ASIA1</AccessKeyId></Credentials></{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
            );
            let found = sts_keys(body.as_bytes(), at()).unwrap();
            assert_eq!(found.keys.session.unwrap().expose_secret(), "t+/=");
            assert_eq!(found.lifetime.unwrap().as_secs(), 3600);
            for cut in 0..body.len() - 1 {
                assert!(sts_keys(&body.as_bytes()[..cut], at()).is_err(), "{cut}");
            }
        }
        assert_eq!(sts_keys(b"\xff", at()).unwrap_err(), ReplyError::Form);
    }
}
