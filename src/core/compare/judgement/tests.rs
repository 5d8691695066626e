use super::*;

fn measured(quantity: &str) -> Measured {
    Measured { quantity: quantity.to_owned(), at: None, window: None }
}

fn values(values: &[(&str, &str)]) -> Response {
    let measured = |(name, value): &(&str, &str)| ((*name).to_owned(), measured(value));
    Response::Values(values.iter().map(measured).collect())
}

fn failed(code: u16, reason: &str) -> Response {
    Response::Failed { code, reason: reason.to_owned() }
}

fn look(reference: Response, with: Response) -> Sides<Response> {
    Sides { reference, with }
}

/// Aspect, object and reason of what is found in looks at custom metrics, with a tolerance of one in a hundred.
fn found(looks: &[Sides<Response>]) -> Vec<(Aspect, String, Option<Reason>)> {
    let judged = judge(MetricsApi::Custom, looks, 0.01);
    judged.findings.into_iter().map(|it| (it.aspect, it.object, it.reason)).collect()
}

/// One look at one object.
fn one(reference: &str, with: &str) -> Sides<Response> {
    look(values(&[("a", reference)]), values(&[("a", with)]))
}

#[test]
fn the_same_quantity_may_be_written_in_several_ways() {
    for (reference, with) in
        [("2", "2"), ("2", "2000m"), ("1Ki", "1024"), ("0.5", "500m"), ("1e3", "1k"), ("0", "0")]
    {
        assert_eq!(found(&[one(reference, with)]), [], "{reference} {with}");
    }
}

#[test]
fn values_may_differ_by_the_tolerance() {
    assert_eq!(found(&[one("100", "101")]), []);
    assert_eq!(found(&[one("-100", "-101")]), []);
    let differs = [(Aspect::Value, "a".to_owned(), None)];
    assert_eq!(found(&[one("100", "102")]), differs);
    assert_eq!(found(&[one("1", "-1")]), differs);
    assert_eq!(found(&[one("0", "100m")]), differs);
}

#[test]
fn values_that_have_moved_past_each_other_are_alike() {
    let looks = [one("10", "12"), one("13", "15")];
    let judged = judge(MetricsApi::Custom, &looks, 0.01);
    assert_eq!((judged.values, judged.moved, judged.findings.len()), (1, 1, 0), "{judged:?}");
    // Both move, and never to where the other has been.
    let differs = [(Aspect::Value, "a".to_owned(), None)];
    assert_eq!(found(&[one("10", "20"), one("11", "22"), one("12", "24")]), differs);
    assert_eq!(found(&[one("10", "20"), one("20", "20")]), []);
}

#[test]
fn what_the_reference_truncates_is_rounded() {
    let reason = |looks: &[Sides<Response>]| found(looks).first().and_then(|it| it.2);
    assert_eq!(reason(&[one("3m", "4m")]), Some(Reason::Rounding));
    assert_eq!(reason(&[one("0", "1m")]), Some(Reason::Rounding));
    assert_eq!(reason(&[one("3m", "5m")]), None);
}

#[test]
fn what_is_no_number_is_known_by_what_go_makes_of_it() {
    let garbage = "-9223372036854775808m";
    let looks = [look(values(&[("a", garbage)]), values(&[]))];
    assert_eq!(found(&looks), [(Aspect::Object, "a".to_owned(), Some(Reason::NotFinite))]);
    let clamped = [one(garbage, "9223372036854775807m")];
    assert_eq!(found(&clamped), [(Aspect::Value, "a".to_owned(), Some(Reason::Clamped))]);
    // The other way round nothing is known.
    let looks = [look(values(&[]), values(&[("a", garbage)]))];
    assert_eq!(found(&looks), [(Aspect::Object, "a".to_owned(), None)]);
    assert_eq!(found(&[one(garbage, "1")]), [(Aspect::Value, "a".to_owned(), None)]);
}

#[test]
fn an_object_that_one_does_not_have_is_found_and_one_that_comes_or_goes_is_not() {
    let both = || values(&[("a", "1"), ("b", "2")]);
    let missing = [(Aspect::Object, "b".to_owned(), None)];
    assert_eq!(found(&[look(both(), values(&[("a", "1")]))]), missing);
    assert_eq!(found(&[look(values(&[("a", "1")]), both())]), missing);
    let gone = values(&[("a", "1")]);
    assert_eq!(found(&[look(both(), gone.clone()), look(gone.clone(), gone.clone())]), []);
    assert_eq!(found(&[look(both(), gone.clone()), look(gone, both())]), []);
}

