//! metrics.k8s.io in place of metrics-server: `kubectl top`, and autoscalers on the CPU of pods and of a container.

use super::*;

/// The registration of metrics.k8s.io.
const REGISTRATION: &str = "deploy/components/resource-metrics/apiservice.yaml";

/// The range is short, so that the load of a moment ago is soon forgotten, and young pods count soon.
const USAGE: &str = r#"resourceRules:
  window: 2s
  cpu:
    containerLabel: container
    containerQuery: sum by (<<.GroupBy>>) (rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>}[5s]))
    nodeQuery: sum by (<<.GroupBy>>) (rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>,container!=""}[5s]))
    resources: &resources
      overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}
  memory:
    containerLabel: container
    containerQuery: sum by (<<.GroupBy>>) (container_memory_working_set_bytes{<<.LabelMatchers>>})
    nodeQuery: sum by (<<.GroupBy>>) (container_memory_working_set_bytes{<<.LabelMatchers>>,container!=""})
    resources: *resources
"#;

/// A Deployment whose pods use one core each, its two containers together, and one of whose pods one container counts.
const AUTOSCALED: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: ide}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {capacity: {cpu: "8", memory: 16Gi}, allocatable: {cpu: "8", memory: 16Gi}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: whole, namespace: ide}
spec:
  selector: {matchLabels: {app: whole}}
  template:
    metadata: {labels: {app: whole}}
    spec:
      containers:
      - {name: web, image: web, resources: {requests: {cpu: 500m}}}
      - {name: proxy, image: proxy, resources: {requests: {cpu: 500m}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: whole, namespace: ide}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: whole}
  minReplicas: 1
  maxReplicas: 8
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 100}}}
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0}
    scaleDown: {stabilizationWindowSeconds: 0}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: part, namespace: ide}
spec:
  selector: {matchLabels: {app: part}}
  template:
    metadata: {labels: {app: part}}
    spec:
      containers:
      - {name: web, image: web, resources: {requests: {cpu: 500m}}}
      - {name: proxy, image: proxy, resources: {requests: {cpu: 500m}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: part, namespace: ide}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: part}
  minReplicas: 1
  maxReplicas: 8
  metrics:
  - type: ContainerResource
    containerResource: {name: cpu, container: web, target: {type: Utilization, averageUtilization: 100}}
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0}
    scaleDown: {stabilizationWindowSeconds: 0}
"#;

/// The work of each Deployment in cores, shared evenly by its pods and in them by two containers.
struct Work {
    shared: Arc<Mutex<Done>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Done {
    cores: f64,
    /// CPU seconds of each of both containers, by pod.
    pods: BTreeMap<String, f64>,
}

impl Work {
    fn start(exporter: Arc<Exporter>) -> Self {
        let shared = Arc::new(Mutex::new(Done::default()));
        let working = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            let mut last = ticks.tick().await;
            loop {
                let now = ticks.tick().await;
                exporter.show(working.lock().expect("not poisoned").after(now - last));
                last = now;
            }
        });
        Self { shared, _task: AbortOnDropHandle::new(task) }
    }

    fn set(&self, cores: f64) {
        self.shared.lock().expect("not poisoned").cores = cores;
    }

    /// What tells of the pods that are there now.
    fn pods(&self) -> impl Fn(Vec<String>) + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move |names| {
            let pods = &mut shared.lock().expect("not poisoned").pods;
            pods.retain(|name, _| names.contains(name));
            for name in names {
                pods.entry(name).or_default();
            }
        }
    }
}

