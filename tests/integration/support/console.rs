//! Sessions in Markdown: blocks marked `console`, whose commands begin with `$ ` and are followed by what they print.

use std::{fmt::Write as _, path::Path, process::Command};

use regex::Regex;

use super::process::Process;

/// A command and what it printed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Step {
    pub(crate) command: String,
    pub(crate) output: String,
}

/// The steps of all blocks of a text, in order.
pub(crate) fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            is_inside = line == "```console";
        } else if is_inside {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { command: command.to_owned(), output: String::new() });
                }
                (None, Some(step)) => writeln!(step.output, "{line}").expect("a String"),
                (None, None) => panic!("output without a command: {line}"),
            }
        }
    }
    steps
}

/// Runs the commands in one shell, in a folder, and gives what each of them prints, on either stream.
pub(crate) async fn run(steps: &[Step], folder: &Path, kubeconfig: &Path) -> Vec<Step> {
    const END: &str = "-- end of a step --";
    let mut script = String::new();
    for step in steps {
        writeln!(script, "{{ {}\n}} 2>&1\necho; echo '{END}'", step.command).expect("a String");
    }
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).current_dir(folder);
    command.env("KUBECONFIG", kubeconfig).env("HOME", home.path());
    let ended = Process::start(command, "it is everywhere").end().await;
    let outputs = ended.stdout.split(END).map(|output| output.trim_matches('\n').to_owned());
    let commands = steps.iter().map(|step| step.command.clone());
    commands.zip(outputs).map(|(command, output)| Step { command, output }).collect()
}

/// A text in which every time is the same one, and every kubeconfig that a command names, and no line ends with spaces.
pub(crate) fn timeless(text: &str) -> String {
    let times = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").expect("our own expression");
    let lines: Vec<_> = text.trim_end().lines().map(str::trim_end).collect();
    let kubeconfigs = Regex::new(r"--kubeconfig=\S+").expect("our own expression");
    let text = times.replace_all(&lines.join("\n"), "<time>").into_owned();
    kubeconfigs.replace_all(&text, "--kubeconfig=…").into_owned()
}

#[test]
fn steps_are_commands_with_their_output() {
    let text = "a\n```sh\n$ not run\n```\n```console\n$ a=1\n$ echo $a  # one\n1\n2\n```\n$ no\n";
    let step = |command: &str, output: &str| Step {
        command: command.to_owned(),
        output: output.to_owned(),
    };
    assert_eq!(steps(text), [step("a=1", ""), step("echo $a  # one", "1\n2\n")]);
    assert_eq!(timeless("at \n2026-11-21T02:43:16.5Z\n"), "at\n<time>");
    assert_eq!(timeless("a --kubeconfig=/tmp/x b"), "a --kubeconfig=… b");
}
