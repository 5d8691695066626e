//! Go's `fmt` for the values that a template can have: `print`, `println`, and of `printf` what queries need.
//!
//! Lists are `[]string` and maps `map[string]string`: the data has no others. Where Go would print `%!d(string=x)` or the
//! like, it is an error here.

use gotmpl::Value;

use super::value::{MARKER, MAX_LENGTH};
use crate::core::go_quote::quote;

const VERBS: &str = "sqdvgf";

/// The largest width and precision.
const MAX_WIDTH: usize = 1000;

/// `fmt.Sprint`: a space between operands when neither is a string.
pub(super) fn sprint(operands: &[Value]) -> Result<String, String> {
    join(operands, |one, other| ![one, other].iter().any(|value| matches!(value, Value::String(_))))
}

/// `fmt.Sprintln`: a space between all operands, and a newline.
pub(super) fn sprintln(operands: &[Value]) -> Result<String, String> {
    Ok(join(operands, |_, _| true)? + "\n")
}

fn join(operands: &[Value], are_apart: fn(&Value, &Value) -> bool) -> Result<String, String> {
    let mut out = String::new();
    let mut previous = None;
    for operand in operands {
        if previous.is_some_and(|previous| are_apart(previous, operand)) {
            out.push(' ');
        }
        Directive::PLAIN.write(operand, &mut out)?;
        // Nobody gets a text that is too long, whatever follows.
        if out.len() > MAX_LENGTH {
            break;
        }
        previous = Some(operand);
    }
    Ok(out)
}

/// `fmt.Sprintf`.
///
/// # Errors
///
/// Those of [`check`], and an operand that its verb does not print.
pub(super) fn sprintf(format: &str, operands: &[Value]) -> Result<String, String> {
    check(format, operands.len())?;
    let mut out = String::new();
    let mut operands = operands.iter();
    for piece in read(format)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Operand(directive) => {
                directive.write(operands.next().unwrap_or(&Value::Nil), &mut out)?;
            }
        }
        if out.len() > MAX_LENGTH {
            break;
        }
    }
    Ok(out)
}

/// Whether a format can print so many operands.
///
/// # Errors
///
/// A directive that is not supported; more or fewer operands than verbs.
pub(super) fn check(format: &str, operands: usize) -> Result<(), String> {
    let verbs = read(format)?.iter().filter(|piece| matches!(piece, Piece::Operand(_))).count();
    if verbs == operands {
        Ok(())
    } else {
        Err(format!("printf: verbs in the format: {verbs}, operands: {operands}"))
    }
}

enum Piece<'f> {
    Text(&'f str),
    Operand(Directive),
}

