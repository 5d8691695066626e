//! How long a read may take.

use std::time::Duration;

use futures::FutureExt as _;

use super::error::ApiError;
use crate::wire::status::Reason;

/// How long a read may take. kube-apiserver's aggregator waits for 60 s.
const DEADLINE: Duration = Duration::from_secs(55);

/// Limits the time of a read of `what`.
pub(super) fn in_time<T>(
    what: &'static str,
    read: impl Future<Output = Result<T, ApiError>>,
) -> impl Future<Output = Result<T, ApiError>> {
    // An async function would have the room of the read twice.
    tokio::time::timeout(DEADLINE, read).map(move |ended| {
        ended.unwrap_or_else(|_elapsed| {
            let text = format!("the {what} could not be read in time");
            Err(ApiError::new(Reason::Timeout, text))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_read_ends_before_kube_apiserver_gives_up() {
        let start = tokio::time::Instant::now();
        let read = in_time("metric", std::future::pending::<Result<(), _>>());
        assert_eq!(read.await.unwrap_err().code(), 504);
        assert_eq!(start.elapsed(), DEADLINE);
        assert!(matches!(in_time("metric", async { Ok(1) }).await, Ok(1)));
    }
}
