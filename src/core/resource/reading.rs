//! From samples to usage.

use std::{collections::BTreeMap, sync::Arc};

use super::Usage;
use crate::core::{
    oddity::{Oddities, Oddity},
    plan::Objects,
    quantity,
    samples::{Index, Sample, Vector},
};

/// What one resource's samples say of objects.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UsageSamples<V> {
    values: BTreeMap<Arc<str>, V>,
    /// What there is instead of values, where that is known of an object.
    instead: BTreeMap<Arc<str>, Oddity>,
    /// What was odd about the samples.
    pub odd: Oddities,
}

/// What they say of the containers of pods in a namespace.
pub type Containers = UsageSamples<Pod>;

/// What they say of nodes.
pub type Nodes = UsageSamples<Node>;

/// The values of a pod.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pod {
    at_ms: i64,
    /// Thousandths by container; nothing where its sample is no value.
    values: BTreeMap<Box<str>, Option<i64>>,
}

/// The value of a node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Node {
    at_ms: i64,
    milli: i64,
}

/// The usage of a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodUsage {
    /// The pod's name.
    pub name: Arc<str>,
    /// When its earliest value was evaluated, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The usage by container, sorted by name; never empty.
    pub containers: Vec<ContainerUsage>,
}

/// The usage of a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContainerUsage {
    /// The container's name; empty where the samples are of whole pods.
    pub name: Box<str>,
    /// What it uses.
    pub usage: Usage,
}

/// The usage of a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeUsage {
    /// The node's name.
    pub name: Arc<str>,
    /// When its earlier value was evaluated, in milliseconds since the epoch.
    pub at_ms: i64,
    /// What it uses.
    pub usage: Usage,
}

