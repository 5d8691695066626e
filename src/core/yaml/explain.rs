//! What the parser stumbles over, in words for people who write manifests and not parsers.
//!
//! The parser reports where it had to stop, which is often after the mistake: the lines above show the mistake.

use granit_parser::{ErrorKind, Event, ScanError, StructureStyle};

use super::{Events, Place, YamlError, too_deep};

pub(super) fn error(error: &ScanError, text: &str, events: &Events<'_>) -> YamlError {
    let at = Place::of(error.marker());
    let lines = Lines(text.lines().collect());
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        return too_deep(at);
    }
    if let Some(error) = lines.foreign(at.line) {
        return error;
    }
    if let Some(tab) = lines.tab(error.kind(), at) {
        return YamlError::new(tab, "a tab in the indentation: YAML is indented by spaces");
    }
    match error.kind() {
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::ExpectedDocumentStart
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::InvalidIndentation
        | ErrorKind::MappingKeyNotAllowed
            if lines.begins(at) =>
        {
            lines.indentation(at.line)
        }
        ErrorKind::BlockSequenceEntryNotAllowed => {
            YamlError::new(at, "a list has to begin on a line of its own")
        }
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::ExpectedBlockSequenceEntry => {
            let message = "the value has ended before this: quote the whole value";
            YamlError::new(at, message)
        }
        ErrorKind::MappingValueNotAllowed => lines.colon(at),
        ErrorKind::SimpleKeyExpected => lines
            .unindented(at.line)
            .or_else(|| lines.unspaced(at.line))
            .unwrap_or_else(|| lines.no_key(at)),
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::DocumentIndicatorInQuotedScalar => {
            let first = events.last().map_or(1, |(_, place)| place.line);
            lines.unclosed_quote(first, at)
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar
            if lines.is_behind_blank(at) && open_bracket(events).is_some() =>
        {
            missing_comma(at, events)
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar => {
            let message =
                "text after the closing quote: a quote inside single quotes is written twice";
            YamlError::new(at, message)
        }
        ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            let message =
                "text after the closing quote: a quote inside double quotes is written `\\\"`";
            YamlError::new(at, message)
        }
        ErrorKind::UnknownQuotedScalarEscape => unknown_escape(text, error, at),
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::BlockEntryInFlowCollection
        | ErrorKind::InvalidColonPlacement => missing_comma(at, events),
        ErrorKind::MisplacedFlowCollectionEnd => {
            YamlError::new(at, "a closing bracket that closes nothing: quote a text that has it")
        }
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => {
            let message = format!("the character {} is not allowed", character.escape_unicode());
            YamlError::new(at, message)
        }
        ErrorKind::UnexpectedCharacter { character } => {
            let message = format!("a text that begins with `{character}` has to be quoted");
            YamlError::new(at, message)
        }
        ErrorKind::UnknownAnchor => {
            let message = format!(
                "`{}` repeats nothing that is above it; a text that begins with `*` has to be quoted",
                lines.word(at)
            );
            YamlError::new(at, message)
        }
        ErrorKind::UndeclaredTagHandle => {
            YamlError::new(at, "a text that begins with `!` has to be quoted")
        }
        ErrorKind::InvalidBlockScalarHeader => {
            YamlError::new(at, "the text after `|` or `>` has to begin on the next line")
        }
        _ => YamlError::new(at, error.info()),
    }
}

fn missing_comma(at: Place, events: &Events<'_>) -> YamlError {
    let open = open_bracket(events);
    if open == Some(at) {
        return YamlError::new(at, "this bracket is not closed");
    }
    let message = "a comma or the closing bracket is missing before this";
    let related = open.map(|place| ("the bracket is opened at", place));
    YamlError { related, ..YamlError::new(at, message) }
}

/// The innermost bracket or brace that is open.
fn open_bracket(events: &Events<'_>) -> Option<Place> {
    let mut open = Vec::new();
    for (event, place) in events {
        match event {
            Event::SequenceStart(style, ..) | Event::MappingStart(style, ..) => {
                open.push((*style == StructureStyle::Flow).then_some(*place));
            }
            Event::SequenceEnd | Event::MappingEnd => drop(open.pop()),
            _ => {}
        }
    }
    open.into_iter().flatten().next_back()
}

