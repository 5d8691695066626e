//! Label selectors as text, by the grammar of `k8s.io/apimachinery/pkg/labels`.

mod contradiction;

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

pub use contradiction::{Contradiction, Given};
use serde::Serialize;

/// A label selector: all requirements must hold. They are sorted by key.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One requirement of a selector.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How the label is compared.
    pub operator: Operator,
    /// What it is compared to: sorted, without duplicates.
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operator {
    /// `in`
    In,
    /// `notin`
    NotIn,
    /// `=`
    Equals,
    /// `==`
    DoubleEquals,
    /// `!=`
    NotEquals,
    /// The key alone.
    Exists,
    /// `!` and the key.
    DoesNotExist,
    /// `>`, between integers.
    GreaterThan,
    /// `<`, between integers.
    LessThan,
}

/// Text that is no label selector.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unable to parse the selector `{text}`: {problem}")]
pub struct SelectorError {
    text: String,
    problem: String,
}

/// The JSON form of a selector: `metav1.LabelSelector`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    match_labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    match_expressions: Vec<Expression>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct Expression {
    key: String,
    operator: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

impl Selector {
    /// Reads a selector. Empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        let mut requirements = parser
            .requirements()
            .map_err(|problem| SelectorError { text: text.to_owned(), problem })?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object with these labels is selected.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }

    /// The JSON form, as `metav1.ParseToLabelSelector` returns it: equalities by key, all else as expressions. What compares
    /// numbers has none and is left out; no metric selector may do so.
    pub fn to_label_selector(&self) -> LabelSelector {
        let mut json = LabelSelector::default();
        for requirement in &self.requirements {
            let Requirement { key, operator, values } = requirement;
            let operator = match operator {
                Operator::Equals | Operator::DoubleEquals => {
                    let value = values.first().cloned().unwrap_or_default();
                    json.match_labels.insert(key.clone(), value);
                    continue;
                }
                Operator::In => "In",
                Operator::NotIn | Operator::NotEquals => "NotIn",
                Operator::Exists => "Exists",
                Operator::DoesNotExist => "DoesNotExist",
                Operator::GreaterThan | Operator::LessThan => continue,
            };
            let (key, values) = (key.clone(), values.clone());
            json.match_expressions.push(Expression { key, operator, values });
        }
        json
    }
}

impl Requirement {
    fn matches(&self, label: Option<&str>) -> bool {
        let is_one = |label: &str| self.values.iter().any(|value| value == label);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => label.is_some_and(is_one),
            Operator::NotIn | Operator::NotEquals => !label.is_some_and(is_one),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.compares(label, |label, bound| label > bound),
            Operator::LessThan => self.compares(label, |label, bound| label < bound),
        }
    }

    fn compares(&self, label: Option<&str>, compare: impl Fn(i64, i64) -> bool) -> bool {
        let label = label.and_then(|label| label.parse().ok());
        let bound = self.values.first().and_then(|value| value.parse().ok());
        matches!((label, bound), (Some(label), Some(bound)) if compare(label, bound))
    }
}

impl Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, operator, values } = self;
        let sign = match operator {
            Operator::Exists => return f.write_str(key),
            Operator::DoesNotExist => return write!(f, "!{key}"),
            Operator::In => return write!(f, "{key} in ({})", values.join(",")),
            Operator::NotIn => return write!(f, "{key} notin ({})", values.join(",")),
            Operator::Equals => "=",
            Operator::DoubleEquals => "==",
            Operator::NotEquals => "!=",
            Operator::GreaterThan => ">",
            Operator::LessThan => "<",
        };
        write!(f, "{key}{sign}{}", values.first().map_or("", String::as_str))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Sign(&'a str),
}

impl Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Word(text) | Self::Sign(text)) = self;
        write!(f, "`{text}`")
    }
}

