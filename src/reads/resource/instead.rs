//! What samples there are instead of those of an object without usage.

use std::{collections::HashSet, sync::Arc};

use super::UsageRequest;
use crate::{
    core::{
        explain::usage,
        kinds::Kind,
        plan::{self, Objects, Source},
        samples::{Index, Vector},
        selector::Selector,
    },
    prometheus::Answer,
    reads::{Reads, look::Found},
};

impl Reads {
    /// What samples there are instead of those of a missing object: of a name that no object has, or without the label that names
    /// objects. Pods end, so a name of theirs says something only where no other one is that of a pod.
    pub(super) async fn instead(
        &self,
        source: Source<'_>,
        kind: &Kind,
        request: &UsageRequest,
    ) -> Option<Found> {
        let namespace = request.namespace.as_deref().filter(|_| kind.namespaced);
        let plan =
            |objects: &Objects| plan::exact(source, namespace, objects, &Selector::default()).ok();
        let all = plan(&Objects::Any)?;
        let place = namespace.unwrap_or_default();
        let read = async |vector: &Vector| {
            let index = Index::new(vector, &all.key);
            if index.objects(vector, place).next().is_none() {
                let bare = plan(&Objects::Named(vec![Arc::default()]))?;
                let got = self.planner.ask(source.options, place, bare.query).await.ok()?;
                let Answer::Vector(bare) = got.kept.value().answer() else { return None };
                if !bare.samples.is_empty() {
                    return Some(Found::Unlabelled);
                }
                return self.renamed_usage(source, place, &all.query).await;
            }
            let everything =
                UsageRequest { namespace: request.namespace.clone(), ..Default::default() };
            let known = self.describe(kind, &everything).await.ok()??;
            let names: HashSet<&str> = known.objects.iter().map(|object| &*object.name).collect();
            let (mut stranger, mut is_alone) = (None, true);
            for (name, _) in index.objects(vector, place) {
                if names.contains(name) {
                    is_alone = false;
                } else {
                    stranger.get_or_insert(name);
                }
            }
            // An exporter in the namespace is a pod like others.
            if !is_alone && let Some(found) = self.renamed_usage(source, place, &all.query).await {
                return Some(found);
            }
            let name = stranger.filter(|_| is_alone || !kind.namespaced)?.to_owned();
            Some(Found::Stranger { name, is_alone })
        };
        self.looks.look(source, place, &all.query, read).await
    }

    /// The label of the objects that the series of a query have as `exported_…`, if its text says which series it reads.
    async fn renamed_usage(&self, source: Source<'_>, place: &str, query: &str) -> Option<Found> {
        let series = usage::series(query)?;
        let labels = [Some(source.label), source.namespace_label].into_iter().flatten();
        let query = plan::renamed_labels(&series, labels.map(|label| &**label))?;
        let got = self.planner.ask(source.options, place, query.into()).await.ok()?;
        let Answer::Vector(vector) = got.kept.value().answer() else { return None };
        Found::renamed(vector)
    }
}