/// The parser reports the start of the text that contains the escape.
fn unknown_escape(text: &str, error: &ScanError, at: Place) -> YamlError {
    let rest = error.marker().byte_offset().and_then(|start| text.get(start..)).unwrap_or_default();
    let Place { mut line, mut column } = at;
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        let escaped = (character == '\\').then(|| characters.next()).flatten();
        if let Some(escaped) = escaped
            && !"0abt\tnvfre \"/\\N_LPxuU\r\n".contains(escaped)
        {
            let message = format!(
                "`\\{escaped}` means nothing in double quotes: write `\\\\{escaped}`, or use single quotes"
            );
            return YamlError::new(Place { line, column }, message);
        }
        let is_break = character == '\n' || escaped == Some('\n');
        let width = 1 + u64::from(escaped.is_some());
        (line, column) = if is_break { (line + 1, 1) } else { (line, column + width) };
    }
    YamlError::new(at, error.info())
}

struct Lines<'t>(Vec<&'t str>);

impl<'t> Lines<'t> {
    fn get(&self, line: u64) -> &'t str {
        let index = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
        index.and_then(|index| self.0.get(index).copied()).unwrap_or_default()
    }

    /// The lines above that say something, the nearest first.
    fn above(&self, line: u64) -> impl Iterator<Item = (u64, &'t str)> {
        (1..line)
            .rev()
            .map(|above| (above, self.get(above)))
            .filter(|(_, text)| !text.trim().is_empty() && !text.trim_start().starts_with('#'))
    }

    /// The tab that the parser refuses: in the indentation of the line, or of the next one if it has stopped before that.
    fn tab(&self, kind: &ErrorKind, at: Place) -> Option<Place> {
        let lines = match kind {
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation => at.line..=at.line,
            ErrorKind::TabAtBlockScalarStart | ErrorKind::TabInPlainScalar => {
                at.line..=at.line.saturating_add(1)
            }
            _ => return None,
        };
        lines.into_iter().find_map(|line| {
            let indentation = self.get(line).split(|c: char| !c.is_whitespace()).next()?;
            Some(Place { line, column: column(indentation.find('\t')?) })
        })
    }

    /// What is no YAML, in a line or in the one above, which it may have become a part of: templates, comments of other languages, and
    /// white space that is neither space nor tab, such as a no-break space.
    fn foreign(&self, line: u64) -> Option<YamlError> {
        let above = self.above(line).next().map(|(above, _)| above);
        let found = |message, line, text: &str, start| {
            let before: &str = text.get(..start).unwrap_or_default();
            let place = Place { line, column: column(before.chars().count()) };
            Some(YamlError::new(place, message))
        };
        let text = self.get(line);
        if let Some(start) = text.find("{{") {
            let message = "a template of Helm cannot be read: check what `helm template` renders";
            return found(message, line, text, start);
        }
        [Some(line), above].into_iter().flatten().find_map(|line| {
            let text = self.get(line);
            let begin = text.trim_start();
            let indentation = text.strip_suffix(begin).unwrap_or_default();
            if begin.starts_with("//") {
                let message = "`//` begins no comment here: write `#`";
                return found(message, line, text, indentation.len());
            }
            let start = indentation.find(|c| !matches!(c, ' ' | '\t' | '\r'))?;
            let message = "a blank in the indentation that is no space: YAML is indented by spaces";
            found(message, line, text, start)
        })
    }

    /// Whether white space stands before a place.
    fn is_behind_blank(&self, at: Place) -> bool {
        let before = usize::try_from(at.column - 1).unwrap_or(usize::MAX);
        let before = before.checked_sub(1).and_then(|before| self.get(at.line).chars().nth(before));
        before.is_none_or(char::is_whitespace)
    }

    /// Whether nothing but dashes stands before a place in its line.
    fn begins(&self, at: Place) -> bool {
        let before = usize::try_from(at.column - 1).unwrap_or(usize::MAX);
        self.get(at.line).chars().take(before).all(|c| c == '-' || c.is_whitespace())
    }

    /// The word at a place.
    fn word(&self, at: Place) -> String {
        let before = usize::try_from(at.column - 1).unwrap_or(usize::MAX);
        let rest = self.get(at.line).chars().skip(before);
        rest.take_while(|c| !c.is_whitespace() && !",[]{}".contains(*c)).take(60).collect()
    }

    /// A line that does not stand where it could belong to a line above.
    fn indentation(&self, line: u64) -> YamlError {
        let text = self.get(line);
        let place = Place { line, column: start(text) };
        let is_item = is_item(text);
        if is_unspaced_item(text) {
            return YamlError::new(place, "a space is missing after `-`");
        }
        if let Some((line, text)) =
            self.above(line).next().filter(|(_, text)| is_unspaced_item(text))
        {
            let place = Place { line, column: start(text) };
            return YamlError::new(place, "a space is missing after `-`");
        }
        let item = self.above(line).find(|(_, text)| is_item == self::is_item(text));
        let before = self.above(line).next();
        let beside = |(_, text): &(u64, &str)| start(text) == place.column;
        if let Some((line, text)) = item.filter(|item| is_item && !beside(item)) {
            let message = "wrong indentation of a list item";
            let related = ("the item before it stands at", Place { line, column: start(text) });
            return YamlError { related: Some(related), ..YamlError::new(place, message) };
        }
        let message = match (is_item, before.as_ref().is_some_and(beside)) {
            (true, true) => "wrong indentation: a list item where a key is expected",
            (false, true) => "wrong indentation: a key where a list item is expected",
            (_, false) => "wrong indentation: this belongs to nothing above it",
        };
        let related = before.map(|(line, text)| {
            ("the line before it begins at", Place { line, column: key(text) })
        });
        YamlError { related, ..YamlError::new(place, message) }
    }

    /// A colon where no key can be.
    fn colon(&self, at: Place) -> YamlError {
        let before = usize::try_from(at.column - 1).unwrap_or(usize::MAX);
        if self.get(at.line).chars().take(before).collect::<String>().contains(": ") {
            let message = "a second `: ` in the line: quote a value that has it";
            return YamlError::new(at, message);
        }
        let above = self.above(at.line).next().map(|(line, _)| line);
        let found = above.and_then(|line| self.unindented(line).or_else(|| self.unspaced(line)));
        found.unwrap_or_else(|| self.indentation(at.line))
    }

    /// A line that belongs to the text of the key above it, and does not stand behind that.
    fn unindented(&self, line: u64) -> Option<YamlError> {
        let text = self.get(line);
        let (above, before) = self.above(line).next()?;
        let (_, header) = before.rsplit_once(": ")?;
        let header = header.trim();
        let is_header = header.starts_with(['|', '>'])
            && header.chars().skip(1).all(|c| c.is_ascii_digit() || matches!(c, '-' | '+'));
        if !is_header || start(text) > key(before) {
            return None;
        }
        let place = Place { line, column: start(text) };
        let message =
            format!("the text after `{header}` has to be indented more than the key of it");
        let related = ("the key stands at", Place { line: above, column: key(before) });
        Some(YamlError { related: Some(related), ..YamlError::new(place, message) })
    }

    /// A line that has no colon where a key is expected.
    fn no_key(&self, at: Place) -> YamlError {
        let message = "`key: value` is expected, and there is no colon";
        let goes_on = self.above(at.line).next().filter(|(_, before)| {
            let (_, value) = before.split_once(": ").unwrap_or_default();
            let is_plain = !value.trim().is_empty() && !value.trim().starts_with(['"', '\'', '#']);
            is_plain && key(before) == start(self.get(at.line))
        });
        match goes_on {
            Some((line, before)) => {
                let message = format!(
                    "{message}; a value that goes on here has to be indented more than its key"
                );
                let related = ("the key stands at", Place { line, column: key(before) });
                YamlError { related: Some(related), ..YamlError::new(at, message) }
            }
            None => YamlError::new(at, message),
        }
    }

    /// The first colon of a line, if nothing separates it from what follows and there is no other that could end the key.
    fn unspaced(&self, line: u64) -> Option<YamlError> {
        let text = self.get(line);
        let colon = text.find(':').filter(|_| !text.contains(": ") && !text.ends_with(':'))?;
        // A query has names with colons.
        let word = text.get(..colon)?.trim_start_matches(['-', ' ']);
        if word.contains(|c: char| c.is_whitespace() || "({[".contains(c)) {
            return None;
        }
        let column = column(text.get(..colon)?.chars().count());
        Some(YamlError::new(Place { line, column }, "a space is missing after the colon"))
    }

    /// A quote that is opened in `first` or below, and still open at a place.
    fn unclosed_quote(&self, first: u64, at: Place) -> YamlError {
        let opening = (first..=at.line).rev().find_map(|line| {
            let characters: Vec<_> = self.get(line).chars().collect();
            let is_odd = |quote: char| characters.iter().filter(|c| **c == quote).count() % 2 == 1;
            let begins = |index: usize| {
                let before = index.checked_sub(1).and_then(|before| characters.get(before));
                before.is_none_or(|before| before.is_whitespace() || ",[{".contains(*before))
            };
            let mut quotes = characters.iter().enumerate().filter(|(_, c)| "'\"".contains(**c));
            let (index, _) = quotes.rfind(|(index, quote)| is_odd(**quote) && begins(*index))?;
            Some(Place { line, column: column(index) })
        });
        let message = "a quote that is not closed, or whose text goes on without indentation";
        let related = (opening != Some(at)).then_some(("it goes on at", at));
        YamlError { related, ..YamlError::new(opening.unwrap_or(at), message) }
    }
}

