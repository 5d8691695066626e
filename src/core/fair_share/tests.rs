use proptest::prelude::*;

use super::*;

fn file(namespace: &str) -> Claimant {
    Claimant { owner: Owner::File, namespace: namespace.into() }
}

fn team(namespace: &str) -> Claimant {
    Claimant { owner: Owner::Team, namespace: namespace.into() }
}

/// So many of a claimant come, each known by the namespace and its number. Says how many have a permit at once.
fn come(shares: &mut FairShare<String>, claimant: &Claimant, count: usize) -> usize {
    let mut taken = 0;
    for number in 0..count {
        if shares.take(claimant) {
            taken += 1;
        } else {
            shares.wait(claimant, format!("{}{number}", claimant.namespace));
        }
    }
    taken
}

#[test]
fn one_namespace_has_at_most_half() {
    for (permits, most) in [(1, 1), (2, 1), (3, 1), (4, 2), (64, 32)] {
        let mut shares = FairShare::new(permits);
        assert_eq!(come(&mut shares, &file("a"), 100), most, "of {permits}");
        assert_eq!(come(&mut shares, &file("b"), 1), usize::from(permits > 1), "of {permits}");
    }
}

#[test]
fn teams_have_half_in_all_and_a_namespace_its_quota() {
    // Permits, the quota, what one team and then two further ones get, and what is left for the file.
    for (permits, quota, got, left) in [
        (1, 4, [1, 0, 0], 0),
        (2, 4, [1, 0, 0], 1),
        (4, 4, [1, 1, 0], 2),
        (64, 4, [4, 4, 4], 32),
        (64, 100, [16, 16, 0], 32),
        (64, 0, [1, 1, 1], 32),
    ] {
        let mut shares = FairShare::new(permits);
        shares.limit_teams(quota);
        let teams = ["a", "b", "c"].map(|name| come(&mut shares, &team(name), 100));
        assert_eq!(teams, got, "{quota} of {permits}");
        assert_eq!(come(&mut shares, &file("a"), 100), left, "{quota} of {permits}");
    }
}

#[test]
fn a_team_waits_because_of_its_quota_or_because_of_others() {
    let mut shares = FairShare::new(4);
    let [a, b] = [team("a"), team("b")];
    assert_eq!(come(&mut shares, &file("x"), 4), 2);
    assert_eq!(come(&mut shares, &a, 2), 1);
    assert_eq!(shares.reached_quota(&a), Some(1), "a quarter of all");
    assert_eq!(come(&mut shares, &file("y"), 1), 1);
    assert_eq!(come(&mut shares, &b, 1), 0);
    // Now nobody has room, whatever its quota.
    for claimant in [a, b, file("x")] {
        assert_eq!(shares.reached_quota(&claimant), None, "{claimant:?}");
    }
}

#[test]
fn a_lowered_quota_holds_for_those_who_wait_and_counts_what_is_under_way() {
    let mut shares = FairShare::new(64);
    let a = team("a");
    shares.limit_teams(4);
    assert_eq!(come(&mut shares, &a, 6), 4);
    shares.limit_teams(1);
    assert!(!shares.take(&a));
    for _ in 0..3 {
        assert_eq!(shares.give_back(&a), None, "more than one are under way");
    }
    assert_eq!(shares.give_back(&a).as_deref(), Some("a4"));
}

#[test]
fn those_who_wait_have_their_turn_namespace_by_namespace() {
    let mut shares = FairShare::new(4);
    let (a, b, c) = (file("a"), file("b"), file("c"));
    assert_eq!(come(&mut shares, &a, 12), 2);
    assert_eq!(come(&mut shares, &b, 9), 2);
    assert_eq!(come(&mut shares, &c, 1), 0);
    // What is given back is that of the one who got it.
    let mut order = Vec::new();
    for by in [&a, &a, &a, &a, &b, &b, &b, &b, &b, &a] {
        order.push(shares.give_back(by).unwrap_or_else(|| "nobody".to_owned()));
    }
    assert_eq!(order, ["a2", "a3", "a4", "a5", "b2", "b3", "b4", "b5", "c0", "a6"]);
}

#[test]
fn rules_of_the_file_have_four_turns_to_one_of_a_team() {
    let mut shares = FairShare::new(2);
    let (holder, ours, theirs) = (file("x"), file("a"), team("a"));
    assert_eq!(come(&mut shares, &holder, 1), 1);
    assert_eq!(come(&mut shares, &file("y"), 1), 1);
    assert_eq!(come(&mut shares, &theirs, 3) + come(&mut shares, &ours, 8), 0);
    let mut order = vec![shares.give_back(&holder).unwrap()];
    order.extend(
        [&theirs, &ours, &ours, &ours, &ours, &theirs].map(|by| shares.give_back(by).unwrap()),
    );
    assert_eq!(order, ["a0", "a0", "a1", "a2", "a3", "a1", "a4"]);
}

