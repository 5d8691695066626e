//! What no backend takes in a query, whatever its dialect: placeholders in other signs than those of the template, variables of
//! Grafana, and the name of a series that stands in braces as it is.

use crate::core::promql::{Token, tokens};

/// What a template may name.
const PLACEHOLDERS: [&str; 5] =
    [".Series", ".LabelMatchers", ".LabelValuesByName", ".GroupBy", ".GroupBySlice"];

/// Variables of Grafana that are durations in `MetricsQL`.
const DURATIONS: [&str; 3] = ["__interval", "__rate_interval", "__range"];

/// A slip, and what to write instead.
pub(super) struct Slip {
    pub(super) message: String,
    pub(super) help: String,
}

/// The first slip in a query that the parser refuses, and in the template that it is rendered from.
pub(super) fn find(template: &str, query: &str) -> Option<Slip> {
    if let Some(name) = placeholder(query) {
        return Some(Slip {
            message: format!(
                "`{name}` does not stand between `<<` and `>>`, so it is sent as it is, and no backend takes it"
            ),
            help: format!("write `<<{name}>>`"),
        });
    }
    if is_series_in_braces(template) {
        return Some(Slip {
            message: "<<.Series>> stands in braces without quotes, where it is no name".to_owned(),
            help: "write `<<.Series>>{…}`, or `{\"<<.Series>>\",…}`".to_owned(),
        });
    }
    let variable = variables(query).find(|variable| !DURATIONS.contains(variable))?;
    Some(Slip {
        message: format!("`${variable}` is a variable of Grafana, which only Grafana replaces"),
        help: "write the value, or a placeholder such as <<.LabelMatchers>>".to_owned(),
    })
}

/// A variable of Grafana that VictoriaMetrics replaces, too.
pub(super) fn duration(query: &str) -> Option<&str> {
    variables(query).find(|variable| DURATIONS.contains(variable))
}

fn placeholder(query: &str) -> Option<&'static str> {
    tokens(query).find_map(|token| {
        let Token::Word(word) = token else { return None };
        let is_meant = |name: &&&str| {
            let rest = word.strip_prefix(**name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        PLACEHOLDERS.iter().find(is_meant).copied()
    })
}

/// Whether the name begins a selector's braces. `WITH` of `MetricsQL` names matchers that may stand there.
fn is_series_in_braces(template: &str) -> bool {
    let dense: String = template.split_whitespace().collect();
    let is_there = ["{<<.Series>>,", "{<<.Series>>}"].iter().any(|text| dense.contains(text));
    is_there && !template.to_ascii_lowercase().contains("with")
}

/// The names of variables, as in `$name`, `${name}` and `[$name]`. Within strings they may be groups of a pattern.
fn variables(query: &str) -> impl Iterator<Item = &str> {
    let mut is_begun = false;
    let mut is_open = false;
    tokens(query).filter_map(move |token| {
        let was_begun = std::mem::take(&mut is_begun);
        let was_open = std::mem::take(&mut is_open);
        match token {
            Token::Sign('$') => {
                is_begun = true;
                None
            }
            Token::Sign('{') => {
                is_open = was_begun;
                None
            }
            Token::Word(word) if was_begun || was_open => Some(word),
            Token::Brackets(text) => {
                let variable = text.trim_start_matches('[').trim().strip_prefix('$')?;
                let variable = variable.strip_prefix('{').unwrap_or(variable);
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                variable.split(|c| !is_part(c)).next().filter(|name| !name.is_empty())
            }
            _ => None,
        }
    })
}
