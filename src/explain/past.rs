//! The history of a metric: what its query has returned at each of many times, read as a reader of that time would have read it.

use std::{sync::Arc, time::Duration};

use super::{
    Explainer, Known,
    served::{Entries, entry, readings},
};
use crate::{
    core::{
        explain::{
            Inquiry,
            facts::{Of, Which},
            sight::Sight,
        },
        external,
        oddity::Oddity,
        plan,
        resource::{self, Containers},
        rules::QueryOptions,
        samples::{Index, Vector},
        selector::Selector,
        simulation::{Grid, Owner, Recorded},
    },
    prometheus::{Audience, BackendHandle, Error, PublicError, Range},
};

/// The most times of a range query. Prometheus refuses more than 11,000, and fewer are answered sooner.
const MOST_POINTS: usize = 2_880;

/// A range query of so few times is not halved any more if its answer is too large or takes too long.
const FEWEST_POINTS: usize = 16;

/// Told how many of all steps have been read.
pub(crate) type Progress<'p> = &'p mut (dyn FnMut(usize, usize) + Send);

/// The history of a metric.
#[derive(Debug)]
pub(crate) struct Past {
    /// The query.
    pub(crate) query: String,
    /// The values by step; nothing where there were none.
    pub(crate) values: Arc<[Option<Recorded>]>,
    /// What was odd.
    pub(crate) notes: Vec<String>,
}

impl Past {
    /// The history of a metric that cannot be read.
    fn without_values(grid: Grid, why: &str) -> Self {
        let notes = vec![format!("it has no value at any time: {why}")];
        Self { query: String::new(), values: vec![None; grid.steps].into(), notes }
    }
}

impl Explainer {
    /// The history of a metric. Of pods, those of the owner count, or all where none is its own.
    pub(crate) async fn past(
        &self,
        inquiry: &Inquiry,
        owner: Owner<'_>,
        grid: Grid,
        progress: Progress<'_>,
    ) -> Result<Past, String> {
        let asked = self.asked(inquiry);
        let entry = match self.team_entry(&asked).await {
            Some(entry) => Some(entry),
            None => entry(&self.discovery.catalog(), &asked),
        };
        let Some(entry) = entry else {
            let answered = Box::pin(self.answer(asked, Known::default(), Sight::Backend)).await;
            return Err(answered.found.values.err().unwrap_or_else(|| "no rule serves it".into()));
        };
        let objects = match &asked.of {
            Of::Objects { which: Which::Named(name), .. } => {
                plan::Objects::Named(vec![name.as_str().into()])
            }
            // Nobody knows which pods there were.
            Of::Objects { .. } | Of::External => plan::Objects::Any,
        };
        let namespace = asked.namespace.as_deref();
        let plan = entry.plan_of(namespace, &objects, &asked.selector);
        let plan = match plan {
            Ok(plan) => plan,
            // Reads of it fail, whatever the time, and those of other metrics do not.
            Err(error) => return Ok(Past::without_values(grid, &error.to_string())),
        };
        let place = namespace.unwrap_or_default();
        let rule = entry.rule();
        let backend = self.backends.handle(&rule.base().options, place);
        let backend = backend.map_err(|error| self.unusable(&error).text)?;
        let mut sums = Sums::new(owner, objects == plan::Objects::Any);
        let read = |vector: &Vector, at_ms: i64| match &entry {
            Entries::Custom(entry) => {
                let found =
                    readings(vector, &entry.rule.base, &plan.key, (place, &objects), |_| true);
                sums.add(found.values.iter().map(|it| (&*it.name, it.milli)));
            }
            Entries::External(entry) => {
                let empty_at = (!vector.is_partial).then_some(at_ms);
                let found = external::of_vector(vector, entry, place, empty_at);
                sums.add_all(found.values.iter().map(|reading| reading.milli));
            }
        };
        let mut notes = each((&backend, self.audience), &plan.query, grid, progress, read).await?;
        if rule.base().fallback.is_some() {
            notes.push(format!(
                "the `fallback` of {} is not simulated: Prometheus does not record which reads have failed, so a gap in the history is a metric without a value",
                rule.base().id
            ));
        }
        Ok(sums.complete(&plan.query, notes))
    }

    /// The history of a resource's usage by pods, or by one of their containers; nothing where no rule is about it.
    pub(crate) async fn past_usage(
        &self,
        (resource, container): (&str, Option<&str>),
        owner: Owner<'_>,
        namespace: &str,
        grid: Grid,
        progress: Progress<'_>,
    ) -> Result<Option<Past>, String> {
        let Some(usage) = self.rules.usage() else { return Ok(None) };
        let Ok(pair) = &usage.pods.queries else { return Ok(None) };
        let source = match resource {
            "cpu" => pair.cpu.source(),
            "memory" => pair.memory.source(),
            _ => return Ok(None),
        };
        let objects = plan::Objects::Any;
        let plan = plan::exact(source, Some(namespace), &objects, &Selector::default());
        let plan = plan.map_err(|error| error.to_string())?;
        let backend = self.backends.handle(source.options, namespace);
        let backend = backend.map_err(|error| self.unusable(&error).text)?;
        let mut sums = Sums::new(owner, true);
        let label = source.part_label.unwrap_or_default();
        let read = |vector: &Vector, _| {
            let index = Index::new(vector, &plan.key);
            let containers = Containers::read(vector, &index, namespace, &objects, label);
            // Of one resource only: the other one counts as the same.
            let pods = resource::pods(&containers, &containers);
            let of_pod = pods.iter().filter_map(|pod| {
                let own = pod.containers.iter();
                let own = own.filter(|it| container.is_none_or(|container| *it.name == *container));
                let used = Recorded::of(own.map(|it| it.usage.cpu_milli))?;
                Some((&*pod.name, used.sum))
            });
            sums.add(of_pod);
        };
        let notes = each((&backend, self.audience), &plan.query, grid, progress, read).await?;
        Ok(Some(sums.complete(&plan.query, notes)))
    }

