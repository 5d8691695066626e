use super::*;
use crate::{
    cache::slot::Life,
    core::plan::Key,
    metrics::Metrics,
    prometheus::{Config, Prometheus, Tenant},
};

/// Makes queries by their text.
fn queries() -> impl Fn(&str) -> Exact {
    _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::new("http://127.0.0.1:9").unwrap();
    let prometheus = Prometheus::new(config, &Arc::new(Metrics::default())).unwrap();
    let tenant = Tenant::new(Arc::new(prometheus), Vec::new(), None);
    move |text| {
        let life = Life { ttl: Duration::from_secs(5), max_stale: Duration::ZERO };
        let query = Query { text: text.into(), life, tenant: tenant.clone() };
        let key = Key { name: "pod".into(), ..Key::default() };
        let plan = Arc::new(Plan { query: text.into(), key });
        Exact { plan, query, names: Vec::new() }
    }
}

fn group(shared: &Exact) -> Group {
    let Plan { query, key } = &*shared.plan;
    let plan = Plan { query: Arc::clone(query), key: key.clone() };
    let shared_plan = sharing::Shared { plan, depends_on_names: true };
    Group::new(Ok((shared_plan, shared.query.clone())))
}

fn texts(queries: Vec<Query>) -> Vec<String> {
    queries.into_iter().map(|query| query.text.to_string()).collect()
}

#[test]
fn a_query_is_left_when_its_last_reader_has_gone() {
    let query = queries();
    let [a, b, c] = ["a", "b", "c"].map(&query);
    let group = group(&query("all"));
    let move_on = |reader, queries: &[&Exact]| {
        let queries: Vec<_> = queries.iter().copied().cloned().collect();
        texts(group.move_on(reader, &queries))
    };
    assert_eq!(move_on(1, &[&a, &b]), [""; 0]);
    assert_eq!(move_on(2, &[&a, &c]), [""; 0]);
    assert_eq!(move_on(1, &[&c]), ["b"], "the second one reads `a`");
    assert_eq!(texts(group.leave(2)), ["a"], "the first one reads `c`");
    assert_eq!(move_on(1, &[&c]), [""; 0], "nothing changes");
    assert_eq!(move_on(1, &[]), ["c"]);
}

#[test]
fn the_shared_query_is_left_when_its_last_reader_has_gone() {
    let query = queries();
    let [all, a] = ["all", "a"].map(&query);
    let group = group(&all);
    let move_on = |reader, queries: &[&Exact]| {
        let queries: Vec<_> = queries.iter().copied().cloned().collect();
        texts(group.move_on(reader, &queries))
    };
    for reader in [1, 2] {
        assert_eq!(move_on(reader, &[]), [""; 0]);
    }
    assert_eq!(texts(group.leave(1)), [""; 0]);
    // Where the names make no difference the exact query is the shared one.
    assert_eq!(move_on(1, &[&all]), [""; 0]);
    assert_eq!(move_on(1, &[&a]), [""; 0], "the second one shares");
    assert_eq!(move_on(1, &[&all]), ["a"]);
    assert_eq!(texts(group.leave(2)), [""; 0], "the first one has it");
    assert_eq!(texts(group.leave(1)), ["all"]);
}
