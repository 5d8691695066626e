//! All examples at once in one cluster: their manifests as they are, their rules in one file, real autoscalers.
//!
//! Two things are hastened, after the API server has taken what the manifests say: the windows and periods of the autoscalers'
//! behaviors, and the ranges of the rules' rates with the steps of what is exposed. All else is as a user of the examples has it.

mod exposed;
mod hastened;

use std::{cmp::Ordering, collections::BTreeMap, fs, time::Instant};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use loadline::core::quantity::parse_milli;
use serde_json::{Value, json};

use self::exposed::Exposed;
use super::{
    load::Scaling,
    set_up::{
        Server, as_loadline, registered_in, registrations_in, until_all_available, until_registered,
    },
};
use crate::support::{
    autoscaler::{Answers, Target, decide, questions},
    control_plane::{ControlPlane, Kubelet, eventually},
    example::Example,
    process::{Process, loadline},
    store::Store,
};

const REGISTRATION: &str = "deploy/components/resource-metrics/apiservice.yaml";

/// The Prometheus operator's kinds are not in this cluster.
const OPERATOR: &str = "monitoring.coreos.com/";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn all_examples_scale_up_and_down() {
    let started = Instant::now();
    let examples = Example::all();
    let plane = ControlPlane::scaling_to_zero().await;
    let account = as_loadline(&plane, &["resource-metrics", "more-kinds"]).await;
    for example in &examples {
        apply(&plane, example).await;
    }
    if !plane.has_controllers() {
        return;
    }
    let mut exposed = Vec::new();
    let mut kubelets = Vec::new();
    for example in &examples {
        let exposing = Exposed::start(example).await;
        kubelets.push(Kubelet::start(&plane, &example.namespace(), exposing.pods()));
        exposed.push(exposing);
    }
    for exposing in &exposed {
        exposing.until_all_have_pods().await;
    }
    // What a pod that has gone exposed last is soon forgotten, as if its scrape had ended.
    let targets: Vec<_> = exposed.iter().map(Exposed::address).collect();
    let prometheus = Store::prometheus_of(&targets, &["--query.lookback-delta=5s"]).await;
    let rules = merged_rules(&examples);
    is_nothing_found_in(&rules.to_string()).await;
    let rules = hastened::rules(rules);
    let server = Server::start(&account, &prometheus.url, &rules, 0, &["--cache-ttl=1s"]).await;
    until_registered(&plane, &server).await;
    plane.apply(&registrations_in(REGISTRATION, server.port, |_| {})).await;
    until_all_available(&plane, registered_in(REGISTRATION)).await;
    println!("ready to scale after {:?}", started.elapsed());

    let autoscalers = examples.iter().zip(&exposed).flat_map(|(example, exposing)| {
        example.autoscalers().into_iter().map(move |hpa| (example, exposing, hpa))
    });
    let autoscalers: Vec<_> = autoscalers.collect();
    let mut replicas = BTreeMap::new();
    // Without load, three times as much as the examples' descriptions tell of, and without again.
    for (load, change) in [(0.0, None), (3.0, Some(Ordering::Greater)), (0.0, Some(Ordering::Less))]
    {
        let changed = Instant::now();
        for exposing in &exposed {
            exposing.set(load);
        }
        for (example, exposing, hpa) in &autoscalers {
            let name = hpa.metadata.name.as_deref().unwrap();
            let count = replicas.entry((&example.name, name)).or_default();
            let is_old_news = async || exposing.is_old_news(&prometheus).await;
            let now = until_it_stays(&plane, example, hpa, is_old_news).await;
            match change {
                None => assert_eq!(i32::try_from(now).ok(), hpa.spec.min_replicas, "{name}"),
                Some(change) => assert_eq!(now.cmp(count), change, "{name}: {count}, {now}"),
            }
            *count = now;
        }
        println!("{load} times the load: {replicas:?} within {:?}", changed.elapsed());
    }
    server.print_memory();
    println!("done after {:?}", started.elapsed());
}

