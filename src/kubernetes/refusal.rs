//! What an API server says instead of doing what it was asked.

use super::{Error, TIMEOUT};
use crate::core::excerpt::{SAID, excerpt};

/// A request that was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Somebody else was faster: the object exists, or has changed since it was read.
    #[error("another writer was faster")]
    Conflict,
    /// We may not.
    #[error("{0}")]
    Forbidden(String),
    /// Everything else.
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict,
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                Self::Forbidden(excerpt(&status.message, SAID))
            }
            _ => Self::Other(error.into()),
        }
    }
}

/// A request within the time limit.
pub(super) async fn deadline<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(result) => Ok(result?),
        Err(_elapsed) => Err(Error::Timeout(TIMEOUT).into()),
    }
}
