//! Go's `fmt` for the values that a template can have.
//!
//! Lists are `[]string` and maps `map[string]string`, because the data has no others. Of `%b`, `%x` and `%#` for
//! floats, which no query needs, only the decimal forms are there.

mod values;

use gotmpl::Value;

use super::engine::MAX_LENGTH;

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
}

/// Reads a decimal number; too large ones count as none.
fn number(rest: &mut &str) -> Option<usize> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits.parse().ok().filter(|n| *n <= MAX_WIDTH)
}

#[cfg(test)]
mod tests;
