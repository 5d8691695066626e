//! Which queries can be shared: one for all objects has the answers of all readers in it where the answer for one object does
//! not depend on which others are asked for. That is proven on the rendered queries.

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

/// A plan that readers can share.
#[derive(Debug)]
pub struct Shareable {
    /// The query for all objects.
    pub plan: Plan,
    /// Whether the query selects objects by name. Where not, the exact queries are this one, too.
    pub depends_on_names: bool,
}

/// Why a query cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum NotShareable {
    /// The template does more with the names than write them, so its result for other names is unknown.
    #[error("{0}")]
    Template(String),
    /// The query is not pointwise.
    #[error("{0}")]
    Query(#[from] Refusal),
    /// The metric selector requires a label that identifies objects.
    #[error("the metric selector requires the label {0}, which identifies the objects")]
    Selector(Arc<str>),
    /// The query is the same in all namespaces anyway.
    #[error("the query is the same in all namespaces")]
    SameEverywhere,
    /// The headers of the query differ between namespaces.
    #[error("a header of the rule depends on the namespace")]
    Headers,
    /// There is no query at all.
    #[error("{0}")]
    Plan(#[from] PlanError),
}

/// The plan for all objects of a namespace, or without one of the cluster, if its result has the answers of all readers in it.
pub fn prove(
    source: Source<'_>,
    namespace: Option<&str>,
    metric_selector: &Selector,
) -> Result<Shareable, NotShareable> {
    let spans = namespace.is_none() && source.is_namespaced;
    if spans && source.options.may_depend_on_namespace() {
        return Err(NotShareable::Headers);
    }
    let (here, there, everywhere) = if spans {
        (Place::Namespace(HERE), Place::Namespace(THERE), Place::EveryNamespace)
    } else {
        (Place::of(namespace), Place::of(namespace), Place::of(namespace))
    };
    let plan = super::plan(source, everywhere, Names::All, metric_selector)?;
    let one = exact(source, here, &[ONE], metric_selector)?;
    let several = exact(source, there, &SEVERAL, metric_selector)?;
    let is_key = |label: &str| {
        label == &**source.label || source.namespace_label.is_some_and(|key| **key == *label)
    };
    if let Some(requirement) = metric_selector.requirements().iter().find(|r| is_key(&r.key)) {
        return Err(NotShareable::Selector(requirement.key.as_str().into()));
    }
    source.query.names_are_plain().map_err(|why| NotShareable::Template(why.to_string()))?;
    let object = Key { label: source.label, one: ONE, several: &SEVERAL };
    let namespace_label = source.namespace_label.filter(|_| spans);
    let namespace = namespace_label.map(|label| Key { label, one: HERE, several: &[THERE] });
    let renderings = Renderings { one: &one, several: &several, wide: &plan.query };
    let verdict = pointwise::judge(&object, namespace.as_ref(), renderings)?;
    let depends_on_names = verdict == Pointwise::Dependent;
    // Its samples need not have a label for the namespace, and would not be read as those of the exact query are.
    if spans && !depends_on_names {
        return Err(NotShareable::SameEverywhere);
    }
    Ok(Shareable { plan, depends_on_names })
}

/// Whether the query selects objects by name: whether it is another one for another object.
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
