//! Our own certificate in a Secret, which all replicas share.

use jiff::Timestamp;

use super::{
    authority::OwnError,
    held::{Content, Held},
    pair::PairError,
};
use crate::kubernetes::{refusal::Refusal, secrets::SecretPlace};

/// How often another writer may be faster.
const TRIES: usize = 5;

/// A Secret that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    /// The certificate in it is somebody else's, and broken.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// No certificate can be made.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// The API server refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What came of a look at the Secret.
pub(super) struct Synced {
    /// What is to be served.
    pub(super) held: Held,
    /// Why it could not be renewed, although that is due.
    pub(super) unwritten: Option<Refusal>,
}

/// Reads the certificate in a Secret; makes or renews it if need be. Of several writers the first one's counts for all.
pub(super) async fn sync(
    place: &SecretPlace,
    names: &[String],
    now: Timestamp,
) -> Result<Synced, SecretError> {
    let mut refusal = Refusal::Conflict;
    for _ in 0..TRIES {
        let stored = place.read().await?;
        let content = match &stored {
            Some(stored) => Content::read(stored.data())?,
            None => Content::Empty,
        };
        let before = match &content {
            Content::Held(held) => Some(held.clone()),
            Content::Empty | Content::Broken(_) => None,
        };
        let (held, is_new) = content.brought_up(names, now)?;
        let Held::Ours(own) = &held else {
            return Ok(done(held));
        };
        if !is_new {
            return Ok(done(held));
        }
        let written = match stored {
            Some(stored) => place.replace(stored, own.files()).await,
            None => place.create(own.files()).await,
        };
        match (written, before) {
            (Ok(()), _) => {
                tracing::info!(secret = place.name(), not_after = %own.pair().leaf.not_after,
                    "a serving certificate was written");
                return Ok(done(held));
            }
            (Err(Refusal::Conflict), _) => refusal = Refusal::Conflict,
            (Err(error), Some(held)) if held.pair().leaf.not_after > now => {
                let unwritten = Some(error);
                return Ok(Synced { held, unwritten });
            }
            (Err(error), _) => return Err(error.into()),
        }
    }
    Err(refusal.into())
}

fn done(held: Held) -> Synced {
    Synced { held, unwritten: None }
}
