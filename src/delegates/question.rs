//! A read as a delegate is asked for it.

use crate::{
    core::{delegation::Read, explain::Api, kinds::GroupResource, selector::Selector},
    wire::{
        custom::Version,
        delegated::{CustomRead, ExternalRead, Unfit},
    },
};

/// A read of one of the APIs.
#[derive(Clone, Debug)]
pub enum Question {
    /// Of custom metrics.
    Custom(CustomRead),
    /// Of an external metric, and no selector of objects.
    External(ExternalRead, Selector),
}

impl Question {
    /// A read of an external metric.
    pub fn external(read: ExternalRead) -> Self {
        Self::External(read, Selector::default())
    }

    /// What decides whose it is.
    pub fn read(&self) -> Read<'_> {
        match self {
            Self::Custom(CustomRead { path, objects, metric, .. }) => Read {
                api: Api::Custom,
                namespace: path.scope(),
                metric: &path.metric,
                selectors: [objects, metric],
            },
            Self::External(ExternalRead { path, selector }, none) => Read {
                api: Api::External,
                namespace: &path.namespace,
                metric: &path.metric,
                selectors: [selector, none],
            },
        }
    }

    /// The described resource, in the plural where its kind is known; nothing for external metrics.
    pub(super) fn resource(&self) -> Option<&GroupResource> {
        match self {
            Self::Custom(read) => {
                let known = read.kind.as_ref().map(|kind| &kind.resource);
                Some(known.unwrap_or(&read.path.resource))
            }
            Self::External(..) => None,
        }
    }

    /// The version of the API that a server is asked in, of those that it is known to serve.
    pub(super) fn version(&self, served: Option<&[Version]>) -> Version {
        let Self::Custom(read) = self else { return Version::V1beta1 };
        let is_served = served.is_none_or(|served| served.contains(&read.version));
        let other = served.and_then(<[Version]>::first).copied();
        if is_served { read.version } else { other.unwrap_or(read.version) }
    }

    /// Path and query; nothing for names that no server has.
    pub(super) fn target(&self, version: Version) -> Option<String> {
        match self {
            Self::Custom(read) => read.target(version),
            Self::External(read, _) => read.target(),
        }
    }

    /// The body for the client.
    pub(super) fn answer(&self, version: Version, body: &[u8]) -> Result<Vec<u8>, Unfit> {
        match self {
            Self::Custom(read) => read.answer(version, body),
            Self::External(read, _) => read.answer(body),
        }
    }
}
