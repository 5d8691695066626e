//! A question and how it is put to Prometheus: the query's text, and how to read this question's answer out of the result.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    catalog::Entry,
    go_quote::quote,
    go_regex::quote_meta,
    rules::is_label_name,
    selector::{Operator, Selector},
    template::{QueryArguments, TemplateError},
};

/// Which objects a question is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Objects {
    /// These, by name: sorted, each once.
    Named(Vec<Arc<str>>),
    /// All that the query returns: nobody can say which objects there are.
    Any,
}

/// What is asked of Prometheus.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The PromQL text. Equal questions have equal texts.
    pub query: String,
    /// The label that holds the name of the object that a sample belongs to.
    pub label: Arc<str>,
    /// The range that the query looks over in seconds, where it is known.
    pub window_seconds: Option<i64>,
}

/// A question that cannot be put to Prometheus.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The metric selector asks for something that label matchers cannot say, or for a key that no Prometheus label can have.
    #[error("{0}")]
    Selector(String),
    /// The request names a namespace, but the rule maps no label to namespaces.
    #[error("{rule} maps no label to namespaces, so its metrics cannot be read in a namespace")]
    NoNamespaceLabel {
        /// The rule.
        rule: String,
    },
    /// The rule's template fails for this question.
    #[error("{rule}: {source}")]
    Template {
        /// The rule.
        rule: String,
        /// What the template says.
        source: TemplateError,
    },
}

/// Renders the query for exactly the objects that are asked for, in the form that prometheus-adapter gives it.
///
/// Matchers come in the order metric selector (by key), namespace, object. Several names are joined to a regular
/// expression, each escaped; `.LabelValuesByName` joins them by `|` as they are.
pub fn exact(
    entry: &Entry,
    namespace: Option<&str>,
    objects: &Objects,
    metric_selector: &Selector,
) -> Result<Plan, PlanError> {
    let mut matchers = Matchers::default();
    matchers.selector(metric_selector)?;
    if let Some(namespace) = namespace {
        let Some(label) = &entry.namespace_label else {
            return Err(PlanError::NoNamespaceLabel { rule: entry.rule.id.clone() });
        };
        matchers.push(label, "=", namespace, namespace.to_owned());
    }
    match objects {
        // Who matches by the value itself takes every object, too.
        Objects::Any => matchers.push(&entry.label, "!=", "", ".+".to_owned()),
        Objects::Named(names) => match names.as_slice() {
            [name] => matchers.push(&entry.label, "=", name, name.to_string()),
            names => matchers.push(&entry.label, "=~", &alternatives(names), names.join("|")),
        },
    }
    let group_by = [entry.label.to_string()];
    let arguments = QueryArguments {
        series: &entry.series,
        label_matchers: &matchers.text,
        label_values_by_name: &matchers.values,
        group_by: &entry.label,
        group_by_slice: &group_by,
    };
    let query = entry
        .rule
        .query
        .render(&arguments)
        .map_err(|source| PlanError::Template { rule: entry.rule.id.clone(), source })?;
    let window_seconds = entry.rule.window_seconds;
    Ok(Plan { query, label: Arc::clone(&entry.label), window_seconds })
}

fn alternatives<S: AsRef<str>>(values: &[S]) -> String {
    values.iter().map(|value| quote_meta(value.as_ref())).collect::<Vec<_>>().join("|")
}

/// Label matchers in the making: their text, and the values by label for `.LabelValuesByName`.
#[derive(Default)]
pub(super) struct Matchers {
    pub(super) text: String,
    pub(super) values: BTreeMap<String, String>,
}

impl Matchers {
    pub(super) fn push(&mut self, label: &str, operator: &str, value: &str, plain: String) {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(label);
        self.text.push_str(operator);
        self.text.push_str(&quote(value));
        self.values.insert(label.to_owned(), plain);
    }

