//! The names that queries and samples have: those of the classic data model, or such as Prometheus 3 reads in quotes.

use loadline::core::names::with_series;
use serde_json::{Map, Value};

/// How names are spelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Spelling {
    /// As the generators write them.
    Classic,
    /// Those of [`LABELS`] and [`SERIES`] in quotes.
    Quoted,
}

/// Labels, and what they are called in quotes.
const LABELS: [(&str, &str); 2] = [("namespace", "k8s.namespace.name"), ("pod", "k8s.pod.name")];

/// A series, and what it is called in quotes.
const SERIES: (&str, &str) = ("load", "system.load");

impl Spelling {
    /// A label's name.
    pub(crate) fn label(self, classic: &str) -> &str {
        let quoted = LABELS.iter().find(|(known, _)| *known == classic && self == Self::Quoted);
        quoted.map_or(classic, |(_, name)| name)
    }

    /// A query, a part of one, or a template.
    pub(crate) fn query(self, classic: &str) -> String {
        if self == Self::Classic {
            return classic.to_owned();
        }
        let (plain, series) = SERIES;
        let query = with_series(classic, plain, series).expect("no string is in back quotes");
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut spelled = String::new();
        let mut rest = query.as_str();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '"' | '\'' => {
                    let mut inner = rest.char_indices().skip(1);
                    inner.find(|(_, c)| *c == first).map(|(at, _)| at + 1)
                }
                first if is_word(first) => rest.find(|c| !is_word(c)),
                first => Some(first.len_utf8()),
            };
            let (token, after) = rest.split_at(length.unwrap_or(rest.len()));
            rest = after;
            match LABELS.iter().find(|(known, _)| token.trim_matches(['"', '\'']) == *known) {
                Some((_, name)) => spelled += &format!("\"{name}\""),
                None => spelled += token,
            }
        }
        spelled
    }

    /// Samples in the format of OpenMetrics.
    pub(crate) fn samples(self, classic: &str) -> String {
        if self == Self::Classic {
            return classic.to_owned();
        }
        let (plain, series) = SERIES;
        let lines = classic.lines().map(|line| {
            if line.starts_with('#') {
                line.replace(&format!(" {plain} "), &format!(" \"{series}\" "))
            } else {
                // There a name in the braces has no label.
                self.query(line).replace("{__name__=", "{")
            }
        });
        lines.map(|line| line + "\n").collect()
    }

    /// The labels of a result, as the generators call them.
    pub(crate) fn restore(self, labels: &mut Map<String, Value>) {
        if self == Self::Classic {
            return;
        }
        for (known, name) in LABELS {
            if let Some(value) = labels.remove(name) {
                labels.insert(known.to_owned(), value);
            }
        }
    }
}

#[test]
fn names_are_quoted_wherever_they_stand() {
    for (classic, quoted) in [
        (
            r#"sum by (pod) (load{pod=~"pod|a",x="1"})"#,
            r#"sum by ("k8s.pod.name") ({__name__="system.load","k8s.pod.name"=~"pod|a",x="1"})"#,
        ),
        (
            r#"label_join(load,"pod","-","namespace")"#,
            r#"label_join({__name__="system.load"},"k8s.pod.name","-","k8s.namespace.name")"#,
        ),
        ("pods{<<.LabelMatchers>>}[5m]", "pods{<<.LabelMatchers>>}[5m]"),
    ] {
        assert_eq!(Spelling::Quoted.query(classic), quoted);
        assert_eq!(Spelling::Classic.query(classic), classic);
    }
    assert_eq!(
        Spelling::Quoted.samples("# TYPE load gauge\nload{pod=\"a\"} 1 2\nload{} 1 2\n# EOF\n"),
        "# TYPE \"system.load\" gauge\n{\"system.load\",\"k8s.pod.name\"=\"a\"} 1 2\n{\"system.load\"} 1 2\n# EOF\n"
    );
}
