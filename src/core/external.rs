//! External metrics: the query of a question, and the values in its result.

use std::sync::Arc;

use super::{
    catalog::external::ExternalEntry,
    plan::{Matchers, PlanError},
    quantity,
    samples::Vector,
    selector::Selector,
    template::QueryArguments,
};

/// The value of one series of an external metric.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ExternalReading {
    /// All labels of the sample, sorted by name.
    pub labels: Vec<(Arc<str>, Box<str>)>,
    /// The value in thousandths.
    pub milli: i64,
    /// The evaluation time of the query that gave the value, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// The values of an external metric, sorted by their labels, and what was odd about the samples.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExternalReadings {
    /// One reading for every usable sample.
    pub values: Vec<ExternalReading>,
    /// How many samples were NaN or infinite and so are no value.
    pub not_finite: usize,
}

/// Renders the query for a question, in the form that prometheus-adapter gives it.
///
/// Matchers come in the order selector (by key), namespace. The namespace, as it stands in the request (`*` is no wildcard), is
/// matched unless the rule says `namespaced: false`. There is nothing to group by.
pub fn query(
    entry: &ExternalEntry,
    namespace: &str,
    selector: &Selector,
) -> Result<String, PlanError> {
    let mut matchers = Matchers::default();
    matchers.selector(selector)?;
    if entry.rule.mapping.namespaced() {
        let Some(label) = &entry.namespace_label else {
            return Err(PlanError::NoNamespaceLabel { rule: entry.rule.id.clone() });
        };
        matchers.push(label, "=", namespace, namespace.to_owned());
    }
    let arguments = QueryArguments {
        series: &entry.series,
        label_matchers: &matchers.text,
        label_values_by_name: &matchers.values,
        group_by: "",
        group_by_slice: &[],
    };
    entry
        .rule
        .query
        .render(&arguments)
        .map_err(|source| PlanError::Template { rule: entry.rule.id.clone(), source })
}

/// Reads every sample of a vector. NaN and the infinities are no value.
pub fn of_vector(vector: &Vector) -> ExternalReadings {
    let mut readings = ExternalReadings::default();
    for sample in &vector.samples {
        let mut labels = sample.labels.clone();
        labels.sort_unstable();
        readings.add(labels, sample.at_ms, sample.value);
    }
    readings.values.sort_unstable();
    readings
}

/// Reads a scalar, which has no labels. NaN and the infinities are no value.
pub fn of_scalar(at_ms: i64, value: f64) -> ExternalReadings {
    let mut readings = ExternalReadings::default();
    readings.add(Vec::new(), at_ms, value);
    readings
}

