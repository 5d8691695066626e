//! Names of series and labels as queries write them: as they are where the classic data model of Prometheus has them, and else
//! in quotes, as Prometheus 3 reads them.

use std::borrow::Cow;

use promql_parser::label::METRIC_NAME;

use super::go_quote::{escape, quote};

/// A label's name as it stands in matchers and groupings.
pub fn label(name: &str) -> Cow<'_, str> {
    if is_label(name) { Cow::Borrowed(name) } else { Cow::Owned(quote(name)) }
}

/// What Prometheus calls a label of an exporter that it sets itself, unless the scrape has `honorLabels: true`.
pub fn exported(label: &str) -> String {
    format!("exported_{label}")
}

/// Whether a label's name needs no quotes.
pub fn is_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a series' name needs no quotes, so that it can stand before the braces of a selector.
pub fn is_metric(text: &str) -> bool {
    text.starts_with(|c: char| is_in_metrics(c) && !c.is_ascii_digit())
        && text.chars().all(is_in_metrics)
}

/// A selector of the series of a name, which all versions of Prometheus read.
pub fn selector(name: &str) -> Cow<'_, str> {
    if is_metric(name) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("{{{METRIC_NAME}={}}}", quote(name)))
}

fn is_in_metrics(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// What the stand-ins of labels begin with.
pub const LABEL_STAND_IN: &str = "loadline_label_";

/// A name that needs no quotes, and that stands in none of the texts.
pub fn stand_in(texts: &[&str]) -> String {
    let mut name = "loadline_series".to_owned();
    while texts.iter().any(|text| text.contains(&name)) {
        name.push('_');
    }
    name
}

/// A name that needs no quotes and stands for a label that does. A template can look a value up by the label where the stand-in is.
pub fn label_stand_in(label: &str) -> String {
    let code: String = label.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{LABEL_STAND_IN}{code}_")
}

/// The query with a series that needs quotes in place of its stand-in: `stand_in{a="b"}` is `{__name__="the.name",a="b"}`,
/// which all versions of Prometheus read, and in strings the name is escaped. Nothing where a string cannot hold it.
pub fn with_series(query: &str, stand_in: &str, series: &str) -> Option<String> {
    let mut out = String::with_capacity(query.len() + series.len());
    let mut rest = query;
    while let Some((first, token, after)) = next_token(rest) {
        rest = after;
        if !token.contains(stand_in) {
            out.push_str(token);
        } else if is_in_metrics(first) {
            // The template may have added to the name: `<<.Series>>_bucket`.
            out.push_str("{__name__=");
            out.push_str(&quote(&token.replace(stand_in, series)));
            rest = match rest.trim_start().strip_prefix('{') {
                Some(inner) if inner.trim_start().starts_with(['}', ',']) => inner,
                Some(inner) => {
                    out.push(',');
                    inner
                }
                None => {
                    out.push('}');
                    rest
                }
            };
        } else if first != '#' {
            out.push_str(&in_string(first, token, stand_in, series)?);
        }
    }
    Some(out)
}

/// The query with labels that need quotes in place of their stand-ins: in strings the name, escaped, and elsewhere in quotes. Nothing
/// where a string cannot hold a name.
pub fn with_labels(query: &str, labels: &[(String, String)]) -> Option<String> {
    let mut out = String::with_capacity(query.len());
    let mut rest = query;
    while let Some((first, token, after)) = next_token(rest) {
        rest = after;
        let is_string = matches!(first, '"' | '\'' | '`');
        let token = labels.iter().try_fold(token.to_owned(), |token, (stand_in, name)| {
            if is_string {
                in_string(first, &token, stand_in, name)
            } else {
                Some(token.replace(stand_in, &quote(name)))
            }
        });
        out.push_str(&token?);
    }
    Some(out)
}

/// Whether a string of the query has the quoted name of a label in it. That cuts a string in double quotes, in which the quotes are
/// not escaped, in two.
pub fn is_in_string(query: &str, label: &str) -> bool {
    let quoted = quote(label);
    let mut alone = 0_usize;
    let mut rest = query;
    while let Some((_, token, after)) = next_token(rest) {
        rest = after;
        alone += usize::from(token == quoted);
    }
    query.matches(&quoted).count() > alone || query.contains(&escape(&quoted, '"'))
}

/// The first token of a text with its first character, and what follows it.
fn next_token(text: &str) -> Option<(char, &str, &str)> {
    let first = text.chars().next()?;
    let length = match first {
        '"' | '\'' | '`' => string_length(text, first),
        '#' => text.find('\n'),
        first if is_in_metrics(first) => text.find(|c| !is_in_metrics(c)),
        first => Some(first.len_utf8()),
    };
    let (token, after) = text.split_at_checked(length.unwrap_or(text.len()))?;
    Some((first, token, after))
}

/// A string with a name in place of its stand-in, escaped for its quotes. Nothing where it cannot hold the name.
fn in_string(quote: char, string: &str, stand_in: &str, name: &str) -> Option<String> {
    if quote != '`' {
        return Some(string.replace(stand_in, &escape(name, quote)));
    }
    let has_room = !string.contains(stand_in) || !name.contains('`');
    has_room.then(|| string.replace(stand_in, name))
}

/// The bytes of the string that the text begins with, its quotes included; nothing where it does not end.
pub(super) fn string_length(text: &str, quote: char) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Some(at + 1);
        }
        if character == '\\' && quote != '`' {
            characters.next();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use promql_parser::parser::Expr;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_quoted_where_they_have_to_be() {
        for plain in ["pod", "_x", "le", "__name__", "a1"] {
            assert_eq!(label(plain), plain);
        }
        for (name, quoted) in [
            ("k8s.pod.name", r#""k8s.pod.name""#),
            ("app.kubernetes.io/name", r#""app.kubernetes.io/name""#),
            ("1st", r#""1st""#),
            ("a:b", r#""a:b""#),
            ("a\"} or b{\\\n", r#""a\"} or b{\\\n""#),
            ("", r#""""#),
        ] {
            assert_eq!(label(name), quoted);
        }
        assert_eq!(selector("job:x_total"), "job:x_total");
        assert_eq!(selector("a.b"), r#"{__name__="a.b"}"#);
        assert!(is_metric("job:x_total") && is_metric("_"));
        assert!(!is_metric("a.b") && !is_metric("1a") && !is_metric("") && !is_metric("é"));
    }

    #[test]
    fn a_label_has_no_quotes_of_its_own_in_a_string() {
        let labels = [("L0_", "x.y"), ("L1_", "a\"b")];
        let labels = labels.map(|(stand_in, name)| (stand_in.to_owned(), name.to_owned()));
        for (query, wanted) in [
            ("by (L0_,L1_) (a)", r#"by ("x.y","a\"b") (a)"#),
            (r#"f(a, "L0_", '-L1_-', `L0_`)"#, r#"f(a, "x.y", '-a"b-', `x.y`)"#),
            (r#""L1_" # L0_"#, r#""a\"b" # "x.y""#),
        ] {
            assert_eq!(with_labels(query, &labels).as_deref(), Some(wanted));
        }
        let back_quote = [("L".to_owned(), "`".to_owned())];
        assert_eq!(with_labels("`L`", &back_quote), None);

        for query in [r#"f("" "x.y")"#, r#"by ("x.y") (a{"x.y"="b",c="x.y"})"#, "x.y", ""] {
            assert!(!is_in_string(query, "x.y"), "{query}");
        }
        for query in
            [r#"f(""x.y"", "a")"#, r#"by ("x.y") (f('"x.y"'))"#, r#"f("-"x.y"-")"#, r#""\"x.y\"""#]
        {
            assert!(is_in_string(query, "x.y"), "{query}");
        }
    }

    #[test]
    fn a_series_goes_into_the_braces() {
        let cases = [
            (r#"S{a="b"}"#, r#"{__name__="x.y",a="b"}"#),
            ("rate(S {}[2m])", r#"rate({__name__="x.y"}[2m])"#),
            ("S[2m] + S", r#"{__name__="x.y"}[2m] + {__name__="x.y"}"#),
            ("S{ ,a='b'}", r#"{__name__="x.y" ,a='b'}"#),
            ("S_bucket{le=\"1\"}", r#"{__name__="x.y_bucket",le="1"}"#),
            (r#"{__name__="S",a="S{}"}"#, r#"{__name__="x.y",a="x.y{}"}"#),
            (r#"{"S","a.b"="\"S"}"#, r#"{"x.y","a.b"="\"x.y"}"#),
            ("{a=`S`} # S", "{a=`x.y`} "),
            ("up{a='S", "up{a='x.y"),
        ];
        for (query, wanted) in cases {
            let query = query.replace('S', "loadline_series");
            let query = with_series(&query, "loadline_series", "x.y");
            assert_eq!(query.as_deref(), Some(wanted));
        }
        assert_eq!(with_series("`s`", "s", "`"), None);
        assert_eq!(with_series("'s'", "s", "'\"\n").unwrap(), r#"'\'"\n'"#);
        assert_eq!(stand_in(&["up", "loadline_series=\"x\""]), "loadline_series_");
    }

    proptest! {
        #[test]
        fn no_name_gets_out_of_its_quotes(name in "\\PC{1,12}|[\"'`\\\\{}(),\n]{1,8}") {
            let query = with_series("s{a=\"b\"}", "s", &name).unwrap();
            let Ok(Expr::VectorSelector(selector)) = promql_parser::parser::parse(&query) else {
                return Err(TestCaseError::fail(query));
            };
            let values: Vec<_> = selector.matchers.matchers.iter().map(|m| (m.name.as_str(), m.value.as_str())).collect();
            prop_assert_eq!(values, vec![(METRIC_NAME, name.as_str()), ("a", "b")]);

            let text = format!("{{{}=\"x\"}}", label(&name));
            let Ok(Expr::VectorSelector(selector)) = promql_parser::parser::parse(&text) else {
                return Err(TestCaseError::fail(text));
            };
            prop_assert_eq!(&selector.matchers.matchers[0].name, &name);
        }
    }
}