impl Done {
    /// Works for some time.
    #[expect(clippy::cast_precision_loss, reason = "there are few pods")]
    fn after(&mut self, time: Duration) -> Page {
        let mut page = Page::new().series("up_since", "", "0");
        for deployment in ["whole", "part"] {
            let is_of = |name: &String| name.starts_with(deployment);
            let count = self.pods.keys().filter(|name| is_of(name)).count() as f64;
            let each = self.cores / 2.0 * time.as_secs_f64() / count;
            for (pod, seconds) in self.pods.iter_mut().filter(|(name, _)| is_of(name)) {
                *seconds += each;
                // Without a container's name: the sum, and the sandbox.
                for (container, seconds) in
                    [("web", *seconds), ("proxy", *seconds), ("", *seconds * 2.0), ("POD", 0.0)]
                {
                    let labels = format!(
                        "namespace=\"ide\",pod=\"{pod}\",container=\"{container}\",node=\"n1\""
                    );
                    let (cpu, memory) =
                        ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes");
                    page = page.series(cpu, &labels, &seconds.to_string());
                    page = page.series(memory, &labels, "10485760");
                }
            }
        }
        page
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn it_takes_the_place_of_metrics_server() {
    let started = Instant::now();
    let plane = ControlPlane::start().await;
    if !plane.has_controllers() {
        return;
    }
    let exporter = Arc::new(Exporter::start(Page::new().series("up_since", "", "0")).await);
    let prometheus = Store::prometheus(&exporter).await;
    plane.create_namespace("monitoring").await;
    for file in ["base/service-account", "base/rbac", "components/resource-metrics/rbac"] {
        plane.apply(&text(&format!("deploy/{file}.yaml"))).await;
    }
    let account = plane.service_account("monitoring", "loadline").await;
    let server = Server::start(&account, &prometheus.url, USAGE, 0, &["--cache-ttl=1s"]).await;
    plane.apply(&service(server.port)).await;
    plane.apply(&registrations_in(REGISTRATION, server.port, |_| {})).await;
    until_all_available(&plane, registered_in(REGISTRATION)).await;

    let work = Work::start(Arc::clone(&exporter));
    work.set(0.8);
    let _kubelet = Kubelet::start(&plane, "ide", work.pods());
    plane.apply(AUTOSCALED).await;
    println!("ready to scale after {:?}", started.elapsed());
    until_sized(&plane, 1).await;
    kubectl_tops(&plane).await;
    for (cores, replicas) in [(4.5, 5), (2.5, 3), (0.8, 1)] {
        let changed = Instant::now();
        work.set(cores);
        until_sized(&plane, replicas).await;
        println!("{cores} cores: {replicas} replicas within {:?}", changed.elapsed());
    }
    who_may_view_a_namespace_sees_its_usage(&plane).await;

    // Without rules the registrations must not hurt.
    let port = server.port;
    server.stop().await;
    let server = Server::start(&account, &prometheus.url, "rules: []\n", port, &[]).await;
    eventually("the resources are gone", async || {
        let document = plane.get("/apis/metrics.k8s.io/v1beta1").await?;
        (document["resources"] == json!([])).then_some(())
    })
    .await;
    until_all_available(&plane, registered_in(REGISTRATION)).await;
    a_namespace_goes_away(&plane).await;
    println!("done after {:?}", started.elapsed());
    drop(server);
}

/// `kubectl top` and `kubectl get`, through kube-apiserver.
async fn kubectl_tops(plane: &ControlPlane) {
    let pods = eventually("both pods are seen", async || {
        let ended = kubectl(&plane.kubeconfig, &["top", "pods", "-A", "--no-headers"]).await;
        (ended.stdout.lines().count() == 2).then_some(ended.stdout)
    })
    .await;
    assert!(pods.contains("ide") && pods.contains("part-") && pods.contains("20Mi"), "{pods}");
    let selected = ["top", "pods", "-n", "ide", "-l", "app=part", "--containers", "--no-headers"];
    let containers = succeeds(&plane.kubeconfig, &selected).await;
    assert_eq!(containers.lines().count(), 2, "{containers}");
    assert!(containers.contains("proxy") && containers.contains("10Mi"), "{containers}");
    let nodes = succeeds(&plane.kubeconfig, &["top", "nodes", "--no-headers"]).await;
    assert!(nodes.starts_with("n1 ") && nodes.contains('%'), "{nodes}");
    let groups = plane.discovery().await;
    let ours = groups.iter().find(|group| group["metadata"]["name"] == "metrics.k8s.io").unwrap();
    let versions: Vec<_> = ours["versions"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&versions[0]["version"], &versions[1]["version"]),
        (&json!("v1"), &json!("v1beta1"))
    );
    assert_eq!(versions[1]["resources"][1]["resource"], "pods");
    for name in ["v1", "v1beta1"] {
        let table = ["get", &format!("pods.{name}.metrics.k8s.io"), "-n", "ide"];
        let table = succeeds(&plane.kubeconfig, &table).await;
        assert!(table.to_lowercase().contains("memory") && table.contains("20Mi"), "{table}");
    }
    // `kubectl get pods` still means those of the core group.
    let pods = succeeds(&plane.kubeconfig, &["get", "pods", "-n", "ide"]).await;
    assert!(pods.contains("READY"), "{pods}");
}

async fn who_may_view_a_namespace_sees_its_usage(plane: &ControlPlane) {
    let viewer = plane.user("viewer");
    let top = ["top", "pods", "-n", "ide", "--no-headers"];
    let ended = kubectl(&viewer, &top).await;
    assert!(ended.stderr.contains("pods.metrics.k8s.io is forbidden"), "{ended:?}");
    let bind =
        ["create", "rolebinding", "viewer", "-n", "ide", "--clusterrole=view", "--user=viewer"];
    succeeds(&plane.kubeconfig, &bind).await;
    eventually("the role has the rules of others in it", async || {
        let ended = kubectl(&viewer, &top).await;
        (ended.code == Some(0)).then_some(())
    })
    .await;
}

/// Waits until both autoscalers have read usage, want so many replicas, and so many are ready.
async fn until_sized(plane: &ControlPlane, replicas: u64) {
    for name in ["whole", "part"] {
        let mut last = String::new();
        eventually(&format!("there are {replicas} replicas of {name}"), async || {
            let path =
                format!("/apis/autoscaling/v2/namespaces/ide/horizontalpodautoscalers/{name}");
            let status = plane.get(&path).await?["status"].take();
            let path = format!("/apis/apps/v1/namespaces/ide/deployments/{name}");
            let deployment = plane.get(&path).await?;
            let is_active = status["conditions"].as_array()?.iter().any(|condition| {
                condition["type"] == "ScalingActive" && condition["reason"] == "ValidMetricFound"
            });
            let ready = &deployment["status"]["readyReplicas"];
            let (wanted, read) = (&status["desiredReplicas"], &status["currentMetrics"]);
            let state = format!("{name}: {read}: {wanted} wanted, {ready} ready");
            if state != last {
                println!("{state}");
                last = state;
            }
            (is_active && *wanted == replicas && *ready == replicas).then_some(())
        })
        .await;
    }
}
