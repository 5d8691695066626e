//! What autoscaled pods have to do, and how far their autoscalers have come.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::support::{
    control_plane::{ControlPlane, eventually},
    exporter::{Exporter, Page},
};

/// What each pod has done so far.
pub(crate) type Done = BTreeMap<String, f64>;

/// The same amount of work for each Deployment, shared evenly by those of its pods that are there.
pub(crate) struct Load {
    shared: Arc<Mutex<Shared>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    per_second: f64,
    done: Done,
}

impl Load {
    /// The page shows the work per second, and what is done.
    pub(crate) fn start(exporter: Arc<Exporter>, page: fn(f64, &Done) -> Page) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let working = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            let mut last = ticks.tick().await;
            loop {
                let now = ticks.tick().await;
                let shown = {
                    let mut shared = working.lock().expect("not poisoned");
                    shared.work_for(now - last);
                    page(shared.per_second, &shared.done)
                };
                exporter.show(shown);
                last = now;
            }
        });
        Self { shared, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn set(&self, per_second: f64) {
        self.shared.lock().expect("not poisoned").per_second = per_second;
    }

    /// What tells of the pods that are there now.
    pub(crate) fn pods(&self) -> impl Fn(&[Value]) + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move |pods| {
            let names = pods.iter().map(|pod| pod["metadata"]["name"].as_str().expect("a name"));
            let done = &mut shared.lock().expect("not poisoned").done;
            *done = names
                .map(|name| (name.to_owned(), done.get(name).copied().unwrap_or_default()))
                .collect();
        }
    }
}

impl Shared {
    #[expect(clippy::cast_precision_loss, reason = "there are few pods")]
    fn work_for(&mut self, time: Duration) {
        let mut counts = BTreeMap::new();
        for pod in self.done.keys() {
            *counts.entry(deployment(pod).to_owned()).or_insert(0_usize) += 1;
        }
        for (pod, done) in &mut self.done {
            *done += self.per_second * time.as_secs_f64() / counts[deployment(pod)] as f64;
        }
    }
}

/// `web` of `web-5d4f8c7b9-x2x4p`.
fn deployment(pod: &str) -> &str {
    pod.rsplitn(3, '-').nth(2).expect("a pod of a Deployment")
}

/// A Deployment in the namespace `ide`, and an autoscaler of the same name that scales it as fast as the controller can: one to
/// eight pods of these containers, by this metric.
pub(crate) fn autoscaled(name: &str, containers: &Value, metric: &Value) -> String {
    let at_once = json!({"stabilizationWindowSeconds": 0});
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "ide"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1, "maxReplicas": 8,
            "metrics": [metric],
            "behavior": {"scaleUp": at_once, "scaleDown": at_once},
        },
    });
    format!("{}\n{autoscaler}\n", workload(name, containers))
}

/// A Deployment in the namespace `ide`.
pub(crate) fn workload(name: &str, containers: &Value) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "ide"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}},
        },
    })
    .to_string()
}

/// Waits until all of these autoscalers have read their metrics, want so many replicas, and so many are ready.
pub(crate) async fn until_scaled(plane: &ControlPlane, names: &[&str], replicas: u64) {
    for name in names {
        let mut last = String::new();
        eventually(&format!("there are {replicas} replicas of {name}"), async || {
            let scaling = Scaling::of(plane, "ide", name).await?;
            let state = format!("{name}: {}", scaling.text());
            if state != last {
                println!("{state}");
                last = state;
            }
            (scaling.is_active && scaling.wanted == replicas && scaling.ready == replicas)
                .then_some(())
        })
        .await;
    }
}

/// How far the autoscaler of a Deployment of the same name has come.
pub(crate) struct Scaling {
    /// Whether it could read every metric that it needs.
    pub(crate) is_active: bool,
    pub(crate) wanted: u64,
    pub(crate) ready: u64,
    read: Value,
}

impl Scaling {
    /// Nothing before the controllers have looked at both.
    pub(crate) async fn of(plane: &ControlPlane, namespace: &str, name: &str) -> Option<Self> {
        let autoscalers = format!("/apis/autoscaling/v2/namespaces/{namespace}");
        let path = format!("{autoscalers}/horizontalpodautoscalers/{name}");
        let mut status = plane.get(&path).await?["status"].take();
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
        let deployment = plane.get(&path).await?;
        let is_active = status["conditions"].as_array()?.iter().any(|condition| {
            condition["type"] == "ScalingActive" && condition["reason"] == "ValidMetricFound"
        });
        Some(Self {
            is_active,
            wanted: status["desiredReplicas"].as_u64()?,
            ready: deployment["status"]["readyReplicas"].as_u64().unwrap_or_default(),
            read: status["currentMetrics"].take(),
        })
    }

    pub(crate) fn text(&self) -> String {
        let read = self.read.as_array().into_iter().flatten().map(|metric| {
            let source = metric.as_object().into_iter().flat_map(|fields| fields.values());
            source.filter_map(|source| source.get("current")).map(Value::to_string).collect()
        });
        let read = read.collect::<Vec<String>>().join(", ");
        format!("{read}: {} wanted, {} ready", self.wanted, self.ready)
    }
}
