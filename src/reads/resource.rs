//! A read of the usage of pods or nodes.

mod instead;
mod query;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::try_join;
use query::{NAMESPACES, Place, Pods, UsageQuery};

use super::{ReadError, Reads, look::Found, oddities::Subject};
use crate::{
    core::{
        excerpt::{NAME, excerpt},
        fields::FieldSelector,
        kinds::Kind,
        oddity::{Oddities, Oddity},
        plan::Objects,
        resource::{self, NodeUsage, Object, Pair, PodUsage, UsageOf},
        selector::Selector,
        sharing::cost,
    },
    objects::{Described, Scope, Selected},
};

/// A request for the usage of pods or nodes, its selectors parsed.
#[derive(Clone, Debug, Default)]
pub struct UsageRequest {
    /// The namespace of the pods; `None` for all namespaces.
    pub namespace: Option<String>,
    /// The requested object; `None` for all that are selected.
    pub name: Option<String>,
    /// Which objects.
    pub labels: Selector,
    /// Which objects.
    pub fields: FieldSelector,
}

/// The result of a read of usage.
struct Read<U> {
    usage: Vec<(Object, U)>,
    /// The oddities of the samples of CPU and of memory.
    odd: [Oddities; 2],
    /// Why requested objects are missing: the oddities of their CPU and of their memory.
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
    /// The window of reported usage; `None` without `resourceRules`.
    pub fn usage_window(&self) -> Option<Duration> {
        self.rules.usage().map(|usage| usage.window)
    }

    /// The usage of the requested running pods, sorted by namespace and name. Pods without a sample are left out; for a pod
    /// requested by name this is an error.
    pub async fn pods(&self, request: &UsageRequest) -> Result<Vec<(Object, PodUsage)>, ReadError> {
        let usage = self.rules.usage().ok_or(ReadError::NoUsage)?;
        let UsageOf { kind, queries } = &usage.pods;
        let pair = queries.as_ref().map_err(|why| ReadError::NoUsageRule(why.clone()))?;
        let read = match &self.describe(kind, request).await? {
            Some(known) if known.objects.is_empty() => return Ok(Vec::new()),
            Some(known) => self.known_pods(pair, request, known).await?,
            None => self.whatever_pods(pair, request).await?,
        };
        self.answer(pair, kind, request, read).await
    }

    /// The usage of the requested nodes, sorted by name. Nodes without a sample are treated as in [`Reads::pods`].
    pub async fn nodes(
        &self,
        request: &UsageRequest,
    ) -> Result<Vec<(Object, NodeUsage)>, ReadError> {
        let usage = self.rules.usage().ok_or(ReadError::NoUsage)?;
        let UsageOf { kind, queries } = &usage.nodes;
        let pair = queries.as_ref().map_err(|why| ReadError::NoUsageRule(why.clone()))?;
        let known = self.describe(kind, request).await?;
        if known.as_ref().is_some_and(|known| known.objects.is_empty()) {
            return Ok(Vec::new());
        }
        let selected = request.selected(known.as_ref());
        let [cpu, memory] = self.queries(pair, request);
        let (cpu, memory) = try_join(cpu.nodes(&selected), memory.nodes(&selected)).await?;
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
        self.answer(pair, kind, request, read).await
    }

    /// Records the oddities of a read. A read of one object without usage is an error with the reason.
    async fn answer<U>(
        &self,
        pair: &Pair,
        kind: &Kind,
        request: &UsageRequest,
        read: Read<U>,
    ) -> Result<Vec<(Object, U)>, ReadError> {
        let mut causes = Vec::new();
        let sources = [pair.cpu.source(), pair.memory.source()].into_iter();
        for (source, (mut odd, missing)) in sources.zip(read.odd.into_iter().zip(read.missing)) {
            let (rule, label) = (source.rule, source.label);
            let is_well = missing.iter().next().is_none();
            let mut why = missing.why_nothing();
            odd.extend(missing);
            let mut words = None;
            let mut renamed = None;
            if read.usage.is_empty() && !is_well && why == Oddity::NoSample {
                let object = object(kind);
                match self.instead(source, kind, request).await {
                    Some(Found::Unlabelled) => {
                        why = Oddity::NoLabel;
                        odd.note(why, "");
                        words = Some(format!(
                            "gives no sample: its series are without the label `{label}`"
                        ));
                    }
                    Some(Found::Stranger { name, is_alone: true }) => {
                        why = Oddity::OtherObjects;
                        odd.note(why, &name);
                        let mut text = why.explains(label);
                        text +=
                            &format!(": none has the name of a {object} in its label `{label}`");
                        // A reader of one node may see names of others, but a reader of one pod may not.
                        if !kind.namespaced {
                            text += &format!(", one has `{}`", excerpt(&name, NAME));
                        }
                        words = Some(text);
                    }
                    Some(Found::Stranger { name, is_alone: false }) => {
                        words = Some(format!(
                            "gives no sample: one has `{}` in its label `{label}`, which is the name of no {object}",
                            excerpt(&name, NAME)
                        ));
                    }
                    Some(Found::Renamed(label)) => {
                        why = Oddity::ExportedLabel;
                        odd.note(why, "");
                        renamed = Some(label);
                    }
                    None => {}
                }
            }
            let label = renamed.as_deref().unwrap_or(label);
            let nothing = (read.usage.is_empty() && !is_well).then_some(why);
            let subject = Subject::of(source, label, &kind.resource.resource);
            self.oddities.record(subject, &odd, nothing);
            if !is_well {
                let words = words.unwrap_or_else(|| why.explains(label));
                causes.push(format!("the query of {rule} {words}"));
            }
        }
        if causes.is_empty() {
            causes.push("there is no sample of it".to_owned());
        }
        match request.not_found(kind, causes.join("; ")) {
            Some(error) if read.usage.is_empty() => Err(error),
            _ => Ok(read.usage),
        }
    }

