//! Series selectors, as a rule's `seriesQuery` writes them, and how to narrow one without rewriting it.
//!
//! A selector is sent to Prometheus as it was written. Discovery asks for the series of a selector that also carry a
//! certain label; the matcher for that is put into the selector's text, never into a text printed from a syntax tree,
//! because backends differ in what they parse.

use promql_parser::{
    label::{self, METRIC_NAME, MatchOp},
    parser::{Expr, VectorSelector},
};

use super::{go_quote::quote, go_regex::quote_meta, names, promql::parse};

/// A series selector: the text, and where further matchers can go if that is known to be safe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SeriesSelector {
    text: String,
    insert: Option<Insert>,
    name: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Insert {
    at: usize,
    form: Form,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// `up`: braces are missing.
    NoBraces,
    /// `up{}`: nothing to separate from.
    Empty,
    /// `up{a="b"}`.
    AfterMatcher,
    /// `up{a="b",}`.
    AfterComma,
}

impl SeriesSelector {
    /// Takes a selector as written. Anything is accepted: what this cannot place a matcher into is sent unchanged, and
    /// [`SeriesSelector::narrowed`] says so.
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        let mut selector = Self { text: text.to_owned(), insert: None, name: None };
        let Some(parsed) = plain_selector(text) else {
            return selector;
        };
        selector.name = matchers(&parsed)
            .into_iter()
            .find(|matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal)
            .map(|matcher| matcher.value);
        // The place is only believed where the parser agrees that the matcher has landed in the same selector.
        let Some(insert) = find_insert(text) else {
            return selector;
        };
        selector.insert = Some(insert);
        let agrees = selector.narrowed(&[Matcher::carries("loadline_probe")]).is_some_and(|text| {
            plain_selector(&text).is_some_and(|probe| {
                probe.name == parsed.name
                    && probe.matchers.matchers.len() == parsed.matchers.matchers.len() + 1
            })
        });
        if !agrees {
            selector.insert = None;
        }
        selector
    }

    /// The selector as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The metric name, where the selector asks for one: `name{…}`, `{"name",…}` or `{__name__="name",…}`.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The matchers, the one of the metric name among them; nothing where the text does not parse.
    pub fn matchers(&self) -> Option<Vec<label::Matcher>> {
        plain_selector(&self.text).as_ref().map(matchers)
    }

    /// The selector with further matchers, or nothing where they cannot be placed safely (alternatives by `or`, text that
    /// is not understood).
    pub fn narrowed(&self, matchers: &[Matcher]) -> Option<String> {
        let insert = self.insert.as_ref()?;
        let (before, after) = self.text.split_at_checked(insert.at)?;
        let matchers = matchers.iter().map(Matcher::text).collect::<Vec<_>>().join(",");
        Some(match insert.form {
            Form::NoBraces => format!("{before}{{{matchers}}}{after}"),
            Form::Empty | Form::AfterComma => format!("{before}{matchers}{after}"),
            Form::AfterMatcher => format!("{before},{matchers}{after}"),
        })
    }
}

/// A label matcher to add to a selector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Matcher {
    text: String,
}

impl Matcher {
    /// `label!=""`: the series carries the label.
    pub fn carries(label: &str) -> Self {
        Self { text: format!("{}!=\"\"", names::label(label)) }
    }

    /// `__name__=~"a|b"`: the series has one of these names.
    pub fn named(names: &[&str]) -> Self {
        let alternatives = names.iter().map(|name| quote_meta(name)).collect::<Vec<_>>().join("|");
        Self { text: format!("__name__=~{}", quote(&alternatives)) }
    }

    fn text(&self) -> &str {
        &self.text
    }
}

fn matchers(selector: &VectorSelector) -> Vec<label::Matcher> {
    let name = selector.name.as_deref();
    let name = name.map(|name| label::Matcher::new(MatchOp::Equal, METRIC_NAME, name));
    name.into_iter().chain(selector.matchers.matchers.iter().cloned()).collect()
}

