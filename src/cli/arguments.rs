//! Arguments as manifests, shells and word processors leave them: flags, mistyped flags and other words.
//!
//! No text repeats a value: it may hold a password.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

use crate::core::{
    nearest::nearest,
    shell::{LEFT_QUOTE, QUOTES},
};

/// The most characters of an argument that a text repeats.
const EXCERPT: usize = 60;

/// Characters that word processors put in place of hyphens.
const DASHES: &[char] = &['‐', '‑', '‒', '–', '—', '―', '−', '﹣', '－'];

/// Flags whose values may be secrets: the argument after one may be the rest of a secret.
const SECRET: [&str; 2] = ["prometheus-header", "prometheus-url"];

/// The arguments of `serve`, by kind.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// Flags and their values, for the parser.
    pub(super) flags: Vec<OsString>,
    /// The others, redacted for messages. They have no effect.
    pub(super) strays: Vec<String>,
}

impl Arguments {
    /// Separates flags from other arguments. The path of an adapter's binary, which manifests of prometheus-adapter pass, is
    /// left out silently.
    ///
    /// # Errors
    ///
    /// What is wrong with an argument that is no flag of the command and was meant to be one.
    pub(super) fn read(
        arguments: impl IntoIterator<Item = OsString>,
        command: &Command,
    ) -> Result<Self, String> {
        let known = Known { command };
        let mut read = Self::default();
        let mut arguments = arguments.into_iter().peekable();
        let mut is_over = false;
        let mut last = None;
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy().into_owned();
            if text == "--" && !is_over {
                is_over = true;
                continue;
            }
            let Some(flag) = known.flag(&text).filter(|_| !is_over) else {
                if is_over && known.flag(&text).is_some() {
                    let name = shown(&text);
                    return Err(format!(
                        "{name} is after `--`, where no flag is recognized: remove the `--`"
                    ));
                }
                known.is_none(&text)?;
                if !is_binary(&text) {
                    read.strays.push(match last {
                        Some(name) if SECRET.contains(&name) => format!("what follows --{name}"),
                        _ => shown(&text),
                    });
                }
                continue;
            };
            last = Some(flag.name);
            let next = arguments.peek().map(|next| next.to_string_lossy());
            let next = next.filter(|next| !next.starts_with('-') || flag.takes_negative(next));
            let separate = next.filter(|_| flag.value.is_none_or(str::is_empty));
            match &separate {
                Some(next) if next.starts_with('=') || flag.value.is_some() => {
                    return Err(format!(
                        "there is a blank beside the `=` of --{}: write --{0}=VALUE, without blanks",
                        flag.name
                    ));
                }
                _ => {}
            }
            let separate = separate.filter(|_| flag.takes_next());
            known.check_value(&flag, flag.value.or(separate.as_deref()).unwrap_or_default())?;
            let takes_next = separate.is_some();
            read.flags.push(match argument.to_str() {
                Some(_) if flag.is_renamed => match flag.value {
                    Some(value) => format!("--{}={value}", flag.name).into(),
                    None => format!("--{}", flag.name).into(),
                },
                _ => argument,
            });
            if takes_next {
                read.flags.extend(arguments.next());
            }
        }
        Ok(read)
    }
}

/// Fails for flags of a command other than `serve`, and for values of them, that quotes, blanks and word processors have spoilt.
///
/// # Errors
///
/// What is wrong with such an argument.
pub(super) fn check(arguments: &[OsString], command: &Command) -> Result<(), String> {
    let known = Known { command };
    let texts = arguments.iter().map(|argument| argument.to_string_lossy());
    let mut texts = texts.take_while(|text| text != "--").peekable();
    while let Some(text) = texts.next() {
        match known.flag(&text) {
            Some(flag) => {
                let takes_next = flag.takes_next() && flag.value.is_none();
                let next = texts.next_if(|next| takes_next && !next.starts_with('-'));
                flag.check_quote(flag.value.or(next.as_deref()).unwrap_or_default())?;
            }
            None if is_spoilt(&text) => known.is_none(&text)?,
            None => {}
        }
    }
    Ok(())
}

/// Whether there is more than hyphens before the name of what may have been meant as a flag.
fn is_spoilt(text: &str) -> bool {
    let is_around = |c: char| QUOTES.contains(&c) || is_blank(c) || is_dash(c);
    let before = text.split(|c| !is_around(c)).next().unwrap_or_default();
    before.contains(is_dash) && before.contains(|c| c != '-')
}

/// Whether an argument may have been meant as a flag, or is the path of a binary: nothing that stands for a subcommand.
pub(super) fn is_no_word(argument: &OsStr) -> bool {
    let text = argument.to_string_lossy();
    let bare = text.trim_start_matches(|c: char| QUOTES.contains(&c) || is_blank(c));
    text.contains('=') || bare.starts_with(|c: char| c == '/' || is_dash(c))
}

/// A flag that the command has.
struct Flag<'c, 't> {
    /// As the command calls it.
    name: &'c str,
    /// The text after its `=`.
    value: Option<&'t str>,
    /// The definition; `None` for `--help`.
    argument: Option<&'c Arg>,
    /// Whether it is written with underscores, which Kubernetes' components take for hyphens.
    is_renamed: bool,
}

impl Flag<'_, '_> {
    /// Whether its value may be the next argument.
    fn takes_next(&self) -> bool {
        self.argument.is_some_and(|argument| {
            argument.get_action().takes_values() && !argument.is_require_equals_set()
        })
    }

    /// Fails where a shell or YAML has left quotes around a value.
    fn check_quote(&self, value: &str) -> Result<(), String> {
        let wrong = || format!("the value of --{} {LEFT_QUOTE}", self.name);
        if self.may_be(value) { Ok(()) } else { Err(wrong()) }
    }

