use serde_json::{Value, json};

use super::{
    access::{self, RIGHTS},
    apis::{self, ApiFacts, Server},
    hpas,
    rules::{self, Example, RuleFacts, Series, Serves},
    *,
};
use crate::core::{
    explain::{Cause, Explanation, facts::Failure, name, registration},
    rules::RuleEntry,
};

fn registration(version: &str, group: &str, service: &str) -> Value {
    json!({
        "metadata": {"name": format!("{version}.{group}")},
        "spec": {"service": {"namespace": "monitoring", "name": service}},
        "status": {"conditions": [{"type": "Available", "status": "True"}]},
    })
}

const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";
const USAGE: &str = "metrics.k8s.io";

/// An API that is registered for a Service, or not at all.
fn api(
    group: &'static str,
    is_wanted: Option<bool>,
    service: Option<&str>,
    server: Server,
) -> ApiFacts {
    let registrations = service.map(|service| registration("v1", group, service));
    let registrations = Ok(registrations.into_iter().collect());
    ApiFacts { group, version: "v1", is_wanted, registrations, server }
}

fn other(group: &str) -> Server {
    Server::Other(registration::other_owner(group, Some("keda/keda-metrics")))
}

fn codes(findings: &[Finding]) -> Vec<(String, Severity, &'static str)> {
    findings.iter().map(|it| (it.subject.to_string(), it.severity, it.code)).collect()
}

#[test]
fn an_api_with_rules_has_to_be_ours() {
    let custom = || api(CUSTOM, Some(true), Some("loadline"), Server::Loadline);
    let judged = |external: ApiFacts| codes(&apis::judge(&[custom(), external]));
    let of_custom = ("apiservice/v1.custom.metrics.k8s.io".to_owned(), Severity::Info, OK);
    let of_external = |severity, code| {
        [of_custom.clone(), ("apiservice/v1.external.metrics.k8s.io".to_owned(), severity, code)]
    };
    for (is_wanted, service, server, severity, code) in [
        (Some(true), Some("loadline"), Server::Loadline, Severity::Info, OK),
        (Some(true), None, Server::NotAsked, Severity::Error, "apiservice-missing"),
        (Some(true), Some("keda"), other(EXTERNAL), Severity::Error, "apiservice-other-owner"),
        // Nobody was asked, but the Service is another one.
        (Some(true), Some("keda"), Server::NotAsked, Severity::Error, "apiservice-other-owner"),
        (None, Some("keda"), other(EXTERNAL), Severity::Info, NOT_CHECKED),
        (None, Some("keda"), Server::Unknown("gone".to_owned()), Severity::Info, NOT_CHECKED),
    ] {
        let external = api(EXTERNAL, is_wanted, service, server);
        assert_eq!(judged(external), of_external(severity, code), "{is_wanted:?} {service:?}");
    }
    for (is_wanted, service) in [(Some(false), None), (Some(false), Some("keda")), (None, None)] {
        let external = api(EXTERNAL, is_wanted, service, Server::NotAsked);
        assert_eq!(judged(external), std::slice::from_ref(&of_custom), "{is_wanted:?} {service:?}");
    }
    let usage = api(USAGE, Some(true), Some("metrics-server"), Server::NotAsked);
    let of_usage = judged(usage);
    assert_eq!(of_usage[1].2, "apiservice-other-owner", "{of_usage:?}");
    // A version is loadline's, and the other one metrics-server's.
    for (is_wanted, wrong) in [
        (true, ("v1beta1.metrics.k8s.io", "apiservice-other-owner")),
        (false, ("v1.metrics.k8s.io", "apiservice-unavailable")),
    ] {
        let mut usage = api(USAGE, Some(is_wanted), Some("loadline"), Server::NotAsked);
        let others = registration("v1beta1", USAGE, "metrics-server");
        usage.registrations.as_mut().unwrap().push(others);
        let found =
            judged(usage).into_iter().filter(|(_, severity, _)| *severity == Severity::Error);
        let found: Vec<_> = found.map(|(subject, _, code)| (subject, code)).collect();
        assert_eq!(found, [(format!("apiservice/{}", wrong.0), wrong.1)]);
    }
}

