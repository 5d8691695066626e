use super::*;

const T0: i64 = 1_800_000_000_000;

fn sample(name: &'static str, labels: &[(&'static str, &str)], value: f64) -> Sample {
    Sample { name, labels: labels.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(), value }
}

/// Two pods' counters, 10 and 20 per second (each half by one of two methods), and the memory series, for a minute.
fn filled() -> Store {
    let store = Store::default();
    for second in 0..=60_i32 {
        let mut scrape = Vec::new();
        for (pod, rate) in [("a-0", 10.0), ("a-1", 20.0)] {
            for method in ["hover", "completion"] {
                let labels = [("method", method), ("namespace", "ide"), ("pod", pod)];
                scrape.push(sample(
                    "lsp_requests_total",
                    &labels,
                    1_000.0 + f64::from(second) * rate / 2.0,
                ));
            }
        }
        for (container, used, limit) in [("inference", 6.0, 8.0), ("proxy", 1.0, 2.0)] {
            let labels = [("container", container), ("namespace", "ide"), ("pod", "b-0")];
            scrape.push(sample("container_memory_working_set_bytes", &labels, used));
            let mut labels = labels.to_vec();
            labels.push(("resource", "memory"));
            scrape.push(sample("kube_pod_container_resource_limits", &labels, limit));
        }
        store.ingest(T0 + i64::from(second) * 1_000, &scrape);
    }
    store
}

fn vector(store: &Store, promql: &str, at: i64) -> BTreeMap<String, f64> {
    match store.query(promql, at).unwrap() {
        Answer::Vector(samples) => {
            samples.into_iter().map(|(labels, value)| (format!("{labels:?}"), value)).collect()
        }
        Answer::Scalar(value) => panic!("{promql}: {value}"),
    }
}

fn expect(store: &Store, promql: &str, expected: &[(&str, f64)]) {
    let got = vector(store, promql, T0 + 60_000);
    let names: Vec<&str> = got.keys().map(String::as_str).collect();
    let wanted: Vec<&str> = expected.iter().map(|(labels, _)| *labels).collect();
    assert_eq!(names, wanted, "{promql}");
    for (labels, value) in expected {
        assert!((got[*labels] - value).abs() < 1e-9, "{promql}: {got:?}");
    }
}

