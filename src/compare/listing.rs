//! Which metrics both servers list.

use std::collections::BTreeMap;

use super::{Error, Side};
use crate::{
    core::compare::{Differences, Listed, MetricsApi, Sides, lists},
    kubernetes::reader::Refused,
    wire::{
        answer,
        discovery::{CUSTOM, EXTERNAL, Group, RESOURCE},
    },
};

/// A metric to compare.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    /// Its API.
    pub(super) api: MetricsApi,
    /// Where each server has the API: `/apis/GROUP/VERSION`.
    pub(super) prefixes: Sides<String>,
    /// As the API lists it.
    pub(super) name: String,
    /// Whether it is read of a namespace.
    pub(super) namespaced: bool,
    /// Whether only the reference lists it.
    pub(super) is_only_reference: bool,
}

impl Metric {
    /// The name without its resource.
    pub(super) fn bare(&self) -> &str {
        self.name.split_once('/').map_or(self.name.as_str(), |(_, name)| name)
    }

    /// Whether its objects are namespaces.
    pub(super) fn is_of_namespaces(&self) -> bool {
        self.api == MetricsApi::Custom && self.name.starts_with("namespaces/")
    }
}

fn group(api: MetricsApi) -> Group {
    match api {
        MetricsApi::Custom => CUSTOM,
        MetricsApi::External => EXTERNAL,
        MetricsApi::Resource => RESOURCE,
    }
}

/// The metrics to read. What is seen from the lists alone goes to `differences` and `notes`.
pub(super) async fn metrics(
    sides: Sides<&Side>,
    wanted: &[String],
    differences: &mut Differences,
    notes: &mut Vec<String>,
) -> Result<Vec<Metric>, Error> {
    let is_wanted = |name: &str| {
        let bare = name.split_once('/').map_or(name, |(_, bare)| bare);
        wanted.is_empty() || wanted.iter().any(|it| it == name || it == bare)
    };
    let mut metrics = Vec::new();
    for api in MetricsApi::ALL {
        let Some((prefixes, listed)) = listed(sides, api, notes).await? else { continue };
        let Listed { both, only_reference, findings } = lists(listed);
        for (name, finding) in findings.into_iter().filter(|(name, _)| is_wanted(name)) {
            differences.add(api, &name, None, finding);
        }
        let all = both.into_iter().map(|it| (it, false));
        let all = all.chain(only_reference.into_iter().map(|it| (it, true)));
        metrics.extend(all.filter(|((name, _), _)| is_wanted(name)).map(
            |((name, namespaced), is_only_reference)| Metric {
                api,
                prefixes: prefixes.clone(),
                name,
                namespaced,
                is_only_reference,
            },
        ));
    }
    if metrics.is_empty() {
        let named =
            if wanted.is_empty() { String::new() } else { format!(" named {}", wanted.join(", ")) };
        return Err(Error::NoMetrics { side: sides.reference.name().to_owned(), named });
    }
    Ok(metrics)
}

type Lists = (Sides<String>, Sides<BTreeMap<String, bool>>);

/// Where both have an API, and what they list there; nothing where there is nothing to compare.
async fn listed(
    sides: Sides<&Side>,
    api: MetricsApi,
    notes: &mut Vec<String>,
) -> Result<Option<Lists>, Error> {
    let group = group(api);
    let (reference, with) =
        futures::join!(versions(sides.reference, group), versions(sides.with, group));
    let versions = Sides { reference: reference?, with: with? };
    let is_served = |version: &&&str, side: &[String]| side.iter().any(|it| it == **version);
    let shared = group.versions.iter().find(|version| {
        is_served(version, &versions.reference) && is_served(version, &versions.with)
    });
    let version = |side: &[String]| {
        shared.or_else(|| group.versions.iter().find(|version| is_served(version, side)))
    };
    let found = Sides { reference: version(&versions.reference), with: version(&versions.with) };
    let prefix = |version: &str| format!("/apis/{}/{version}", group.name);
    let prefixes = match (found.reference, found.with) {
        (None, None) => return Ok(None),
        (Some(reference), Some(with)) => Sides { reference: prefix(reference), with: prefix(with) },
        // Another server may serve it, as metrics-server does, and go on with it.
        (Some(_), None) | (None, Some(_)) if api == MetricsApi::Resource => {
            let only = if found.reference.is_some() { sides.reference } else { sides.with };
            notes.push(format!("{} was not compared: only {} serves it", group.name, only.name()));
            return Ok(None);
        }
        (Some(version), None) | (None, Some(version)) => {
            Sides { reference: prefix(version), with: prefix(version) }
        }
    };
    let resources = async |side: &Side, prefix: &str| match side.read(prefix).await {
        Ok(text) => {
            answer::resources(&text).map_err(|error| unread(side, &format!("{prefix}: {error}")))
        }
        Err(refused) if refused.unread.is_absent() => Ok(BTreeMap::new()),
        Err(refused) => Err(of(side, prefix, &refused)),
    };
    let (reference, with) = futures::join!(
        resources(sides.reference, &prefixes.reference),
        resources(sides.with, &prefixes.with)
    );
    Ok(Some((prefixes, Sides { reference: reference?, with: with? })))
}

/// The versions in which a server has a group; none where it does not serve it.
async fn versions(side: &Side, group: Group) -> Result<Vec<String>, Error> {
    let path = format!("/apis/{}", group.name);
    match side.read(&path).await {
        Ok(text) => {
            answer::versions(&text).map_err(|error| unread(side, &format!("{path}: {error}")))
        }
        Err(refused) if refused.unread.is_absent() => Ok(Vec::new()),
        Err(refused) => Err(of(side, &path, &refused)),
    }
}

fn unread(side: &Side, message: &str) -> Error {
    Error::Unread { side: side.name().to_owned(), message: message.to_owned(), is_forbidden: false }
}

/// Why a server cannot be compared that does not answer a question.
pub(super) fn of(side: &Side, path: &str, refused: &Refused) -> Error {
    Error::Unread {
        side: side.name().to_owned(),
        message: format!("{path}: {}", refused.unread),
        is_forbidden: refused.unread.is_forbidden(),
    }
}
