use proptest::prelude::*;

use super::{
    server::{FIRST_PAUSE, LONGEST_PAUSE, OUTDONE},
    *,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The servers that a query is sent to which nobody answers.
fn tried(failover: &mut Failover, now: Instant) -> Vec<usize> {
    let mut tries = failover.begin(now);
    std::iter::from_fn(|| failover.next(&mut tries)).collect()
}

/// So many servers, of which the first has answered a query.
fn servers(servers: usize, now: Instant) -> Failover {
    let mut failover = Failover::new(servers, now);
    assert_eq!(failover.answered(0, now), Change::default());
    failover
}

/// A query is sent to one server after the other until this one answers it. Returns which one is in use then, if it is another one.
fn answered_by(failover: &mut Failover, server: usize, now: Instant) -> Option<usize> {
    let mut tries = failover.begin(now);
    while let Some(tried) = failover.next(&mut tries) {
        if tried == server {
            let switched = failover.answered(server, now).switched;
            return failover.relieved(&tries, now).switched.or(switched);
        }
        tries.fail(Fault::Failing);
    }
    None
}

/// One server ejected, at this time.
fn without(failover: &mut Failover, server: usize, now: Instant) -> Change {
    failover.doubted(server);
    failover.probed(server, Health::Bad(Fault::Failing), now)
}

#[test]
fn the_first_is_in_use_and_a_query_tries_the_others_after_it() {
    let start = Instant::now();
    let mut failover = Failover::new(3, start);
    assert_eq!((failover.in_use(), tried(&mut failover, start)), (0, vec![0, 1, 2]));
}

#[test]
fn a_failed_query_makes_a_probe_due_and_changes_nothing() {
    let start = Instant::now();
    let mut failover = servers(2, start);
    assert_eq!(failover.due(start), [1], "it stands by");
    failover.probed(1, Health::Well, start);
    failover.doubted(0);
    assert_eq!(failover.in_use(), 0);
    assert_eq!(failover.due(start), [0]);
    failover.doubted(0);
    assert_eq!(failover.due(start + seconds(5)), [0; 0], "one is under way");
    failover.probed(0, Health::Unknown, start);
    assert_eq!(failover.due(start + seconds(5)), [0]);
    let start = start + seconds(5);
    assert_eq!(failover.probed(0, Health::Well, start), Change::default());
    failover.doubted(0);
    assert_eq!(
        failover.due(start + seconds(1) / 2),
        [0; 0],
        "queries that always fail cost no more"
    );
    assert_eq!(failover.due(start + seconds(1)), [0]);
    assert_eq!(failover.due(start + seconds(9)), [0; 0]);
}

#[test]
fn a_probe_that_fails_and_silence_eject() {
    let start = Instant::now();
    let switched = |fault| Change { ejected: Some(fault), switched: Some(1), ..Change::default() };
    let mut failover = Failover::new(2, start);
    assert_eq!(failover.silent(0, start), switched(Fault::Silent));
    assert_eq!(failover.silent(0, start), Change::default(), "other queries see the same");
    let mut failover = Failover::new(2, start);
    assert_eq!(without(&mut failover, 0, start), switched(Fault::Failing));
    assert_eq!((failover.in_use(), failover.fault(0)), (1, Some(Fault::Failing)));
    assert_eq!(tried(&mut failover, start), [1, 0], "the other one may be back");
}

#[test]
fn any_answer_ends_an_ejection_for_silence_and_no_other() {
    let start = Instant::now();
    let mut failover = Failover::new(2, start);
    failover.silent(0, start);
    let recovered = Change { recovered: true, ..Change::default() };
    assert_eq!(failover.probed(0, Health::Answered, start), recovered);
    assert_eq!(failover.probed(0, Health::Answered, start), Change::default());
    without(&mut failover, 0, start);
    assert_eq!(failover.probed(0, Health::Answered, start), Change::default());
    assert_eq!(failover.fault(0), Some(Fault::Failing));
}

#[test]
fn in_an_outage_only_one_server_is_asked_but_once_a_second() {
    let start = Instant::now();
    let mut failover = Failover::new(3, start);
    for server in [0, 2, 1] {
        without(&mut failover, server, start);
    }
    assert_eq!((failover.in_use(), tried(&mut failover, start)), (1, vec![1, 0, 2]));
    let soon = start + seconds(1) / 2;
    assert_eq!(tried(&mut failover, soon), [1], "the queries are not multiplied");
    assert_eq!(tried(&mut failover, start + seconds(1)), [1, 0, 2], "probes may be wrong");
    for second in 1..100 {
        let now = start + seconds(second);
        assert_eq!(failover.due(now), [0, 1, 2], "probes go on, one a second each");
        assert_eq!(failover.due(now + seconds(1) / 2), [0; 0]);
        for server in 0..3 {
            failover.probed(server, Health::Bad(Fault::Failing), now);
        }
    }
    let now = start + seconds(100);
    let change = failover.probed(2, Health::Well, now);
    assert_eq!(change, Change { recovered: true, switched: Some(2), ..Change::default() });
    assert_eq!(tried(&mut failover, now), [2, 0, 1]);
    assert_eq!(failover.due(now), [0, 1], "the outage may have been one of all");
}

#[test]
fn partial_answers_are_better_than_none_and_worse_than_whole_ones() {
    let start = Instant::now();
    let mut failover = Failover::new(2, start);
    let change = failover.probed(0, Health::Bad(Fault::Partial), start);
    assert_eq!((change.ejected, change.switched), (Some(Fault::Partial), Some(1)));
    assert_eq!(without(&mut failover, 1, start).switched, Some(0));
    assert_eq!(tried(&mut failover, start), [0, 1]);
    assert_eq!(tried(&mut failover, start), [0]);
    // Both are partial: the one in use stays.
    failover.probed(1, Health::Bad(Fault::Partial), start);
    assert_eq!((failover.in_use(), tried(&mut failover, start)), (0, vec![0]));
    failover.doubted(0);
    assert_eq!(
        failover.due(start + seconds(1)),
        [0; 0],
        "what is known is not probed every second"
    );
    assert_eq!(failover.answered(0, start).switched, None);
    assert_eq!(failover.fault(0), None);
}

#[test]
fn an_ejected_server_is_probed_after_pauses_that_double() {
    let mut now = Instant::now();
    let mut failover = Failover::new(2, now);
    without(&mut failover, 1, now);
    for pause in [2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(failover.due(now + seconds(pause).saturating_sub(seconds(1) / 2)), [0; 0]);
        now += seconds(pause);
        assert_eq!(failover.due(now), [1]);
        failover.probed(1, Health::Bad(Fault::Failing), now);
        // What is known anyway changes no pause.
        without(&mut failover, 1, now + seconds(1) / 2);
    }
    assert_eq!(failover.due(now + seconds(60)), [1]);
    failover.probed(1, Health::Unknown, now + seconds(60));
    assert_eq!(failover.due(now + seconds(119)), [0; 0], "what shows nothing is repeated");
    // What has been well for long begins anew, and nothing else does.
    now += seconds(120);
    for (well_for, pause) in [(RETURN.saturating_sub(seconds(1)), 60), (RETURN, 2)] {
        failover.probed(1, Health::Well, now);
        now += well_for;
        without(&mut failover, 1, now);
        assert_eq!(failover.due(now + seconds(pause).saturating_sub(seconds(1) / 2)), [0; 0]);
        assert_eq!(failover.due(now + seconds(pause)), [1]);
    }
}

/// A server that fails queries and answers probes.
#[test]
fn queries_that_another_server_answers_eject_though_probes_are_answered() {
    let mut now = Instant::now();
    let mut failover = servers(2, now);
    for _ in 1..OUTDONE {
        assert_eq!(answered_by(&mut failover, 1, now), None);
    }
    failover.answered(0, now);
    for _ in 0..2 * OUTDONE {
        assert_eq!(answered_by(&mut failover, 1, now), None, "they are not in a row, or too soon");
    }
    now += PERIOD;
    assert_eq!(answered_by(&mut failover, 1, now), Some(1));
    assert_eq!(failover.fault(0), Some(Fault::Failing));
    // Probes are answered as before, and asked for at ever longer pauses.
    let mut probes = 0;
    for _ in 1..TRIAL.as_secs() {
        now += seconds(1);
        assert_eq!(failover.returned(now), None);
        for server in failover.due(now) {
            failover.probed(server, Health::Well, now);
            probes += usize::from(server == 0);
        }
        failover.answered(1, now);
    }
    assert!((10..20).contains(&probes), "{probes}");
    // It is tried, and fails again.
    now += seconds(1);
    assert_eq!(failover.returned(now), Some(0));
    assert_eq!(answered_by(&mut failover, 1, now), Some(1));
    assert_eq!(failover.fault(0), Some(Fault::Failing));
    now += TRIAL;
    failover.probed(0, Health::Well, now);
    assert_eq!(failover.returned(now), None, "the next trial is later");
    now += TRIAL;
    assert_eq!(failover.returned(now), Some(0));
    // One that is answered in full ends it, and five have to fail again.
    failover.answered(0, now);
    for _ in 0..2 * OUTDONE {
        assert_eq!(answered_by(&mut failover, 1, now), None);
    }
    now += PERIOD;
    assert_eq!(answered_by(&mut failover, 1, now), Some(1));
}

/// Ejects the first server by queries.
fn outdone(failover: &mut Failover, now: Instant) -> Instant {
    for _ in 1..OUTDONE {
        answered_by(failover, 1, now);
    }
    let now = now + PERIOD;
    assert_eq!(answered_by(failover, 1, now), Some(1));
    now
}

#[test]
fn a_server_that_queries_have_ejected_is_tried_after_a_restart_too() {
    let mut failover = servers(2, Instant::now());
    let now = outdone(&mut failover, Instant::now());
    failover.probed(0, Health::Bad(Fault::Silent), now + seconds(10));
    failover.probed(0, Health::Well, now + seconds(30));
    assert_eq!(failover.fault(0), Some(Fault::Failing));
    let now = now + seconds(30);
    failover.probed(0, Health::Well, now + TRIAL);
    assert_eq!(failover.returned(now + TRIAL), Some(0));
}

#[test]
fn a_probe_that_fails_shows_that_probes_prove_something() {
    let mut failover = servers(2, Instant::now());
    let now = outdone(&mut failover, Instant::now());
    failover.probed(0, Health::Bad(Fault::Failing), now + seconds(10));
    assert!(failover.probed(0, Health::Well, now + seconds(30)).recovered);
}

#[test]
fn queries_that_end_after_a_probe_has_ejected_their_server_change_nothing() {
    let start = Instant::now();
    let mut failover = servers(2, start);
    let begun: Vec<_> = (0..2 * OUTDONE)
        .map(|_| {
            let mut tries = failover.begin(start);
            failover.next(&mut tries);
            tries.fail(Fault::Failing);
            failover.next(&mut tries);
            tries
        })
        .collect();
    without(&mut failover, 0, start + PERIOD);
    for tries in begun {
        failover.relieved(&tries, start + PERIOD * 2);
    }
    assert!(failover.probed(0, Health::Well, start + seconds(10)).recovered);
}

/// The first server has come back, so that the second one is not tried.
#[test]
fn a_server_that_queries_have_ejected_is_taken_for_well_where_it_would_not_be_tried() {
    let mut now = Instant::now();
    let mut failover = servers(2, now);
    without(&mut failover, 0, now);
    failover.probed(0, Health::Well, now);
    for _ in 1..OUTDONE {
        assert_eq!(answered_by(&mut failover, 0, now), None);
    }
    now += PERIOD;
    assert_eq!(answered_by(&mut failover, 0, now), Some(0));
    failover.probed(1, Health::Well, now + seconds(1));
    assert_eq!(failover.fault(1), Some(Fault::Failing));
    assert!(failover.probed(1, Health::Well, now + TRIAL).recovered);
}

#[test]
fn the_first_is_in_use_again_when_it_has_been_well_for_a_while() {
    let start = Instant::now();
    let mut failover = servers(2, start);
    failover.silent(0, start);
    failover.due(start + seconds(2));
    failover.probed(0, Health::Well, start + seconds(2));
    assert_eq!(failover.in_use(), 1, "values would jump");
    // It is looked at meanwhile, and a relapse counts.
    assert_eq!(failover.due(start + seconds(17)), [0]);
    failover.probed(0, Health::Bad(Fault::Failing), start + seconds(17));
    assert_eq!(failover.returned(start + seconds(400)), None);
    failover.probed(0, Health::Well, start + seconds(400));
    let early = start + seconds(399) + RETURN;
    assert_eq!(failover.returned(early), None);
    assert_eq!(failover.returned(early + seconds(1)), Some(0));
    assert_eq!(failover.returned(early + seconds(2)), None);
    assert_eq!(failover.due(early + seconds(60)), [1], "it stands by");
}

#[test]
fn one_that_stands_by_is_probed_once_a_minute() {
    let start = Instant::now();
    let mut failover = Failover::new(3, start);
    assert_eq!(failover.due(start), [0; 0], "nobody knows the headers of queries yet");
    failover.answered(0, start);
    assert_eq!(failover.due(start), [1, 2]);
    for server in [1, 2] {
        assert_eq!(failover.probed(server, Health::Well, start), Change::default());
    }
    assert_eq!(failover.due(start + seconds(59)), [0; 0]);
    assert_eq!(failover.due(start + seconds(60)), [1, 2]);
    let change = failover.probed(1, Health::Bad(Fault::Silent), start + seconds(60));
    assert_eq!(change, Change { ejected: Some(Fault::Silent), ..Change::default() });
    assert_eq!(tried(&mut failover, start + seconds(60)), [0, 2, 1], "it is not relied on");
}

/// Two servers, of which the second is in use, and the first is well, as far as such probes show, until `returned` names it. Returns when.
fn returned_after(
    failover: &mut Failover,
    shown: Health,
    from: Instant,
    limit: Duration,
) -> Option<Instant> {
    let mut now = from;
    while now < from + limit {
        now += CHECK;
        assert!(failover.due(now).contains(&0));
        failover.probed(0, shown, now);
        if failover.returned(now).is_some() {
            assert_eq!(failover.in_use(), 0);
            return Some(now);
        }
    }
    None
}

#[test]
fn what_is_not_known_to_answer_is_not_in_use_again() {
    let start = Instant::now();
    let mut failover = Failover::new(2, start);
    failover.silent(0, start);
    failover.probed(0, Health::Answered, start);
    assert_eq!(returned_after(&mut failover, Health::Unknown, start, 3 * TRIAL), None);
    // What is proven counts from here on.
    let now = start + 3 * TRIAL;
    assert_eq!(failover.probed(0, Health::Well, now), Change::default());
    assert_eq!(failover.returned(now + RETURN), Some(0));
}

#[test]
fn a_server_whose_probes_are_refused_is_tried_later_and_more_rarely_each_time_in_vain() {
    let start = Instant::now();
    let mut failover = servers(2, start);
    failover.silent(0, start);
    failover.probed(0, Health::Answered, start);
    let mut now = start;
    // However it fails, and whether tenants are refused or nobody is answered.
    for (factor, is_silent) in [(1, false), (2, true), (4, false)] {
        let tried = returned_after(&mut failover, Health::Answered, now, 9 * TRIAL);
        assert_eq!(tried, Some(now + factor * TRIAL));
        now += factor * TRIAL;
        // A query that no other server answers, or that was not sent to it, says nothing.
        assert_eq!(answered_by(&mut failover, 2, now), None);
        assert_eq!(failover.in_use(), 0);
        if is_silent {
            assert_eq!(failover.silent(0, now).switched, Some(1));
            failover.probed(0, Health::Answered, now);
        } else {
            assert_eq!(answered_by(&mut failover, 1, now), Some(1));
        }
        assert_eq!(failover.fault(0), None);
    }
    // It is proven by a query, and is in use as any other.
    now = returned_after(&mut failover, Health::Answered, now, 9 * TRIAL).expect("a trial");
    assert_eq!(answered_by(&mut failover, 0, now), None);
    assert_eq!(answered_by(&mut failover, 1, now), None);
    assert_eq!(failover.in_use(), 0);
    failover.silent(0, now);
    failover.probed(0, Health::Answered, now);
    let tried = returned_after(&mut failover, Health::Answered, now, 9 * TRIAL);
    assert_eq!(tried, Some(now + TRIAL), "what was in vain before is forgotten");
}

#[test]
fn refused_probes_of_a_well_server_change_no_pause() {
    let mut now = Instant::now();
    let mut failover = servers(2, now);
    for _ in 0..3 {
        failover.silent(0, now);
        failover.probed(0, Health::Answered, now);
    }
    assert_eq!(returned_after(&mut failover, Health::Answered, now, RETURN), None);
    now += RETURN;
    without(&mut failover, 0, now);
    assert_eq!(failover.due(now + FIRST_PAUSE), [0], "it has been well for long");
}

#[test]
fn answers_to_what_is_no_query_end_silence_and_nothing_else() {
    let start = Instant::now();
    let mut failover = Failover::new(2, start);
    without(&mut failover, 0, start);
    assert_eq!(failover.responded(0, start), Change::default());
    failover.silent(1, start);
    assert_eq!(failover.fault(0), Some(Fault::Failing));
    let change = failover.responded(1, start);
    assert_eq!(change, Change { recovered: true, ..Change::default() });
    assert_eq!(failover.responded(1, start), Change::default());
    assert_eq!(failover.due(start), [0], "the outage may have been one of all");
}

#[test]
fn a_partial_server_that_dies_is_no_better_than_others() {
    let start = Instant::now();
    let mut failover = Failover::new(2, start);
    without(&mut failover, 1, start);
    failover.probed(0, Health::Bad(Fault::Partial), start);
    assert_eq!(failover.silent(0, start), Change::default());
    assert_eq!(failover.fault(0), Some(Fault::Silent));
    assert_eq!(failover.due(start + PERIOD), [0, 1], "none is usable");
    let change = failover.probed(1, Health::Bad(Fault::Partial), start + PERIOD);
    assert_eq!(change.switched, Some(1));
}

#[test]
fn what_is_wrong_with_the_answers_of_a_server_outlasts_a_silence() {
    let start = Instant::now();
    let ends_silence: [fn(&mut Failover, Instant) -> Change; 2] = [
        |failover, now| failover.responded(0, now),
        |failover, now| failover.probed(0, Health::Answered, now),
    ];
    let shows_that_it_is_well: [fn(&mut Failover, Instant) -> Change; 2] = [
        |failover, now| failover.answered(0, now),
        |failover, now| failover.probed(0, Health::Well, now),
    ];
    for fault in [Fault::Partial, Fault::Failing] {
        for (end_silence, show) in ends_silence.into_iter().zip(shows_that_it_is_well) {
            for is_found_by_probe in [false, true] {
                let mut failover = Failover::new(2, start);
                failover.probed(0, Health::Bad(fault), start);
                if is_found_by_probe {
                    failover.probed(0, Health::Bad(Fault::Silent), start);
                } else {
                    failover.silent(0, start);
                }
                assert_eq!(failover.fault(0), Some(Fault::Silent));
                assert_eq!(end_silence(&mut failover, start), Change::default());
                assert_eq!(failover.fault(0), Some(fault));
                assert_eq!(failover.due(start), [0]);
                assert!(show(&mut failover, start).recovered);
                // That is over.
                failover.silent(0, start);
                assert!(end_silence(&mut failover, start).recovered);
            }
        }
    }
}

#[test]
fn a_server_that_has_failed_and_refuses_probes_is_tried() {
    let start = Instant::now();
    for is_silent_meanwhile in [false, true] {
        let mut failover = servers(2, start);
        without(&mut failover, 0, start);
        if is_silent_meanwhile {
            failover.silent(0, start);
            assert_eq!(failover.probed(0, Health::Answered, start), Change::default());
        }
        // What shows nothing does not count, nor does what was before a failure.
        assert_eq!(returned_after(&mut failover, Health::Unknown, start, 3 * TRIAL), None);
        let mut now = start + 3 * TRIAL;
        assert_eq!(returned_after(&mut failover, Health::Answered, now, TRIAL / 2), None);
        now += TRIAL / 2;
        failover.probed(0, Health::Bad(Fault::Failing), now);
        let tried = returned_after(&mut failover, Health::Answered, now, 9 * TRIAL);
        assert_eq!(tried, Some(now + TRIAL));
        now += TRIAL;
        assert!(failover.is_on_trial(0) && !failover.is_on_trial(1));
        let mut queries: Vec<_> = (0..20).map(|_| failover.begin(now)).collect();
        let repeats = queries.iter_mut().map(|query| failover.repeat(query, now));
        assert!(repeats.eq([Repeat::Yes; 20]), "a trial fails nobody");
        assert_eq!(answered_by(&mut failover, 1, now), Some(1));
        assert_eq!((failover.is_on_trial(0), failover.fault(0)), (false, Some(Fault::Failing)));
        failover.silent(0, now);
        failover.probed(0, Health::Answered, now);
        assert_eq!(failover.fault(0), Some(Fault::Failing), "it has answered no query since");
        let tried = returned_after(&mut failover, Health::Answered, now, 9 * TRIAL);
        assert_eq!(tried, Some(now + 2 * TRIAL));
        now += 2 * TRIAL;
        assert_eq!(answered_by(&mut failover, 0, now), None);
        assert_eq!((failover.in_use(), failover.fault(0)), (0, None));
        failover.silent(0, now);
        assert!(failover.probed(0, Health::Answered, now).recovered);
    }
}

/// A query that the one in use fails, though it answers others. Whether the next one is sent it.
fn repeated(failover: &mut Failover, is_answered: bool, now: Instant) -> Repeat {
    let mut tries = failover.begin(now);
    failover.next(&mut tries);
    let repeat = failover.repeat(&mut tries, now);
    if repeat == Repeat::Yes {
        assert_eq!(failover.next(&mut tries), Some(1));
        if is_answered {
            failover.repeated(&tries);
        }
    }
    repeat
}

#[test]
fn queries_under_way_do_not_share_a_token() {
    let start = Instant::now();
    let mut failover = servers(2, start);
    let mut tries: Vec<_> = (0..20).map(|_| failover.begin(start)).collect();
    let repeats = tries.iter_mut().map(|tries| failover.repeat(tries, start));
    let allowed = repeats.filter(|repeat| *repeat == Repeat::Yes).count();
    assert_eq!(allowed, 11, "ten by tokens, one by time");
}

#[test]
fn queries_that_all_fail_are_sent_to_all_of_them_once_a_second() {
    let start = Instant::now();
    let mut failover = servers(2, start);
    for number in 0..11 {
        assert_eq!(repeated(&mut failover, false, start), Repeat::Yes, "{number}");
    }
    assert_eq!(repeated(&mut failover, false, start), Repeat::No { is_first: true });
    for second in 1..5 {
        let now = start + seconds(second);
        assert_eq!(repeated(&mut failover, false, now), Repeat::Yes);
        assert_eq!(repeated(&mut failover, false, now), Repeat::No { is_first: false });
    }
    // It is worth it again with the first one that is answered.
    let now = start + seconds(5);
    for _ in 0..100 {
        assert_eq!(repeated(&mut failover, true, now), Repeat::Yes);
    }
    for _ in 0..10 {
        assert_eq!(repeated(&mut failover, false, now), Repeat::Yes);
    }
    // So is one of five that are answered at once.
    assert_eq!(repeated(&mut failover, false, now), Repeat::No { is_first: true });
    (0..5).for_each(|_| assert_eq!(failover.answered(0, now), Change::default()));
    assert_eq!(repeated(&mut failover, false, now), Repeat::Yes);
    assert_eq!(repeated(&mut failover, false, now), Repeat::No { is_first: false });
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Query(usize),
    Answered(usize),
    Responded(usize),
    Doubted(usize),
    Silent(usize),
    Probed(usize, Health),
    Later(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let health = prop_oneof![
        Just(Health::Well),
        Just(Health::Bad(Fault::Partial)),
        Just(Health::Bad(Fault::Failing)),
        Just(Health::Bad(Fault::Silent)),
        Just(Health::Answered),
        Just(Health::Unknown),
    ];
    let step = prop_oneof![
        (0..3_usize).prop_map(Step::Query),
        (0..3_usize).prop_map(Step::Answered),
        (0..3_usize).prop_map(Step::Responded),
        (0..3_usize).prop_map(Step::Doubted),
        (0..3_usize).prop_map(Step::Silent),
        (0..3_usize, health).prop_map(|(server, health)| Step::Probed(server, health)),
        (0..400_u64).prop_map(Step::Later),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn whatever_happens(steps in steps()) {
        let mut now = Instant::now();
        let mut failover = servers(3, now);
        for step in steps {
            let (before, was_well) = (failover.in_use(), failover.fault(failover.in_use()).is_none());
            let (switched, is_return) = match step {
                Step::Query(server) => {
                    let is_on_trial = failover.is_on_trial;
                    (answered_by(&mut failover, server, now), is_on_trial)
                }
                Step::Answered(server) => (failover.answered(server, now).switched, false),
                Step::Responded(server) => (failover.responded(server, now).switched, false),
                Step::Doubted(server) => {
                    failover.doubted(server);
                    (None, false)
                }
                Step::Silent(server) => (failover.silent(server, now).switched, false),
                Step::Probed(server, health) => (failover.probed(server, health, now).switched, false),
                Step::Later(time) => {
                    now += seconds(time);
                    let switched = failover.returned(now);
                    prop_assert!(switched.is_none_or(|to| to < before));
                    (switched, true)
                }
            };
            let in_use = failover.in_use();
            prop_assert_eq!(switched.unwrap_or(before), in_use, "every switch is told");
            if let Some(to) = switched {
                prop_assert_ne!(to, before);
                let is_lost = was_well && failover.fault(before).is_some();
                prop_assert!(!was_well || is_lost || is_return, "it sticks to one");
            }
            let weight = |server: usize| failover.fault(server).map_or(0, Fault::weight);
            prop_assert_eq!((0..3).map(weight).min(), Some(weight(in_use)), "none is better");

            let tried_now = tried(&mut failover, now);
            let tried = tried(&mut failover, now);
            prop_assert!(tried_now.len() == tried.len() || tried_now.len() == 3);
            prop_assert_eq!(tried.first(), Some(&in_use));
            let mut once = tried.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), tried.len());
            let wanted = if failover.fault(in_use).is_none() { 3 } else { 1 };
            prop_assert_eq!(tried.len(), wanted);
        }
        // Whatever is ejected or not in use is probed within the longest pause.
        let due = failover.due(now + LONGEST_PAUSE);
        for server in 0..3 {
            let is_fine = server == failover.in_use() && failover.fault(server).is_none();
            prop_assert!(is_fine || due.contains(&server));
        }
    }
}
