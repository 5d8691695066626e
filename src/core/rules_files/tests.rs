use std::collections::BTreeMap;

use super::*;

mod teams;

const USAGE: &str = "containerQuery: x, resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}, containerLabel: c";

fn rule(series: &str, more: &str) -> String {
    format!(
        "- {{seriesQuery: '{series}', resources: {{overrides: {{ns: {{resource: namespace}}, pod: {{resource: pod}}}}}}, metricsQuery: 'sum(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'{more}}}\n"
    )
}

fn rules(series: &[&str]) -> String {
    format!("rules:\n{}", series.iter().map(|series| rule(series, "")).collect::<String>())
}

fn file(name: &str) -> FileName {
    FileName::InFolder(name.into())
}

fn given(files: &[(&str, &str)]) -> Vec<Given> {
    let given = |(name, text): &(&str, &str)| Given {
        name: match name.strip_prefix("cm:") {
            Some(name) => FileName::config_map("n", name, "r.yaml"),
            None => file(name),
        },
        location: format!("/etc/{name}").into(),
        text: match text.strip_prefix('!') {
            Some(error) => Err(error.to_owned()),
            None => Ok((*text).into()),
        },
    };
    files.iter().map(given).collect()
}

/// The names of all rules, and the series that they select.
fn served(rules: &RuleSet) -> Vec<String> {
    let of_metrics = rules.of_metrics().map(|rule| {
        let base = rule.base();
        format!("{}: {}", base.id, base.selector.text())
    });
    of_metrics.collect()
}

fn lines(files: &RulesFiles) -> Vec<String> {
    files.problems().flat_map(|file| file.lines).collect()
}

fn broken(rules: &RuleSet) -> Vec<(String, String)> {
    rules.broken.iter().map(|problem| (problem.subject(), problem.message.clone())).collect()
}

const STRICT: Requirements = Requirements { is_strict: true, serves_teams: false };

#[track_caller]
fn first(files: &[(&str, &str)]) -> (RulesFiles, RuleSet) {
    let Update { files, rules, .. } = RulesFiles::default().update(given(files));
    (files, rules.unwrap())
}

#[test]
fn a_section_that_has_lost_its_value_replaces_none() {
    let both = format!("externalRules:\n{}{}", rule("e", ""), rules(&["x", "y"]));
    let (files, _) = first(&[("a", &both)]);
    let external = format!("externalRules:\n{}", rule("e", ""));
    for key in ["rules:", "rules: null", "rules: ~"] {
        let cut = files.update(given(&[("a", &format!("{external}{key}\n"))]));
        assert!(cut.rules.is_none(), "{key}");
        let lines = lines(&cut.files);
        assert!(lines[0].contains("2 rules; write `rules: []`"), "{lines:?}");
    }
    // Who writes an empty list means it, and who takes the key out is told what that does.
    let stated = files.update(given(&[("a", &format!("{external}rules: []\n"))]));
    assert_eq!(served(&stated.rules.unwrap()), ["externalRules[0] of a: e"]);
    assert!(!stated.findings.iter().any(|it| it.contains("any more")), "{:?}", stated.findings);
    let without = files.update(given(&[("a", &external)]));
    assert_eq!(served(&without.rules.unwrap()), ["externalRules[0] of a: e"]);
    let told: Vec<_> = without.findings.iter().filter(|it| it.contains("`rules`")).collect();
    assert!(told.len() == 1 && told[0].contains("2 rules"), "{:?}", without.findings);
}

#[test]
fn rules_are_those_of_all_files_in_order() {
    let (files, all) =
        first(&[("a", &rules(&["x", "y"])), ("b", &rules(&["z"])), ("cm:c", &rules(&["w"]))]);
    let wanted = [
        "rules[0] of a: x",
        "rules[1] of a: y",
        "rules[0] of b: z",
        "rules[0] of configmap n/c key r.yaml: w",
    ];
    assert_eq!(served(&all), wanted);
    assert_eq!((files.contents(|_| true).rules, lines(&files).len()), (4, 0));
    let same = files.update(given(&[
        ("a", &rules(&["x", "y"])),
        ("b", &rules(&["z"])),
        ("cm:c", &rules(&["w"])),
    ]));
    assert!(same.rules.is_none() && same.changed.is_empty());
}

