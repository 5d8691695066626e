//! Go's `fmt` for the values that a template can have.
//!
//! Lists are `[]string` and maps `map[string]string`, because the data has no others. Of `%b`, `%x` and `%#` for
//! floats, which no query needs, only the decimal forms are there.

use std::fmt::Write as _;

use gotmpl::Value;

use super::engine::{MARKER, MAX_LENGTH};
use crate::core::go_quote::{is_print, quote, quote_ascii, quote_char};

/// Go's own limit for width and precision.
const MAX_WIDTH: usize = 1_000_000;

/// `fmt.Sprint`: a space between operands when neither is a string.
pub(super) fn sprint(arguments: &[Value]) -> String {
    let mut printer = Printer::default();
    let mut after_string = true;
    for (n, argument) in arguments.iter().enumerate() {
        let is_string = matches!(argument, Value::String(_));
        if n > 0 && !is_string && !after_string {
            printer.out.push(' ');
        }
        printer.value(argument, 'v');
        if printer.is_full() {
            break;
        }
        after_string = is_string;
    }
    printer.out
}

/// `fmt.Sprintln`: a space between all operands, and a newline.
pub(super) fn sprintln(arguments: &[Value]) -> String {
    let mut printer = Printer::default();
    for (n, argument) in arguments.iter().enumerate() {
        if n > 0 {
            printer.out.push(' ');
        }
        printer.value(argument, 'v');
        if printer.is_full() {
            break;
        }
    }
    printer.out.push('\n');
    printer.out
}

/// `fmt.Sprintf`.
pub(super) fn sprintf(format: &str, arguments: &[Value]) -> String {
    let mut printer = Printer::default();
    let mut rest = format;
    let mut arguments = Arguments { all: arguments, next: 0, good: true, reordered: false };
    while let Some((literal, directive)) = rest.split_once('%') {
        printer.out.push_str(literal);
        rest = printer.directive(directive, &mut arguments);
        if printer.is_full() {
            return printer.out;
        }
    }
    printer.out.push_str(rest);
    if !arguments.reordered {
        printer.extra(arguments.all.get(arguments.next..).unwrap_or_default());
    }
    printer.out
}

/// The operands of one call, and which comes next.
struct Arguments<'a> {
    all: &'a [Value],
    next: usize,
    /// False once an explicit index in the current directive makes no sense.
    good: bool,
    /// Whether any directive chose its operand by an explicit index.
    reordered: bool,
}

impl Arguments<'_> {
    /// Reads `[n]`, if there is one; true if so.
    fn index(&mut self, rest: &mut &str) -> bool {
        let Some(inner) = rest.strip_prefix('[') else {
            return false;
        };
        self.reordered = true;
        let Some((number, after)) = inner.split_once(']') else {
            self.good = false;
            *rest = inner;
            return false;
        };
        *rest = after;
        match number.parse::<usize>() {
            Ok(n) if (1..=self.all.len()).contains(&n) => self.next = n - 1,
            _ => self.good = false,
        }
        true
    }

    /// Takes an operand as a width or precision.
    fn integer(&mut self) -> Option<i64> {
        let value = self.all.get(self.next);
        self.next += usize::from(value.is_some());
        match value {
            Some(Value::Int(n)) if n.unsigned_abs() <= MAX_WIDTH as u64 => Some(*n),
            _ => None,
        }
    }
}

/// What stands between a `%` and its verb.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "Go's flags are independent of each other")]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

#[derive(Default)]
struct Printer {
    out: String,
    flags: Flags,
}

impl Printer {
    /// Whether the text is too long already, so that nobody will get it, whatever follows.
    fn is_full(&self) -> bool {
        self.out.len() > MAX_LENGTH
    }

