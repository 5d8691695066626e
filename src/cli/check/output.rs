//! Findings in the forms that are asked for.

use std::{borrow::Cow, fmt::Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::live;
use crate::core::{
    excerpt::printable,
    installation,
    lint::{Finding, Severity},
    rules::{FileName, RuleId},
    yaml::Place,
};

/// What was found in files, and in an installation if one was looked at.
pub(super) struct Report<'r> {
    pub(super) files: &'r [Checked],
    pub(super) installation: Option<&'r [installation::Finding]>,
    /// The file with the rules of the installation.
    pub(super) rules: Option<String>,
}

/// A file that has been read, and what was found in it.
pub(super) struct Checked {
    name: String,
    text: String,
    findings: Vec<Finding>,
    /// How many findings are not shown.
    untold: usize,
}

impl Checked {
    pub(super) fn new(
        name: String,
        text: String,
        mut findings: Vec<Finding>,
        tells_all: bool,
    ) -> Self {
        let all = findings.len();
        findings.retain(|finding| tells_all || finding.is_always_reported());
        Self { name, text, untold: all - findings.len(), findings }
    }

    /// The severity that matters most of what was found.
    pub(super) fn gravest(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).min()
    }
}

fn all(files: &[Checked]) -> impl Iterator<Item = (&Checked, &Finding)> {
    files.iter().flat_map(|file| file.findings.iter().map(move |finding| (file, finding)))
}

/// For people, with colours, which the writer removes if they are not wanted.
pub(super) fn text(report: &Report<'_>) -> String {
    let mut out = String::new();
    for (file, finding) in all(report.files) {
        // Writing to a String does not fail.
        one_text(&mut out, file, finding).unwrap_or_default();
    }
    out + &live::text(report.installation.unwrap_or_default())
}

const BOLD: Style = Style::new().bold();
const GUTTER: Style = AnsiColor::Blue.on_default();

fn one_text(out: &mut String, file: &Checked, finding: &Finding) -> std::fmt::Result {
    let Finding { severity, code, path, place, message, help, .. } = finding;
    let style = style(*severity);
    write!(out, "{BOLD}{}:", shown(&file.name))?;
    if let Some(place) = place {
        write!(out, "{place}:")?;
    }
    write!(out, "{BOLD:#} {style}{severity}{style:#}: ")?;
    if !path.is_root() {
        write!(out, "{}: ", shown(&path.to_string()))?;
    }
    writeln!(out, "{} [{code}]", shown(message))?;
    if let Some((place, line)) = place.and_then(|place| Some((place, line(&file.text, place)?))) {
        let number = place.line.to_string();
        let (excerpt, before) = around(line, place.column);
        writeln!(out, "{GUTTER}{number:>5} |{GUTTER:#} {excerpt}")?;
        writeln!(out, "{GUTTER}      |{GUTTER:#} {:before$}{style}^{style:#}", "")?;
    }
    writeln!(out, "{GUTTER}      ={GUTTER:#} help: {}", shown(help))
}

/// How the severity of a finding is shown.
pub(super) fn style(severity: Severity) -> Style {
    let colour = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Info => AnsiColor::Cyan,
    };
    colour.on_default().bold()
}

fn line(text: &str, place: Place) -> Option<&str> {
    text.lines().nth(usize::try_from(place.line).ok()?.checked_sub(1)?)
}

/// The most characters of a line that are shown, and how many of them stand before the place.
const WIDTH: usize = 100;
const BEFORE: usize = 40;

/// A part of a line, and how many characters of it stand before a column.
fn around(line: &str, column: u64) -> (String, usize) {
    let column = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
    let length = line.chars().count();
    let column = column.min(length);
    let start = if length <= WIDTH { 0 } else { column.saturating_sub(BEFORE) };
    let mut part = String::new();
    if start > 0 {
        part.push('…');
    }
    part.extend(line.chars().skip(start).take(WIDTH).map(printable));
    if start + WIDTH < length {
        part.push('…');
    }
    (part, column - start + usize::from(start > 0))
}

/// A text of somebody else, without what a terminal would obey.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(printable).collect()
}

/// How much was found.
pub(super) fn summary(report: &Report<'_>) -> String {
    let files = report.files;
    let installation = report.installation.unwrap_or_default();
    let count = |severity| {
        let of_files = all(files).filter(|(_, finding)| finding.severity == severity).count();
        // What is as it should be is no finding that counts.
        let counts = |finding: &&installation::Finding| {
            finding.severity == severity && severity < Severity::Info
        };
        of_files + installation.iter().filter(counts).count()
    };
    let counts: Vec<_> = [
        (count(Severity::Error), "error", "errors"),
        (count(Severity::Warning), "warning", "warnings"),
        (count(Severity::Info), "note", "notes"),
    ]
    .into_iter()
    .filter(|(count, _, _)| *count > 0)
    .map(|(count, one, several)| format!("{count} {}", if count == 1 { one } else { several }))
    .collect();
    let found = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
    let files_of = match files {
        [] => None,
        [file] => Some(shown(&file.name)),
        files => Some(format!("{} files", files.len())),
    };
    let installation = report.installation.map(|_| "the installation".to_owned());
    let places: Vec<_> = files_of.into_iter().chain(installation).collect();
    let places = format!("in {}", places.join(" and "));
    match files.iter().map(|file| file.untold).sum() {
        0_usize => format!("{found} {places}"),
        1 => format!("{found} {places}; --verbose shows 1 note"),
        untold => format!("{found} {places}; --verbose shows {untold} notes"),
    }
}

