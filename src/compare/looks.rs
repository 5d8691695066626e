//! One read of both servers, several times where they differ: what is compared moves.

use std::time::Duration;

use super::{Error, Side, listing, responses};
use crate::core::compare::{Judged, MetricsApi, Response, Sides, judge};

/// How often a read is repeated at the most whose answers differ.
const LOOKS: usize = 4;

/// The time between two looks. All of them together take longer than results are kept by default.
const PAUSE: Duration = Duration::from_secs(2);

/// What came of a read.
pub(super) struct Read {
    /// The judgement.
    pub(super) judged: Judged,
    /// What both said last.
    pub(super) last: Sides<Response>,
}

/// Reads from both servers, each time at the same moment, until nothing differs without a reason. A
/// read of one object is named.
pub(super) async fn read(
    sides: Sides<&Side>,
    (api, is_named): (MetricsApi, bool),
    paths: Sides<String>,
    tolerance: f64,
) -> Result<Read, Error> {
    let mut looks = Vec::new();
    loop {
        let (reference, with) = futures::join!(
            ask(sides.reference, api, &paths.reference),
            ask(sides.with, api, &paths.with)
        );
        let mut last = Sides { reference: reference?, with: with? };
        if is_named {
            last = last.of_object();
        }
        looks.push(last.clone());
        let judged = judge(api, &looks, tolerance);
        if judged.is_settled() || looks.len() >= LOOKS {
            return Ok(Read { judged, last });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks one server. Who may not read there learns nothing from a comparison: that ends it.
pub(super) async fn ask(side: &Side, api: MetricsApi, path: &str) -> Result<Response, Error> {
    match side.read(path).await {
        Ok(text) => Ok(responses::values(api, &text)),
        Err(refused) if refused.unread.is_forbidden() => Err(listing::of(side, path, &refused)),
        Err(refused) => Ok(responses::failed(&refused)),
    }
}