    /// Whether a value may begin so: flags without effect take anything, and Go reads lists as CSV.
    fn may_be(&self, value: &str) -> bool {
        let is_list = |argument: &Arg| argument.get_value_delimiter().is_some();
        !value.starts_with(QUOTES)
            || self.argument.is_some_and(|argument| {
                argument.is_hide_set() || (is_list(argument) && value.starts_with('"'))
            })
    }

    fn takes_negative(&self, value: &str) -> bool {
        self.name == "v" && value.parse::<i32>().is_ok()
    }
}

/// The flags of a command.
struct Known<'c> {
    command: &'c Command,
}

impl<'c> Known<'c> {
    /// The flag that an argument is, if it is written as one.
    fn flag<'t>(&self, text: &'t str) -> Option<Flag<'c, 't>> {
        let (name, value) = parts(text)?;
        let hyphens = name.replace('_', "-");
        if hyphens == "help" || hyphens == "h" {
            return Some(Flag { name: "help", value, argument: None, is_renamed: false });
        }
        let argument = self.command.get_arguments().find(|argument| {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            argument.get_long() == Some(&hyphens) || aliases.contains(&hyphens.as_str())
        })?;
        let is_renamed = hyphens != name;
        Some(Flag { name: argument.get_long()?, value, argument: Some(argument), is_renamed })
    }

    fn names(&self) -> impl Iterator<Item = &'c str> {
        self.command.get_arguments().filter_map(|argument| argument.get_long())
    }

    /// Whether a value is one, and not what quotes or lines have made of several arguments.
    fn check_value(&self, flag: &Flag<'_, '_>, value: &str) -> Result<(), String> {
        flag.check_quote(value)?;
        self.check_single(flag.name, value)
    }

    /// Fails where another flag stands in the text of one.
    fn check_single(&self, name: &str, text: &str) -> Result<(), String> {
        let other = text.split_whitespace().find_map(|word| self.flag(word.trim_matches(QUOTES)));
        match other {
            Some(other) => Err(format!(
                "--{} stands in one argument with --{name}: each flag has to be an argument of its own, in YAML an item of its own",
                other.name
            )),
            None => Ok(()),
        }
    }

    /// Fails for what was meant to be a flag.
    fn is_none(&self, text: &str) -> Result<(), String> {
        let is_around = |c: char| QUOTES.contains(&c) || is_blank(c) || is_dash(c);
        let (before, rest) = text.split_at(text.find(|c| !is_around(c)).unwrap_or(text.len()));
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || is_dash(c);
        let (word, behind) = rest.split_at(rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()));
        let name: String = word.chars().map(|c| if is_dash(c) { '-' } else { c }).collect();
        let flag = self.flag(&format!("--{name}")).map(|flag| flag.name.to_owned());
        let has_dash = before.contains(is_dash);
        if !has_dash && (flag.is_none() || !behind.starts_with('=')) {
            return Ok(());
        }
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return if before.starts_with(is_dash) && !rest.is_empty() {
                Err(format!("{} is neither a flag nor a value of one", shown(text)))
            } else {
                Ok(())
            };
        }
        let Some(flag) = flag else { return Err(self.unknown(&name)) };
        self.check_single(&flag, behind)?;
        let reason = if before.contains(QUOTES) {
            "it has quotes from a shell or YAML: remove them".to_owned()
        } else if before.contains(is_blank) {
            "there is a blank before its name; take it away".to_owned()
        } else if before.contains(DASHES) || word.contains(DASHES) {
            "a word processor has made another dash of its hyphens; type them again".to_owned()
        } else if before != "--" {
            "two hyphens have to stand before its name".to_owned()
        } else if behind.starts_with(QUOTES) {
            "it has a quote from a shell or YAML: remove it".to_owned()
        } else {
            format!("write --{flag}=VALUE, or make two arguments of the flag and its value")
        };
        Err(format!("--{flag} is not written as a flag: {reason}"))
    }

    fn unknown(&self, name: &str) -> String {
        let name: String = name.chars().take(EXCERPT).collect();
        let no_such = format!("no such flag: --{name}");
        if name.starts_with("enable-") && name.contains("metrics") {
            return format!(
                "{no_such}. No API needs one: `rules`, `externalRules` and `resourceRules` of the rules file define what is served"
            );
        }
        match nearest(&name.replace('_', "-"), self.names()).first() {
            Some(near) => format!("{no_such}; did you mean --{near}?"),
            None => format!("{no_such}; `loadline {} --help` lists all", self.command.get_name()),
        }
    }
}

/// Name and value of what is written as a flag.
fn parts(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(long) = text.strip_prefix("--") {
        let value = long.split_once('=').map(|(_, value)| value);
        return Some((long.split('=').next()?, value));
    }
    let short = text.strip_prefix('-')?;
    let value = short.strip_prefix(['v', 'h'])?;
    let is_number = value.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    let name = short.get(..1).filter(|_| value.starts_with('=') || is_number)?;
    Some((name, (!value.is_empty()).then(|| value.strip_prefix('=').unwrap_or(value))))
}

fn is_dash(c: char) -> bool {
    c == '-' || DASHES.contains(&c)
}

/// White space, and characters that show as nothing.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

/// `/adapter`, `/usr/bin/cm-adapter`.
fn is_binary(text: &str) -> bool {
    text.starts_with('/') && (text.ends_with("adapter") || text.ends_with("/loadline"))
}

/// The beginning of an argument, without what may be a value.
fn shown(text: &str) -> String {
    let text = text.split(['=', ':', '@']).next().unwrap_or_default();
    let text: String = text.chars().take(EXCERPT).collect();
    format!("`{}`", text.escape_debug())
}

#[cfg(test)]
mod tests;