    /// The range that usage covers, in milliseconds; 0 where no usage is served.
    pub(crate) fn usage_window_ms(&self) -> i64 {
        let window = self.rules.usage().map(|usage| usage.window).unwrap_or_default();
        i64::try_from(window.as_millis()).unwrap_or(i64::MAX)
    }

    /// The history of a query, of which the first series counts, asked of the backend of the flags.
    pub(crate) async fn past_query(
        &self,
        query: &str,
        grid: Grid,
        progress: Progress<'_>,
    ) -> Result<Vec<Option<f64>>, String> {
        let backend = self.backends.handle(&QueryOptions::default(), "");
        let backend = backend.map_err(|error| self.unusable(&error).text)?;
        let mut values = Vec::new();
        let first = |vector: &Vector, _| {
            values.push(vector.samples.first().map(|sample| sample.value));
        };
        each((&backend, self.audience), query, grid, progress, first).await?;
        Ok(values)
    }
}

/// Evaluates a query at the times of a grid, and has every result read in turn. Says what was odd.
async fn each(
    (backend, audience): (&BackendHandle, Audience),
    query: &str,
    grid: Grid,
    progress: Progress<'_>,
    mut read: impl FnMut(&Vector, i64),
) -> Result<Vec<String>, String> {
    let mut parts = grid.parts(MOST_POINTS);
    let (mut done, mut notes, mut most) = (0, Vec::new(), MOST_POINTS);
    let step = Duration::from_millis(grid.step_ms.unsigned_abs());
    while let Some(part) = parts.pop() {
        // What was too much for one part is for the next.
        if part.steps > most {
            parts.extend(part.parts(most));
            continue;
        }
        let range = Range { start: part.start_ms / 1000, end: part.last_ms() / 1000 };
        match backend.query_range(query, range, step).await {
            Ok(matrix) => {
                if notes.is_empty()
                    && let Some(warning) = matrix.warnings.first()
                {
                    notes.push(format!("Prometheus warns: {warning}"));
                }
                if matrix.histograms > 0 {
                    let note = format!("the query {}", Oddity::NativeHistogram.says());
                    if !notes.contains(&note) {
                        notes.push(note);
                    }
                }
                for (vector, at_ms) in matrix.vectors(part.times()).zip(part.times()) {
                    read(&vector, at_ms);
                }
                done += part.steps;
                progress(done, grid.steps);
            }
            Err(error) if is_too_much(&error) && part.steps > FEWEST_POINTS => {
                most = part.steps.div_ceil(2);
                parts.push(part);
            }
            Err(error) => return Err(error.told(audience)),
        }
    }
    Ok(notes)
}

/// Whether fewer times may be answered.
fn is_too_much(error: &Error) -> bool {
    matches!(error.public(), PublicError::TooLarge(_) | PublicError::TimedOut(_))
}

/// Sums of values by step: of the pods of the owner, and of all.
struct Sums<'o> {
    owner: Owner<'o>,
    /// Whether it matters whose they are.
    are_of_pods: bool,
    own: Vec<Option<Recorded>>,
    all: Vec<Option<Recorded>>,
}

impl<'o> Sums<'o> {
    fn new(owner: Owner<'o>, are_of_pods: bool) -> Self {
        Self { owner, are_of_pods, own: Vec::new(), all: Vec::new() }
    }

    /// The values of a step, with the names of their objects.
    fn add<'v>(&mut self, values: impl Iterator<Item = (&'v str, i64)> + Clone) {
        let own = values.clone().filter(|(name, _)| self.owner.names(name));
        self.own.push(Recorded::of(own.map(|(_, milli)| milli)));
        self.all.push(Recorded::of(values.map(|(_, milli)| milli)));
    }

    /// The values of a step that are nobody's.
    fn add_all(&mut self, values: impl Iterator<Item = i64>) {
        self.all.push(Recorded::of(values));
    }

    fn complete(self, query: &str, mut notes: Vec<String>) -> Past {
        let has_own = self.own.iter().any(Option::is_some);
        let are_others = self.are_of_pods && !self.own.is_empty() && !has_own;
        if are_others && self.all.iter().any(Option::is_some) {
            let Owner { kind, name } = self.owner;
            notes.push(format!(
                "no pod is named as those of {kind}/{name} are: all pods of the query count"
            ));
        }
        let values = if self.are_of_pods && has_own { self.own } else { self.all };
        Past { query: query.to_owned(), values: values.into(), notes }
    }
}