#[test]
fn a_broken_file_keeps_its_rules_and_harms_no_other() {
    let (files, _) = first(&[("a", &rules(&["x"])), ("b", &rules(&["y"])), ("c", &rules(&["z"]))]);
    for (wrong, said) in [
        ("rules: [", "/etc/b:1:"),
        ("rulez: []", "/etc/b:1:1: rulez: unknown key"),
        ("!away", "/etc/b: away"),
        ("", "/etc/b: it has no usable rule, and would replace 1"),
        ("rules:\n- seriesQuery: y\n", "/etc/b: it has no usable rule"),
        ("resourceRules: {}", "/etc/b: it has no usable rule"),
        ("resourceRules: {window: 5m}\nrules:\nexternalRules:\n", "/etc/b: it has no usable rule"),
        ("backends: [{name: a, url: x}]", "/etc/b:1:"),
    ] {
        let next =
            files.update(given(&[("a", &rules(&["x"])), ("b", wrong), ("c", &rules(&["new"]))]));
        assert_eq!(
            served(&next.rules.unwrap()),
            ["rules[0] of a: x", "rules[0] of b: y", "rules[0] of c: new"],
            "{wrong}"
        );
        assert_eq!(next.changed, [file("c")]);
        let said_of_it = lines(&next.files);
        assert!(said_of_it[0].starts_with(said), "{said_of_it:?}");
        let current: BTreeMap<_, _> =
            next.files.current().map(|(name, is)| (name.clone(), is)).collect();
        assert_eq!(current, [(file("a"), true), (file("b"), false), (file("c"), true)].into());
        // The text in use again, and then another one.
        let again = next.files.update(given(&[
            ("a", &rules(&["x"])),
            ("b", &rules(&["y"])),
            ("c", &rules(&["new"])),
        ]));
        assert!(again.rules.is_none() && lines(&again.files).is_empty());
        let mended = next.files.update(given(&[
            ("a", &rules(&["x"])),
            ("b", &rules(&["fixed"])),
            ("c", &rules(&["new"])),
        ]));
        assert_eq!(served(&mended.rules.unwrap())[1], "rules[0] of b: fixed");
        assert!(lines(&mended.files).is_empty());
    }
}

#[test]
fn a_file_that_never_was_good_is_left_out_and_its_text_may_be_what_is_meant() {
    let (files, all) =
        first(&[("a", "rules:\n- seriesQuerry: queue_depth\n"), ("b", &rules(&["y"]))]);
    assert_eq!(served(&all), ["rules[0] of b: y"]);
    let problems: Vec<_> = files.problems().collect();
    assert!(problems.len() == 1 && !problems[0].keeps_rules, "{problems:?}");
    let broken = files.broken(&all);
    assert_eq!(broken[0].path, "rules[0].seriesQuerry of a");
    assert!(broken[0].text.contains("queue_depth"));
}

#[test]
fn what_is_gone_is_gone_and_an_empty_list_replaces_rules() {
    let (files, _) = first(&[("a", &rules(&["x"])), ("b", &rules(&["y"]))]);
    let next = files.update(given(&[("b", &rules(&["y"]))]));
    assert_eq!(next.changed, [file("a")]);
    assert_eq!(served(&next.rules.unwrap()), ["rules[0] of b: y"]);
    let next = next.files.update(given(&[("b", "rules: []")]));
    assert_eq!(served(&next.rules.unwrap()), [""; 0]);
    let next = next.files.update(Vec::new());
    assert!(next.files.is_empty());
}

