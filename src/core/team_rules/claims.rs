//! Who provides a metric that several rules claim.

use std::{cmp::Reverse, sync::Arc};

use jiff::Timestamp;

/// Where a rule comes from. Later ones prevail.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rank {
    /// The rules file.
    File,
    /// A `ClusterMetricRule`.
    Cluster,
    /// A `MetricRule` of the namespace.
    Namespace,
}

/// A rule that claims a metric in a namespace. The greatest one provides it: the rule of the namespace before those of the
/// cluster, these before the rules file; of several of one rank the oldest, and of equally old ones the first by name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Claimant {
    rank: Rank,
    created: Reverse<Timestamp>,
    name: Reverse<Arc<str>>,
}

impl Claimant {
    /// A rule of this name that was created then.
    pub fn new(rank: Rank, created: Timestamp, name: impl Into<Arc<str>>) -> Self {
        Self { rank, created: Reverse(created), name: Reverse(name.into()) }
    }

    /// Where it comes from.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Its name, as in [`RuleBase::name`](crate::core::rules::RuleBase::name).
    pub fn name(&self) -> &Arc<str> {
        &self.name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_of_the_namespace_prevails_and_then_the_oldest() {
        let claimant = |rank, second, name: &str| {
            Claimant::new(rank, Timestamp::from_second(second).unwrap(), name)
        };
        let order = [
            claimant(Rank::Namespace, 1, "MetricRule shop/b"),
            claimant(Rank::Namespace, 2, "MetricRule shop/a"),
            claimant(Rank::Namespace, 2, "MetricRule shop/c"),
            claimant(Rank::Cluster, 0, "ClusterMetricRule z"),
            claimant(Rank::Cluster, 1, "ClusterMetricRule a"),
            claimant(Rank::File, 0, "rules[0]"),
        ];
        for (at, first) in order.iter().enumerate() {
            for second in &order[at + 1..] {
                assert!(first > second, "{first:?} {second:?}");
            }
        }
        assert_eq!(&**order.iter().max().unwrap().name(), "MetricRule shop/b");
        assert_eq!(order[3].rank(), Rank::Cluster);
    }
}
