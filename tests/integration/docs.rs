//! The documentation: its commands work and show what it says, its files are sound, its links lead somewhere, and its flags and
//! limits are those of the program.
//!
//! A comment above a block says how its commands are proven, see `page::Marker`. `sessions` runs those that are to be run.

mod flags;
mod limits;
mod links;
mod modules;
mod page;
mod session;
mod sessions;
mod shown;
mod yaml;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;
use serde_json::Value;

use loadline::core::{
    compare::documented::DOCUMENTED,
    explain::{Cause, Severity},
};

use self::{
    page::Page,
    session::{Session, looks_like},
};

/// The pages whose commands are run by a test of their own in `sessions`.
const RUN: &[&str] = &[
    "README.md",
    "docs/check.md",
    "docs/debugging.md",
    "docs/explain.md",
    "docs/first-rule.md",
    "docs/from-keda.md",
    "docs/from-prometheus-adapter.md",
    "docs/install.md",
    "docs/outage.md",
    "docs/several-prometheus.md",
    "docs/team-rules.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> Page {
    let text =
        fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Page::parse(path, &text)
}

fn pages() -> Vec<Page> {
    let files = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let in_docs = files.filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    let others = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "deploy/README.md",
        "deploy/helm/loadline/README.md",
    ];
    let mut files: Vec<PathBuf> = in_docs.chain(others.map(|path| root().join(path))).collect();
    files.sort();
    let path = |file: PathBuf| file.strip_prefix(root()).unwrap().display().to_string();
    files.into_iter().map(path).map(|path| page(&path)).collect()
}

