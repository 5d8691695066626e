//! The usage of a resource by pods: the queries of `resourceRules`, and the values of their answers.

use futures::future::join;

use super::{
    Explainer, Known,
    asking::{Deadline, not_a_vector, samples, series_near},
    served::{objects_of, unplanned},
};
use crate::{
    core::{
        explain::{
            Answered, Cause, Step,
            facts::{
                AnswerFacts, Asked, Facts, Failure, ObjectsFacts, SeriesFacts, Served, UsagePart,
            },
            hpa::{Found, Measured},
            name,
            sight::{self, Sight},
            usage,
        },
        plan::{self, Source},
        resource::{self, Containers},
        rules::ComputeResource,
        samples::{Index, Vector},
        selector::Selector,
        window,
    },
    prometheus::Answer,
};

impl Explainer {
    /// Whether there are rules for usage, even if they do not compile.
    pub(super) fn has_usage_rules(&self) -> bool {
        self.rules.usage().is_some() || self.unread_rules().is_some()
    }

    /// Why the rules file cannot be read, or its `resourceRules` in it, if there are none that could be.
    fn unread_rules(&self) -> Option<String> {
        let broken = self.rules.broken();
        let is_of_metric =
            |path: &str| path.starts_with("rules[") || path.starts_with("externalRules[");
        let problem = broken.iter().find(|rule| !is_of_metric(&rule.path));
        problem.map(|rule| format!("{}: {}", rule.path, rule.problem))
    }

    /// Explains the usage of a resource to somebody.
    pub(super) async fn usage(&self, asked: Asked, known: Known, sight: Sight) -> Answered {
        let deadline = self.deadline();
        let Some(resource) = usage::resource(&asked.metric) else {
            let seen = format!("metrics.k8s.io has cpu and memory, and not `{}`", asked.metric);
            let advice = "use a metric of another API for it";
            return refused(Cause::UnknownMetric, seen, advice);
        };
        let Some(rules) = self.rules.usage() else {
            if let Some(seen) = self.unread_rules() {
                let advice = "correct the file: `loadline check` names its problems";
                return refused(Cause::BrokenRule, seen, advice);
            }
            let seen = "the rules file has no `resourceRules`".to_owned();
            let advice = "add `resourceRules`, or register metrics-server for metrics.k8s.io";
            return refused(Cause::UnknownMetric, seen, advice);
        };
        let pair = match &rules.pods.queries {
            Ok(pair) => pair,
            Err(why) => {
                let broken = self.rules.broken();
                let problem = broken.iter().find(|rule| rule.path.starts_with("resourceRules"));
                let seen = problem
                    .map_or_else(|| why.clone(), |rule| format!("{}: {}", rule.path, rule.problem));
                let advice =
                    "correct `resourceRules`: usage is served with rules for both CPU and memory";
                return refused(Cause::BrokenRule, seen, advice);
            }
        };
        let objects = self.objects(&asked, known, deadline).await;
        let (own, other, other_name) = match resource {
            ComputeResource::Cpu => (&pair.cpu, &pair.memory, "memory"),
            ComputeResource::Memory => (&pair.memory, &pair.cpu, "cpu"),
        };
        let of_other = Asked { metric: other_name.to_owned(), ..asked.clone() };
        let (own, other) = join(
            Box::pin(self.look_at(own.source(), asked, &objects, deadline)),
            Box::pin(self.look_at(other.source(), of_other, &objects, deadline)),
        )
        .await;
        let ((mut own, own_read), (mut other, other_read)) = (own, other);
        let pods = match resource {
            ComputeResource::Cpu => resource::pods(&own_read, &other_read),
            ComputeResource::Memory => resource::pods(&other_read, &own_read),
        };
        sight::limit(&mut own, sight);
        sight::limit(&mut other, sight);
        let (steps, values) = usage::steps(&own, &other, &pods, resource);
        let window_ms = i64::try_from(rules.window.as_millis()).unwrap_or(i64::MAX);
        let measured = pods.iter();
        let measured = measured
            .map(|pod| (pod.name.to_string(), Measured { at_ms: pod.at_ms, window_ms }))
            .collect();
        let query = own.answer.map(|answer| answer.query).unwrap_or_default();
        let found = Found { measured, ..Found::new(values, query, None) };
        Answered { steps, found }
    }

