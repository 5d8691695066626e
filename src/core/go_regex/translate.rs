//! The grammar of Go's `regexp/syntax`, written anew for the `regex` crate.

use std::fmt::Write as _;

use super::{PatternError, crate_name};

/// The largest count of `{n,m}`, also when such repetitions are nested.
const MAX_REPEAT: u32 = 1000;

/// What can be repeated, and how often it is repeated inside already.
#[derive(Debug, Clone, Copy)]
enum Previous {
    /// Nothing stands there.
    Nothing,
    /// The product of the counts of nested repetitions, at least 1.
    Item(u32),
    /// A repetition, which cannot be repeated.
    Repetition,
}

/// Reads a pattern of Go and writes one of the crate.
pub(super) struct Translator<'p> {
    pattern: &'p str,
    rest: &'p str,
    out: String,
    previous: Previous,
    /// The largest count in the group that is being read; those of the groups around it.
    largest: u32,
    around: Vec<u32>,
    names: Vec<&'p str>,
}

impl<'p> Translator<'p> {
    pub(super) fn new(pattern: &'p str) -> Self {
        Self {
            pattern,
            rest: pattern,
            out: String::with_capacity(pattern.len() + 16),
            previous: Previous::Nothing,
            largest: 1,
            around: Vec::new(),
            names: Vec::new(),
        }
    }

