use http::HeaderValue;

use super::*;

#[test]
fn a_clock_that_is_another_is_followed() {
    let skew = Skew::default();
    let ahead = |seconds: i64| Timestamp::now() + SignedDuration::from_secs(seconds);
    let seen = |skew: &Skew| skew.now().as_second() - Timestamp::now().as_second();
    assert!(!skew.read(ahead(30)), "that is a difference of chance");
    assert_eq!(seen(&skew), 0);
    assert!(skew.read(ahead(1200)));
    assert!((1195..=1205).contains(&seen(&skew)), "{}", seen(&skew));
    assert!(!skew.read(ahead(1201)), "it is known");
    assert!(skew.read(ahead(-1200)));
    assert!(skew.read(ahead(0)));
    assert_eq!(seen(&skew), 0);
    assert!(skew.read(Timestamp::MAX));
    skew.now();
}

#[test]
fn variables_are_not_shown() {
    let variables = Variables::read(|name| match name {
        "AWS_SECRET_ACCESS_KEY" => Some("hidden".to_owned()),
        "AWS_REGION" => Some(String::new()),
        _ => None,
    });
    assert_eq!(variables.get("AWS_REGION"), None, "empty is absent");
    let shown = format!("{variables:?}");
    assert!(shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("hidden"), "{shown}");
}

#[test]
fn what_is_sent_is_what_is_signed() {
    let query = "sum(rate(a{b=~\"c|d\"}[5m])) by (e) > 1+1";
    let url = "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/w/api/v1/query";
    let keys = Keys { id: "AKID".to_owned(), secret: "s".to_owned().into(), session: None };
    let scope = sigv4::Scope { region: "eu-west-1", service: "aps" };
    let parameters = Url::parse_with_params(url, [("query", query), ("b", "")]).unwrap();
    let mut get = Request::new(http::Method::GET, parameters);
    sign(&mut get, &keys, scope, Timestamp::UNIX_EPOCH);
    assert_eq!(
        get.url().query().unwrap(),
        "b=&query=sum%28rate%28a%7Bb%3D~%22c%7Cd%22%7D%5B5m%5D%29%29%20by%20%28e%29%20%3E%201%2B1"
    );
    let authorization = &get.headers()["authorization"];
    assert!(authorization.is_sensitive());
    let authorization = authorization.to_str().unwrap();
    assert!(authorization.contains("SignedHeaders=host;x-amz-date, "), "{authorization}");
    assert!(authorization.contains("AKID/19700101/eu-west-1/aps/aws4_request"), "{authorization}");
    let mut post = Request::new(http::Method::POST, url.parse().unwrap());
    post.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("a/b"));
    *post.body_mut() = Some("query=up".into());
    sign(&mut post, &keys, scope, Timestamp::UNIX_EPOCH);
    let authorization = post.headers()["authorization"].to_str().unwrap();
    assert!(
        authorization.contains("SignedHeaders=content-type;host;x-amz-date, "),
        "{authorization}"
    );
}
