//! AWS's shared files, `config` and `credentials`: which credentials a profile stands for.
//!
//! The format is that of "Shared config and credentials files" in the AWS SDKs and Tools reference guide. Profiles that run a program
//! (`credential_process`) or open a session of a person (`sso_session`) are refused.

use std::{collections::HashMap, fmt, path::PathBuf};

use super::sigv4::Keys;
use crate::core::excerpt::{SAID, excerpt};

/// The most profiles that name each other by `source_profile`.
const MAX_CHAIN: usize = 5;

/// The profiles of the shared files.
#[derive(Default)]
pub struct Profiles(HashMap<String, HashMap<String, String>>);

/// A role that is assumed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy may ask for.
    pub external_id: Option<String>,
    /// The name of the session, as it appears in AWS's logs.
    pub session_name: Option<String>,
}

impl Role {
    /// A role about which nothing else is said.
    pub fn named(arn: &str) -> Self {
        Self { arn: arn.to_owned(), external_id: None, session_name: None }
    }
}

/// Where the first credentials of a profile are from.
#[derive(Debug)]
pub enum Base {
    /// The files hold them.
    Keys(Keys),
    /// A role is assumed with the token in a file.
    WebIdentity {
        /// The file.
        token_file: PathBuf,
        /// The role.
        role: Role,
    },
    /// The variables of the environment hold them.
    Environment,
    /// The endpoint of the container has them.
    Container,
    /// The metadata service of EC2 has them.
    Instance,
}

/// How the credentials of a profile are got.
#[derive(Debug)]
pub struct Resolved {
    /// The first credentials.
    pub base: Base,
    /// The roles that are assumed with them, one after the other.
    pub roles: Vec<Role>,
}

