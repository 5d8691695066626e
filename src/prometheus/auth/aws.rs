//! AWS credentials: the chain of the AWS SDKs, and roles that are assumed.
//!
//! The order is that of the SDKs: environment, web identity, shared files, container, instance. A profile that the settings name is the
//! only source.

mod near;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use reqwest::{RequestBuilder, Url};
use secrecy::ExposeSecret;

use super::{
    super::config::{ConfigError, Source},
    Credential, Endpoint, Fetched, SecretFile, Skew, TokenError, Variables,
    endpoint::{client, form, guarded},
    sign,
};
use crate::core::{
    cloud::{
        aws_partition::Partition,
        aws_profile::{Base, ProfileError, Profiles, Resolved, Role},
        replies::{self, TemporaryKeys},
        sigv4::{Keys, Scope},
    },
    rules::auth::{SigV4, aps_region, is_region},
};

const STS: Endpoint = Endpoint { name: "AWS STS", error: replies::sts_error };

/// How long the session of a role lasts, in seconds: the longest that is allowed to a role that another role assumes.
const ROLE_SESSION: &str = "3600";

/// The type of replies of STS: it has another one, too.
const XML: &str = "text/xml";

/// The version of STS.
const STS_VERSION: &str = "2011-06-15";

/// The source of AWS credentials.
pub(super) struct Aws {
    settings: SigV4,
    /// What the settings, the URL or the environment say.
    region: Option<String>,
    variables: Arc<Variables>,
    skew: Arc<Skew>,
}

impl Aws {
    pub(super) fn new(
        settings: &SigV4,
        url: &Url,
        variables: &Arc<Variables>,
        skew: &Arc<Skew>,
    ) -> Result<Self, ConfigError> {
        let of_environment =
            || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| variables.get(name));
        let region = settings
            .region
            .as_deref()
            .or_else(|| aps_region(url.host_str()?))
            .or_else(of_environment)
            .map(str::to_owned);
        if region.as_deref().is_some_and(|region| !is_region(region)) {
            let text = "sigv4: AWS_REGION or AWS_DEFAULT_REGION is not a region";
            return Err(ConfigError::Refused(text.to_owned()));
        }
        let (variables, skew) = (Arc::clone(variables), Arc::clone(skew));
        Ok(Self { settings: settings.clone(), region, variables, skew })
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, TokenError> {
        let profiles = self.profiles().await?;
        let profile =
            self.settings.profile.as_deref().or_else(|| self.variables.get("AWS_PROFILE"));
        let region =
            self.region.as_deref().or_else(|| profiles.region(profile.unwrap_or("default")));
        let region = region.filter(|region| is_region(region)).ok_or_else(|| {
            TokenError::Settings(
                "sigv4: `region` is missing, and neither the URL nor AWS_REGION has it".to_owned(),
            )
        })?;
        let (mut temporary, mut roles) = self.found(&profiles, region).await?;
        roles.extend(self.settings.role_arn.as_ref().map(|arn| Role {
            external_id: self.settings.external_id.clone(),
            ..Role::named(arn)
        }));
        for role in roles {
            temporary = self.assume(&role, &temporary.keys, region).await?;
        }
        let TemporaryKeys { keys, lifetime } = temporary;
        let (region, service) = (region.to_owned(), self.settings.service.clone());
        Ok(Fetched { credential: Credential::Aws { keys, region, service }, lifetime })
    }

