//! Files that nobody wrote by hand end in an error.

use super::{super::*, problems};
use crate::core::yaml::MAX_BYTES;

#[track_caller]
fn refused(text: &str, wanted: &str) {
    let said = problems(text).join("\n");
    assert!(said.contains(wanted), "{wanted}: {}", said.chars().take(500).collect::<String>());
    assert!(said.len() < 10_000, "{} bytes are said", said.len());
}

fn rules(each: &str) -> String {
    format!("rules:\n{each}")
}

const RULE: &str = "- {seriesQuery: up, metricsQuery: x}\n";

#[test]
fn files_of_50_mb_are_refused_unread() {
    refused(&"#".repeat(50 << 20), "52428800 bytes");
    assert!(load(&"#".repeat(MAX_BYTES)).is_ok());
}

#[test]
fn so_many_rules_are_refused() {
    refused(&rules(&RULE.repeat(keys::MAX_RULES + 1)), "5001 entries; at most 5000 are read");
    refused(&rules(&RULE.repeat(100_000)), "values, counting what aliases repeat");
    let text = rules(&RULE.repeat(100)) + &RULE.repeat(100).replace("rules", "externalRules");
    assert_eq!(load(&text).unwrap().custom.len(), 200);
}

#[test]
fn aliases_that_repeat_too_much_are_refused() {
    let long = format!("a: &a '{}'\nrules:\n{}", "x".repeat(1 << 20), "- *a\n".repeat(4000));
    refused(&long, "repeat");
    let laughs: String = (1..12)
        .map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(",")))
        .collect();
    refused(&format!("a0: &a0 [x]\n{laughs}"), "repeat");
}

#[test]
fn many_rules_may_share_their_resources() {
    let first =
        "- {seriesQuery: up, metricsQuery: x, resources: &r {overrides: {pod: {resource: pod}}}}\n";
    let other = "- {seriesQuery: up, metricsQuery: x, resources: *r}\n";
    let rules = load(&rules(&(first.to_owned() + &other.repeat(150)))).unwrap();
    assert_eq!((rules.custom.len(), rules.broken.len()), (151, 0));
}

#[test]
fn deep_nesting_is_refused() {
    let blocks: String =
        (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 380))).collect();
    for text in [
        "[".repeat(10_000),
        "{a: ".repeat(10_000),
        "- ".repeat(10_000),
        "? ".repeat(10_000),
        blocks,
    ] {
        assert!(!problems(&text).is_empty());
    }
    refused(
        &("a: ".to_owned() + &"[".repeat(100) + &"]".repeat(100)),
        "more than 64 mappings and lists",
    );
}

#[test]
fn long_expressions_break_their_rule_alone() {
    let long = "a".repeat(1 << 20);
    for (key, wanted) in [
        (
            format!("name: {{matches: '{long}'}}"),
            "rules[0].name.matches: invalid regular expression at column 1: longer than 65536 bytes",
        ),
        (format!("seriesFilters: [{{is: '{long}'}}]"), "rules[0].seriesFilters[0].is"),
        (format!("resources: {{template: '<<.Resource>>{long}'}}"), "longer than 65536 bytes"),
        (format!("headers: {{X-A: '{long}'}}"), "longer than 65536 bytes"),
    ] {
        let text = rules(&format!("- {{seriesQuery: up, metricsQuery: x, {key}}}\n{RULE}"));
        refused(&text, wanted);
        assert_eq!(load(&text).unwrap().custom.len(), 1);
    }
    refused(
        &rules(&format!("- {{seriesQuery: up, metricsQuery: '{long}'}}")),
        "longer than 65536 bytes",
    );
    refused(
        &rules(&format!("- {{seriesQuery: 'up{{a=\"{long}\"}}', metricsQuery: x}}")),
        "too long for a series selector",
    );
}

#[test]
fn no_message_repeats_a_long_text() {
    // As long as a key can be.
    let long = "a".repeat(1000);
    for key in [
        format!("{long}: 1"),
        format!("cacheTTL: {long}"),
        format!("nan: {long}"),
        format!("static: {long}"),
        format!("prometheus: {long}"),
        format!("headers: {{'{long} ': x}}"),
        format!("headers: {{{long}: 'é'}}"),
        format!("headers: {{X-A: '<<{long}>>'}}"),
        format!("resources: {{overrides: {{'{long}-': {{}}}}}}"),
    ] {
        let said = problems(&rules(&format!("- {{seriesQuery: up, metricsQuery: x, {key}}}")));
        assert!(said.iter().all(|problem| problem.len() < 700), "{said:?}");
        assert!(said.iter().any(|problem| problem.contains("rules[0]")), "{said:?}");
    }
}

#[test]
fn only_the_first_problems_are_told() {
    let problems = problems(&rules(&"- {unknown: x}\n".repeat(1000)));
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100], "there are 900 more problems");
}

#[test]
fn large_patterns_share_what_a_file_may_take() {
    // Eight megabytes each.
    let large = "- {seriesQuery: up, metricsQuery: x, name: {matches: '\\pL{100}', as: x}}\n";
    let loaded = load(&rules(&(large.repeat(10) + RULE))).unwrap();
    let ids: Vec<_> = loaded.custom.iter().map(|rule| rule.base.id.clone()).collect();
    assert_eq!(ids.len(), 9, "{ids:?}");
    assert_eq!(ids.last(), Some(&RuleEntry::Custom(10).into()));
    assert_eq!(loaded.broken.len(), 2);
    assert!(loaded.broken.iter().all(|problem| problem.message.contains("too large")));
}

#[test]
fn what_nests_in_templates_and_queries_does_not_exhaust_the_stack() {
    let texts = [
        "<<if .Series>>".repeat(4000) + &"<<end>>".repeat(4000),
        format!("<<if .Series>>{}<<end>>", "<<else if .Series>>".repeat(3000)),
        format!("<<{}1{}>>", "(".repeat(30_000), ")".repeat(30_000)),
        "(".repeat(30_000) + &")".repeat(30_000),
        "-".repeat(60_000),
        "1+".repeat(30_000) + "1",
        "<<range 60000>>-<<end>>1".to_owned(),
    ];
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for text in texts {
            for rule in [
                format!("- {{seriesQuery: up, metricsQuery: '{text}'}}"),
                format!("- {{seriesQuery: '{text}', metricsQuery: x}}"),
            ] {
                let loaded = load(&rules(&rule)).unwrap();
                assert_eq!(loaded.custom.len() + loaded.broken.len().min(1), 1);
                assert!(loaded.custom.iter().all(|rule| rule.base.window_seconds.is_none()));
            }
        }
    });
    thread.unwrap().join().unwrap();
}
