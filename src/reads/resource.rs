//! A read of the usage of pods or nodes.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _, future::try_join, stream};

use super::{ReadError, Reads, public, refused};
use crate::{
    core::{
        fields::FieldSelector,
        kinds::Kind,
        plan::{Objects, Source as _, cost},
        resource::{
            self, Containers, NodeUsage, Nodes, Object, Odd, Pair, PodUsage, ResourceSource,
        },
        samples::Vector,
        selector::Selector,
    },
    objects::{Described, Scope, Selected},
    planner::{Asked, Failure, Part},
};

/// How many namespaces are asked for at the same time where one query cannot tell of all.
const NAMESPACES: usize = 8;

/// A request for the usage of pods or nodes, its selectors parsed.
#[derive(Clone, Debug, Default)]
pub struct UsageQuestion {
    /// The namespace of the pods; nothing for those of all.
    pub namespace: Option<String>,
    /// The one object that is asked for.
    pub name: Option<String>,
    /// Which objects.
    pub labels: Selector,
    /// Which objects.
    pub fields: FieldSelector,
}

/// The pods that are asked for.
struct Pods {
    /// By namespace, in order.
    places: Vec<Place>,
    /// Whether all namespaces are asked for, and one query for all of them costs less than one for each.
    is_everywhere: bool,
    reader: u64,
}

struct Place {
    namespace: Arc<str>,
    selected: Selected,
}

impl Reads {
    /// The range that answers about usage report; nothing without `resourceRules`.
    pub fn usage_window(&self) -> Option<Duration> {
        self.rules.usage().map(|usage| usage.sources.window)
    }

    /// The usage of the running pods that are asked for, sorted by namespace and name. Pods without a sample are left out; one
    /// that is asked for by name is an error then.
    pub async fn pods(
        &self,
        question: &UsageQuestion,
    ) -> Result<Vec<(Object, PodUsage)>, ReadError> {
        let usage = self.rules.usage().ok_or(ReadError::NoUsage)?;
        let pair = usage.sources.pods.as_ref();
        let pair = pair.map_err(|why| ReadError::NoUsageRule(why.clone()))?;
        let known = self.describe(Scope::Running, &usage.pods, question).await?;
        let is_unknown = known.as_ref().is_some_and(|known| known.objects.is_empty());
        let read = match &known {
            Some(_) if is_unknown => Vec::new(),
            Some(known) => self.known_pods(pair, question, known).await?,
            None => self.whatever_pods(pair, question).await?,
        };
        if let (Some(name), true) = (&question.name, read.is_empty()) {
            let namespace = question.namespace.as_deref().unwrap_or_default();
            let cause = if is_unknown {
                "there is no running pod of this name"
            } else {
                "the queries of resourceRules give it no cpu or no memory"
            };
            return Err(ReadError::UnknownUsage {
                resource: "podmetrics",
                name: format!("{namespace}/{name}"),
                cause: cause.to_owned(),
            });
        }
        Ok(read)
    }

    /// The usage of the nodes that are asked for, sorted by name. It leaves out and fails as [`Reads::pods`] does.
    pub async fn nodes(
        &self,
        question: &UsageQuestion,
    ) -> Result<Vec<(Object, NodeUsage)>, ReadError> {
        let usage = self.rules.usage().ok_or(ReadError::NoUsage)?;
        let pair = usage.sources.nodes.as_ref();
        let pair = pair.map_err(|why| ReadError::NoUsageRule(why.clone()))?;
        let known = self.describe(Scope::All, &usage.nodes, question).await?;
        let is_unknown = known.as_ref().is_some_and(|known| known.objects.is_empty());
        let read = if is_unknown {
            Vec::new()
        } else {
            let selected = question.selected(known.as_ref());
            let reader = question.reader();
            let (cpu, memory) = try_join(
                self.node_values(&pair.cpu, &selected, reader),
                self.node_values(&pair.memory, &selected, reader),
            )
            .await?;
            let nodes = resource::nodes(&cpu, &memory);
            match known {
                Some(known) => with_objects(nodes, known.objects, |node| &node.name),
                None => {
                    nodes.into_iter().map(|node| (bare(Arc::default(), &node.name), node)).collect()
                }
            }
        };
        if let (Some(name), true) = (&question.name, read.is_empty()) {
            let cause = if is_unknown {
                "there is no node of this name"
            } else {
                "the queries of resourceRules give it no cpu or no memory"
            };
            return Err(ReadError::UnknownUsage {
                resource: "nodemetrics",
                name: name.clone(),
                cause: cause.to_owned(),
            });
        }
        Ok(read)
    }

