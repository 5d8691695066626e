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
