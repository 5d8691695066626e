//! A cluster of three namespaces, six names of pods and two nodes, and what it measured in an hour.

use std::fmt::Write as _;

use super::chance::Chance;

pub(crate) const NAMESPACES: [&str; 3] = ["a", "b", "c"];

/// The last has no series.
pub(crate) const PODS: [&str; 6] = ["p-0", "p-1", "p-2", "p-3", "p-4", "p-9"];

/// When queries are evaluated, in seconds.
pub(crate) const NOW: &str = "1700003580";

const START: u64 = 1_700_000_000;
const STEPS: u64 = 60;

/// The samples in the format of OpenMetrics. Values are small numbers, so that some are equal.
pub(crate) fn openmetrics() -> String {
    let mut text = String::new();
    let mut chance = Chance::new(7);
    let mut pods = Vec::new();
    for namespace in NAMESPACES {
        for pod in &PODS[..5] {
            // Two namespaces have the same pods, the third has two of them.
            if namespace != "c" || chance.percent(40) {
                let node = chance.pick(&["n-0", "n-1"]);
                pods.push((namespace, *pod, node));
            }
        }
    }
    let of = |(namespace, pod, node): &(&str, &str, &str)| {
        format!("namespace=\"{namespace}\",pod=\"{pod}\",node=\"{node}\"")
    };
    // A pod now and then has no series. And there are some without a pod, without a namespace, and without both.
    let mut load: Vec<String> = pods.iter().filter(|_| chance.percent(80)).map(of).collect();
    load.extend(
        ["namespace=\"a\",node=\"n-0\"", "pod=\"p-0\",node=\"n-1\"", ""].map(str::to_owned),
    );
    gauge(&mut text, &mut chance, "load", &load);
    let limits: Vec<String> = pods
        .iter()
        .filter(|_| chance.percent(70))
        .map(|(namespace, pod, _)| format!("namespace=\"{namespace}\",pod=\"{pod}\""))
        .chain(["namespace=\"b\"".to_owned()])
        .collect();
    gauge(&mut text, &mut chance, "limits", &limits);
    gauge(
        &mut text,
        &mut chance,
        "node_heat",
        &["node=\"n-0\"", "node=\"n-1\""].map(str::to_owned),
    );
    gauge(&mut text, &mut chance, "paused", &["namespace=\"b\"".to_owned()]);
    // One pod of each namespace, and one of all.
    let leaders = [&pods[0], &pods[6], &pods[pods.len() - 1]].map(of);
    gauge(&mut text, &mut chance, "lone", &leaders[..1]);
    gauge(&mut text, &mut chance, "leader", &leaders);
    gauge(&mut text, &mut chance, "info", &pods.iter().map(of).collect::<Vec<_>>());

    let mut requests = Vec::new();
    for pod in &pods {
        for code in chance.some(&["200", "500"], 80) {
            for instance in chance.some(&["i-0", "i-1"], 60) {
                requests.push(format!("{},code=\"{code}\",instance=\"{instance}\"", of(pod)));
            }
        }
    }
    requests.push("namespace=\"a\",code=\"200\",instance=\"i-0\"".to_owned());
    counter(&mut text, &mut chance, "requests", &requests);
    let mut buckets = Vec::new();
    for pod in &pods {
        for bucket in ["0.1", "1", "+Inf"] {
            buckets.push(format!("{},le=\"{bucket}\"", of(pod)));
        }
    }
    counter(&mut text, &mut chance, "latency", &buckets);
    text.push_str("# EOF\n");
    text
}

fn gauge(text: &mut String, chance: &mut Chance, name: &str, series: &[String]) {
    writeln!(text, "# TYPE {name} gauge").expect("a String takes anything");
    for labels in series {
        // One of them has ended, one has no number.
        let (steps, odd) = (if chance.percent(5) { STEPS / 2 } else { STEPS }, chance.percent(5));
        for step in 0..steps {
            let value = chance.below(6);
            let value = if odd { "NaN".to_owned() } else { value.to_string() };
            sample(text, name, labels, &value, step);
        }
    }
}

fn counter(text: &mut String, chance: &mut Chance, name: &str, series: &[String]) {
    writeln!(text, "# TYPE {name} counter").expect("a String takes anything");
    for labels in series {
        let mut value = 0;
        for step in 0..STEPS {
            value = if chance.percent(2) { 0 } else { value + chance.below(4) };
            sample(text, &format!("{name}_total"), labels, &value.to_string(), step);
        }
    }
}

fn sample(text: &mut String, name: &str, labels: &str, value: &str, step: u64) {
    let time = START + 60 * step;
    writeln!(text, "{name}{{{labels}}} {value} {time}").expect("a String takes anything");
}
