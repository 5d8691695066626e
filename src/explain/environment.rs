//! What an explanation is drawn from: files and a Prometheus, or a cluster and the server in it.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use super::Known;
use crate::core::explain::{
    Answered, Api, Inquiry, Step,
    workload::{OwnedPod, Workload},
};

/// Where the answers come from.
pub(crate) trait Environment {
    /// The workload that an autoscaler scales.
    async fn target(&self, hpa: &HorizontalPodAutoscaler, namespace: &str) -> Target;

    /// What is between the autoscaler and the server, for all that it reads.
    async fn way(&self, inquiries: &[Inquiry]) -> Way;

    /// What there is to say of a metric; or the step of the way that does not lead there.
    async fn metric(&self, way: &Way, inquiry: &Inquiry, known: Known) -> Result<Answered, Step>;
}

/// The workload that an autoscaler scales.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// The workload; nothing where its replicas are not known.
    pub(crate) workload: Option<Workload>,
    /// Its pods; nothing where they are not known.
    pub(crate) pods: Option<Vec<OwnedPod>>,
    /// The names of all pods of the namespace, as far as they are known.
    pub(crate) all_pods: Vec<String>,
    /// What there is to say of it.
    pub(crate) steps: Vec<Step>,
}

/// What is between an autoscaler and the server.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// What there is to say of it.
    pub(crate) steps: Vec<Step>,
    /// Who serves the APIs.
    pub(crate) servers: Vec<Server>,
    /// What the controller of autoscalers may not read.
    pub(crate) denied: Vec<Inquiry>,
}

/// Who serves an API in a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// The API.
    pub(crate) api: Api,
    /// Where: `/apis/GROUP/VERSION`.
    pub(crate) prefix: String,
    /// The Service that is registered for it, where that is known.
    pub(crate) service: Option<String>,
}