    /// The facts about one resource, and what its samples say of pods.
    async fn look_at(
        &self,
        source: Source<'_>,
        asked: Asked,
        objects: &ObjectsFacts,
        deadline: Deadline,
    ) -> (Facts, Containers) {
        let mut facts = Facts {
            broken: Vec::new(),
            rules: Vec::new(),
            served_names: Vec::new(),
            is_in_other_api: false,
            undiscovered: Vec::new(),
            delegate: None,
            served: None,
            objects: objects.clone(),
            series: None,
            answer: None,
            fallback: None,
            asked,
        };
        let namespace = facts.asked.namespace.clone();
        let scope = namespace.as_deref().unwrap_or_default();
        let plan =
            plan::exact(source, namespace.as_deref(), &objects_of(&facts), &Selector::default());
        let query = plan.as_ref().map(|plan| plan.query.to_string()).unwrap_or_default();
        let series = usage::series(&query);
        facts.served = Some(Served {
            rule: source.rule.clone(),
            object: None,
            place: source.place,
            query_key: "containerQuery",
            aggregate: None,
            series: series.clone().unwrap_or_default(),
            label: Some(source.label.to_string()),
            namespace_label: source.namespace_label.map(ToString::to_string),
            sharing: "readers of usage may share a query".to_owned(),
        });
        let mut answer = AnswerFacts { query, ..AnswerFacts::default() };
        let mut read = Containers::default();
        let backend = self.backends.handle(source.options, scope);
        let backend = backend.map_err(|error| self.unusable(&error));
        let asked = plan.map_err(|error| unplanned(&error)).and_then(|plan| Ok((plan, backend?)));
        match asked {
            Err(failure) => answer.failure = Some(failure),
            Ok((plan, backend)) => {
                match deadline.ask_of(&backend, backend.query(&plan.query)).await {
                    Err(failure) => answer.failure = Some(failure),
                    Ok(Answer::Scalar(..)) => answer.failure = Some(not_a_vector("scalar")),
                    Ok(Answer::Other(kind)) => answer.failure = Some(not_a_vector(kind)),
                    Ok(Answer::Vector(vector)) => {
                        let index = Index::new(&vector, &plan.key);
                        let label = source.part_label.unwrap_or_default();
                        let wanted = objects_of(&facts);
                        read = Containers::read(&vector, &index, scope, &wanted, label);
                        answer_of(&vector, &read, &facts.asked, &mut answer);
                    }
                }
                if answer.failure.is_none() {
                    let range = window::shortest(&plan.query);
                    let range = range.filter(|_| answer.values.is_empty());
                    facts.series = Some(match series {
                        Some(name) => {
                            let near = source.namespace_label.map(|label| (&**label, scope));
                            series_near(&backend, &name, near, range, deadline).await
                        }
                        None => unnamed(source),
                    });
                }
            }
        }
        facts.answer = Some(answer);
        (facts, read)
    }
}

/// What an answer says of one resource alone.
fn answer_of(vector: &Vector, read: &Containers, asked: &Asked, answer: &mut AnswerFacts) {
    answer.samples = samples(vector);
    answer.histograms.count = vector.unusable.len();
    answer.histograms.are_left_out = vector.lacks_histograms;
    answer.warnings.clone_from(&vector.warnings);
    answer.is_partial = vector.is_partial;
    // As both resources of the pods: the other one is looked at by itself.
    let pods = resource::pods(read, read);
    let part = asked.usage.as_ref().unwrap_or(&UsagePart::Pod);
    answer.values = usage::values(&pods, ComputeResource::Cpu, part);
    if answer.values.is_empty() && !pods.is_empty() {
        // The container is looked for where both resources are known.
        answer.values = usage::values(&pods, ComputeResource::Cpu, &UsagePart::Pod);
    }
}

/// Series of which the query says no name.
fn unnamed(source: Source<'_>) -> SeriesFacts {
    let text =
        format!("the query of {} names no series, and returned none of these pods", source.rule);
    let failure = Failure { cause: Cause::SeriesAbsent, text };
    SeriesFacts { failure: Some(failure), ..SeriesFacts::default() }
}

fn refused(cause: Cause, seen: String, advice: &str) -> Answered {
    let found = Found::missing(seen.clone());
    Answered { steps: vec![Step::found(name::RULE, cause, seen, advice)], found }
}