    /// The requested objects, pods only if they run; `None` if the objects are not known.
    async fn describe(
        &self,
        kind: &Kind,
        request: &UsageRequest,
    ) -> Result<Option<Described>, ReadError> {
        let UsageRequest { namespace, name, labels, fields } = request;
        let scope = if kind.namespaced { Scope::Running } else { Scope::All };
        let by_name = name.as_deref().map(FieldSelector::of_name);
        let fields = by_name.as_ref().unwrap_or(fields);
        let known = self.objects.describe(scope, kind, namespace.as_deref(), labels, fields).await;
        let known = known.map_err(ReadError::Objects)?;
        let is_empty = known.as_ref().is_some_and(|known| known.objects.is_empty());
        match request.not_found(kind, format!("there is no {} of this name", object(kind))) {
            Some(error) if is_empty => Err(error),
            _ => Ok(known),
        }
    }

    /// The queries for CPU and for memory.
    fn queries<'a>(&'a self, pair: &'a Pair, request: &UsageRequest) -> [UsageQuery<'a>; 2] {
        let (planner, reader) = (&*self.planner, request.reader());
        [&pair.cpu, &pair.memory].map(|of| UsageQuery { planner, source: of.source(), reader })
    }

    async fn known_pods(
        &self,
        pair: &Pair,
        request: &UsageRequest,
        known: &Described,
    ) -> Result<Read<PodUsage>, ReadError> {
        let Described { objects, population } = known;
        let groups: Vec<_> =
            objects.chunk_by(|one, other| one.namespace == other.namespace).collect();
        // The cost of one query for all is unknown if the number of pods is.
        let pays = match *population {
            Some(all) => cost::pays_at_once(groups.len(), objects.len(), all),
            None => groups.len() > NAMESPACES,
        };
        let pods = Pods {
            is_everywhere: request.namespace.is_none() && (request.selects_all() || pays),
            places: groups.iter().map(|group| Place::new(group, request, *population)).collect(),
        };
        let [cpu, memory] = self.queries(pair, request);
        let (cpu, memory) = try_join(cpu.containers(&pods), memory.containers(&pods)).await?;
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

    /// The pods that the queries return, if the pods are not known. There are no labels to select by.
    async fn whatever_pods(
        &self,
        pair: &Pair,
        request: &UsageRequest,
    ) -> Result<Read<PodUsage>, ReadError> {
        let [cpu, memory] = self.queries(pair, request);
        let (cpu, mut memory) = if let Some(namespace) = &request.namespace {
            let namespace: Arc<str> = namespace.as_str().into();
            let selected = request.selected(None);
            let place = Place { namespace: Arc::clone(&namespace), selected };
            let (cpu, memory) =
                try_join(cpu.containers_in(&place), memory.containers_in(&place)).await?;
            (BTreeMap::from([(Arc::clone(&namespace), cpu)]), BTreeMap::from([(namespace, memory)]))
        } else {
            try_join(cpu.containers_everywhere(), memory.containers_everywhere()).await?
        };
        let mut read = Read::new();
        for (namespace, cpu) in cpu {
            let memory = memory.remove(&namespace).unwrap_or_default();
            let pods = resource::pods(&cpu, &memory);
            if let Some(name) = request.name.as_deref().filter(|_| pods.is_empty()) {
                read.miss(name, resource::why_no_pod(&cpu, &memory, name));
            }
            let objects: Vec<_> =
                pods.iter().map(|pod| bare(Arc::clone(&namespace), &pod.name)).collect();
            read.usage.extend(objects.into_iter().zip(pods));
            read.odd(cpu.odd, memory.odd);
        }
        read.usage.retain(|(object, _)| request.fields.matches(&object.namespace, &object.name));
        Ok(read)
    }
}