    pub(super) fn selector(&mut self, selector: &Selector) -> Result<(), PlanError> {
        for requirement in selector.requirements() {
            let key = requirement.key.as_str();
            let values = &requirement.values;
            if !is_label_name(key) {
                return Err(PlanError::Selector(format!(
                    "`{key}` in the metric selector is not a Prometheus label name"
                )));
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{kinds::Kinds, rules::load};

    fn entry(query: &str, overrides: &str) -> Entry {
        let text = format!(
            "rules:\n- seriesQuery: up\n  metricsQuery: '{query}'\n  resources: {{overrides: {{{overrides}}}}}\n"
        );
        let rules = load(&text).unwrap();
        assert!(rules.broken.is_empty(), "{:?}", rules.broken);
        let rule = Arc::clone(&rules.custom[0]);
        let kinds = Kinds::builtin();
        let mapping = rule.mapping.resolve(&kinds);
        let kind = Arc::clone(kinds.resolve("", "pod").unwrap());
        Entry {
            series: "up".into(),
            label: mapping.label(&kind.resource).unwrap().into(),
            namespace_label: mapping.namespace_label().map(Arc::from),
            kind,
            rule,
        }
    }

    const BOTH: &str = "pod: {resource: pod}, ns: {resource: namespace}";

    #[track_caller]
    fn query(template: &str, namespace: Option<&str>, names: &[&str], selector: &str) -> String {
        let objects = if names.is_empty() {
            Objects::Any
        } else {
            Objects::Named(names.iter().map(|name| Arc::from(*name)).collect())
        };
        let selector = Selector::parse(selector).unwrap();
        exact(&entry(template, BOTH), namespace, &objects, &selector).unwrap().query
    }

    #[test]
    fn matchers_are_those_of_prometheus_adapter() {
        let matchers = "<<.LabelMatchers>>";
        let cases = [
            ("", &["a"][..], r#"ns="n",pod="a""#),
            ("", &["a-0", "b.c"], r#"ns="n",pod=~"a-0|b\\.c""#),
            ("", &[], r#"ns="n",pod!="""#),
            ("k=v", &["a"], r#"k="v",ns="n",pod="a""#),
            ("k==v", &["a"], r#"k="v",ns="n",pod="a""#),
            ("k!=v", &["a"], r#"k!="v",ns="n",pod="a""#),
            ("k in (v)", &["a"], r#"k=~"v",ns="n",pod="a""#),
            ("k in (v,w.x)", &["a"], r#"k=~"v|w\\.x",ns="n",pod="a""#),
            ("k notin (w,v)", &["a"], r#"k!~"v|w",ns="n",pod="a""#),
            ("k", &["a"], r#"k!="",ns="n",pod="a""#),
            ("!k", &["a"], r#"k="",ns="n",pod="a""#),
            ("z=1,b=2", &["a"], r#"b="2",z="1",ns="n",pod="a""#),
        ];
        for (selector, names, wanted) in cases {
            assert_eq!(query(matchers, Some("n"), names, selector), wanted, "{selector}");
        }
        assert_eq!(query(matchers, None, &["a"], ""), r#"pod="a""#);
    }

    #[test]
    fn values_by_name_are_joined_as_they_are() {
        let template =
            r#"<<index .LabelValuesByName "pod">> <<index .LabelValuesByName "k">> <<.GroupBy>>"#;
        assert_eq!(query(template, Some("n"), &["a.b", "c"], "k in (x,y)"), "a.b|c x|y pod");
    }

    #[test]
    fn what_matchers_cannot_say_is_refused() {
        let entry = entry("<<.LabelMatchers>>", BOTH);
        let names = Objects::Named(vec!["a".into()]);
        for (selector, wanted) in [
            ("k>1", "compares `k`"),
            ("app.kubernetes.io/name=x", "`app.kubernetes.io/name` in the metric selector is not"),
        ] {
            let selector = Selector::parse(selector).unwrap();
            let error = exact(&entry, Some("n"), &names, &selector).unwrap_err();
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_rule_without_a_namespace_label_cannot_be_read_in_a_namespace() {
        let entry = entry("<<.LabelMatchers>>", "pod: {resource: pod}");
        let names = Objects::Named(vec!["a".into()]);
        let error = exact(&entry, Some("n"), &names, &Selector::parse("").unwrap()).unwrap_err();
        assert!(matches!(error, PlanError::NoNamespaceLabel { .. }), "{error}");
    }
}
