//! Rules that teams own: the objects `MetricRule` and `ClusterMetricRule`, and what becomes of them.
//!
//! A team writes a whole query. [`enforce()`] limits it to the namespace of the team, and [`compile()`] makes a rule of it that is
//! planned, cached and read like one of the rules file. Nothing here watches or writes objects.

mod claims;
mod compile;
mod crd;
mod enforce;
mod inventory;
mod object;
mod report;
mod snapshot;
mod status;

pub use claims::{Claimant, Rank};
pub use compile::{Provides, Refused, TeamRule, compile};
pub use crd::definition;
pub use enforce::{Enforced, MAX_QUERY, NotEnforced, enforce};
pub use inventory::{Counts, Inventory, Job, Key, MAX_SPEC_BYTES, Received, Report};
pub use object::{EXTERNAL, Object, Spec};
pub use report::{Change, Outcome, Standing};
pub use snapshot::{Names, RefusedRule, Snapshot};
pub use status::{Condition, ConditionType, Status};
