//! Why a delegate has not answered.

use std::{fmt, sync::Arc};

use crate::{
    core::explain::Cause,
    prometheus::Obstacle,
    wire::delegated::{Declined, Unfit},
};

/// A read that a delegate has not answered. The text is for clients: it names the delegate, and no address.
#[derive(Debug)]
pub struct DelegateError {
    /// The delegate's name.
    pub delegate: Arc<str>,
    /// Why.
    pub why: Why,
}

/// Why a delegate has not answered.
#[derive(Debug)]
pub enum Why {
    /// It has refused the read.
    Declined(Declined),
    /// No connection, or it broke. The text is for the log.
    Unreachable(Obstacle, String),
    /// Its time is over.
    Silent,
    /// Its credentials or authorities have not been read; the text is for the log.
    Unconnected(String),
    /// It was not asked, because it has not answered others.
    Resting,
    /// It was not asked, because too many reads of it are under way.
    Busy,
    /// Other answers take all the memory.
    NoRoom,
    /// Its answer has more than so many bytes.
    TooLarge(usize),
    /// Its answer is not one to what was asked.
    Unfit(Unfit),
}

impl DelegateError {
    /// Whether the delegate says that there is no such metric.
    pub(super) fn is_unknown_metric(&self) -> bool {
        matches!(self.why, Why::Declined(Declined { code: 404, .. }))
    }

    /// What happened, for the log.
    pub fn cause(&self) -> String {
        match &self.why {
            Why::Declined(Declined { code, reason, message }) => {
                format!("HTTP status {code}: {reason}: {message}")
            }
            Why::Unreachable(_, cause) | Why::Unconnected(cause) => cause.clone(),
            Why::Unfit(unfit) => unfit.to_string(),
            Why::Silent | Why::Resting | Why::Busy | Why::NoRoom | Why::TooLarge(_) => {
                String::new()
            }
        }
    }

    /// What `explain` calls it.
    pub fn code(&self) -> Cause {
        match &self.why {
            Why::Declined(Declined { code: 401 | 403, .. }) => Cause::BackendUnauthorized,
            Why::Declined(Declined { code: 404, .. }) => Cause::UnknownMetric,
            Why::Declined(Declined { code: 429, .. }) | Why::Busy | Why::NoRoom => {
                Cause::BackendLimited
            }
            Why::Declined(_) => Cause::QueryError,
            Why::Unreachable(
                Obstacle::SpeaksPlain
                | Obstacle::SpeaksTls
                | Obstacle::UnknownAuthority
                | Obstacle::OtherName
                | Obstacle::Expired
                | Obstacle::Certificate
                | Obstacle::ClientCertificate,
                _,
            ) => Cause::BackendTls,
            Why::Unreachable(..) | Why::Unconnected(_) | Why::Resting => Cause::BackendUnreachable,
            Why::Silent => Cause::BackendTimeout,
            Why::TooLarge(_) => Cause::TooLarge,
            Why::Unfit(_) => Cause::BackendNotPrometheus,
        }
    }
}

impl Why {
    /// The value of the label `outcome`.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Declined(Declined { code: 404, .. }) => "unknown-metric",
            Self::Declined(_) => "declined",
            Self::Unreachable(..) | Self::Unconnected(_) => "unreachable",
            Self::Silent => "timeout",
            Self::Resting => "resting",
            Self::Busy | Self::NoRoom => "busy",
            Self::TooLarge(_) => "too-large",
            Self::Unfit(_) => "unfit",
        }
    }

    /// Whether it says that the delegate serves nobody.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Unreachable(..) | Self::Silent => true,
            // A proxy that reaches no server has no reason.
            Self::Declined(Declined { code: 502..=504, reason, .. }) => reason.is_empty(),
            _ => false,
        }
    }
}

impl fmt::Display for DelegateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the delegate {} ", self.delegate)?;
        match &self.why {
            Why::Declined(Declined { code: 401, .. }) => {
                f.write_str("does not accept the credentials of loadline")
            }
            // A failure of its own may name what it has asked itself.
            Why::Declined(Declined { code, message, .. }) if *code < 500 && !message.is_empty() => {
                write!(f, "answered {code}: {message}")
            }
            Why::Declined(Declined { code, reason, .. }) if reason.is_empty() => {
                write!(f, "answered {code}")
            }
            Why::Declined(Declined { code, reason, .. }) => write!(f, "answered {code} {reason}"),
            Why::Unreachable(..) => f.write_str("cannot be reached"),
            Why::Silent => f.write_str("did not answer in time"),
            Why::Unconnected(_) => f.write_str("cannot be asked: the log has the reason"),
            Why::Resting => {
                f.write_str("is not asked now, because it has not answered several reads")
            }
            Why::Busy => f.write_str("has too many reads under way"),
            Why::NoRoom => f.write_str("cannot be asked: too many answers are under way"),
            Why::TooLarge(_) => f.write_str("sent an answer that is too large"),
            Why::Unfit(_) => f.write_str("sent an answer that is not one to the read"),
        }
    }
}

impl std::error::Error for DelegateError {}
