//! A read of the usage of pods or nodes.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _, future::try_join, stream};

use super::{ReadError, Reads, oddities::Subject, public, refused};
use crate::{
    core::{
        fields::FieldSelector,
        kinds::Kind,
        oddity::{Oddities, Oddity},
        plan::{self, Objects, Source},
        resource::{self, Containers, NodeUsage, Nodes, Object, Pair, PodUsage},
        samples::{Index, Vector},
        selector::Selector,
        sharing::cost,
    },
    objects::{Described, Scope, Selected},
    planner::{Asked, Attempt, Failure, Part},
};

/// How many namespaces are asked for at the same time where one query cannot tell of all.
const NAMESPACES: usize = 8;

/// A request for the usage of pods or nodes, its selectors parsed.
#[derive(Clone, Debug, Default)]
pub struct UsageRequest {
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

/// Usage that was read, and what is to be told of it.
struct Read<U> {
    usage: Vec<(Object, U)>,
    /// What was odd about the samples, of CPU and of memory.
    odd: [Oddities; 2],
    /// Why objects are missing from it that were asked for: what is wrong with their CPU, and with their memory.
    missing: [Oddities; 2],
}

impl<U> Read<U> {
    fn new() -> Self {
        Self { usage: Vec::new(), odd: Default::default(), missing: Default::default() }
    }

    fn miss(&mut self, name: &str, why: [Option<Oddity>; 2]) {
        for (missing, why) in self.missing.iter_mut().zip(why) {
            if let Some(why) = why {
                missing.note(why, name);
            }
        }
    }

    fn odd(&mut self, cpu: Oddities, memory: Oddities) {
        for (odd, more) in self.odd.iter_mut().zip([cpu, memory]) {
            odd.extend(more);
        }
    }
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
        question: &UsageRequest,
    ) -> Result<Vec<(Object, PodUsage)>, ReadError> {
        let usage = self.rules.usage().ok_or(ReadError::NoUsage)?;
        let pair = usage.sources.pods.as_ref();
        let pair = pair.map_err(|why| ReadError::NoUsageRule(why.clone()))?;
        let known = self.describe(Scope::Running, &usage.pods, question).await?;
        let unknown = |cause| {
            let namespace = question.namespace.as_deref().unwrap_or_default();
            let name = question.name.as_ref()?;
            let name = format!("{namespace}/{name}");
            Some(ReadError::UnknownUsage { resource: "podmetrics", name, cause })
        };
        let read = match &known {
            Some(known) if known.objects.is_empty() => {
                let cause = "there is no running pod of this name";
                return unknown(cause.to_owned()).map_or(Ok(Vec::new()), Err);
            }
            Some(known) => self.known_pods(pair, question, known).await?,
            None => self.whatever_pods(pair, question).await?,
        };
        let cause = self.tell(pair, &usage.pods, question, &read).await;
        match unknown(cause) {
            Some(error) if read.usage.is_empty() => Err(error),
            _ => Ok(read.usage),
        }
    }

    /// The usage of the nodes that are asked for, sorted by name. It leaves out and fails as [`Reads::pods`] does.
    pub async fn nodes(
        &self,
        question: &UsageRequest,
    ) -> Result<Vec<(Object, NodeUsage)>, ReadError> {
        let usage = self.rules.usage().ok_or(ReadError::NoUsage)?;
        let pair = usage.sources.nodes.as_ref();
        let pair = pair.map_err(|why| ReadError::NoUsageRule(why.clone()))?;
        let known = self.describe(Scope::All, &usage.nodes, question).await?;
        let unknown = |cause| {
            let name = question.name.clone()?;
            Some(ReadError::UnknownUsage { resource: "nodemetrics", name, cause })
        };
        if known.as_ref().is_some_and(|known| known.objects.is_empty()) {
            let cause = "there is no node of this name";
            return unknown(cause.to_owned()).map_or(Ok(Vec::new()), Err);
        }
        let selected = question.selected(known.as_ref());
        let reader = question.reader();
        let (cpu, memory) = try_join(
            self.node_values(pair.cpu.source(), &selected, reader),
            self.node_values(pair.memory.source(), &selected, reader),
        )
        .await?;
        let mut read = Read::new();
        let nodes = resource::nodes(&cpu, &memory);
        if let Objects::Named(names) = &selected.objects {
            let is_missing =
                |name: &&Arc<str>| nodes.binary_search_by(|node| node.name.cmp(name)).is_err();
            for name in names.iter().filter(is_missing) {
                read.miss(name, resource::why_no_node(&cpu, &memory, name));
            }
        }
        read.odd(cpu.odd, memory.odd);
        read.usage = match known {
            Some(known) => with_objects(nodes, known.objects, |node| &node.name),
            None => {
                nodes.into_iter().map(|node| (bare(Arc::default(), &node.name), node)).collect()
            }
        };
        let cause = self.tell(pair, &usage.nodes, question, &read).await;
        match unknown(cause) {
            Some(error) if read.usage.is_empty() => Err(error),
            _ => Ok(read.usage),
        }
    }

