use super::*;

const GENERATION: Option<i64> = Some(3);

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn values(milli: i64) -> Outcome {
    Outcome::Values { series: 2, milli }
}

fn failed() -> Outcome {
    Outcome::Failed { reason: "QueryFailed", message: "Prometheus does not answer".to_owned() }
}

fn noted(outcome: Outcome, now: Instant) -> Outcomes {
    let mut outcomes = Outcomes::default();
    outcomes.note(outcome, now);
    outcomes
}

/// The conditions, as `status/reason`.
fn told(status: &Status) -> Vec<String> {
    let conditions = status.conditions.iter();
    conditions.map(|it| format!("{}/{}", it.status, it.reason)).collect()
}

#[test]
fn conditions_follow_from_the_standing_and_the_outcome() {
    let now = Instant::now();
    let nothing = Outcome::Nothing { why: "gives no sample".to_owned() };
    let refused = Standing::Refused { reason: "QueryRefused", message: "no".into() };
    let none = Outcomes::default;
    for (standing, outcomes, wanted) in [
        (Standing::Serves, none(), ["True/Accepted", "Unknown/NotQueried", "True/Serving"]),
        (
            Standing::Serves,
            noted(values(1), now),
            ["True/Accepted", "True/SeriesFound", "True/Serving"],
        ),
        (
            Standing::Serves,
            noted(nothing, now),
            ["True/Accepted", "False/NoValues", "True/Serving"],
        ),
        (
            refused,
            noted(values(1), now),
            ["False/QueryRefused", "Unknown/NotQueried", "False/NotAccepted"],
        ),
        (
            Standing::OverQuota { most: 1 },
            none(),
            ["False/QuotaExceeded", "Unknown/NotQueried", "False/NotAccepted"],
        ),
        (
            Standing::Claimed { by: "x".into() },
            none(),
            ["True/Accepted", "Unknown/NotQueried", "False/ClaimedByAnother"],
        ),
    ] {
        let times = (now, Timestamp::UNIX_EPOCH);
        let status = status(GENERATION, &standing, &outcomes, None, times);
        assert_eq!(told(&status), wanted, "{standing:?}");
        assert_eq!(status.observed_generation, GENERATION);
    }
}

#[test]
fn only_a_failure_that_lasts_is_told() {
    let start = Instant::now();
    let mut outcomes = noted(values(1_500), start);
    outcomes.note(failed(), after(start, 10));
    outcomes.note(failed(), after(start, 30));
    let at = |seconds| {
        let times = (after(start, seconds), Timestamp::UNIX_EPOCH);
        status(GENERATION, &Standing::Serves, &outcomes, None, times)
    };
    assert_eq!(at(69).value.as_deref(), Some("1500m"));
    let lasting = at(70);
    assert_eq!(told(&lasting), ["True/Accepted", "Unknown/QueryFailed", "False/QueryFailed"]);
    assert_eq!(lasting.last_error.as_deref(), Some("Prometheus does not answer"));
    assert_eq!(outcomes.due(), Some(after(start, 70)));
}

#[test]
fn a_replica_that_knows_nothing_yet_takes_what_another_has_written() {
    let now = (Instant::now(), Timestamp::UNIX_EPOCH);
    let known = status(GENERATION, &Standing::Serves, &noted(values(1), now.0), None, now);
    let new = |generation, standing: &Standing| {
        status(generation, standing, &Outcomes::default(), Some(&known), now)
    };
    assert_eq!(new(GENERATION, &Standing::Serves), known);
    assert_eq!(told(&new(Some(4), &Standing::Serves))[1], "Unknown/NotQueried");
    let claimed = new(GENERATION, &Standing::Claimed { by: "x".into() });
    assert_eq!((told(&claimed)[2].as_str(), claimed.value), ("False/ClaimedByAnother", None));
    // Nobody claims it any more.
    let claimed = new(GENERATION, &Standing::Claimed { by: "x".into() });
    let free = status(GENERATION, &Standing::Serves, &Outcomes::default(), Some(&claimed), now);
    assert_eq!(told(&free)[2], "True/Serving");
}

#[test]
fn times_are_those_of_the_last_change_of_a_condition() {
    let now = Instant::now();
    let at = |second| Timestamp::from_second(second).unwrap();
    let of = |outcome, before: Option<&Status>, second| {
        let times = (now, at(second));
        status(GENERATION, &Standing::Serves, &noted(outcome, now), before, times)
    };
    let first = of(values(1), None, 1);
    let second = of(values(2), Some(&first), 2);
    let third = of(Outcome::Nothing { why: String::new() }, Some(&second), 3);
    let times = |status: &Status| -> Vec<_> {
        status.conditions.iter().map(|it| it.last_transition_time.0.as_second()).collect()
    };
    assert_eq!((times(&second), times(&third)), (vec![1, 1, 1], vec![1, 3, 1]));
    assert_eq!(Change::between(Some(&first), &second), Change::Value);
    assert_eq!(Change::between(Some(&second), &third), Change::Condition);
    assert_eq!(Change::between(Some(&third), &third), Change::None);
    assert_eq!(Change::between(None, &first), Change::Condition);
}