impl<V> UsageSamples<V> {
    /// Reads the samples of the objects that are asked for: `add` takes each, with the name of its object.
    fn read_by(
        vector: &Vector,
        index: &Index,
        namespace: &str,
        objects: &Objects,
        mut add: impl FnMut(&mut Self, &Arc<str>, Sample<'_>),
    ) -> Self {
        let (values, instead) = (BTreeMap::new(), BTreeMap::new());
        let mut read = Self { values, instead, odd: Oddities::default() };
        match objects {
            Objects::Named(names) => {
                for name in names {
                    let samples = index.of(vector, namespace, name);
                    samples.for_each(|sample| add(&mut read, name, sample));
                }
            }
            Objects::Any => {
                let mut known = Arc::<str>::default();
                for (name, sample) in index.objects(vector, namespace) {
                    if *known != *name {
                        known = Arc::from(name);
                    }
                    add(&mut read, &known, sample);
                }
            }
        }
        let is_missing = |name: &str| !read.values.contains_key(name);
        let (instead, odd) = explain(vector, index, namespace, objects, is_missing);
        read.instead.extend(instead);
        read.odd.extend(odd);
        read
    }

    /// The value of a sample in thousandths, not below 0. What there is instead of one is noted.
    fn milli(&mut self, name: &Arc<str>, value: f64) -> Option<i64> {
        let milli = quantity::milli(value).map(|milli| milli.max(0));
        if milli.is_none() {
            let oddity = Oddity::of_value(value);
            self.odd.note(oddity, name);
            self.instead.insert(Arc::clone(name), oddity);
        }
        milli
    }

    /// Takes in what was read of further objects.
    pub fn extend(&mut self, more: Self) {
        self.values.extend(more.values);
        self.instead.extend(more.instead);
        self.odd.extend(more.odd);
    }

    /// Why there is no value of an object.
    fn why(&self, name: &str) -> Oddity {
        let mut of_all = [Oddity::NoLabel, Oddity::HistogramsLeftOut, Oddity::Partial].into_iter();
        let of_all = of_all.find(|oddity| self.odd.has(*oddity));
        self.instead.get(name).copied().or(of_all).unwrap_or(Oddity::NoSample)
    }
}

impl Containers {
    /// Reads the samples of the pods that are asked for.
    ///
    /// A value that is not finite is none, and leaves the pod without usage. Negative values, which only a wrong query returns, are 0. Of several samples for one
    /// container the one whose labels sort last is taken.
    pub fn read(
        vector: &Vector,
        index: &Index,
        namespace: &str,
        objects: &Objects,
        container_label: &str,
    ) -> Self {
        let is_chosen = index.key().is_sorted;
        Self::read_by(vector, index, namespace, objects, |containers, name, sample| {
            let milli = containers.milli(name, sample.value);
            let pod = containers
                .values
                .entry(Arc::clone(name))
                .or_insert_with(|| Pod { at_ms: sample.at_ms, values: BTreeMap::new() });
            pod.at_ms = pod.at_ms.min(sample.at_ms);
            let container = sample.label(container_label).unwrap_or_default();
            if pod.values.insert(container.into(), milli).is_some() && !is_chosen {
                containers.odd.note(Oddity::SeveralSamples, name);
            }
        })
    }
}

impl Nodes {
    /// Reads the samples of the nodes that are asked for, as [`Containers::read`] does those of pods.
    pub fn read(vector: &Vector, index: &Index, objects: &Objects) -> Self {
        let is_chosen = index.key().is_sorted;
        Self::read_by(vector, index, "", objects, |nodes, name, sample| {
            let Some(milli) = nodes.milli(name, sample.value) else { return };
            let node = Node { at_ms: sample.at_ms, milli };
            if nodes.values.insert(Arc::clone(name), node).is_some() && !is_chosen {
                nodes.odd.note(Oddity::SeveralSamples, name);
            }
        })
    }
}

/// What is odd about samples beside the values: what there is instead of samples of the objects that are asked for, and all
/// of it.
fn explain(
    vector: &Vector,
    index: &Index,
    namespace: &str,
    objects: &Objects,
    is_missing: impl Fn(&str) -> bool,
) -> (BTreeMap<Arc<str>, Oddity>, Oddities) {
    let (mut instead, mut odd) = (BTreeMap::new(), vector.oddities());
    if index.unlabelled() > 0 {
        odd.note(Oddity::NoLabel, "");
    }
    let Objects::Named(names) = objects else { return (instead, odd) };
    if !names.iter().any(|name| is_missing(name)) {
        return (instead, odd);
    }
    let missing = |name: &str| {
        let at = names.binary_search_by(|known| (**known).cmp(name)).ok()?;
        names.get(at).filter(|name| is_missing(name))
    };
    for (name, oddity) in index.unusable(vector, namespace) {
        let missing = missing(name);
        if name.is_empty() || missing.is_some() {
            odd.note(oddity, name);
        }
        instead.extend(missing.map(|name| (Arc::clone(name), oddity)));
    }
    for (place, name) in index.elsewhere(vector, namespace) {
        let Some(missing) = missing(name) else { continue };
        odd.note(Oddity::OtherNamespaces, &format!("{place}/{name}"));
        instead.entry(Arc::clone(missing)).or_insert(Oddity::OtherNamespaces);
    }
    (instead, odd)
}

/// The pods of a namespace that CPU and memory are known of, sorted by name.
///
/// A container that only one of both is known of has 0 of the other, as at prometheus-adapter: in the first minute there is no
/// rate yet, and after a container has ended there still is one. What cAdvisor says without the name of a container is the sum of
/// the pod, and `POD` is its sandbox: they are left out where containers are distinguished, because readers add them up. A pod of
/// which a container has a sample that is no value is left out: the rest is not what it uses.
pub fn pods(cpu: &Containers, memory: &Containers) -> Vec<PodUsage> {
    let both =
        cpu.values.iter().filter_map(|(name, cpu)| Some((name, cpu, memory.values.get(name)?)));
    both.filter_map(|(name, cpu, memory)| {
        let mut containers: BTreeMap<&str, [Option<i64>; 2]> = BTreeMap::new();
        for (resource, values) in [&cpu.values, &memory.values].into_iter().enumerate() {
            for (container, value) in values {
                let pair = containers.entry(container).or_insert([Some(0); 2]);
                if let Some(place) = pair.get_mut(resource) {
                    *place = *value;
                }
            }
        }
        containers.remove("POD");
        if containers.len() > 1 {
            containers.remove("");
        }
        let knows = |values: &BTreeMap<Box<str>, _>| {
            containers.keys().any(|name| values.contains_key(*name))
        };
        if !knows(&cpu.values) || !knows(&memory.values) {
            return None;
        }
        let containers = containers.into_iter().map(|(name, [cpu, memory])| {
            let usage = Usage { cpu_milli: cpu?, memory_milli: memory? };
            Some(ContainerUsage { name: name.into(), usage })
        });
        Some(PodUsage {
            name: Arc::clone(name),
            at_ms: cpu.at_ms.min(memory.at_ms),
            containers: containers.collect::<Option<_>>()?,
        })
    })
    .collect()
}

/// Why a pod is not among [`pods`]: what is wrong with its CPU, and with its memory.
pub fn why_no_pod(cpu: &Containers, memory: &Containers, name: &str) -> [Option<Oddity>; 2] {
    let is_container = |container: &str| !matches!(container, "" | "POD");
    let has_containers = [cpu, memory]
        .iter()
        .filter_map(|read| read.values.get(name))
        .any(|pod| pod.values.keys().any(|container| is_container(container)));
    [cpu, memory].map(|read| {
        let Some(pod) = read.values.get(name) else {
            return Some(read.why(name));
        };
        // The sum of a pod counts if neither CPU nor memory distinguishes containers.
        let counts = |container: &str| {
            if has_containers { is_container(container) } else { container.is_empty() }
        };
        let mut values = pod.values.iter().filter(|(container, _)| counts(container)).peekable();
        if values.peek().is_none() {
            return Some(Oddity::NoContainerLabel);
        }
        let is_valueless = values.any(|(_, value)| value.is_none());
        is_valueless.then(|| read.why(name))
    })
}

/// Why a node is not among [`nodes`]: what is wrong with its CPU, and with its memory.
pub fn why_no_node(cpu: &Nodes, memory: &Nodes, name: &str) -> [Option<Oddity>; 2] {
    [cpu, memory].map(|read| (!read.values.contains_key(name)).then(|| read.why(name)))
}

/// The nodes that CPU and memory are known of, sorted by name.
pub fn nodes(cpu: &Nodes, memory: &Nodes) -> Vec<NodeUsage> {
    let both =
        cpu.values.iter().filter_map(|(name, cpu)| Some((name, cpu, memory.values.get(name)?)));
    both.map(|(name, cpu, memory)| NodeUsage {
        name: Arc::clone(name),
        at_ms: cpu.at_ms.min(memory.at_ms),
        usage: Usage { cpu_milli: cpu.milli, memory_milli: memory.milli },
    })
    .collect()
}
