//! loadline against what stands around it: real backends, a scripted one, a scripted cluster, and real clients.
//!
//! The tests need `prometheus`, `promtool`, `victoria-metrics`, `kubectl`, `curl`, `python3` and `jq` on the `PATH`; one that misses its
//! program fails and says so; the status page is also looked at in `chromium`, where there is one. Those of `control_plane` also need the programs of a Kubernetes control plane, and those with `prometheus3` in
//! their names the programs of Prometheus 3; they are ignored unless asked for.

#[cfg(test)]
mod api_conventions;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod backend_urls;
#[cfg(test)]
mod causes;
#[cfg(test)]
mod check;
#[cfg(test)]
mod check_live;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod cloud;
#[cfg(test)]
mod compare;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod control_plane;
#[cfg(test)]
mod corpora;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod custom_metrics;
#[cfg(test)]
mod delegates;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod dialects;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod explain_in_cluster;
#[cfg(test)]
mod external_metrics;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod fallback;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod hostile_api_server;
#[cfg(test)]
mod kubectl;
#[cfg(test)]
mod later;
#[cfg(test)]
mod log_floods;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod migrate;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod odd_requests;
#[cfg(test)]
mod pointwise;
#[cfg(test)]
mod prometheus3;
#[cfg(test)]
mod registrations;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod resource_metrics;
#[cfg(test)]
mod rules_files;
#[cfg(test)]
mod secrecy;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod simulate;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod status_page;
#[cfg(test)]
mod support;
#[cfg(test)]
mod team_isolation;
#[cfg(test)]
mod team_rules;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod unanswerable;
#[cfg(test)]
mod unreachable;
#[cfg(test)]
mod victoria_metrics;
