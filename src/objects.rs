//! Which objects there are: label selectors to names.

mod cluster;
mod labels;
mod manifests;
pub mod store;
mod watch;

use std::sync::Arc;

pub use cluster::{Cluster, Settings};
pub use manifests::{ManifestError, Manifests};
pub use watch::{Times, WatchesTask};

use crate::{
    core::{fields::FieldSelector, kinds::Kind, plan, resource::Object, selector::Selector},
    kubernetes,
};

/// Who knows the objects.
pub enum Objects {
    /// The API server: its watches, and LISTs where there is none that can answer.
    Cluster(Arc<Cluster>),
    /// Manifests that were read at start.
    Manifests(Manifests),
    /// Nobody: every object that a query returns is one.
    Unknown,
}

/// Which objects of a kind count.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scope {
    /// All.
    All,
    /// Pods whose `status.phase` is `Running`. No other kind can be asked for so.
    Running,
}

/// The objects that a selector selects.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The objects.
    pub objects: plan::Objects,
    /// How many objects of the kind there are in the namespace, selected or not, where somebody knows.
    pub population: Option<usize>,
}

/// The objects that selectors select, with namespaces and labels.
#[derive(Clone, Debug)]
pub struct Described {
    /// The objects, sorted by namespace and name.
    pub objects: Vec<Object>,
    /// How many objects of the kind there are in the namespace, or in all, selected or not, where somebody knows.
    pub population: Option<usize>,
}

impl Objects {
    /// The objects of a kind that match a selector.
    pub async fn select(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<Selected, kubernetes::Error> {
        self.select_within(Scope::All, kind, namespace, selector).await
    }

    /// The objects of a kind that match a selector, of those within a scope. Each scope of a kind has a watch of its own.
    pub async fn select_within(
        &self,
        scope: Scope,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<Selected, kubernetes::Error> {
        match self {
            Self::Cluster(cluster) => cluster.select(scope, kind, namespace, selector).await,
            Self::Manifests(manifests) => {
                let names = manifests.select(kind, scope, namespace, selector);
                let population =
                    manifests.select(kind, scope, namespace, &Selector::default()).len();
                Ok(Selected { objects: plan::Objects::Named(names), population: Some(population) })
            }
            Self::Unknown => Ok(Selected { objects: plan::Objects::Any, population: None }),
        }
    }

    /// The objects of a kind within a scope that match both selectors, with their namespaces and labels; nothing where nobody
    /// knows which there are. Without a namespace it is those of all.
    pub async fn describe(
        &self,
        scope: Scope,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &Selector,
        fields: &FieldSelector,
    ) -> Result<Option<Described>, kubernetes::Error> {
        match self {
            Self::Cluster(cluster) => {
                cluster.describe(scope, kind, namespace, labels, fields).await.map(Some)
            }
            Self::Manifests(manifests) => {
                let all = manifests.describe(kind, scope, namespace, &Selector::default());
                let mut objects = manifests.describe(kind, scope, namespace, labels);
                objects.retain(|object| fields.matches(&object.namespace, &object.name));
                Ok(Some(Described { objects, population: Some(all.len()) }))
            }
            Self::Unknown => Ok(None),
        }
    }
}

impl Scope {
    /// The field selector that the API server is asked with.
    fn fields(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Running => Some("status.phase=Running"),
        }
    }
}
