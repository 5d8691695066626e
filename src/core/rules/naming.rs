//! Which series a rule takes, and what they are called in the metrics API.

use regex::Regex;

use super::{EntryProblems, fields::Fields};
use crate::core::{go_regex, key_path::KeyPath};

/// Turns series names into metric names, or refuses them.
#[derive(Debug)]
pub struct Namer {
    filters: Vec<(Regex, bool)>,
    /// Without it every series has the name `template`, as it stands.
    matches: Option<Regex>,
    template: String,
}

/// Why a series has no name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unnamed {
    /// The entry of `seriesFilters` at this position, from 0, refuses it.
    Filter(usize),
    /// `name.matches` does not match it.
    Matches,
    /// The name comes out empty.
    Empty,
}

impl Namer {
    pub(super) fn compile(
        rule: &Fields<'_>,
        budget: &mut go_regex::Budget,
        problems: &mut EntryProblems<'_>,
    ) -> Option<Self> {
        let mut filters = Vec::new();
        for (index, filter) in rule.items("seriesFilters").enumerate() {
            let positive = !filter.text("is").value.is_empty();
            let key = if positive { "is" } else { "isNot" };
            let pattern = filter.text(key);
            match go_regex::compile_within(&pattern.value, budget) {
                Ok(regex) => filters.push((regex, positive)),
                Err(error) => {
                    let key = KeyPath::from("seriesFilters").index(index).key(key);
                    problems.add(pattern.place, key, error.to_string());
                }
            }
        }
        let name = rule.object("name");
        let text = |key| name.as_ref().map(|name| name.text(key)).unwrap_or_default();
        let (written, template) = (text("matches"), text("as").value);
        let pattern = match written.value.as_str() {
            "" => ".*",
            pattern => pattern,
        };
        let matches = match go_regex::compile_within(pattern, budget) {
            Ok(regex) => regex,
            Err(error) => {
                problems.add(written.place, ["name", "matches"], error.to_string());
                return None;
            }
        };
        let template = if template.is_empty() {
            match matches.captures_len() {
                1 => "$0".to_owned(),
                2 => "$1".to_owned(),
                groups => {
                    let message = format!(
                        "`as` is required, because `matches` has {} capture groups",
                        groups - 1
                    );
                    problems.add(written.place, ["name", "as"], message);
                    return None;
                }
            }
        } else {
            template
        };
        Some(Self { filters, matches: Some(matches), template })
    }

    /// Calls every series by the name of one metric.
    pub(in crate::core) fn always(metric: &str) -> Self {
        Self { filters: Vec::new(), matches: None, template: metric.to_owned() }
    }

    /// The metric's name in the API for a series, or nothing where the rule does not take the series: a filter refuses it,
    /// `matches` does not match, or the name comes out empty.
    pub fn metric_name(&self, series: &str) -> Option<String> {
        self.name(series).ok()
    }

    /// [`Namer::metric_name`], with the reason where there is none.
    pub fn name(&self, series: &str) -> Result<String, Unnamed> {
        let refuses = |(regex, positive): &(Regex, bool)| regex.is_match(series) != *positive;
        if let Some(filter) = self.filters.iter().position(refuses) {
            return Err(Unnamed::Filter(filter));
        }
        self.unfiltered(series)
    }

    /// [`Namer::name`], whatever `seriesFilters` say.
    pub fn unfiltered(&self, series: &str) -> Result<String, Unnamed> {
        let Some(matches) = &self.matches else { return Ok(self.template.clone()) };
        let captures = matches.captures(series).ok_or(Unnamed::Matches)?;
        let name = go_regex::expand(&self.template, &captures);
        if name.is_empty() { Err(Unnamed::Empty) } else { Ok(name) }
    }

    /// What the names are made of: `name.as`, or what stands for it where it is not written.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The groups that the template refers to and that `name.matches` does not have: nothing stands in their place.
    pub fn unknown_groups(&self) -> Vec<&str> {
        self.matches
            .as_ref()
            .map_or_else(Vec::new, |matches| go_regex::unknown_references(&self.template, matches))
    }
}

#[cfg(test)]
mod tests {
    use crate::core::rules::load;

    #[track_caller]
    fn named(keys: &str, series: &str) -> Option<String> {
        let text = format!(
            "rules:\n- seriesQuery: up\n  metricsQuery: x\n  resources: {{overrides: {{pod: {{resource: pod}}}}}}\n  {keys}\n"
        );
        let rules = load(&text).unwrap();
        assert!(rules.broken.is_empty(), "{:?}", rules.broken);
        rules.custom[0].base.namer.metric_name(series)
    }

    #[test]
    fn names_follow_go() {
        let cases = [
            ("", "http_requests_total", Some("http_requests_total")),
            ("name: {as: fixed}", "http_requests_total", Some("fixed")),
            ("name: {as: \"a_$0\"}", "x", Some("a_x")),
            ("name: {matches: \"^(.*)_total$\"}", "x_total", Some("x")),
            ("name: {matches: \"^(.*)_total$\"}", "x", None),
            (
                "name: {matches: \"^(.*)_total$\", as: \"${1}_per_second\"}",
                "x_total",
                Some("x_per_second"),
            ),
            ("name: {matches: \"^(.*)_total$\", as: \"$1_per_second\"}", "x_total", None),
            ("name: {matches: \"_total\", as: \"\"}", "x_total", Some("_total")),
            (
                "name: {matches: \"^container_(?P<what>.*)$\", as: \"$what\"}",
                "container_cpu",
                Some("cpu"),
            ),
        ];
        for (keys, series, wanted) in cases {
            assert_eq!(named(keys, series).as_deref(), wanted, "{keys} of {series}");
        }
    }

    #[test]
    fn newlines_of_block_scalars_are_not_matched() {
        let keys = "seriesFilters:\n  - is: |\n      ^x_\n  - isNot: |\n      _bucket$\n  name:\n    matches: |\n      ^(.*)_total$\n    as: |\n      $1\n";
        assert_eq!(named(keys, "x_y_total").as_deref(), Some("x_y"));
        assert_eq!(named(keys, "y_total"), None);
        assert_eq!(named("name: {matches: \"a\\\\ \"}", "a b"), Some("a ".to_owned()));
    }

    #[test]
    fn filters_search_and_all_must_hold() {
        let keys = "seriesFilters: [{is: \"^container_\"}, {isNot: \"_total$\"}, {isNot: \"cpu\"}]";
        assert_eq!(named(keys, "container_memory").as_deref(), Some("container_memory"));
        assert_eq!(named(keys, "container_memory_total"), None);
        assert_eq!(named(keys, "container_cpu_x"), None);
        assert_eq!(named(keys, "node_memory"), None);
    }
}