/// Applies an example as it is, sees that its autoscalers are there as they were written, and then lets them hurry.
async fn apply(plane: &ControlPlane, example: &Example) {
    for file in example.manifests() {
        let documents = example.documents(&file);
        let is_operators =
            |document: &Value| document["apiVersion"].as_str().unwrap().starts_with(OPERATOR);
        if documents.iter().all(is_operators) {
            continue;
        }
        plane.apply(&example.text(&file)).await;
    }
    for written in example.documents("hpa.yaml") {
        let path = format!(
            "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers/{}",
            written["metadata"]["namespace"].as_str().unwrap(),
            written["metadata"]["name"].as_str().unwrap()
        );
        let taken = plane.get(&path).await.unwrap();
        assert!(is_part(&written["spec"], &taken["spec"]), "{written} became {taken}");
        let hurried = hastened::behavior(taken["spec"]["behavior"].clone());
        plane.patch(&path, &json!({"spec": {"behavior": hurried}})).await;
    }
}

/// Whether all that is written is there; the API server adds defaults, and writes quantities in its own way.
fn is_part(written: &Value, there: &Value) -> bool {
    match (written, there) {
        (Value::Object(written), Value::Object(there)) => written
            .iter()
            .all(|(key, value)| there.get(key).is_some_and(|there| is_part(value, there))),
        (Value::Array(written), Value::Array(there)) => {
            written.len() == there.len()
                && written.iter().zip(there).all(|(written, there)| is_part(written, there))
        }
        (Value::String(written), Value::String(there)) if written != there => {
            let [written, there] = [written, there].map(|quantity| parse_milli(quantity));
            written.is_some() && written == there
        }
        _ => written == there,
    }
}

/// The rules of all examples. A cluster has one set of rules for the usage of pods and nodes: that of the example which is about it.
fn merged_rules(examples: &[Example]) -> Value {
    let mut merged = json!({"rules": [], "externalRules": []});
    for example in examples {
        let mut written = example.documents("rules.yaml").remove(0);
        for (key, value) in written.as_object_mut().unwrap() {
            match (&mut merged[key], value.take()) {
                (Value::Array(all), Value::Array(more)) => all.extend(more),
                (usage, value) if key == "resourceRules" => {
                    if example.name == "glsp" {
                        *usage = value;
                    }
                }
                (_, value) => panic!("{}: {key}: {value}", example.name),
            }
        }
    }
    merged
}

async fn is_nothing_found_in(rules: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    fs::write(&file, rules).unwrap();
    let check = loadline(&["check", "--strict", "-c", file.to_str().unwrap()]);
    let ended = Process::start(check, "cargo builds it").end().await;
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""));
}

/// Waits until an autoscaler wants what the published algorithm makes of the metrics that there are now, as many pods as it wants
/// are ready, and neither that nor the load has just changed.
async fn until_it_stays(
    plane: &ControlPlane,
    example: &Example,
    hpa: &HorizontalPodAutoscaler,
    is_old_news: impl AsyncFn() -> bool,
) -> u64 {
    let namespace = hpa.metadata.namespace.as_deref().unwrap();
    let name = hpa.metadata.name.as_deref().unwrap();
    let described = example.target(hpa);
    let mut last = String::new();
    eventually(&format!("{name} has come to rest"), async || {
        let scaling = Scaling::of(plane, namespace, name).await?;
        let target = Target {
            pods: pods(plane, namespace, &described.selector).await?,
            ..described.clone()
        };
        let mut answers = Answers::new();
        for question in questions(hpa, &target) {
            answers.push(plane.get(&question).await.ok_or_else(|| "no answer".to_owned()));
        }
        let (text, decided) = decide(hpa, &target, &answers);
        let state = format!("{text}  {}", scaling.text());
        if state != last {
            println!("{state}");
            last = state;
        }
        let count = u64::try_from(target.pods.len()).unwrap();
        let is_read = scaling.is_active && answers.iter().all(Result::is_ok);
        let rests = [scaling.wanted, scaling.ready, decided.into()].iter().all(|it| *it == count);
        (is_read && rests && is_old_news().await).then_some(count)
    })
    .await
}

/// The pods that a selector selects, but for those that are about to go.
async fn pods(plane: &ControlPlane, namespace: &str, selector: &str) -> Option<Vec<String>> {
    let list =
        plane.get(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}")).await?;
    let stay = list["items"]
        .as_array()?
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Some(stay.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect())
}
