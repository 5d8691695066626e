//! A token endpoint that refuses, for commands that need its tokens.

use std::{fs, path::Path};

use serde_json::json;

use super::backend::{Answer, Asked, Backend};

/// What nobody may be shown: the secret of the client, and it in the header of basic authentication.
pub(crate) const SECRETS: [&str; 2] = ["client-secret", "dGhlK2NsaWVudDpjbGllbnQtc2VjcmV0"];

/// It repeats what it was shown.
pub(crate) fn refusing(asked: &Asked) -> Answer {
    let said = format!("{} {:?}", asked.body, asked.headers);
    let body = json!({"error": "invalid_client", "error_description": said});
    Answer::Raw(401, "application/json", body.to_string())
}

/// Whether people are told who has refused, and how.
pub(crate) fn tells_of_refusal(text: &str) -> bool {
    ["token endpoint", "401", "invalid_client"].iter().all(|word| text.contains(word))
}

/// The flag by which tokens are fetched there. The client is known by its secret in the body (`post`) or in a header (`basic`).
pub(crate) fn oauth2(folder: &Path, endpoint: &Backend, client_auth: &str) -> String {
    format!("--prometheus-auth={}", auth(folder, endpoint, client_auth))
}

/// The same as `auth` of a backend.
pub(crate) fn auth(folder: &Path, endpoint: &Backend, client_auth: &str) -> String {
    let secret = folder.join("client");
    fs::write(&secret, "client-secret\n").expect("a written file");
    let (url, secret) = (&endpoint.url, secret.display());
    format!(
        "{{oauth2: {{tokenURL: '{url}/token', clientID: 'the client', clientSecretFile: '{secret}', clientAuth: {client_auth}}}}}"
    )
}
