//! Which questions one query can answer for everybody: it is rendered for all objects where the proof says that the answer
//! for one object does not depend on which others are asked for.

use std::sync::Arc;

use super::{Names, Place, Plan, PlanError, Source, render};
use crate::core::{
    pointwise::{self, Key, Pointwise, Refusal, Renderings},
    selector::Selector,
};

/// Names that stand for any: no query can mean them.
const ONE: &str = "loadline-opaque-one";
const SEVERAL: [&str; 2] = ["loadline-opaque-two", "loadline-opaque-three"];

/// The same for namespaces.
const HERE: &str = "loadline-opaque-here";
const THERE: &str = "loadline-opaque-there";

/// A query that readers can share.
#[derive(Debug)]
pub struct Shared {
    /// The query for all objects.
    pub plan: Plan,
    /// Whether the names are in the query at all. Where not, the exact queries are this one, too.
    pub depends_on_names: bool,
}

/// Why a question cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum NotShared {
    /// The template does more with the names than to write them, so nobody can say what it does with other names.
    #[error("{0}")]
    Template(String),
    /// The query is not pointwise.
    #[error("{0}")]
    Query(#[from] Refusal),
    /// The metric selector asks for a label that tells objects apart.
    #[error("the metric selector asks for the label {0}, which tells the objects apart")]
    Selector(Arc<str>),
    /// The kind has no namespaces.
    #[error("the objects are in no namespace")]
    NoNamespace,
    /// The query is the same in all namespaces anyway.
    #[error("the query is the same in all namespaces")]
    SameEverywhere,
    /// What is sent with the query differs from namespace to namespace.
    #[error("a header of the rule depends on the namespace")]
    Headers,
    /// The question cannot be put at all.
    #[error("{0}")]
    Plan(#[from] PlanError),
}

/// The query for all objects of a namespace, or of the cluster for a kind without namespaces, if everybody can read his
/// answer out of its result.
pub fn shared(
    source: Source<'_>,
    namespace: Option<&str>,
    metric_selector: &Selector,
) -> Result<Shared, NotShared> {
    let place = Place::of(namespace);
    let plan = super::plan(source, place, Names::All, metric_selector)?;
    let (one, several) = (
        exact(source, place, &[ONE], metric_selector)?,
        exact(source, place, &SEVERAL, metric_selector)?,
    );
    judge(
        source,
        None,
        metric_selector,
        Renderings { one: &one, several: &several, wide: &plan.query },
    )
    .map(|depends_on_names| Shared { plan, depends_on_names })
}

/// The query for all objects of all namespaces, under the same condition.
pub fn everywhere(source: Source<'_>, metric_selector: &Selector) -> Result<Shared, NotShared> {
    let namespace = source.namespace_label.filter(|_| source.is_namespaced);
    let namespace = namespace.ok_or(NotShared::NoNamespace)?;
    if source.options.may_depend_on_namespace() {
        return Err(NotShared::Headers);
    }
    let plan = super::plan(source, Place::EveryNamespace, Names::All, metric_selector)?;
    let one = exact(source, Place::Namespace(HERE), &[ONE], metric_selector)?;
    let several = exact(source, Place::Namespace(THERE), &SEVERAL, metric_selector)?;
    let key = Key { label: namespace, one: HERE, several: &[THERE] };
    let renderings = Renderings { one: &one, several: &several, wide: &plan.query };
    let depends_on_names = judge(source, Some(key), metric_selector, renderings)?;
    // Its samples need not have a label for the namespace, and would not be read as those of the exact query are.
    if !depends_on_names {
        return Err(NotShared::SameEverywhere);
    }
    Ok(Shared { plan, depends_on_names })
}

/// Whether the query asks for the objects by name: whether it is another one for another object.
pub fn depends_on_names(source: Source<'_>, namespace: Option<&str>) -> bool {
    let place = Place::of(namespace);
    let of = |name: &str| exact(source, place, &[name], &Selector::default()).ok();
    of(ONE) != of(HERE)
}

fn exact(
    source: Source<'_>,
    place: Place<'_>,
    names: &[&str],
    metric_selector: &Selector,
) -> Result<String, PlanError> {
    let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
    render(source, place, Names::These(&names), metric_selector)
}

fn judge(
    source: Source<'_>,
    namespace: Option<Key<'_>>,
    metric_selector: &Selector,
    renderings: Renderings<'_>,
) -> Result<bool, NotShared> {
    let is_key = |label: &str| {
        label == &**source.label || source.namespace_label.is_some_and(|key| **key == *label)
    };
    if let Some(requirement) = metric_selector.requirements().iter().find(|r| is_key(&r.key)) {
        return Err(NotShared::Selector(requirement.key.as_str().into()));
    }
    source.query.names_are_plain().map_err(|reason| NotShared::Template(reason.to_string()))?;
    let object = Key { label: source.label, one: ONE, several: &SEVERAL };
    let verdict = pointwise::judge(&object, namespace.as_ref(), renderings)?;
    Ok(verdict == Pointwise::Dependent)
}
