//! Who may do what.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use crate::{
    core::{
        explain::{Inquiry, Subject as Of},
        installation::{
            Finding, Subject, Who,
            access::{self, RIGHTS, Right},
        },
    },
    explain::cluster::{CONTROLLER, Cluster, ServiceAccount},
};

/// Reviews the rights of the controller of autoscalers on these metrics, and those of the server behind its Service; `candidate` is
/// the one that may be its Service where that is not known. `config_maps` are the namespaces of ConfigMaps with rules, if the server
/// reads such; where it is empty, its own.
pub(super) async fn look(
    cluster: &Cluster,
    listed: &[Inquiry],
    (service, candidate): (Option<&str>, Option<&str>),
    config_maps: Option<&BTreeSet<Arc<str>>>,
) -> Vec<Finding> {
    let mut reviews = Vec::new();
    for inquiry in listed {
        let reviewed = cluster.controller_may(inquiry).await;
        reviews.push((called(inquiry), reviewed.map_err(|unread| unread.to_string())));
    }
    let mut findings = Vec::new();
    findings.extend(access::controller(&CONTROLLER.to_string(), &reviews));
    findings.extend(server(cluster, (service, candidate), config_maps).await);
    findings
}

fn called(inquiry: &Inquiry) -> String {
    match &inquiry.subject {
        Of::Objects { resource, .. } => format!("{resource}/{}", inquiry.metric),
        Of::External | Of::Usage { .. } => inquiry.metric.clone(),
    }
}

async fn server(
    cluster: &Cluster,
    (service, candidate): (Option<&str>, Option<&str>),
    config_maps: Option<&BTreeSet<Arc<str>>>,
) -> Vec<Finding> {
    let unknown = |why: &str| {
        let message = format!("the rights of the server are not known: {why}");
        vec![Finding::unchecked(Subject::Access(Who::Server), message)]
    };
    let Some((namespace, name)) = service.and_then(|service| service.split_once('/')) else {
        return unknown(&match candidate {
            Some(candidate) => format!("whether Service {candidate} is loadline's is not known"),
            None => "no Service of loadline is registered".to_owned(),
        });
    };
    let account = match account(cluster, namespace, name).await {
        Ok(account) => account,
        Err(why) => return unknown(&why),
    };
    let account = ServiceAccount { namespace, name: &account };
    let mut reviews = Vec::new();
    let own = BTreeSet::from([Arc::from(namespace)]);
    let config_maps = config_maps.map(|chosen| if chosen.is_empty() { &own } else { chosen });
    let of_config_maps =
        config_maps.into_iter().flatten().flat_map(|namespace| access::of_config_maps(namespace));
    for right in RIGHTS.iter().cloned().chain(of_config_maps) {
        let reviewed = cluster.may(account, &attributes(&right)).await;
        reviews.push((right, reviewed.map_err(|unread| unread.to_string())));
    }
    access::server(&account.to_string(), &reviews)
}

/// The service account of the pods behind a Service.
async fn account(cluster: &Cluster, namespace: &str, name: &str) -> Result<String, String> {
    let place = format!("/api/v1/namespaces/{namespace}");
    let services = cluster.reader().list(&format!("{place}/services"), "Service").await;
    let services = services.map_err(|unread| unread.to_string())?;
    let is_it =
        |service: &&Value| service.pointer("/metadata/name").and_then(Value::as_str) == Some(name);
    let service = services.iter().find(is_it);
    let service = service.ok_or_else(|| format!("there is no Service {namespace}/{name}"))?;
    if service.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName") {
        let text = "leads out of the cluster (ExternalName), so its service account is not known";
        return Err(format!("Service {namespace}/{name} {text}"));
    }
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    let pairs = selector.into_iter().flatten();
    let pairs = pairs.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    let selector = pairs.collect::<Vec<_>>().join(",");
    if selector.is_empty() {
        return Err(format!("Service {namespace}/{name} selects no pods"));
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("labelSelector", &selector).append_pair("limit", "1");
    let pods = cluster.reader().get(&format!("{place}/pods?{}", query.finish())).await;
    let pods = pods.map_err(|unread| unread.to_string())?;
    let account = pods.pointer("/items/0/spec/serviceAccountName").and_then(Value::as_str);
    account.map(str::to_owned).ok_or_else(|| format!("Service {namespace}/{name} has no pods"))
}

fn attributes(right: &Right) -> Value {
    let Right { verb, group, resource, namespace, name, .. } = right;
    json!({"verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name})
}
