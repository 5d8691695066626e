//! The keys of `auth`.

use super::{Key, Kind, Shape, key, required, table::CA_FILE};

/// The most entries of one `scopes`, and of one `endpointParams`.
const MAX_SCOPES: usize = 20;

pub(in crate::core::rules) static AUTH: Shape = Shape {
    name: "auth",
    doc: "Exactly one of the keys. Tokens are renewed before they end, and files read again.",
    keys: &[
        key("sigv4", Kind::Object(&SIGV4), "AWS Signature Version 4."),
        key("entra", Kind::Object(&ENTRA), "A token of Microsoft Entra ID."),
        key("google", Kind::Object(&GOOGLE), "A token of Google Cloud."),
        key("oauth2", Kind::Object(&OAUTH2), "A token of the OAuth 2.0 client credentials grant."),
        key("basic", Kind::Object(&BASIC), "A user and a password."),
        key("bearer", Kind::Object(&BEARER), "A token in a file."),
    ],
};

const SCOPES: Key = key("scopes", Kind::Words(MAX_SCOPES), "What the token is for.");

static SIGV4: Shape = Shape {
    name: "sigv4",
    doc: "AWS Signature Version 4, as Amazon Managed Service for Prometheus asks for. The credentials are found as by the AWS SDKs: environment, web identity (IRSA), shared files, EKS Pod Identity or ECS, instance metadata (IMDSv2).",
    keys: &[
        key("region", Kind::NonEmpty, "The region. By default that of the URL, else AWS_REGION."),
        key("service", Kind::NonEmpty, "The signing name of the service. By default `aps`."),
        key("roleARN", Kind::NonEmpty, "A role that is assumed with the credentials found."),
        key("externalID", Kind::NonEmpty, "The external ID that the role asks for."),
        key(
            "profile",
            Kind::NonEmpty,
            "The profile of the shared files that has the credentials. Nothing else is tried then.",
        ),
    ],
};

static ENTRA: Shape = Shape {
    name: "entra",
    doc: "Microsoft Entra ID, as Azure Monitor asks for.",
    keys: &[
        key("tenantID", Kind::NonEmpty, "The tenant. By default AZURE_TENANT_ID."),
        key(
            "clientID",
            Kind::NonEmpty,
            "The application, or the user-assigned managed identity. By default AZURE_CLIENT_ID.",
        ),
        key("clientSecretFile", Kind::NonEmpty, "A file with a secret of the application."),
        key(
            "identity",
            Kind::Choice(&["workload", "managed"]),
            "Without `clientSecretFile`: the token of the service account (`workload`), or the metadata server (`managed`). By default `workload` if AZURE_FEDERATED_TOKEN_FILE is set, else `managed`.",
        ),
        key(
            "cloud",
            Kind::Choice(&["public", "government", "china"]),
            "The cloud. By default that of AZURE_AUTHORITY_HOST, else `public`.",
        ),
        key(
            "scope",
            Kind::NonEmpty,
            "What the token is for. By default `https://prometheus.monitor.azure.com/.default`, or that of the cloud.",
        ),
    ],
};

static GOOGLE: Shape = Shape {
    name: "google",
    doc: "Google Cloud, as Managed Service for Prometheus asks for.",
    keys: &[
        key(
            "credentialsFile",
            Kind::NonEmpty,
            "The key of a service account, as JSON. By default GOOGLE_APPLICATION_CREDENTIALS, else the metadata server, which workload identity uses.",
        ),
        Key {
            doc: "The OAuth scopes. By default `https://www.googleapis.com/auth/monitoring.read`.",
            ..SCOPES
        },
    ],
};

static OAUTH2: Shape = Shape {
    name: "oauth2",
    doc: "The OAuth 2.0 client credentials grant.",
    keys: &[
        required("tokenURL", Kind::NonEmpty, "The token endpoint."),
        required("clientID", Kind::NonEmpty, "The client."),
        required("clientSecretFile", Kind::NonEmpty, "A file with the client's secret."),
        SCOPES,
        key(
            "endpointParams",
            Kind::Parameters(MAX_SCOPES),
            "Further parameters of the request, such as `audience`.",
        ),
        key(
            "clientAuth",
            Kind::Choice(&["basic", "post"]),
            "Where client and secret are in the request: in its header (`basic`, the default) or its body (`post`).",
        ),
        Key {
            doc: "The certification authorities that the endpoint's certificate is checked with. By default the system's.",
            ..CA_FILE
        },
    ],
};

static BASIC: Shape = Shape {
    name: "basic",
    doc: "Basic authentication.",
    keys: &[
        required("username", Kind::NonEmpty, "The user."),
        required(
            "passwordFile",
            Kind::NonEmpty,
            "A file with the password; read again when it changes.",
        ),
    ],
};

static BEARER: Shape = Shape {
    name: "bearer",
    doc: "A bearer token in a file.",
    keys: &[required(
        "tokenFile",
        Kind::NonEmpty,
        "A file with the token; read again when it changes.",
    )],
};
