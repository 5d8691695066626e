//! What a Secret or a folder holds: pure.

use jiff::Timestamp;

use super::{
    authority::{self, Files, Own, OwnError},
    pair::{Pair, PairError},
};

/// What is served from a place that may be ours.
#[derive(Clone, Debug)]
pub(super) enum Held {
    /// A certificate of our own, which we renew.
    Ours(Box<Own>),
    /// Somebody else's, which we only read.
    Theirs(Box<Pair>),
}

/// What a place holds.
pub(super) enum Content {
    /// Nothing: a place for ours.
    Empty,
    /// What was ours and is broken: a place for ours.
    Broken(OwnError),
    /// Something to serve.
    Held(Held),
}

impl Held {
    /// What is served.
    pub(super) fn pair(&self) -> &Pair {
        match self {
            Self::Ours(own) => own.pair(),
            Self::Theirs(pair) => pair,
        }
    }
}

impl Content {
    /// Judges what a place holds. What is somebody else's and cannot be used is an error, and never overwritten.
    pub(super) fn read(files: Files) -> Result<Self, PairError> {
        let part = |name| files.get(name).map(Vec::as_slice).unwrap_or_default();
        if !part(authority::AUTHORITY_KEY).is_empty() {
            return Ok(match Own::parse(files) {
                Ok(own) => Self::Held(Held::Ours(Box::new(own))),
                Err(error) => Self::Broken(error),
            });
        }
        let (certificate, key) = (part(authority::CERTIFICATE), part(authority::KEY));
        if certificate.is_empty() && key.is_empty() {
            return Ok(Self::Empty);
        }
        let pair = Pair::parse(certificate, key, Some(part(authority::AUTHORITIES)))?;
        Ok(Self::Held(Held::Theirs(Box::new(pair))))
    }

    /// What is to be served, and whether it has to be written first.
    pub(super) fn brought_up(
        self,
        names: &[String],
        now: Timestamp,
    ) -> Result<(Held, bool), OwnError> {
        Ok(match self {
            Self::Empty => (Held::Ours(Box::new(Own::create(names, now)?)), true),
            Self::Broken(error) => {
                tracing::warn!(%error, "our own certificate is broken and is made anew");
                (Held::Ours(Box::new(Own::create(names, now)?)), true)
            }
            Self::Held(Held::Ours(own)) => match own.renewed(names, now)? {
                Some(renewed) => (Held::Ours(Box::new(renewed)), true),
                None => (Held::Ours(own), false),
            },
            Self::Held(held @ Held::Theirs(_)) => (held, false),
        })
    }
}