#[test]
fn who_may_not_have_more_is_passed_over() {
    let mut shares = FairShare::new(4);
    let (a, b, c) = (file("a"), file("b"), file("c"));
    assert_eq!(come(&mut shares, &a, 5), 2);
    assert_eq!(come(&mut shares, &b, 2), 2);
    assert_eq!(come(&mut shares, &c, 2), 0);
    assert_eq!(shares.give_back(&b).as_deref(), Some("c0"), "a is before c");
    assert_eq!(shares.give_back(&b).as_deref(), Some("c1"));
    assert_eq!(shares.give_back(&a).as_deref(), Some("a2"));
    assert_eq!(shares.give_back(&c), None, "a has its half");
    assert_eq!(shares.free, 1);
}

#[test]
fn who_comes_knows_how_many_are_ahead() {
    let mut shares = FairShare::new(2);
    let (a, b, c) = (file("a"), file("b"), file("c"));
    assert_eq!(come(&mut shares, &a, 101) + come(&mut shares, &b, 4), 2);
    for (claimant, ahead) in [(&a, 103), (&b, 3 + 4), (&c, 2), (&team("c"), 4 + 3)] {
        assert_eq!(shares.ahead(claimant), ahead, "{claimant:?}");
    }
}

#[test]
fn nothing_is_remembered_of_who_has_gone() {
    let mut shares = FairShare::new(2);
    let (a, b) = (file("a"), team("b"));
    assert!(shares.take(&a));
    let number = shares.wait(&a, String::new());
    let other = shares.wait(&a, String::new());
    assert!(shares.leave(&a, number));
    assert!(!shares.leave(&a, number) && !shares.leave(&b, number));
    assert!(shares.leave(&a, other));
    assert_eq!(shares.give_back(&a), None);
    assert!(shares.is_idle());
}

/// What may happen: one of a claimant comes, the holder at a position returns its permit, or the waiter at a position leaves.
#[derive(Clone, Copy, Debug)]
enum Step {
    Come(usize),
    GiveBack(usize),
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6_usize).prop_map(Step::Come),
        2 => (0..64_usize).prop_map(Step::GiveBack),
        1 => (0..64_usize).prop_map(Step::Leave),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Nobody has more than it may have, nobody waits for a permit that it could have, and none is lost.
    #[test]
    fn limits_hold_and_no_permit_is_idle_while_somebody_may_have_it(permits in 1..12_usize, quota in 0..9_usize, steps in steps()) {
        let claimants = [file("a"), file("b"), file(""), team("a"), team("b"), team("c")];
        let mut shares = FairShare::new(permits);
        shares.limit_teams(quota);
        let (mut held, mut waiting) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Come(of) => {
                    if shares.take(&claimants[of]) {
                        held.push(of);
                    } else {
                        waiting.push((of, shares.wait(&claimants[of], of)));
                    }
                }
                Step::GiveBack(at) if !held.is_empty() => {
                    let of = held.swap_remove(at % held.len());
                    if let Some(next) = shares.give_back(&claimants[of]) {
                        let first = waiting.iter().position(|(of, _)| *of == next).unwrap();
                        waiting.remove(first);
                        held.push(next);
                    }
                }
                Step::Leave(at) if !waiting.is_empty() => {
                    let (of, number) = waiting.swap_remove(at % waiting.len());
                    prop_assert!(shares.leave(&claimants[of], number));
                    waiting.sort_unstable_by_key(|(_, number)| *number);
                }
                Step::GiveBack(_) | Step::Leave(_) => {}
            }
            let of = |is: &dyn Fn(&Claimant) -> bool| held.iter().filter(|of| is(&claimants[**of])).count();
            let half = (permits / 2).max(1);
            prop_assert_eq!(shares.free + held.len(), permits);
            prop_assert!(of(&|it| it.owner.is_team()) <= half);
            for claimant in &claimants {
                let most = if claimant.owner.is_team() { half.min(quota.max(1)) } else { half };
                prop_assert!(of(&|it| it == claimant) <= most);
            }
            let may = waiting.iter().any(|(of, _)| shares.may_hold_more(&claimants[*of]));
            prop_assert!(shares.free == 0 || !may, "{shares:?}");
        }
        for (of, number) in waiting {
            shares.leave(&claimants[of], number);
        }
        for of in held {
            shares.give_back(&claimants[of]);
        }
        prop_assert!(shares.is_idle());
    }

    /// However many of the others wait, one that waits has its turn within a round.
    #[test]
    fn nobody_starves(permits in 2..12_usize, crowd in 1..200_usize, teams in 1..8_usize) {
        let late = file("late");
        let mut shares = FairShare::new(permits);
        let mut held = Vec::new();
        let others: Vec<_> = (0..teams).map(|name| team(&name.to_string())).chain([file("busy")]).collect();
        for other in &others {
            for _ in 0..crowd {
                if shares.take(other) { held.push(other.clone()) } else { shares.wait(other, other.clone()); }
            }
        }
        if shares.take(&late) {
            return Ok(());
        }
        shares.wait(&late, late.clone());
        let mut turns = 0;
        loop {
            let by = held.remove(0);
            let next = shares.give_back(&by).unwrap();
            turns += 1;
            if next == late {
                break;
            }
            held.push(next);
            prop_assert!(turns <= FILE_WEIGHT + teams * TEAM_WEIGHT, "{turns}");
        }
    }
}
