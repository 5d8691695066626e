use proptest::prelude::*;

use super::*;

const LABEL: &str = "namespace";
const OWN: &str = "shop";

#[track_caller]
fn enforced(query: &str) -> String {
    enforce(query, LABEL, OWN).unwrap_or_else(|error| panic!("{query}: {error}")).query
}

/// Queries of honest teams.
const HONEST: [(&str, &str); 34] = [
    ("up", r#"up{namespace="shop"}"#),
    ("up{}", r#"up{namespace="shop"}"#),
    (r#"up{job="a"}"#, r#"up{namespace="shop",job="a"}"#),
    (r#"up{job="a",}"#, r#"up{namespace="shop",job="a"}"#),
    ("up{job='a'}", r#"up{namespace="shop",job="a"}"#),
    ("up{job=~`a|b\\.c`}", r#"up{namespace="shop",job=~"a|b\\.c"}"#),
    (r#"up{namespace="shop"}"#, r#"up{namespace="shop"}"#),
    (r#"{"http.requests","a.b"="c"}"#, r#"{namespace="shop",__name__="http.requests","a.b"="c"}"#),
    (
        "sum by (pod) (rate(requests_total[2m]))",
        r#"sum by (pod) (rate(requests_total{namespace="shop"}[2m]))"#,
    ),
    ("sum(rate(a[90s])) by (pod)", r#"sum by (pod) (rate(a{namespace="shop"}[90s]))"#),
    ("sum without (a) (x)", r#"sum without (a) (x{namespace="shop"})"#),
    ("sum(a) / sum(b) * 100", r#"(sum(a{namespace="shop"}) / sum(b{namespace="shop"})) * 100"#),
    ("a + b * c", r#"a{namespace="shop"} + (b{namespace="shop"} * c{namespace="shop"})"#),
    ("-a ^ 2", r#"-(a{namespace="shop"} ^ 2)"#),
    ("(a)", r#"a{namespace="shop"}"#),
    ("a > 5", r#"a{namespace="shop"} > 5"#),
    ("a > bool -5", r#"a{namespace="shop"} > bool (-5)"#),
    ("a offset 1h", r#"a{namespace="shop"} offset 1h"#),
    ("a offset -5m", r#"a{namespace="shop"} offset -5m"#),
    ("rate(a[5m] offset 1d)", r#"rate(a{namespace="shop"}[5m] offset 1d)"#),
    ("a @ 1609746000", r#"a{namespace="shop"} @ 1609746000.000"#),
    ("a @ end()", r#"a{namespace="shop"} @ end()"#),
    (
        "max_over_time(rate(a[5m])[1h:1m])",
        r#"max_over_time((rate(a{namespace="shop"}[5m]))[1h:1m])"#,
    ),
    ("max_over_time(a[1h:])", r#"max_over_time((a{namespace="shop"})[1h:])"#),
    (
        "a * on (pod) group_left (node) b",
        r#"a{namespace="shop"} * on (pod) group_left (node) b{namespace="shop"}"#,
    ),
    ("a and ignoring (x) b", r#"a{namespace="shop"} and ignoring (x) b{namespace="shop"}"#),
    ("topk(3, a)", r#"topk(3, a{namespace="shop"})"#),
    ("quantile by (pod) (0.9, a)", r#"quantile by (pod) (0.9, a{namespace="shop"})"#),
    (
        "histogram_quantile(0.99, sum by (le) (rate(a_bucket[5m])))",
        r#"histogram_quantile(0.99, sum by (le) (rate(a_bucket{namespace="shop"}[5m])))"#,
    ),
    (
        r#"label_replace(a, "pod", "$1", "pod_name", "(.*)")"#,
        r#"label_replace(a{namespace="shop"}, "pod", "$1", "pod_name", "(.*)")"#,
    ),
    ("absent(a)", r#"absent(a{namespace="shop"})"#),
    ("vector(1)", "vector(1)"),
    ("hour() * 60 + minute()", "(hour() * 60) + minute()"),
    ("sum(a) or vector(0)", r#"sum(a{namespace="shop"}) or vector(0)"#),
];

#[test]
fn every_selector_gets_the_matcher() {
    for (query, wanted) in HONEST {
        assert_eq!(enforced(query), wanted, "{query}");
    }
}

/// What comes of an attempt to read the series of `bank`.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// It is refused.
    Refused,
    /// It is another query, which reads nothing of `bank`.
    Harmless(&'static str),
}

use Outcome::{Harmless, Refused};

/// The attempts.
const ATTACKS: [(&str, Outcome); 97] = [
    // Matchers of the label itself.
    (r#"secret{namespace="bank"}"#, Harmless(r#"secret{namespace="shop",namespace="bank"}"#)),
    (r#"secret{namespace=~".+"}"#, Harmless(r#"secret{namespace="shop",namespace=~".+"}"#)),
    (r#"secret{namespace!="shop"}"#, Harmless(r#"secret{namespace="shop",namespace!="shop"}"#)),
    (r#"secret{namespace!~"shop"}"#, Harmless(r#"secret{namespace="shop",namespace!~"shop"}"#)),
    (r#"secret{namespace=""}"#, Harmless(r#"secret{namespace="shop",namespace=""}"#)),
    (r#"secret{"namespace"="bank"}"#, Harmless(r#"secret{namespace="shop",namespace="bank"}"#)),
    (
        r#"secret{namespace="shop",namespace="bank"}"#,
        Harmless(r#"secret{namespace="shop",namespace="bank"}"#),
    ),
    (
        r#"secret{namespace=~"shop|bank"}"#,
        Harmless(r#"secret{namespace="shop",namespace=~"shop|bank"}"#),
    ),
    (r#"secret{namespace=~"shop"}"#, Harmless(r#"secret{namespace="shop",namespace=~"shop"}"#)),
    (r#"secret{name\u0073pace="bank"}"#, Refused),
    (
        r#"secret{"name\u0073pace"="bank"}"#,
        Harmless(r#"secret{namespace="shop",namespace="bank"}"#),
    ),
    // Alternatives.
    (r#"secret{a="b" or namespace="bank"}"#, Refused),
    (r#"{__name__="secret",namespace="shop" or __name__="secret"}"#, Refused),
    (r#"secret{namespace="shop" or namespace="bank"}"#, Refused),
    (r#"secret{namespace="shop" OR a!="b"}"#, Refused),
    // Selectors without a name, or with many.
    (r#"{__name__="secret"}"#, Harmless(r#"{namespace="shop",__name__="secret"}"#)),
    (r#"{__name__=~".+"}"#, Harmless(r#"{namespace="shop",__name__=~".+"}"#)),
    (r#"{"secret"}"#, Harmless(r#"{namespace="shop",__name__="secret"}"#)),
    (r#"{namespace="bank"}"#, Harmless(r#"{namespace="shop",namespace="bank"}"#)),
    ("{}", Refused),
    (r#"{a=~".*"}"#, Refused),
    (r#"secret{__name__="other"}"#, Refused),
    (r#"{"secret","other"}"#, Harmless(r#"{namespace="shop",__name__="secret",__name__="other"}"#)),
    // A second selector, anywhere.
    ("own + secret", Harmless(r#"own{namespace="shop"} + secret{namespace="shop"}"#)),
    (
        "topk(scalar(secret), own)",
        Harmless(r#"topk(scalar(secret{namespace="shop"}), own{namespace="shop"})"#),
    ),
    (
        "quantile(scalar(secret), own)",
        Harmless(r#"quantile(scalar(secret{namespace="shop"}), own{namespace="shop"})"#),
    ),
    (
        "clamp(own, scalar(secret), 5)",
        Harmless(r#"clamp(own{namespace="shop"}, scalar(secret{namespace="shop"}), 5)"#),
    ),
    ("vector(scalar(secret))", Harmless(r#"vector(scalar(secret{namespace="shop"}))"#)),
    ("((((secret))))", Harmless(r#"secret{namespace="shop"}"#)),
    ("-secret", Harmless(r#"-secret{namespace="shop"}"#)),
    ("+secret", Harmless(r#"secret{namespace="shop"}"#)),
    ("own unless secret", Harmless(r#"own{namespace="shop"} unless secret{namespace="shop"}"#)),
    ("own or secret", Harmless(r#"own{namespace="shop"} or secret{namespace="shop"}"#)),
    (
        "own * on () group_left (namespace) secret",
        Harmless(
            r#"own{namespace="shop"} * on () group_left (namespace) secret{namespace="shop"}"#,
        ),
    ),
    (
        "own * ignoring (namespace) secret",
        Harmless(r#"own{namespace="shop"} * ignoring (namespace) secret{namespace="shop"}"#),
    ),
    ("sum by (namespace) (secret)", Harmless(r#"sum by (namespace) (secret{namespace="shop"})"#)),
    (
        "sum without (namespace) (secret)",
        Harmless(r#"sum without (namespace) (secret{namespace="shop"})"#),
    ),
    // Times.
    ("secret offset 5m", Harmless(r#"secret{namespace="shop"} offset 5m"#)),
    ("secret @ 0", Harmless(r#"secret{namespace="shop"} @ 0.000"#)),
    ("secret @ start()", Harmless(r#"secret{namespace="shop"} @ start()"#)),
    (
        "sum_over_time(secret[1h:1m])",
        Harmless(r#"sum_over_time((secret{namespace="shop"})[1h:1m])"#),
    ),
    (
        "sum_over_time((secret offset 1h)[1h:1m] @ 5 offset 2m)",
        Harmless(r#"sum_over_time((secret{namespace="shop"} offset 1h)[1h:1m] @ 5.000 offset 2m)"#),
    ),
    ("last_over_time(secret[1h])", Harmless(r#"last_over_time(secret{namespace="shop"}[1h])"#)),
    // Functions that read or write more than their argument.
    ("info(own)", Refused),
    (r#"info(own, {__name__="secret"})"#, Refused),
    (r#"label_replace(secret, "namespace", "shop", "", "")"#, Refused),
    (r#"label_replace(secret, ("namespace"), "shop", "", "")"#, Refused),
    (r#"label_replace(secret, "name\x73pace", "shop", "", "")"#, Refused),
    (r#"label_join(secret, "namespace", "", "own")"#, Refused),
    (r#"count_values("namespace", own)"#, Refused),
    ("count_values(('namespace'), own)", Refused),
    (r#"count_values("a", secret)"#, Harmless(r#"count_values("a", secret{namespace="shop"})"#)),
    ("absent(secret)", Harmless(r#"absent(secret{namespace="shop"})"#)),
    (r#"absent(secret{namespace="bank"})"#, Refused),
    (r#"absent_over_time(secret{namespace=~"bank"}[5m])"#, Refused),
    (r#"absent(sum(own{namespace!="shop"}))"#, Refused),
    (r#"absent(own{namespace="shop"})"#, Harmless(r#"absent(own{namespace="shop"})"#)),
    ("absent_over_time(secret[5m])", Harmless(r#"absent_over_time(secret{namespace="shop"}[5m])"#)),
    ("limitk(1, secret)", Harmless(r#"limitk(1, secret{namespace="shop"})"#)),
    ("limit_ratio(0.5, secret)", Harmless(r#"limit_ratio(0.5, secret{namespace="shop"})"#)),
    ("start_timestamp(secret)", Refused),
    ("own + fill (0) secret", Refused),
    ("own + on (pod) fill_left (1) secret", Refused),
    // Languages of other backends.
    ("WITH (x = secret) x", Refused),
    (r#"WITH (commonFilters = {namespace="bank"}) secret{commonFilters}"#, Refused),
    ("secret default 0", Refused),
    ("secret if own", Refused),
    ("secret ifnot own", Refused),
    ("secret keep_metric_names", Refused),
    ("rate(secret)", Refused),
    ("rate(secret[1i])", Refused),
    ("rate(secret[$__interval])", Refused),
    ("(own, secret)", Refused),
    ("union(own, secret)", Refused),
    ("sum(own, secret)", Refused),
    (r#"label_set(secret, "namespace", "shop")"#, Refused),
    (r#"{__graphite__="bank.*"}"#, Refused),
    (r#"secret{__tenant_id__="bank"}"#, Refused),
    ("secret smoothed", Refused),
    // Strings and comments.
    (
        r#"own{a="}"} or secret"#,
        Harmless(r#"own{namespace="shop",a="}"} or secret{namespace="shop"}"#),
    ),
    (r#"own{a="\"} or secret{b=\""}"#, Harmless(r#"own{namespace="shop",a="\"} or secret{b=\""}"#)),
    (r"own{a='\'} or secret{b=\''}", Harmless(r#"own{namespace="shop",a="'} or secret{b='"}"#)),
    (
        "own{a=`\\`} or secret",
        Harmless(r#"own{namespace="shop",a="\\"} or secret{namespace="shop"}"#),
    ),
    (
        "own{a=`\\`} or secret{b=`x`}",
        Harmless(r#"own{namespace="shop",a="\\"} or secret{namespace="shop",b="x"}"#),
    ),
    ("own{a=`\\`[1e30]`}", Refused),
    (
        "own # {namespace=\"bank\"}\n or secret",
        Harmless(r#"own{namespace="shop"} or secret{namespace="shop"}"#),
    ),
    ("own # \r or secret", Harmless(r#"own{namespace="shop"} or secret{namespace="shop"}"#)),
    (
        "own{a=\"#\"} or secret",
        Harmless(r##"own{namespace="shop",a="#"} or secret{namespace="shop"}"##),
    ),
    ("own{ # }\n} or secret", Harmless(r#"own{namespace="shop"} or secret{namespace="shop"}"#)),
    ("own{a=\"x\n\"}", Refused),
    ("own{a=\"x", Refused),
    // Text that is read in another way than it looks.
    ("sеcret", Refused),
    ("own\u{a0}or secret", Refused),
    ("own\u{0}or secret", Refused),
    ("sum{} + by", Harmless(r#"sum{namespace="shop"} + by{namespace="shop"}"#)),
    (
        "own or SECRET{} or Or",
        Harmless(r#"(own{namespace="shop"} or SECRET{namespace="shop"}) or Or{namespace="shop"}"#),
    ),
    ("secret[5m]", Harmless(r#"secret{namespace="shop"}[5m]"#)),
];

#[test]
fn nobody_gets_out_of_the_namespace() {
    for (query, outcome) in ATTACKS {
        match (enforce(query, LABEL, OWN), outcome) {
            (Err(error), Refused) => assert_ne!(error, NotEnforced::Differs, "{query}"),
            (Ok(enforced), Harmless(wanted)) => assert_eq!(enforced.query, wanted, "{query}"),
            (result, outcome) => panic!("{query}: {result:?}, but {outcome:?}"),
        }
    }
}

/// Backends have dialects. Where the matcher belongs in them is not known.
#[test]
fn dialects_are_refused() {
    for query in [
        "rollup_rate(a[1m])",
        "max_over_time(a)",
        "max_over_time(a[1m]) keep_metric_names",
        "with (b = secret) b",
        "with (b(x) = secret{x}) b(namespace=\"bank\")",
        "a default secret",
        "a if secret",
        "a limit 1",
        "a * 1Ki",
        "{__name__=\"a\" or __name__=\"secret\"}",
        "holt_winters(a[1m], 0.5, 0.5)",
        "rate(a[5m + 1m])",
        "a offset (1m)",
    ] {
        assert!(enforce(query, LABEL, OWN).is_err(), "{query}");
    }
}

#[test]
fn a_namespace_is_a_value_and_nothing_else() {
    for namespace in ["shop", "", ".*", "a\"} or secret{x=\"", "a\\", "a\n", "é"] {
        let query = enforce("up", LABEL, namespace).unwrap().query;
        let again = parse(&query).unwrap();
        assert!(every_selector_requires(&again, LABEL, namespace), "{query}");
    }
}

#[test]
fn names_in_quotes_are_limited_as_others_are() {
    let label = "k8s.namespace.name";
    for (query, wanted) in [
        ("up", r#"up{"k8s.namespace.name"="shop"}"#),
        (
            r#"sum by ("a.b") (rate({"http.requests","a.b"=~"x"}[5m]))"#,
            r#"sum by ("a.b") (rate({"k8s.namespace.name"="shop",__name__="http.requests","a.b"=~"x"}[5m]))"#,
        ),
        (
            r#"{"k8s.namespace.name"="bank"}"#,
            r#"{"k8s.namespace.name"="shop","k8s.namespace.name"="bank"}"#,
        ),
        (
            r#"a * on ("a.b") group_left ("k8s.namespace.name") {"c.d"}"#,
            r#"a{"k8s.namespace.name"="shop"} * on ("a.b") group_left ("k8s.namespace.name") {"k8s.namespace.name"="shop",__name__="c.d"}"#,
        ),
        (
            r#"label_replace(a, "a.b", "$1", "k8s.namespace.name", "(.*)")"#,
            r#"label_replace(a{"k8s.namespace.name"="shop"}, "a.b", "$1", "k8s.namespace.name", "(.*)")"#,
        ),
        (r#"count_values("a.b", a)"#, r#"count_values("a.b", a{"k8s.namespace.name"="shop"})"#),
    ] {
        let enforced =
            enforce(query, label, OWN).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(enforced.query, wanted);
        let again = parse(&enforced.query).unwrap();
        assert!(every_selector_requires(&again, label, OWN), "{query}");
    }
    for query in [
        r#"label_replace(a, "k8s.namespace.name", "shop", "", "")"#,
        r#"label_replace(a, "k8s\u002enamespace.name", "shop", "", "")"#,
        r#"label_join(a, 'k8s.namespace.name', "", "b")"#,
        r#"count_values("k8s.namespace.name", a)"#,
        r#"absent({"k8s.namespace.name"="bank"})"#,
    ] {
        let error = enforce(query, label, OWN).unwrap_err();
        assert!(matches!(error, NotEnforced::Writes { .. }), "{query}: {error}");
    }
}

#[test]
fn the_check_finds_a_selector_without_the_matcher() {
    for query in [
        "a",
        r#"a{namespace="bank"}"#,
        r#"a{namespace=~"shop"}"#,
        r#"a{namespace!="shop"}"#,
        r#"a{namespace="shop" or a="b"}"#,
        r#"topk(scalar(a), a{namespace="shop"})"#,
        r#"a{namespace="shop"} + b"#,
        r#"a + b{namespace="shop"}"#,
        "sum(a)",
        "rate(a[5m])",
        "abs(-(a))",
        "max_over_time(a[5m:1m])",
        r#"info(a{namespace="shop"})"#,
    ] {
        let tree = parse(query).unwrap();
        assert!(!every_selector_requires(&tree, LABEL, OWN), "{query}");
    }
}

#[test]
fn large_durations_do_not_reach_the_parser() {
    for query in [
        "a[1e30]",
        "a[5]",
        "a[5m:1e30]",
        "a offset 1e30",
        "a offset - 1e30",
        "a offset inf",
        "a OFFSET NaN",
        "a offset # 5m\n 1e30",
        "a[99999999999999999999m]",
        "a[0s]",
        "a[1m1h]",
    ] {
        let error = enforce(query, LABEL, OWN).unwrap_err();
        assert!(matches!(error, NotEnforced::Duration { .. }), "{query}: {error}");
    }
    for query in ["offset", "sum by (offset) (a)", r#"a{offset="5"}"#] {
        enforced(query);
    }
}

#[test]
fn large_regular_expressions_do_not_reach_the_parser() {
    for query in [
        r#"a{b=~"(((x{999}){999}){999})"}"#,
        r"a{b!~'(((x\x7b999}){999}){999})'}",
        "a{b=~ # c\n `(((x{999}){999}){999})`}",
        r#"a{b=~"((((x{999}){999}){999}){y}"}"#,
        r#"a{b=~"("}"#,
        r#"a{b=~"\é"}"#,
    ] {
        let error = enforce(query, LABEL, OWN).unwrap_err();
        assert!(matches!(error, NotEnforced::Pattern { .. }), "{query}: {error}");
    }
    enforced(r#"a{b=~"(web|api)-[a-z0-9]{1,10}"}"#);
    // It is a value.
    enforced(r#"a{b="(((x{999}){999}){999})"}"#);
}

#[test]
fn sizes_are_limited() {
    for query in [
        "a".repeat(MAX_QUERY + 1),
        vec!["a"; MAX_SELECTORS + 1].join("+"),
        format!("{}a{}", "abs(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH)),
        format!("a{{{}}}", r#"b=~"x","#.repeat(60)),
    ] {
        let error = enforce(&query, LABEL, OWN).unwrap_err();
        assert!(matches!(error, NotEnforced::TooLarge { .. }), "{error}");
    }
    enforced(&vec!["a"; MAX_SELECTORS].join("+"));
}

#[test]
fn numbers_keep_their_values() {
    for (number, wanted) in [
        ("5", "5"),
        ("5m", "300"),
        ("0x1F", "31"),
        ("017", "15"),
        ("1e3", "1000"),
        ("1e300", "1e300"),
        ("1e-300", "1e-300"),
        (".5", "0.5"),
        ("Inf", "Inf"),
        ("-inf", "(-Inf)"),
        ("nan", "NaN"),
        ("-0", "(-0)"),
    ] {
        assert_eq!(
            enforced(&format!("a + {number}")),
            format!(r#"a{{namespace="shop"}} + {wanted}"#)
        );
    }
}

/// Parts of queries, in any order: most do not parse, and those that do are odd.
fn odd_text() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "secret",
        "sum",
        "by",
        "on",
        "offset",
        "or",
        "and",
        "unless",
        "group_left",
        "bool",
        "topk",
        "rate",
        "scalar",
        "absent",
        "label_replace",
        "namespace",
        "__name__",
        "inf",
        "start",
        "end",
        "fill",
        "le",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ",",
        ":",
        "=",
        "!=",
        "=~",
        "!~",
        "==",
        "+",
        "-",
        "*",
        "^",
        "@",
        "5m",
        "1h",
        "5",
        "1e30",
        "0x",
        ".",
        "\"",
        "'",
        "`",
        "\\",
        "#",
        "\n",
        "\r",
        " ",
        "\"shop\"",
        "\"bank\"",
        "{namespace=\"bank\"}",
        "$",
        "é",
        "\u{0}",
    ]);
    prop::collection::vec(part, 1..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_accepted_requires_the_namespace(query in odd_text()) {
        if let Ok(enforced) = enforce(&query, LABEL, OWN) {
            let tree = parse(&enforced.query).unwrap();
            prop_assert!(every_selector_requires(&tree, LABEL, OWN));
            prop_assert_eq!(&enforce(&enforced.query, LABEL, OWN).unwrap(), &enforced);
        }
    }

    #[test]
    fn strings_keep_their_values(value in "\\PC{0,12}|[\"'`\\\\{}(),#\n]{0,8}") {
        let query = format!("a{{b={}}}", crate::core::go_quote::quote(&value));
        let tree = parse(&enforced(&query)).unwrap();
        let promql_parser::parser::Expr::VectorSelector(selector) = tree else {
            return Err(TestCaseError::fail(query));
        };
        prop_assert_eq!(&selector.matchers.matchers[1].value, &value);
    }
}
