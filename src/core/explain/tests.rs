use std::collections::HashSet;

use super::*;

#[test]
fn codes_are_unique_and_the_gravest_cause_leads() {
    let codes: HashSet<_> = Cause::ALL.iter().map(|cause| cause.code()).collect();
    assert_eq!(codes.len(), Cause::ALL.len());
    let steps = vec![
        Step::good(name::RULE, ""),
        Step::doubtful(name::VALUES, Cause::SeveralSamples, "", ""),
        Step::found(name::DECISION, Cause::HpaAtLimit, "", ""),
    ];
    let explanation = Explanation::conclude("hpa/web".to_owned(), steps, None);
    assert_eq!(explanation.verdict, Verdict::Doubtful);
    assert_eq!(explanation.cause, Some(Cause::SeveralSamples));
    assert_eq!(explanation.also, [Cause::HpaAtLimit]);
}

#[test]
fn what_is_known_better_of_objects_takes_the_place_of_what_was_said() {
    let server =
        |objects: Step| vec![Step::good(name::RULE, ""), objects, Step::good(name::VALUES, "")];
    let good = || Step::good(name::OBJECTS, "server");
    let known = || Step::good(name::OBJECTS, "known");
    let ended = || Step::found(name::OBJECTS, Cause::NotReady, "", "");
    let of = |steps: Vec<Step>, known: Step| metric::with_objects(steps, vec![known]);
    assert_eq!(of(server(good()), known()), server(known()));
    assert_eq!(of(server(good()), ended()), [Step::good(name::RULE, ""), ended()]);
    // Somebody has seen objects that the server has not: it has not asked for their values either.
    assert_eq!(of(server(ended()), known()), server(ended()));
    let without = vec![Step::found(name::RULE, Cause::UnknownMetric, "", "")];
    assert_eq!(of(without.clone(), known()), without);
}