#[test]
fn usage_without_cpu_and_memory_replaces_no_rule() {
    let usage = format!("resourceRules: {{window: 5m, cpu: {{{USAGE}}}}}\n");
    let (files, _) = first(&[("a", &usage)]);
    for truncated in ["resourceRules:\n  window: 5m\n", "resourceRules: {}", "resourceRules:\n"] {
        let next = files.update(given(&[("a", truncated)]));
        assert!(next.rules.is_none() && next.changed.is_empty(), "{truncated}");
        assert!(lines(&next.files)[0].contains("would replace 1 rule"), "{truncated}");
    }
    let meant = files.update(given(&[("a", "resourceRules: {window: 5m}\nrules: []\n")]));
    assert!(meant.rules.is_some() && lines(&meant.files).is_empty());
}

#[test]
fn backends_are_known_in_all_files_and_the_second_of_a_name_is_not_used() {
    let backend = |url: &str| format!("backends: [{{name: eu, url: 'https://{url}'}}]\n");
    let named =
        |series: &str| format!("rules:\n{}{}", rule(series, ", prometheus: eu"), rule("own", ""));
    let (files, all) = first(&[
        ("a", &named("x")),
        ("b", &backend("first")),
        ("c", &(backend("second") + &named("z"))),
        ("cm:d", &named("w")),
    ]);
    let hosts: Vec<_> = all.backends.iter().map(|it| it.url.host_str().unwrap()).collect();
    assert_eq!(hosts, ["first"]);
    let wanted = [
        "rules[0] of a: x",
        "rules[1] of a: own",
        "rules[1] of c: own",
        "rules[0] of configmap n/d key r.yaml: w",
        "rules[1] of configmap n/d key r.yaml: own",
    ];
    assert_eq!(served(&all), wanted, "no rule of c asks the server of b");
    let broken = broken(&all);
    assert_eq!(broken[0].0, "backends[0].name of c");
    assert!(broken[0].1.starts_with("b has the backend `eu`, too"), "{broken:?}");
    assert_eq!(broken[1].0, "rules[0].prometheus of c");
    assert!(lines(&files).is_empty());
    // The backend goes with its file: the rules that name it are left out, and the others stay.
    let next = files.update(given(&[("a", &named("x")), ("cm:d", &named("w"))]));
    assert_eq!(served(&next.rules.unwrap()).len(), 2);
}

#[test]
fn what_may_occur_once_is_that_of_the_first_file() {
    let usage = |keys: &str| format!("resourceRules: {{{keys}}}\n");
    let cpu = format!("cpu: {{{USAGE}}}");
    let memory = format!("memory: {{{USAGE}}}");
    let teams = "teamRules: {namespaceLabel: ns}\n";
    let delegate = "delegates: [{name: keda, url: 'https://x:1'}]\n";
    let (_, all) = first(&[
        ("a", &(usage(&format!("{cpu}, window: 2m")) + teams + delegate)),
        ("b", &(usage(&format!("{cpu}, {memory}, window: 9m")) + teams + delegate)),
    ]);
    let resource = all.resource.as_ref().unwrap();
    assert_eq!(resource.cpu.as_ref().unwrap().id.to_string(), "resourceRules.cpu of a");
    assert_eq!(resource.memory.as_ref().unwrap().id.to_string(), "resourceRules.memory of b");
    assert_eq!((resource.window.as_secs(), all.delegates.len()), (120, 1));
    let subjects: Vec<_> = broken(&all).into_iter().map(|(subject, _)| subject).collect();
    let wanted = [
        "delegates[0].name of b",
        "resourceRules.cpu of b",
        "resourceRules.window of b",
        "teamRules of b",
    ];
    assert_eq!(subjects, wanted);
    assert!(broken(&all).iter().all(|(_, message)| message.starts_with("a has ")));
}