fn plain_selector(text: &str) -> Option<VectorSelector> {
    match parse(text) {
        Ok(Expr::VectorSelector(selector))
            if selector.offset.is_none()
                && selector.at.is_none()
                && selector.matchers.or_matchers.is_empty() =>
        {
            Some(selector)
        }
        _ => None,
    }
}

/// Where a further matcher goes: before the last brace, which must be the last thing of the text, outside quotes.
fn find_insert(text: &str) -> Option<Insert> {
    let mut last_brace = None;
    let mut before_brace = None;
    let mut previous = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            // A comment may hold anything, the closing brace included.
            '#' => return None,
            '"' | '\'' | '`' => {
                skip_string(&mut characters, character)?;
            }
            '}' => {
                last_brace = Some(at);
                before_brace = previous;
            }
            _ => {}
        }
        if !character.is_whitespace() {
            previous = Some(character);
        }
    }
    let Some(at) = last_brace else {
        return Some(Insert { at: text.len(), form: Form::NoBraces });
    };
    if at + 1 != text.len() {
        return None;
    }
    let form = match before_brace? {
        '{' => Form::Empty,
        ',' => Form::AfterComma,
        _ => Form::AfterMatcher,
    };
    Some(Insert { at, form })
}

fn skip_string(rest: &mut std::str::CharIndices<'_>, quote: char) -> Option<()> {
    loop {
        let (_, character) = rest.next()?;
        if character == quote {
            return Some(());
        }
        if character == '\\' && quote != '`' {
            rest.next()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_go_before_the_closing_brace_and_nowhere_else() {
        let cases = [
            ("up", Some("up{pod!=\"\"}")),
            (" up ", Some("up{pod!=\"\"}")),
            ("up{}", Some("up{pod!=\"\"}")),
            ("up{ }", Some("up{ pod!=\"\"}")),
            ("up{a=\"b\"}", Some("up{a=\"b\",pod!=\"\"}")),
            ("up{a=\"b\",}", Some("up{a=\"b\",pod!=\"\"}")),
            ("{__name__=~\"^a}b{.*\"}", Some("{__name__=~\"^a}b{.*\",pod!=\"\"}")),
            ("{a='x\\'}',b=\"\\\"}\"}", Some("{a='x\\'}',b=\"\\\"}\",pod!=\"\"}")),
            ("{a=`}`}", Some("{a=`}`,pod!=\"\"}")),
            ("vllm:num_requests_waiting{}", Some("vllm:num_requests_waiting{pod!=\"\"}")),
            ("{a=\"b\" or c=\"d\"}", None),
            ("up{a=\"b\"} offset 5m", None),
            ("up{a=\"b\"}[5m]", None),
            ("up{a=\"b\"} # }", None),
            ("sum(up)", None),
            ("up{a=\"b}", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            let narrowed = SeriesSelector::new(text).narrowed(&[Matcher::carries("pod")]);
            assert_eq!(narrowed.as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn names_are_matched_literally() {
        let narrowed = SeriesSelector::new("{a=\"b\"}")
            .narrowed(&[Matcher::carries("pod"), Matcher::named(&["x_total", "y:z"])]);
        assert_eq!(narrowed.as_deref(), Some("{a=\"b\",pod!=\"\",__name__=~\"x_total|y:z\"}"));
    }

    #[test]
    fn the_name_is_known_where_there_is_one() {
        for (text, name) in [
            ("up{a=\"b\"}", Some("up")),
            ("{a=\"b\",__name__=\"up\"}", Some("up")),
            ("{\"http.requests\",\"k8s.pod.name\"!=\"\"}", Some("http.requests")),
            ("{__name__=~\"up\"}", None),
            ("{__name__!=\"up\",a=\"b\"}", None),
        ] {
            assert_eq!(SeriesSelector::new(text).name(), name, "{text}");
        }
    }

    #[test]
    fn labels_that_need_quotes_are_quoted() {
        let selector = SeriesSelector::new("{\"http.requests\",\"k8s.pod.name\"!=\"\"}");
        assert_eq!(
            selector.narrowed(&[Matcher::carries("k8s.pod.name")]).as_deref(),
            Some("{\"http.requests\",\"k8s.pod.name\"!=\"\",\"k8s.pod.name\"!=\"\"}")
        );
    }
}