    /// Tells what is odd about usage, and gives the cause why there is none, if so.
    async fn tell<U>(
        &self,
        pair: &Pair,
        kind: &Kind,
        question: &UsageRequest,
        read: &Read<U>,
    ) -> String {
        let mut causes = Vec::new();
        let sources = [pair.cpu.source(), pair.memory.source()].into_iter();
        for (source, (odd, missing)) in sources.zip(read.odd.iter().zip(&read.missing)) {
            let mut odd = odd.clone();
            odd.extend(missing.clone());
            let (rule, label) = (source.rule, source.label);
            let is_well = missing.iter().next().is_none();
            let mut why = missing.why_nothing();
            let mut more = String::new();
            if read.usage.is_empty()
                && !is_well
                && why == Oddity::NoSample
                && let Some(stranger) = self.stranger(source, kind, question).await
            {
                why = Oddity::OtherObjects;
                odd.note(why, &stranger);
                let object = if kind.namespaced { "running pod" } else { "node" };
                more = format!(": none has the name of a {object} in its label `{label}`");
                // Whoever reads one node may know what others are called, which is not so of pods.
                if !kind.namespaced {
                    more += &format!(", one has `{}`", odd.example(why).unwrap_or_default());
                }
            }
            let nothing = (read.usage.is_empty() && !is_well).then_some(why);
            self.oddities.record(Subject::of(source, &kind.resource.resource), &odd, nothing);
            if !is_well {
                causes.push(format!("the query of {rule} {}{more}", why.explains(label)));
            }
        }
        if causes.is_empty() { "there is no sample of it".to_owned() } else { causes.join("; ") }
    }

    /// Where the label of the objects holds something else than their names: one of its values.
    async fn stranger(
        &self,
        source: Source<'_>,
        kind: &Kind,
        question: &UsageRequest,
    ) -> Option<String> {
        let namespace = question.namespace.as_deref().filter(|_| kind.namespaced);
        let plan = plan::exact(source, namespace, &Objects::Any, &Selector::default()).ok()?;
        let place = namespace.unwrap_or_default();
        let read = async |vector: &Vector| {
            let all = UsageRequest { namespace: question.namespace.clone(), ..Default::default() };
            let scope = if kind.namespaced { Scope::Running } else { Scope::All };
            let known = self.describe(scope, kind, &all).await.ok()??;
            let names: HashSet<&str> = known.objects.iter().map(|object| &*object.name).collect();
            let index = Index::new(vector, &plan.key);
            let mut found = index.objects(vector, place).map(|(name, _)| name).peekable();
            let first = found.peek().map(|name| (*name).to_owned());
            first.filter(|_| !found.any(|name| names.contains(name)))
        };
        self.looks.look(source, place, &plan.query, read).await
    }

    /// The objects that are asked for; nothing where nobody knows which there are.
    async fn describe(
        &self,
        scope: Scope,
        kind: &Kind,
        question: &UsageRequest,
    ) -> Result<Option<Described>, ReadError> {
        let UsageRequest { namespace, name, labels, fields } = question;
        let by_name = name.as_deref().map(FieldSelector::of_name);
        let fields = by_name.as_ref().unwrap_or(fields);
        let known = self.objects.describe(scope, kind, namespace.as_deref(), labels, fields).await;
        known.map_err(ReadError::Objects)
    }

