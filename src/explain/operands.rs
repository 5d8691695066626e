//! What the sides of an operation have that returns nothing.

use super::asking::{Deadline, samples};
use crate::{
    core::{
        explain::{
            facts::{OperandsFacts, Series, SideFacts},
            operands::{Side, operation},
        },
        go_quote::quote,
    },
    prometheus::{Answer, BackendHandle},
};

/// How many operations are taken apart, one within the other.
const MAX_LEVELS: usize = 4;

/// The innermost operation of a query that returns nothing although both sides have samples, or because one has none. Nothing where
/// there is none such, or not everything is known of it.
pub(super) async fn operands(
    backend: &BackendHandle,
    query: &str,
    deadline: Deadline,
) -> Option<OperandsFacts> {
    let mut query = query.to_owned();
    let mut found = None;
    for _ in 0..MAX_LEVELS {
        let Some(operation) = operation(&query) else { break };
        if one(backend, &operation.query, deadline).await?.is_some() {
            break;
        }
        let [left, right] = &operation.sides;
        let sides = [side(backend, left, deadline).await?, side(backend, right, deadline).await?];
        // A side without samples may be an operation itself.
        let empty = sides.iter().find(|side| side.labels.is_none());
        let inner = empty.map(|side| side.query.clone());
        found = Some(OperandsFacts { operator: operation.operator, sides });
        let Some(inner) = inner else { break };
        query = inner;
    }
    found
}

async fn side(backend: &BackendHandle, side: &Side, deadline: Deadline) -> Option<SideFacts> {
    let Side { query, names } = side.clone();
    let found = one(backend, &query, deadline).await?;
    let mut absent = Vec::new();
    if found.is_none() {
        for name in names {
            let selector = format!("{{__name__={}}}", quote(&name));
            if one(backend, &selector, deadline).await?.is_none() {
                absent.push(name);
            }
        }
    }
    let labels = found.map(|sample| sample.labels.into_keys().collect());
    Some(SideFacts { query, labels, absent })
}

/// A sample of a vector, if it has one.
async fn one(backend: &BackendHandle, query: &str, deadline: Deadline) -> Option<Option<Series>> {
    match deadline.ask(backend.query(&format!("topk(1,{query})"))).await.ok()? {
        Answer::Vector(vector) => Some(samples(&vector).into_iter().next()),
        Answer::Scalar(..) | Answer::Other(_) => None,
    }
}
