//! `delegates`.

use std::path::Path;

use super::{super::*, problems};

#[test]
fn delegates_are_described() {
    let rules = load(
        "delegates:\n- name: keda\n  service: {namespace: keda, name: metrics}\n  caSecret: {namespace: keda, name: kedaorg-certs}\n  authInCluster: true\n  api: external\n  match: {selectorKey: scaledobject.keda.sh/name, namespaces: [a, b]}\n  timeout: 2s\n  concurrency: 4\n- {name: datadog, service: {namespace: d, name: agent, port: 8443}, caBundleOf: v1beta1.external.metrics.k8s.io, match: {metrics: 'a|b'}}\n- {name: old, url: 'https://old:8443/', caFile: /ca, tokenFile: /t}\n- {name: local, url: 'http://127.0.0.1:1'}\n",
    )
    .unwrap();
    let [keda, datadog, old, local] = rules.delegates.as_slice() else { panic!("four") };
    assert_eq!(keda.url.as_str(), "https://metrics.keda.svc/");
    let (namespace, name) = ("keda".to_owned(), "kedaorg-certs".to_owned());
    assert_eq!(keda.authority, CaSource::Secret { namespace, name, key: "ca.crt".to_owned() });
    assert!(keda.auth_in_cluster && keda.is_service && keda.needs_cluster());
    assert_eq!(keda.apis, Apis { custom: false, external: true });
    let matching = keda.matching.as_ref().unwrap();
    assert_eq!(matching.selector_key.as_deref(), Some("scaledobject.keda.sh/name"));
    assert_eq!(matching.namespaces, ["a", "b"]);
    assert_eq!((keda.timeout.as_secs(), keda.concurrency), (2, 4));
    assert_eq!(datadog.url.as_str(), "https://agent.d.svc:8443/");
    assert_eq!(datadog.authority, CaSource::BundleOf("v1beta1.external.metrics.k8s.io".to_owned()));
    let metrics = datadog.matching.as_ref().unwrap().metrics.as_ref().unwrap();
    assert!(metrics.is_match("a") && metrics.is_match("b") && !metrics.is_match("ab"));
    assert_eq!(old.authority, CaSource::File("/ca".into()));
    assert_eq!(old.token_file.as_deref(), Some(Path::new("/t")));
    assert_eq!(old.apis, Apis { custom: true, external: true });
    assert!(!old.needs_cluster() && !local.needs_cluster() && old.matching.is_none());
    assert_eq!((local.timeout.as_secs(), local.concurrency), (10, 16));
    assert!(rules.is_empty_on_purpose, "a file of delegates has not lost its rules");
}

#[test]
fn delegates_that_cannot_be_meant_are_refused_without_their_secrets() {
    for (entry, wanted) in [
        ("name: a", "one of `service` and `url` is required"),
        ("name: a, url: 'https://a', service: {namespace: n, name: s}", "exclude each other"),
        ("name: a, service: {namespace: n, name: s, port: 70000}", "a number from 1 to 65535"),
        ("name: a, service: {namespace: n}", "`name` is required"),
        ("name: a, service: {namespace: 'n/../x', name: s}", "is no name"),
        ("name: a, url: 'http://a.example.com'", "an https:// URL is expected"),
        ("name: a, url: 'https://u:secret@a'", "and nothing more"),
        ("name: a, url: 'https://a/path'", "and nothing more"),
        ("name: a, url: 'https://a?token=secret'", "and nothing more"),
        ("name: a, url: 'https://a', caFile: /c, caBundleOf: v1", "exclude each other"),
        ("name: a, url: 'https://a', caBundleOf: '../secrets'", "the name of an object"),
        (
            "name: a, url: 'https://a', caSecret: {namespace: n, name: 'a/b'}",
            "the name of an object",
        ),
        ("name: a, url: 'https://a', tokenFile: /t, authInCluster: true", "exclude each other"),
        ("name: a, url: 'https://a', api: usage", "one of `custom`, `external`"),
        ("name: a, url: 'https://a', match: {}", "at least one of"),
        ("name: a, url: 'https://a', match: {metrics: 'a)(b'}", "invalid regular expression"),
        ("name: a, url: 'https://a', match: {namespaces: [A]}", "is no name"),
        ("name: a, url: 'https://a', match: {namespaces: a}", "a list is expected"),
        ("name: a, url: 'https://a', timeout: 5m", "a duration from 100ms to 50s"),
        ("name: a, url: 'https://a'}\n- {name: a, url: 'https://b'", "has the name `a`, too"),
    ] {
        let said = problems(&format!("delegates:\n- {{{entry}}}\n")).join("\n");
        assert!(said.contains(wanted) && !said.contains("secret@"), "{entry}: {said}");
        assert!(!said.contains("token=secret"), "{said}");
    }
}

#[test]
fn a_delegate_may_use_what_the_flags_allow() {
    let policy = CredentialPolicy {
        in_cluster_hosts: vec![".keda.svc".parse().unwrap()],
        ..CredentialPolicy::default()
    };
    for (entry, wanted) in [
        ("service: {namespace: keda, name: m}, authInCluster: true", &[][..]),
        ("service: {namespace: other, name: m}, authInCluster: true", &["authInCluster"]),
        ("url: 'https://m.keda.svc.example.com', authInCluster: true", &["authInCluster"]),
        ("url: 'https://a', tokenFile: /etc/loadline/a/token", &[]),
        ("url: 'https://a', tokenFile: /run/secrets/token, caFile: /ca", &["tokenFile", "caFile"]),
    ] {
        let rules = load(&format!("delegates:\n- {{name: a, {entry}}}\n")).unwrap();
        let refusals = policy.refusals_of_delegate(&rules.delegates[0]);
        let keys: Vec<_> = refusals.iter().map(|refusal| refusal.key.to_string()).collect();
        assert_eq!(keys, wanted, "{entry}");
    }
}
