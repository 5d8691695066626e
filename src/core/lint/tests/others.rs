//! Rules among each other, and rules that are not about custom metrics.

use super::*;

#[test]
fn rules_among_each_other() {
    let rules = |rules: &[String]| {
        format!(
            "rules:\n{}",
            rules.iter().map(|rule| rule.replace("rules:\n", "")).collect::<String>()
        )
    };
    let warning = Severity::Warning;
    let among = |code, with: [String; 2], without: [String; 2]| {
        tells(code, warning, &rules(&with), &rules(&without));
    };
    let up = |more: &str| rule("up", SUM, more);
    among("duplicate-rule", [up(""), up("")], [up(""), up("name: {as: x}")]);
    let twice = "metric-claimed-twice";
    among(twice, [up(""), up("nan: drop")], [up(""), up("name: {as: x}")]);
    let named = |series: &str| rule(series, SUM, "name: {as: load}");
    among(twice, [named("a"), named("b")], [named("a"), rule("b", SUM, "")]);
    let nodes = "resources: {overrides: {node: {resource: node}}}, name: {as: load}";
    among(twice, [named("a"), named("b")], [named("a"), rule("b", SUM, nodes)]);
    let any = |more: &str| rule("{a=\"b\"}", SUM, more);
    among(twice, [any(""), any("nan: drop")], [any(""), any("seriesFilters: [{is: x}]")]);
    let shadowed = check(&rules(&[named("a"), named("b")]));
    assert_eq!(shadowed[0].path.to_string(), "rules[0]");
    assert!(shadowed[0].message.starts_with("rules[1] also serves `load` of"), "{shadowed:?}");

    let backends = "backends: [{name: other, url: \"http://x\"}]\n";
    tells(
        "unused-backend",
        warning,
        &(backends.to_owned() + &up("")),
        &(backends.to_owned() + &up("prometheus: other")),
    );
    for (with, without) in [
        ("tokenFile: /run/token", "tokenFile: /etc/loadline/token"),
        ("authInCluster: true", "caFile: /etc/loadline/ca"),
        ("authConfig: /etc/../kubeconfig", "authConfig: /etc/loadline/kubeconfig"),
    ] {
        let of = |key| {
            format!("backends: [{{name: other, url: \"https://x\", {key}}}]\n")
                + &up("prometheus: other")
        };
        tells("credentials-refused", warning, &of(with), &of(without));
        let policy = CredentialPolicy {
            folders: ["/run".into()].into(),
            in_cluster_hosts: vec![".x".parse().unwrap(), "x:443".parse().unwrap()],
            ..CredentialPolicy::default()
        };
        let of_flags = check_with(&of(with), &policy, None);
        assert_eq!(of_flags.is_empty(), !with.contains(".."), "{of_flags:?}");
    }
    let plain =
        backends.replace("x\"", "x\", tokenFile: /etc/loadline/token") + &up("prometheus: other");
    let secure = plain.replace("http:", "https:");
    tells("credentials-refused", warning, &plain, &secure);
    // The server knows its flags, and tells itself what it refuses.
    let carried = embedded::one(&plain).unwrap();
    let rules = rules::compile(&carried.rules).unwrap();
    assert_eq!(check_set(vec![(FileName::Config, carried)], &rules, None), []);
    // Nor is a backend unused whose rule does not compile.
    let broken = backends.to_owned() + &rule("up", "<<.X>>", "prometheus: other");
    assert_eq!(codes(&broken), ["broken-rule"]);
}

