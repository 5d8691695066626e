//! Field selectors, as far as what metrics.k8s.io lists has fields: `metadata.name` and `metadata.namespace`.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/fields`: terms with commas between them, `=`, `==` or `!=` in each, and a
//! backslash before a comma, an equals sign or a backslash that is part of a value.

use std::fmt;

/// Which objects are selected; without terms all of them.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Term {
    field: Field,
    is_equal: bool,
    value: String,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Field {
    Name,
    Namespace,
}

/// Text that is no field selector, or one of other fields.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FieldError {
    /// Not a field, an operator and a value.
    #[error("invalid field selector: `{0}` is not FIELD=VALUE, FIELD==VALUE or FIELD!=VALUE")]
    Form(String),
    /// The field is none of ours.
    #[error(
        "field label not supported: {0:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    )]
    Unknown(String),
}

impl FieldSelector {
    /// Selects by name.
    pub fn of_name(name: &str) -> Self {
        Self { terms: vec![Term { field: Field::Name, is_equal: true, value: name.to_owned() }] }
    }

    /// Reads a field selector. Empty terms mean nothing.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let terms = split(text).into_iter().filter(|term| !term.is_empty());
        Ok(Self { terms: terms.map(|term| Term::parse(&term)).collect::<Result<_, _>>()? })
    }

    /// Whether an object is selected. What is in no namespace has an empty one.
    pub fn matches(&self, namespace: &str, name: &str) -> bool {
        self.terms.iter().all(|term| {
            let value = match term.field {
                Field::Name => name,
                Field::Namespace => namespace,
            };
            (value == term.value) == term.is_equal
        })
    }

    /// Whether all objects are selected.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one namespace that objects have to be in, if a term says so.
    pub fn namespace(&self) -> Option<&str> {
        let mut terms = self.terms.iter();
        let term = terms.find(|term| term.field == Field::Namespace && term.is_equal)?;
        Some(&term.value)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.terms.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let field = match term.field {
                Field::Name => "metadata.name",
                Field::Namespace => "metadata.namespace",
            };
            let operator = if term.is_equal { "=" } else { "!=" };
            write!(f, "{comma}{field}{operator}{}", term.value)?;
        }
        Ok(())
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self, FieldError> {
        let form = || FieldError::Form(text.to_owned());
        let (left, right) = text.split_once('=').ok_or_else(form)?;
        let (field, is_equal) = left.strip_suffix('!').map_or((left, true), |field| (field, false));
        let value = if is_equal { right.strip_prefix('=').unwrap_or(right) } else { right };
        let field = match field {
            "metadata.name" => Field::Name,
            "metadata.namespace" => Field::Namespace,
            other => return Err(FieldError::Unknown(other.to_owned())),
        };
        Ok(Self { field, is_equal, value: unescape(value).ok_or_else(form)? })
    }
}

/// The terms between commas that no backslash stands before.
fn split(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut is_escaped = false;
    for c in text.chars() {
        if c == ',' && !is_escaped {
            terms.push(String::new());
        } else if let Some(term) = terms.last_mut() {
            term.push(c);
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    terms
}

/// A value without its backslashes; nothing where one is missing, or stands before something else.
fn unescape(value: &str) -> Option<String> {
    let mut plain = String::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => plain.push(rest.next().filter(|c| matches!(c, ',' | '=' | '\\'))?),
            ',' | '=' => return None,
            c => plain.push(c),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_and_all_have_to_match() {
        let cases = [
            ("", "team/web", true),
            (",", "team/web", true),
            ("metadata.name=web", "team/web", true),
            ("metadata.name==web", "team/web", true),
            ("metadata.name!=web", "team/web", false),
            ("metadata.name=web", "team/db", false),
            ("metadata.namespace=team,metadata.name!=db", "team/web", true),
            ("metadata.namespace=team,metadata.name!=db", "team/db", false),
            ("metadata.namespace!=team", "other/web", true),
            ("metadata.namespace=", "/node", true),
            (r"metadata.name=a\,b", "team/a,b", true),
            (r"metadata.name=a\=b\\", r"team/a=b\", true),
        ];
        for (text, object, wanted) in cases {
            let (namespace, name) = object.split_once('/').unwrap();
            let selector = FieldSelector::parse(text).unwrap();
            assert_eq!(selector.matches(namespace, name), wanted, "{text} {object}");
        }
    }

    #[test]
    fn the_one_namespace_is_known() {
        let namespace =
            |text: &str| FieldSelector::parse(text).unwrap().namespace().map(str::to_owned);
        assert_eq!(namespace("metadata.namespace=team").as_deref(), Some("team"));
        assert_eq!(namespace("metadata.namespace!=team"), None);
        assert_eq!(namespace("metadata.name=team"), None);
    }

    #[test]
    fn other_fields_are_refused_with_those_that_are_known() {
        let error = FieldSelector::parse("spec.nodeName=n").unwrap_err().to_string();
        assert!(error.contains(r#""spec.nodeName" is not a known field"#), "{error}");
        assert!(error.contains(r#"only "metadata.name", "metadata.namespace""#), "{error}");
    }

    #[test]
    fn what_is_no_term_is_refused() {
        for text in
            ["metadata.name", "metadata.name in (a)", r"metadata.name=a\b", "metadata.name=a=b"]
        {
            let error = FieldSelector::parse(text).unwrap_err();
            assert!(matches!(error, FieldError::Form(_)), "{text}: {error}");
        }
    }
}
