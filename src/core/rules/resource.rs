//! `resourceRules`: how metrics.k8s.io's usage of pods and nodes is queried.

use std::{sync::Arc, time::Duration};

use super::{
    Backend, ComputeResource, EntryProblems, FileName, Fingerprint, Mapping, Problem, QueryOptions,
    RuleEntry, RuleId,
    fields::{Fields, Text},
    options, query_template, window_seconds,
};
use crate::core::{template::QueryTemplate, yaml::Place};

/// The reported window if neither the file nor the queries have one.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);

/// `resourceRules`, compiled. What did not compile is absent, and among [`super::RuleSet::broken`].
#[derive(Clone, Debug)]
pub struct ResourceRules {
    /// How CPU is queried, in cores.
    pub cpu: Option<Arc<ResourceRule>>,
    /// How memory is queried, in bytes.
    pub memory: Option<Arc<ResourceRule>>,
    /// The range that the answers report: `window`, else the range of the CPU queries, else a minute. It may be zero, if the
    /// file says so.
    pub window: Duration,
}

/// `resourceRules.cpu` or `resourceRules.memory`, compiled.
///
/// Both queries are rendered with an empty `.Series`. A query for pods has the matchers of the namespace and then of the
/// pods' label, and groups by the pods' label and the container label, in this order. A query for nodes has the matcher of
/// the nodes' label, and groups by it. The labels are those of [`ResourceRule::mapping`], tied to the cluster's kinds.
#[derive(Debug)]
pub struct ResourceRule {
    /// What the rule is called in messages.
    pub id: RuleId,
    /// Whose usage the queries return.
    pub resource: ComputeResource,
    /// Where the rule stands in its file.
    pub place: Place,
    /// What the file says of the rule, and of the backend that it names.
    pub fingerprint: Fingerprint,
    /// The query for the containers of pods; absent where the rule says nothing of pods.
    pub container_query: Option<Arc<QueryTemplate>>,
    /// The query for nodes; absent where the rule says nothing of nodes.
    pub node_query: Option<Arc<QueryTemplate>>,
    /// Labels to resources and back. Pods and namespaces have a label where there is a `container_query`, nodes where there
    /// is a `node_query`; only a template may turn out to have none.
    pub mapping: Mapping,
    /// The label that holds a container's name; empty only without a `container_query`.
    pub container_label: String,
    /// How the queries are sent, and how long their answers are used.
    pub options: QueryOptions,
}

impl ResourceRules {
    /// The rules that compile, and `window` where it is written.
    pub(super) fn new(
        cpu: Option<ResourceRule>,
        memory: Option<ResourceRule>,
        window: Option<Duration>,
    ) -> Self {
        let window = window.or_else(|| {
            let cpu = cpu.as_ref()?;
            let queries = [&cpu.container_query, &cpu.node_query].into_iter().flatten();
            let seconds = queries.map(|query| window_seconds(query)).find_map(|seconds| seconds)?;
            u64::try_from(seconds).ok().map(Duration::from_secs)
        });
        Self {
            cpu: cpu.map(Arc::new),
            memory: memory.map(Arc::new),
            window: window.unwrap_or(DEFAULT_WINDOW),
        }
    }
}

/// Compiles `resourceRules.cpu` or `resourceRules.memory` of a file.
pub(super) fn compile(
    file: &FileName,
    written: &Fields<'_>,
    resource: ComputeResource,
    backends: &[Arc<Backend>],
    broken: &mut Vec<Problem>,
) -> Option<ResourceRule> {
    let before = broken.len();
    let mut problems = EntryProblems::new(written.path.clone(), broken);
    let [containers, nodes] = ["containerQuery", "nodeQuery"].map(|key| written.text(key));
    if containers.value.is_empty() && nodes.value.is_empty() {
        let message = "`containerQuery` for pods or `nodeQuery` for nodes is required";
        problems.add(written.place, "containerQuery", message);
    }
    let mapping = Mapping::compile(written, &mut problems);
    let mut label_of = |query: &str, resource: &str, place| {
        if mapping.as_ref().is_some_and(|mapping| !mapping.may_name(resource)) {
            let message = format!("`{query}` needs a label of {resource}s, and none is mapped");
            problems.add(place, "resources", message);
        }
    };
    if !containers.value.is_empty() {
        label_of("containerQuery", "pod", containers.place);
        label_of("containerQuery", "namespace", containers.place);
    }
    if !nodes.value.is_empty() {
        label_of("nodeQuery", "node", nodes.place);
    }
    let label = written.text("containerLabel");
    if !containers.value.is_empty() && label.value.is_empty() {
        let message = "the label that holds a container's name is required, such as `container`";
        problems.add(label.place, "containerLabel", message);
    }
    let mut template = |key: &str, text: &Text| {
        if text.value.is_empty() { None } else { query_template(key, text, &mut problems) }
    };
    let container_query = template("containerQuery", &containers);
    let node_query = template("nodeQuery", &nodes);
    let options = options::compile(written, backends, &mut problems);
    if broken.len() > before {
        return None;
    }
    let entry = RuleEntry::Resource(resource);
    Some(ResourceRule {
        id: RuleId { file: file.clone(), entry },
        resource,
        place: written.place,
        fingerprint: options.fingerprint_with(written.fingerprint(&entry.to_string())),
        container_query: container_query.map(Arc::new),
        node_query: node_query.map(Arc::new),
        mapping: mapping?,
        container_label: label.value,
        options,
    })
}