/// Signs are runs of `=!<>`, of which only some mean anything, and single `(`, `)` and `,`; words are the rest between white
/// space.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let is_comparison = |c: char| matches!(c, '=' | '!' | '<' | '>');
    let is_bracket = |c: char| matches!(c, '(' | ')' | ',');
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let end = if is_bracket(first) {
            Some(1)
        } else if is_comparison(first) {
            rest.find(|c| !is_comparison(c))
        } else {
            rest.find(|c| is_space(c) || is_comparison(c) || is_bracket(c))
        };
        let (token, tail) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, ""));
        tokens.push(if is_bracket(first) || is_comparison(first) {
            Token::Sign(token)
        } else {
            Token::Word(token)
        });
        rest = tail.trim_start_matches(is_space);
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if self.peek().is_none() {
            return Ok(requirements);
        }
        loop {
            requirements.push(self.requirement()?);
            match self.next() {
                None => return Ok(requirements),
                Some(Token::Sign(",")) => {}
                Some(other) => return Err(format!("found {other}, expected `,` or the end")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.peek() == Some(Token::Sign("!")) {
            self.next();
            let key = self.key()?;
            return Ok(Requirement { key, operator: Operator::DoesNotExist, values: Vec::new() });
        }
        let key = self.key()?;
        let operator = match self.peek() {
            None | Some(Token::Sign(",")) => {
                return Ok(Requirement { key, operator: Operator::Exists, values: Vec::new() });
            }
            Some(Token::Word("in")) => Operator::In,
            Some(Token::Word("notin")) => Operator::NotIn,
            Some(Token::Sign("=")) => Operator::Equals,
            Some(Token::Sign("==")) => Operator::DoubleEquals,
            Some(Token::Sign("!=")) => Operator::NotEquals,
            Some(Token::Sign(">")) => Operator::GreaterThan,
            Some(Token::Sign("<")) => Operator::LessThan,
            Some(other) => {
                return Err(format!(
                    "found {other}, expected one of `in`, `notin`, `=`, `==`, `!=`, `>`, `<`"
                ));
            }
        };
        self.next();
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.set()?,
            _ => vec![self.exact_value()?],
        };
        values.sort_unstable();
        values.dedup();
        if matches!(operator, Operator::GreaterThan | Operator::LessThan)
            && let Some(value) = values.iter().find(|value| value.parse::<i64>().is_err())
        {
            return Err(format!("`{value}` is not an integer, as `>` and `<` need"));
        }
        for value in &values {
            check_value(value)?;
        }
        Ok(Requirement { key, operator, values })
    }

    fn key(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Word(key)) => {
                check_key(key)?;
                Ok(key.to_owned())
            }
            Some(other) => Err(format!("found {other}, expected a label key")),
            None => Err("found the end, expected a label key".to_owned()),
        }
    }

    /// A value may be empty: `a=` and `a=,b`.
    fn exact_value(&mut self) -> Result<String, String> {
        match self.peek() {
            None | Some(Token::Sign(",")) => Ok(String::new()),
            Some(Token::Word(value)) => {
                self.next();
                Ok(value.to_owned())
            }
            Some(other) => Err(format!("found {other}, expected a label value")),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Some(Token::Sign("(")) => {}
            Some(other) => return Err(format!("found {other}, expected `(`")),
            None => return Err("found the end, expected `(`".to_owned()),
        }
        let mut values = Vec::new();
        loop {
            // Nothing between two signs is the empty value.
            let value = match self.peek() {
                Some(Token::Word(value)) => {
                    self.next();
                    value
                }
                _ => "",
            };
            values.push(value.to_owned());
            match self.next() {
                Some(Token::Sign(",")) => {}
                Some(Token::Sign(")")) => return Ok(values),
                Some(other) => return Err(format!("found {other}, expected `,` or `)`")),
                None => return Err("found the end, expected `,` or `)`".to_owned()),
            }
        }
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += 1;
        token
    }
}

/// A qualified name: an optional DNS subdomain and a slash, then up to 63 characters.
fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_is_good = prefix.is_none_or(|prefix| {
        !prefix.is_empty()
            && prefix.len() <= 253
            && prefix.split('.').all(|part| {
                is_framed(part, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), |c| c == '-')
            })
    });
    let name_is_good = !name.is_empty() && name.len() <= 63 && is_name(name);
    if prefix_is_good && name_is_good { Ok(()) } else { Err(format!("`{key}` is not a label key")) }
}