#[test]
fn failures_are_alike_by_code_and_reason() {
    let not_found = || failed(404, "NotFound");
    assert_eq!(found(&[look(not_found(), not_found())]), []);
    let differs = [(Aspect::Status, String::new(), None)];
    assert_eq!(found(&[look(not_found(), failed(500, "InternalError"))]), differs);
    assert_eq!(found(&[look(not_found(), failed(404, ""))]), differs);
    // Two that do not answer are not known to be alike.
    assert_eq!(found(&[look(failed(0, "refused"), failed(0, "refused"))]), differs);
    assert_eq!(found(&[look(not_found(), values(&[]))]), differs);
    assert_eq!(found(&[look(values(&[]), failed(503, "ServiceUnavailable"))]), differs);
    // A failure that does not last is none.
    assert_eq!(found(&[look(not_found(), values(&[])), one("1", "1")]), []);
    assert_eq!(found(&[one("1", "1"), look(not_found(), values(&[]))]), []);
}

#[test]
fn an_object_that_is_not_found_is_one_that_a_list_lacks() {
    let looks = [look(values(&[("a", "1")]), failed(404, "NotFound")).of_object()];
    assert_eq!(found(&looks), [(Aspect::Object, "a".to_owned(), None)]);
    let garbage = values(&[("a", "-9223372036854775808m")]);
    let looks = [look(garbage, failed(404, "NotFound")).of_object()];
    assert_eq!(found(&looks), [(Aspect::Object, "a".to_owned(), Some(Reason::NotFinite))]);
    let looks = [look(failed(404, "NotFound"), values(&[("a", "1")])).of_object()];
    assert_eq!(found(&looks), [(Aspect::Object, "a".to_owned(), None)]);
    let looks = [look(failed(404, "NotFound"), failed(500, "InternalError")).of_object()];
    assert_eq!(found(&looks), [(Aspect::Status, String::new(), None)]);
}

#[test]
fn usage_without_an_answer_of_prometheus_is_known() {
    let looks = [look(values(&[]), failed(503, "ServiceUnavailable"))];
    let judged = judge(MetricsApi::Resource, &looks, 0.01);
    assert_eq!(judged.findings[0].reason, Some(Reason::UsageUnavailable));
    let looks = [look(values(&[("a", "1")]), failed(503, "ServiceUnavailable"))];
    assert_eq!(judge(MetricsApi::Resource, &looks, 0.01).findings[0].reason, None);
}

#[test]
fn windows_and_times_are_said_once_for_an_answer() {
    let answer = |at: i64, window: Option<i64>| {
        let value = Measured { at: Some(at), window, ..measured("1") };
        Response::Values([("a".to_owned(), value.clone()), ("b".to_owned(), value)].into())
    };
    let of = |reference, with| {
        let found = found(&[look(reference, with)]);
        found.into_iter().map(|(aspect, _, reason)| (aspect, reason)).collect::<Vec<_>>()
    };
    assert_eq!(of(answer(100, None), answer(100 - APART, None)), []);
    assert_eq!(of(answer(0, Some(60)), answer(0, Some(60))), []);
    let known = [(Aspect::Window, Some(Reason::Window))];
    assert_eq!(of(answer(0, None), answer(0, Some(60))), known);
    assert_eq!(of(answer(0, Some(60)), answer(0, None)), [(Aspect::Window, None)]);
    assert_eq!(of(answer(0, Some(60)), answer(0, Some(120))), [(Aspect::Window, None)]);
    let older = [(Aspect::Timestamp, Some(Reason::EvaluationTime))];
    assert_eq!(of(answer(100, None), answer(99 - APART, None)), older);
    assert_eq!(of(answer(0, None), answer(1 + APART, None)), [(Aspect::Timestamp, None)]);
}

#[test]
fn only_what_nothing_explains_is_looked_at_again() {
    let settled = |looks: &[Sides<Response>]| judge(MetricsApi::Custom, looks, 0.0).is_settled();
    assert!(settled(&[one("1", "1")]));
    assert!(settled(&[one("1", "1001m")]));
    assert!(!settled(&[one("1", "2")]));
    assert!(settled(&[one("1", "2"), one("2", "2")]));
}