#[test]
fn a_config_map_has_rules_and_nothing_else() {
    let text = format!(
        "backends: [{{name: evil, url: 'https://x'}}]\nresourceRules: {{cpu: {{{USAGE}}}}}\nteamRules: {{}}\ndelegates: [{{name: evil, url: 'https://x'}}]\n{}{}externalRules:\n{}",
        rules(&["x"]),
        rule("y", ", prometheus: evil"),
        rule("q", ""),
    );
    let (files, all) = first(&[("cm:a", &text)]);
    let name = "configmap n/a key r.yaml";
    assert_eq!(
        served(&all),
        [format!("rules[0] of {name}: x"), format!("externalRules[0] of {name}: q")]
    );
    assert!(all.backends.is_empty() && all.delegates.is_empty() && all.resource.is_none());
    let subjects: Vec<_> = broken(&all).into_iter().map(|(subject, _)| subject).collect();
    let keys = ["backends", "resourceRules", "teamRules", "delegates", "rules[1].prometheus"];
    assert_eq!(subjects, keys.map(|key| format!("{key} of {name}")));
    assert!(lines(&files).is_empty());
}

#[test]
fn patterns_of_config_maps_share_what_a_namespace_may_take() {
    let large = rule("up", ", name: {matches: '\\pL{100}', as: x}");
    let text = format!("rules:\n{}", large.repeat(2));
    let (_, all) = first(&[("a", &text), ("cm:a", &text), ("cm:b", &text)]);
    assert_eq!(all.custom.len(), 4, "{:?}", broken(&all));
    assert!(broken(&all).iter().all(|(_, message)| message.contains("too large")));
    let small = rule("up", ", name: {matches: '^(.*)_total$', as: x}");
    let (_, all) = first(&[("cm:a", &format!("rules:\n{}", small.repeat(500)))]);
    assert_eq!((all.custom.len(), all.broken.len()), (500, 0), "what people write has room");
}

#[test]
fn a_strict_file_with_a_rule_that_does_not_compile_is_not_used() {
    let half =
        rules(&["new"]) + "- {seriesQuery: y, metricsQuery: '<<', resources: {overrides: {}}}\n";
    let lenient = RulesFiles::default().update(given(&[("a", &half), ("b", &rules(&["z"]))]));
    assert_eq!(served(&lenient.rules.unwrap()).len(), 2);
    let strict =
        RulesFiles::new(STRICT).update(given(&[("a", &rules(&["x"])), ("b", &rules(&["z"]))]));
    let strict = strict.files.update(given(&[("a", &half), ("b", &rules(&["w"]))]));
    assert_eq!(served(strict.rules.as_ref().unwrap()), ["rules[0] of a: x", "rules[0] of b: w"]);
    assert!(lines(&strict.files)[0].starts_with("/etc/a:3:"), "{:?}", lines(&strict.files));
}

#[test]
fn what_was_refused_because_of_another_file_is_tried_again_with_it() {
    let named = format!("rules:\n{}", rule("x", ", prometheus: eu"));
    let backend = "backends: [{name: eu, url: 'https://host'}]\n";
    let start = RulesFiles::new(STRICT).update(given(&[("a", &named), ("b", &rules(&["y"]))]));
    assert_eq!(served(&start.rules.unwrap()), ["rules[0] of b: y"]);
    let both = backend.to_owned() + &rules(&["y"]);
    let next = start.files.update(given(&[("a", &named), ("b", &both)]));
    assert_eq!(served(&next.rules.unwrap()), ["rules[0] of a: x", "rules[0] of b: y"]);
    assert!(lines(&next.files).is_empty());
}

#[test]
fn findings_are_told_with_the_text_and_what_files_do_to_each_other_when_it_begins() {
    let unused = "backends: [{name: other, url: 'https://x'}]\n".to_owned() + &rules(&["x"]);
    let start = RulesFiles::default().update(given(&[("a", &unused)]));
    assert!(start.findings[0].starts_with("/etc/a:1:"), "{:?}", start.findings);
    let next = start.files.update(given(&[("a", &unused), ("b", &rules(&["y"]))]));
    assert!(next.findings.is_empty(), "{:?}", next.findings);
    let next = next
        .files
        .update(given(&[("a", &unused), ("b", &(rules(&["y"]) + &rule("x", ", nan: drop")))]));
    let [told] = next.findings.as_slice() else { panic!("{:?}", next.findings) };
    assert!(
        told.starts_with("/etc/a:3:") && told.contains("rules[1] of b also serves `x`"),
        "{told}"
    );
}

