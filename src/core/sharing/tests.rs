use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

type Group = Sharing<&'static str>;

const TTL: Duration = Duration::from_secs(5);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn with(depends_on_names: bool) -> Group {
    let shared = SharedQuery { query: "all", key: Key::default(), depends_on_names, ttl: TTL };
    Sharing::new(Ok(shared))
}

fn group() -> Group {
    with(true)
}

/// A read of 10 objects of 1,000.
fn read(reader: u64) -> Read {
    Read { reader, namespace: 0, names: 10, population: Some(1_000), may_wait: true }
}

fn exact(queries: &[&'static str]) -> By<&'static str> {
    let exact = |query: &&'static str| ExactQuery { query: *query, names: Vec::new() };
    By::Exact(queries.iter().map(exact).collect())
}

#[track_caller]
fn assert_exact(action: &Action<&str>, says: &str) {
    let Action::Exact(why) = action else { panic!("{action:?} is not exact") };
    assert!(why.to_string().contains(says), "{why} is not {says}");
}

#[track_caller]
fn assert_shared(action: &Action<&str>) {
    assert!(matches!(action, Action::Share(shared) if shared.query == "all"), "{action:?}");
}

#[track_caller]
fn assert_gathers(action: &Action<&str>) {
    assert!(matches!(action, Action::Gather), "{action:?}");
}

/// Has a reader wait as long as it is told to. Says how often it looked, and what it does then.
fn wait(group: &mut Group, now: &mut Instant, read: Read) -> (usize, Action<&'static str>) {
    let mut looks = 0;
    loop {
        match group.decide(*now, read) {
            Action::Gather => {
                looks += 1;
                *now += LOOK;
            }
            action => return (looks, action),
        }
    }
}

#[test]
fn one_reader_alone_waits_a_moment_and_then_never_again() {
    let (mut group, mut now) = (group(), Instant::now());
    let (looks, action) = wait(&mut group, &mut now, read(1));
    assert_eq!(looks, 3);
    assert_exact(&action, "sharing costs more: 1 readers of 10 objects together, and 1000 samples");
    // Nor does it while it has not been answered.
    assert_exact(&group.decide(now + s(15), read(1)), "costs more");
    group.answered(1, exact(&["a"]));
    assert_exact(&group.decide(now + s(30), read(1)), "costs more");
}

#[test]
fn who_may_not_wait_does_not() {
    let read = Read { population: None, may_wait: false, ..read(1) };
    assert_exact(&group().decide(Instant::now(), read), "not known yet");
}

#[test]
fn who_reads_all_there_is_shares() {
    let (mut group, now) = (group(), Instant::now());
    let all = |reader, names, population| Read { names, population, ..read(reader) };
    assert_shared(&group.decide(now, all(1, 50, Some(50))));
    // That is no reason for others to share.
    assert_gathers(&group.decide(now, all(2, 1, Some(500))));
    // What was seen counts before what there is.
    group.fetched(now, 20);
    assert_shared(&group.decide(now, all(3, 20, Some(500))));
    assert_gathers(&group.decide(now + SIZE_MEMORY, all(4, 20, Some(500))));
}

#[test]
fn a_crowd_shares_as_soon_as_one_query_is_cheaper() {
    let (mut group, now) = (group(), Instant::now());
    for reader in 0..9 {
        assert_gathers(&group.decide(now + ms(reader), read(reader)));
    }
    assert_shared(&group.decide(now + ms(9), read(9)));
    assert_shared(&group.decide(now + ms(10), read(0)));
    let late = Read { names: 1, ..read(100) };
    assert_shared(&group.decide(now + TTL, late));
}

#[test]
fn readers_are_all_there_is_where_the_number_of_objects_is_not_known() {
    let (mut group, now) = (group(), Instant::now());
    let read = |reader| Read { population: None, ..read(reader) };
    for reader in 0..7 {
        assert_gathers(&group.decide(now, read(reader)));
    }
    assert_shared(&group.decide(now, read(7)));
}

#[test]
fn a_crowd_ends_however_many_trickle_in() {
    let (mut group, start) = (group(), Instant::now());
    let few = |reader| Read { population: Some(1_000_000), ..read(reader) };
    let looked = (0..200).take_while(|look| {
        let now = start + LOOK * *look;
        group.decide(now, few(u64::from(*look) + 1));
        matches!(group.decide(now, few(1)), Action::Gather)
    });
    assert_eq!(looked.count(), 20);
}

#[test]
fn time_in_which_nobody_could_look_does_not_count() {
    let (mut group, start) = (group(), Instant::now());
    assert_gathers(&group.decide(start, read(1)));
    assert_gathers(&group.decide(start + ms(50), read(1)));
    assert_gathers(&group.decide(start + ms(300), read(1)));
    assert_gathers(&group.decide(start + ms(310), read(1)));
    assert_exact(&group.decide(start + ms(315), read(1)), "costs more");
}

#[test]
fn a_crowd_that_has_gone_is_not_joined() {
    let (mut group, start) = (group(), Instant::now());
    for reader in 0..9 {
        assert_gathers(&group.decide(start, read(reader)));
    }
    let later = start + s(20);
    assert_gathers(&group.decide(later, Read { population: Some(10_000), ..read(9) }));
    assert!(
        matches!(group.mode, Mode::Gathering(crowd) if crowd.since == later),
        "{:?}",
        group.mode
    );
    // Its readers have waited once.
    assert_exact(&group.decide(later, Read { population: Some(10_000), ..read(0) }), "costs more");
}

#[test]
fn readers_who_come_again_share_where_that_pays_and_until_it_costs_clearly_more() {
    let (mut group, start) = (group(), Instant::now());
    let sized = |reader, size| Read { population: Some(size), ..read(reader) };
    for reader in 0..100 {
        group.decide(start, sized(reader, 1_000_000));
        group.answered(reader, exact(&["a"]));
    }
    // 100 × 110 / 15 s for exact queries, and a fifth of the samples for the shared one.
    assert_exact(&group.decide(start, sized(0, 3_600)), "costs more");
    assert_shared(&group.decide(start, sized(0, 3_500)));
    assert_shared(&group.decide(start, sized(0, 1_000_000)));
    assert_shared(&group.decide(start + SETTLED, sized(0, 5_300)));
    assert_exact(&group.decide(start + SETTLED * 2, sized(0, 6_000)), "costs more");
    assert_exact(&group.decide(start + SETTLED * 2, sized(0, 5_300)), "costs more");
}

#[test]
fn readers_that_stay_away_are_forgotten() {
    let start = Instant::now();
    for (after, is_shared) in [(s(119), true), (s(121), false)] {
        let mut group = group();
        for reader in 0..100 {
            group.decide(start, read(reader));
        }
        group.mode = Mode::Exact;
        let action = group.decide(start + after, Read { may_wait: false, ..read(100) });
        assert_eq!(matches!(action, Action::Share(_)), is_shared, "{after:?}");
        assert_eq!(group.readers.demand().0, if is_shared { 101 } else { 1 });
    }
}

#[test]
fn expected_readers_count_before_they_have_read() {
    let (mut group, now) = (group(), Instant::now());
    group.fetched(now, 1_000);
    assert!(group.expect(now, Some("a"), 2, 20).is_none());
    assert!(group.expect(now, Some("b"), 98, 980).is_some());
    assert_eq!(group.demand(), (100, 1_000));
    assert_shared(&group.decide(now, read(1)));
    group.expect(now, Some("a"), 0, 0);
    group.expect(now, Some("b"), 2, 20);
    assert_eq!(group.demand(), (2, 20));
    assert_gathers(&group.decide(now + SETTLED, read(1)));
    group.failed(now + SETTLED);
    assert!(group.expect(now + SETTLED, Some("b"), 98, 980).is_none());
}

#[test]
fn a_query_for_all_namespaces_has_to_cost_less_than_one_for_each() {
    let key = Key { spans: true, ..Key::default() };
    let query = SharedQuery { query: "all", key, depends_on_names: true, ttl: TTL };
    let mut group: Group = Sharing::new(Ok(query));
    let now = Instant::now();
    let of = |reader: u64, namespaces: u64| Read {
        namespace: reader % namespaces,
        population: None,
        may_wait: false,
        ..read(reader)
    };
    for reader in 0..200 {
        group.decide(now, of(reader, 2));
    }
    assert!(
        group.expect(now, None, 0, 0).is_some(),
        "as far as is known there are no other objects"
    );
    // Two queries for namespaces, of 1,000 samples each as far as is known, cost as much as one of 2,100. Sharing goes on until it
    // costs half as much again, and begins where it saves a fifth.
    group.fetched(now, 4_000);
    assert_exact(&group.decide(now + s(2), of(0, 2)), "costs more");
    group.fetched(now, 1_700);
    assert_exact(&group.decide(now + s(2), of(0, 2)), "costs more");
    group.fetched(now, 1_600);
    assert_shared(&group.decide(now + s(2), of(0, 2)));
    assert!(group.expect(now, Some("a"), 100, 1_000).is_some(), "those who have come share");
}

#[test]
fn a_query_for_all_namespaces_is_not_tried_where_those_of_the_readers_are_large() {
    let key = Key { spans: true, ..Key::default() };
    let query = SharedQuery { query: "all", key, depends_on_names: true, ttl: TTL };
    let mut group: Group = Sharing::new(Ok(query));
    let now = Instant::now();
    for reader in 0..20 {
        let read = Read { namespace: reader % 2, may_wait: false, ..read(reader) };
        let action = group.decide(now + SETTLED * u32::try_from(reader).unwrap(), read);
        let wanted = if reader < 7 { "not known yet" } else { "and 2000 samples to share" };
        assert_exact(&action, wanted);
    }
}

#[test]
fn a_query_that_fails_is_left_alone_for_longer_each_time() {
    let (mut group, mut now) = (group(), Instant::now());
    let all = Read { names: 1_000, ..read(1) };
    for pause in [30, 60, 120, 240, 480, 600, 600] {
        assert_shared(&group.decide(now, all));
        assert_eq!(group.failed(now), Some(s(pause)));
        assert_eq!(group.failed(now + ms(1)), None, "all readers see the same failure");
        for within in [0, pause - 1] {
            assert_exact(&group.decide(now + s(within), all), "failed recently");
            assert!(group.usable(now + s(within)).is_err());
        }
        now += s(pause);
        assert!(group.usable(now).is_ok());
    }
    // The probe is answered.
    assert_shared(&group.decide(now, all));
    group.fetched(now, 1_000);
    assert_eq!(group.failed(now), Some(s(30)));
}

#[test]
fn a_failure_ends_a_crowd_and_its_readers_are_known_afterwards() {
    let (mut group, now) = (group(), Instant::now());
    for reader in 0..40 {
        group.decide(now, read(reader));
    }
    assert_shared(&group.decide(now, read(0)));
    assert_eq!(group.failed(now), Some(s(30)));
    for reader in 0..40 {
        assert_exact(&group.decide(now + s(15), read(reader)), "failed recently");
        group.answered(reader, exact(&["a"]));
    }
    assert_shared(&group.decide(now + s(30), read(0)));
}

#[test]
fn what_cannot_be_shared_is_not() {
    let mut group: Group = Sharing::new(Err(NotShareable::Headers));
    let now = Instant::now();
    assert_exact(&group.decide(now, Read { names: 1_000, ..read(1) }), "header");
    assert!(group.expect(now, None, 100, 1_000).is_none());
    assert!(group.usable(now).is_err());
    assert_eq!(group.answered(1, exact(&["a"])), [""; 0]);
    assert_eq!(group.answered(1, exact(&["b"])), ["a"]);
}

#[test]
fn a_query_without_names_is_shared_whatever_it_costs() {
    let (mut group, now) = (with(false), Instant::now());
    assert_shared(&group.decide(now, read(1)));
    group.failed(now);
    assert_exact(&group.decide(now, read(1)), "failed recently");
}

#[test]
fn a_query_is_left_when_its_last_reader_has_gone() {
    let (mut group, now) = (group(), Instant::now());
    group.decide(now, read(1));
    group.decide(now, read(2));
    assert_eq!(group.answered(1, exact(&["a", "b"])), [""; 0]);
    assert_eq!(group.answered(2, exact(&["a", "c"])), [""; 0]);
    assert_eq!(group.answered(1, exact(&["c"])), ["b"], "the second one reads `a`");
    assert_eq!(group.leave(2), ["a"], "the first one reads `c`");
    assert_eq!(group.answered(1, exact(&["c"])), [""; 0], "nothing changes");
    assert_eq!(group.answered(1, By::Shared), ["c"]);
    assert_eq!(group.answered(7, exact(&["d"])), [""; 0], "nobody knows this one");
}

#[test]
fn the_shared_query_is_left_when_its_last_reader_has_gone() {
    let (mut group, now) = (group(), Instant::now());
    for reader in [1, 2] {
        group.decide(now, read(reader));
        assert_eq!(group.answered(reader, By::Shared), [""; 0]);
    }
    assert_eq!(group.leave(1), [""; 0]);
    group.decide(now, read(1));
    // An exact query may be the shared one.
    assert_eq!(group.answered(1, exact(&["all"])), [""; 0]);
    assert_eq!(group.answered(1, exact(&["a"])), [""; 0], "the second one shares");
    assert_eq!(group.answered(1, exact(&["all"])), ["a"]);
    assert_eq!(group.leave(2), [""; 0], "the first one has it");
    assert_eq!(group.leave(1), ["all"]);
}

#[test]
fn last_queries_are_those_of_the_reader() {
    let (mut group, now) = (group(), Instant::now());
    group.decide(now, read(1));
    group.answered(1, exact(&["a", "b"]));
    let (shared, queries) = group.last_queries(1);
    assert_eq!(shared.map(|shared| shared.query), Some("all"));
    assert_eq!(queries.iter().map(|exact| exact.query).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(group.last_queries(2).1, []);
    group.answered(1, By::Shared);
    assert_eq!(group.last_queries(1).1, []);
}

const QUERIES: [&str; 5] = ["all", "a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Read { reader: u64, names: usize, queries: BTreeSet<&'static str> },
    Leave(u64),
    Fetched(usize),
    Failed,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let queries = prop::collection::btree_set(prop::sample::select(QUERIES.as_slice()), 1..3);
    prop_oneof![
        6 => (0..8_u64, 1..200_usize, queries)
            .prop_map(|(reader, names, queries)| Step::Read { reader, names, queries }),
        1 => (0..8_u64).prop_map(Step::Leave),
        1 => (1..5_000_usize).prop_map(Step::Fetched),
        1 => Just(Step::Failed),
        2 => (0..20_000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens: a query that failed is not sent in its pause, nobody waits for long nor twice, and exactly those queries
    /// are left that nobody reads any more.
    #[test]
    fn decisions_hold(steps in prop::collection::vec(step(), 0..80)) {
        let (mut group, mut now) = (group(), Instant::now());
        let mut paused = now;
        let mut readers: HashMap<u64, BTreeSet<&str>> = HashMap::new();
        let mut waited = BTreeSet::new();
        for step in steps {
            let (before, left) = match step {
                Step::Read { reader, names, queries } => {
                    let read = Read { names, population: Some(2_000), ..read(reader) };
                    let (looks, action) = wait(&mut group, &mut now, read);
                    prop_assert!(looks <= 20);
                    prop_assert!(looks == 0 || waited.insert(reader));
                    let (by, after) = match action {
                        Action::Share(_) => {
                            prop_assert!(now >= paused);
                            // Sharing is no result of its own: the next crowd may be waited for.
                            waited.remove(&reader);
                            (By::Shared, BTreeSet::from(["all"]))
                        }
                        _ => (exact(&queries.iter().copied().collect::<Vec<_>>()), queries),
                    };
                    let before = readers.insert(reader, after);
                    (before, group.answered(reader, by))
                }
                Step::Leave(reader) => {
                    waited.remove(&reader);
                    (readers.remove(&reader), group.leave(reader))
                }
                Step::Fetched(size) => {
                    group.fetched(now, size);
                    continue;
                }
                Step::Failed => {
                    let pause = group.failed(now);
                    prop_assert_eq!(pause.is_some(), now >= paused);
                    paused = pause.map_or(paused, |pause| now + pause);
                    prop_assert!(paused <= now + LONGEST_PAUSE);
                    continue;
                }
                // Not so long that readers are forgotten.
                Step::Pass(time) => {
                    now += ms(time / 20);
                    continue;
                }
            };
            let is_read = |query: &&str| readers.values().any(|queries| queries.contains(query));
            let mut gone = before.unwrap_or_default();
            gone.retain(|query| !is_read(query));
            prop_assert_eq!(left.into_iter().collect::<BTreeSet<_>>(), gone);
        }
    }

    /// Sharing that begins on demand costs no more than exact queries.
    #[test]
    fn sharing_begins_where_it_costs_no_more(
        readers in prop::collection::vec(1..500_usize, 1..60),
        size in 500..20_000_usize,
    ) {
        let (mut group, now) = (group(), Instant::now());
        let mut exact = 0.0;
        let mut actions = Vec::new();
        for (names, reader) in readers.iter().zip(0..) {
            let read =
                Read { names: *names, population: Some(size), may_wait: false, ..read(reader) };
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let (cost, shared) = (100.0 + *names as f64, 100.0 + size as f64);
            exact += cost / 15.0;
            let fetches = (f64::from(u32::try_from(reader + 1).unwrap()) / 15.0).min(1.0 / 5.0);
            actions.push((group.decide(now, read), shared * fetches, exact));
        }
        let begins = actions.iter().position(|(action, ..)| matches!(action, Action::Share(_)));
        for (at, (_, shared, exact)) in actions.iter().enumerate() {
            if begins.is_none_or(|begins| at < begins) {
                prop_assert!(*shared >= exact * (1.0 - 1e-9));
            } else if begins == Some(at) {
                prop_assert!(*shared <= exact * (1.0 + 1e-9));
            }
        }
    }
}