fn column(characters_before: usize) -> u64 {
    u64::try_from(characters_before).unwrap_or(u64::MAX).saturating_add(1)
}

/// The column where a line begins.
fn start(line: &str) -> u64 {
    column(line.len() - line.trim_start().len())
}

/// The column of a line's key, behind the dashes of list items.
fn key(line: &str) -> u64 {
    column(line.len() - line.trim_start_matches(['-', ' ']).len())
}

fn is_item(line: &str) -> bool {
    let line = line.trim();
    line == "-" || line.starts_with("- ")
}

/// A line such as `-key: value`.
fn is_unspaced_item(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('-') && !line.starts_with("--") && !is_item(line)
}

#[cfg(test)]
mod tests {
    use crate::core::yaml::documents;

    /// The error of a text, with its place.
    #[track_caller]
    fn said(text: &str) -> String {
        let error = documents(text).expect_err(text);
        format!("{}: {error}", error.place.unwrap())
    }

    #[test]
    fn each_fault_is_told_where_it_is() {
        let cases = [
            // Wrong indentation, with and without quotes before it.
            (
                "r:\n- a: 'x'\n  b: 'y'\n    - a: 1\n",
                "4:5: wrong indentation of a list item; the item before it stands at 2:1",
            ),
            (
                "r:\n- a: x\n  b: y\n    - a: 1\n",
                "4:5: wrong indentation of a list item; the item before it stands at 2:1",
            ),
            (
                "r:\n  - a: x\n - a: 1\n",
                "3:2: wrong indentation of a list item; the item before it stands at 2:3",
            ),
            (
                "r:\n- a: 'x'\n   b: 1\n",
                "3:4: wrong indentation: this belongs to nothing above it; the line before it begins at 2:3",
            ),
            ("r:\n- a: x\n   b: 1\n", "3:4: wrong indentation: this belongs"),
            (
                "a:\n  b: 1\n\n # c\n c: 2\n",
                "5:2: wrong indentation: this belongs to nothing above it; the line before it begins at 2:3",
            ),
            ("  a: 1\nb: 2\n", "2:1: wrong indentation"),
            ("a: |\n    x\n  y: 1\n", "3:3: wrong indentation"),
            ("a: 1\n- b\n", "2:1: wrong indentation: a list item where a key is expected"),
            ("- a\nb: 1\n", "2:1: wrong indentation: a key where a list item is expected"),
            ("- a: 1\n-b: 2\n", "2:1: a space is missing after `-`"),
            ("r:\n-a: 1\n b: 2\n", "2:1: a space is missing after `-`"),
            // Tabs.
            ("r:\n\t- a: x\n", "2:1: a tab in the indentation"),
            ("r:\n- a: x\n  \tb: y\n", "3:3: a tab in the indentation"),
            ("a: |\n\tx\n", "2:1: a tab in the indentation"),
            ("{\n\t\"a\": 1\n\t\"b\": 2\n}", "3:5: a comma or the closing bracket"),
            // Colons.
            ("a: 1\nb:2\nc: 3\n", "2:2: a space is missing after the colon"),
            ("a:\n  b:2\n  c: 1\n", "2:4: a space is missing after the colon"),
            (
                "a: 1\nb\nc: 2\n",
                "2:1: `key: value` is expected, and there is no colon; a value that goes on here has to be indented more than its key; the key stands at 1:1",
            ),
            ("a: '1'\nb\nc: 2\n", "2:1: `key: value` is expected, and there is no colon"),
            (
                "r:\n- a: 1\n  b: sum(x)\n  / sum(y:z)\n",
                "4:3: `key: value` is expected, and there is no colon; a value that goes on here",
            ),
            (
                "r:\n- a: 1\n  b: >-\n  sum(rate(y:z[5m])) by (c)\n",
                "4:3: the text after `>-` has to be indented more than the key of it; the key stands at 3:3",
            ),
            ("r:\n- b: >-\n  sum(y:z)\n  c: 1\n", "3:3: the text after `>-` has to be indented"),
            ("r:\n- b: |\n  sum(y)\n", "3:3: the text after `|` has to be indented"),
            ("r:\n- b: |2-\n  sum(y)\n  c: 1\n", "3:3: the text after `|2-` has to be indented"),
            ("a: sum(x) by: y\n", "1:13: a second `: ` in the line"),
            // Quotes.
            (
                "a: 'x\nb: 1\n",
                "1:4: a quote that is not closed, or whose text goes on without indentation; it goes on at 2:1",
            ),
            ("a: 'b'\nc: 'sum(x)\n  by (y)\nd: 'z'\n", "2:4: a quote that is not closed"),
            ("a:\n- \"it's\n", "2:3: a quote that is not closed"),
            ("a: 'it's'\n", "1:8: text after the closing quote"),
            ("a: \"x{y=\"z\"}\"\n", "1:10: text after the closing quote"),
            ("a: \"x\\\\\n  ^(.*)\\d\"\n", "2:8: `\\d` means nothing in double quotes"),
            // Brackets.
            (
                "a: {b: 1\nc: 1\n",
                "2:2: a comma or the closing bracket is missing before this; the bracket is opened at 1:4",
            ),
            ("a: {b: 1 c: 2}\n", "1:11: a comma or the closing bracket"),
            ("a: {b: '1' c: 2}\n", "1:12: a comma or the closing bracket"),
            ("a: {b: \"1\"\n c: 2}\n", "2:2: a comma or the closing bracket"),
            ("a: [\n b\n", "1:4: this bracket is not closed"),
            ("a: 1\n// c\nb: 2\n", "2:1: `//` begins no comment here"),
            (
                "a:\n- b: 1\n\u{a0} c: 2\n  d: 3\n",
                "3:1: a blank in the indentation that is no space",
            ),
            ("a: [b: 1}\n", "1:4: mismatched bracket"),
            ("a: ]\n", "1:4: a closing bracket that closes nothing"),
            ("a: {b: 1} c\n", "1:11: the value has ended before this"),
            // What begins with a character that means something.
            ("a: @x\n", "1:4: a text that begins with `@` has to be quoted"),
            ("a: *x\n", "1:4: `*x` repeats nothing"),
            ("a: !x!y z\n", "1:4: a text that begins with `!`"),
            ("a: | x\n", "1:4: the text after `|`"),
            ("a: - b\n", "1:4: a list has to begin on a line of its own"),
            ("{{- if x }}\na: 1\n", "1:1: a template of Helm"),
            ("a: é {{ x }}: b\n", "1:6: a template of Helm"),
            ("a: \u{1}\n", "1:4: the character \\u{1} is not allowed"),
        ];
        for (text, wanted) in cases {
            let said = said(text);
            assert!(said.starts_with(wanted), "{text}\nwanted: {wanted}\nsaid:   {said}");
        }
    }
}