#[test]
fn a_text_without_anything_replaces_neither_servers_nor_what_teams_may_do() {
    let named = format!("rules:\n{}", rule("x", ", prometheus: eu"));
    for servers in [
        "backends: [{name: eu, url: 'https://host'}]\n",
        "backends: [{name: eu, url: 'https://host'}]\nteamRules: {namespaceLabel: ns}\n",
        "delegates: [{name: keda, url: 'https://x:1'}]\nbackends: [{name: eu, url: 'https://y'}]\n",
    ] {
        let (files, _) = first(&[("a", servers), ("b", &named)]);
        assert!(!files.contents(|name| *name == file("a")).is_empty());
        for empty in ["", "{}", "# nothing\n"] {
            let next = files.update(given(&[("a", empty), ("b", &named)]));
            assert!(next.rules.is_none(), "{servers}: {empty:?}");
            assert!(lines(&next.files)[0].contains("`backends`"), "{:?}", lines(&next.files));
        }
        // Some of them may go, and all where that is said.
        for said in ["teamRules: {}", "rules: []"] {
            let next = files.update(given(&[("a", said), ("b", &named)]));
            assert_eq!(served(&next.rules.unwrap()), [""; 0]);
        }
    }
}

#[test]
fn delegates_do_not_say_that_no_rules_are_wanted() {
    let delegate = "delegates: [{name: keda, url: 'https://x:1'}]\n";
    let (files, _) = first(&[("a", &(delegate.to_owned() + &rules(&["x"])))]);
    let next = files.update(given(&[("a", delegate)]));
    assert!(next.rules.is_none() && lines(&next.files)[0].contains("would replace 1 rule"));
    let next = files.update(given(&[("a", &(delegate.to_owned() + "rules: []"))]));
    assert!(next.rules.is_some() && lines(&next.files).is_empty());
    let (files, _) = first(&[("a", delegate)]);
    let other = "delegates: [{name: other, url: 'https://x:1'}]\n";
    assert!(files.update(given(&[("a", other)])).rules.is_some());
}

#[test]
fn a_long_chain_of_refusals_ends_with_all_texts_of_who_writes_them() {
    // Each file has the backend of the next one, so that each refusal brings about another.
    let link = |n: usize| {
        let before = n.saturating_sub(1);
        let backend = format!("backends: [{{name: b{n}, url: 'https://host'}}]\n");
        let missing = if n == 0 { "none".to_owned() } else { format!("b{before}") };
        format!("{backend}rules:\n{}", rule("x", &format!(", prometheus: {missing}")))
    };
    let texts: Vec<_> = (0..30).map(|n| (format!("{n:02}"), link(n))).collect();
    let mut files: Vec<_> = texts.iter().map(|(name, text)| (&**name, &**text)).collect();
    let other = rules(&["y"]);
    files.push(("cm:other", &other));
    let next = RulesFiles::new(STRICT).update(given(&files));
    assert_eq!(served(&next.rules.unwrap()), ["rules[0] of configmap n/other key r.yaml: y"]);
    let alone = |file: &FileProblems| file.lines[0].contains("tried again");
    assert_eq!(next.files.problems().filter(alone).count(), texts.len() - MAX_ROUNDS);
    // The cause is mended, and all of them are used.
    let mended = link(0).replace(", prometheus: none", "");
    files[0].1 = &mended;
    let next = next.files.update(given(&files));
    assert!(lines(&next.files).is_empty(), "{:?}", lines(&next.files));
}

#[test]
fn what_is_told_of_a_file_says_what_becomes_of_it() {
    let (files, _) = first(&[("a", &rules(&["x"]))]);
    let next = files.update(given(&[("a", "rulez: []\nother: 1\n"), ("b", "rules: [")]));
    let told = |file: &FileProblems| file.told().collect::<Vec<_>>();
    let told: Vec<_> = next.files.problems().map(|file| told(&file)).collect();
    let keeps = |line: &String| line.contains("previous rules");
    assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(told.concat().iter().map(keeps).collect::<Vec<_>>(), [true, false, false]);
    assert!(told[1][0].contains("left out"));
}

