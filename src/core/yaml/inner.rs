//! Where a text stands that is a scalar of another one.

use super::{Node, Place};

/// The places of a scalar's characters in the text that the scalar is written in.
pub struct InnerText {
    /// Of each line the characters, and where it ends.
    lines: Vec<Vec<Place>>,
}

impl InnerText {
    /// Lays a scalar beside what is written for it in `outer`. Escapes and folded lines make them differ; where they differ
    /// otherwise, as behind an alias, places are near, and never before the scalar.
    pub fn new(scalar: &Node, outer: &str) -> Self {
        let mut written = Written::of(scalar, outer).peekable();
        let mut lines = vec![Vec::new()];
        let mut place = scalar.place;
        for character in scalar.text().unwrap_or_default().chars() {
            if !character.is_whitespace() {
                while written.next_if(|(written, _)| written.is_whitespace()).is_some() {}
            }
            if let Some((_, at)) = written.peek() {
                place = *at;
            }
            let is_taken = |(written, _): &(char, Place)| {
                !character.is_whitespace() || written.is_whitespace()
            };
            written.next_if(is_taken);
            if let Some(line) = lines.last_mut() {
                line.push(place);
            }
            if character == '\n' {
                lines.push(Vec::new());
            }
        }
        if let Some(last) = lines.last_mut() {
            last.push(written.peek().map_or(place, |(_, at)| *at));
        }
        Self { lines }
    }

    /// The place in the outer text of a place in the scalar's.
    pub fn outer(&self, inner: Place) -> Place {
        let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(line) = self.lines.get(index(inner.line)).or(self.lines.last()) else {
            return inner;
        };
        line.get(index(inner.column)).or(line.last()).copied().unwrap_or(inner)
    }
}

/// The characters of a scalar as it is written, with escapes resolved as far as that matters here.
struct Written<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    at: Place,
    /// How many columns of each further line are indentation.
    indentation: u64,
    quote: Option<char>,
}

impl<'t> Written<'t> {
    fn of(scalar: &Node, outer: &'t str) -> Self {
        let Place { line, column } = scalar.place;
        let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let start: usize = outer.split_inclusive('\n').take(index(line)).map(str::len).sum();
        let rest = outer.get(start..).unwrap_or_default();
        let start = rest.char_indices().nth(index(column)).map_or(rest.len(), |(start, _)| start);
        let rest = rest.get(start..).unwrap_or_default();
        let mut new = Self {
            // What an alias repeats is written elsewhere.
            rest: if rest.starts_with('*') { "" } else { rest }.chars().peekable(),
            at: scalar.place,
            indentation: column - 1,
            quote: scalar.quote,
        };
        if new.quote.is_some() {
            new.step();
        }
        new
    }

    fn step(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        if character == '\n' {
            self.at = Place { line: self.at.line + 1, column: 1 };
            let mut left = self.indentation;
            while left > 0 && self.rest.next_if(|c| *c == ' ').is_some() {
                self.at.column += 1;
                left -= 1;
            }
        } else {
            self.at.column += 1;
        }
        Some(character)
    }

    /// What a backslash and the character behind it stand for.
    fn escape(&mut self) -> Option<char> {
        let kind = self.step()?;
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let digits: String = (0..digits).map_while(|_| self.step()).collect();
        // JSON writes what is not in the first plane as two escapes.
        if kind == 'u' && u32::from_str_radix(&digits, 16).is_ok_and(|c| c & 0xfc00 == 0xd800) {
            for _ in 0.."\\u0000".len() {
                self.step();
            }
        }
        Some(match kind {
            'n' | 't' | 'r' | '\n' => '\n',
            other => other,
        })
    }
}

impl Iterator for Written<'_> {
    type Item = (char, Place);

    fn next(&mut self) -> Option<(char, Place)> {
        let at = self.at;
        let character = self.step()?;
        let character = match self.quote {
            Some('"') if character == '\\' => self.escape()?,
            Some('\'') if character == '\'' => self.step()?,
            _ => character,
        };
        Some((character, at))
    }
}
