//! loadline: a Kubernetes metrics API server in front of Prometheus.
//!
//! `core` and `wire` are pure: they take values (time and names included) and return values. Everything that does I/O
//! stands beside them, and `app` is the one place where the parts meet.

pub mod app;
pub mod auth;
pub mod backends;
pub mod blocking;
pub mod cache;
pub mod cgroup;
pub mod cli;
pub mod compare;
pub mod core;
pub mod delegates;
#[cfg(feature = "demo")]
pub mod demo;
pub mod discovery;
pub mod explain;
pub mod fallbacks;
pub mod files;
pub mod hpas;
pub mod http;
pub mod installation;
pub mod jitter;
pub mod kubeconfig;
pub mod kubernetes;
pub mod metrics;
pub mod objects;
pub mod overview;
pub mod planner;
pub mod prefetch;
#[cfg(feature = "profiles")]
pub mod profiles;
pub mod prometheus;
pub mod reads;
pub mod records;
pub mod registrations;
pub mod rules_file;
pub mod server;
pub mod simulate;
pub mod single_flight;
pub mod team_rules;
pub mod traces;
pub mod wire;
