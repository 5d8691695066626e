//! What a team's query returns does not depend on the series of others: queries at random are asked of a store that has the
//! series of three namespaces, and of one that has those of the team alone. The answers must be equal.
//!
//! A longer search: `ISOLATION_SECONDS=3600 cargo test --test integration team_isolation:: -- --nocapture`, or `ISOLATION_CASES`.
//! One case again: `ISOLATION_SEED`, as a failure prints it.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use loadline::core::team_rules::enforce;
use serde_json::{Map, Value};

use crate::{
    pointwise::{
        chance::Chance,
        expressions::template,
        samples::{NOW, openmetrics},
        spelling::Spelling,
    },
    support::store::Store,
};

/// How many queries are tried unless the environment says otherwise.
const CASES: u64 = 2_000;

/// How many are tried at the same time.
const PARALLEL: usize = 4;

/// The namespace of the team. The others are `a` and `c`.
const OWN: &str = "b";

/// What a team may write in the place of matchers.
const MATCHERS: [&str; 8] = [
    "pod!=\"\"",
    "namespace=\"b\"",
    "namespace=\"a\"",
    "namespace!=\"b\"",
    "namespace=~\".+\"",
    "namespace=~\"a|b|c\",namespace!=\"c\"",
    "\"namespace\"=~'a|c'",
    "namespace=\"\"",
];

/// A store with the series of all, and one with those of the team.
struct Stores {
    all: Store,
    own: Store,
    spelling: Spelling,
}

#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    accepted: usize,
    /// Of these, those with a sample in the answer.
    with_samples: usize,
    /// Queries whose answers differ if they are not limited: the stores can be told apart.
    told_apart: usize,
}

