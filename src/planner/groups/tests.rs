use super::*;
use crate::{
    cache::slot::Life,
    core::{
        catalog::Entry,
        kinds::Kinds,
        rules,
        sharing::{By, ExactQuery, Read},
    },
    metrics::Metrics,
    prometheus::{BackendHandle, Config, Replicas},
};

const MAX_BYTES: u64 = 32 << 20;

const RULES: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";

fn entry() -> Entry {
    let rule = Arc::clone(&rules::load(RULES).unwrap().custom[0]);
    let (series, label, namespace_label) = ("m".into(), "pod".into(), Some("ns".into()));
    let kind = Arc::clone(Kinds::builtin().resolve("", "pod").unwrap());
    Entry { rule, series, kind, label, namespace_label }
}

/// Makes queries by their text.
fn queries() -> impl Fn(Arc<str>) -> Query {
    _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::new("http://127.0.0.1:9").unwrap();
    let replicas = Replicas::new(config, &Arc::new(Metrics::default())).unwrap();
    let backend = BackendHandle::new(Arc::new(replicas), Vec::new(), None);
    let life = Life { ttl: Duration::from_secs(5), max_stale: Duration::ZERO };
    move |text| Query { text, life, backend: backend.clone() }
}

#[tokio::test]
async fn groups_weigh_what_their_readers_take() {
    let (entry, query, groups) = (entry(), queries(), Groups::new(MAX_BYTES));
    let text = "x".repeat(10_000);
    for selector in 0..30 {
        let selector = Selector::parse(&format!("queue={selector}")).unwrap();
        let make = |text| Ok(query(text));
        let group = groups.get(entry.source(), Some("n"), &selector, make).await;
        for reader in 0..300 {
            let read = Read { reader, namespace: 0, names: 1, population: None, may_wait: false };
            groups.update(&group, |sharing| sharing.decide(crate::cache::now(), read)).await;
            let exact = ExactQuery { query: query(text.as_str().into()), names: Vec::new() };
            let by = By::Exact(vec![exact]);
            groups.update(&group, |sharing| sharing.answered(reader, by)).await;
        }
        assert!(group.weight() > 300 * 10_000);
    }
    groups.0.run_pending_tasks().await;
    let held: u64 = groups.0.iter().map(|(_, group)| u64::from(group.weight())).sum();
    // What has not been weighed again is at most a quarter of each.
    assert!(held > MAX_BYTES / 2 && held < MAX_BYTES / 4 * 5, "{held}");
}

#[tokio::test]
async fn reads_of_the_same_metric_namespace_and_selector_are_a_group() {
    let (entry, query, groups) = (entry(), queries(), Groups::new(MAX_BYTES));
    let (none, some) = (Selector::default(), Selector::parse("queue=a").unwrap());
    let mut found = Vec::new();
    for (namespace, selector) in [
        (Some("n"), &none),
        (Some("n"), &none),
        (Some("m"), &none),
        (None, &none),
        (Some("n"), &some),
    ] {
        let make = |text| Ok(query(text));
        found.push(groups.get(entry.source(), namespace, selector, make).await);
    }
    assert!(Arc::ptr_eq(&found[0], &found[1]));
    let texts = found.iter().map(|group| {
        group.lock().shared_query().map(|shared| shared.query.text.to_string()).unwrap()
    });
    assert_eq!(
        texts.collect::<Vec<_>>(),
        [
            r#"sum(m{ns="n",pod!=""}) by (pod)"#,
            r#"sum(m{ns="n",pod!=""}) by (pod)"#,
            r#"sum(m{ns="m",pod!=""}) by (pod)"#,
            r#"sum(m{ns!="",pod!=""}) by (pod,ns)"#,
            r#"sum(m{queue="a",ns="n",pod!=""}) by (pod)"#,
        ]
    );
}