/// Fails with all complaints about all pages.
#[track_caller]
fn assert_sound(complaints: impl Fn(&Page) -> Vec<String>) {
    let complaints: Vec<_> = pages().iter().flat_map(complaints).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn chart_values() -> Value {
    let text = fs::read_to_string(root().join("deploy/helm/loadline/values.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn every_block_says_how_its_commands_are_proven() {
    assert_sound(Page::complaints);
}

#[test]
fn every_page_that_is_to_be_run_has_a_test() {
    let pages = pages();
    let to_run: Vec<_> =
        pages.iter().filter(|page| page.is_run()).map(|page| &*page.path).collect();
    assert_eq!(to_run, RUN);
}

#[test]
fn links_lead_somewhere() {
    assert_sound(|page| links::complaints(page, root()));
}

#[test]
fn flags_exist() {
    let known = flags::known();
    assert_sound(|page| flags::complaints(page, &known));
}

/// The rows of a page's tables, without heads.
fn table_rows(path: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(path)).unwrap();
    text.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
}

#[test]
fn the_page_of_flags_has_each_with_its_default() {
    let of_serve = flags::rows("serve");
    assert!(of_serve.len() > 50, "{of_serve:?}");
    let others =
        ["check", "explain", "compare", "migrate", "simulate"].into_iter().flat_map(flags::rows);
    let of_all: Vec<_> = of_serve.into_iter().chain(others).collect();
    let shown = table_rows("docs/flags.md");
    let missing: Vec<_> = of_all.iter().filter(|row| !shown.contains(row)).collect();
    let wrong: Vec<_> = shown.iter().filter(|row| !of_all.contains(row)).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "missing {missing:#?}, not so {wrong:#?}");
}

#[test]
fn the_page_of_rules_has_each_key() {
    let schema = fs::read_to_string(root().join("deploy/rules.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let page = fs::read_to_string(root().join("docs/rules.md")).unwrap();
    let shapes = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    let keys: BTreeSet<&String> =
        shapes.flat_map(|shape| shape["properties"].as_object().unwrap().keys()).collect();
    assert!(keys.len() > 30, "{keys:?}");
    let named = |key: &str| {
        let words = page.split(|c: char| !c.is_ascii_alphanumeric());
        words.into_iter().any(|word| word == key)
    };
    let missing: Vec<_> = keys.into_iter().filter(|key| !named(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_page_of_explain_has_each_cause() {
    let verdict = |cause: &Cause| match cause.severity() {
        Severity::Normal => "ok",
        Severity::Doubtful => "doubtful",
        Severity::Failed => "failed",
    };
    let begins = |cause: &Cause| format!("| `{}` | {} | ", cause.code(), verdict(cause));
    let shown: Vec<_> = table_rows("docs/explain.md");
    let shown = shown.iter().filter(|row| row.matches(" | ").count() == 2);
    let wanted: Vec<_> = Cause::ALL.iter().map(begins).collect();
    let shown: Vec<_> = shown.collect();
    let is_so = shown.iter().zip(&wanted).all(|(row, begin)| row.starts_with(begin));
    assert!(is_so && shown.len() == wanted.len(), "{shown:#?}");
}

/// The bold words at the begin of each item of the list of differences, and the codes behind them.
fn differences(page: &str) -> Vec<(String, Vec<String>)> {
    let (_, list) = page.split_once("\n## What differs\n").expect("the list");
    let item = Regex::new(r"(?m)^- \*\*(.+?)\*\*(?: \(((?:`[a-z-]+`(?:, )?)+)\))?").unwrap();
    let codes = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let one = |found: regex::Captures<'_>| {
        (found[1].to_owned(), found.get(2).map_or_else(Vec::new, |text| codes(text.as_str())))
    };
    item.captures_iter(list).map(one).collect()
}

#[test]
fn the_differences_from_prometheus_adapter_are_those_of_the_source() {
    let page = fs::read_to_string(root().join("docs/from-prometheus-adapter.md")).unwrap();
    let wanted: Vec<_> = DOCUMENTED
        .iter()
        .map(|row| {
            let codes = row.reasons.iter().map(|reason| reason.code().to_owned());
            (row.title.to_owned(), codes.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(differences(&page), wanted);
    let less = page.replace("`rounding`, ", "");
    assert_ne!(differences(&less), wanted);
}

#[test]
fn rules_manifests_and_values_are_sound() {
    let values = chart_values();
    assert_sound(|page| yaml::complaints(page, &values));
}

/// The blocks of PromQL that are none.
fn no_queries(page: &Page) -> Vec<String> {
    let blocks = page.blocks.iter().filter(|block| block.language == "promql");
    blocks
        .filter_map(|block| {
            let why = promql_parser::parser::parse(&block.text).err()?;
            Some(format!("{}:{}: {why}", page.path, block.line))
        })
        .collect()
}

#[test]
fn queries_are_queries() {
    assert_sound(no_queries);
    let complaints = |text: &str| no_queries(&Page::parse("bad.md", &block("", "promql", text)));
    assert_eq!(complaints("sum(up)"), Vec::<String>::new());
    told(&complaints("sum(up"), "bad.md:1: ");
}

#[test]
fn limits_are_those_of_the_source() {
    let complaints = limits::complaints(&page("docs/limits.md"));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_modules_and_their_imports_are_those_of_the_source() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let complaints = modules::complaints(&page, &root().join("src"));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The names of all tests.
fn tests() -> BTreeSet<String> {
    let folders = [root().join("src"), root().join("tests/integration")];
    folders.iter().flat_map(|folder| shown::tests(folder)).collect()
}

#[test]
fn what_nobody_can_do_is_shown_by_tests() {
    let page = page("docs/security.md");
    let claims = shown::claims(&page);
    assert!(claims.iter().filter(|claim| claim.needs_proof).count() > 40, "{claims:?}");
    let complaints = shown::complaints(&page, &claims, &tests());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_answer_to_every_fault_is_shown_by_tests() {
    let page = page("docs/faults.md");
    let faults = shown::faults(&page);
    assert!(faults.len() > 50, "{faults:?}");
    let complaints = shown::complaints(&page, &faults, &tests());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// A block with a comment above it.
fn block(comment: &str, language: &str, text: &str) -> String {
    let comment = if comment.is_empty() { String::new() } else { format!("<!-- {comment} -->\n") };
    format!("{comment}```{language}\n{text}\n```\n")
}

#[track_caller]
fn told(complaints: &[String], wanted: &str) {
    assert!(complaints.len() == 1 && complaints[0].contains(wanted), "{wanted}: {complaints:?}");
}

#[test]
fn commands_without_a_proof_are_found() {
    let complaints = |text: &str| Page::parse("bad.md", text).complaints();
    for good in [
        block("run", "sh", "true"),
        block("run", "console", "$ true"),
        block("by hand: a cluster", "console", "$ kubectl get pods\n…"),
        block("not run: a registry", "sh", "docker push x"),
        block("newcomer", "sh", "make test"),
        block("file: a/b.yaml", "yaml", "a: b"),
        block("", "yaml", "a: b"),
    ] {
        assert_eq!(complaints(&good), Vec::<String>::new(), "{good}");
    }
    let no_proof = "nothing says how";
    told(&complaints(&block("", "sh", "true")), no_proof);
    told(&complaints(&format!("<!-- run -->\n\n{}", block("", "console", "$ true"))), no_proof);
    told(&complaints(&block("file: x", "sh", "true")), no_proof);
    for unknown in ["runs", "by hand", "by hand: ", "run: x", "file", "a remark"] {
        told(&complaints(&block(unknown, "sh", "true")), "is no marker");
    }
    for language in ["", "bash", "shell", "console {.x}"] {
        told(&complaints(&block("run", language, "true")), "the language");
    }
    told(&complaints(&block("run", "yaml", "a: b")), "no commands");
    told(&complaints(&block("run", "console", "output\n$ true")), "does not begin");
    told(&complaints(&block("run", "sh", "# nothing")), "does not begin");
    told(&complaints(&block("run", "console", "$ true\n…")), "shown by everything");
    told(&complaints("# A\n```text\nx\n"), "does not end");
    assert!(complaints(&block("", "sh", "true"))[0].starts_with("bad.md:1: "));
}

#[test]
fn links_to_nowhere_are_found() {
    let complaints = |text: &str| links::complaints(&Page::parse("docs/bad.md", text), root());
    let good = "# One\n# `Two` of it!\n# One\n[a](#one) [b](#two-of-it) [c](#one-1) [d](../README.md#figures) [e](https://x/#y)\n";
    assert_eq!(complaints(good), Vec::<String>::new());
    told(&complaints("[a](nowhere.md)"), "docs/bad.md:1: nowhere.md: there is no such file");
    told(&complaints("# One\n[a](#two)"), "there is no such heading");
    told(&complaints("[a](../README.md#nowhere)"), "there is no such heading");
    told(&complaints("[a](README.md#figures)"), "there is no such");
}

#[test]
fn flags_that_do_not_exist_are_found() {
    let known = flags::known();
    let complaints = |text: &str| flags::complaints(&Page::parse("bad.md", text), &known);
    let good = block(
        "run",
        "sh",
        "kubectl --nonsense get | loadline check --strict -c x\nloadline serve --cache-ttl=1s",
    );
    let good = format!("`--cache-ttl=5s` `-v=4` `kubectl get --raw`\n{good}");
    assert_eq!(complaints(&good), Vec::<String>::new());
    told(&complaints("`--cash-ttl`"), "bad.md:1: loadline has no --cash-ttl");
    told(&complaints("`-v=4 --cash-ttl`"), "--cash-ttl");
    told(&complaints("`loadline serve --cash-ttl`"), "--cash-ttl");
    told(
        &complaints(&block("run", "sh", "true && loadline serve \\\n  --nonsense=1")),
        "--nonsense",
    );
    told(
        &complaints(&block("run", "console", "$ cat x | loadline check --nonsense")),
        "--nonsense",
    );
    told(&complaints(&block("", "yaml", "args: [--nonsense=x]")), "--nonsense");
    told(&complaints(&block("", "yaml", "args:\n- --nonsense=x")), "--nonsense");
}

#[test]
fn unsound_yaml_is_found() {
    let values = chart_values();
    let complaints =
        |text: &str| yaml::complaints(&Page::parse("bad.md", &block("", "yaml", text)), &values);
    let rule = "- seriesQuery: 'm_total{namespace!=\"\",pod!=\"\"}'\n  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}\n  metricsQuery: QUERY\n";
    let sum =
        rule.replace("QUERY", "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";
    let scaled = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\n";
    let in_values = format!("rules:\n  custom:\n  {}", sum.replace('\n', "\n  "));
    for good in [
        &sum,
        &format!("rules:\n{sum}"),
        pod,
        &format!("{pod}---\n{scaled}"),
        &in_values,
        "replicas: 3",
    ] {
        assert_eq!(complaints(good), Vec::<String>::new(), "{good}");
    }
    told(&complaints("a: b: c"), "mapping values");
    told(&complaints("nothing: known"), "the chart has no value .nothing");
    told(&complaints("image: {repo: x}"), "the chart has no value .image.repo");
    told(&complaints("- a"), "nobody knows");
    told(&complaints(&format!("{pod}spec: {{containrs: []}}\n")), "unknown fields");
    told(&complaints("apiVersion: v1\nkind: Spaceship\n"), "Spaceship");
    told(&complaints("rules:\n- seriesQeury: x\n"), "seriesQeury");
    told(&complaints(&rule.replace("QUERY", "sum(<<.Serie>>)")), "broken-rule");
    let unaggregated = "rate(<<.Series>>{<<.LabelMatchers>>}[2m])";
    told(&complaints(&rule.replace("QUERY", unaggregated)), "several-samples-per-object");
    let in_values = in_values.replace("by (<<.GroupBy>>)", "");
    assert!(
        complaints(&in_values)[0].contains("label-aggregated-away"),
        "{:?}",
        complaints(&in_values)
    );
}

#[test]
fn limits_that_are_others_are_found() {
    let text = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let complaints = |good: &str, bad: &str| {
        assert_eq!(text.matches(good).count(), 1, "{good}");
        limits::complaints(&Page::parse("bad.md", &text.replace(good, bad)))
    };
    told(&complaints("| bearer token | 32 KiB |", "| bearer token | 64 KiB |"), "not 32 KiB");
    told(&complaints("| bearer token | 32 KiB |", "| bearer token | 132 KiB |"), "not 32 KiB");
    told(&complaints("| 4,096, and", "| 40,961, and"), "not 4,096");
    told(&complaints("for a page, 300 s", "for a page, 30 s"), "not 300 s");
    let another = "| another token | 1 KiB | | 401 |\n| bearer token | 32 KiB |";
    told(&complaints("| bearer token | 32 KiB |", another), "another token");
    assert_eq!(complaints("| spans that wait", "spans that wait").len(), 1, "a row is gone");
}

#[test]
fn claims_that_nothing_shows_are_found() {
    let source = "#[test]\nfn one() {}\nfn helper() {}\n#[cfg(test)]\nmod tests {\n    #[tokio::test(flavor = \"x\")]\n    #[should_panic]\n    async fn two() {}\n    fn other() {}\n}\n";
    let tests = shown::in_file(source);
    assert_eq!(tests, ["one", "tests::two"]);
    let tests = tests.into_iter().collect();
    let complaints = |text: &str| {
        let page = Page::parse("bad.md", text);
        shown::complaints(&page, &shown::claims(&page), &tests)
    };
    let good = "| cannot | a | `one`, `tests::two` |\n| can | b | |\n| | what | shown by |\n| `get` | x | y |\n";
    assert_eq!(complaints(good), Vec::<String>::new());
    told(&complaints("| cannot | a `one` | |"), "bad.md:1: no test shows it");
    told(&complaints("| cannot | a | `one`, `helper` |"), "there is no test helper");
    told(&complaints("| can | a | `two` |"), "there is no test two");
    let complaints = |text: &str| {
        let page = Page::parse("bad.md", text);
        shown::complaints(&page, &shown::faults(&page), &tests)
    };
    let head = "| fault | a read | afterwards | shown by |\n| --- | --- | --- | --- |\n";
    let good = format!("{head}| a `b` | c | d | `one`, `tests::two` |\n");
    assert_eq!(complaints(&good), Vec::<String>::new());
    told(&complaints(&format!("{head}| a `one` | c | d | |\n")), "bad.md:3: no test shows it");
    told(&complaints(&format!("{head}| a | c | d |\n")), "bad.md:3: no test shows it");
    told(&complaints(&format!("{head}| a | c | d | `two` |\n")), "there is no test two");
}

#[test]
fn outputs_are_compared_but_for_times() {
    for (shown, output, is_alike) in [
        ("a\nb", "a\nb\n", true),
        ("a", "b", false),
        ("a", "a\nb", false),
        ("", "", true),
        ("", "a", false),
        ("at 2026-11-21T08:23:53Z", "at 2027-01-01T00:00:00.123Z", true),
        ("at 2026-11-21T08:23:53Z", "at noon", false),
        ("a…c", "abbc", true),
        ("a…c", "ab", false),
        ("a…b…c", "abxbc", true),
        ("a…b…c", "axc", false),
        ("…c", "abc", true),
        ("a…", "abc", true),
        ("a…b", "a", false),
    ] {
        assert_eq!(looks_like(shown, output), is_alike, "{shown:?} {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_share_a_shell_and_files_are_there() {
    let text = [
        block("run", "sh", "export shared=\\\nyes\ncat late.txt 9090.txt >both.txt"),
        block("run", "console", "$ echo $shared; cat both.txt 2>&1\nyes\none\nat 127.0.0.1:9090"),
        block("file: late.txt", "text", "two"),
        block("run", "console", "$ cat late.txt\ntwo\n$ ls kubeconfig\nls: …No such file…"),
        block("file: 9090.txt", "text", "at 127.0.0.1:9090"),
        block("by hand: nothing", "sh", "exit 1"),
    ];
    let text = format!("{}{}", block("file: late.txt", "text", "one"), text.concat());
    Session::start(vec![("9090", 12345)]).run(&Page::parse("good.md", &text)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "bad.md:2: false")]
async fn a_command_that_fails_is_found() {
    let text = block("run", "sh", "true\nfalse");
    Session::start(Vec::new()).run(&Page::parse("bad.md", &text)).await;
}