    /// Executes what follows a `%`, and returns the text behind it.
    fn directive<'f>(&mut self, directive: &'f str, arguments: &mut Arguments<'_>) -> &'f str {
        let mut rest = self.read_flags(directive);
        arguments.good = true;
        let mut indexed = arguments.index(&mut rest);

        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            match arguments.integer() {
                Some(width) => {
                    self.flags.minus |= width < 0;
                    self.flags.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
            indexed = false;
        } else {
            self.flags.width = number(&mut rest);
            arguments.good &= !(indexed && self.flags.width.is_some());
        }

        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            arguments.good &= !indexed;
            indexed = arguments.index(&mut rest);
            if let Some(after) = rest.strip_prefix('*') {
                rest = after;
                match arguments.integer().map(usize::try_from) {
                    Some(Ok(precision)) => self.flags.precision = Some(precision),
                    // Negative is as if it were not there.
                    Some(Err(_)) => {}
                    None => self.out.push_str("%!(BADPREC)"),
                }
                indexed = false;
            } else {
                self.flags.precision = Some(number(&mut rest).unwrap_or(0));
            }
        }
        if !indexed {
            arguments.index(&mut rest);
        }

        let mut chars = rest.chars();
        match chars.next() {
            None => self.out.push_str("%!(NOVERB)"),
            Some('%') => self.out.push('%'),
            Some(verb) if !arguments.good => self.complain(verb, "BADINDEX"),
            Some(verb) => match arguments.all.get(arguments.next) {
                None => self.complain(verb, "MISSING"),
                Some(value) => {
                    arguments.next += 1;
                    self.value(value, verb);
                }
            },
        }
        chars.as_str()
    }

