//! Whether the selector of an autoscaler's metric reaches the query. It comes as label matchers, and as values by label.

use super::{Report, parsed};
use crate::core::{rules::RuleBase, selector::Selector};

/// A label that no template names.
const LABEL: &str = "loadline_opaque_label";

/// The value that it has to have.
pub(super) const VALUE: &str = "loadline-opaque-value";

/// The most words of a template that are taken for labels. Who has more is believed.
const MOST_WORDS: usize = 500;

/// The longest key of a selector.
const LONGEST_KEY: usize = 63;

/// The template of a rule's query, as it is written.
pub(super) fn template(rule: &RuleBase, report: &Report<'_>) -> String {
    report.written.text(&rule.id.entry.key("metricsQuery")).to_owned()
}

/// A selector whose value no query has of itself.
pub(super) fn marked() -> Option<Selector> {
    Selector::parse(&format!("{LABEL}={VALUE}")).ok()
}

/// Whether the query is the same for all selectors. `render` returns the query for one; a failure to render is reported elsewhere.
pub(super) fn is_ignored(template: &str, render: impl Fn(&Selector) -> Option<String>) -> bool {
    let reaches = |labels: &[&str]| {
        let labels: Vec<_> = labels.iter().map(|label| format!("{label}={VALUE}")).collect();
        let selector = Selector::parse(&labels.join(","));
        selector
            .ok()
            .and_then(|selector| render(&selector))
            // What is parsed is without comments.
            .map(|query| parsed(&query).map_or(query, |tree| tree.to_string()))
            .is_none_or(|query| query.contains(VALUE))
    };
    if reaches(&[LABEL]) {
        return false;
    }
    // Values are taken by the label's name, which then stands in the template.
    let words = words(template);
    !template.contains("LabelValuesByName") || (words.len() < MOST_WORDS && !reaches(&words))
}

fn words(template: &str) -> Vec<&str> {
    let mut words: Vec<_> = template
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()))
        .filter(|word| !word.ends_with('_') && word.len() <= LONGEST_KEY)
        .collect();
    words.sort_unstable();
    words.dedup();
    words.truncate(MOST_WORDS);
    words
}