#[test]
fn files_that_are_not_used_come_first_among_what_may_be_meant() {
    let wrong = "- {seriesQuery: '{', metricsQuery: '<<'}\n";
    let many = format!("rules:\n{}", wrong.repeat(300));
    let (files, all) = first(&[("cm:a", &many), ("cm:b", "rules:\n- seriesQuerry: queue_depth\n")]);
    let broken = files.broken(&all);
    assert_eq!(broken[0].path, "rules[0].seriesQuerry of configmap n/b key r.yaml");
    assert_eq!(broken.len(), 100);
}

#[test]
fn who_comes_later_takes_no_name_of_a_file_in_use() {
    let backend = |url: &str| format!("backends: [{{name: eu, url: 'https://{url}'}}]\n");
    let hosts = |rules: &RuleSet| -> Vec<_> {
        rules.backends.iter().map(|it| it.url.host_str().unwrap().to_owned()).collect()
    };
    let (old, new, changed) = (backend("old"), backend("new"), backend("changed"));
    let (files, _) = first(&[("b", &old), ("c", &rules(&["x"]))]);
    let next = files.update(given(&[("a", &new), ("b", &old), ("c", &rules(&["x"]))]));
    let all = next.rules.unwrap();
    assert_eq!(hosts(&all), ["old"]);
    assert_eq!(broken(&all)[0].0, "backends[0].name of a");
    // Neither does a change of either file, or of another one, decide anew.
    let next = next.files.update(given(&[("a", &new), ("b", &changed), ("c", &rules(&["y"]))]));
    assert_eq!(hosts(&next.rules.unwrap()), ["changed"]);
    let next = next.files.update(given(&[("a", &new), ("c", &rules(&["y"]))]));
    assert_eq!(hosts(&next.rules.unwrap()), ["new"]);
}

#[test]
fn who_comes_later_takes_no_memory_for_patterns_of_texts_in_use() {
    let of_series = |series: &str| {
        let large = rule(series, ", name: {matches: '\\pL{100}', as: x}");
        format!("rules:\n{}", large.repeat(2))
    };
    let (large, later) = (of_series("up"), of_series("down"));
    let of = |rules: &RuleSet, name: &str| {
        served(rules).iter().filter(|rule| rule.contains(&format!("n/{name} "))).count()
    };
    let (files, all) = first(&[("cm:a", "rules: []"), ("cm:b", &large)]);
    assert_eq!(of(&all, "b"), 2);
    // A file that has changed is one that comes later.
    let next = files.update(given(&[("cm:a", &later), ("cm:b", &large)]));
    assert!(next.rules.as_ref().is_none_or(|all| (of(all, "a"), of(all, "b")) == (0, 2)));
    let small = rules(&["y"]);
    let next = next.files.update(given(&[("z", &small), ("cm:a", &later), ("cm:b", &large)]));
    let all = next.rules.unwrap();
    assert_eq!((of(&all, "a"), of(&all, "b"), served(&all).len()), (0, 2, 3));
}

#[test]
fn patterns_of_the_files_of_a_folder_share_what_they_may_take() {
    let large = rule("up", ", name: {matches: '\\pL{100}', as: x}");
    let text = format!("rules:\n{}", large.repeat(5));
    let (_, all) = first(&[("a", &text), ("b", &text)]);
    assert_eq!(all.custom.len(), 8, "{:?}", broken(&all));
}

#[test]
fn of_many_problems_the_first_are_listed() {
    let text = format!("rules:\n{}", "- {seriesQuery: '{', metricsQuery: '<<'}\n".repeat(3_000));
    for (name, most) in [("cm:a", 100), ("a", 1_000)] {
        let (files, all) = first(&[(name, &text), ("b", &rules(&["x"]))]);
        let (last, listed) = all.broken.split_last().unwrap();
        assert_eq!((served(&all).len(), listed.len()), (1, most));
        assert!(last.message.contains("more problems are not listed"), "{last:?}");
        assert!(files.broken(&all).len() <= most + 1);
    }
}
