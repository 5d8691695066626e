use super::*;

#[test]
fn every_selector_gets_the_matcher() {
    for (query, wanted) in [
        ("up", r#"up{namespace="shop"}"#),
        (r#"up{job="a"}"#, r#"up{namespace="shop",job="a"}"#),
        ("sum(a) / sum(b) * 100", r#"(sum(a{namespace="shop"}) / sum(b{namespace="shop"})) * 100"#),
    ] {
        assert_eq!(enforce(query, "namespace", "shop").unwrap().query, wanted, "{query}");
    }
}
