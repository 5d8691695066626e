//! `TriggerAuthentication` and `ClusterTriggerAuthentication`: where the parameters of a trigger's authentication are.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Context, Fields, LAST_APPLIED, Note, Notes, Object, RulesDraft, Settings, fields,
    take_server_fields,
};
use crate::core::{
    excerpt, key_path::KeyPath, kinds::is_object_name, rules::DEFAULT_FOLDER as FOLDER,
};

const OF_CLUSTER: &str = "ClusterTriggerAuthentication";

/// All that there are.
pub(super) struct Authentications(Vec<Entry>);

struct Entry {
    kind: String,
    object: Object,
    document: Map<String, Value>,
    parameters: Option<Parameters>,
    notes: Notes,
}

/// Where the parameters are.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(pub(super) BTreeMap<String, Source>);

/// Where a parameter is.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// In a file of a Secret or ConfigMap, once that is mounted.
    File {
        /// The folder of the Secret or ConfigMap.
        folder: String,
        /// The file in it.
        key: String,
    },
    /// It is the token of a service account.
    ServiceAccount,
}

impl Source {
    pub(super) fn path(folder: &str, key: &str) -> String {
        format!("{FOLDER}/{folder}/{key}")
    }
}

impl Authentications {
    pub(super) fn new(documents: Vec<Value>, settings: &Settings) -> Self {
        let entries = documents.into_iter().filter_map(|document| {
            let kind = super::text(&document, "/kind").to_owned();
            let mut object = Object::of(&kind, &document, settings);
            if kind == OF_CLUSTER {
                object.namespace = None;
                object.called = super::called(&kind, None, &object.name);
            }
            let Value::Object(document) = document else { return None };
            let notes = Notes::about(object.called.clone());
            Some(Entry { kind, object, document, parameters: None, notes })
        });
        Self(entries.collect())
    }

    /// The parameters of the one that an object's trigger refers to; nothing if it is not there.
    pub(super) fn find(
        &mut self,
        (kind, name): (&str, &str),
        of: &Object,
        rules: &mut RulesDraft,
    ) -> Option<Parameters> {
        let entry = self.0.iter_mut().find(|entry| {
            let is_near = kind == OF_CLUSTER || entry.object.namespace == of.namespace;
            entry.kind == kind && entry.object.name == name && is_near
        })?;
        let Entry { object, document, parameters, notes, kind } = entry;
        let read = parameters.get_or_insert_with(|| {
            // KEDA looks for what a ClusterTriggerAuthentication names in a namespace of its own.
            let namespace =
                if kind == OF_CLUSTER { Some("keda") } else { object.namespace.as_deref() };
            parameters_of(document.clone(), namespace, rules, notes)
        });
        Some(read.clone())
    }

    pub(super) fn into_notes(self) -> Vec<Note> {
        let notes = self.0.into_iter().flat_map(|mut entry| {
            if entry.parameters.is_none() {
                let text = "no trigger of Prometheus refers to it";
                entry.notes.note(&KeyPath::default(), text);
            }
            entry.notes.into_notes()
        });
        notes.collect()
    }
}

impl Context<'_> {
    /// The parameters that a trigger's `authenticationRef` refers to.
    pub(super) fn parameters(
        &mut self,
        trigger: &mut Fields,
        object: &Object,
        notes: &mut Notes,
    ) -> Parameters {
        let reference = trigger.mapping("authenticationRef", notes, |reference, _| {
            let kind = reference.text("kind");
            (kind.unwrap_or_else(|| "TriggerAuthentication".to_owned()), reference.text("name"))
        });
        let Some((kind, name)) = reference else { return Parameters::default() };
        let name = name.unwrap_or_default();
        let found = self.authentications.find((&kind, &name), object, &mut self.rules);
        found.unwrap_or_else(|| {
            let path = trigger.path("authenticationRef");
            let kind = if kind == OF_CLUSTER { OF_CLUSTER } else { "TriggerAuthentication" };
            notes.cannot(&path, format!("this {kind} is not among the objects: pass it as well, or name the credentials of the backend yourself"));
            Parameters::default()
        })
    }
}

fn parameters_of(
    document: Map<String, Value>,
    namespace: Option<&str>,
    rules: &mut RulesDraft,
    notes: &mut Notes,
) -> Parameters {
    let read = fields::mapping(KeyPath::default(), document, notes, |document, notes| {
        document.take("kind");
        document.take("status");
        super::api_version(document, notes);
        document.mapping("metadata", notes, |metadata, notes| {
            for key in ["name", "namespace", "finalizers", "ownerReferences"] {
                metadata.take(key);
            }
            take_server_fields(metadata);
            for key in ["labels", "annotations"] {
                if metadata.texts(key, notes).keys().any(|key| key != LAST_APPLIED) {
                    notes.note(&metadata.path(key), "there is no object that could have them");
                }
            }
        });
        document.mapping("spec", notes, |spec, notes| of_spec(spec, namespace, rules, notes))
    });
    read.unwrap_or_default()
}

