//! `backends`.

use super::{super::*, problems};

#[test]
fn backends_are_described() {
    let rules = load(
        "backends:\n- name: mimir\n  url: https://user:secret@mimir:8080/prometheus/?token=secret\n  headers: {X-Scope-OrgID: secret-team}\n  tokenFile: /t\n  caFile: /ca\n  clientTLSCertFile: /c\n  clientTLSKeyFile: /k\n  authInCluster: true\n  verb: POST\n  timeout: 10s\n  discoveryTimeout: 1m\n  concurrency: 4\n- {name: plain, url: 'http://plain', authConfig: /kubeconfig}\n",
    )
    .unwrap();
    let [mimir, plain] = rules.backends.as_slice() else { panic!("two backends") };
    assert_eq!(&*mimir.name, "mimir");
    assert_eq!(mimir.url.as_str(), "https://user:secret@mimir:8080/prometheus/?token=secret");
    assert_eq!(mimir.headers[0].0, "x-scope-orgid");
    assert_eq!(mimir.headers[0].1, "secret-team");
    let files = [
        &mimir.token_file,
        &mimir.ca_file,
        &mimir.client_tls_cert_file,
        &mimir.client_tls_key_file,
        &plain.auth_config,
    ];
    let files = files.map(|file| file.as_ref().unwrap().to_str().unwrap());
    assert_eq!(files, ["/t", "/ca", "/c", "/k", "/kubeconfig"]);
    assert!(mimir.auth_in_cluster && mimir.auth_config.is_none());
    assert_eq!(mimir.verb, Some(Verb::Post));
    assert_eq!(mimir.timeout.unwrap().as_secs(), 10);
    assert_eq!(mimir.discovery_timeout.unwrap().as_secs(), 60);
    assert_eq!(mimir.concurrency.unwrap().get(), 4);
    assert_eq!((plain.verb, plain.timeout, plain.concurrency), (None, None, None));
    assert!(plain.headers.is_empty() && plain.token_file.is_none() && !plain.auth_in_cluster);
    assert!(!format!("{rules:?}").contains("secret"), "{rules:?}");
}

#[test]
fn the_form_of_backends_is_checked() {
    insta::assert_snapshot!(problems(
        "backends:\n- {}\n- {name: Mimir, url: ''}\n- {name: -a, url: [x], verb: get, concurrency: 0, timeout: 1h, tokenFile: '', token: x}\n- {name: a, url: x, headers: {Authorization: Bearer x, X-Scope-OrgID: ''}, concurrency: many}\n"
    ).join("\n"));
}

#[test]
fn backends_that_cannot_be_meant_are_refused_without_their_secrets() {
    let said = problems(
        "backends:\n- {name: a, url: 'http://u:secret@'}\n- {name: a, url: 'ftp://u:secret@host'}\n- {name: b, url: 'u:secret@host'}\n- {name: c, url: 'http://host/?token=secret#', clientTLSKeyFile: /k}\n- {name: d, url: 'http://host', clientTLSCertFile: /c, authInCluster: true, authConfig: /k, headers: {X-A: é-secret}}\n",
    )
    .join("\n");
    assert!(!said.contains("secret"), "{said}");
    insta::assert_snapshot!(said);
}

#[test]
fn a_backend_may_have_several_urls() {
    let of = |keys: &str| {
        let rules = load(&format!("backends: [{{name: a, {keys}}}]")).unwrap();
        let urls = rules.backends[0].urls();
        urls.map(|(key, url)| format!("{key} {url}")).collect::<Vec<_>>()
    };
    assert_eq!(of("url: 'http://a'"), ["url http://a/"]);
    let urls = of("urls: ['http://a', 'https://u:p@b:1/x?y=z', 'http://a/x']");
    assert_eq!(urls, ["urls[0] http://a/", "urls[1] https://u:p@b:1/x?y=z", "urls[2] http://a/x"]);
}

#[test]
fn urls_that_cannot_be_meant_are_refused() {
    for (keys, wanted) in [
        ("verb: GET", "backends[0].url: `url` or `urls` is required"),
        ("url: 'http://a', urls: ['http://b']", "backends[0].url: `url` and `urls` exclude"),
        ("urls: []", "backends[0].urls"),
        ("urls: ['http://a', 'b']", "backends[0].urls[1]: http:// or https:// is missing"),
        ("urls: ['http://a', 'http://u:secret@a/?b=secret']", "backends[0].urls[1]: a URL before"),
        ("urls: ['http://a'], auth: {sigv4: {}, basic: {}}", "backends[0].auth"),
        (
            "urls: ['https://a', 'https://u:secret@b'], auth: {bearer: {tokenFile: /t}}",
            "backends[0].auth: `auth` and a user or password in the URL exclude",
        ),
    ] {
        let said = problems(&format!("backends: [{{name: a, {keys}}}]")).join("\n");
        assert!(said.contains(wanted) && !said.contains("secret"), "{keys}: {said}");
    }
    let many: Vec<_> = (0..9).map(|number| format!("'http://h{number}'")).collect();
    assert!(!problems(&format!("backends: [{{name: a, urls: [{}]}}]", many.join(","))).is_empty());
}
