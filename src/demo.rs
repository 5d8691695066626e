//! `loadline demo`: see it work with nothing installed, no root and no network.
//!
//! ```text
//! workload ──scrape──▶ store ◀──PromQL── endpoint ◀──HTTP── loadline ◀──HTTPS── reader ──▶ console
//!    ▲                 memory            loopback           the real server     autoscaler
//!    └──────────────────────────────── replicas ────────────────────────────────────┘
//! ```
//!
//! [`workload`], [`autoscaler`] and [`console`] are pure. [`Backend`] is everything left of loadline, and
//! [`reader::run`] everything right of it. The demo is loadline between the two, with [`RULES`], and [`Backend::url`] as its
//! Prometheus.

pub mod autoscaler;
pub mod backend;
pub mod console;
pub mod endpoint;
pub mod reader;
pub mod store;
pub mod workload;

pub use backend::{Backend, LiveIde};
pub use console::Connection;

/// The rules that loadline serves in the demo: a prometheus-adapter configuration.
pub const RULES: &str = include_str!("demo/rules.yaml");

#[cfg(test)]
mod tests;
