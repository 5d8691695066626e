//! What the proof of pointwiseness accepts, tried on a real Prometheus: templates at random, over a small cluster.
//!
//! A longer search: `POINTWISE_SECONDS=3600 cargo test --test integration pointwise:: -- --nocapture`, or `POINTWISE_CASES`. One
//! case again: `POINTWISE_SEED`, as a failure prints it.

pub(crate) mod chance;
pub(crate) mod expressions;
pub(crate) mod samples;
pub(crate) mod spelling;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use loadline::core::{
    pointwise::{Key, Pointwise, Renderings, judge},
    template::{QueryArguments, QueryTemplate},
};
use serde_json::Value;

use crate::support::store::Store;
use chance::Chance;
use samples::{NAMESPACES, NOW, PODS};
use spelling::Spelling;

/// How many templates are tried unless the environment says otherwise.
const CASES: u64 = 4_000;

/// How many are tried at the same time.
const PARALLEL: usize = 4;

/// What has become of the templates.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    /// The proof holds, and names matter.
    accepted: usize,
    /// Of these, those whose queries both succeeded.
    compared: usize,
    /// Of these, those where an object that was asked for had a sample.
    with_samples: usize,
    /// Names do not matter.
    independent: usize,
    /// Of those that were refused, those where the wide query says something else.
    rightly_refused: usize,
}

/// What one template has come to.
enum Verdict {
    Unrenderable,
    Independent,
    Accepted,
    Compared { samples: usize },
    Refused { differs: bool },
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_gives_every_reader_the_same() {
    let store = Store::stored(&samples::openmetrics()).await;
    search(&store, Spelling::Classic).await;
}

/// The same templates, with names in quotes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PROMETHEUS3, see CONTRIBUTING.md"]
async fn quoted_names_with_prometheus3() {
    let samples = Spelling::Quoted.samples(&samples::openmetrics());
    let store = Store::stored_by_prometheus3(&samples).await;
    search(&store, Spelling::Quoted).await;
}

async fn search(store: &Store, spelling: Spelling) {
    let setting =
        |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let (seeds, limit) = match (setting("POINTWISE_SEED"), setting("POINTWISE_SECONDS")) {
        (Some(seed), _) => (seed..seed + 1, None),
        (None, Some(seconds)) => {
            let start = jiff::Timestamp::now().as_second().unsigned_abs() << 20;
            (start..u64::MAX, Some(Duration::from_secs(seconds)))
        }
        (None, None) => (0..setting("POINTWISE_CASES").unwrap_or(CASES), None),
    };
    let is_one = seeds.end - seeds.start == 1;
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut verdicts = stream::iter(seeds)
        .take_while(|_| std::future::ready(limit.is_none_or(|limit| start.elapsed() < limit)))
        .map(|seed| verdict(store, spelling, seed))
        .buffer_unordered(PARALLEL);
    while let Some(verdict) = verdicts.next().await {
        tally.add(&verdict);
        if limit.is_some() && tally.cases.is_multiple_of(20_000) {
            println!("{} s: {tally:?}", start.elapsed().as_secs());
        }
    }
    println!("{} s: {tally:?}", start.elapsed().as_secs());
    if !is_one {
        tally.check();
    }
}

impl Tally {
    fn add(&mut self, verdict: &Verdict) {
        self.cases += 1;
        match verdict {
            Verdict::Unrenderable => {}
            Verdict::Independent => self.independent += 1,
            Verdict::Accepted => self.accepted += 1,
            Verdict::Compared { samples } => {
                self.accepted += 1;
                self.compared += 1;
                self.with_samples += usize::from(*samples > 0);
            }
            Verdict::Refused { differs } => self.rightly_refused += usize::from(*differs),
        }
    }

    /// A search that compares nothing, or that would not see a difference, has not shown anything.
    fn check(&self) {
        assert!(self.accepted * 5 >= self.cases, "fewer than a fifth are accepted: {self:?}");
        assert!(self.with_samples * 10 >= self.cases, "fewer than a tenth have samples: {self:?}");
        assert!(self.rightly_refused * 100 >= self.cases, "hardly a difference is seen: {self:?}");
    }
}

/// A template and those who ask.
struct Case {
    template: QueryTemplate,
    source: String,
    spelling: Spelling,
    is_clusterwide: bool,
}

impl Case {
    fn new(chance: &mut Chance, spelling: Spelling) -> Option<Self> {
        let is_clusterwide = chance.percent(50);
        let source = spelling.query(&expressions::template(chance));
        let template = QueryTemplate::compile(&source).ok()?;
        assert_eq!(template.names_are_plain(), Ok(()), "{source}");
        Some(Self { template, source, spelling, is_clusterwide })
    }

    fn render(&self, namespace: &str, names: &[&str]) -> String {
        let matcher = match names {
            [name] => format!("pod=\"{name}\""),
            names => format!("pod=~\"{}\"", names.join("|")),
        };
        self.rendered(&format!("namespace=\"{namespace}\",{matcher}"), &["pod"])
    }

    fn wide(&self, namespace: &str) -> String {
        if self.is_clusterwide {
            self.rendered("namespace!=\"\",pod!=\"\"", &["namespace", "pod"])
        } else {
            self.rendered(&format!("namespace=\"{namespace}\",pod!=\"\""), &["pod"])
        }
    }