fn check_value(value: &str) -> Result<(), String> {
    if value.is_empty() || (value.len() <= 63 && is_name(value)) {
        Ok(())
    } else {
        Err(format!("`{value}` is not a label value"))
    }
}

fn is_name(text: &str) -> bool {
    is_framed(text, |c| c.is_ascii_alphanumeric(), |c| matches!(c, '-' | '_' | '.'))
}

/// Whether a text begins and ends with one of the outer characters and has only outer and inner ones.
fn is_framed(text: &str, outer: impl Fn(char) -> bool, inner: impl Fn(char) -> bool) -> bool {
    text.chars().next().is_some_and(&outer)
        && text.chars().next_back().is_some_and(&outer)
        && text.chars().all(|c| outer(c) || inner(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        text: String,
        ok: bool,
        canonical: Option<String>,
        #[serde(default)]
        requirements: Vec<VectorRequirement>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct VectorRequirement {
        key: String,
        operator: String,
        values: Vec<String>,
    }

    fn go_operator(operator: Operator) -> &'static str {
        match operator {
            Operator::In => "in",
            Operator::NotIn => "notin",
            Operator::Equals => "=",
            Operator::DoubleEquals => "==",
            Operator::NotEquals => "!=",
            Operator::Exists => "exists",
            Operator::DoesNotExist => "!",
            Operator::GreaterThan => "gt",
            Operator::LessThan => "lt",
        }
    }

    #[test]
    fn selectors_are_those_of_go() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../../tests/vectors/selectors.json")).unwrap();
        assert!(vectors.len() > 80);
        for vector in vectors {
            let parsed = Selector::parse(&vector.text);
            assert_eq!(parsed.is_ok(), vector.ok, "{:?}: {parsed:?}", vector.text);
            let Ok(parsed) = parsed else { continue };
            assert_eq!(parsed.to_string(), vector.canonical.unwrap_or_default());
            let requirements: Vec<_> = parsed
                .requirements()
                .iter()
                .map(|requirement| VectorRequirement {
                    key: requirement.key.clone(),
                    operator: go_operator(requirement.operator).to_owned(),
                    // The vectors leave empty values out.
                    values: requirement.values.iter().filter(|v| !v.is_empty()).cloned().collect(),
                })
                .collect();
            assert_eq!(requirements, vector.requirements, "{:?}", vector.text);
        }
    }

    #[test]
    fn matching_follows_go() {
        let labels = [("app", "web"), ("n", "5"), ("empty", "")];
        let cases = [
            ("", true),
            ("app", true),
            ("app=web", true),
            ("app!=web", false),
            ("other!=web", true),
            ("other notin (a)", true),
            ("other in (a,)", false),
            ("!other", true),
            ("empty=", true),
            ("n>4,n<6", true),
            ("n>5", false),
            ("app>1", false),
            ("app in (db,web),!x", true),
        ];
        for (text, wanted) in cases {
            let selector = Selector::parse(text).unwrap();
            let label =
                |key: &str| labels.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
            assert_eq!(selector.matches(label), wanted, "{text}");
        }
    }

    #[test]
    fn the_json_form_is_that_of_metav1() {
        let selector = Selector::parse("b=1,a in (y,x),!c,d!=e,f").unwrap();
        assert_eq!(
            serde_json::to_string(&selector.to_label_selector()).unwrap(),
            r#"{"matchLabels":{"b":"1"},"matchExpressions":[{"key":"a","operator":"In","values":["x","y"]},{"key":"c","operator":"DoesNotExist"},{"key":"d","operator":"NotIn","values":["e"]},{"key":"f","operator":"Exists"}]}"#
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_canonical_text_is_stable(text in "[a-z=!<>(),in ./_-]{0,24}") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
            }
        }
    }
}
