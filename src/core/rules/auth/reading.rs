//! Reads `auth` of a backend.

use std::path::PathBuf;

use super::{
    super::{
        EntryProblems, Problem,
        backend::http_url,
        fields::{Fields, Text},
        form,
        keys::AUTH,
    },
    APS, Auth, ClientAuth, Cloud, Entra, Google, Identity, OAuth2, SigV4, is_region, is_tenant,
};
use crate::core::{
    key_path::KeyPath,
    yaml::{self, Place},
};

/// Reads what `auth` of a backend may hold, from a text of its own.
///
/// # Errors
///
/// Every problem of the text.
pub fn load(text: &str) -> Result<Auth, Vec<Problem>> {
    let documents = yaml::documents(text).map_err(|error| vec![Problem::from(error)])?;
    let [root] = documents.as_slice() else {
        let message = "one mapping is expected";
        return Err(vec![Problem::new(None, KeyPath::default(), message)]);
    };
    let fields = form::read_auth(root)?;
    let mut problems = Vec::new();
    let auth = compile(&fields, &mut EntryProblems::new(KeyPath::default(), &mut problems));
    match auth {
        Some(auth) if problems.is_empty() => Ok(auth),
        _ => Err(problems),
    }
}

/// Compiles a mapping with exactly one key.
pub(in crate::core::rules) fn compile(
    fields: &Fields<'_>,
    problems: &mut EntryProblems<'_>,
) -> Option<Auth> {
    let within = |key: &'static str| fields.object(key).map(|of| (key, of));
    let (kind, of) = AUTH.keys.iter().find_map(|key| within(key.name))?;
    let mut problem = |place: Place, key: &'static str, message: &str| {
        problems.add(place, [kind, key], message);
    };
    Some(match kind {
        "sigv4" => Auth::SigV4(sigv4(&of, &mut problem)?),
        "entra" => Auth::Entra(entra(&of, &mut problem)?),
        "google" => Auth::Google(Google {
            credentials_file: file(&of, "credentialsFile"),
            scopes: of.texts("scopes").into_iter().map(|text| text.value).collect(),
        }),
        "oauth2" => Auth::OAuth2(oauth2(&of, &mut problem)?),
        "basic" => {
            let user = of.text("username");
            if user.value.contains(':') {
                let message =
                    "basic authentication cannot send a `:` in it: the password would begin there";
                problem(user.place, "username", message);
                return None;
            }
            Auth::Basic { username: user.value, password_file: file(&of, "passwordFile")? }
        }
        _ => Auth::Bearer { token_file: file(&of, "tokenFile")? },
    })
}

fn given(of: &Fields<'_>, key: &str) -> Option<Text> {
    Some(of.text(key)).filter(|text| !text.value.is_empty())
}

fn value(of: &Fields<'_>, key: &str) -> Option<String> {
    given(of, key).map(|text| text.value)
}

fn file(of: &Fields<'_>, key: &str) -> Option<PathBuf> {
    value(of, key).map(PathBuf::from)
}

fn sigv4(of: &Fields<'_>, problem: &mut impl FnMut(Place, &'static str, &str)) -> Option<SigV4> {
    let region = given(of, "region");
    if let Some(wrong) = region.as_ref().filter(|region| !is_region(&region.value)) {
        problem(wrong.place, "region", "a region such as `eu-west-1` is expected");
        return None;
    }
    let service = given(of, "service");
    if let Some(wrong) = service.as_ref().filter(|service| !is_service(&service.value)) {
        problem(wrong.place, "service", "a signing name such as `aps` is expected");
        return None;
    }
    let role = given(of, "roleARN");
    if let Some(wrong) = role.as_ref().filter(|role| !is_role(&role.value)) {
        let message =
            "the ARN of a role, such as `arn:aws:iam::123456789012:role/NAME`, is expected";
        problem(wrong.place, "roleARN", message);
        return None;
    }
    if let (Some(external), None) = (given(of, "externalID"), &role) {
        problem(external.place, "externalID", "it is for a role: `roleARN` is missing");
        return None;
    }
    Some(SigV4 {
        region: region.map(|region| region.value),
        service: service.map_or_else(|| APS.to_owned(), |service| service.value),
        role_arn: role.map(|role| role.value),
        external_id: value(of, "externalID"),
        profile: value(of, "profile"),
    })
}

/// Whether a text can be the signing name of a service: it becomes a part of a header.
fn is_service(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_role(text: &str) -> bool {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", _, "iam", "", _, name] if name.starts_with("role/"))
}

fn entra(of: &Fields<'_>, problem: &mut impl FnMut(Place, &'static str, &str)) -> Option<Entra> {
    let tenant = given(of, "tenantID");
    if let Some(wrong) = tenant.as_ref().filter(|tenant| !is_tenant(&tenant.value)) {
        problem(wrong.place, "tenantID", "the ID or the domain of a tenant is expected");
        return None;
    }
    let secret = given(of, "clientSecretFile");
    let identity = given(of, "identity");
    if let (Some(_), Some(identity)) = (&secret, &identity) {
        let message = "`clientSecretFile` and `identity` exclude each other";
        problem(identity.place, "identity", message);
        return None;
    }
    Some(Entra {
        tenant_id: tenant.map(|tenant| tenant.value),
        client_id: value(of, "clientID"),
        client_secret_file: secret.map(|secret| secret.value.into()),
        identity: identity.and_then(|identity| match identity.value.as_str() {
            "workload" => Some(Identity::Workload),
            "managed" => Some(Identity::Managed),
            _ => None,
        }),
        cloud: given(of, "cloud").and_then(|cloud| match cloud.value.as_str() {
            "public" => Some(Cloud::Public),
            "government" => Some(Cloud::Government),
            "china" => Some(Cloud::China),
            _ => None,
        }),
        scope: value(of, "scope"),
    })
}

fn oauth2(of: &Fields<'_>, problem: &mut impl FnMut(Place, &'static str, &str)) -> Option<OAuth2> {
    let url = of.text("tokenURL");
    let token_url = match http_url(&url.value) {
        Ok(parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            problem(
                url.place,
                "tokenURL",
                "a URL without user and password is expected: see `clientID`",
            );
            None
        }
        Ok(parsed) if parsed.fragment().is_some() => {
            problem(url.place, "tokenURL", "a URL without `#` is expected");
            None
        }
        Ok(parsed) => Some(parsed),
        Err(message) => {
            problem(url.place, "tokenURL", &message);
            None
        }
    };
    let own = ["grant_type", "scope", "client_id", "client_secret"];
    let endpoint_params = of.pairs("endpointParams");
    if let Some((name, wrong)) =
        endpoint_params.iter().find(|(name, _)| own.contains(&name.as_str()))
    {
        let message = format!("`{name}` is set by other keys");
        problem(wrong.place, "endpointParams", &message);
        return None;
    }
    Some(OAuth2 {
        token_url: token_url?,
        client_id: of.text("clientID").value,
        client_secret_file: file(of, "clientSecretFile")?,
        scopes: of.texts("scopes").into_iter().map(|text| text.value).collect(),
        endpoint_params: endpoint_params
            .into_iter()
            .map(|(name, text)| (name, text.value))
            .collect(),
        client_auth: match of.text("clientAuth").value.as_str() {
            "post" => ClientAuth::Post,
            _ => ClientAuth::Basic,
        },
        ca_file: file(of, "caFile"),
    })
}