/// A finding as JSON has it. These names stay.
#[derive(Serialize)]
struct Record<'f> {
    /// Nothing for what is in no file.
    file: Option<Cow<'f, str>>,
    line: Option<u64>,
    column: Option<u64>,
    severity: Severity,
    code: &'static str,
    rule: Option<String>,
    path: String,
    message: &'f str,
    help: &'f str,
}

/// All findings, those of files first.
fn records<'r>(report: &'r Report<'_>) -> impl Iterator<Item = Record<'r>> {
    let of_files = all(report.files).map(|(file, finding)| Record {
        file: Some(Cow::Borrowed(&file.name)),
        line: finding.place.map(|place| place.line),
        column: finding.place.map(|place| place.column),
        severity: finding.severity,
        code: finding.code,
        rule: finding.rule().map(|rule| rule.to_string()),
        path: finding.path.to_string(),
        message: &finding.message,
        help: &finding.help,
    });
    let of_installation = report.installation.into_iter().flatten().map(|finding| {
        let rule = finding.rule();
        Record {
            file: rule.as_ref().and_then(|(id, _)| file_of(id, report.rules.as_deref()?)),
            line: rule.as_ref().map(|(_, place)| place.line),
            column: rule.as_ref().map(|(_, place)| place.column),
            severity: finding.severity,
            code: finding.code,
            rule: rule.map(|(id, _)| id.entry.to_string()),
            path: finding.subject.to_string(),
            message: &finding.message,
            help: &finding.help,
        }
    });
    of_files.chain(of_installation)
}

/// The file of a rule of the installation, whose files are at a path.
fn file_of<'p>(rule: &RuleId, path: &'p str) -> Option<Cow<'p, str>> {
    match &rule.file {
        FileName::Config => Some(Cow::Borrowed(path)),
        FileName::InFolder(name) => Some(Cow::Owned(format!("{path}/{name}"))),
        FileName::ConfigMap(_) => None,
    }
}

/// A JSON array of all findings.
pub(super) fn json(report: &Report<'_>) -> serde_json::Result<String> {
    let records: Vec<_> = records(report).collect();
    serde_json::to_string_pretty(&records).map(|text| text + "\n")
}

/// Workflow commands, which GitHub Actions shows beside the lines of a pull request.
///
/// See <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>.
pub(super) fn github(report: &Report<'_>) -> String {
    let mut out = String::new();
    // What is as it should be needs no annotation.
    for record in records(report).filter(|record| !installation::is_well(record.code)) {
        let command = match record.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "notice",
        };
        let mut properties = Vec::new();
        if let Some(file) = &record.file {
            properties.push(format!("file={}", property(file)));
        }
        if let (Some(line), Some(column)) = (record.line, record.column) {
            properties.push(format!("line={line}"));
            properties.push(format!("col={column}"));
        }
        properties.push(format!("title={}", property(record.code)));
        let colon = if record.path.is_empty() { "" } else { ": " };
        let message = format!("{}{colon}{}\n{}", record.path, record.message, record.help);
        let (properties, message) = (properties.join(","), data(&message));
        // Writing to a String does not fail.
        writeln!(out, "::{command} {properties}::{message}").unwrap_or_default();
    }
    out
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::lint;

    #[test]
    fn long_lines_are_shown_around_the_place() {
        assert_eq!(around("ab\tc", 4), ("ab c".to_owned(), 3));
        assert_eq!(around("é\u{1b}[31m", 2), ("é\u{fffd}[31m".to_owned(), 1));
        let line = format!("{}X{}", "a".repeat(200), "b".repeat(200));
        let (part, before) = around(&line, 201);
        assert_eq!(part.chars().nth(before), Some('X'), "{part}");
        assert_eq!(part.chars().count(), WIDTH + 2);
        assert_eq!(around("short", 99).1, 5);
    }

    #[test]
    fn annotations_are_escaped() {
        let text = "rules: [\"%0A\u{7}";
        let findings = lint::check(text);
        let file = Checked::new("a,b:c%.yaml".to_owned(), text.to_owned(), findings, true);
        let report = Report { files: &[file], installation: None, rules: None };
        let shown = github(&report);
        assert!(shown.starts_with("::error file=a%2Cb%3Ac%25.yaml,line="), "{shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(shown.contains(",title=invalid-file::"), "{shown}");
    }
}