/// Why a profile cannot be used. No text repeats a value of the files but names of profiles.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// There is no such profile.
    #[error("the AWS profile `{0}` is not in the shared files")]
    Missing(String),
    /// It holds nothing that is used here.
    #[error("the AWS profile `{0}` has no credentials")]
    Empty(String),
    /// It holds a key that no header can hold.
    #[error(
        "`{1}` of the AWS profile `{0}` cannot be sent: it has other characters than visible ASCII ones"
    )]
    Unsendable(String, &'static str),
    /// It needs a program or a person.
    #[error("the AWS profile `{0}` uses `{1}`, which is not supported")]
    Unsupported(String, &'static str),
    /// It leads to itself, or too far.
    #[error("the AWS profile `{0}` leads to too many others by `source_profile`")]
    Chain(String),
}

impl Profiles {
    /// The profiles of the files `config` and `credentials`, of which the latter takes precedence.
    pub fn parse(config: &str, credentials: &str) -> Self {
        let mut profiles = Self::default();
        profiles.add(config, |section| {
            let name = section.strip_prefix("profile").filter(|name| name.starts_with([' ', '\t']));
            name.map(|name| name.trim().trim_matches(['"', '\'']))
                .or_else(|| (section == "default").then_some(section))
        });
        profiles.add(credentials, Some);
        profiles
    }

    /// The region of a profile.
    pub fn region(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.get("region").map(String::as_str)
    }

    /// Whether there is a profile of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What a profile stands for.
    pub fn resolve(&self, name: &str) -> Result<Resolved, ProfileError> {
        let (mut name, mut roles) = (name, Vec::new());
        for step in 0..MAX_CHAIN {
            let told = || excerpt(name, SAID);
            let profile = self.0.get(name).ok_or_else(|| ProfileError::Missing(told()))?;
            let text = |key: &str| profile.get(key).filter(|text| !text.is_empty());
            let keys =
                text("aws_access_key_id").zip(text("aws_secret_access_key")).map(|(id, secret)| {
                    Keys {
                        id: id.clone(),
                        secret: secret.clone().into(),
                        session: text("aws_session_token").map(|token| token.clone().into()),
                    }
                });
            let role = text("role_arn").map(|arn| Role {
                arn: arn.clone(),
                external_id: text("external_id").cloned(),
                session_name: text("role_session_name").cloned(),
            });
            // A profile that names itself as the source of its role means the keys that it has.
            let is_own_source =
                step > 0 && text("source_profile").is_some_and(|source| source == name);
            let base = match (role, keys) {
                (Some(role), keys) if !is_own_source => {
                    if let Some(file) = text("web_identity_token_file") {
                        Base::WebIdentity { token_file: file.into(), role }
                    } else if let Some(source) = text("source_profile") {
                        roles.push(role);
                        name = source;
                        continue;
                    } else {
                        let base = match text("credential_source").map(String::as_str) {
                            Some("Environment") => Base::Environment,
                            Some("EcsContainer") => Base::Container,
                            Some("Ec2InstanceMetadata") => Base::Instance,
                            _ => Base::Keys(keys.ok_or_else(|| ProfileError::Empty(told()))?),
                        };
                        roles.push(role);
                        base
                    }
                }
                (_, Some(keys)) => Base::Keys(keys),
                (_, None) => {
                    let unsupported = ["credential_process", "sso_session", "sso_start_url"]
                        .into_iter()
                        .find(|key| text(key).is_some());
                    return Err(match unsupported {
                        Some(key) => ProfileError::Unsupported(told(), key),
                        None => ProfileError::Empty(told()),
                    });
                }
            };
            if let Base::Keys(keys) = &base
                && let Some(part) = keys.unsendable()
            {
                return Err(ProfileError::Unsendable(told(), part.key()));
            }
            roles.reverse();
            return Ok(Resolved { base, roles });
        }
        Err(ProfileError::Chain(excerpt(name, SAID)))
    }

    fn add<'t>(&mut self, file: &'t str, name: impl Fn(&'t str) -> Option<&'t str>) {
        let mut current = None;
        for line in file.lines() {
            // Indented lines belong to a key with a mapping of its own, and none that is read here has one.
            if line.starts_with([' ', '\t', '#', ';']) || line.trim().is_empty() {
                continue;
            }
            if let Some(section) = line.strip_prefix('[') {
                let section = section.split(']').next().unwrap_or_default().trim();
                current = name(section).map(str::to_owned);
                if let Some(name) = &current {
                    self.0.entry(name.clone()).or_default();
                }
            } else if let (Some(name), Some((key, value))) = (&current, line.split_once('=')) {
                let value = [" #", " ;", "\t#", "\t;"]
                    .iter()
                    .fold(value, |value, comment| value.split(comment).next().unwrap_or(value));
                let profile = self.0.entry(name.clone()).or_default();
                profile.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
        }
    }
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiles").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const CONFIG: &str = "\
# ours
[default]
region = eu-west-1
s3 =
  addressing_style = path
[profile amp]
role_arn = arn:aws:iam::1:role/amp   # a comment
source_profile = base
external_id = e
[profile \"two steps\"]
role_arn = arn:aws:iam::1:role/second
source_profile = amp
[profile web]
role_arn=arn:aws:iam::1:role/web
web_identity_token_file=/token
role_session_name=s
[profile node]
role_arn = arn:aws:iam::1:role/node
credential_source = Ec2InstanceMetadata
[profile self]
role_arn = arn:aws:iam::1:role/self
source_profile = self
aws_access_key_id = SELF
aws_secret_access_key = self-secret
[profile loop]
role_arn = a
source_profile = loop2
[profile loop2]
role_arn = b
source_profile = loop
[profile runs]
credential_process = /bin/true
[profile person]
sso_session = x
[unprefixed]
aws_access_key_id = X
[other-section x]
aws_access_key_id = X
";

    const CREDENTIALS: &str = "[default]\naws_access_key_id=AKID\naws_secret_access_key = a=b\n[base]\nAWS_ACCESS_KEY_ID = BASE\naws_secret_access_key=s\naws_session_token=t\n";

    fn resolved(name: &str) -> Result<(String, Vec<String>), ProfileError> {
        Profiles::parse(CONFIG, CREDENTIALS).resolve(name).map(|Resolved { base, roles }| {
            let base = match base {
                Base::Keys(keys) => {
                    let session = keys.session.as_ref().map_or("", |token| token.expose_secret());
                    format!("{} {} {session}", keys.id, keys.secret.expose_secret())
                }
                Base::WebIdentity { token_file, role } => {
                    format!("{} {}", token_file.display(), role.arn)
                }
                other => format!("{other:?}"),
            };
            (base, roles.into_iter().map(|role| role.arn).collect())
        })
    }

    #[test]
    fn profiles_lead_to_credentials_and_roles() {
        let role = |name: &str| format!("arn:aws:iam::1:role/{name}");
        for (name, base, roles) in [
            ("default", "AKID a=b ", vec![]),
            ("amp", "BASE s t", vec![role("amp")]),
            ("two steps", "BASE s t", vec![role("amp"), role("second")]),
            ("web", "/token arn:aws:iam::1:role/web", vec![]),
            ("node", "Instance", vec![role("node")]),
            ("self", "SELF self-secret ", vec![role("self")]),
        ] {
            assert_eq!(resolved(name), Ok((base.to_owned(), roles)), "{name}");
        }
        let profiles = Profiles::parse(CONFIG, CREDENTIALS);
        assert_eq!((profiles.region("default"), profiles.region("amp")), (Some("eu-west-1"), None));
        assert!(!format!("{profiles:?}").contains("secret"));
        let amp = profiles.resolve("amp").unwrap();
        assert_eq!(amp.roles[0].external_id.as_deref(), Some("e"));
    }

    #[test]
    fn profiles_without_credentials_say_why() {
        let name = |name: &str| name.to_owned();
        for (profile, wanted) in [
            ("none", ProfileError::Missing(name("none"))),
            ("unprefixed", ProfileError::Missing(name("unprefixed"))),
            ("runs", ProfileError::Unsupported(name("runs"), "credential_process")),
            ("person", ProfileError::Unsupported(name("person"), "sso_session")),
            ("loop", ProfileError::Chain(name("loop2"))),
        ] {
            assert_eq!(resolved(profile).unwrap_err(), wanted, "{profile}");
        }
        let tab =
            "[a]\naws_access_key_id = A\naws_secret_access_key = s\naws_session_token = t\tu\n";
        let wanted = ProfileError::Unsendable(name("a"), "aws_session_token");
        assert_eq!(Profiles::parse("", tab).resolve("a").unwrap_err(), wanted);
        let nothing = Profiles::parse("", "[a]\n");
        assert_eq!(nothing.resolve("a").unwrap_err(), ProfileError::Empty(name("a")));
    }
}
