use super::*;

fn problems(text: &str) -> String {
    load(text).unwrap_err().iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn each_kind_is_read_with_its_defaults() {
    let Auth::SigV4(sigv4) = load("sigv4: {}").unwrap() else { panic!() };
    assert!(sigv4.service == "aps" && sigv4.region.is_none() && sigv4.role_arn.is_none());
    let text = "{sigv4: {region: eu-west-1, service: es, roleARN: 'arn:aws-cn:iam::1:role/path/r', externalID: e, profile: p}}";
    let Auth::SigV4(sigv4) = load(text).unwrap() else { panic!() };
    assert_eq!(sigv4.region.as_deref(), Some("eu-west-1"));
    assert_eq!(sigv4.role_arn.as_deref(), Some("arn:aws-cn:iam::1:role/path/r"));
    assert_eq!((sigv4.external_id.as_deref(), sigv4.profile.as_deref()), (Some("e"), Some("p")));

    let Auth::Entra(entra) = load("entra: {}").unwrap() else { panic!() };
    assert!(entra.identity.is_none() && entra.cloud.is_none() && entra.scope.is_none());
    let text = "entra: {tenantID: contoso.onmicrosoft.com, clientID: c, identity: managed, cloud: china, scope: s}";
    let Auth::Entra(entra) = load(text).unwrap() else { panic!() };
    assert_eq!((entra.identity, entra.cloud), (Some(Identity::Managed), Some(Cloud::China)));
    assert_eq!(entra.tenant_id.as_deref(), Some("contoso.onmicrosoft.com"));

    let Auth::Google(google) = load("google: {scopes: [a, b]}").unwrap() else { panic!() };
    assert!(google.credentials_file.is_none() && google.scopes == ["a", "b"]);

    let text = "oauth2: {tokenURL: 'https://h/t', clientID: c, clientSecretFile: /s, scopes: [x], endpointParams: {audience: y}, clientAuth: post, caFile: /ca}";
    let Auth::OAuth2(oauth2) = load(text).unwrap() else { panic!() };
    assert_eq!(oauth2.token_url.as_str(), "https://h/t");
    assert_eq!(oauth2.endpoint_params, [("audience".to_owned(), "y".to_owned())]);
    assert_eq!((oauth2.client_auth, oauth2.scopes), (ClientAuth::Post, vec!["x".to_owned()]));
    assert_eq!(oauth2.ca_file.unwrap(), Path::new("/ca"));

    let basic = load("basic: {username: u, passwordFile: /p}").unwrap();
    let wanted = Auth::Basic { username: "u".to_owned(), password_file: "/p".into() };
    assert!(basic == wanted && format!("{basic:?}") == "Auth(\"basic\")");
    assert!(load("bearer: {tokenFile: /t}").unwrap() == Auth::Bearer { token_file: "/t".into() });
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    insta::assert_snapshot!(
        [
            "",
            "[]",
            "{",
            "a\n---\nb",
            "{}",
            "google:",
            "{google: {}, sigv4: {}}",
            "sigv5: {}",
            "sigv4: {region: 'eu-west-1.evil.example/'}",
            "sigv4: {service: a b}",
            "sigv4: {roleARN: role}",
            "sigv4: {externalID: e}",
            "entra: {tenantID: ../x}",
            "entra: {clientSecretFile: /s, identity: workload}",
            "entra: {cloud: mars}",
            "google: {scopes: [a b, '', []]}",
            "oauth2: {}",
            "oauth2: {tokenURL: 'https://u:secret@h', clientID: c, clientSecretFile: /s}",
            "oauth2: {tokenURL: 'h/t?secret', clientID: c, clientSecretFile: /s}",
            "oauth2: {tokenURL: 'https://h', clientID: c, clientSecretFile: /s, endpointParams: {client_secret: x}}",
            "oauth2: {tokenURL: 'https://h', clientID: c, clientSecretFile: /s, endpointParams: {a: [x]}}",
            "basic: {username: u}",
            "basic: {username: 'u:secret', passwordFile: /p}",
            "bearer: {tokenFile: ''}",
        ]
        .map(|text| format!("# {text:?}\n{}", problems(text)))
        .join("\n")
    );
}

/// As where everything below the key is commented out: nobody means requests without credentials by that.
#[test]
fn auth_of_a_backend_without_a_value_is_an_error() {
    for auth in ["auth:", "auth: ~", "auth: {}", "auth: {bearer: ~}"] {
        let text = format!("backends:\n- name: b\n  url: https://h\n  {auth}\n");
        let problems = crate::core::rules::load(&text).unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{auth}: {problems:?}") };
        assert_eq!(problem.path.to_string(), "backends[0].auth", "{auth}");
        assert!(problem.message.contains("exactly one"), "{auth}: {problem}");
    }
}

#[test]
fn regions_and_tenants_are_parts_of_urls() {
    for (host, region) in [
        ("aps-workspaces.eu-west-1.amazonaws.com", "eu-west-1"),
        ("aps-workspaces.eu-west-1.api.aws", "eu-west-1"),
        ("aps-workspaces-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("vpce-1.aps-workspaces.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("aps-workspaces.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("aps-workspaces.cn-north-1.api.amazonwebservices.com.cn", "cn-north-1"),
        ("vpce-1.aps-workspaces.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1"),
        ("aps-workspaces.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("vpce-1.aps-workspaces.eusc-de-east-1.vpce.amazonaws.eu", "eusc-de-east-1"),
        ("aps-workspaces.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
        ("aps-workspaces.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
    ] {
        assert_eq!(aps_region(host), Some(region), "{host}");
    }
    for host in [
        "aps-workspaces.amazonaws.com",
        "sts.eu-west-1.amazonaws.com",
        "aps-workspaces.eu-west-1.amazonaws.com.cn",
        "aps-workspaces.cn-north-1.amazonaws.com",
        "aps-workspaces.eu-west-1.vpce.amazonaws.com",
        "vpce-1.aps-workspaces.eu-west-1.amazonaws.com",
        "a.vpce-1.aps-workspaces.eu-west-1.vpce.amazonaws.com",
        "aps-workspaces.EU.amazonaws.com",
        "eu-west-1",
        "",
    ] {
        assert_eq!(aps_region(host), None, "{host}");
    }
    for text in ["", "EU", "a.b", "a/b", "a_b", &"a".repeat(33)] {
        assert!(!is_region(text), "{text}");
    }
    for text in ["", ".", "a/b", "a?b", "..", "a%2F"] {
        assert!(!is_tenant(text), "{text}");
    }
}
