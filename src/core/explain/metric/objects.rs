//! The step of the objects.

use super::{
    super::{
        Cause, Step,
        facts::{Asked, ObjectsFacts, Of, Which},
        name,
    },
    AT_ZERO,
    words::{examples, resource},
};

/// Puts what somebody else knows better of the objects in the place of what the steps say of them. Where that ends the way,
/// nothing follows.
pub fn with_objects(steps: Vec<Step>, known: Vec<Step>) -> Vec<Step> {
    let is_of_objects = |step: &Step| step.name == name::OBJECTS;
    let Some(at) = steps.iter().position(is_of_objects) else { return steps };
    let is_end = known.iter().any(Step::is_failure);
    if !is_end && steps.iter().any(|step| is_of_objects(step) && step.is_failure()) {
        return steps;
    }
    let mut rest = steps;
    let mut all: Vec<Step> = rest.drain(..at).chain(known).collect();
    if !is_end {
        all.extend(rest.into_iter().filter(|step| !is_of_objects(step)));
    }
    all
}

/// The objects that are asked about.
pub fn objects(asked: &Asked, objects: &ObjectsFacts) -> Vec<Step> {
    let Of::Objects { which, .. } = &asked.of else { return Vec::new() };
    let ObjectsFacts { selected, all, is_known, owner } = objects;
    let resource = resource(asked);
    let place = asked.namespace.as_ref().map_or(String::new(), |it| format!(" in namespace {it}"));
    if !is_known {
        return vec![Step::unknown(name::OBJECTS, "nobody says which objects there are")];
    }
    let Which::Selected(selector) = which else {
        let Which::Named(name) = which else { return Vec::new() };
        let seen = if all.contains(name) {
            format!("{name} is there")
        } else {
            format!("there is no {name} among the {} {resource}{place}{}", all.len(), examples(all))
        };
        return vec![Step {
            ok: all.contains(name).then_some(true),
            ..Step::good(name::OBJECTS, seen)
        }];
    };
    if selected.is_empty() {
        if asked.is_at_zero {
            let seen =
                format!("the workload has no pods, and `{}` is read from its pods", asked.metric);
            return vec![Step::found(name::OBJECTS, Cause::AbsentAtZero, seen, AT_ZERO)];
        }
        let seen = if all.is_empty() {
            format!("there are no {resource}{place}")
        } else {
            format!("no {resource}{place} match `{selector}`{}", examples(all))
        };
        let advice = "correct the selector, or the labels of the objects";
        return vec![Step::found(name::OBJECTS, Cause::NoObjectSelected, seen, advice)];
    }
    let names: Vec<String> = selected.iter().map(|object| object.name.clone()).collect();
    let seen = format!("{} of {} {resource}{place}{}", selected.len(), all.len(), examples(&names));
    let ready = selected.iter().filter(|object| object.is_ready != Some(false)).count();
    if ready == 0 {
        let seen = format!("{seen}; none of them is ready");
        let advice = "see why the pods do not become ready: an autoscaler ignores them until then";
        return vec![Step::found(name::OBJECTS, Cause::NotReady, seen, advice)];
    }
    let mut steps = vec![Step::good(
        name::OBJECTS,
        if ready == selected.len() { seen } else { format!("{seen}; {ready} are ready") },
    )];
    if let Some(owner) = owner {
        let is_foreign = |owners: &[String]| !owners.is_empty() && !owners.contains(owner);
        let foreign: Vec<String> = selected
            .iter()
            .filter(|object| is_foreign(&object.owners))
            .map(|object| format!("{} of {}", object.name, object.owners.join(" of ")))
            .collect();
        if !foreign.is_empty() {
            let seen = format!(
                "{} of {} that match the selector do not belong to {owner}{}",
                foreign.len(),
                selected.len(),
                examples(&foreign)
            );
            let advice = format!("give the pods of {owner} a label of their own, and select by it");
            steps.push(Step::doubtful(name::OBJECTS, Cause::ForeignOwner, seen, advice));
        }
    }
    steps
}
