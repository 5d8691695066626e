//! The results that usage is read from: one for all namespaces, or one for each.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    core::{
        plan::{Objects, Source},
        resource::{Containers, Nodes},
        selector::Selector,
    },
    objects::Selected,
    planner::{Asked, Attempt, Part, Planner},
    reads::ReadError,
};

/// How many namespaces are queried at the same time if one query cannot cover all.
pub(super) const NAMESPACES: usize = 8;

/// The pods that are asked for.
pub(super) struct Pods {
    /// By namespace, in order.
    pub(super) places: Vec<Place>,
    /// Whether all namespaces are asked for, and one query for all of them costs less than one for each.
    pub(super) is_everywhere: bool,
}

/// The pods of a namespace that are asked for.
pub(super) struct Place {
    pub(super) namespace: Arc<str>,
    pub(super) selected: Selected,
}

/// The query of one rule for one reader.
pub(super) struct UsageQuery<'a> {
    pub(super) planner: &'a Planner,
    pub(super) source: Source<'a>,
    pub(super) reader: u64,
}

impl UsageQuery<'_> {
    /// The samples by place, in their order.
    pub(super) async fn containers(&self, pods: &Pods) -> Result<Vec<Containers>, ReadError> {
        if pods.is_everywhere {
            match self.find_everywhere().await? {
                Attempt::Shared(part) => {
                    let read = |place: &Place| {
                        self.read_containers(&part, &place.namespace, &place.selected.objects)
                    };
                    return pods.places.iter().map(read).collect();
                }
                Attempt::Exact(why) => {
                    let (rule, namespaces) = (self.source.rule, pods.places.len());
                    tracing::debug!(%rule, namespaces, %why, "a query for each namespace");
                }
            }
        }
        let each: Vec<_> = pods.places.iter().map(|place| self.containers_in(place)).collect();
        stream::iter(each).buffered(NAMESPACES).try_collect().await
    }

    /// The samples of a place.
    pub(super) async fn containers_in(&self, place: &Place) -> Result<Containers, ReadError> {
        let Place { namespace, selected } = place;
        let mut containers = Containers::default();
        for part in self.find(Some(namespace), selected).await? {
            let objects = part.objects.as_ref().unwrap_or(&selected.objects);
            containers.extend(self.read_containers(&part, namespace, objects)?);
        }
        Ok(containers)
    }

    /// The samples of whatever pods there are, by namespace.
    pub(super) async fn containers_everywhere(
        &self,
    ) -> Result<BTreeMap<Arc<str>, Containers>, ReadError> {
        let rule = self.source.rule;
        let part = match self.find_everywhere().await? {
            Attempt::Shared(part) => part,
            Attempt::Exact(why) => {
                return Err(ReadError::NoUsageRule(format!(
                    "{rule}: the pods are not known, and no query covers all namespaces: {why}"
                )));
            }
        };
        let namespaces: Vec<Arc<str>> =
            part.read(rule, |vector, index| index.namespaces(vector).map(Arc::from).collect())?;
        namespaces
            .into_iter()
            .map(|namespace| {
                let read = self.read_containers(&part, &namespace, &Objects::Any)?;
                Ok((namespace, read))
            })
            .collect()
    }

    /// The samples of nodes.
    pub(super) async fn nodes(&self, selected: &Selected) -> Result<Nodes, ReadError> {
        let mut nodes = Nodes::default();
        for part in self.find(None, selected).await? {
            let objects = part.objects.as_ref().unwrap_or(&selected.objects);
            let rule = self.source.rule;
            nodes.extend(part.read(rule, |vector, index| Nodes::read(vector, index, objects))?);
        }
        Ok(nodes)
    }

    fn read_containers(
        &self,
        part: &Part,
        namespace: &str,
        objects: &Objects,
    ) -> Result<Containers, ReadError> {
        let label = self.source.part_label.unwrap_or_default();
        part.read(self.source.rule, |vector, index| {
            Containers::read(vector, index, namespace, objects, label)
        })
    }

    async fn find(
        &self,
        namespace: Option<&str>,
        selected: &Selected,
    ) -> Result<Vec<Part>, ReadError> {
        let Self { source, reader, .. } = *self;
        let metric_selector = &Selector::default();
        let scope = namespace.unwrap_or_default();
        let asked = Asked { source, namespace, scope, selected, metric_selector, reader };
        let found = self.planner.find(asked).await;
        Ok(found.map_err(|failure| ReadError::of(source.rule, failure))?.parts)
    }

    async fn find_everywhere(&self) -> Result<Attempt, ReadError> {
        let found = self.planner.find_everywhere(self.source).await;
        found.map_err(|failure| ReadError::of(self.source.rule, failure))
    }
}
