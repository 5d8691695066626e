//! The steps of a metric that a delegate has.

use super::{advice_for, values};
use crate::core::explain::{
    Cause, Step,
    facts::{DelegateFacts, Facts},
    name,
};

/// The steps: whose it is, and what was answered.
pub(super) fn delegated(facts: &Facts, delegate: &DelegateFacts) -> Vec<Step> {
    let DelegateFacts { name: owner, is_matched } = delegate;
    let why = if *is_matched { "its `match` says so" } else { "no rule serves it" };
    let seen = format!("the delegate `{owner}` is asked for `{}`: {why}", facts.asked.metric);
    let mut steps = vec![Step::good(name::DELEGATE, seen)];
    let Some(answer) = &facts.answer else {
        steps.push(Step::unknown(name::ANSWER, "only the server asks delegates"));
        return steps;
    };
    if let Some(failure) = &answer.failure {
        let advice = match failure.cause {
            Cause::BackendUnauthorized => {
                "check `tokenFile` or `authInCluster` of the delegate, and its rights for loadline"
            }
            Cause::BackendUnreachable | Cause::BackendTls => {
                "check `service` or `url` of the delegate, its authorities, and NetworkPolicies"
            }
            Cause::UnknownMetric | Cause::QueryError | Cause::BackendNotPrometheus => {
                "see the log of the delegate"
            }
            cause => advice_for(cause),
        };
        steps.push(Step::found(name::ANSWER, failure.cause, &failure.text, advice));
    } else if answer.values.is_empty() {
        let seen = format!("the delegate `{owner}` returned no value");
        let advice = "see the log of the delegate";
        steps.push(Step::found(name::VALUES, Cause::SeriesAbsent, seen, advice));
    } else {
        steps.push(values(answer));
    }
    steps
}
