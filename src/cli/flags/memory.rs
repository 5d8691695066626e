//! The flags that say how much memory there is.

use std::fmt;

use clap::Args;

use super::UsageError;
use crate::core::{
    budgets::{LEAST, MemoryBudgets},
    quantity,
};

/// The most that may be said of one answer: positions in it have 32 bits.
const LARGEST_ANSWER: u64 = 1 << 30;

#[derive(Args, Debug)]
#[command(next_help_heading = "Memory")]
pub(in crate::cli) struct MemoryFlags {
    /// The memory to stay within, such as 256Mi, by which caches and limits are sized [default: the limit of the container]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory_limit: Option<u64>,

    /// The memory of query results that are kept [default: an eighth of the memory limit, at most 128Mi]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    cache_bytes: Option<u64>,

    /// The longest answer of Prometheus that is read [default: a sixteenth of the memory limit, at most 32Mi]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_answer_bytes: Option<u64>,
}

/// A memory limit, and who says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::cli) enum MemoryLimit {
    /// The flag.
    Flag(u64),
    /// The container.
    Container(u64),
    /// Nobody.
    None,
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(bytes) => write!(f, "{} (--memory-limit)", quantity::bytes(*bytes)),
            Self::Container(bytes) => {
                write!(f, "{} (the container)", quantity::bytes(*bytes))
            }
            Self::None => f.write_str("none"),
        }
    }
}

impl MemoryFlags {
    /// The limit that counts, where the container has this one.
    pub(in crate::cli) fn limit(&self, container: Option<u64>) -> MemoryLimit {
        let container = container.map_or(MemoryLimit::None, MemoryLimit::Container);
        self.memory_limit.map_or(container, MemoryLimit::Flag)
    }

    /// How a limit is divided.
    pub(in crate::cli) fn budgets(&self, limit: MemoryLimit) -> Result<MemoryBudgets, UsageError> {
        let limit = match limit {
            MemoryLimit::Flag(bytes) if bytes < LEAST => {
                let least = quantity::bytes(LEAST);
                return Err(UsageError(format!("--memory-limit: {least} is the least")));
            }
            MemoryLimit::Flag(bytes) | MemoryLimit::Container(bytes) => Some(bytes),
            MemoryLimit::None => None,
        };
        let largest = self.max_answer_bytes;
        if largest.is_some_and(|bytes| !(1..=LARGEST_ANSWER).contains(&bytes)) {
            let most = quantity::bytes(LARGEST_ANSWER);
            return Err(UsageError(format!("--max-answer-bytes has to be from 1 to {most}")));
        }
        let largest = largest.and_then(|bytes| usize::try_from(bytes).ok());
        Ok(MemoryBudgets::of(limit).with(self.cache_bytes, largest))
    }
}

/// A whole number of bytes, as Kubernetes writes quantities.
fn bytes(text: &str) -> Result<u64, &'static str> {
    let milli = quantity::parse_milli(text).filter(|milli| milli % 1000 == 0);
    let bytes = milli.and_then(|milli| u64::try_from(milli / 1000).ok());
    bytes.ok_or("a number of bytes is expected, such as 256Mi")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(memory_limit: Option<u64>, max_answer_bytes: Option<u64>) -> MemoryFlags {
        MemoryFlags { memory_limit, cache_bytes: None, max_answer_bytes }
    }

    #[test]
    fn bytes_are_whole_quantities() {
        for (text, wanted) in
            [("256Mi", 256 << 20), ("1Gi", 1 << 30), ("64M", 64_000_000), ("0", 0)]
        {
            assert_eq!(bytes(text), Ok(wanted), "{text}");
        }
        for text in ["", "-1", "5m", "1.5Gi", "Mi", "256mb", "max", "99999999999Gi"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_flag_counts_before_the_container() {
        assert_eq!(flags(Some(5), None).limit(Some(6)), MemoryLimit::Flag(5));
        assert_eq!(flags(None, None).limit(Some(6)), MemoryLimit::Container(6));
        assert_eq!(flags(None, None).limit(None), MemoryLimit::None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let budgets = |limit, largest| {
            let flags = flags(limit, largest);
            flags.budgets(flags.limit(Some(1 << 20)))
        };
        assert!(budgets(Some(LEAST), Some(LARGEST_ANSWER)).is_ok());
        assert!(budgets(None, None).is_ok(), "nobody means a small container");
        for (limit, largest) in
            [(Some(LEAST - 1), None), (None, Some(0)), (None, Some(LARGEST_ANSWER + 1))]
        {
            assert!(budgets(limit, largest).is_err(), "{limit:?} {largest:?}");
        }
    }
}