impl UsageRequest {
    /// Whether no selector leaves anything out.
    fn selects_all(&self) -> bool {
        self.name.is_none() && self.labels.is_empty() && self.fields.is_empty()
    }

    /// Identifies the reader: an autoscaler always reads the same pods.
    fn reader(&self) -> u64 {
        super::reader((&self.namespace, &self.name, &self.labels, &self.fields))
    }

    /// The error of a read of one object that has no usage.
    fn not_found(&self, kind: &Kind, cause: String) -> Option<ReadError> {
        let name = self.name.clone()?;
        let (resource, name) = if kind.namespaced {
            let namespace = self.namespace.as_deref().unwrap_or_default();
            ("podmetrics", format!("{namespace}/{name}"))
        } else {
            ("nodemetrics", name)
        };
        Some(ReadError::UnknownUsage { resource, name, cause })
    }

    /// The requested objects for the planner: the known ones, the named one, or any.
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
    /// The pods of a namespace. `population` is that of all requested namespaces.
    fn new(objects: &[Object], request: &UsageRequest, population: Option<usize>) -> Self {
        let population = if request.selects_all() {
            Some(objects.len())
        } else {
            population.filter(|_| request.namespace.is_some())
        };
        let names = objects.iter().map(|object| Arc::clone(&object.name)).collect();
        let namespace = objects.first().map(|object| Arc::clone(&object.namespace));
        Self {
            namespace: namespace.unwrap_or_default(),
            selected: Selected { objects: Objects::Named(names), population },
        }
    }
}

/// The word for an object in messages.
fn object(kind: &Kind) -> &'static str {
    if kind.namespaced { "running pod" } else { "node" }
}

/// An object of which only the name is known.
fn bare(namespace: Arc<str>, name: &Arc<str>) -> Object {
    Object { namespace, name: Arc::clone(name), labels: Arc::default() }
}

/// Joins usage with its objects. Both are sorted by name.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kinds::Kinds;

    fn named(names: &[&str]) -> Vec<Object> {
        names.iter().map(|name| bare("n".into(), &Arc::from(*name))).collect()
    }

    #[test]
    fn objects_without_usage_are_left_out() {
        let usage: Vec<Arc<str>> = vec!["b".into(), "d".into()];
        let pairs = with_objects(usage, named(&["a", "b", "c", "d", "e"]), |name| name);
        let names: Vec<_> = pairs.iter().map(|(object, usage)| (&*object.name, &**usage)).collect();
        assert_eq!(names, [("b", "b"), ("d", "d")]);
    }

    /// What one query for all pods costs depends on how many there are: unknown numbers must not look like small ones.
    #[test]
    fn a_namespace_has_the_population_that_is_known_of_it() {
        let pods = named(&["a", "b"]);
        let all = UsageRequest::default();
        let in_namespace = UsageRequest { namespace: Some("n".to_owned()), ..all.clone() };
        let labels = Selector::parse("app=a").unwrap();
        let selected = UsageRequest { labels: labels.clone(), ..in_namespace.clone() };
        let everywhere = UsageRequest { labels, ..all.clone() };
        for (request, population) in [
            // All pods of the namespace are here, however many the cluster has.
            (&all, Some(2)),
            (&in_namespace, Some(2)),
            (&selected, Some(9)),
            // The 9 are of all namespaces.
            (&everywhere, None),
        ] {
            let place = Place::new(&pods, request, Some(9));
            assert_eq!((&*place.namespace, place.selected.population), ("n", population));
        }
    }

    #[test]
    fn only_an_object_that_was_named_can_be_missing() {
        let kinds = Kinds::builtin();
        let of = |kind: &str, request: &UsageRequest| {
            let kind = kinds.resolve("", kind).unwrap();
            request.not_found(kind, "why".to_owned()).map(|error| error.to_string())
        };
        assert_eq!(of("pods", &UsageRequest::default()), None);
        let named = UsageRequest { name: Some("x".to_owned()), ..UsageRequest::default() };
        let message = "nodemetrics.metrics.k8s.io \"x\" not found: why";
        assert_eq!(of("nodes", &named).as_deref(), Some(message));
        let pod = UsageRequest { namespace: Some("n".to_owned()), ..named };
        let message = "podmetrics.metrics.k8s.io \"n/x\" not found: why";
        assert_eq!(of("pods", &pod).as_deref(), Some(message));
    }

    #[test]
    fn an_autoscaler_is_the_same_reader_each_time() {
        let of = |labels: &str| UsageRequest {
            namespace: Some("n".to_owned()),
            labels: Selector::parse(labels).unwrap(),
            ..UsageRequest::default()
        };
        assert_eq!(of("app=a").reader(), of("app=a").reader());
        assert_ne!(of("app=a").reader(), of("app=b").reader());
    }
}
