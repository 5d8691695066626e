//! How a value is written by a verb.

use std::fmt::Write as _;

use gotmpl::Value;

use super::{Flags, Printer};
use crate::core::{
    go_quote::{is_print, quote, quote_ascii, quote_char},
    template::engine::MARKER,
};

impl Printer {
    /// `type=value`
    pub(super) fn typed(&mut self, value: &Value) {
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

    pub(super) fn value(&mut self, value: &Value, verb: char) {
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