    /// The objects that are asked for; nothing where nobody knows which there are.
    async fn describe(
        &self,
        scope: Scope,
        kind: &Kind,
        question: &UsageQuestion,
    ) -> Result<Option<Described>, ReadError> {
        let UsageQuestion { namespace, name, labels, fields } = question;
        let by_name = name.as_deref().map(FieldSelector::of_name);
        let fields = by_name.as_ref().unwrap_or(fields);
        let known = self.objects.describe(scope, kind, namespace.as_deref(), labels, fields).await;
        known.map_err(ReadError::Objects)
    }

    async fn known_pods(
        &self,
        pair: &Pair,
        question: &UsageQuestion,
        known: &Described,
    ) -> Result<Vec<(Object, PodUsage)>, ReadError> {
        let Described { objects, population } = known;
        let groups: Vec<_> =
            objects.chunk_by(|one, other| one.namespace == other.namespace).collect();
        // What one query for all costs is not known where the pods of the cluster are not.
        let pays = match *population {
            Some(all) => cost::pays_at_once(groups.iter().map(|group| group.len()), all),
            None => groups.len() > NAMESPACES,
        };
        let pods = Pods {
            is_everywhere: question.namespace.is_none() && (question.selects_all() || pays),
            places: groups.iter().map(|group| Place::new(group, question, *population)).collect(),
            reader: question.reader(),
        };
        let (cpu, memory) =
            try_join(self.containers(&pair.cpu, &pods), self.containers(&pair.memory, &pods))
                .await?;
        let read = groups.iter().zip(cpu.iter().zip(&memory)).flat_map(|(group, (cpu, memory))| {
            with_objects(resource::pods(cpu, memory), group.iter().cloned(), |pod| &pod.name)
        });
        Ok(read.collect())
    }

    /// The pods that the queries return, where nobody knows which there are. There are no labels to select by.
    async fn whatever_pods(
        &self,
        pair: &Pair,
        question: &UsageQuestion,
    ) -> Result<Vec<(Object, PodUsage)>, ReadError> {
        let reader = question.reader();
        let (cpu, memory) = if let Some(namespace) = &question.namespace {
            let namespace: Arc<str> = namespace.as_str().into();
            let place =
                Place { namespace: Arc::clone(&namespace), selected: question.selected(None) };
            let (cpu, memory) = try_join(
                self.containers_in(&pair.cpu, &place, reader),
                self.containers_in(&pair.memory, &place, reader),
            )
            .await?;
            (BTreeMap::from([(Arc::clone(&namespace), cpu)]), BTreeMap::from([(namespace, memory)]))
        } else {
            try_join(
                self.whatever_containers(&pair.cpu, reader),
                self.whatever_containers(&pair.memory, reader),
            )
            .await?
        };
        let mut read = Vec::new();
        for (namespace, cpu) in &cpu {
            let Some(memory) = memory.get(namespace) else { continue };
            let pods = resource::pods(cpu, memory);
            let objects: Vec<_> =
                pods.iter().map(|pod| bare(Arc::clone(namespace), &pod.name)).collect();
            read.extend(objects.into_iter().zip(pods));
        }
        read.retain(|(object, _)| question.fields.matches(&object.namespace, &object.name));
        Ok(read)
    }

