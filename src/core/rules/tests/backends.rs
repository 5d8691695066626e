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