#[test]
fn without_rules_one_of_the_apis_has_to_be_ours() {
    let missing = [CUSTOM, EXTERNAL].map(|group| api(group, None, None, Server::NotAsked));
    let found = apis::judge(&missing);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].code, "apiservice-missing");
    let others = [CUSTOM, EXTERNAL].map(|group| api(group, None, Some("keda"), other(group)));
    let found = apis::judge(&others);
    let errors = found.iter().filter(|it| it.severity == Severity::Error).map(|it| it.code);
    assert_eq!(errors.collect::<Vec<_>>(), ["apiservice-other-owner"; 2]);
    let mut unread = api(CUSTOM, None, None, Server::NotAsked);
    unread.registrations = Err("forbidden".to_owned());
    let found = apis::judge(&[unread]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].severity, found[0].code), (Severity::Warning, NOT_CHECKED));
}

#[test]
fn a_controller_that_may_read_some_metrics_may_be_meant_to() {
    let judged = |reviews: &[Result<bool, &str>]| {
        let reviews: Vec<_> = reviews
            .iter()
            .map(|reviewed| ("pods/m".to_owned(), reviewed.map_err(str::to_owned)))
            .collect();
        access::controller("c", &reviews).map(|finding| (finding.severity, finding.code))
    };
    let denied = Cause::NotAuthorized.code();
    assert_eq!(judged(&[]), None);
    assert_eq!(judged(&[Ok(true)]), Some((Severity::Info, OK)));
    assert_eq!(judged(&[Ok(true), Ok(false)]), Some((Severity::Warning, denied)));
    assert_eq!(judged(&[Ok(false), Ok(false)]), Some((Severity::Error, denied)));
    assert_eq!(judged(&[Ok(false), Err("gone")]), Some((Severity::Warning, NOT_CHECKED)));
}

#[test]
fn the_server_needs_every_right() {
    let reviews = |lacking: Option<usize>| -> Vec<_> {
        let is = |at: usize| Ok(Some(at) != lacking);
        RIGHTS.iter().enumerate().map(|(at, right)| (right.clone(), is(at))).collect()
    };
    let found = access::server("a", &reviews(None));
    assert_eq!((found.len(), found[0].code), (1, OK));
    for lacking in 0..RIGHTS.len() {
        let found = access::server("a", &reviews(Some(lacking)));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].code, access::SERVER_NOT_AUTHORIZED);
        assert!(found[0].severity < Severity::Info, "{found:?}");
    }
    let unknown =
        [(RIGHTS[0].clone(), Err("gone".to_owned())), (RIGHTS[1].clone(), Err("gone".to_owned()))];
    assert_eq!(access::server("a", &unknown).len(), 1);
}