    /// One resource's samples by place, in their order.
    async fn containers(
        &self,
        source: &ResourceSource,
        pods: &Pods,
    ) -> Result<Vec<Containers>, ReadError> {
        if pods.is_everywhere {
            let found = self.planner.find_everywhere(source, pods.reader).await;
            match found.map_err(|why| failed(source, why))? {
                Ok(part) => {
                    let read = |place: &Place| {
                        let (namespace, objects) = (&place.namespace, &place.selected.objects);
                        self.read_containers(source, &part, namespace, objects)
                    };
                    return pods.places.iter().map(read).collect();
                }
                Err(why) => {
                    let (rule, namespaces) = (source.rule(), pods.places.len());
                    tracing::debug!(rule, namespaces, %why, "a query for each namespace");
                }
            }
        }
        let each: Vec<_> = pods
            .places
            .iter()
            .map(|place| self.containers_in(source, place, pods.reader))
            .collect();
        stream::iter(each).buffered(NAMESPACES).try_collect().await
    }

    async fn containers_in(
        &self,
        source: &ResourceSource,
        place: &Place,
        reader: u64,
    ) -> Result<Containers, ReadError> {
        let Place { namespace, selected } = place;
        let mut containers = Containers::default();
        for part in self.find(source, Some(namespace), selected, reader).await? {
            let objects = part.objects.as_ref().unwrap_or(&selected.objects);
            containers.extend(self.read_containers(source, &part, namespace, objects)?);
        }
        Ok(containers)
    }

    async fn whatever_containers(
        &self,
        source: &ResourceSource,
        reader: u64,
    ) -> Result<BTreeMap<Arc<str>, Containers>, ReadError> {
        let found = self.planner.find_everywhere(source, reader).await;
        let part = found.map_err(|why| failed(source, why))?.map_err(|why| {
            ReadError::NoUsageRule(format!(
                "{}: nobody knows which pods there are, and no query can tell of all namespaces: {why}",
                source.rule()
            ))
        })?;
        let vector = part.vector(source.rule())?;
        let namespaces: Vec<Arc<str>> =
            part.got.kept.value().with_index(vector, &part.plan.key, |index| {
                index.namespaces(vector).map(Arc::from).collect()
            });
        namespaces
            .into_iter()
            .map(|namespace| {
                let read = self.read_containers(source, &part, &namespace, &Objects::Any)?;
                Ok((namespace, read))
            })
            .collect()
    }

    fn read_containers(
        &self,
        source: &ResourceSource,
        part: &Part,
        namespace: &str,
        objects: &Objects,
    ) -> Result<Containers, ReadError> {
        let vector = part.vector(source.rule())?;
        let label = source.part_label().unwrap_or_default();
        let read = part.got.kept.value().with_index(vector, &part.plan.key, |index| {
            Containers::read(vector, index, namespace, objects, label)
        });
        self.warn_of_usage(source, &read.odd, vector);
        Ok(read)
    }

    async fn node_values(
        &self,
        source: &ResourceSource,
        selected: &Selected,
        reader: u64,
    ) -> Result<Nodes, ReadError> {
        let mut nodes = Nodes::default();
        for part in self.find(source, None, selected, reader).await? {
            let vector = part.vector(source.rule())?;
            let objects = part.objects.as_ref().unwrap_or(&selected.objects);
            let read =
                part.got.kept.value().with_index(vector, &part.plan.key, |index| {
                    Nodes::read(vector, index, objects)
                });
            self.warn_of_usage(source, &read.odd, vector);
            nodes.extend(read);
        }
        Ok(nodes)
    }

    async fn find(
        &self,
        source: &ResourceSource,
        namespace: Option<&str>,
        selected: &Selected,
        reader: u64,
    ) -> Result<Vec<Part>, ReadError> {
        let metric_selector = &Selector::default();
        let asked = Asked { entry: source, namespace, selected, metric_selector, reader };
        let found = self.planner.find(asked).await.map_err(|why| failed(source, why))?;
        Ok(found.parts)
    }