#[test]
fn files_that_are_used_together() {
    let file = |name: &str| FileName::InFolder(name.into());
    let named = |series: &str, more: &str| rule(series, SUM, &format!("name: {{as: load}}{more}"));
    let found = |files: &[(&str, String)]| -> Vec<_> {
        let files: Vec<_> =
            files.iter().map(|(name, text)| (file(name), text.as_str().into())).collect();
        let found = check_files(&files, &CredentialPolicy::default());
        let all = found.into_iter().flat_map(|(file, findings)| {
            findings.into_iter().map(move |it| (file.to_string(), it.code, it.message))
        });
        all.filter(|(_, code, _)| *code != "backend-over-http").collect()
    };
    let twice = found(&[("a", named("x", "")), ("b", named("y", ""))]);
    let [(file, code, message)] = twice.as_slice() else { panic!("{twice:?}") };
    assert_eq!((file.as_str(), *code), ("a", "metric-claimed-twice"));
    assert!(message.starts_with("rules[0] of b also serves `load` of"), "{message}");

    let backends = "backends: [{name: other, url: \"https://x\"}]\n";
    assert_eq!(found(&[("a", backends.to_owned()), ("b", named("x", ", prometheus: other"))]), []);
    let unused = found(&[("a", backends.to_owned()), ("b", named("x", ""))]);
    assert_eq!(unused[0].1, "unused-backend", "{unused:?}");

    let codes = |files: &[(&str, String)]| -> Vec<_> {
        found(files).into_iter().map(|(file, code, _)| (file, code)).collect()
    };
    let one_is_broken = codes(&[
        ("a", "rules: [".to_owned()),
        ("b", named("x", "")),
        ("c", "rulez: []".to_owned()),
        ("d", named("x", "")),
    ]);
    let wanted = [("a", "invalid-file"), ("c", "invalid-file"), ("d", "duplicate-rule")];
    assert_eq!(one_is_broken, wanted.map(|(file, code)| (file.to_owned(), code)));
}

#[test]
fn a_file_without_rules_says_that_none_are_wanted() {
    let backends = "backends: [{name: other, url: \"http://x\"}]\n";
    let empty = ["", "# nothing\n", "rules:\n", "{}", "rules: ~\nexternalRules:\n", backends];
    for text in empty {
        for meant in ["rules: []", "externalRules: []", "resourceRules: {}", &rule("up", SUM, "")] {
            tells("no-rules", Severity::Warning, text, meant);
        }
    }
    let note = Severity::Info;
    tells("no-resource-rules", note, "resourceRules: {}", "resourceRules: ~\nrules: []");
    tells("no-resource-rules", note, "resourceRules: {window: 1m}", "rules: []");
    // What does not compile is a rule all the same.
    assert_eq!(codes(&rule("up", "<<.X>>", "")), ["broken-rule"]);
}

#[test]
fn external_rules() {
    let rule =
        |query: &str, more: &str| rule("queue", query, more).replace("rules:", "externalRules:");
    let sum = "sum(<<.Series>>{<<.LabelMatchers>>})";
    let warning = Severity::Warning;
    tells(
        "zero-for-missing",
        Severity::Info,
        &rule(sum, "onEmpty: zero"),
        &rule(sum, "onEmpty: omit"),
    );
    tells(
        "value-for-missing",
        Severity::Info,
        &rule(sum, "onEmpty: 500m"),
        &rule(sum, "onEmpty: 0"),
    );
    let of = |series: &str, more: &str| {
        let text = rule(sum, more).replace("queue", series);
        assert!(text.contains(series), "{text}");
        text
    };
    for (series, others) in [
        ("busy{pod!=\"\"}", "busy{name!=\"\"}"),
        ("busy{exported_pod=~\".+\"}", "busy{pod=~\".*\"}"),
    ] {
        let zero = of(series, "onEmpty: zero");
        tells("zero-of-pods", Severity::Info, &zero, &of(others, "onEmpty: zero"));
        tells("zero-of-pods", Severity::Info, &zero, &of(series, "onEmpty: 5"));
    }
    tells("namespace-ignored", warning, &rule("sum(queue)", ""), &rule(sum, ""));
    tells(
        "namespace-ignored",
        warning,
        &rule("sum(queue)", ""),
        &rule("sum(queue)", "resources: {namespaced: false}"),
    );
    tells(
        "namespace-ignored",
        warning,
        &rule("sum(queue)", ""),
        &rule("sum(queue{namespace=\"a\"})", ""),
    );
    let by = "sum(<<.Series>>{<<.LabelMatchers>>}) by (name)";
    tells("several-values", Severity::Info, &rule(by, ""), &rule(by, "aggregate: max"));
    tells("several-values", Severity::Info, &rule(by, ""), &rule(sum, ""));
    tells(
        "query-not-understood",
        warning,
        &rule("sum(", ""),
        &rule("scalar(sum(queue{<<.LabelMatchers>>}))", ""),
    );
    tells("template-fails", warning, &rule("<<index .GroupBySlice 0>>", ""), &rule(sum, ""));
    // A scalar is served, and nothing else is said of what is not.
    let scalar = rule("scalar(sum(queue{<<.LabelMatchers>>}))", "");
    for query in ["queue{<<.LabelMatchers>>}[1m]", "\"queue\"", "queue{<<.LabelMatchers>>}[5m:1m]"]
    {
        tells("not-a-vector", warning, &rule(query, ""), &scalar);
        assert_eq!(codes(&rule(query, "")), ["not-a-vector"], "{query}");
    }
}