    fn read_flags<'f>(&mut self, text: &'f str) -> &'f str {
        self.flags = Flags::default();
        let mut chars = text.chars();
        loop {
            let rest = chars.as_str();
            match chars.next() {
                Some('-') => self.flags.minus = true,
                Some('+') => self.flags.plus = true,
                Some('#') => self.flags.sharp = true,
                Some(' ') => self.flags.space = true,
                Some('0') => self.flags.zero = true,
                _ => return rest,
            }
        }
    }

    fn complain(&mut self, verb: char, about: &str) {
        self.out.push_str("%!");
        self.out.push(verb);
        self.out.push('(');
        self.out.push_str(about);
        self.out.push(')');
    }

    /// Operands that no directive asked for.
    fn extra(&mut self, values: &[Value]) {
        if values.is_empty() {
            return;
        }
        self.flags = Flags::default();
        self.out.push_str("%!(EXTRA ");
        for (n, value) in values.iter().enumerate() {
            if n > 0 {
                self.out.push_str(", ");
            }
            self.typed(value);
        }
        self.out.push(')');
    }

    /// `type=value`
    fn typed(&mut self, value: &Value) {
        if !matches!(value, Value::Nil) {
            self.out.push_str(type_name(value));
            self.out.push('=');
        }
        self.value(value, 'v');
    }

    fn bad_verb(&mut self, value: &Value, verb: char) {
        self.out.push_str("%!");
        self.out.push(verb);
        self.out.push('(');
        self.typed(value);
        self.out.push(')');
    }

    fn value(&mut self, value: &Value, verb: char) {
        match value {
            value if verb == 'T' => self.padded(type_name(value)),
            Value::Nil if verb == 'v' => self.padded("<nil>"),
            Value::Bool(value) if matches!(verb, 't' | 'v') => {
                self.padded(if *value { "true" } else { "false" });
            }
            Value::Int(n) => self.integer(value, i128::from(*n), verb),
            Value::Uint(n) => self.integer(value, i128::from(*n), verb),
            Value::Float(n) => match verb {
                'v' => self.float(*n, 'g'),
                'e' | 'E' | 'f' | 'g' | 'G' => self.float(*n, verb),
                'F' => self.float(*n, 'f'),
                _ => self.bad_verb(value, verb),
            },
            Value::String(text) => self.string(value, text, verb),
            Value::List(items) => {
                let go_syntax = verb == 'v' && self.flags.sharp;
                self.out.push_str(if go_syntax { "[]string{" } else { "[" });
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        self.out.push_str(if go_syntax { ", " } else { " " });
                    }
                    self.value(item, verb);
                }
                self.out.push(if go_syntax { '}' } else { ']' });
            }
            Value::Map(map) => match map.get(MARKER) {
                Some(Value::List(fields)) => self.structure(fields, value, verb),
                Some(text) => self.value(text, verb),
                None => {
                    let go_syntax = verb == 'v' && self.flags.sharp;
                    self.out.push_str(if go_syntax { "map[string]string{" } else { "map[" });
                    for (n, (key, value)) in map.iter().enumerate() {
                        if n > 0 {
                            self.out.push_str(if go_syntax { ", " } else { " " });
                        }
                        self.value(&Value::String(key.clone()), verb);
                        self.out.push(':');
                        self.value(value, verb);
                    }
                    self.out.push(if go_syntax { '}' } else { ']' });
                }
            },
            value => self.bad_verb(value, verb),
        }
    }

    /// The data of a query template; its type's name, which `%#v` would show, is nobody's business here.
    fn structure(&mut self, fields: &[Value], value: &Value, verb: char) {
        self.out.push('{');
        for (n, field) in fields.iter().filter_map(Value::as_str).enumerate() {
            if n > 0 {
                self.out.push(' ');
            }
            if verb == 'v' && self.flags.plus {
                self.out.push_str(field);
                self.out.push(':');
            }
            self.value(value.field(field).unwrap_or(&Value::Nil), verb);
        }
        self.out.push('}');
    }

    fn string(&mut self, value: &Value, text: &str, verb: char) {
        let Flags { sharp, plus, precision, .. } = self.flags;
        let truncated: &str = match precision.and_then(|n| text.char_indices().nth(n)) {
            Some((end, _)) => text.get(..end).unwrap_or(text),
            None => text,
        };
        match verb {
            'v' if sharp => self.padded(&quote(text)),
            'v' | 's' => self.padded(truncated),
            'q' if sharp && can_backquote(truncated) => self.padded(&format!("`{truncated}`")),
            'q' if plus => self.padded(&quote_ascii(truncated)),
            'q' => self.padded(&quote(truncated)),
            'x' | 'X' => self.padded(&hexadecimal(text.as_bytes(), verb == 'X', self.flags)),
            _ => self.bad_verb(value, verb),
        }
    }

    fn integer(&mut self, value: &Value, n: i128, verb: char) {
        let as_char = || u32::try_from(n).ok().and_then(char::from_u32);
        let digits = match verb {
            'v' | 'd' => n.unsigned_abs().to_string(),
            'b' => format!("{:b}", n.unsigned_abs()),
            'o' | 'O' => format!("{:o}", n.unsigned_abs()),
            'x' => format!("{:x}", n.unsigned_abs()),
            'X' => format!("{:X}", n.unsigned_abs()),
            'c' => return self.padded(as_char().unwrap_or('\u{fffd}').encode_utf8(&mut [0; 4])),
            'q' => {
                let c = as_char().unwrap_or('\u{fffd}');
                return self.padded(&quote_char(c));
            }
            'U' => {
                // Go prints the bits of a negative number.
                let bits = if n < 0 { n + (1 << 64) } else { n };
                let mut text = format!("U+{bits:04X}");
                if let Some(c) = as_char().filter(|c| self.flags.sharp && is_print(*c)) {
                    let _infallible = write!(text, " '{c}'");
                }
                return self.padded(&text);
            }
            _ => return self.bad_verb(value, verb),
        };

        let Flags { minus, plus, space, zero, sharp, width, precision } = self.flags;
        let sign = match (n < 0, plus, space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (.., true) => " ",
            _ => "",
        };
        let least = match (precision, width) {
            // Nothing, padded.
            (Some(0), _) if n == 0 => return self.with_spaces(""),
            (Some(precision), _) => precision,
            (None, Some(width)) if zero && !minus => width - width.min(sign.len()),
            _ => 0,
        };
        let mut digits = format!("{}{digits}", zeros(least, digits.len()));
        let prefix = match verb {
            'O' => "0o",
            'b' if sharp => "0b",
            'x' if sharp => "0x",
            'X' if sharp => "0X",
            'o' if sharp && !digits.starts_with('0') => "0",
            _ => "",
        };
        digits.insert_str(0, prefix);
        digits.insert_str(0, sign);
        self.with_spaces(&digits);
    }

    fn float(&mut self, n: f64, verb: char) {
        let Flags { minus, plus, space, zero, width, precision, .. } = self.flags;
        let magnitude = float_text(n.abs(), verb, precision);
        let sign = match (n.is_sign_negative() && !n.is_nan(), plus, space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (.., true) => " ",
            // An infinity always has its sign.
            _ if n.is_infinite() => "+",
            _ => "",
        };
        let fill = match width {
            Some(width) if zero && !minus && n.is_finite() => {
                zeros(width, sign.len() + magnitude.len())
            }
            _ => String::new(),
        };
        self.with_spaces(&format!("{sign}{fill}{magnitude}"));
    }

    /// Writes text padded to the width, as the flags say.
    fn padded(&mut self, text: &str) {
        let fill = if self.flags.zero && !self.flags.minus { '0' } else { ' ' };
        self.fill(text, fill);
    }

    fn with_spaces(&mut self, text: &str) {
        self.fill(text, ' ');
    }

    fn fill(&mut self, text: &str, fill: char) {
        let missing = self.flags.width.unwrap_or(0).saturating_sub(text.chars().count());
        let padding = std::iter::repeat_n(fill, missing);
        if self.flags.minus {
            self.out.push_str(text);
            self.out.extend(padding);
        } else {
            self.out.extend(padding);
            self.out.push_str(text);
        }
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "[]string",
        Value::Map(map) if map.contains_key(MARKER) => "struct",
        Value::Map(_) => "map[string]string",
        Value::Function(_) => "func",
    }
}

