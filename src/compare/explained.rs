//! What the replacing server itself says of differences that nothing else explains.

use std::time::Duration;

use super::{Side, listing::Metric};
use crate::{
    core::{
        compare::{Aspect, Difference, MetricsApi, Reason},
        explain::{Cause, Inquiry, Severity, Subject, facts::Which, name},
        selector::Selector,
    },
    wire::explanation,
};

/// How many differences are explained at the most: each takes the server several queries.
const MOST: usize = 20;

/// How long the server may take: longer than it takes itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks for explanations. Without one, or without the right to it, a difference stays as it is.
pub(super) async fn explain(side: &Side, metrics: &[Metric], differences: &mut [Difference]) {
    let unexplained = differences.iter_mut().filter(|it| it.reason.is_none());
    let worth = unexplained
        .filter(|it| !matches!(it.aspect, Aspect::Scope | Aspect::Window | Aspect::Timestamp));
    for difference in worth.take(MOST) {
        let is_of =
            |metric: &&Metric| metric.api == difference.api && metric.name == difference.metric;
        let Some(metric) = metrics.iter().find(is_of) else { continue };
        let Some(inquiry) = inquiry(metric, difference) else { continue };
        let path = explanation::path(&metric.prefixes.with, &inquiry);
        let Ok(text) = side.read_within(PATIENCE, &path).await else { continue };
        let Ok(answered) = explanation::decode(&text) else { continue };
        let named = answered.steps.iter().filter_map(|step| step.cause);
        let causes: Vec<Cause> =
            named.filter(|(_, severity)| *severity > Severity::Normal).map(|it| it.0).collect();
        let query = answered.steps.iter().find(|step| step.name == name::QUERY);
        let query = query.map_or("", |step| &step.seen);
        difference.reason = Reason::of_explanation(difference, &causes, query);
        difference.cause = causes.first().copied();
    }
}

/// What to ask about a difference; nothing where there is nothing to explain.
fn inquiry(metric: &Metric, difference: &Difference) -> Option<Inquiry> {
    let object = difference.object.as_str();
    let subject = match metric.api {
        MetricsApi::Resource => return None,
        MetricsApi::External => Subject::External,
        MetricsApi::Custom => Subject::Objects {
            resource: metric.name.split_once('/')?.0.to_owned(),
            which: match object {
                "" => Which::Selected(Selector::default()),
                name => Which::Named(name.to_owned()),
            },
        },
    };
    Some(Inquiry {
        metric: metric.bare().to_owned(),
        subject,
        namespace: difference.namespace.clone(),
        selector: Selector::default(),
        is_at_zero: false,
    })
}