    fn rendered(&self, matchers: &str, labels: &[&str]) -> String {
        let slice: Vec<String> = labels.iter().map(|label| self.spelling.query(label)).collect();
        let arguments = QueryArguments {
            series: "load",
            label_matchers: &self.spelling.query(matchers),
            label_values_by_name: &BTreeMap::new(),
            group_by: &slice.join(","),
            group_by_slice: &slice,
        };
        self.template.render(&arguments).expect("the names are only printed")
    }

    fn judge(&self) -> Option<Pointwise> {
        let several = if self.is_clusterwide { "s-2" } else { "s-1" };
        let renderings = Renderings {
            one: &self.render("s-1", &["n-1"]),
            several: &self.render(several, &["n-2", "n-3"]),
            wide: &self.wide("s-1"),
        };
        let label = |label| self.spelling.label(label);
        let object = Key { label: label("pod"), one: "n-1", several: &["n-2", "n-3"] };
        let namespace = Key { label: label("namespace"), one: "s-1", several: &["s-2"] };
        judge(&object, self.is_clusterwide.then_some(&namespace), renderings).ok()
    }
}

async fn verdict(store: &Store, spelling: Spelling, seed: u64) -> Verdict {
    let mut chance = Chance::new(seed);
    let Some(case) = Case::new(&mut chance, spelling) else {
        return Verdict::Unrenderable;
    };
    let pointwise = case.judge();
    let namespace = chance.pick(&NAMESPACES);
    let first = chance.below(PODS.len());
    let mut names = chance.some(&PODS, 35);
    if names.is_empty() {
        names.push(PODS[first]);
    }
    let (exact, wide) = (case.render(namespace, &names), case.wide(namespace));
    let answer = async |query: &str| answer(store, spelling, query).await;
    let (Some(narrow), Some(all)) = (answer(&exact).await, answer(&wide).await) else {
        return match pointwise {
            Some(Pointwise::Dependent) => Verdict::Accepted,
            Some(Pointwise::Independent) => Verdict::Independent,
            None => Verdict::Refused { differs: false },
        };
    };
    let only =
        (case.is_clusterwide && pointwise != Some(Pointwise::Independent)).then_some(namespace);
    // Of equal values topk takes whichever it meets first, so the labels of its choice mean nothing.
    let is_chosen = ["topk", "bottomk"].iter().any(|name| case.source.contains(name));
    let pick = |elements, namespace| {
        let mut picked = pick(elements, &names, namespace);
        if is_chosen {
            for (labels, _) in &mut picked {
                labels.retain(|label, _| label == "pod");
            }
            picked.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        }
        picked
    };
    let (expected, picked) = (pick(&narrow, None), pick(&all, only));
    let same = expected.len() == picked.len()
        && expected
            .iter()
            .zip(&picked)
            .all(|((labels, value), (others, other))| labels == others && is_close(*value, *other));
    let Some(pointwise) = pointwise else {
        return Verdict::Refused { differs: !same };
    };
    assert!(
        same,
        "POINTWISE_SEED={seed}: {pointwise:?}\ntemplate: {}\nnames: {namespace} {names:?}\nexact: {exact}\nwide: {wide}\nexact gives {expected:#?}\nwide gives {picked:#?}",
        case.source
    );
    match pointwise {
        Pointwise::Dependent => Verdict::Compared { samples: expected.len() },
        Pointwise::Independent => Verdict::Independent,
    }
}

/// A vector; nothing where it is none.
async fn answer(store: &Store, spelling: Spelling, query: &str) -> Option<Vec<Value>> {
    let data = store.ask("query", &[("query", query), ("time", NOW)]).await?;
    if data["resultType"] != "vector" {
        return None;
    }
    let mut elements = data["result"].as_array().expect("a vector").clone();
    for element in &mut elements {
        spelling.restore(element["metric"].as_object_mut().expect("labels"));
    }
    Some(elements)
}

/// The elements of the objects that are asked for: their labels but for the namespace, and their values.
fn pick(
    elements: &[Value],
    names: &[&str],
    namespace: Option<&str>,
) -> Vec<(BTreeMap<String, String>, f64)> {
    let mut picked: Vec<_> = elements
        .iter()
        .filter(|element| {
            let metric = &element["metric"];
            names.iter().any(|name| metric["pod"] == *name)
                && namespace.is_none_or(|namespace| metric["namespace"] == namespace)
        })
        .map(|element| {
            let metric = element["metric"].as_object().expect("labels");
            let labels = metric
                .iter()
                .filter(|(label, _)| *label != "namespace")
                .map(|(label, value)| (label.clone(), value.as_str().expect("text").to_owned()))
                .collect();
            let value = element["value"][1].as_str().expect("text").parse().expect("a number");
            (labels, value)
        })
        .collect();
    picked.sort_by(|(labels, value): &(BTreeMap<_, _>, f64), (others, other)| {
        labels.cmp(others).then(value.total_cmp(other))
    });
    picked
}

/// Equal but for the rounding of sums.
fn is_close(value: f64, other: f64) -> bool {
    value.total_cmp(&other).is_eq()
        || (value.is_nan() && other.is_nan())
        || (value - other).abs() <= 1e-9 * value.abs().max(other.abs())
}
