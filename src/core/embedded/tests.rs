//! For each kind of carrier a file that is one, with the place of what is wrong in it, and the nearest that is none.

use super::*;
use crate::core::{
    lint::{self, Severity},
    rules::load,
};

/// A rule with a query that the check complains of, which stands where `QUERY` does.
const RULE: &str = "seriesQuery: 'm{namespace!=\"\",pod!=\"\"}'\nresources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}\nmetricsQuery: QUERY\n";

/// The rules of a rules file, of which the first line is `rules:`.
fn rules_file() -> String {
    format!("rules:\n- {}", indented(RULE, 2).trim_start())
}

/// Values of the chart.
fn values() -> String {
    let item = format!("  - {}", indented(RULE, 4).trim_start());
    format!("replicas: 2\nrules:\n  default: false\n  custom:\n{item}  external: []\n")
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

/// JSON of YAML, as `kubectl -o json` prints it.
fn json(text: &str) -> String {
    let value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
    serde_json::to_string_pretty(&value).unwrap().replace('<', "\\u003c").replace('>', "\\u003e")
}

/// A query that is read and complained of, and that stands for itself in every notation.
const QUERY: &str = "avg((m)";

/// The places where the query is complained of are those where it stands, as often as it does.
#[track_caller]
fn finds(text: &str) {
    let text = text.replace("QUERY", QUERY);
    let found: Vec<_> = lint::check(&text)
        .into_iter()
        .filter(|finding| finding.severity < Severity::Info)
        .map(|finding| {
            assert_eq!(finding.code, "query-not-understood", "{finding:?}\n{text}");
            let place = finding.place.unwrap();
            let line = text.lines().nth(usize::try_from(place.line).unwrap() - 1).unwrap();
            line.chars().skip(usize::try_from(place.column).unwrap() - 1).collect::<String>()
        })
        .collect();
    assert_eq!(found.len(), text.matches(QUERY).count(), "{found:?}\n{text}");
    for rest in found {
        let rest = rest.trim_start_matches(['\\', '"', '\'']);
        assert!(rest.starts_with(QUERY), "{rest:?}\n{text}");
    }
}

/// The one problem of a text without rules, with its place.
#[track_caller]
fn refused(text: &str) -> String {
    let findings = lint::check(text);
    let [finding] = findings.as_slice() else { panic!("{findings:?}\n{text}") };
    assert_eq!(finding.severity, Severity::Error, "{finding:?}\n{text}");
    assert!(load(text).is_err(), "{text}");
    format!("{}: {}", finding.place.unwrap(), finding.message)
}

fn config_map(data: &str) -> String {
    format!(
        "apiVersion: v1\ndata:\n{}kind: ConfigMap\nmetadata: {{name: adapter}}\n",
        indented(data, 2)
    )
}

fn block(header: &str, text: &str) -> String {
    format!("{header}\n{}", indented(text, 4))
}

#[test]
fn rules_files() {
    finds(&rules_file());
    finds(&format!("# ours\n---\n{}", rules_file()));
    finds(&format!("\u{feff}{}", rules_file()));
    finds(&rules_file().replace("rules:", "\"rules\":").replace("metricsQuery", "'metricsQuery'"));
    finds(&json(&rules_file()));
    finds(&rules_file().replace("QUERY", ">-\n    QUERY"));
    for (nothing, wanted) in [
        ("a: b\n", "1:1: no rules found"),
        ("prometheus: {url: http://p}\nreplicas: 2\n", "1:1: no rules found"),
        ("rules: x\n", "1:8: a list"),
        ("- a\n", "1:1: a mapping"),
        ("rulez: []\n", "1:1: unknown key; did you mean `rules`?"),
        ("rules: []\n---\nrules: []\n", "2:1: the file holds several YAML documents"),
        ("kind: Service\n---\nrules: []\n", "2:1: the file holds several YAML documents"),
    ] {
        let said = refused(nothing);
        assert!(
            said.starts_with(wanted) || said.starts_with(&wanted.replace("2:1", "3:1")),
            "{said}\n{nothing}"
        );
    }
    assert!(lint::check("rules: []").is_empty());
}

#[test]
fn config_maps() {
    // Whatever the notation of the text, and the name of its key.
    let text = rules_file();
    let flow = json(&text);
    let quoted = flow.replace('\'', "''").replace('\n', "\n\n    ");
    let double = serde_json::to_string(&text).unwrap();
    for data in [
        block("config.yaml: |", &text),
        block("config.yaml: |-", &text),
        block("\"config.yaml\": |+  # as jsonnet writes it", &text),
        block("README: |\n    no rules: [\nadapter: |", &text),
        // The text is indented by 2 more than it has to be, and more in itself.
        format!("config.yaml: |2\n{}", indented(&indented(&text, 2), 2)),
        block("config.yaml: |", &format!("\n\n# above\n\n{text}")),
        block("config.yaml: >", &text.replace('\n', "\n\n")),
        block("config.yaml: &text |", &text),
        block("config.yaml: !!str |", &text),
        format!("config.yaml: {double}\n"),
        // As kubectl writes long texts.
        format!("config.yaml: {}\n", double.replace("\\n  ", "\\n\\\n    \\  ")),
        format!("? config.yaml\n: {double}\n"),
        format!("config.yaml: '{quoted}'\n"),
        block("config.yaml: >", &flow),
        block("config.json: |", &json(&text)),
        block("config.yaml: |", &format!("--- # first\n{text}---\n# and nothing\n")),
        block("values.yaml: |", &values()),
        block("umbrella.yaml: |", &format!("prometheus-adapter:\n{}", indented(&values(), 2))),
        // Rules in a ConfigMap in a ConfigMap.
        block("manifests.yaml: |", &config_map(&block("config.yaml: |", &text))),
        format!(
            "manifests.json: {}\n",
            serde_json::to_string(&config_map(&format!("config.yaml: {double}"))).unwrap()
        ),
    ] {
        finds(&config_map(&data));
    }
    finds(&json(&config_map(&block("config.yaml: |", &text))));
    finds(&config_map(&block("config.yaml: |", &text)).replace('\n', "\r\n"));
    finds(
        &config_map(&block("a.yaml: |", &text)).replace("metadata:", "binaryData: {}\nmetadata:"),
    );
    finds(&config_map(&format!("{}{}", block("a: |", &text), block("b: |", &text))));
    finds(
        &config_map(&block("config.yaml: |", &text))
            .replace("ConfigMap", "Secret")
            .replace("data:", "stringData:"),
    );

    for (data, wanted) in [
        ("a: b\n", "1:1: no rules found in `data.*` and `binaryData.*` of ConfigMap"),
        ("config.yaml: ''\n", "1:1: no rules found"),
        ("config.yaml:\n", "1:1: no rules found"),
        ("config.yaml: 5\n", "1:1: no rules found"),
        // Of others: rules of Prometheus and of RBAC.
        ("alerts.yaml: |\n  groups:\n  - rules: [{alert: a}]\n", "1:1: no rules found"),
        ("role.yaml: |\n  rules:\n  - resources: [pods]\n", "1:1: no rules found"),
        ("config.yaml:\n  rules: [{seriesQuery: up}]\n", "4:5: a text is expected here: write `|`"),
    ] {
        let said = refused(&config_map(data));
        assert!(said.starts_with(wanted), "{said}\n{data}");
    }
    // What cannot be read is told where it may be the rules, and where nothing else is.
    let broken = "rules:\n- seriesQuery: 'x'\n    metricsQuery: y\n";
    for data in [
        block("config.yaml: |", broken),
        format!("config.yaml: {}\n", serde_json::to_string(broken).unwrap()),
    ] {
        let both = config_map(&(data + &block("other.yaml: |", &rules_file())));
        let findings = lint::check(&both);
        assert!(findings[0].message.starts_with("wrong indentation"), "{findings:?}\n{both}");
        let place = findings[0].place.unwrap();
        let line = both.lines().nth(usize::try_from(place.line).unwrap() - 1).unwrap();
        let rest: String = line.chars().skip(usize::try_from(place.column).unwrap() - 1).collect();
        assert!(rest.starts_with("metricsQuery: y"), "{rest:?}");
    }
    let prose = config_map("README: |\n  a: [\n");
    let said: Vec<_> = lint::check(&prose).into_iter().map(|finding| finding.message).collect();
    assert!(said.len() == 2 && said.iter().any(|said| said.contains("bracket")), "{said:?}");
}

#[test]
fn aliased_texts_are_found_where_the_alias_stands() {
    let text = config_map(&format!("{}b: *a\n", block("a: &a |", &rules_file())));
    let text = text.replace("QUERY", QUERY);
    let places: Vec<_> = lint::check(&text).iter().map(|finding| finding.place.unwrap()).collect();
    assert_eq!(places, [Place { line: 7, column: 23 }, Place { line: 8, column: 6 }]);
}

#[test]
fn values_of_the_chart() {
    finds(&values());
    finds(&json(&values()));
    finds(&values().replace("custom:", "\"custom\":").replace("rules:", "'rules':"));
    finds(&values().replace("custom:", "external:").replace("external: []", "custom: []"));
    finds(&format!(
        "prometheus-adapter:\n  enabled: true\n{}other: {{a: [b]}}\n",
        indented(&values(), 2)
    ));
    finds(&format!("monitoring:\n  metrics:\n{}", indented(&values(), 4)));
    finds(&format!("a:\n{}b:\n{}", indented(&values(), 2), indented(&values(), 2)));
    // Anchors and merge keys.
    let shared = format!(
        "x-rule: &rule\n{}rules:\n  default: false\n  custom:\n  - <<: *rule\n",
        indented(RULE, 2)
    );
    finds(&shared);
    let usage = "rules: {default: false, resource: {window: 5m, cpu: {containerQuery: QUERY, containerLabel: c, resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}}}}\n";
    finds(usage);
    for (text, wanted) in [
        ("rules: {costum: []}\n", "1:8: `rules` is neither a list"),
        ("rules: {}\n", "1:8: `rules` is neither a list"),
        ("rules: {default: true, custom: 'x'}\n", "1:32: a list"),
        ("rules: {default: false, custom: {seriesQuery: x}}\n", "1:33: a list"),
        ("loadline: {rules: [{seriesQuery: up}]}\n", "1:1: no rules found"),
    ] {
        let said = lint::check(text)
            .into_iter()
            .find(|finding| finding.severity == Severity::Error)
            .map(|finding| format!("{}: {}", finding.place.unwrap(), finding.message));
        assert!(said.as_ref().is_some_and(|said| said.starts_with(wanted)), "{said:?}\n{text}");
    }
}

#[test]
fn manifests() {
    let manifest = |kind: &str, spec: &str| {
        format!("apiVersion: x/v1\nkind: {kind}\nspec:\n{}", indented(spec, 2))
    };
    let tree = |key: &str| format!("{key}:\n{}", indented(&values(), 2));
    let text = |key: &str| format!("{key}: |\n{}", indented(&values(), 2));
    let helm = |values: String| format!("helm:\n{}", indented(&values, 2));
    let carriers = [
        manifest("HelmRelease", &tree("values")),
        manifest(
            "HelmRelease",
            &format!("values:\n  prometheus-adapter:\n{}", indented(&values(), 4)),
        ),
        manifest("Application", &format!("source:\n{}", indented(&helm(text("values")), 2))),
        manifest("Application", &format!("source:\n{}", indented(&helm(tree("valuesObject")), 2))),
        manifest(
            "Application",
            &format!("sources:\n- ref: a\n-\n{}", indented(&helm(text("values")), 2)),
        ),
        manifest(
            "Application",
            &format!("sources:\n-\n{}", indented(&helm(tree("valuesObject")), 2)),
        ),
        manifest(
            "ApplicationSet",
            &format!("template:\n  spec:\n    source:\n{}", indented(&helm(text("values")), 6)),
        ),
        manifest("HelmChart", &text("valuesContent")),
        manifest("HelmChartConfig", &text("valuesContent")),
        format!(
            "kind: Kustomization\nhelmCharts:\n- name: loadline\n{}",
            indented(&tree("valuesInline"), 2)
        ),
        config_map(&block("config.yaml: |", &rules_file())),
    ];
    for carrier in &carriers {
        finds(carrier);
        finds(&json(carrier));
        // The nearest that is none: the same beside `spec` and `data`, and of another kind.
        for (from, to) in
            [("spec:\n", "status:\n"), ("data:", "annotations:"), ("kind: ", "kind: Other")]
        {
            let other = carrier.replacen(from, to, 1).replace("helmCharts", "charts");
            if other != *carrier {
                let said = refused(&other);
                assert!(said.starts_with("1:1: no rules found in "), "{said}\n{other}");
            }
        }
    }
    // All in one file, and in a list, with others.
    let service = "apiVersion: v1\nkind: Service\n".to_owned();
    let all: Vec<_> = [service].into_iter().chain(carriers).collect();
    finds(&all.join("---\n"));
    let items: String = all.iter().map(|item| format!("-\n{}", indented(item, 2))).collect();
    for kind in ["List", "ConfigMapList"] {
        let list = format!("apiVersion: v1\nkind: {kind}\nitems:\n{items}");
        finds(&list);
        finds(&json(&list));
    }
    for (text, wanted) in [
        ("kind: Service\n", "1:1: no rules found in Service"),
        ("kind: List\nitems: []\n", "1:1: no rules found in `items` of List"),
        (
            "kind: HelmRelease\nspec: {valuesFrom: [{name: a}]}\n",
            "1:1: no rules found in `spec.values` of HelmRelease",
        ),
        (
            "kind: HelmRelease\nspec: {values: {rules: [{seriesQuery: x}]}}\n",
            "2:24: `rules` of the chart's values is a mapping",
        ),
        ("kind: HelmRelease\nspec: {values: {rules: [{apiGroups: []}]}}\n", "1:1: no rules found"),
    ] {
        let said = refused(text);
        assert!(said.starts_with(wanted), "{said}\n{text}");
    }
}

#[test]
fn one_rules_file_can_be_used() {
    let map = config_map(&block("config.yaml: |", &rules_file()));
    assert_eq!(load(&map).unwrap().custom.len(), 1);
    let errors = one(&format!("{map}---\n{map}")).unwrap_err();
    assert_eq!(errors[0].place.map(|place| place.line), Some(14), "{errors:?}");
    // One that can be read is not used where another one cannot.
    let broken = config_map(&block("config.yaml: |", "rules: [{seriesQuery: x\n"));
    assert_eq!(one(&format!("{map}---\n{broken}")).unwrap_err().len(), 1);
}

#[test]
fn base64_stands_for_its_text() {
    let encoded = STANDARD.encode(rules_file().replace("QUERY", QUERY));
    let (head, tail) = encoded.split_at(40);
    for (kind, key) in [("Secret", "data"), ("ConfigMap", "binaryData")] {
        for data in [
            format!("config.yaml: {encoded}\n"),
            format!("config.yaml: \"{encoded}\"\n"),
            format!("tls.key: {}\nconfig.yaml: |\n  {head}\n  {tail}\n", STANDARD.encode([0xff])),
        ] {
            let text = format!("kind: {kind}\n{key}:\n{}", indented(&data, 2));
            let findings = lint::check(&text);
            let warning = findings.iter().find(|finding| finding.severity < Severity::Info);
            let warning = warning.unwrap_or_else(|| panic!("{findings:?}\n{text}"));
            assert_eq!(warning.code, "query-not-understood", "{text}");
            let line = text.lines().position(|line| line.contains(head)).unwrap() + 1;
            assert_eq!(usize::try_from(warning.place.unwrap().line).unwrap(), line, "{text}");
            assert!(load(&text).is_ok(), "{text}");
        }
        let plain = format!("kind: {kind}\n{key}:\n  c: |\n{}", indented(&rules_file(), 4));
        assert!(refused(&plain).starts_with("4:5: base64 is expected here"), "{plain}");
        let other = format!("kind: {kind}\n{key}: {{a: 'no base64', b: YQ==}}\n");
        assert!(refused(&other).starts_with("1:1: no rules found in "), "{other}");
    }
}

#[test]
fn patches() {
    let manifest = config_map(&block("config.yaml: |", &rules_file()));
    let patch = |text: &str| indented(text, 4);
    let operations = format!(
        "- op: remove\n  path: /data/a\n- op: add\n  path: /data/config.yaml\n  value: |\n{}",
        indented(&rules_file(), 4)
    );
    finds(&operations);
    finds(&json(&operations));
    for patches in [
        format!("patches:\n- target: {{kind: ConfigMap}}\n  patch: |-\n{}", patch(&manifest)),
        format!("patches:\n- path: a.yaml\n- patch: |-\n{}", patch(&operations)),
        format!("patchesStrategicMerge:\n- a.yaml\n- |-\n{}", patch(&manifest)),
        format!("patchesJson6902:\n- patch: |-\n{}", patch(&operations)),
    ] {
        finds(&format!("kind: Kustomization\n{patches}"));
    }
    for text in [
        "kind: Kustomization\npatches: [{path: a.yaml}]\n",
        "- {op: add, path: /data, value: {a: b}}\n",
        "- {op: remove, path: /data/a}\n",
    ] {
        assert!(refused(text).starts_with("1:1: no rules found"), "{text}");
    }
}

#[test]
fn a_text_without_indentation_is_told() {
    let text = "kind: ConfigMap\ndata:\n  config.yaml: |\n  rules:\n  - seriesQuery: a\n  - seriesQuery: b\n";
    let wanted = "5:5: this rule is beside the text that it belongs to: indent it below the `|`";
    assert_eq!(refused(text), wanted);
}

#[test]
fn a_text_beside_the_data_that_it_belongs_to_is_told() {
    let text = "kind: ConfigMap\ndata:\nconfig.yaml: |\n  rules:\n  - seriesQuery: a\n";
    let wanted = "3:1: `config.yaml` belongs to `data`: indent it below that, which is empty";
    assert_eq!(refused(text), wanted);
    for other in [
        text.replace("data:\n", "data: {a: b}\n"),
        text.replace("seriesQuery: a", "something: a"),
        text.replace("ConfigMap", "Service"),
    ] {
        assert!(refused(&other).contains("no rules found"), "{other}");
    }
}

#[test]
fn texts_in_texts_end() {
    let mut text = rules_file();
    for _ in 0..MAX_INNER_TEXTS {
        text = config_map(&block("config.yaml: |", &text));
    }
    finds(&text);
    let more = config_map(&block("config.yaml: |", &text));
    assert!(refused(&more).contains("no rules found"));
}

proptest::proptest! {
    /// Pieces of carriers in any order are read without a panic, and what is found stands in the text.
    #[test]
    fn any_text_is_looked_through(pieces in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        let lines = u64::try_from(text.lines().count()).unwrap();
        for finding in lint::check(&text) {
            let place = finding.place.unwrap_or(Place::START);
            assert!(place.line >= 1 && place.column >= 1 && place.line <= lines + 1, "{finding:?}\n{text}");
        }
    }
}

const PIECES: &[&str] = &[
    "kind: ConfigMap\n",
    "kind: List\n",
    "kind: HelmRelease\n",
    "data:\n",
    "items:\n",
    "- ",
    "  ",
    "    ",
    "\n",
    "spec:\n",
    "config.yaml: |\n",
    "a: >-\n",
    "rules:\n",
    "custom:\n",
    "seriesQuery: up\n",
    "metricsQuery: 'a'\n",
    "\"rules\": ",
    "\"\\u003c\\n",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "values:\n",
    "&a ",
    "*a",
    "<<: ",
    "---\n",
    "# c\n",
    "\t",
    "é",
    "\\",
    "default: true\n",
    ": ",
];