struct Verdict {
    is_accepted: bool,
    has_samples: bool,
    tells_apart: bool,
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_prometheus_depends_on_the_series_of_others() {
    let samples = openmetrics();
    let (all, own) = (Store::stored(&samples).await, Store::stored(&of_team(&samples)).await);
    search(&Stores { all, own, spelling: Spelling::Classic }, CASES).await;
}

/// The same queries, with names in quotes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PROMETHEUS3, see CONTRIBUTING.md"]
async fn quoted_names_with_prometheus3() {
    let (samples, spelling) = (openmetrics(), Spelling::Quoted);
    let all = Store::stored_by_prometheus3(&spelling.samples(&samples)).await;
    let own = Store::stored_by_prometheus3(&spelling.samples(&of_team(&samples))).await;
    search(&Stores { all, own, spelling }, CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_victoria_metrics_depends_on_the_series_of_others() {
    let samples = openmetrics();
    let all = Store::stored_by_victoria_metrics(&samples).await;
    let own = Store::stored_by_victoria_metrics(&of_team(&samples)).await;
    search(&Stores { all, own, spelling: Spelling::Classic }, CASES / 4).await;
}

/// The samples of the team's series, in their order.
fn of_team(samples: &str) -> String {
    let is_own = format!("namespace=\"{OWN}\"");
    let lines = samples.lines().filter(|line| line.starts_with('#') || line.contains(&is_own));
    lines.map(|line| format!("{line}\n")).collect()
}

async fn search(stores: &Stores, cases: u64) {
    let (seeds, limit) = match (setting("ISOLATION_SEED"), setting("ISOLATION_SECONDS")) {
        (Some(seed), _) => (seed..seed + 1, None),
        (None, Some(seconds)) => {
            let start = jiff::Timestamp::now().as_second().unsigned_abs() << 20;
            (start..u64::MAX, Some(Duration::from_secs(seconds)))
        }
        (None, None) => (0..setting("ISOLATION_CASES").unwrap_or(cases), None),
    };
    let is_one = seeds.end - seeds.start == 1;
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut verdicts = stream::iter(seeds)
        .take_while(|_| std::future::ready(limit.is_none_or(|limit| start.elapsed() < limit)))
        .map(|seed| verdict(stores, seed))
        .buffer_unordered(PARALLEL);
    while let Some(verdict) = verdicts.next().await {
        tally.cases += 1;
        tally.accepted += usize::from(verdict.is_accepted);
        tally.with_samples += usize::from(verdict.has_samples);
        tally.told_apart += usize::from(verdict.tells_apart);
    }
    println!("{} s: {tally:?}", start.elapsed().as_secs());
    if !is_one {
        assert!(tally.accepted * 2 >= tally.cases, "hardly a query is accepted: {tally:?}");
        assert!(tally.with_samples * 10 >= tally.cases, "hardly an answer: {tally:?}");
        assert!(tally.told_apart * 10 >= tally.cases, "the stores look alike: {tally:?}");
    }
}

async fn verdict(stores: &Stores, seed: u64) -> Verdict {
    let mut chance = Chance::new(seed);
    let query = stores.spelling.query(&query(&mut chance));
    // Of equal values these take whichever they meet first, so the labels of the choice mean nothing.
    let is_chosen = ["topk", "bottomk", "limitk"].iter().any(|name| query.contains(name));
    let plain = both(stores, &query, is_chosen).await;
    let tells_apart = !is_same(plain.0.as_deref(), plain.1.as_deref());
    let Ok(enforced) = enforce(&query, stores.spelling.label("namespace"), OWN) else {
        return Verdict { is_accepted: false, has_samples: false, tells_apart };
    };
    let (all, own) = both(stores, &enforced.query, is_chosen).await;
    assert!(
        is_same(all.as_deref(), own.as_deref()),
        "ISOLATION_SEED={seed}\nquery: {query}\nenforced: {}\nwith others: {all:#?}\nwithout: {own:#?}",
        enforced.query
    );
    let namespaces = all.iter().flatten().filter_map(|(labels, _)| labels.get("namespace"));
    for namespace in namespaces {
        assert_eq!(namespace, OWN, "ISOLATION_SEED={seed}: {}", enforced.query);
    }
    let has_samples = all.is_some_and(|samples| !samples.is_empty());
    Verdict { is_accepted: true, has_samples, tells_apart }
}

/// A query of the generator, or one that hides it in another.
fn query(chance: &mut Chance) -> String {
    let query = template(chance).replace("<<.GroupBy>>", "pod");
    let matchers = chance.pick(&MATCHERS);
    let query = query.replace("<<.LabelMatchers>>", matchers);
    match chance.below(12) {
        0 => format!("topk(scalar(count({query})), load)"),
        1 => format!("absent({query})"),
        2 => format!("load * on () group_left (namespace) topk(1, {query})"),
        3 => format!("count_values(\"value\", {query})"),
        4 => format!("quantile(scalar(count({query})) / 100, load)"),
        5 => format!("max_over_time(({query})[5m:1m] offset 1m)"),
        6 => format!("vector(scalar(count({query})))"),
        7 => format!("limitk(2, {query})"),
        8 => format!("{query} # {{namespace=\"a\"}}\n or load"),
        _ => query,
    }
}

/// The labels of a sample, and its value.
type Sample = (Map<String, Value>, f64);

/// A vector; nothing where it is none.
type Samples = Option<Vec<Sample>>;

async fn both(stores: &Stores, query: &str, is_chosen: bool) -> (Samples, Samples) {
    let of = async |store| answer(store, stores.spelling, query).await;
    let (all, own) = (of(&stores.all), of(&stores.own));
    let (mut all, mut own) = tokio::join!(all, own);
    if is_chosen {
        for (labels, _) in all.iter_mut().chain(&mut own).flatten() {
            labels.retain(|label, value| label == "namespace" && value != OWN);
        }
        for samples in all.iter_mut().chain(&mut own) {
            sort(samples);
        }
    }
    (all, own)
}

/// The samples of an answer, in an order of their labels; nothing where it is no vector.
async fn answer(store: &Store, spelling: Spelling, query: &str) -> Samples {
    let data = store.ask("query", &[("query", query), ("time", NOW)]).await?;
    if data["resultType"] != "vector" {
        return None;
    }
    let samples = data["result"].as_array().expect("a vector").iter().map(|sample| {
        let value = sample["value"][1].as_str().expect("text").parse().expect("a number");
        let mut labels = sample["metric"].as_object().expect("labels").clone();
        spelling.restore(&mut labels);
        labels.values_mut().for_each(rounded);
        (labels, value)
    });
    let mut samples: Vec<_> = samples.collect();
    sort(&mut samples);
    Some(samples)
}

/// `count_values` makes labels of values, which VictoriaMetrics adds up in any order.
fn rounded(label: &mut Value) {
    let text = label.as_str().expect("text");
    if let Some(number) = text.parse::<f64>().ok().filter(|_| text.contains('.')) {
        *label = format!("{number:.6e}").into();
    }
}

fn sort(samples: &mut [Sample]) {
    let key = |labels: &Map<String, Value>| {
        let mut labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        labels.sort();
        labels
    };
    samples.sort_by(|(a, x), (b, y)| key(a).cmp(&key(b)).then(x.total_cmp(y)));
}

/// Equal but for the rounding of sums.
fn is_same(all: Option<&[Sample]>, own: Option<&[Sample]>) -> bool {
    let (Some(all), Some(own)) = (all, own) else { return all.is_none() && own.is_none() };
    all.len() == own.len()
        && all.iter().zip(own).all(|((labels, value), (others, other))| {
            labels == others
                && (value.total_cmp(other).is_eq()
                    || (value.is_nan() && other.is_nan())
                    || (value - other).abs() <= 1e-9 * value.abs().max(other.abs()))
        })
}
