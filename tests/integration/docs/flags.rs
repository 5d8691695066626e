//! The flags of loadline that pages name.

use std::{collections::BTreeSet, process::Command};

use regex::Regex;

use super::page::Page;

/// A flag of any name, those that are taken and have no effect, which the help does not tell, and one of KEDA's operator.
const OTHERS: &[&str] = &["--x", "--client-qps", "--client-burst", "--enable-apiservice-patching"];

/// The flags of every subcommand, as its help tells them.
pub(super) fn known() -> BTreeSet<String> {
    let overview = help(&["--help"]);
    let commands = overview.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<_> = commands
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"serve") && commands.contains(&"check"), "{overview}");
    let helps = commands.iter().map(|command| help(&[command, "--help"]));
    helps.flat_map(|help| flags(&help)).collect()
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_loadline")).args(arguments).output();
    String::from_utf8(output.expect("our own binary").stdout).expect("text")
}

/// The rows that a table of a subcommand's flags has, in the order of its help: flag, value, default and meaning.
pub(super) fn rows(subcommand: &str) -> Vec<String> {
    let help = help(&[subcommand, "--help"]);
    let option = Regex::new(r"(?m)^ +(?:(-[a-zA-Z]), +)?(--[a-z0-9-]+)(.*)\n((?: {10}.*\n| *\n)+)");
    let default = Regex::new(r"\[default: ([^\]]+)\]").expect("our own expression");
    let option = option.expect("our own expression");
    let found = option.captures_iter(&help).filter(|found| found[2] != *"--help");
    let rows = found.map(|found| {
        let text = found[4].split_whitespace().collect::<Vec<_>>().join(" ");
        let default = default.captures(&text);
        let default = default.map_or_else(|| "none".to_owned(), |found| found[1].to_owned());
        let meaning = text.split(" [default:").next().unwrap_or_default();
        let meaning = meaning.split(" Possible values:").next().unwrap_or_default();
        let short =
            found.get(1).map_or_else(String::new, |short| format!("`{}`, ", short.as_str()));
        let flag = format!("{short}`{}{}`", &found[2], found[3].trim_end());
        format!("| {flag} | {default} | {meaning} |").replace('*', "\\*")
    });
    rows.collect()
}

/// What is named and not known.
pub(super) fn complaints(page: &Page, known: &BTreeSet<String>) -> Vec<String> {
    // Others are command lines of other programs.
    let spans = page.spans().filter(|(_, span)| span.starts_with('-') || !ours(span).is_empty());
    let in_spans =
        spans.flat_map(|(line, span)| flags(span).into_iter().map(move |flag| (line, flag)));
    let in_blocks = page.blocks.iter().flat_map(|block| {
        let texts = match block.language.as_str() {
            "sh" | "console" => block.steps().into_iter().map(|step| ours(&step.command)).collect(),
            "yaml" => vec![block.text.clone()],
            _ => Vec::new(),
        };
        let found: Vec<_> = texts.iter().flat_map(|text| flags(text)).collect();
        found.into_iter().map(move |flag| (block.line, flag))
    });
    in_spans
        .chain(in_blocks)
        .filter(|(_, flag)| !known.contains(flag) && !OTHERS.contains(&flag.as_str()))
        .map(|(line, flag)| format!("{}:{line}: loadline has no {flag}", page.path))
        .collect()
}

/// The parts of a command line that begin with `loadline`.
fn ours(command: &str) -> String {
    let parts = command.split(['|', ';', '&']).map(str::trim_start);
    parts.filter(|part| part.starts_with("loadline ")).collect()
}

fn flags(text: &str) -> Vec<String> {
    let flag = Regex::new(r"(?:^|[\s`'\x22\[])(--[a-z][a-z0-9-]*)").expect("our own expression");
    let found = flag.captures_iter(text).filter_map(|found| found.get(1));
    found.map(|flag| flag.as_str().to_owned()).collect()
}