    /// The first credentials of the chain, and the roles that a profile assumes with them.
    async fn found(
        &self,
        profiles: &Profiles,
        region: &str,
    ) -> Result<(TemporaryKeys, Vec<Role>), TokenError> {
        if let Some(profile) = &self.settings.profile {
            return self.resolved(profiles.resolve(profile)?, region).await;
        }
        if let Some(keys) = self.environment()? {
            return Ok((keys, Vec::new()));
        }
        if let Some(file) = self.variables.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let role = Role::named(self.variables.require("AWS_ROLE_ARN")?);
            return Ok((self.web_identity(Path::new(file), &role, region).await?, Vec::new()));
        }
        let named = self.variables.get("AWS_PROFILE");
        let name = named.unwrap_or("default");
        if named.is_some() || profiles.has(name) {
            match profiles.resolve(name) {
                // It may have settings only.
                Err(ProfileError::Empty(_)) => {}
                resolved => return self.resolved(resolved?, region).await,
            }
        }
        if self.container_url()?.is_some() {
            return Ok((self.container().await?, Vec::new()));
        }
        Ok((self.instance().await?, Vec::new()))
    }

    async fn resolved(
        &self,
        Resolved { base, roles }: Resolved,
        region: &str,
    ) -> Result<(TemporaryKeys, Vec<Role>), TokenError> {
        let keys = match base {
            Base::Keys(keys) => TemporaryKeys { keys, lifetime: None },
            Base::WebIdentity { token_file, role } => {
                self.web_identity(&token_file, &role, region).await?
            }
            Base::Environment => self.environment()?.ok_or_else(|| {
                let text = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set";
                TokenError::Settings(text.to_owned())
            })?,
            Base::Container => self.container().await?,
            Base::Instance => self.instance().await?,
        };
        Ok((keys, roles))
    }

    /// The shared files. One that does not exist is empty.
    async fn profiles(&self) -> Result<Profiles, TokenError> {
        let file = |variable: &str, name: &str| {
            let named = self.variables.get(variable).map(PathBuf::from);
            let home = || Some(Path::new(self.variables.get("HOME")?).join(".aws").join(name));
            named.or_else(home)
        };
        let config = file("AWS_CONFIG_FILE", "config");
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let read = |path: Option<PathBuf>| match path.map(std::fs::read_to_string) {
            None => Ok(String::new()),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Some(read) => read.map_err(|error| {
                TokenError::Settings(format!("the shared files of AWS cannot be read: {error}"))
            }),
        };
        crate::blocking::run(move || Ok(Profiles::parse(&read(config)?, &read(credentials)?))).await
    }

    /// The keys of the environment, if it has both.
    fn environment(&self) -> Result<Option<TemporaryKeys>, TokenError> {
        let variable = |name: &str| self.variables.get(name).map(str::to_owned);
        let both = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
        let Some((id, secret)) = both else { return Ok(None) };
        let session = variable("AWS_SESSION_TOKEN").map(Into::into);
        let keys = Keys { id, secret: secret.into(), session };
        if let Some(part) = keys.unsendable() {
            let name = part.key().to_ascii_uppercase();
            return Err(TokenError::Settings(format!(
                "{name} cannot be sent: it has other characters than visible ASCII ones"
            )));
        }
        Ok(Some(TemporaryKeys { keys, lifetime: None }))
    }

    fn session_name<'r>(&'r self, role: &'r Role) -> &'r str {
        let named = role.session_name.as_deref();
        named.or_else(|| self.variables.get("AWS_ROLE_SESSION_NAME")).unwrap_or("loadline")
    }

    async fn web_identity(
        &self,
        token_file: &Path,
        role: &Role,
        region: &str,
    ) -> Result<TemporaryKeys, TokenError> {
        let name = "the web identity token";
        let token = SecretFile::line(name, Source::file(token_file)).content().await?;
        let url = self.sts(region)?;
        let parameters = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", STS_VERSION),
            ("RoleArn", role.arn.as_str()),
            ("RoleSessionName", self.session_name(role)),
            ("WebIdentityToken", token.expose_secret()),
        ];
        let request = form(&client(&url, None).await?, url, XML, &parameters);
        let reply = STS.call(request, &[token.expose_secret()]).await?;
        replies::sts_keys(&reply.body, reply.made()).map_err(|error| STS.unreadable(error))
    }

    async fn assume(
        &self,
        role: &Role,
        keys: &Keys,
        region: &str,
    ) -> Result<TemporaryKeys, TokenError> {
        let url = self.sts(region)?;
        let client = client(&url, None).await?;
        let mut parameters = vec![
            ("Action", "AssumeRole"),
            ("Version", STS_VERSION),
            ("RoleArn", role.arn.as_str()),
            ("RoleSessionName", self.session_name(role)),
            ("DurationSeconds", ROLE_SESSION),
        ];
        parameters.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
        let session = keys.session.as_ref().map(ExposeSecret::expose_secret);
        let secrets: Vec<_> = session.into_iter().chain([keys.secret.expose_secret()]).collect();
        let request = |at| {
            let (client, request) = form(&client, url.clone(), XML, &parameters).build_split();
            let unsent = |error: reqwest::Error| {
                TokenError::Settings(format!(
                    "{}: {}",
                    STS.name,
                    super::super::error::chain(&error)
                ))
            };
            let mut request = request.map_err(unsent)?;
            sign(&mut request, keys, Scope { region, service: "sts" }, at);
            Ok(RequestBuilder::from_parts(client, request))
        };
        let reply = STS.call_at(&self.skew, &secrets, request).await?;
        replies::sts_keys(&reply.body, reply.made()).map_err(|error| STS.unreadable(error))
    }

    fn sts(&self, region: &str) -> Result<Url, TokenError> {
        let of_region = || format!("https://sts.{region}.{}", Partition::of(region).domain);
        let url = self.variables.get("AWS_ENDPOINT_URL_STS").map_or_else(of_region, str::to_owned);
        guarded(&url, "AWS_ENDPOINT_URL_STS")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rules::auth;

    fn aws(settings: &str, url: &str, variables: &[(&str, &str)]) -> Aws {
        let crate::core::rules::Auth::SigV4(settings) = auth::load(settings).unwrap() else {
            panic!("{settings}")
        };
        let variables = Variables::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        Aws::new(&settings, &url.parse().unwrap(), &Arc::new(variables), &Arc::default()).unwrap()
    }

    #[test]
    fn the_region_is_that_of_the_settings_the_url_or_the_environment() {
        let amp = "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/w";
        for (settings, url, variables, wanted) in [
            ("sigv4: {region: us-east-1}", amp, &[][..], Some("us-east-1")),
            ("sigv4: {}", amp, &[("AWS_REGION", "eu-north-1")], Some("eu-west-1")),
            ("sigv4: {}", "https://h", &[("AWS_REGION", "eu-north-1")], Some("eu-north-1")),
            ("sigv4: {}", "https://h", &[("AWS_DEFAULT_REGION", "eu-north-1")], Some("eu-north-1")),
            ("sigv4: {}", "https://h", &[], None),
        ] {
            assert_eq!(aws(settings, url, variables).region.as_deref(), wanted, "{settings} {url}");
        }
    }

    #[test]
    fn keys_of_the_environment_are_trimmed_or_refused_by_their_name() {
        let of =
            |variables: &[(&str, &str)]| aws("sigv4: {}", "https://h", variables).environment();
        let id = ("AWS_ACCESS_KEY_ID", "AKID\n");
        let keys = of(&[
            id,
            ("AWS_SECRET_ACCESS_KEY", " hidden-key\r\n"),
            ("AWS_SESSION_TOKEN", "hidden-token\n"),
        ]);
        let keys = keys.unwrap().unwrap().keys;
        assert_eq!((keys.id.as_str(), keys.secret.expose_secret()), ("AKID", "hidden-key"));
        assert_eq!(keys.session.unwrap().expose_secret(), "hidden-token");
        assert!(of(&[id, ("AWS_SECRET_ACCESS_KEY", "\n")]).unwrap().is_none(), "empty is absent");
        let secret = ("AWS_SECRET_ACCESS_KEY", "hidden-key");
        for (variables, name) in [
            ([("AWS_ACCESS_KEY_ID", "hidden\nkey"), secret], "AWS_ACCESS_KEY_ID"),
            ([id, ("AWS_SECRET_ACCESS_KEY", "hidden\nkey")], "AWS_SECRET_ACCESS_KEY"),
        ] {
            let error = of(&variables).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("hidden"), "{error}");
        }
        let error =
            of(&[id, secret, ("AWS_SESSION_TOKEN", "hidden\u{7f}")]).unwrap_err().to_string();
        assert!(error.contains("AWS_SESSION_TOKEN") && !error.contains("hidden"), "{error}");
    }

    #[test]
    fn sts_is_in_the_partition_of_the_region() {
        for (region, wanted) in [
            ("eu-west-1", "https://sts.eu-west-1.amazonaws.com/"),
            ("us-gov-west-1", "https://sts.us-gov-west-1.amazonaws.com/"),
            ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
            ("us-isob-east-1", "https://sts.us-isob-east-1.sc2s.sgov.gov/"),
            ("us-isof-south-1", "https://sts.us-isof-south-1.csp.hci.ic.gov/"),
            ("eu-isoe-west-1", "https://sts.eu-isoe-west-1.cloud.adc-e.uk/"),
            ("eusc-de-east-1", "https://sts.eusc-de-east-1.amazonaws.eu/"),
        ] {
            assert_eq!(aws("sigv4: {}", "https://h", &[]).sts(region).unwrap().as_str(), wanted);
        }
        let override_of = |url| aws("sigv4: {}", "https://h", &[("AWS_ENDPOINT_URL_STS", url)]);
        assert!(override_of("https://sts.example").sts("eu-west-1").is_ok());
        assert!(override_of("http://sts.example").sts("eu-west-1").is_err());
    }
}