    async fn known_pods(
        &self,
        pair: &Pair,
        question: &UsageRequest,
        known: &Described,
    ) -> Result<Read<PodUsage>, ReadError> {
        let Described { objects, population } = known;
        let groups: Vec<_> =
            objects.chunk_by(|one, other| one.namespace == other.namespace).collect();
        // What one query for all costs is not known where the pods of the cluster are not.
        let pays = match *population {
            Some(all) => cost::pays_at_once(groups.len(), objects.len(), all),
            None => groups.len() > NAMESPACES,
        };
        let pods = Pods {
            is_everywhere: question.namespace.is_none() && (question.selects_all() || pays),
            places: groups.iter().map(|group| Place::new(group, question, *population)).collect(),
            reader: question.reader(),
        };
        let (cpu, memory) = try_join(
            self.containers(pair.cpu.source(), &pods),
            self.containers(pair.memory.source(), &pods),
        )
        .await?;
        let mut read = Read::new();
        for (group, (cpu, memory)) in groups.iter().zip(cpu.into_iter().zip(memory)) {
            let pods = resource::pods(&cpu, &memory);
            let is_missing =
                |object: &&Object| pods.binary_search_by(|pod| pod.name.cmp(&object.name)).is_err();
            for Object { name, .. } in group.iter().filter(is_missing) {
                read.miss(name, resource::why_no_pod(&cpu, &memory, name));
            }
            read.odd(cpu.odd, memory.odd);
            read.usage.extend(with_objects(pods, group.iter().cloned(), |pod| &pod.name));
        }
        Ok(read)
    }

    /// The pods that the queries return, where nobody knows which there are. There are no labels to select by.
    async fn whatever_pods(
        &self,
        pair: &Pair,
        question: &UsageRequest,
    ) -> Result<Read<PodUsage>, ReadError> {
        let reader = question.reader();
        let (cpu, mut memory) = if let Some(namespace) = &question.namespace {
            let namespace: Arc<str> = namespace.as_str().into();
            let place =
                Place { namespace: Arc::clone(&namespace), selected: question.selected(None) };
            let (cpu, memory) = try_join(
                self.containers_in(pair.cpu.source(), &place, reader),
                self.containers_in(pair.memory.source(), &place, reader),
            )
            .await?;
            (BTreeMap::from([(Arc::clone(&namespace), cpu)]), BTreeMap::from([(namespace, memory)]))
        } else {
            try_join(
                self.whatever_containers(pair.cpu.source()),
                self.whatever_containers(pair.memory.source()),
            )
            .await?
        };
        let mut read = Read::new();
        for (namespace, cpu) in cpu {
            let memory = memory.remove(&namespace).unwrap_or_default();
            let pods = resource::pods(&cpu, &memory);
            if let Some(name) = question.name.as_deref().filter(|_| pods.is_empty()) {
                read.miss(name, resource::why_no_pod(&cpu, &memory, name));
            }
            let objects: Vec<_> =
                pods.iter().map(|pod| bare(Arc::clone(&namespace), &pod.name)).collect();
            read.usage.extend(objects.into_iter().zip(pods));
            read.odd(cpu.odd, memory.odd);
        }
        read.usage.retain(|(object, _)| question.fields.matches(&object.namespace, &object.name));
        Ok(read)
    }

