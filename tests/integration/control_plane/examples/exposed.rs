//! What an example's workload exposes, for the pods that there are.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    control_plane::eventually, example::Example, process::Process, store::Store, until,
};

/// How the names of series begin that tell how much there is, rather than how much of it is in use.
const CAPACITY: [&str; 2] = ["kube_", "DCGM_FI_DEV_FB_FREE"];

/// A series of ours: how often what is told has changed.
const VERSION: &str = "situation_version";

/// The metrics of a running example, as `examples/try` exposes them.
pub(super) struct Exposed {
    situation: Arc<Mutex<Situation>>,
    address: String,
    _process: Process,
    _folder: TempDir,
}

/// What is told, and of whom.
struct Situation {
    file: PathBuf,
    description: String,
    workloads: Vec<Workload>,
    load: f64,
    /// What stands in the file, and how often it has changed.
    text: String,
    version: u64,
}

/// The pods of one Deployment.
#[derive(Debug)]
struct Workload {
    /// `name=value`
    selector: Vec<(String, String)>,
    described: Vec<String>,
    real: Vec<String>,
}

impl Exposed {
    /// Without load, and before there are pods.
    pub(super) async fn start(example: &Example) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workload = |hpa| {
            let target = example.target(&hpa);
            let labels = target.selector.split(',').map(|label| label.split_once('=').unwrap());
            Workload {
                selector: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                described: target.pods,
                real: Vec::new(),
            }
        };
        let mut situation = Situation {
            file: folder.path().join("metrics.prom"),
            description: example.text("metrics.prom"),
            workloads: example.autoscalers().into_iter().map(workload).collect(),
            load: 0.0,
            text: String::new(),
            version: 0,
        };
        situation.write();
        let mut command = Command::new(example.folder.with_file_name("try"));
        command.arg(&example.name).args(["--only-metrics", "--step=1", "--metrics"]);
        command.arg(&situation.file);
        let mut process = Process::start(command, "it is in examples/ and needs python3");
        let address = until("the metrics are exposed", async || {
            assert!(process.runs(), "{}", process.stderr());
            let written = process.stdout();
            let (_, url) = written.split_once("http://")?;
            Some(url.split_once("/metrics")?.0.to_owned())
        })
        .await;
        let situation = Arc::new(Mutex::new(situation));
        Self { situation, address, _process: process, _folder: folder }
    }

    /// `host:port`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sets how much of the load there is that the description tells of.
    pub(super) fn set(&self, load: f64) {
        let mut situation = self.situation.lock().unwrap();
        situation.load = load;
        situation.write();
    }

    /// Whether nothing has changed for so long that nothing that rules ask for is of another situation.
    pub(super) async fn is_old_news(&self, prometheus: &Store) -> bool {
        let selector = format!("{VERSION}{{instance=\"{}\"}}", self.address);
        // A range, a step, and for how long loadline uses an answer.
        let query = format!("min_over_time({selector}[8s])");
        let Some(answer) = prometheus.ask("query", &[("query", &query)]).await else {
            return false;
        };
        let version = self.situation.lock().unwrap().version.to_string();
        answer["result"][0]["value"][1].as_str() == Some(&version)
    }

    /// What tells of the pods that are there now.
    pub(super) fn pods(&self) -> impl Fn(&[Value]) + Send + use<> {
        let situation = Arc::clone(&self.situation);
        move |pods| {
            let mut situation = situation.lock().unwrap();
            for workload in &mut situation.workloads {
                let is_its = |pod: &&Value| {
                    let labels = &pod["metadata"]["labels"];
                    workload.selector.iter().all(|(name, value)| labels[name] == **value)
                };
                let names = pods.iter().filter(is_its).map(|pod| &pod["metadata"]["name"]);
                workload.real = names.map(|name| name.as_str().unwrap().to_owned()).collect();
            }
            situation.write();
        }
    }

    pub(super) async fn until_all_have_pods(&self) {
        eventually("every Deployment has pods", async || {
            let situation = self.situation.lock().unwrap();
            situation.workloads.iter().all(|workload| !workload.real.is_empty()).then_some(())
        })
        .await;
    }
}

impl Situation {
    /// Replaces the file if there is something new, so that nobody reads half of it.
    fn write(&mut self) {
        let text = told(&self.description, &self.workloads, self.load);
        if text == self.text {
            return;
        }
        self.version += 1;
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{text}{VERSION} {}\n", self.version)).unwrap();
        fs::rename(next, &self.file).unwrap();
        self.text = text;
    }
}

/// A description of other pods under another load. The lines of a workload's first pod are there for each of its real pods, which share
/// the load of as many such pods as are described; what is there without a load stays as it is.
#[expect(clippy::cast_precision_loss, reason = "there are few pods")]
fn told(description: &str, workloads: &[Workload], load: f64) -> String {
    let quoted = |name: &str| format!("\"{name}\"");
    let mut text = String::new();
    for line in description.lines() {
        let Some((series, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            writeln!(text, "{line}").unwrap();
            continue;
        };
        let value: f64 = value.parse().unwrap();
        let is_capacity = CAPACITY.iter().any(|name| series.starts_with(name));
        let under = |load: f64| if is_capacity { value } else { value * load };
        let its = workloads.iter().find_map(|workload| {
            let is_of = |name: &String| series.contains(&quoted(name));
            Some((workload, workload.described.iter().position(is_of)?))
        });
        match its {
            None => writeln!(text, "{series} {}", under(load)).unwrap(),
            Some((Workload { described, real, .. }, 0)) => {
                let share = described.len() as f64 / real.len() as f64;
                for name in real {
                    let series = series.replace(&quoted(&described[0]), &quoted(name));
                    writeln!(text, "{series} {}", under(load * share)).unwrap();
                }
            }
            Some(_) => (),
        }
    }
    text
}

#[test]
fn real_pods_share_the_load_of_those_that_are_described() {
    let description = "\
# TYPE requests_total counter
requests_total{pod=\"web-0\",code=\"200\"} 30
requests_total{pod=\"web-1\",code=\"200\"} 7

kube_limits{pod=\"web-0\"} 512
kube_limits{pod=\"web-1\"} 512
backlog{pod=\"exporter\"} 5
";
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let mut workload = Workload {
        selector: Vec::new(),
        described: names(&["web-0", "web-1"]),
        real: names(&["a", "b", "c"]),
    };
    assert_eq!(
        told(description, std::slice::from_ref(&workload), 2.0),
        "\
# TYPE requests_total counter
requests_total{pod=\"a\",code=\"200\"} 40
requests_total{pod=\"b\",code=\"200\"} 40
requests_total{pod=\"c\",code=\"200\"} 40

kube_limits{pod=\"a\"} 512
kube_limits{pod=\"b\"} 512
kube_limits{pod=\"c\"} 512
backlog{pod=\"exporter\"} 10
"
    );
    workload.real.clear();
    assert_eq!(
        told(description, &[workload], 1.0),
        "# TYPE requests_total counter\n\nbacklog{pod=\"exporter\"} 5\n"
    );
}
