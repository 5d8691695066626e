//! Selectors that no series can match.

use std::collections::BTreeSet;

use super::{Operator, Requirement, Selector};

/// A label that a query matches besides the selector.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The label.
    pub label: &'a str,
    /// Its value; nothing if it may be any but the empty one.
    pub value: Option<&'a str>,
    /// What has this value, for a message.
    pub of: &'static str,
}

/// Why no series can match a selector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contradiction<'a> {
    /// The label that no value is left for.
    pub label: &'a str,
    /// A sentence that names what excludes what.
    pub why: String,
}

impl Selector {
    /// Why no series can match both this and what is given, for each label that no value is left for. To Prometheus a label that is
    /// absent is one that is empty. What compares numbers is not looked at: no query can.
    pub fn contradictions(&self, given: &[Given<'_>]) -> impl Iterator<Item = Contradiction<'_>> {
        self.requirements.chunk_by(|a, b| a.key == b.key).filter_map(|requirements| {
            let label = requirements.first()?.key.as_str();
            let given = given.iter().find(|given| given.label == label);
            if is_possible(requirements, given) {
                return None;
            }
            let texts = requirements.iter().map(|requirement| format!("`{requirement}`"));
            let texts = texts.collect::<Vec<_>>().join(" and ");
            let why = match given {
                Some(Given { value, of, .. }) if is_possible(requirements, None) => {
                    let is = value.map_or_else(
                        || format!("the label `{label}` names {of}"),
                        |value| format!("{of} is `{label}={value}`"),
                    );
                    format!("{is}, and the selector asks for {texts}")
                }
                _ => format!("{texts} exclude each other"),
            };
            Some(Contradiction { label, why: format!("no series can match the selector: {why}") })
        })
    }

    /// The same but for a label.
    #[must_use]
    pub fn without(&self, label: &str) -> Self {
        let others = self.requirements.iter().filter(|requirement| requirement.key != label);
        Self { requirements: others.cloned().collect() }
    }
}

/// Whether a value of one label meets all of its requirements.
fn is_possible(requirements: &[Requirement], given: Option<&Given<'_>>) -> bool {
    let mut possible: Option<Vec<&str>> =
        given.and_then(|given| given.value).map(|value| vec![value]);
    let mut excluded = BTreeSet::new();
    if given.is_some_and(|given| given.value.is_none()) {
        excluded.insert("");
    }
    for Requirement { operator, values, .. } in requirements {
        let mut one_of = |is_one: &dyn Fn(&str) -> bool, all: Vec<_>| match &mut possible {
            Some(possible) => possible.retain(|value| is_one(value)),
            None => possible = Some(all),
        };
        let values = values.iter().map(String::as_str);
        match operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => {
                let values: Vec<_> = values.collect();
                one_of(&|value| values.binary_search(&value).is_ok(), values.clone());
            }
            Operator::DoesNotExist => one_of(&str::is_empty, vec![""]),
            Operator::NotIn | Operator::NotEquals => excluded.extend(values),
            Operator::Exists => {
                excluded.insert("");
            }
            Operator::GreaterThan | Operator::LessThan => {}
        }
    }
    possible.is_none_or(|possible| possible.iter().any(|value| !excluded.contains(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACE: Given<'_> =
        Given { label: "namespace", value: Some("app"), of: "the namespace" };
    const POD: Given<'_> = Given { label: "pod", value: None, of: "the pods" };

    fn contradiction(text: &str) -> Option<String> {
        let selector = Selector::parse(text).unwrap();
        let first = selector.contradictions(&[NAMESPACE, POD]).next();
        first.map(|contradiction| contradiction.why)
    }

    #[test]
    fn what_excludes_itself_or_what_is_given_is_named() {
        let cases = [
            (
                "namespace=nsq",
                "the namespace is `namespace=app`, and the selector asks for `namespace=nsq`",
            ),
            ("namespace==nsq", "`namespace==nsq`"),
            ("namespace in (a,b)", "`namespace in (a,b)`"),
            ("namespace!=app", "`namespace!=app`"),
            ("namespace notin (app,b)", "`namespace notin (app,b)`"),
            ("!namespace", "`!namespace`"),
            ("namespace=", "`namespace=`"),
            (
                "namespace in (app,b),namespace!=app",
                "asks for `namespace in (app,b)` and `namespace!=app`",
            ),
            ("namespace=a,namespace=b", "`namespace=a` and `namespace=b` exclude each other"),
            ("!pod", "the label `pod` names the pods, and the selector asks for `!pod`"),
            ("pod in (,)", "`pod in ()`"),
            ("a=1,a=2", "`a=1` and `a=2` exclude each other"),
            ("a=1,b=1,a==2", "`a=1` and `a==2`"),
            ("a,!a", "`a` and `!a`"),
            ("a,a=", "`a` and `a=`"),
            ("!a,a!=", "`!a` and `a!=`"),
            ("!a,a=1", "`!a` and `a=1`"),
            ("a in (x),a notin (x)", "`a in (x)` and `a notin (x)`"),
            ("a in (x,y),a!=x,a!=y", "`a in (x,y)` and `a!=x` and `a!=y`"),
            ("a in (x,y),a in (y,z),a in (x,z)", "exclude each other"),
        ];
        for (text, wanted) in cases {
            let reason = contradiction(text).unwrap_or_else(|| panic!("{text}"));
            assert!(reason.contains(wanted), "{text}: {reason}");
        }
    }

    #[test]
    fn what_something_can_match_is_none() {
        for text in [
            "",
            "a=1",
            "a=1,b=2",
            "a=1,a==1",
            "a,a=1",
            "a!=1,a!=2,a",
            "!a,a=",
            "!a,a!=1",
            "!a,a in (,x)",
            "a in (x,y),a notin (x)",
            "a in (x,y),a in (y,z)",
            "a>1,a<1",
            "namespace",
            "namespace=app",
            "namespace in (app,b)",
            "namespace!=b",
            "namespace notin (b,)",
            "pod=x",
            "pod!=x",
            "pod",
        ] {
            assert_eq!(contradiction(text), None, "{text}");
        }
    }
}