    pub(super) fn translate(mut self) -> Result<String, PatternError> {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '(' => self.open()?,
                ')' => {
                    self.take(')');
                    let Some(around) = self.around.pop() else {
                        return Err(self.error("unexpected )"));
                    };
                    self.out.push(')');
                    self.previous = Previous::Item(self.largest);
                    self.largest = self.largest.max(around);
                }
                '|' => {
                    self.take('|');
                    self.out.push('|');
                    self.previous = Previous::Nothing;
                }
                '[' => self.class()?,
                '*' | '+' | '?' => {
                    self.take(c);
                    self.repeat(1, &c.to_string())?;
                }
                '{' => self.counted()?,
                '\\' => self.backslash()?,
                '^' | '$' | '.' => {
                    self.take(c);
                    self.out.push(c);
                    self.item();
                }
                c => {
                    self.take(c);
                    self.literal(c);
                }
            }
        }
        if self.around.is_empty() { Ok(self.out) } else { Err(self.error("missing )")) }
    }

    /// Takes `c` if it comes next.
    fn take(&mut self, c: char) -> bool {
        self.take_text(c.encode_utf8(&mut [0; 4]))
    }

    fn take_text(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.take(c);
        Some(c)
    }

    fn error(&self, reason: impl Into<String>) -> PatternError {
        let read = self.pattern.len() - self.rest.len();
        let read = self.pattern.get(..read).unwrap_or_default().chars().count();
        PatternError { column: read.max(1), reason: reason.into() }
    }

    /// Something was written that can be repeated.
    fn item(&mut self) {
        self.previous = Previous::Item(1);
    }

    fn literal(&mut self, c: char) {
        push_literal(&mut self.out, c);
        self.item();
    }

    fn open(&mut self) -> Result<(), PatternError> {
        self.take('(');
        if !self.take('?') {
            self.out.push('(');
        } else if self.take_text("P<") || self.take('<') {
            if self.rest.starts_with(['=', '!']) {
                return Err(self.error("look-behind is not supported"));
            }
            self.name()?;
        } else if !self.flags()? {
            return Ok(());
        }
        self.around.push(self.largest);
        self.largest = 1;
        self.previous = Previous::Nothing;
        Ok(())
    }

    fn name(&mut self) -> Result<(), PatternError> {
        let Some((name, rest)) = self.rest.split_once('>') else {
            return Err(self.error("the name of a group has no >"));
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(
                self.error(format!("{name:?} is no name for a group: letters, digits and _"))
            );
        }
        if self.names.contains(&name) {
            return Err(self.error(format!("two groups have the name {name}")));
        }
        self.names.push(name);
        self.rest = rest;
        self.out.push_str("(?P<");
        self.out.push_str(&crate_name(name));
        self.out.push('>');
        Ok(())
    }

    /// Reads what follows `(?`; true if a group begins, false if the flags stood alone.
    fn flags(&mut self) -> Result<bool, PatternError> {
        let (mut on, mut off) = (String::new(), String::new());
        let mut negative = false;
        loop {
            match self.next() {
                Some(flag @ ('i' | 'm' | 's' | 'U')) => {
                    on.retain(|c| c != flag);
                    off.retain(|c| c != flag);
                    if negative {
                        off.push(flag);
                    } else {
                        on.push(flag);
                    }
                }
                Some('-') if !negative => negative = true,
                Some(end @ (':' | ')')) if !negative || !off.is_empty() => {
                    let group = end == ':';
                    if group || !on.is_empty() || negative {
                        self.out.push_str("(?");
                        self.out.push_str(&on);
                        if negative {
                            self.out.push('-');
                            self.out.push_str(&off);
                        }
                        self.out.push(end);
                    }
                    return Ok(group);
                }
                Some('=' | '!') => return Err(self.error("look-ahead is not supported")),
                None => return Err(self.error("missing )")),
                Some(c) => return Err(self.error(format!("unknown flag or group (?{c}"))),
            }
        }
    }

    /// Writes a repetition, and its `?`; `count` is how many copies it makes.
    fn repeat(&mut self, count: u32, text: &str) -> Result<(), PatternError> {
        let inner = match self.previous {
            Previous::Nothing => {
                return Err(self.error(format!("nothing before {text} to repeat")));
            }
            Previous::Repetition => {
                return Err(self.error(format!("{text} right after another repetition")));
            }
            Previous::Item(inner) => inner,
        };
        let total = inner.saturating_mul(count.max(1));
        if total > MAX_REPEAT && count > 1 {
            return Err(self.error(format!("repeats more than {MAX_REPEAT} times")));
        }
        self.out.push_str(text);
        if self.take('?') {
            self.out.push('?');
        }
        self.largest = self.largest.max(total);
        self.previous = Previous::Repetition;
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; any other brace is a literal.
    fn counted(&mut self) -> Result<(), PatternError> {
        self.take('{');
        let bounds = self.rest.split_once('}').and_then(|(inner, rest)| {
            let (low, high) = match inner.split_once(',') {
                None => (bound(inner)?, Some(bound(inner)?)),
                Some((low, "")) => (bound(low)?, None),
                Some((low, high)) => (bound(low)?, Some(bound(high)?)),
            };
            Some((inner, rest, low, high))
        });
        let Some((inner, rest, low, high)) = bounds else {
            self.literal('{');
            return Ok(());
        };
        self.rest = rest;
        let most = high.unwrap_or(low);
        if most < low || most.max(low) > MAX_REPEAT {
            return Err(self.error(format!("{{{inner}}} is no range up to {MAX_REPEAT}")));
        }
        self.repeat(most, &format!("{{{inner}}}"))
    }

    fn backslash(&mut self) -> Result<(), PatternError> {
        self.take('\\');
        if self.take('Q') {
            let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
            self.rest = rest;
            for c in quoted.chars() {
                self.literal(c);
            }
            return Ok(());
        }
        match self.rest.chars().next() {
            // Go's word boundary knows ASCII alone.
            Some(c @ ('b' | 'B')) => {
                self.take(c);
                self.out.push_str(if c == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
            }
            Some(c @ ('A' | 'z')) => {
                self.take(c);
                self.out.push('\\');
                self.out.push(c);
            }
            _ => {
                if let Some(class) = self.named_class()? {
                    self.out.push_str(&class);
                } else {
                    let c = self.escape()?;
                    push_literal(&mut self.out, c);
                }
            }
        }
        self.item();
        Ok(())
    }

    /// After a backslash: `d`, `pL`, `p{Greek}` and the like; `None` if it is something else.
    fn named_class(&mut self) -> Result<Option<String>, PatternError> {
        // Written out, because the crate's are Unicode's.
        let ascii = match self.rest.chars().next() {
            Some('d') => "[0-9]",
            Some('D') => "[^0-9]",
            Some('s') => r"[\t\n\f\r ]",
            Some('S') => r"[^\t\n\f\r ]",
            Some('w') => "[0-9A-Za-z_]",
            Some('W') => "[^0-9A-Za-z_]",
            Some('p' | 'P') => return self.unicode_class().map(Some),
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(ascii.to_owned()))
    }

    fn unicode_class(&mut self) -> Result<String, PatternError> {
        let mut negated = self.next() == Some('P');
        let name = if self.take('{') {
            let Some((name, rest)) = self.rest.split_once('}') else {
                return Err(self.error("a character class has no }"));
            };
            self.rest = rest;
            match name.strip_prefix('^') {
                Some(name) => {
                    negated = !negated;
                    name.to_owned()
                }
                None => name.to_owned(),
            }
        } else {
            self.next().map(String::from).unwrap_or_default()
        };
        // Of the crate's classes Go has the categories and the scripts, and no other way to name them (sc=Greek).
        let is_letter = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-' | b' ');
        let plain = !name.is_empty() && name.bytes().all(is_letter);
        let is_one = |property| regex_syntax::parse(&format!("\\p{{{property}={name}}}")).is_ok();
        if !plain || !["gc", "sc"].into_iter().any(is_one) {
            return Err(self.error(format!("unknown character class {name:?}")));
        }
        Ok(format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }))
    }

    /// After a backslash: the one character that it stands for.
    fn escape(&mut self) -> Result<char, PatternError> {
        let Some(c) = self.next() else {
            return Err(self.error("a \\ at the end"));
        };
        let second_is_octal = self.rest.starts_with(|c| ('0'..='7').contains(&c));
        let escaped = match c {
            'a' => Some('\x07'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            'x' => return self.hexadecimal(),
            '1'..='7' if !second_is_octal => {
                return Err(self.error(format!("the back reference \\{c} is not supported")));
            }
            '0'..='7' => {
                let mut code = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    self.next();
                    code = code * 8 + digit;
                }
                char::from_u32(code)
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        };
        escaped.ok_or_else(|| self.error(format!("unknown escape \\{c}")))
    }

    /// After `\x`: two digits, or any number between braces.
    fn hexadecimal(&mut self) -> Result<char, PatternError> {
        let digits = if self.take('{') {
            let Some((digits, rest)) = self.rest.split_once('}') else {
                return Err(self.error("\\x{ has no }"));
            };
            self.rest = rest;
            digits
        } else {
            let Some((digits, rest)) = self.rest.split_at_checked(2) else {
                return Err(self.error("\\x needs two hexadecimal digits"));
            };
            self.rest = rest;
            digits
        };
        // `from_str_radix` would take a sign.
        let code = if digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            u32::from_str_radix(digits, 16).ok()
        } else {
            None
        };
        code.and_then(char::from_u32)
            .ok_or_else(|| self.error(format!("\\x{{{digits}}} is no character")))
    }

    fn class(&mut self) -> Result<(), PatternError> {
        self.take('[');
        self.out.push('[');
        if self.take('^') {
            self.out.push('^');
        }
        let mut first = true;
        // A bracket that comes first is a member.
        while first || !self.take(']') {
            first = false;
            if let Some(inner) = self.rest.strip_prefix("[:")
                && let Some((name, rest)) = inner.split_once(":]")
            {
                self.rest = rest;
                if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return Err(self.error(format!("unknown character class [:{name}:]")));
                }
                self.out.extend(["[:", name, ":]"]);
                continue;
            }
            if let Some(escape) = self.rest.strip_prefix('\\') {
                let before = std::mem::replace(&mut self.rest, escape);
                if let Some(class) = self.named_class()? {
                    self.out.push_str(&class);
                    continue;
                }
                self.rest = before;
            }
            let low = self.class_character()?;
            let mut high = low;
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest != "-" {
                self.take('-');
                high = self.class_character()?;
                if high < low {
                    return Err(self.error("a range that ends before it begins"));
                }
            }
            push_literal(&mut self.out, low);
            if high != low {
                self.out.push('-');
                push_literal(&mut self.out, high);
            }
        }
        self.out.push(']');
        self.item();
        Ok(())
    }

    fn class_character(&mut self) -> Result<char, PatternError> {
        match self.next() {
            None => Err(self.error("missing ]")),
            Some('\\') => self.escape(),
            Some(c) => Ok(c),
        }
    }
}

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// A bound of a repetition: digits without leading zeros; too large ones saturate.
fn bound(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    plain.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// Writes a character so that it means itself, within a class and outside.
fn push_literal(out: &mut String, c: char) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' {
        // Writing into a String cannot fail.
        let _infallible = write!(out, "\\x{:02x}", u32::from(c));
    } else {
        out.push(c);
    }
}
