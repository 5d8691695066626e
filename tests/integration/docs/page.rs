//! A page of Markdown, taken apart: its blocks of code, how each is proven, its prose and its headings.

use std::collections::BTreeMap;

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    /// Where it is, from the top of the repository.
    pub(super) path: String,
    pub(super) blocks: Vec<Block>,
    /// The lines outside of blocks, with their numbers.
    pub(super) prose: Vec<(usize, String)>,
    is_closed: bool,
}

/// A fenced block of code.
#[derive(Debug)]
pub(super) struct Block {
    /// The line of the fence that opens it.
    pub(super) line: usize,
    pub(super) language: String,
    pub(super) text: String,
    /// The comment on the line above.
    comment: Option<String>,
}

/// What the comment above a block says of it.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Marker {
    /// `run`: its commands are run by the test of the page.
    Run,
    /// `newcomer`: they are run by `scripts/newcomer`.
    Newcomer,
    /// `by hand: WHAT IT NEEDS`: they were run by hand, and what they showed was pasted.
    ByHand,
    /// `not run: WHY`: nobody has run them as they stand here.
    NotRun,
    /// `file: NAME`: the file that commands of the page read.
    File(String),
}

/// A command, and what it has to show; of a command of an `sh` block only that it succeeds is asked.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Step {
    pub(super) command: String,
    pub(super) shown: Option<String>,
}

/// The languages of blocks. Those of commands are `sh` and `console`; under another name they would not be looked at.
const LANGUAGES: &[&str] = &["sh", "console", "yaml", "promql", "json", "text"];

impl Page {
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let (mut blocks, mut prose) = (Vec::new(), Vec::new());
        let mut open: Option<Block> = None;
        let mut above = None;
        for (number, line) in (1..).zip(text.lines()) {
            match (&mut open, line.strip_prefix("```")) {
                (Some(_), Some("")) => blocks.extend(open.take()),
                (Some(block), _) => block.text += &format!("{line}\n"),
                (None, Some(language)) => {
                    open = Some(Block {
                        line: number,
                        language: language.to_owned(),
                        text: String::new(),
                        comment: above.take(),
                    });
                }
                (None, None) => {
                    above = comment(line).map(str::to_owned);
                    prose.push((number, line.to_owned()));
                }
            }
        }
        Self { path: path.to_owned(), blocks, prose, is_closed: open.is_none() }
    }

    /// The anchors of its headings, as GitHub makes them.
    pub(super) fn anchors(&self) -> Vec<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let headings = self.prose.iter().filter_map(|(_, line)| {
            let rest = line.trim_start_matches('#');
            (rest.len() < line.len()).then(|| rest.strip_prefix(' ')).flatten()
        });
        headings
            .map(|heading| {
                let anchor: String = heading
                    .to_lowercase()
                    .chars()
                    .filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect();
                let count = seen.entry(anchor.clone()).or_default();
                *count += 1;
                if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
            })
            .collect()
    }

    /// The code in the prose, with its lines.
    pub(super) fn spans(&self) -> impl Iterator<Item = (usize, &str)> {
        self.prose.iter().flat_map(|(number, line)| {
            line.split('`').skip(1).step_by(2).map(move |span| (*number, span))
        })
    }

    /// Whether anything of it is run by its test.
    pub(super) fn is_run(&self) -> bool {
        self.blocks.iter().any(|block| block.marker() == Ok(Some(Marker::Run)))
    }

    /// What keeps the page's commands from being known to work.
    pub(super) fn complaints(&self) -> Vec<String> {
        let unclosed = (!self.is_closed).then(|| format!("{}: a block does not end", self.path));
        let blocks = self.blocks.iter().filter_map(|block| {
            let complaint = block.complaint()?;
            Some(format!("{}:{}: {complaint}", self.path, block.line))
        });
        unclosed.into_iter().chain(blocks).collect()
    }
}

impl Block {
    /// What the comment above says; an error where nobody knows what it means.
    pub(super) fn marker(&self) -> Result<Option<Marker>, String> {
        let Some(comment) = self.comment.as_deref() else { return Ok(None) };
        let (word, rest) = comment.split_once(": ").unwrap_or((comment, ""));
        Ok(Some(match (word, rest) {
            ("run", "") => Marker::Run,
            ("newcomer", "") => Marker::Newcomer,
            ("by hand", why) if !why.is_empty() => Marker::ByHand,
            ("not run", why) if !why.is_empty() => Marker::NotRun,
            ("file", name) if !name.is_empty() => Marker::File(name.to_owned()),
            _ => return Err(format!("`{comment}` is no marker")),
        }))
    }

    fn complaint(&self) -> Option<String> {
        if !LANGUAGES.contains(&self.language.as_str()) {
            return Some(format!("the language `{}` is none of {LANGUAGES:?}", self.language));
        }
        let has_commands = matches!(self.language.as_str(), "sh" | "console");
        let marker = match self.marker() {
            Ok(marker) => marker,
            Err(complaint) => return Some(complaint),
        };
        match (has_commands, marker) {
            (true, None | Some(Marker::File(_))) => {
                Some("nothing says how these commands are proven".to_owned())
            }
            (false, Some(Marker::File(_)) | None) => None,
            (false, Some(marker)) => Some(format!("{marker:?}, and these are no commands")),
            (true, Some(marker)) => {
                let steps = self.steps();
                let shows_anything =
                    |step: &Step| step.shown.as_deref().map(str::trim) == Some("…");
                if steps.is_empty() || (self.language == "console" && !self.text.starts_with("$ "))
                {
                    Some("it does not begin with a command".to_owned())
                } else if marker == Marker::Run && steps.iter().any(shows_anything) {
                    Some("`…` alone is shown by everything".to_owned())
                } else {
                    None
                }
            }
        }
    }

    /// The commands of an `sh` or `console` block. A backslash at the end of a line continues a command.
    pub(super) fn steps(&self) -> Vec<Step> {
        let is_console = self.language == "console";
        let mut steps: Vec<Step> = Vec::new();
        let mut continues = false;
        for line in self.text.lines() {
            let begins = match (continues, is_console) {
                (true, _) => None,
                (false, true) => line.strip_prefix("$ "),
                (false, false) => Some(line).filter(|line| !line.is_empty()),
            };
            match (begins, steps.last_mut()) {
                (Some(comment), _) if comment.starts_with('#') => continue,
                (Some(command), _) => steps.push(Step {
                    command: format!("{command}\n"),
                    shown: is_console.then(String::new),
                }),
                (None, Some(step)) if continues => step.command += &format!("{line}\n"),
                (None, Some(Step { shown: Some(shown), .. })) => *shown += &format!("{line}\n"),
                (None, _) => continue,
            }
            continues = (continues || begins.is_some()) && line.ends_with('\\');
        }
        steps
    }
}

/// The text of a line that is a comment and nothing else.
fn comment(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")
}
