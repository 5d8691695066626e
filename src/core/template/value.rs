//! What the engine and the functions of templates share about values.

use std::sync::Arc;

use gotmpl::Value;

/// The key that distinguishes the data's root, a struct in Go, from a map: a list of its fields in their order, or, if
/// it is a `fmt.Stringer`, its text. No template can name it.
pub(super) const MARKER: &str = "\u{0}struct";

/// The longest text that a template, or a function in it, may produce, in bytes: a loop that doubles a string shall be
/// an error of the rule, not the end of the process.
pub(super) const MAX_LENGTH: usize = 1 << 20;

/// The reason of a rendering that has used up its budget.
pub(super) const TOO_MUCH_WORK: &str = "the template does too much for one query";

/// The reason of a text that is longer than [`MAX_LENGTH`].
pub(super) fn too_long() -> String {
    format!("the text would be longer than {MAX_LENGTH} bytes")
}

pub(super) fn text(text: &str) -> Value {
    Value::String(Arc::from(text))
}
