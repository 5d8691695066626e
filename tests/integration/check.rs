//! `loadline check`: what it prints in each form, and how it ends.

use std::{
    fs,
    io::Write as _,
    os::fd::OwnedFd,
    process::{Output, Stdio},
};

use tempfile::TempDir;

use crate::support::process::loadline;

/// A warning of one rule, a note about the other.
const DOUBTFUL: &str = "\
rules:
- seriesQuery: requests_total
  resources: &resources {overrides: {pod: {resource: pod}, namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: queue
  resources: *resources
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
  onEmpty: zero
";

/// Errors of the first rule, a warning of the second.
const BROKEN: &str = "\
rules:
- seriesQuery: up
  name: {matches: \"(\"}
  metricsQuery: <<.Serie>>
- seriesQuery: 'up{a=\"x\",a=\"y\"}'
  resources: {overrides: {node: {resource: node}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
";

/// Nothing is to be said of this one.
const SOUND: &str = "\
rules:
- seriesQuery: queue
  resources: {overrides: {pod: {resource: pod}, namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
";

/// Runs in a folder with files of these names and contents, so that what is printed does not depend on where that is.
fn check(files: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = folder(files);
    let mut command = loadline(&[&["check"], arguments].concat());
    let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    ended(&output)
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn findings_for_people() {
    let files = [("doubtful.yaml", DOUBTFUL), ("broken.yaml", BROKEN)];
    let (code, stdout, stderr) = check(&files, &["-c", "doubtful.yaml", "broken.yaml"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!("text", format!("{stdout}\n{stderr}"));
}

#[test]
fn findings_for_programs() {
    let files = [("doubtful.yaml", DOUBTFUL), ("broken.yaml", BROKEN)];
    let all = ["-v", "--config=doubtful.yaml", "--config=broken.yaml"];
    let (_, json, stderr) = check(&files, &[&all[..], &["--output=json"]].concat());
    assert_eq!(stderr, "");
    serde_json::from_str::<Vec<serde_json::Value>>(&json).unwrap();
    insta::assert_snapshot!("json", json);
    let (_, github, stderr) = check(&files, &[&all[..], &["-o", "github"]].concat());
    assert_eq!(stderr, "");
    insta::assert_snapshot!("github", github);
    let (code, json, _) = check(&[("sound.yaml", SOUND)], &["-o", "json", "sound.yaml"]);
    assert_eq!((code, json.as_str()), (Some(0), "[]\n"));
}

#[test]
fn exit_codes() {
    let files = [("doubtful", DOUBTFUL), ("broken", BROKEN), ("sound", SOUND), ("binary", "\0")];
    let cases: &[(&[&str], i32)] = &[
        (&["sound"], 0),
        (&["sound", "--strict"], 0),
        (&["doubtful"], 0),
        (&["doubtful", "--strict"], 1),
        (&["broken"], 1),
        (&["sound", "broken"], 1),
        (&["binary"], 1),
        (&["-c", "nowhere"], 2),
        (&["nowhere", "broken"], 2),
        (&["."], 2),
        (&[], 2),
        (&["--output=xml", "sound"], 2),
        (&["--strikt", "sound"], 2),
    ];
    for (arguments, wanted) in cases {
        let (code, stdout, stderr) = check(&files, arguments);
        assert_eq!(code, Some(*wanted), "{arguments:?}: {stdout}{stderr}");
    }
    // The others are checked all the same.
    let (_, stdout, stderr) = check(&files, &["nowhere", "broken"]);
    assert!(stdout.contains("broken:4:17: error: rules[0].metricsQuery"), "{stdout}");
    assert!(stderr.contains("loadline: cannot read nowhere: "), "{stderr}");
    // Notes count for nobody, even if they are told.
    let noted = DOUBTFUL.replace("requests_total", "requests");
    let (code, stdout, _) = check(&[("noted", &noted)], &["noted", "--strict", "-v"]);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("info: rules[1].onEmpty: "), "{stdout}");
}

#[test]
fn a_sound_file_needs_no_words() {
    let (code, stdout, stderr) = check(&[("sound.yaml", SOUND)], &["-v", "sound.yaml"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert_eq!(stderr, "nothing found in sound.yaml\n");
}

#[test]
fn rules_of_teams_are_checked_by_the_rules_file_among_the_files() {
    let rules = "rules: []\nteamRules: {namespaceLabel: ns}\nbackends: [{name: long, url: 'http://a', teamRules: true}]\n";
    let team = "apiVersion: loadline.dev/v1alpha1
kind: MetricRule
metadata: {name: depth, namespace: shop}
spec: {metric: depth, target: external, query: max(depth), backend: long}
";
    let files =
        [("rules.yaml", rules), ("team.yaml", team), ("bad.yaml", &team.replace("long", "x"))];
    for arguments in [["-c", "rules.yaml", "team.yaml"], ["team.yaml", "-c", "rules.yaml"]] {
        let (code, stdout, _) = check(&files, &[&["-v"], &arguments[..]].concat());
        assert_eq!(code, Some(0), "{stdout}");
        assert!(stdout.contains(r#"max(depth{ns="shop"})"#), "{stdout}");
    }
    let (code, stdout, _) = check(&files, &["rules.yaml", "bad.yaml"]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("bad.yaml:4:") && stdout.contains("spec.backend"), "{stdout}");
    assert_eq!(check(&files, &["bad.yaml"]).0, Some(0), "nobody says which backends there are");
    // A folder says it by all of its files together.
    let (teams, backends) = rules.split_at(rules.find("backends").unwrap());
    let folder = folder(&files);
    fs::create_dir(folder.path().join("rules.d")).unwrap();
    fs::write(folder.path().join("rules.d/a.yaml"), teams).unwrap();
    fs::write(folder.path().join("rules.d/b.yaml"), backends).unwrap();
    for (team, code) in [("team.yaml", 0), ("bad.yaml", 1)] {
        let mut command = loadline(&["check", "-v", "-c", "rules.d", team]);
        let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
        let (ended, stdout, _) = ended(&output);
        assert_eq!(ended, Some(code), "{stdout}");
        assert_eq!(stdout.contains(r#"max(depth{ns="shop"})"#), code == 0, "{stdout}");
    }
}

#[test]
fn a_file_of_a_folder_that_cannot_be_read_hides_nothing_of_the_others() {
    let folder = folder(&[]);
    fs::create_dir(folder.path().join("rules.d")).unwrap();
    fs::write(folder.path().join("rules.d/a.yaml"), BROKEN).unwrap();
    fs::write(folder.path().join("rules.d/b.yaml"), b"\xff\xfer\0:\0").unwrap();
    fs::write(folder.path().join("rules.d/c.yaml"), b"\xe9: 1").unwrap();
    for arguments in [&["rules.d"][..], &["rules.d/a.yaml", "rules.d/b.yaml", "rules.d/c.yaml"]] {
        let mut command = loadline(&[&["check", "-o", "json"], arguments].concat());
        let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
        let (code, stdout, stderr) = ended(&output);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stdout.contains("broken-rule"), "{stdout}");
        assert!(stderr.contains("UTF-16") && stderr.contains("not in UTF-8"), "{stderr}");
    }
}

#[test]
fn standard_input() {
    let mut child = loadline(&["check", "-c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(BROKEN.as_bytes()).unwrap();
    let (code, stdout, stderr) = ended(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stdout.starts_with("<stdin>:3:19: error: rules[0].name.matches: "), "{stdout}");
}

#[test]
fn colours_are_for_terminals() {
    let folder = folder(&[("broken.yaml", BROKEN)]);
    let run = |variables: &[(&str, &str)]| {
        let mut command = loadline(&["check", "broken.yaml"]);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.envs(variables.iter().copied()).current_dir(folder.path());
        ended(&command.output().unwrap()).1
    };
    assert!(!run(&[]).contains('\x1b'));
    assert!(run(&[("CLICOLOR_FORCE", "1")]).contains("\x1b[1m"));
    assert!(!run(&[("NO_COLOR", "1")]).contains('\x1b'));
}

#[test]
fn what_a_file_says_does_not_move_the_cursor() {
    let text = "rules: [{seriesQuery: up, \"\\e[2Jx\": 1}]";
    let (_, stdout, _) = check(&[("odd.yaml", text)], &["odd.yaml"]);
    assert!(stdout.contains("unknown key") && !stdout.contains('\x1b'), "{stdout:?}");
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let text = "#".repeat(5 << 20);
    let (code, stdout, _) = check(&[("large.yaml", &text)], &["large.yaml"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("are the most that is read"), "{stdout}");
}

#[test]
fn a_closed_output_is_an_error_without_a_panic() {
    let folder = folder(&[("broken.yaml", BROKEN)]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = loadline(&["check", "broken.yaml"])
        .current_dir(folder.path())
        .stdout(Stdio::from(OwnedFd::from(writer)))
        .output()
        .unwrap();
    let (code, _, stderr) = ended(&output);
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("loadline: standard output: "), "{stderr}");
}

#[test]
fn help() {
    let (code, stdout, _) = check(&[], &["--help"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("help", stdout);
}