/// The parameters that are in Secrets and ConfigMaps.
fn files(
    spec: &mut Fields,
    namespace: Option<&str>,
    rules: &mut RulesDraft,
    notes: &mut Notes,
) -> BTreeMap<String, Source> {
    let mut parameters = BTreeMap::new();
    for (list, kind) in [("secretTargetRef", "Secret"), ("configMapTargetRef", "ConfigMap")] {
        let path = spec.path(list);
        let targets = spec.mappings(list, notes, |target, notes| {
            let [parameter, name, key] = ["parameter", "name", "key"].map(|key| target.text(key));
            let Some(((parameter, name), key)) = parameter.zip(name).zip(key) else {
                notes.cannot(&target.path("key"), "parameter, name and key are required");
                return None;
            };
            let checks =
                [("name", &name, is_object_name(&name)), ("key", &key, is_file_name(&key))];
            for (field, text, _) in checks.iter().filter(|(.., is_good)| !is_good) {
                let text = excerpt::excerpt(text, excerpt::NAME);
                let text = format!("`{text}` cannot be the {field} of a {kind}");
                notes.cannot(&target.path(field), text);
            }
            let is_good = checks.iter().all(|(.., is_good)| *is_good);
            is_good.then_some((parameter, name, key))
        });
        if let Some(namespace) = namespace.filter(|namespace| !is_object_name(namespace)) {
            if !targets.is_empty() {
                let namespace = excerpt::excerpt(namespace, excerpt::NAME);
                notes.cannot(&path, format!("`{namespace}` cannot be the name of a namespace"));
            }
            continue;
        }
        for (parameter, name, key) in targets.into_iter().flatten() {
            let folder = rules.folder(kind, namespace, &name);
            let place = namespace.map(|it| format!(" of namespace {it}")).unwrap_or_default();
            let new = if folder == name { String::new() } else { format!(" as {folder}") };
            let by = if kind == "Secret" {
                format!(" (`backendCredentials: [{folder}]` of the chart)")
            } else {
                String::new()
            };
            let text = format!(
                "copy the {kind} {name}{place} to loadline's namespace{new}, and mount it at {FOLDER}/{folder}{by}"
            );
            notes.note(&path, text);
            parameters.insert(parameter, Source::File { folder, key });
        }
    }
    parameters
}

/// Whether a text can be a key of a Secret or ConfigMap, and so the name of a file.
fn is_file_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=253).contains(&text.len())
        && text.chars().all(is_plain)
        && text != "."
        && !text.starts_with("..")
}

fn of_spec(
    spec: &mut Fields,
    namespace: Option<&str>,
    rules: &mut RulesDraft,
    notes: &mut Notes,
) -> Parameters {
    let mut parameters = files(spec, namespace, rules, notes);
    let path = spec.path("boundServiceAccountToken");
    let accounts = spec.mappings("boundServiceAccountToken", notes, |token, notes| {
        let whole = token.text("parameter").zip(token.text("serviceAccountName"));
        if whole.is_none() {
            let text = "parameter and serviceAccountName are required";
            notes.cannot(&token.path("parameter"), text);
        }
        whole
    });
    for (parameter, account) in accounts.into_iter().flatten() {
        let account = excerpt::excerpt(&account, excerpt::NAME);
        notes.note(&path, format!("the backend gets the token of loadline's own service account: give that the rights of {account}"));
        parameters.insert(parameter, Source::ServiceAccount);
    }
    let identity = spec.mapping("podIdentity", notes, |identity, _| {
        let provider = identity.text("provider").unwrap_or_else(|| "none".to_owned());
        identity.take_all();
        provider
    });
    if identity.is_some_and(|provider| provider != "none") {
        let text = "loadline has no identity of a cloud: put a proxy that signs requests in front of the server, such as aws-sigv4-proxy or Google's frontend of Managed Service for Prometheus, and have the backend name that";
        notes.cannot(&spec.path("podIdentity"), text);
    }
    for (key, what) in [
        (
            "env",
            "loadline reads no environment of a workload: put the value into a Secret, and name its file in the backend",
        ),
        ("filePath", "put the values into a Secret, and name its files in the backend"),
        ("hashiCorpVault", FROM_VAULT),
        ("azureKeyVault", FROM_VAULT),
        ("gcpSecretManager", FROM_VAULT),
        ("awsSecretManager", FROM_VAULT),
        (
            "oauth2",
            "loadline fetches no OAuth2 tokens: have a sidecar write the token to a file below /etc/loadline, and name it as `tokenFile` of the backend",
        ),
    ] {
        if spec.take(key).is_some() {
            notes.cannot(&spec.path(key), what);
        }
    }
    Parameters(parameters)
}

const FROM_VAULT: &str = "loadline reads files: mount the values below /etc/loadline, for example by the Secrets Store CSI driver, and name the files in the backend";