#[test]
fn the_rules_queries() {
    let store = filled();
    expect(
        &store,
        r#"sum(rate(lsp_requests_total{namespace="ide",pod=~"a-0|a-1"}[30s])) by (pod)"#,
        &[(r#"{"pod": "a-0"}"#, 10.0), (r#"{"pod": "a-1"}"#, 20.0)],
    );
    expect(
        &store,
        r#"sum(rate(lsp_requests_total{namespace="ide",pod!=""}[30s])) by (namespace, pod)"#,
        &[
            (r#"{"namespace": "ide", "pod": "a-0"}"#, 10.0),
            (r#"{"namespace": "ide", "pod": "a-1"}"#, 20.0),
        ],
    );
    expect(
        &store,
        r#"sum(container_memory_working_set_bytes{namespace="ide",pod!="",container="inference"}) by (pod)
           / sum(kube_pod_container_resource_limits{namespace="ide",pod!="",container="inference",resource="memory"}) by (pod)"#,
        &[(r#"{"pod": "b-0"}"#, 0.75)],
    );
}

#[test]
fn names_are_dropped_where_prometheus_drops_them() {
    let store = filled();
    let memory = r#"container_memory_working_set_bytes{container="inference"}"#;
    let bare = r#"{"container": "inference", "namespace": "ide", "pod": "b-0"}"#;
    let named = r#"{"__name__": "container_memory_working_set_bytes", "container": "inference", "namespace": "ide", "pod": "b-0"}"#;
    for (promql, labels, value) in [
        (memory.to_owned(), named, 6.0),
        (format!("({memory})"), named, 6.0),
        (format!("{memory} > 5"), named, 6.0),
        (format!("5 < {memory}"), named, 6.0),
        (format!("{memory} > bool 5"), bare, 1.0),
        (format!("{memory} * 2"), bare, 12.0),
        (format!("-{memory}"), bare, -6.0),
        (format!("abs({memory})"), bare, 6.0),
        (format!("clamp_max({memory}, 3)"), bare, 3.0),
        (format!("last_over_time({memory}[30s])"), named, 6.0),
        (format!("max_over_time({memory}[30s])"), bare, 6.0),
    ] {
        expect(&store, &promql, &[(labels, value)]);
    }
}

#[test]
fn series_that_collide_without_their_names_are_an_error() {
    let store = Store::default();
    for at in [T0, T0 + 1_000] {
        let scrape = [sample("x", &[("pod", "a")], 1.0), sample("y", &[("pod", "a")], 2.0)];
        store.ingest(at, &scrape);
    }
    let error = store.query(r#"rate({pod="a"}[30s])"#, T0 + 1_000).unwrap_err();
    assert!(matches!(error, StoreError::Execution(_)), "{error}");
}

#[test]
fn aggregation_by_name() {
    let store = filled();
    expect(
        &store,
        r#"group by (__name__) (last_over_time({namespace="ide"}[600s]))"#,
        &[
            (r#"{"__name__": "container_memory_working_set_bytes"}"#, 1.0),
            (r#"{"__name__": "kube_pod_container_resource_limits"}"#, 1.0),
            (r#"{"__name__": "lsp_requests_total"}"#, 1.0),
        ],
    );
    expect(
        &store,
        "count(lsp_requests_total) by (__name__, pod)",
        &[
            (r#"{"__name__": "lsp_requests_total", "pod": "a-0"}"#, 2.0),
            (r#"{"__name__": "lsp_requests_total", "pod": "a-1"}"#, 2.0),
        ],
    );
}

#[test]
fn ranges_are_open_on_the_left() {
    let store = filled();
    // Samples every second: (55, 60] holds five, as in Prometheus 3; Prometheus 2 would count six.
    let got = vector(
        &store,
        r#"count_over_time(container_memory_working_set_bytes{container="proxy"}[5s])"#,
        T0 + 60_000,
    );
    assert_eq!(got.into_values().collect::<Vec<_>>(), [5.0]);
}

#[test]
fn a_restarted_counter_is_not_a_negative_rate() {
    let store = Store::default();
    for (second, value) in [(0, 100.0), (10, 200.0), (20, 50.0), (30, 150.0)] {
        let scrape = [sample("c_total", &[("pod", "a")], value)];
        store.ingest(T0 + second * 1_000, &scrape);
    }
    // 100 + 50 + 100 in 30 s, the range being just as long.
    let got = vector(&store, "rate(c_total[31s])", T0 + 30_000);
    let rate = got.into_values().next().unwrap();
    assert!((rate - 250.0 / 31.0 * 31.0 / 30.0).abs() < 1e-9, "{rate}");
}

#[test]
fn a_vanished_series_is_stale_at_once_but_its_history_stays() {
    let store = filled();
    store.ingest(T0 + 61_000, &[]);
    let now = T0 + 61_000;
    assert_eq!(vector(&store, "lsp_requests_total", now).len(), 0);
    assert_eq!(vector(&store, "rate(lsp_requests_total[30s])", now).len(), 4);
    assert_eq!(vector(&store, "lsp_requests_total", now - 500).len(), 4);
}

#[test]
fn unknown_metrics_are_empty_and_nonsense_is_refused() {
    let store = filled();
    assert_eq!(vector(&store, "nothing", T0).len(), 0);
    assert_eq!(vector(&store, "sum(rate(nothing[30s])) by (pod)", T0).len(), 0);
    assert_eq!(store.query("1 + 1", T0).unwrap(), Answer::Scalar(2.0));
    for beyond in [
        "topk(1, x)",
        "x and y",
        "absent(x)",
        "x[1m]",
        "max_over_time(x[5m:1m])",
        "x * on(pod) group_left y",
    ] {
        let error = store.query(beyond, T0).unwrap_err();
        assert!(matches!(error, StoreError::Execution(_)), "{beyond}: {error}");
    }
    for nonsense in ["sum(", "", "rate(x)", "{}"] {
        let error = store.query(nonsense, T0).unwrap_err();
        assert!(matches!(error, StoreError::Parse(_)), "{nonsense}: {error}");
    }
}

#[test]
fn metadata_follows_selectors_and_times() {
    let store = filled();
    let names = |selectors: &[&str], range| -> BTreeSet<String> {
        let selectors: Vec<String> = selectors.iter().map(|s| (*s).to_owned()).collect();
        let series = store.series(&selectors, range).unwrap();
        series.iter().map(|labels| labels["__name__"].clone()).collect()
    };
    let all = Some((T0, T0 + 60_000));
    assert_eq!(names(&[], None).len(), 3);
    assert_eq!(
        names(&[r#"lsp_requests_total{namespace!="",pod!=""}"#], all),
        BTreeSet::from(["lsp_requests_total".to_owned()])
    );
    assert_eq!(names(&[r#"{__name__=~"lsp_.*"}"#, r#"{container="proxy"}"#], all).len(), 3);
    assert_eq!(names(&[r#"lsp_requests_total{nosuch!=""}"#], all).len(), 0);
    // The borders belong to the range.
    assert_eq!(names(&[], Some((T0 + 60_000, T0 + 60_000))).len(), 3);
    assert_eq!(names(&[], Some((T0 + 60_001, T0 + 90_000))).len(), 0);
    assert!(store.series(&["rate(x[1m])".to_owned()], None).is_err());
}

#[test]
fn a_long_run_keeps_its_history_and_does_not_grow() {
    let store = Store::default();
    for second in 0..1_800_i64 {
        // One pod is replaced by another in every second.
        let passing = format!("passing-{second}");
        let scrape: Vec<Sample> =
            ["a", &passing].iter().map(|pod| sample("g", &[("pod", pod)], 1.0)).collect();
        let at = T0 + second * 1_000;
        store.ingest(at, &scrape);
        // One sample a second of what stays, one sample and a marker of what passed.
        assert!(samples_held(&store) <= 3 * 600, "{second}");
        if second >= 600 && second % 100 == 0 {
            let kept = vector(&store, r#"count_over_time(g{pod="a"}[600s])"#, at);
            assert_eq!(kept.into_values().collect::<Vec<_>>(), [600.0], "{second}");
        }
    }
}

fn samples_held(store: &Store) -> usize {
    store.series.lock().unwrap().values().map(Samples::len).sum()
}