/// Reads a decimal number; too large ones count as none.
fn number(rest: &mut &str) -> Option<usize> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits.parse().ok().filter(|n| *n <= MAX_WIDTH)
}

fn zeros(width: usize, have: usize) -> String {
    "0".repeat(width.saturating_sub(have))
}

/// `strconv.CanBackquote`
fn can_backquote(text: &str) -> bool {
    !text.contains(|c: char| c == '`' || c == '\u{feff}' || (c != '\t' && c.is_ascii_control()))
}

/// `%x` of a string: with `#` a prefix, with a space the bytes apart (and each prefixed).
fn hexadecimal(bytes: &[u8], upper: bool, flags: Flags) -> String {
    let prefix = match (flags.sharp, upper) {
        (false, _) => "",
        (true, false) => "0x",
        (true, true) => "0X",
    };
    let mut out = String::new();
    for (n, byte) in bytes.iter().take(flags.precision.unwrap_or(usize::MAX)).enumerate() {
        if n > 0 && flags.space {
            out.push(' ');
        }
        if n == 0 || flags.space {
            out.push_str(prefix);
        }
        let _infallible = if upper { write!(out, "{byte:02X}") } else { write!(out, "{byte:02x}") };
    }
    out
}

/// `strconv.FormatFloat` of a number that is not negative.
fn float_text(n: f64, verb: char, precision: Option<usize>) -> String {
    if n.is_nan() {
        return "NaN".to_owned();
    }
    if n.is_infinite() {
        return "Inf".to_owned();
    }
    let upper = verb.is_ascii_uppercase();
    match verb {
        'f' => format!("{n:.*}", precision.unwrap_or(6)),
        'e' | 'E' => exponent(&format!("{n:.*e}", precision.unwrap_or(6)), upper),
        _ => {
            // The significant digits: all that it takes to read the same number back, or as many as asked for.
            let scientific = match precision {
                None => format!("{n:e}"),
                Some(precision) => format!("{n:.*e}", precision.max(1) - 1),
            };
            let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
            let power: i64 = power.parse().unwrap_or(0);
            let mantissa = if mantissa.contains('.') {
                mantissa.trim_end_matches('0').trim_end_matches('.')
            } else {
                mantissa
            };
            let digits = i64::try_from(mantissa.len() - usize::from(mantissa.contains('.')))
                .unwrap_or(i64::MAX);
            let limit = match precision {
                None => 6,
                Some(precision) => {
                    let precision = i64::try_from(precision.max(1)).unwrap_or(i64::MAX);
                    if precision > digits && digits > power { digits } else { precision }
                }
            };
            if power < -4 || power >= limit {
                exponent(&format!("{mantissa}e{power}"), upper)
            } else {
                let decimals = usize::try_from(digits - 1 - power).unwrap_or(0);
                format!("{n:.decimals$}")
            }
        }
    }
}

