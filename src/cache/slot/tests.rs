use super::*;
use crate::cache::now;

const LIFE: Life = Life { ttl: Duration::from_secs(5), max_stale: Duration::from_secs(30) };

type Numbers = Slot<i64, &'static str>;

fn slot() -> (Arc<Numbers>, Instant) {
    (Arc::new(Slot::new(LIFE)), Instant::now())
}

fn after(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds)
}

/// Reads, and fetches `result` at once where that is to be done.
async fn read(
    slot: &Arc<Numbers>,
    now: Instant,
    result: Result<i64, &'static str>,
) -> Result<(i64, How<&'static str>), &'static str> {
    if let Some(kept) = slot.fresh(now) {
        return Ok((kept.value, How::Fresh));
    }
    let wait = match slot.decide(now) {
        Action::Take(kept, how) => return Ok((kept.value, how)),
        Action::Fail(error) => return Err(error),
        Action::Wait(wait) => wait,
        Action::Fetch(landing, wait) => {
            landing.land(result, now, |_, _| None);
            wait
        }
    };
    wait.outcome().await.unwrap().map(|(kept, how)| (kept.value, how))
}

#[tokio::test]
async fn a_value_is_fetched_once_in_its_life() {
    let (slot, start) = slot();
    assert!(matches!(read(&slot, start, Ok(1)).await, Ok((1, How::Fresh))));
    assert!(matches!(read(&slot, after(start, 4.9), Ok(2)).await, Ok((1, How::Fresh))));
    assert!(matches!(read(&slot, after(start, 5.0), Ok(3)).await, Ok((3, How::Fresh))));
}

#[tokio::test]
async fn all_who_come_while_it_is_fetched_wait_for_the_same() {
    let (slot, start) = slot();
    let Action::Fetch(landing, first) = slot.decide(start) else { panic!("the first one fetches") };
    let Action::Wait(second) = slot.decide(after(start, 0.1)) else { panic!("the second waits") };
    assert!(slot.refresh(after(start, 0.2)).is_none());
    landing.land(Ok(7), after(start, 0.3), |_, _| None);
    for wait in [first, second] {
        let (kept, how) = wait.outcome().await.unwrap().unwrap();
        assert!(matches!((kept.value, how), (7, How::Fresh)));
    }
}

#[tokio::test]
async fn a_failure_is_answered_by_the_last_value_until_it_is_too_old() {
    let (slot, start) = slot();
    read(&slot, start, Ok(1)).await.unwrap();
    let stale = read(&slot, after(start, 20.0), Err("down")).await;
    assert!(matches!(stale, Ok((1, How::Stale("down")))), "{stale:?}");
    // The failure is remembered, and nobody asks again for a moment.
    assert!(matches!(slot.decide(after(start, 21.9)), Action::Take(_, How::Stale("down"))));
    assert!(matches!(slot.decide(after(start, 22.0)), Action::Fetch(..)));
    assert_eq!(read(&slot, after(start, 30.1), Err("down")).await.unwrap_err(), "down");
    assert!(matches!(slot.decide(after(start, 31.0)), Action::Fail("down")));
    assert!(matches!(read(&slot, after(start, 36.0), Ok(2)).await, Ok((2, How::Fresh))));
}

#[tokio::test(start_paused = true)]
async fn only_regular_readers_of_a_recent_value_do_not_wait() {
    type Case = (&'static str, &'static [f64], f64, Option<f64>, bool);
    let cases: &[Case] = &[
        ("read once", &[0.0], 6.0, None, true),
        ("read every 6 s", &[0.0, 6.0], 12.0, None, false),
        ("two lives old", &[0.0, 6.0], 16.0, None, false),
        ("older than two lives", &[0.0, 6.0], 16.1, None, true),
        ("back after a minute and a half", &[0.0, 6.0, 90.0], 105.0, None, true),
        ("a fetch of a moment ago is under way", &[0.0, 6.0], 20.0, Some(19.5), true),
        ("a fetch that lasts is under way", &[0.0, 6.0], 20.0, Some(18.9), false),
    ];
    let start = now();
    for (what, reads, at, under_way, waits) in cases {
        let slot = Arc::new(Numbers::new(LIFE));
        for at in *reads {
            read(&slot, after(start, *at), Ok(1)).await.unwrap();
        }
        let other = under_way.map(|begun| slot.refresh(after(start, begun)).expect(what));
        let at = after(start, *at);
        let (mine, wait) = match slot.decide(at) {
            Action::Fetch(landing, wait) => (Some(landing), wait),
            Action::Wait(wait) => (None, wait),
            action => panic!("{what}: {action:?}"),
        };
        assert_eq!(wait.takes_time(at), *waits, "{what}");
        // Neither fetch lands. tokio's clock goes on by itself to the end of the patience.
        let got = wait.outcome().await;
        assert!(matches!(got, Some(Ok((kept, How::Previous))) if kept.value == 1), "{what}");
        drop((mine, other));
    }
}

#[tokio::test]
async fn a_fetch_that_is_abandoned_is_begun_again() {
    let (slot, start) = slot();
    let Action::Fetch(landing, wait) = slot.decide(start) else { panic!("the first one fetches") };
    drop(landing);
    assert!(wait.outcome().await.is_none());
    assert!(matches!(slot.decide(start), Action::Fetch(..)));
}

#[tokio::test]
async fn a_worse_value_is_a_failure_while_the_better_one_is_usable() {
    let (slot, start) = slot();
    let land = |seconds: f64, value| {
        let landing = slot.refresh(after(start, seconds)).unwrap();
        let worse = |older: &i64, newer: &i64| (older > newer).then_some("less");
        landing.land(Ok(value), after(start, seconds), worse);
        slot.kept().unwrap().value
    };
    assert_eq!(land(0.0, 5), 5);
    assert_eq!(land(10.0, 3), 5);
    let stale = slot.decide(after(start, 11.0));
    assert!(matches!(stale, Action::Take(kept, How::Stale("less")) if kept.value == 5));
    // What it was worse than is too old: the next reader fetches.
    assert_eq!(land(29.5, 3), 5);
    assert!(matches!(slot.decide(after(start, 30.5)), Action::Fetch(..)));
    assert_eq!(land(40.0, 2), 2);
    assert_eq!(land(50.0, 9), 9);
}

#[tokio::test]
async fn it_is_scheduled_from_the_second_read_until_reads_stay_away() {
    let (slot, start) = slot();
    read(&slot, start, Ok(1)).await.unwrap();
    assert!(!slot.schedule_refresh(start));
    read(&slot, after(start, 15.0), Ok(2)).await.unwrap();
    assert!(slot.schedule_refresh(after(start, 15.0)));
    assert!(!slot.schedule_refresh(after(start, 15.0)), "somebody does already");
    assert_eq!(slot.due(after(start, 16.0)), Due::At(after(start, 28.75)));
    // The longer a fetch takes the earlier it begins.
    slot.refresh(after(start, 28.75)).unwrap().land(Ok(3), after(start, 29.25), |_, _| None);
    read(&slot, after(start, 30.0), Ok(4)).await.unwrap();
    assert_eq!(slot.due(after(start, 33.75)), Due::At(after(start, 43.25)));
    assert_eq!(slot.due(after(start, 200.0)), Due::Ended);
    slot.expect(after(start, 201.0), Duration::from_secs(15));
    assert!(slot.schedule_refresh(after(start, 201.0)));
}

/// Who reads a value that ends about when the next one will have landed has that one fetched, once.
#[test]
fn it_is_renewed_so_that_the_next_value_lands_when_the_last_one_ends() {
    for (took, age) in [(0.0, 5.0), (0.25, 4.75), (1.0, 4.0), (1.5, 3.75), (60.0, 3.75)] {
        let (slot, start) = slot();
        slot.refresh(start).unwrap().land(Ok(1), after(start, took), |_, _| None);
        let kept = slot.kept().unwrap();
        assert!(slot.renew(&kept, after(start, age - 0.01)).is_none(), "{took} s");
        let renewal = slot.renew(&kept, after(start, age)).unwrap();
        assert!(slot.renew(&kept, after(start, age)).is_none(), "{took} s: it is under way");
        renewal.land(Ok(2), after(start, age + 0.1), |_, _| None);
        assert!(slot.renew(&kept, after(start, age + 0.2)).is_none(), "{took} s: it has landed");
    }
}

#[test]
fn a_renewal_that_failed_is_not_repeated_at_once() {
    let (slot, start) = slot();
    slot.refresh(start).unwrap().land(Ok(1), after(start, 2.0), |_, _| None);
    let kept = slot.kept().unwrap();
    slot.renew(&kept, after(start, 3.75))
        .unwrap()
        .land(Err("down"), after(start, 3.8), |_, _| None);
    assert!(slot.renew(&kept, after(start, 4.9)).is_none());
}

/// A fetch that was begun in advance has not used up the time that a reader waits.
#[tokio::test(start_paused = true)]
async fn who_reads_for_the_first_time_waits_for_a_renewal_as_for_a_fetch_of_his_own() {
    let (slot, start) = (Arc::new(Numbers::new(LIFE)), now());
    slot.refresh(start).unwrap().land(Ok(1), after(start, 2.0), |_, _| None);
    let kept = slot.kept().unwrap();
    let renewal = slot.renew(&kept, after(start, 3.75)).unwrap();
    let Action::Wait(wait) = slot.decide(after(start, 5.2)) else { panic!("it is under way") };
    assert!(wait.takes_time(after(start, 5.9)));
    assert!(!wait.takes_time(after(start, 6.0)));
    drop(renewal);
}

#[test]
fn what_may_not_be_used_beyond_its_life_is_not_renewed_and_is_better_than_a_worse_one_until_then() {
    let life = Life { max_stale: Duration::ZERO, ..LIFE };
    let (slot, start) = (Arc::new(Numbers::new(life)), Instant::now());
    slot.refresh(start).unwrap().land(Ok(2), after(start, 1.0), |_, _| None);
    let kept = slot.kept().unwrap();
    assert!(slot.renew(&kept, after(start, 4.9)).is_none());
    let refresh = slot.refresh(after(start, 4.5)).unwrap();
    refresh.land(Ok(1), after(start, 4.9), |older, newer| (older > newer).then_some("less"));
    assert_eq!(slot.fresh(after(start, 4.95)).unwrap().value, 2);
}
