//! Predefined functions that gotmpl has differently from Go.

use gotmpl::{Result, Template, TemplateError, Value, html_escape, js_escape, url_encode};

use crate::core::{go_quote::quote, names};

use super::value::{MARKER, MAX_LENGTH, TOO_MUCH_WORK, text, too_long};
use super::{budget, format};

/// Replaces them in `template`.
pub(super) fn register(template: Template) -> Template {
    template
        .func("index", index)
        .func("len", len)
        .func("print", |arguments| made(format::sprint(arguments)))
        .func("println", |arguments| made(format::sprintln(arguments)))
        .func("printf", printf)
        .func("html", |arguments| bounded(&html_escape(&escapable(arguments)?)))
        .func("js", |arguments| bounded(&js_escape(&escapable(arguments)?)))
        .func("urlquery", |arguments| bounded(&url_encode(&escapable(arguments)?)))
}

/// In Go the map is a `map[string]string`: what it lacks is empty, not nil.
fn index(arguments: &[Value]) -> Result<Value> {
    let Some((collection, keys)) = arguments.split_first() else {
        return Err(failure("index needs an argument"));
    };
    let mut value = collection.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Map(map), _) if map.contains_key(MARKER) => {
                return Err(failure("cannot index the data itself"));
            }
            (Value::Map(map), Value::String(key)) => {
                let other = || other_keys(key).iter().find_map(|key| map.get(&**key));
                map.get(&**key).or_else(other).cloned().unwrap_or_else(|| text(""))
            }
            _ => value.index(key)?,
        };
    }
    Ok(value)
}

/// What a label that has to be quoted may be in the map, if a template names it without the quotes.
fn other_keys(label: &str) -> [String; 2] {
    [quote(label), names::label_stand_in(label)]
}

fn len(arguments: &[Value]) -> Result<Value> {
    let [value] = arguments else {
        return Err(failure("len needs one argument"));
    };
    let length = match value {
        Value::Map(map) if map.contains_key(MARKER) => None,
        value => value.len().and_then(|length| i64::try_from(length).ok()),
    };
    length.map(Value::Int).ok_or_else(|| failure("len of something that has no length"))
}

fn printf(arguments: &[Value]) -> Result<Value> {
    match arguments.split_first() {
        Some((Value::String(format), arguments)) => made(format::sprintf(format, arguments)),
        _ => Err(failure("printf needs a format")),
    }
}

/// What the escaping functions are given: as printed, but nil as the engine prints it.
fn escapable(arguments: &[Value]) -> Result<String> {
    match arguments {
        [Value::Nil] => Ok("<no value>".to_owned()),
        arguments => format::sprint(arguments).map_err(|reason| failure(&reason)),
    }
}

fn made(result: std::result::Result<String, String>) -> Result<Value> {
    bounded(&result.map_err(|reason| failure(&reason))?)
}

fn bounded(result: &str) -> Result<Value> {
    if result.len() > MAX_LENGTH {
        return Err(failure(&too_long()));
    }
    if budget::made(result.len()) { Ok(text(result)) } else { Err(failure(TOO_MUCH_WORK)) }
}

fn failure(reason: &str) -> TemplateError {
    TemplateError::Exec(reason.to_owned())
}