/// Rust's `1.5e3` as Go's `1.5e+03`.
fn exponent(scientific: &str, upper: bool) -> String {
    let (mantissa, power) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => ('-', power),
        None => ('+', power),
    };
    let e = if upper { 'E' } else { 'e' };
    format!("{mantissa}{e}{sign}{power:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Value {
        Value::String(text.into())
    }

    #[test]
    fn nothing_is_written_once_the_text_is_too_long() {
        let wide = [Value::Int(1)];
        let most = MAX_LENGTH + MAX_WIDTH + 1;
        assert!(sprintf(&"%1000000[1]d".repeat(100), &wide).len() <= most);
        let long: Vec<_> = vec![Value::String("x".repeat(MAX_LENGTH / 2).into()); 100];
        assert!(sprint(&long).len() <= 2 * MAX_LENGTH);
        assert!(sprintln(&long).len() <= 2 * MAX_LENGTH);
    }

    #[test]
    fn verbs_and_flags() {
        let list = Value::List([string("a"), string("b c")].into());
        for (format, value, text) in [
            ("%v", Value::Nil, "<nil>"),
            ("%s", Value::Nil, "%!s(<nil>)"),
            ("%5t|", Value::Bool(true), " true|"),
            ("%d", Value::Bool(true), "%!d(bool=true)"),
            ("%-6sx", string("é"), "é     x"),
            ("%06s", string("ab"), "0000ab"),
            ("%.1s", string("éa"), "é"),
            ("%.2q", string("éa\n"), "\"éa\""),
            ("%q", string("a\"\u{a0}"), r#""a\"\u00a0""#),
            ("%#q", string("a"), "`a`"),
            ("%+q", string("é"), r#""\u00e9""#),
            ("% x", string("ab"), "61 62"),
            ("%#X", string("az"), "0X617A"),
            ("%d", string("x"), "%!d(string=x)"),
            ("%T", string("x"), "string"),
            ("%q", list.clone(), r#"["a" "b c"]"#),
            ("%3s|", list.clone(), "[  a b c]|"),
            ("%d", list.clone(), "[%!d(string=a) %!d(string=b c)]"),
            ("%#v", list, r#"[]string{"a", "b c"}"#),
            ("%+05d", Value::Int(42), "+0042"),
            ("%-5d|", Value::Int(-42), "-42  |"),
            ("%.3d", Value::Int(7), "007"),
            ("%.0d|", Value::Int(0), "|"),
            ("%#x", Value::Int(255), "0xff"),
            ("%#o", Value::Int(8), "010"),
            ("%c%%", Value::Int(233), "é%"),
            ("%q", Value::Int(39), r"'\''"),
            ("%#U", Value::Int(65), "U+0041 'A'"),
            ("%U", Value::Int(-1), "U+FFFFFFFFFFFFFFFF"),
            ("%s", Value::Int(5), "%!s(int=5)"),
            ("%d", Value::Float(5.0), "%!d(float64=5)"),
            ("%v", Value::Float(1e6), "1e+06"),
            ("%v", Value::Float(100_000.0), "100000"),
            ("%v", Value::Float(0.00001), "1e-05"),
            ("%g", Value::Float(0.25), "0.25"),
            ("%.3g", Value::Float(1234.5), "1.23e+03"),
            ("%.3g", Value::Float(100.0), "100"),
            ("%.2f", Value::Float(2.0), "2.00"),
            ("%08.3f", Value::Float(-1.5), "-001.500"),
            ("%+.1e", Value::Float(1250.0), "+1.2e+03"),
            ("%v", Value::Float(f64::INFINITY), "+Inf"),
            ("%!", string("x"), "%!!(string=x)"),
            ("%z", string("x"), "%!z(string=x)"),
        ] {
            assert_eq!(sprintf(format, &[value]), text, "{format}");
        }
    }

    #[test]
    fn operands() {
        let two = [Value::Int(1), string("x")];
        for (format, text) in [
            ("%[2]s%[1]d", "x1"),
            ("%[2]*d", "%!(BADWIDTH)%!d(MISSING)"),
            ("%*s", "x"),
            ("%d", "1%!(EXTRA string=x)"),
            ("%d %s %d", "1 x %!d(MISSING)"),
            ("%[3]d", "%!d(BADINDEX)"),
            ("%[x]d", "%!d(BADINDEX)"),
            ("%d%s%", "1x%!(NOVERB)"),
            ("", "%!(EXTRA int=1, string=x)"),
        ] {
            assert_eq!(sprintf(format, &two), text, "{format}");
        }
    }

    #[test]
    fn spaces_between_operands() {
        let mixed = [string("a"), Value::Int(1), Value::Int(2), string("b"), Value::Bool(true)];
        assert_eq!(sprint(&mixed), "a1 2btrue");
        assert_eq!(sprintln(&mixed), "a 1 2 b true\n");
    }
}
