//! Our own certificate: where it is kept, and its renewal.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;

use super::{
    authority::{Own, OwnError},
    folder,
    held::Held,
    names::Names,
    secret,
};
use crate::kubernetes::{Error, refusal::Refusal, secrets::SecretPlace};

/// How long the start waits for the Secret.
const START: Duration = Duration::from_secs(10);

/// Keeps our own certificate in the best place that there is.
pub(super) struct OwnCertificate {
    names: Names,
    secret: Option<SecretPlace>,
    folder: Option<PathBuf>,
    held: Held,
    place: Place,
    /// Whether the Secret was said to be unusable.
    is_reported: bool,
}

/// Where the certificate that is served is from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// The Secret: replicas share it.
    Secret,
    /// The folder.
    Folder,
    /// Nowhere else.
    Memory,
}

impl OwnCertificate {
    /// Takes the certificate from where it is kept, or makes one.
    pub(super) async fn start(
        secret: Option<SecretPlace>,
        folder: Option<PathBuf>,
        names: Names,
        now: Timestamp,
    ) -> Result<Self, OwnError> {
        let mut is_reported = false;
        let mut found = None;
        if let Some(place) = &secret {
            let sync = secret::sync(place, &names.shared, now);
            let synced = tokio::time::timeout(START, sync).await;
            match synced
                .unwrap_or_else(|_elapsed| Err(Refusal::Other(Error::Timeout(START)).into()))
            {
                Ok(synced) => {
                    is_reported = synced.unwritten.is_some();
                    report_unwritten(place, synced.unwritten.as_ref());
                    found = Some((synced.held, Place::Secret));
                }
                Err(error) => {
                    is_reported = true;
                    let kept = if folder.is_some() { "in --cert-dir" } else { "in memory" };
                    tracing::warn!(secret = place.name(), %error,
                        "replicas do not share the serving certificate: the Secret cannot be used; it is kept {kept}");
                }
            }
        }
        let (held, place) = match found {
            Some(found) => found,
            None => local(folder.as_ref(), &names, now).await?,
        };
        Ok(Self { names, secret, folder, held, place, is_reported })
    }

    /// What is served.
    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    #[cfg(test)]
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Looks whether the Secret has another certificate, or can be used now.
    pub(super) async fn look(&mut self, now: Timestamp) {
        let Some(place) = &self.secret else {
            return;
        };
        match secret::sync(place, &self.names.shared, now).await {
            Ok(synced) => {
                if self.place != Place::Secret {
                    tracing::info!(
                        secret = place.name(),
                        "replicas share the serving certificate now"
                    );
                    self.place = Place::Secret;
                }
                if !self.is_reported {
                    report_unwritten(place, synced.unwritten.as_ref());
                }
                self.is_reported = synced.unwritten.is_some();
                self.held = synced.held;
            }
            Err(error) => {
                if !self.is_reported {
                    tracing::warn!(secret = place.name(), %error,
                        "the Secret cannot be used; the certificate from it is served on");
                }
                self.is_reported = true;
            }
        }
    }

    /// Renews what is due, as far as that is this process' own affair.
    pub(super) async fn renew(&mut self, now: Timestamp) -> Result<(), OwnError> {
        let Held::Ours(own) = &self.held else {
            return Ok(());
        };
        let names = match self.place {
            // The look at the Secret renews. Only where that fails to the very end is the leaf renewed for us alone.
            Place::Secret if !own.is_urgent(now) => return Ok(()),
            Place::Secret => &self.names.shared,
            Place::Folder | Place::Memory => &self.names.all,
        };
        let Some(renewed) = own.renewed(names, now)? else {
            return Ok(());
        };
        tracing::info!(not_after = %renewed.pair().leaf.not_after, "the serving certificate was renewed");
        if let (Place::Folder, Some(folder)) = (self.place, &self.folder)
            && let Err(error) = folder::write(folder, &renewed).await
        {
            tracing::warn!(folder = %folder.display(), %error, "the serving certificate is kept in memory");
            self.place = Place::Memory;
        }
        self.held = Held::Ours(Box::new(renewed));
        Ok(())
    }
}

fn report_unwritten(place: &SecretPlace, error: Option<&Refusal>) {
    if let Some(error) = error {
        tracing::warn!(secret = place.name(), %error, "the serving certificate is due, and cannot be renewed");
    }
}

/// The certificate in the folder, or one in memory.
async fn local(
    folder: Option<&PathBuf>,
    names: &Names,
    now: Timestamp,
) -> Result<(Held, Place), OwnError> {
    let ours = |own| Held::Ours(Box::new(own));
    let Some(folder) = folder else {
        return Ok((ours(Own::create(&names.all, now)?), Place::Memory));
    };
    let (own, is_new) = folder::read(folder, &names.all, now).await?;
    if is_new && let Err(error) = folder::write(folder, &own).await {
        tracing::warn!(folder = %folder.display(), %error,
            "the serving certificate cannot be written; it is kept in memory");
        return Ok((ours(own), Place::Memory));
    }
    Ok((ours(own), Place::Folder))
}
