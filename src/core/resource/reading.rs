//! From samples to usage.

use std::{collections::BTreeMap, sync::Arc};

use super::Usage;
use crate::core::{
    plan::Objects,
    quantity,
    samples::{Index, Sample, Vector},
};

/// What one resource's samples say of the containers of pods in a namespace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Containers {
    pods: BTreeMap<Arc<str>, Pod>,
    /// What was odd about the samples.
    pub odd: Odd,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Pod {
    at_ms: i64,
    /// Thousandths by container; nothing where its sample is no value.
    values: BTreeMap<Box<str>, Option<i64>>,
}

/// What one resource's samples say of nodes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nodes {
    /// Time and thousandths by node.
    values: BTreeMap<Arc<str>, (i64, i64)>,
    /// What was odd about the samples.
    pub odd: Odd,
}

/// What can be odd about samples.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Odd {
    /// An object that several samples belong to where one was expected, if there is one: the query does not aggregate.
    pub ambiguous: Option<String>,
    /// How many samples do not carry the object's label: the query aggregates it away.
    pub unlabelled: usize,
    /// How many samples were NaN or infinite and so are no value.
    pub not_finite: usize,
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

impl Containers {
    /// Reads the samples of the pods that are asked for.
    ///
    /// What is not finite is no value, and leaves the pod without usage. Negative values, which only a mistaken query can give, are 0. Of several samples for one
    /// container the one whose labels sort last is taken.
    pub fn read(
        vector: &Vector,
        index: &Index,
        namespace: &str,
        objects: &Objects,
        container_label: &str,
    ) -> Self {
        let mut containers = Self::default();
        containers.odd.unlabelled = index.unlabelled();
        match objects {
            Objects::Named(names) => {
                for name in names {
                    for sample in index.of(vector, namespace, name) {
                        containers.add(name, sample, container_label);
                    }
                }
            }
            Objects::Any => {
                let mut known = Arc::<str>::default();
                for (name, sample) in index.objects(vector, namespace) {
                    if *known != *name {
                        known = Arc::from(name);
                    }
                    containers.add(&known, sample, container_label);
                }
            }
        }
        containers
    }

    fn add(&mut self, name: &Arc<str>, sample: &Sample, container_label: &str) {
        let milli = milli(sample.value);
        self.odd.not_finite += usize::from(milli.is_none());
        let pod = self
            .pods
            .entry(Arc::clone(name))
            .or_insert_with(|| Pod { at_ms: sample.at_ms, values: BTreeMap::new() });
        pod.at_ms = pod.at_ms.min(sample.at_ms);
        let container = sample.label(container_label).unwrap_or_default();
        if pod.values.insert(container.into(), milli).is_some() {
            self.odd.ambiguous.get_or_insert_with(|| name.to_string());
        }
    }

    /// Takes in what was read of further pods of the namespace.
    pub fn extend(&mut self, more: Self) {
        self.pods.extend(more.pods);
        self.odd.extend(more.odd);
    }
}

impl Nodes {
    /// Reads the samples of the nodes that are asked for, as [`Containers::read`] does those of pods.
    pub fn read(vector: &Vector, index: &Index, objects: &Objects) -> Self {
        let mut nodes = Self::default();
        nodes.odd.unlabelled = index.unlabelled();
        match objects {
            Objects::Named(names) => {
                for name in names {
                    index.of(vector, "", name).for_each(|sample| nodes.add(name, sample));
                }
            }
            Objects::Any => {
                for (name, sample) in index.objects(vector, "") {
                    nodes.add(&Arc::from(name), sample);
                }
            }
        }
        nodes
    }

    fn add(&mut self, name: &Arc<str>, sample: &Sample) {
        let Some(milli) = milli(sample.value) else {
            self.odd.not_finite += 1;
            return;
        };
        if self.values.insert(Arc::clone(name), (sample.at_ms, milli)).is_some() {
            self.odd.ambiguous.get_or_insert_with(|| name.to_string());
        }
    }

    /// Takes in what was read of further nodes.
    pub fn extend(&mut self, more: Self) {
        self.values.extend(more.values);
        self.odd.extend(more.odd);
    }
}

impl Odd {
    fn extend(&mut self, more: Self) {
        let Self { ambiguous, unlabelled, not_finite } = more;
        self.ambiguous = self.ambiguous.take().or(ambiguous);
        self.unlabelled += unlabelled;
        self.not_finite += not_finite;
    }
}

fn milli(value: f64) -> Option<i64> {
    quantity::milli(value).map(|milli| milli.max(0))
}

/// The pods of a namespace that CPU and memory are known of, sorted by name.
///
/// A container that only one of both is known of has 0 of the other, as at prometheus-adapter: in the first minute there is no
/// rate yet, and after a container has ended there still is one. What cAdvisor says without the name of a container is the sum of
/// the pod, and `POD` is its sandbox: they are left out where containers are told apart, because who reads adds them up. A pod of
/// which a container has a sample that is no value is left out: the rest is not what it uses.
pub fn pods(cpu: &Containers, memory: &Containers) -> Vec<PodUsage> {
    let both = cpu.pods.iter().filter_map(|(name, cpu)| Some((name, cpu, memory.pods.get(name)?)));
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

/// The nodes that CPU and memory are known of, sorted by name.
pub fn nodes(cpu: &Nodes, memory: &Nodes) -> Vec<NodeUsage> {
    let both =
        cpu.values.iter().filter_map(|(name, cpu)| Some((name, *cpu, *memory.values.get(name)?)));
    both.map(|(name, (cpu_at, cpu_milli), (memory_at, memory_milli))| NodeUsage {
        name: Arc::clone(name),
        at_ms: cpu_at.min(memory_at),
        usage: Usage { cpu_milli, memory_milli },
    })
    .collect()
}