    /// One resource's samples by place, in their order.
    async fn containers(
        &self,
        source: Source<'_>,
        pods: &Pods,
    ) -> Result<Vec<Containers>, ReadError> {
        if pods.is_everywhere {
            let found = self.planner.find_everywhere(source).await;
            match found.map_err(|why| failed(source, why))? {
                Attempt::Shared(part) => {
                    let read = |place: &Place| {
                        let (namespace, objects) = (&place.namespace, &place.selected.objects);
                        Self::read_containers(source, &part, namespace, objects)
                    };
                    return pods.places.iter().map(read).collect();
                }
                Attempt::Exact(why) => {
                    let (rule, namespaces) = (source.rule, pods.places.len());
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
        source: Source<'_>,
        place: &Place,
        reader: u64,
    ) -> Result<Containers, ReadError> {
        let Place { namespace, selected } = place;
        let mut containers = Containers::default();
        for part in self.find(source, Some(namespace), selected, reader).await? {
            let objects = part.objects.as_ref().unwrap_or(&selected.objects);
            containers.extend(Self::read_containers(source, &part, namespace, objects)?);
        }
        Ok(containers)
    }

    async fn whatever_containers(
        &self,
        source: Source<'_>,
    ) -> Result<BTreeMap<Arc<str>, Containers>, ReadError> {
        let found = self.planner.find_everywhere(source).await;
        let part = match found.map_err(|why| failed(source, why))? {
            Attempt::Shared(part) => part,
            Attempt::Exact(why) => {
                return Err(ReadError::NoUsageRule(format!(
                    "{}: nobody knows which pods there are, and no query can tell of all namespaces: {why}",
                    source.rule
                )));
            }
        };
        let vector = part.vector(source.rule)?;
        let namespaces: Vec<Arc<str>> =
            part.got.kept.value().with_index(vector, &part.key, |index| {
                index.namespaces(vector).map(Arc::from).collect()
            });
        namespaces
            .into_iter()
            .map(|namespace| {
                let read = Self::read_containers(source, &part, &namespace, &Objects::Any)?;
                Ok((namespace, read))
            })
            .collect()
    }

    fn read_containers(
        source: Source<'_>,
        part: &Part,
        namespace: &str,
        objects: &Objects,
    ) -> Result<Containers, ReadError> {
        let vector = part.vector(source.rule)?;
        let label = source.part_label.unwrap_or_default();
        Ok(part.got.kept.value().with_index(vector, &part.key, |index| {
            Containers::read(vector, index, namespace, objects, label)
        }))
    }

    async fn node_values(
        &self,
        source: Source<'_>,
        selected: &Selected,
        reader: u64,
    ) -> Result<Nodes, ReadError> {
        let mut nodes = Nodes::default();
        for part in self.find(source, None, selected, reader).await? {
            let vector = part.vector(source.rule)?;
            let objects = part.objects.as_ref().unwrap_or(&selected.objects);
            let read = part
                .got
                .kept
                .value()
                .with_index(vector, &part.key, |index| Nodes::read(vector, index, objects));
            nodes.extend(read);
        }
        Ok(nodes)
    }

    async fn find(
        &self,
        source: Source<'_>,
        namespace: Option<&str>,
        selected: &Selected,
        reader: u64,
    ) -> Result<Vec<Part>, ReadError> {
        let metric_selector = &Selector::default();
        let scope = namespace.unwrap_or_default();
        let asked = Asked { source, namespace, scope, selected, metric_selector, reader };
        let found = self.planner.find(asked).await.map_err(|why| failed(source, why))?;
        Ok(found.parts)
    }
}

impl UsageRequest {
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
        Selected { objects, population }
    }
}

impl Place {
    /// The pods of a namespace. `population` is that of all namespaces that are asked for.
    fn new(objects: &[Object], question: &UsageRequest, population: Option<usize>) -> Self {
        let population = if question.selects_all() {
            Some(objects.len())
        } else {
            population.filter(|_| question.namespace.is_some())
        };
        let names = objects.iter().map(|object| Arc::clone(&object.name)).collect();
        let namespace = objects.first().map(|object| Arc::clone(&object.namespace));
        Self {
            namespace: namespace.unwrap_or_default(),
            selected: Selected { objects: Objects::Named(names), population },
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

fn failed(source: Source<'_>, failure: Failure) -> ReadError {
    match failure {
        Failure::Plan(error) => refused(error),
        Failure::BackendHandle(error) => {
            ReadError::BackendHandle { rule: source.rule.to_owned(), cause: error.to_string() }
        }
        Failure::Fetch(error) => ReadError::UsageUnavailable {
            rule: source.rule.to_owned(),
            cause: public(&error),
            source: error,
        },
    }
}