fn read(format: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some((text, after)) = rest.split_once('%') {
        pieces.push(Piece::Text(text));
        if let Some(after) = after.strip_prefix('%') {
            pieces.push(Piece::Text("%"));
            rest = after;
        } else {
            let (directive, after) = Directive::read(after).ok_or_else(|| unsupported(after))?;
            pieces.push(Piece::Operand(directive));
            rest = after;
        }
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn unsupported(directive: &str) -> String {
    let before_verb = |c: &char| "+-# 0123456789.*[]".contains(*c);
    let length = directive.chars().take_while(before_verb).count() + 1;
    let directive: String = directive.chars().take(length).collect();
    format!(
        "printf: `%{directive}` is not supported; the verbs are %s %q %d %v %g %f, with the flags - and 0, a width and a precision up to {MAX_WIDTH}"
    )
}

/// How an operand is printed: what stands between a `%` and its verb, and the verb.
#[derive(Clone, Copy)]
struct Directive {
    /// On the left of its width.
    left: bool,
    /// Padded with zeros.
    zero: bool,
    width: usize,
    precision: Option<usize>,
    verb: char,
}

impl Directive {
    const PLAIN: Self = Self { left: false, zero: false, width: 0, precision: None, verb: 'v' };

    /// Reads what follows a `%`, and returns the text behind it.
    fn read(text: &str) -> Option<(Self, &str)> {
        let rest = text.trim_start_matches(['-', '0']);
        let flags = text.strip_suffix(rest)?;
        let left = flags.contains('-');
        let (width, rest) = number(rest)?;
        let (precision, rest) = match rest.strip_prefix('.') {
            Some(rest) => number(rest).map(|(precision, rest)| (Some(precision), rest))?,
            None => (None, rest),
        };
        let verb = rest.chars().next().filter(|verb| VERBS.contains(*verb))?;
        let zero = flags.contains('0') && !left;
        Some((Self { left, zero, width, precision, verb }, rest.strip_prefix(verb)?))
    }

    fn write(self, value: &Value, out: &mut String) -> Result<(), String> {
        match (value, self.verb) {
            (Value::Nil, 'v') => self.pad("<nil>", out),
            (Value::Bool(value), 'v') => self.pad(if *value { "true" } else { "false" }, out),
            (Value::Int(n), 'd' | 'v') => self.integer(i128::from(*n), out),
            (Value::Uint(n), 'd' | 'v') => self.integer(i128::from(*n), out),
            (Value::Float(n), 'f') => self.float(*n, &fixed(*n, self.precision), out),
            (Value::Float(n), 'g' | 'v') => self.float(*n, &general(*n, self.precision), out),
            (Value::String(text), 'q') => self.pad(&quote(self.cut(text)), out),
            (Value::String(text), 's' | 'v') => self.pad(self.cut(text), out),
            (Value::List(items), _) => {
                out.push('[');
                self.write_all(items.iter(), out)?;
                out.push(']');
            }
            (Value::Map(map), _) => match map.get(MARKER) {
                Some(Value::List(fields)) => {
                    out.push('{');
                    let fields = fields.iter().filter_map(Value::as_str);
                    self.write_all(fields.filter_map(|field| map.get(field)), out)?;
                    out.push('}');
                }
                Some(text) => self.write(text, out)?,
                None => {
                    out.push_str("map[");
                    for (n, (key, value)) in map.iter().enumerate() {
                        out.push_str(if n > 0 { " " } else { "" });
                        self.write(&Value::String(key.clone()), out)?;
                        out.push(':');
                        self.write(value, out)?;
                    }
                    out.push(']');
                }
            },
            (value, verb) => {
                return Err(format!("printf: %{verb} cannot print {}", kind(value)));
            }
        }
        Ok(())
    }

    fn write_all<'v>(
        self,
        values: impl Iterator<Item = &'v Value>,
        out: &mut String,
    ) -> Result<(), String> {
        for (n, value) in values.enumerate() {
            out.push_str(if n > 0 { " " } else { "" });
            self.write(value, out)?;
        }
        Ok(())
    }

    /// The precision of a text is how many characters of it are printed.
    fn cut(self, text: &str) -> &str {
        let end = self.precision.and_then(|precision| text.char_indices().nth(precision));
        end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
    }

    /// The precision of an integer is its least number of digits.
    fn integer(self, n: i128, out: &mut String) {
        let sign = if n < 0 { "-" } else { "" };
        let digits = match (self.precision, n) {
            (Some(0), 0) => String::new(),
            (_, n) => n.unsigned_abs().to_string(),
        };
        let least = match self.precision {
            Some(precision) => precision,
            None if self.zero => self.width.saturating_sub(sign.len()),
            None => 0,
        };
        self.pad_with(' ', &format!("{sign}{digits:0>least$}"), out);
    }

    fn float(self, n: f64, magnitude: &str, out: &mut String) {
        let sign = if n.is_sign_negative() && !n.is_nan() {
            "-"
        } else if n.is_infinite() {
            // An infinity always has its sign.
            "+"
        } else {
            ""
        };
        let is_filled = self.zero && n.is_finite();
        let least = if is_filled { self.width.saturating_sub(sign.len()) } else { 0 };
        self.pad_with(' ', &format!("{sign}{magnitude:0>least$}"), out);
    }

    fn pad(self, text: &str, out: &mut String) {
        self.pad_with(if self.zero { '0' } else { ' ' }, text, out);
    }

    fn pad_with(self, fill: char, text: &str, out: &mut String) {
        let padding = std::iter::repeat_n(fill, self.width.saturating_sub(text.chars().count()));
        if self.left {
            out.push_str(text);
            out.extend(padding);
        } else {
            out.extend(padding);
            out.push_str(text);
        }
    }
}

/// Reads a decimal number that may be missing, and returns the text behind it.
fn number(text: &str) -> Option<(usize, &str)> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = match text.strip_suffix(rest)? {
        "" => 0,
        digits => digits.parse().ok().filter(|number| *number <= MAX_WIDTH)?,
    };
    Some((number, rest))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "a value that is not there",
        Value::Bool(_) => "true or false",
        Value::Int(_) | Value::Uint(_) => "an integer",
        Value::Float(_) => "a number with a fraction",
        Value::String(_) => "a string",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Function(_) => "a function",
    }
}

/// `%f` of a number's magnitude.
fn fixed(n: f64, precision: Option<usize>) -> String {
    let n = n.abs();
    if n.is_finite() { format!("{n:.*}", precision.unwrap_or(6)) } else { not_finite(n) }
}

/// `%g` of a number's magnitude.
fn general(n: f64, precision: Option<usize>) -> String {
    let n = n.abs();
    if !n.is_finite() {
        return not_finite(n);
    }
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
    let digits = i64::try_from(mantissa.replace('.', "").len()).unwrap_or(i64::MAX);
    let limit = match precision.map(|precision| i64::try_from(precision.max(1))) {
        Some(Ok(precision)) if precision > digits && digits > power => digits,
        Some(precision) => precision.unwrap_or(i64::MAX),
        None => 6,
    };
    if power < -4 || power >= limit {
        format!("{mantissa}e{power:+03}")
    } else {
        format!("{n:.*}", usize::try_from(digits - 1 - power).unwrap_or(0))
    }
}

fn not_finite(n: f64) -> String {
    if n.is_nan() { "NaN" } else { "Inf" }.to_owned()
}

#[cfg(test)]
mod tests;
