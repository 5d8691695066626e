use super::*;
use crate::core::{
    fair_share::Owner,
    rules::{self, Header},
    template::HeaderTemplate,
};

/// Backends whose credentials may be in a folder.
fn backends(folder: &std::path::Path) -> Backends {
    // As the binary does; a test before this one may have done it.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    let flags = Config::new("http://127.0.0.1:1").unwrap();
    let policy = CredentialPolicy { folders: [folder.to_owned()].into(), ..Default::default() };
    Backends::new(flags, Arc::new(policy), Arc::new(Metrics::default())).unwrap()
}

/// A rules file with these `backends`.
fn of_file(text: &str) -> RuleSet {
    rules::load(&format!("backends: [{text}]\nrules: []")).unwrap()
}

/// The options of a rule that names a backend.
fn asking(backend: &Arc<Backend>) -> QueryOptions {
    QueryOptions { backend: Some(Arc::clone(backend)), ..Default::default() }
}

fn header(name: &'static str, template: &str) -> Header {
    let value = Arc::new(HeaderTemplate::compile(template).unwrap());
    Header { name: http::HeaderName::from_static(name), value }
}

const A: &str = "{name: a, url: 'http://127.0.0.1:2'}";
const B: &str = "{name: b, url: 'http://127.0.0.1:3'}";

#[test]
fn a_rule_without_options_asks_the_backend_of_the_flags() {
    let backends = backends("/nowhere".as_ref());
    let handle = backends.handle(&QueryOptions::default(), "team").unwrap();
    assert!(handle == BackendHandle::new(Arc::clone(backends.of_flags()), Vec::new(), None));
    assert_eq!(&**handle.namespace(), "team");
}

#[test]
fn a_backend_that_has_not_changed_goes_on_and_one_that_has_is_another() {
    let backends = backends("/nowhere".as_ref());
    let before = of_file(&format!("{A}, {B}"));
    assert!(backends.install(&before).is_empty());
    let handle = |backend: &Arc<Backend>| backends.handle(&asking(backend), "").unwrap();
    let [a, b] = [handle(&before.backends[0]), handle(&before.backends[1])];
    let after = of_file(&format!("{{name: b, url: 'http://127.0.0.1:4'}}, {A}"));
    assert!(backends.install(&after).is_empty());
    assert!(handle(&after.backends[1]) == a, "its place in the file does not matter");
    assert!(handle(&after.backends[0]) != b);
}

#[test]
fn reads_under_way_still_ask_a_backend_that_was_removed() {
    let backends = backends("/nowhere".as_ref());
    let before = of_file(A);
    assert!(backends.install(&before).is_empty());
    let handle = backends.handle(&asking(&before.backends[0]), "").unwrap();
    backends.install(&RuleSet::default());
    assert!(backends.handle(&asking(&before.backends[0]), "").unwrap() == handle);
    let error = backends.handle(&asking(&of_file(B).backends[0]), "").err().unwrap();
    assert_eq!(error.to_string(), "the backend b cannot be used", "no file had it");
}

#[test]
fn a_backend_that_cannot_be_used_is_tried_again_and_others_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let backends = backends(folder.path());
    let token = folder.path().join("token");
    let url = "https://127.0.0.1:2";
    let file = of_file(&format!("{{name: t, url: '{url}', tokenFile: {}}}, {A}", token.display()));
    assert_eq!(backends.install(&file).len(), 1);
    assert_eq!(backends.problems(), ["backends.t: cannot be used"]);
    assert!(backends.handle(&asking(&file.backends[0]), "").is_err());
    assert!(backends.discovery_handle(&asking(&file.backends[0])).is_err());
    let a = backends.handle(&asking(&file.backends[1]), "").unwrap();

    backends.retry(&file);
    assert_eq!(backends.problems().len(), 1, "the file is still missing");
    std::fs::write(&token, "secret").unwrap();
    backends.retry(&file);
    assert_eq!(backends.problems(), [""; 0]);
    assert!(backends.handle(&asking(&file.backends[0]), "").is_ok());
    assert!(backends.handle(&asking(&file.backends[1]), "").unwrap() == a, "the other one goes on");
}

#[test]
fn a_backend_whose_credentials_are_not_allowed_is_not_asked() {
    let backends = backends("/allowed".as_ref());
    let file = of_file("{name: t, url: 'https://127.0.0.1:2', tokenFile: /etc/passwd}");
    let problems = backends.install(&file);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().contains("tokenFile"), "{}", problems[0]);
}

#[test]
fn headers_are_those_of_the_namespace_and_discovery_has_only_those_that_are_the_same_for_all() {
    let backends = backends("/nowhere".as_ref());
    let headers = vec![header("x-scope-orgid", "<<.Namespace>>"), header("x-team", "all")];
    let options = QueryOptions { headers, ..Default::default() };
    let with = |headers: &[(&'static str, &'static str)]| {
        let headers = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        });
        BackendHandle::new(Arc::clone(backends.of_flags()), headers.collect(), None)
    };
    let one = with(&[("x-scope-orgid", "one"), ("x-team", "all")]);
    assert!(backends.handle(&options, "one").unwrap() == one);
    assert!(backends.handle(&options, "other").unwrap() != one);
    assert!(backends.discovery_handle(&options).unwrap() == with(&[("x-team", "all")]));
}

