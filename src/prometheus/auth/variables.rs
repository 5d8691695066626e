//! The variables of the environment by which clouds tell a process what it is.

use std::{collections::BTreeMap, fmt};

use secrecy::{ExposeSecret, SecretString};

/// The variables that are read. AWS's are those of the AWS SDKs and Tools reference guide, Azure's those of its workload identity
/// webhook and its SDKs, and Google's those of its client libraries.
const NAMES: [&str; 23] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL_STS",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_TENANT_ID",
];

/// The same of Google, and where the home of the user is.
const MORE: [&str; 3] = ["GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "HOME"];

/// Their values at the start of the process. Not shown by `Debug`.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<&'static str, SecretString>);

impl Variables {
    /// Reads each variable by this function, without white space at its ends, as of a Secret that was made by `echo`. An empty one counts
    /// as absent.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let names = NAMES.into_iter().chain(MORE);
        let values = names.filter_map(|name| {
            let value = SecretString::from(variable(name)?);
            let value = value.expose_secret().trim();
            (!value.is_empty()).then(|| (name, value.into()))
        });
        Self(values.collect())
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(NAMES.contains(&name) || MORE.contains(&name), "{name} is not read");
        self.0.get(name).map(ExposeSecret::expose_secret)
    }

    /// The value of a variable whose absence is an error.
    pub(super) fn require(&self, name: &str) -> Result<&str, super::TokenError> {
        self.get(name).ok_or_else(|| super::TokenError::Settings(format!("{name} is not set")))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