#[test]
fn resource_rules() {
    let cpu = |query: &str| {
        format!(
            "resourceRules:\n  cpu:\n    containerQuery: {query}\n    containerLabel: container\n    resources: {PODS}\n"
        )
    };
    let memory = |query: &str| cpu(query).replace("cpu:", "memory:");
    let warning = Severity::Warning;
    let rate = "sum(rate(x_seconds_total{<<.LabelMatchers>>}[3m])) by (<<.GroupBy>>)";
    let bytes = "sum(x_bytes{<<.LabelMatchers>>}) by (<<.GroupBy>>)";
    tells("label-aggregated-away", warning, &cpu(&rate.replace("<<.GroupBy>>", "pod")), &cpu(rate));
    tells(
        "several-samples-per-object",
        warning,
        &memory("x_bytes{<<.LabelMatchers>>}"),
        &memory(bytes),
    );
    tells("cpu-without-rate", warning, &cpu(&bytes.replace("x_bytes", "x_total")), &cpu(rate));
    tells("cpu-without-rate", warning, &cpu(&bytes.replace("x_bytes", "x_total")), &cpu(bytes));
    tells(
        "rate-of-memory",
        warning,
        &memory(&rate.replace("x_seconds_total", "x")),
        &memory(bytes),
    );
    tells("no-label-matchers", warning, &cpu(&rate.replace("<<.LabelMatchers>>", "")), &cpu(rate));
    tells("query-not-understood", warning, &cpu("sum("), &cpu(rate));
    let dialect = cpu("sum(rollup_rate(x_seconds_total[3m]))");
    tells("query-not-understood", Severity::Info, &dialect, &cpu(rate));
    let paths: Vec<_> =
        check(&cpu("sum(")).into_iter().map(|finding| finding.path.to_string()).collect();
    assert_eq!(paths, ["resourceRules.cpu.containerQuery"]);
}

#[test]
fn names_in_quotes_are_names() {
    let labels =
        "resources: {overrides: {k8s.ns: {resource: namespace}, k8s.pod.name: {resource: pod}}}";
    let custom = rule("{\"http.requests\"}", RATE, labels);
    let usage = format!(
        "resourceRules:\n  cpu:\n    containerQuery: 'sum(rate({{\"cpu.time\",<<.LabelMatchers>>}}[3m])) by (<<.GroupBy>>)'\n    containerLabel: k8s.container.name\n    {labels}\n"
    );
    assert_eq!(check(&format!("{custom}{usage}")), []);
}

#[test]
fn characters_that_nobody_sees_are_told() {
    let code = "invisible-character";
    let template =
        |end: &str| rule("up", SUM, &format!("resources: {{template: \"<<.Resource>>{end}\"}}"));
    tells(code, Severity::Warning, &template("\\u200b"), &template("_x"));
    let label = |pod: &str| {
        rule(
            "up",
            SUM,
            &format!(
                "resources: {{overrides: {{\"{pod}\": {{resource: pod}}, namespace: {{resource: namespace}}}}}}"
            ),
        )
    };
    tells(code, Severity::Warning, &label("pod\\ufeff"), &label("pod"));
    tells(
        code,
        Severity::Warning,
        &rule("up{a=\"\u{a0}b\"}", SUM, ""),
        &rule("up{a=\"é b\"}", SUM, ""),
    );
    let found = check(&template("\\u200b"));
    let found = found.iter().find(|finding| finding.code == code).unwrap();
    assert!(found.message.contains("U+200B"), "{found:?}");
    assert_eq!(found.path.to_string(), "rules[0].resources.template");
}

#[test]
fn a_label_with_dots_is_one_key() {
    let text = "rules:\n- seriesQuery: up\n  metricsQuery: up\n  resources:\n    overrides:\n      a.b: {resource: deplyoment}\n";
    let found = check(text).into_iter().find(|finding| finding.code == "unknown-kind").unwrap();
    assert_eq!(found.path.to_string(), "rules[0].resources.overrides.a.b");
    assert_eq!(found.place.unwrap().line, 6, "that of the label, not of the rule");
}
