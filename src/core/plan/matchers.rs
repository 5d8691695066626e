//! Selectors and names as label matchers.

use std::collections::BTreeMap;

use super::PlanError;
use crate::core::{
    go_quote::quote,
    go_regex::quote_meta,
    names,
    selector::{Operator, Selector},
};

/// Values as a regular expression that matches just these.
pub(super) fn alternatives<S: AsRef<str>>(values: &[S]) -> String {
    values.iter().map(|value| quote_meta(value.as_ref())).collect::<Vec<_>>().join("|")
}

/// Label matchers in the making: their text, and the values by label for `.LabelValuesByName`.
#[derive(Default)]
pub(in crate::core) struct Matchers {
    pub(in crate::core) text: String,
    pub(in crate::core) values: BTreeMap<String, String>,
}

impl Matchers {
    pub(in crate::core) fn push(
        &mut self,
        label: &str,
        operator: &str,
        value: &str,
        plain: String,
    ) {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(&names::label(label));
        self.text.push_str(operator);
        self.text.push_str(&quote(value));
        self.values.insert(label.to_owned(), plain);
    }

    pub(in crate::core) fn selector(&mut self, selector: &Selector) -> Result<(), PlanError> {
        for requirement in selector.requirements() {
            let key = requirement.key.as_str();
            let values = &requirement.values;
            let first = values.first().map_or("", String::as_str);
            let plain = values.join("|");
            match requirement.operator {
                Operator::Equals | Operator::DoubleEquals => self.push(key, "=", first, plain),
                Operator::NotEquals => self.push(key, "!=", first, plain),
                Operator::In => self.push(key, "=~", &alternatives(values), plain),
                Operator::NotIn => self.push(key, "!~", &alternatives(values), plain),
                Operator::Exists => self.push(key, "!=", "", plain),
                Operator::DoesNotExist => self.push(key, "=", "", plain),
                Operator::GreaterThan | Operator::LessThan => {
                    return Err(PlanError::Selector(format!(
                        "the metric selector compares `{key}` by `>` or `<`, which label matchers cannot"
                    )));
                }
            }
        }
        Ok(())
    }
}