#[test]
fn only_the_rules_of_one_team_share_an_answer_with_each_other_and_not_with_those_of_the_file() {
    let backends = backends("/nowhere".as_ref());
    let team = QueryOptions { owner: Owner::Team, ..Default::default() };
    let handle = |options: &QueryOptions, namespace| backends.handle(options, namespace).unwrap();
    let file = QueryOptions::default();
    assert!(handle(&file, "a") == handle(&file, "b"));
    assert!(handle(&team, "a") == handle(&team, "a"));
    assert!(handle(&team, "a") != handle(&team, "b"));
    assert!(handle(&team, "a") != handle(&file, "a"));
}

#[test]
fn a_header_without_a_value_is_an_error() {
    let backends = backends("/nowhere".as_ref());
    let headers = vec![header("x-scope-orgid", "é<<.Namespace>>")];
    let options = QueryOptions { headers, ..Default::default() };
    let error = backends.handle(&options, "team").err().unwrap();
    assert!(matches!(error, BackendError::Header(_)), "{error}");
}

#[test]
fn servers_are_counted_of_backends_that_have_several_as_long_as_the_file_has_them() {
    let backends = backends("/nowhere".as_ref());
    let pair = "{name: pair, urls: ['http://127.0.0.1:2', 'http://127.0.0.1:3']}";
    let [file, without] = [of_file(&format!("{A}, {pair}")), of_file(A)];
    let counted = || {
        let metrics = backends.metrics.encode();
        let samples =
            metrics.lines().filter(|line| line.starts_with("loadline_prometheus_server_"));
        assert!(samples.clone().all(|sample| sample.contains("backend=\"pair\"")), "{metrics}");
        samples.count()
    };
    assert!(backends.install(&file).is_empty());
    assert_eq!(counted(), 7, "one of them is for both");
    let old = backends.of(&asking(&file.backends[1])).unwrap();
    assert!(backends.install(&without).is_empty());
    assert_eq!(counted(), 0);
    // What is under way still ends.
    let [server, ..] = old.servers().collect::<Vec<_>>()[..] else { panic!("two") };
    server.report();
    old.report_servers();
    assert_eq!(counted(), 0);
    assert!(!backends.metrics.encode().contains("down_since_timestamp_seconds{backend=\"pair\"}"));
    assert!(backends.install(&file).is_empty());
    assert_eq!(counted(), 7);
}

#[test]
fn of_two_backends_of_one_name_the_second_is_marked_and_has_no_metrics() {
    let backends = backends("/nowhere".as_ref());
    let pair = |port: u16| {
        let urls = format!("['http://127.0.0.1:{port}', 'http://127.0.0.1:4']");
        of_file(&format!("{{name: pair, urls: {urls}}}"))
    };
    let (old, mut both) = (pair(2), pair(3));
    both.backends.extend(old.backends.clone());
    assert!(backends.install(&old).is_empty());
    for _ in 0..2 {
        assert!(backends.install(&both).is_empty());
        let names: Vec<_> = backends.rows().into_iter().map(|row| row.name).collect();
        let (marked, plain): (Vec<_>, Vec<_>) =
            names.iter().partition(|name| name.contains("for rules of teams"));
        assert_eq!((marked.len(), plain.len()), (2, 3), "{names:?}");
        let metrics = backends.metrics.encode();
        let of_port = |port: &str| {
            let of_server = "loadline_prometheus_server_in_use{backend=\"pair\"";
            metrics.lines().any(|line| line.starts_with(of_server) && line.contains(port))
        };
        assert_eq!((of_port(":2"), of_port(":3"), of_port(":4")), (false, true, true), "{metrics}");
    }
    // The other one is asked, and is the first one again when the file has it.
    assert!(backends.handle(&asking(&old.backends[0]), "").is_ok());
    assert!(backends.install(&old).is_empty());
    assert!(backends.metrics.encode().contains(":2"));
}

#[test]
fn what_is_counted_of_a_backend_goes_on_when_the_file_changes_again() {
    let backends = backends("/nowhere".as_ref());
    let pair = |more: &str| {
        let urls = "['http://127.0.0.1:2', 'http://127.0.0.1:3']";
        of_file(&format!("{{name: pair, urls: {urls}{more}}}"))
    };
    let [before, after] = [pair(""), pair(", timeout: 7s")];
    assert!(backends.install(&before).is_empty());
    assert!(backends.install(&after).is_empty());
    backends.metrics.backend("pair", "http://127.0.0.1:2").switched();
    let switched = || backends.metrics.encode().contains("switches_total{backend=\"pair\"} 1");
    assert!(switched());
    assert!(backends.install(&after).is_empty());
    assert!(switched(), "{}", backends.metrics.encode());
}
