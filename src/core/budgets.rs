//! How the memory of the process is divided.

/// What each part may take that others can make grow, in bytes where nothing else is said. The rest is for the program, the
/// catalog, the objects of the cluster, and memory that the allocator does not return.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemoryBudgets {
    /// Results of queries that are kept.
    pub results: u64,
    /// Answers of Prometheus that are received and decoded.
    pub answers: usize,
    /// The largest answer of Prometheus.
    pub largest_answer: usize,
    /// Requests that are answered, those of all users.
    pub requests: usize,
    /// Answers that are sent to clients, but for small ones.
    pub responses: usize,
    /// Decisions that are remembered.
    pub decisions: u64,
    /// Who holds which token.
    pub tokens: u64,
    /// Requests whose tokens are reviewed.
    pub token_reviews: usize,
    /// Lists of metrics.
    pub lists: u64,
    /// Readers of metrics, and what is known of the queries that they can share.
    pub readers: u64,
    /// The last values of metrics that were read, for the status page.
    pub histories: usize,
    /// The most connections.
    pub connections: usize,
}

/// The least memory that is divided.
pub const LEAST: u64 = 32 << 20;

/// What a connection takes.
const CONNECTION: u64 = 32 << 10;

impl MemoryBudgets {
    /// The division of so many bytes. From 1 GiB on, and where there is no limit, the parts are as large as they get.
    pub fn of(limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or(u64::MAX).max(LEAST);
        let part = |of: u64, most: u64| (limit / of).min(most);
        let size = |of, most| usize::try_from(part(of, most)).unwrap_or(usize::MAX);
        Self {
            results: part(8, 128 << 20),
            answers: size(4, 256 << 20),
            largest_answer: size(16, 32 << 20),
            requests: size(32, 64 << 20),
            responses: size(16, 128 << 20),
            decisions: part(64, 16 << 20),
            tokens: part(64, 16 << 20),
            token_reviews: size(64, 16 << 20),
            lists: part(64, 16 << 20),
            readers: part(32, 32 << 20),
            histories: size(512, 2 << 20),
            connections: size(16 * CONNECTION, 4_096),
        }
    }

    /// The same, but for what is said explicitly. Where answers may be larger, all of them get as much more.
    #[must_use]
    pub fn with(self, results: Option<u64>, largest_answer: Option<usize>) -> Self {
        let largest = largest_answer.unwrap_or(self.largest_answer);
        Self {
            results: results.unwrap_or(self.results),
            answers: self.answers.max(largest.saturating_mul(4)),
            largest_answer: largest,
            ..self
        }
    }
}

impl Default for MemoryBudgets {
    fn default() -> Self {
        Self::of(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn mib(bytes: usize) -> usize {
        bytes >> 20
    }

    #[test]
    fn parts_grow_with_the_limit_up_to_a_size() {
        for (limit, results, answers, largest, requests, connections) in [
            (Some(0), 4, 8, 2, 1, 64),
            (Some(64), 8, 16, 4, 2, 128),
            (Some(256), 32, 64, 16, 8, 512),
            (Some(512), 64, 128, 32, 16, 1_024),
            (Some(1_024), 128, 256, 32, 32, 2_048),
            (Some(1 << 20), 128, 256, 32, 64, 4_096),
            (None, 128, 256, 32, 64, 4_096),
        ] {
            let it = MemoryBudgets::of(limit.map(|limit: u64| limit * MIB));
            let found = (it.results / MIB, mib(it.answers), mib(it.largest_answer));
            assert_eq!(found, (results, answers, largest), "{limit:?}");
            assert_eq!((mib(it.requests), it.connections), (requests, connections), "{limit:?}");
        }
    }

    #[test]
    fn the_parts_together_leave_a_third_of_the_limit() {
        for limit in (5..30).map(|bits| MIB << bits) {
            let it = MemoryBudgets::of(Some(limit));
            let sizes = [it.answers, it.requests, it.responses, it.token_reviews, it.histories];
            let sizes: u64 = sizes.iter().map(|size| u64::try_from(*size).unwrap()).sum();
            let connections = u64::try_from(it.connections).unwrap() * CONNECTION;
            let sum =
                it.results + it.decisions + it.tokens + it.lists + it.readers + sizes + connections;
            assert!(sum <= limit / 3 * 2, "{sum} of {limit}");
        }
    }

    #[test]
    fn what_is_said_counts() {
        let it = MemoryBudgets::of(Some(256 * MIB));
        assert_eq!(it.with(None, None), it);
        let more = it.with(Some(1), Some(40 << 20));
        assert_eq!((more.results, more.largest_answer, more.answers), (1, 40 << 20, 160 << 20));
        assert_eq!(it.with(None, Some(1)).answers, it.answers);
    }
}