#[test]
fn rules_are_judged_by_what_they_give() {
    let failure = |cause| Failure { cause, text: "text".to_owned() };
    let example = |value| Example { metric: "pods/m".to_owned(), value };
    let metrics = |count, value| Serves::Metrics { count, examples: vec![example(value)] };
    let of = |whose: &str| rules::Value::Of(whose.to_owned(), 2500);
    let series = |series| Serves::None(Ok(series));
    for (serves, wanted) in [
        (metrics(1, Ok(of("web-0"))), &[(Severity::Info, OK)][..]),
        (metrics(3, Ok(of(""))), &[(Severity::Info, OK), (Severity::Info, NOT_CHECKED)]),
        (
            metrics(1, Ok(rules::Value::AmongHistograms("web-0".to_owned(), 1))),
            &[(Severity::Warning, "histogram-sample")],
        ),
        (metrics(1, Ok(rules::Value::Nothing)), &[(Severity::Warning, "no-value")]),
        (
            metrics(1, Ok(rules::Value::WithoutBuckets)),
            &[(Severity::Warning, "histogram-without-le")],
        ),
        (metrics(1, Ok(rules::Value::Unlabelled(true))), &[(Severity::Warning, "no-labels")]),
        (
            metrics(1, Ok(rules::Value::Unlabelled(false))),
            &[(Severity::Warning, "aggregated-away")],
        ),
        (metrics(1, Ok(rules::Value::NotFinite(Cause::Nan))), &[(Severity::Warning, "nan")]),
        (metrics(1, Err(failure(Cause::QueryError))), &[(Severity::Error, "query-error")]),
        // That is reported of the backend.
        (metrics(1, Err(failure(Cause::BackendTimeout))), &[(Severity::Warning, NOT_CHECKED)]),
        (series(Series::Absent), &[(Severity::Warning, "series-absent")]),
        (series(Series::Ended), &[(Severity::Warning, "series-ended")]),
        (series(Series::Unnamed("s".to_owned())), &[(Severity::Warning, "name-does-not-match")]),
        (series(Series::Taken("s".to_owned())), &[(Severity::Warning, "metric-claimed-twice")]),
        (series(Series::Unlabelled("s".to_owned())), &[(Severity::Warning, "label-missing")]),
        (Serves::Unknown("why".to_owned()), &[(Severity::Warning, NOT_CHECKED)]),
    ] {
        let place = Place { line: 2, column: 3 };
        let found = rules::judge(RuleFacts {
            id: RuleEntry::Custom(1).into(),
            place,
            serves: serves.clone(),
        });
        let codes: Vec<_> = found.iter().map(|it| (it.severity, it.code)).collect();
        assert_eq!(codes, wanted, "{serves:?}");
        for finding in found {
            assert_eq!(finding.subject.to_string(), "rules[1]");
            assert_eq!(finding.rule(), Some((RuleEntry::Custom(1).into(), place)));
        }
    }
}

#[test]
fn an_autoscaler_has_a_finding_for_each_of_its_causes() {
    let judged = |steps: Vec<Step>| {
        let explanation = Explanation::conclude("hpa/web".to_owned(), steps, None);
        codes(&hpas::judge(("ide", "web"), explanation))
    };
    let found = |cause| Step::found(name::VALUES, cause, "seen", "advice");
    let of_web = |severity, code| ("hpa/ide/web".to_owned(), severity, code);
    assert_eq!(judged(vec![Step::good(name::HPA, "seen"), found(Cause::HpaAtLimit)]), []);
    assert_eq!(
        judged(vec![found(Cause::Nan), found(Cause::HpaFieldIgnored), found(Cause::HpaAtLimit)]),
        [of_web(Severity::Error, "nan"), of_web(Severity::Warning, "hpa-field-ignored")]
    );
    assert_eq!(
        judged(vec![found(Cause::NotAuthorizedMe)]),
        [("hpa".to_owned(), Severity::Warning, "not-authorized-me")]
    );
}

#[test]
fn autoscalers_that_were_not_reached_are_no_success() {
    let summed = |looked_at, sound, left| {
        let found = hpas::summary(looked_at, sound, left);
        found.iter().map(|it| it.severity).collect::<Vec<_>>()
    };
    assert_eq!(summed(0, 0, 0), [Severity::Info]);
    assert_eq!(summed(3, 3, 0), [Severity::Info]);
    assert_eq!(summed(3, 0, 0), []);
    assert_eq!(summed(3, 2, 1), [Severity::Info, Severity::Warning]);
    assert_eq!(summed(0, 0, 1), [Severity::Warning]);
}

#[test]
fn those_whose_metrics_the_controller_reads_are_known() {
    let of = |status: &str| json!({"status": {"conditions": [{"type": "ScalingActive", "status": status}]}});
    assert!(hpas::is_active(&of("True")));
    assert!(!hpas::is_active(&of("False")) && !hpas::is_active(&json!({})));
}

#[test]
fn where_nothing_was_looked_at_nothing_is_known() {
    let all = || Subject::Hpa(String::new());
    let incomplete = Finding::incomplete(all(), "not looked at in time", "raise --timeout");
    let ok = Finding::ok(all(), "nothing is wrong with 1 of 1");
    assert!(is_blind(&[incomplete.clone(), Finding::unchecked(all(), "no Service")]));
    assert!(!is_blind(&[incomplete, ok]));
}
