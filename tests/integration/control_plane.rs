//! loadline behind a real kube-apiserver: registered, asked, and scaled on by the real HorizontalPodAutoscaler controller.
//!
//! `KUBEBUILDER_ASSETS` has to name a folder with `kube-apiserver` and `etcd`; what needs controllers is left out where there is
//! no `kube-controller-manager` in it.

mod autoscaling;
mod certificates;
mod check;
mod delegates;
mod examples;
mod explain;
mod keda;
mod load;
mod migrate;
mod registration;
mod replacement;
mod rollout;
pub(crate) mod set_up;
mod team_definitions;
mod team_policy;
mod team_rules;
mod usage;
mod zero;