impl ExternalReadings {
    fn add(&mut self, labels: Vec<(Arc<str>, Box<str>)>, at_ms: i64, value: f64) {
        match quantity::milli(value) {
            Some(milli) => self.values.push(ExternalReading { labels, milli, at_ms }),
            None => self.not_finite += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{kinds::Kinds, rules::load, samples::Sample};

    fn entry(template: &str, resources: &str) -> ExternalEntry {
        let text = format!(
            "externalRules:\n- seriesQuery: up\n  metricsQuery: '{template}'\n  resources: {{{resources}}}\n"
        );
        let rules = load(&text).unwrap();
        assert!(rules.broken.is_empty(), "{:?}", rules.broken);
        let rule = Arc::clone(&rules.external[0]);
        let mapping = rule.mapping.resolve(&Kinds::builtin());
        let namespace_label = mapping.namespace_label().map(Arc::from);
        ExternalEntry { series: "up".into(), namespace_label, rule }
    }

    const NAMESPACED: &str = "overrides: {ns: {resource: namespace}}";
    const NOT_NAMESPACED: &str = "namespaced: false, overrides: {ns: {resource: namespace}}";

    #[track_caller]
    fn rendered(template: &str, resources: &str, selector: &str) -> String {
        let selector = Selector::parse(selector).unwrap();
        query(&entry(template, resources), "n", &selector).unwrap()
    }

    #[test]
    fn matchers_are_those_of_prometheus_adapter() {
        let cases = [
            ("", r#"{ns="n"}"#),
            ("k=v", r#"{k="v",ns="n"}"#),
            ("z!=1,b in (x.y,v)", r#"{b=~"v|x\\.y",z!="1",ns="n"}"#),
            ("k notin (v)", r#"{k!~"v",ns="n"}"#),
            ("k,!l", r#"{k!="",l="",ns="n"}"#),
            // Who names a namespace in the selector does not get out of that of the request.
            ("ns=other", r#"{ns="other",ns="n"}"#),
        ];
        for (selector, wanted) in cases {
            assert_eq!(rendered("{<<.LabelMatchers>>}", NAMESPACED, selector), wanted);
        }
        assert_eq!(rendered("{<<.LabelMatchers>>}x", NOT_NAMESPACED, ""), "{}x");
        assert_eq!(rendered("{<<.LabelMatchers>>}", NOT_NAMESPACED, "k=v"), r#"{k="v"}"#);
    }

    #[test]
    fn the_other_fields_are_those_of_prometheus_adapter() {
        let template = r#"<<.Series>> by (<<.GroupBy>>) <<len .GroupBySlice>> <<index .LabelValuesByName "ns">> <<index .LabelValuesByName "k">>"#;
        assert_eq!(
            rendered(template, NAMESPACED, "ns=other,k in (a,b)"),
            "up by () 0 n a|b",
            "the namespace of the request comes last and counts"
        );
    }

    #[test]
    fn what_matchers_cannot_say_is_refused() {
        let entry = entry("{<<.LabelMatchers>>}", NAMESPACED);
        for selector in ["k>1", "app.kubernetes.io/name=x"] {
            let selector = Selector::parse(selector).unwrap();
            let error = query(&entry, "n", &selector).unwrap_err();
            assert!(matches!(error, PlanError::Selector(_)), "{error}");
        }
    }

    #[test]
    fn a_namespaced_rule_without_a_label_never_reads_all_namespaces() {
        let entry =
            ExternalEntry { namespace_label: None, ..entry("{<<.LabelMatchers>>}", NAMESPACED) };
        let error = query(&entry, "n", &Selector::default()).unwrap_err();
        assert!(matches!(error, PlanError::NoNamespaceLabel { .. }), "{error}");
    }

    #[test]
    fn samples_are_sorted_and_what_is_not_finite_is_left_out() {
        let sample = |labels: &[(&str, &str)], value| Sample {
            labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            at_ms: 1_000,
            value,
        };
        let samples = vec![
            sample(&[("queue", "b"), ("app", "x")], 2.0),
            sample(&[("queue", "a"), ("app", "x")], 1.5),
            sample(&[("queue", "c")], f64::NAN),
            sample(&[("queue", "d")], f64::NEG_INFINITY),
            sample(&[], -3.0),
        ];
        let readings = of_vector(&Vector { samples, ..Vector::default() });
        let shown: Vec<_> = readings
            .values
            .iter()
            .map(|reading| {
                let labels = reading.labels.iter().map(|(name, value)| format!("{name}={value}"));
                (labels.collect::<Vec<_>>().join(","), reading.milli)
            })
            .collect();
        let wanted = [("", -3000), ("app=x,queue=a", 1500), ("app=x,queue=b", 2000)];
        assert_eq!(shown, wanted.map(|(labels, milli)| (labels.to_owned(), milli)));
        assert_eq!(readings.not_finite, 2);
    }

    #[test]
    fn a_scalar_is_one_value_without_labels() {
        let readings = of_scalar(5, 0.25);
        let wanted = ExternalReading { labels: Vec::new(), milli: 250, at_ms: 5 };
        assert_eq!((readings.values, readings.not_finite), (vec![wanted], 0));
        assert_eq!(of_scalar(5, f64::NAN), ExternalReadings { values: vec![], not_finite: 1 });
    }
}