    /// Says once per rule what is odd about its samples.
    fn warn_of_usage(&self, source: &ResourceSource, odd: &Odd, vector: &Vector) {
        let rule = source.rule();
        let once = |what: &'static str| {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            warned.insert((source.content(), what))
        };
        if let Some(object) = &odd.ambiguous
            && once("several samples")
        {
            tracing::warn!(rule, %object, "the query gives several samples for one container or node; one of them is taken");
        }
        if odd.unlabelled > 0 && once("no label") {
            let label = source.label();
            tracing::warn!(rule, %label, samples = odd.unlabelled, "the query gives samples without the label that names the object");
        }
        if odd.not_finite > 0 && once("not finite") {
            tracing::warn!(
                rule,
                samples = odd.not_finite,
                "the query gives NaN or infinite samples, which are no values"
            );
        }
        if let Some(warning) = vector.warnings.first()
            && once("warnings")
        {
            tracing::warn!(rule, warning, "Prometheus warns about the query");
        }
        if vector.histograms > 0 && once("histograms") {
            tracing::warn!(
                rule,
                samples = vector.histograms,
                "the query gives native histograms, which are no values"
            );
        }
    }
}

impl UsageQuestion {
    /// Whether no selector leaves anything out.
    fn selects_all(&self) -> bool {
        self.name.is_none() && self.labels.is_empty() && self.fields.is_empty()
    }

    /// A number that is the same when the same reader asks again: an autoscaler always asks for the same pods.
    fn reader(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.namespace, &self.name, &self.labels, &self.fields).hash(&mut hasher);
        hasher.finish()
    }

    /// The objects that are asked for, as planning sees them: all of these, or whatever there is.
    fn selected(&self, known: Option<&Described>) -> Selected {
        let names = |objects: &[Object]| {
            objects.iter().map(|object| Arc::clone(&object.name)).collect::<Vec<_>>()
        };
        let objects = match (known, &self.name) {
            (Some(known), _) => Objects::Named(names(&known.objects)),
            (None, Some(name)) => Objects::Named(vec![name.as_str().into()]),
            (None, None) => Objects::Any,
        };
        let population = known.and_then(|known| known.population);
        Selected { objects, population, version: None }
    }
}

impl Place {
    /// The pods of a namespace. `population` is that of all namespaces that are asked for.
    fn new(objects: &[Object], question: &UsageQuestion, population: Option<usize>) -> Self {
        let population = if question.selects_all() {
            Some(objects.len())
        } else {
            population.filter(|_| question.namespace.is_some())
        };
        let names = objects.iter().map(|object| Arc::clone(&object.name)).collect();
        let namespace = objects.first().map(|object| Arc::clone(&object.namespace));
        Self {
            namespace: namespace.unwrap_or_default(),
            selected: Selected { objects: Objects::Named(names), population, version: None },
        }
    }
}

/// An object of which only the name is known.
fn bare(namespace: Arc<str>, name: &Arc<str>) -> Object {
    Object { namespace, name: Arc::clone(name), labels: Arc::default() }
}

/// Usage with the objects that it is of. Both are sorted by name.
fn with_objects<U>(
    usage: Vec<U>,
    objects: impl IntoIterator<Item = Object>,
    name: impl Fn(&U) -> &Arc<str>,
) -> Vec<(Object, U)> {
    let mut usage = usage.into_iter().peekable();
    let pair = |object: Object| {
        let used = usage.next_if(|usage| *name(usage) == object.name)?;
        Some((object, used))
    };
    objects.into_iter().filter_map(pair).collect()
}

fn failed(source: &ResourceSource, failure: Failure) -> ReadError {
    match failure {
        Failure::Plan(error) => refused(error),
        Failure::Tenant(error) => {
            ReadError::Tenant { rule: source.rule().to_owned(), cause: error.to_string() }
        }
        Failure::Fetch(error) => ReadError::UsageUnavailable {
            rule: source.rule().to_owned(),
            cause: public(&error),
            source: error,
        },
    }
}
