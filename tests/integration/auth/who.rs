//! Who asks: tokens, client certificates and the front proxy.

use super::*;

const SPOOFED: &[(&str, &str)] = &[
    ("x-remote-user", "admin"),
    ("x-remote-group", "system:masters"),
    ("x-remote-uid", "0"),
    ("x-remote-extra-scopes", "all"),
];

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_certificates() {
    let stage = Stage::new().await;
    let app = ready(stage.forgetful()).await;
    let good = ("authorization", "Bearer good");
    let bad = ("authorization", "Bearer bad");
    let jane = stage.clients.issue("jane", ["team-a", "team-b"]);
    let nameless = stage.clients.issue("", ["team-a", ""]);
    let expired = stage.clients.issue_with("jane", [""; 2], |parameters| {
        parameters.not_before = date_time_ymd(2000, 1, 1);
        parameters.not_after = date_time_ymd(2001, 1, 1);
    });
    let wrong = Authority::new("clients").issue("jane", ["system:masters", ""]);
    let spoofed: Vec<_> = SPOOFED.iter().copied().chain([good]).collect();
    let cases = vec![
        case("nothing", None, &[], anonymous()),
        case("a good token", None, &[good], known("holder", &["g"])),
        case(
            "the scheme in any case",
            None,
            &[("authorization", "bEARER good")],
            known("holder", &["g"]),
        ),
        case("a bad token", None, &[bad], NOBODY),
        case("an empty token", None, &[("authorization", "Bearer ")], anonymous()),
        case("another scheme", None, &[("authorization", "Basic Z29vZA==")], anonymous()),
        case("a certificate", Some(&jane), &[], known("jane", &["team-a", "team-b"])),
        case(
            "a certificate before a token",
            Some(&jane),
            &[bad],
            known("jane", &["team-a", "team-b"]),
        ),
        case("a certificate without a name", Some(&nameless), &[], NOBODY),
        case("an expired certificate", Some(&expired), &[], NOBODY),
        case("a certificate of a namesake", Some(&wrong), &[], NOBODY),
        case("its token counts", Some(&wrong), &[good], known("holder", &["g"])),
        case("neither is good", Some(&wrong), &[bad], NOBODY),
        case("headers of nobody", None, SPOOFED, anonymous()),
        case("headers of a client", Some(&jane), SPOOFED, known("jane", &["team-a", "team-b"])),
        case("headers of a stranger", Some(&wrong), SPOOFED, NOBODY),
        case("headers of a token's holder", None, &spoofed, known("holder", &["g"])),
    ];
    check(&stage, &app, cases).await;

    let whole = json!({
        "username": "system:serviceaccount:kube-system:hpa", "uid": "u-1",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/pod-name": ["a", "b"]},
    });
    stage.cluster.delegation().token("whole", whole);
    let wanted = json!({
        "user": "system:serviceaccount:kube-system:hpa", "uid": "u-1",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/pod-name": ["a", "b"]},
    });
    let headers = [("authorization", "Bearer whole")];
    check(&stage, &app, vec![case("all of a user", None, &headers, wanted)]).await;
    assert_eq!(
        stage.cluster.delegation().take_token_reviews().last().unwrap(),
        &json!({"token": "whole"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_proxy() {
    let stage = Stage::new().await;
    let app = ready(stage.forgetful()).await;
    let proxy = stage.proxy();
    let other = stage.proxies.issue("somebody", [""; 2]);
    let between = stage.proxies.intermediate("between");
    let mut below = between.issue("front-proxy-client", [""; 2]);
    below.chain += &between.pem();
    let wrong = Authority::new("proxies").issue("front-proxy-client", [""; 2]);
    let client = stage.clients.issue("front-proxy-client", [""; 2]);
    let ann = ("x-remote-user", "ann");
    let good = ("authorization", "Bearer good");
    let all = [
        ann,
        ("x-remote-uid", "42"),
        ("x-remote-group", "a,b"),
        ("x-remote-group", "c"),
        ("x-remote-group", ""),
        ("X-Remote-Group", "d e"),
        ("X-Remote-Extra-Scopes", "x"),
        ("x-remote-extra-scopes", "y,z"),
        ("x-remote-extra-example.com%2Fkey", "v"),
    ];
    let wanted = json!({
        "user": "ann", "uid": "42", "groups": ["a,b", "c", "d e", "system:authenticated"],
        "extra": {"scopes": ["x", "y,z"], "example.com/key": ["v"]},
    });
    let anonymous_passed_on =
        [("x-remote-user", "system:anonymous"), ("x-remote-group", "system:unauthenticated")];
    let cases = vec![
        case("only a user", Some(&proxy), &[ann], known("ann", &[])),
        case("everything", Some(&proxy), &all, wanted),
        case("a chain", Some(&below), &[ann], known("ann", &[])),
        case("before a token", Some(&proxy), &[ann, good], known("ann", &[])),
        case("who is anonymous there", Some(&proxy), &anonymous_passed_on, anonymous()),
        case("no user", Some(&proxy), &[("x-remote-group", "g")], NOBODY),
        case(
            "no user but a token",
            Some(&proxy),
            &[("x-remote-group", "x"), good],
            known("holder", &["g"]),
        ),
        case("another name", Some(&other), &[ann], NOBODY),
        case("another name with a token", Some(&other), &[ann, good], known("holder", &["g"])),
        case("another authority", Some(&wrong), &[ann], NOBODY),
        case("a client of that name", Some(&client), &[ann], known("front-proxy-client", &[])),
    ];
    check(&stage, &app, cases).await;
}

/// What the ConfigMap says: names of headers, whose names are allowed, bundles of more than one authority.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_configured() {
    let stage = Stage::new().await;
    let older = Authority::new("older");
    let bundle = |first: &Authority| format!("# a comment\n{}\n{}", first.pem(), older.pem());
    let (clients, proxies) = (bundle(&stage.clients), bundle(&stage.proxies));
    stage.cluster.delegation().configure(&[
        ("client-ca-file", &clients),
        ("requestheader-client-ca-file", &proxies),
        ("requestheader-allowed-names", "[]"),
        ("requestheader-username-headers", "[\"X-Absent\",\"X-Who\",\"X-Remote-User\"]"),
        ("requestheader-group-headers", "[\"X-Group\",\"X-Role\"]"),
        ("requestheader-uid-headers", "[\"X-Id\"]"),
        ("requestheader-extra-headers-prefix", "[\"X-More-\",\"X-Also-\"]"),
    ]);
    let app = ready(stage.forgetful()).await;
    let any = stage.proxies.issue("any name", [""; 2]);
    let old = older.issue("old", ["g", ""]);
    let said = [
        ("x-who", "ann"),
        ("x-remote-user", "ignored"),
        ("x-remote-group", "ignored"),
        ("x-remote-uid", "ignored"),
        ("x-group", "a"),
        ("x-role", "b"),
        ("x-role", "c"),
        ("x-id", "7"),
        ("x-more-a", "1"),
        ("x-also-a", "2"),
        ("x-also-b", "3"),
    ];
    let groups = ["a", "b", "c", "system:authenticated"];
    let wanted = json!({"user": "ann", "uid": "7", "groups": groups, "extra": {"a": ["1", "2"], "b": ["3"]}});
    let cases = vec![
        case("any name", Some(&any), &said, wanted),
        case("the second of a proxy's bundle", Some(&old), &[("x-who", "bob")], known("bob", &[])),
        case("the second of the clients'", Some(&old), &[], known("old", &["g"])),
        case("nobody may say it", None, &said, anonymous()),
    ];
    check(&stage, &app, cases).await;
}

/// What flags say comes before what the ConfigMap says, each for itself.
#[tokio::test(flavor = "multi_thread")]
async fn flags_come_before() {
    let stage = Stage::new().await;
    let (clients, folder) = (Authority::new("of a file"), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, clients.pem()).unwrap();
    let mut launch = stage.forgetful();
    launch.trust.client_ca_file = Some(file);
    launch.trust.allowed_names = vec!["by flag".to_owned()];
    launch.trust.username_headers = vec!["x-flag-user".to_owned()];
    let app = ready(launch).await;
    let jane = clients.issue("jane", [""; 2]);
    let written = stage.clients.issue("jane", [""; 2]);
    let allowed = stage.proxies.issue("by flag", [""; 2]);
    let proxy = stage.proxy();
    let headers = [("x-flag-user", "ann"), ("x-remote-user", "bob"), ("x-remote-group", "g")];
    let cases = vec![
        case("the file's authority", Some(&jane), &[], known("jane", &[])),
        case("the ConfigMap's", Some(&written), &[], NOBODY),
        case("the flag's name", Some(&allowed), &headers, known("ann", &["g"])),
        case("the ConfigMap's name", Some(&proxy), &headers, NOBODY),
    ];
    check(&stage, &app, cases).await;
}

/// Authorities are rotated while connections are open, and those go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_authority() {
    let stage = Stage::new().await;
    let app = ready(stage.forgetful()).await;
    let relay = Relay::start(app.address, true).await;
    let (next_clients, next_proxies) = (Authority::new("clients"), Authority::new("proxies"));
    let headers = [("x-remote-user", "ann")];
    let old = client(&app, Some(&stage.proxy()));
    let new = client(&app, Some(&next_proxies.issue("front-proxy-client", [""; 2])));
    let jane = client(&app, Some(&next_clients.issue("jane", [""; 2])));
    let ask = async |client: &Client| {
        let url = format!("https://{}{}", relay.address, read());
        App::send(client, Method::GET, &url, &headers).await.status.as_u16()
    };
    let statuses = async || [ask(&old).await, ask(&new).await, ask(&jane).await];
    assert_eq!(statuses().await, [200, 401, 401]);

    let configure = |clients: &str, proxies: &str| {
        stage.cluster.delegation().configure(&config(clients, proxies));
    };
    let both = |old: &Authority, new: &Authority| format!("{}{}", old.pem(), new.pem());
    let clients = both(&stage.clients, &next_clients);
    configure(&clients, &both(&stage.proxies, &next_proxies));
    until("both are trusted", async || (statuses().await == [200; 3]).then_some(())).await;
    configure(&next_clients.pem(), &next_proxies.pem());
    until("only the new ones are trusted", async || {
        (statuses().await == [401, 200, 200]).then_some(())
    })
    .await;
    // A bundle that cannot be read is a slip, not a wish to lock everybody out: the other one changes, this one stays.
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    configure(&stage.clients.pem(), broken);
    until("the clients are others", async || {
        let [old, new, jane] = statuses().await;
        assert_eq!([old, new], [401, 200]);
        (jane == 401).then_some(())
    })
    .await;
    configure("no certificate", &stage.proxies.pem());
    until("the proxies are others", async || (statuses().await == [200, 401, 401]).then_some(()))
        .await;
    let early = client(&app, Some(&stage.clients.issue("early", [""; 2])));
    assert_eq!(App::send(&early, Method::GET, &app.url(&read()), &[]).await.status, 200);
    assert_eq!(relay.accepted(), 3, "every client has kept its connection");
}

/// Before `requestheader-uid-headers` was known, kube-apiserver passed on such a header of whoever sent one.
#[tokio::test(flavor = "multi_thread")]
async fn no_header_says_a_uid_where_none_is_configured() {
    let stage = Stage::new().await;
    let (clients, proxies) = (stage.clients.pem(), stage.proxies.pem());
    let mut before = config(&clients, &proxies);
    before.retain(|(key, _)| *key != "requestheader-uid-headers");
    stage.cluster.delegation().configure(&before);
    let app = ready(stage.forgetful()).await;
    let proxy = stage.proxy();
    let headers = [("x-remote-user", "ann"), ("x-remote-uid", "0")];
    check(&stage, &app, vec![case("a UID", Some(&proxy), &headers, known("ann", &[]))]).await;
}
