//! External metrics: the query of a question, and the values in its result.

use std::{cmp::Ordering, sync::Arc};

use super::{
    catalog::external::ExternalEntry,
    memory,
    oddity::{Oddities, Oddity},
    plan::{self, Matchers, PlanError},
    quantity,
    rules::{Aggregate, ExternalRule, Nan},
    samples::{Labels, Rows, Sample, Vector},
    selector::{Contradiction, Given, Selector},
    template::QueryArguments,
};

/// The value of one series of an external metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExternalReading {
    /// The position of the sample in the vector; nothing for what has no labels.
    sample: Option<u32>,
    /// The value in thousandths.
    pub milli: i64,
    /// The evaluation time of the query that gave the value, in milliseconds since the epoch.
    pub at_ms: i64,
}

impl ExternalReading {
    /// All labels of the sample, if there is one. The vector is the one that was read.
    pub fn labels(self, vector: Option<&Vector>) -> Option<Labels<'_>> {
        Some(sample(vector?, self.sample?)?.labels)
    }
}

fn sample(vector: &Vector, at: u32) -> Option<Sample<'_>> {
    vector.samples.get(memory::index(at))
}

/// The values of an external metric, sorted by their labels, and what was odd about the samples.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExternalReadings {
    /// One reading for every usable sample.
    pub values: Vec<ExternalReading>,
    /// What was odd about the samples.
    pub odd: Oddities,
}

/// Renders the query in prometheus-adapter's form.
///
/// Matchers come in the order selector (by key), namespace. The namespace, as it stands in the request (`*` is no wildcard), is
/// matched unless the rule says `namespaced: false`. There is nothing to group by.
///
/// A selector that no series can match is refused, unless the query does not depend on it.
pub fn query(
    entry: &ExternalEntry,
    namespace: &str,
    selector: &Selector,
) -> Result<String, PlanError> {
    let query = matched(entry, namespace, selector)?;
    let label = entry.namespace_label.as_deref().filter(|_| entry.rule.base.mapping.namespaced());
    let of = "the requested namespace";
    let given = label.map(|label| Given { label, value: Some(namespace), of });
    for Contradiction { label, why } in selector.contradictions(given.as_slice()) {
        if query != matched(entry, namespace, &selector.without(label))? {
            return Err(PlanError::Selector(why));
        }
    }
    Ok(query)
}

fn matched(
    entry: &ExternalEntry,
    namespace: &str,
    selector: &Selector,
) -> Result<String, PlanError> {
    let mut matchers = Matchers::default();
    matchers.selector(selector)?;
    if let Some(label) = namespace_label(entry)? {
        matchers.push(label, "=", namespace, namespace.to_owned());
    }
    render(entry, &matchers)
}

/// Renders the query for the series of all namespaces.
pub fn query_everywhere(entry: &ExternalEntry) -> Result<String, PlanError> {
    let mut matchers = Matchers::default();
    if let Some(label) = namespace_label(entry)? {
        matchers.push(label, "!=", "", ".+".to_owned());
    }
    render(entry, &matchers)
}

/// A query that has a sample if series of the metric say the namespace by the label that Prometheus has renamed, as
/// [`plan::renamed`], and the label. Nothing where no namespace is matched, or the series is not known.
pub fn renamed<'e>(entry: &'e ExternalEntry, namespace: &str) -> Option<(String, &'e Arc<str>)> {
    let label = entry.namespace_label.as_ref().filter(|_| entry.rule.base.mapping.namespaced())?;
    Some((plan::renamed_namespace(&entry.series, label, namespace)?, label))
}

/// The label that the namespace is matched by, where it is.
fn namespace_label(entry: &ExternalEntry) -> Result<Option<&str>, PlanError> {
    if !entry.rule.base.mapping.namespaced() {
        return Ok(None);
    }
    let missing = || PlanError::NoNamespaceLabel { rule: entry.rule.base.id.clone() };
    entry.namespace_label.as_deref().map(Some).ok_or_else(missing)
}

fn render(entry: &ExternalEntry, matchers: &Matchers) -> Result<String, PlanError> {
    let arguments = QueryArguments {
        series: &entry.series,
        label_matchers: &matchers.text,
        label_values_by_name: &matchers.values,
        group_by: "",
        group_by_slice: &[],
    };
    entry
        .rule
        .base
        .query
        .render(&arguments)
        .map_err(|source| PlanError::Template { rule: entry.rule.base.id.clone(), source })
}

/// Reads every sample of a vector, and makes one value of all where the rule says so.
///
/// A sample whose own label says another namespace than that of the request is left out, unless the rule says
/// `namespaced: false`.
///
/// Where there is no other sample and `onEmpty` of the rule is a value, that is the one value, without labels, as `or vector(0)`
/// would return it, at the time `empty_at`; there is none if the vector may be missing samples.
pub fn of_vector(
    vector: &Vector,
    entry: &ExternalEntry,
    namespace: &str,
    empty_at: Option<i64>,
) -> ExternalReadings {
    let mut samples = Samples { odd: vector.oddities(), ..Samples::default() };
    let namespace_label =
        entry.namespace_label.as_deref().filter(|_| entry.rule.base.mapping.namespaced());
    let other_namespace = |labels: Labels<'_>| {
        let said = namespace_label.and_then(|name| labels.get(name)).unwrap_or_default();
        (!said.is_empty() && said != namespace).then(|| said.to_owned())
    };
    for (sample, at) in vector.samples.iter().zip(0_u32..) {
        let Sample { labels, at_ms, value } = sample;
        match other_namespace(labels) {
            Some(other) => samples.odd.note(Oddity::OtherNamespaces, &other),
            None => samples.add(Some((at, labels)), at_ms, value, entry.rule.base.nan),
        }
    }
    for (labels, oddity) in vector.unusable.iter() {
        match other_namespace(labels) {
            Some(other) => samples.odd.note(Oddity::OtherNamespaces, &other),
            None => samples.note(oddity, Some(labels)),
        }
    }
    let unusable = vector.unusable.iter().map(|(labels, _)| labels);
    let mut all = vector.samples.iter().map(|sample| sample.labels).chain(unusable);
    let is_empty = all.all(|labels| other_namespace(labels).is_some());
    if let (Some(milli), true, Some(at_ms)) = (entry.rule.base.on_empty.milli(), is_empty, empty_at)
    {
        let value = ExternalReading { sample: None, milli, at_ms };
        return ExternalReadings { values: vec![value], odd: samples.odd };
    }
    samples.readings(entry.rule.aggregate, |a, b| {
        match (sample(vector, a), sample(vector, b)) {
            (Some(a), Some(b)) => a.labels.compare(b.labels),
            // There are no others.
            _ => Ordering::Equal,
        }
    })
}

/// The label of the one value that a rule's fallback is.
pub const FALLBACK_LABEL: &str = "loadline_fallback";

/// The fallback of a rule as the value of its metric, in thousandths: the reading, and the vector that has its label.
pub fn of_fallback(milli: i64, at_ms: i64) -> (ExternalReading, Vector) {
    let mut rows = Rows::default();
    if let Some(name) = rows.name(FALLBACK_LABEL) {
        rows.label(name, "true");
    }
    rows.sample(at_ms, 0.0);
    let vector = rows.complete(Vec::new(), false);
    (ExternalReading { sample: Some(0), milli, at_ms }, vector)
}

/// Reads a scalar, which has no labels.
pub fn of_scalar(at_ms: i64, value: f64, rule: &ExternalRule) -> ExternalReadings {
    let mut samples = Samples::default();
    samples.add(None, at_ms, value, rule.base.nan);
    samples.readings(rule.aggregate, |_, _| Ordering::Equal)
}

/// Samples that are values, and what was odd about them all.
#[derive(Default)]
struct Samples {
    finite: Vec<(Option<u32>, i64, f64)>,
    odd: Oddities,
}

impl Samples {
    fn add(&mut self, sample: Option<(u32, Labels<'_>)>, at_ms: i64, value: f64, nan: Nan) {
        let value = if value.is_nan() && nan == Nan::Zero { 0.0 } else { value };
        if value.is_finite() {
            self.finite.push((sample.map(|(at, _)| at), at_ms, value));
        } else {
            self.note(Oddity::of_value(value), sample.map(|(_, labels)| labels));
        }
    }

    fn note(&mut self, oddity: Oddity, labels: Option<Labels<'_>>) {
        if self.odd.has(oddity) {
            return;
        }
        let labels = labels.into_iter().flat_map(Labels::iter);
        let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        self.odd.note(oddity, &labels.join(","));
    }

    /// The readings, in an order of their samples.
    fn readings(
        mut self,
        aggregate: Aggregate,
        order: impl Fn(u32, u32) -> Ordering,
    ) -> ExternalReadings {
        if aggregate != Aggregate::None
            && let Some(at_ms) = self.finite.iter().map(|(_, at_ms, _)| *at_ms).max()
        {
            let values = self.finite.iter().map(|(.., value)| *value);
            let sum: f64 = values.clone().sum();
            let value = match aggregate {
                Aggregate::None | Aggregate::Sum => sum,
                Aggregate::Max => values.fold(f64::NEG_INFINITY, f64::max),
                Aggregate::Avg => sum / samples(self.finite.len()),
            };
            self.finite = vec![(None, at_ms, value)];
        }
        let mut readings = ExternalReadings { values: Vec::new(), odd: self.odd };
        for (sample, at_ms, value) in self.finite {
            match quantity::milli(value) {
                Some(milli) => readings.values.push(ExternalReading { sample, milli, at_ms }),
                // A sum of finite values may have got infinite.
                None => readings.odd.note(Oddity::Infinite, ""),
            }
        }
        readings.values.sort_unstable_by(|a, b| {
            let by_labels = a.sample.zip(b.sample).map_or(Ordering::Equal, |(a, b)| order(a, b));
            by_labels.then_with(|| (a.milli, a.at_ms).cmp(&(b.milli, b.at_ms)))
        });
        if readings.values.len() > 1 {
            readings.odd.note(Oddity::SeveralValues, &readings.values.len().to_string());
        }
        readings
    }
}

#[expect(clippy::cast_precision_loss, reason = "no vector has 2^52 samples")]
fn samples(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::{kinds::Kinds, rules::load};

    fn entry(template: &str, resources: &str) -> ExternalEntry {
        let text = format!(
            "externalRules:\n- seriesQuery: up\n  metricsQuery: '{template}'\n  resources: {{{resources}}}\n"
        );
        let rules = load(&text).unwrap();
        assert!(rules.broken.is_empty(), "{:?}", rules.broken);
        let rule = Arc::clone(&rules.external[0]);
        let mapping = rule.base.mapping.resolve(&Kinds::builtin());
        let namespace_label = mapping.namespace_label().map(Arc::from);
        ExternalEntry { series: "up".into(), namespace_label, rule }
    }

    fn rule(options: &str) -> Arc<ExternalRule> {
        rule_of("namespaced: false", options)
    }

    fn rule_of(resources: &str, options: &str) -> Arc<ExternalRule> {
        let text = format!(
            "externalRules:\n- {{seriesQuery: up, metricsQuery: up, resources: {{{resources}}}{options}}}\n"
        );
        let rules = load(&text).unwrap();
        assert!(rules.broken.is_empty(), "{:?}", rules.broken);
        Arc::clone(&rules.external[0])
    }

    fn global(options: &str) -> ExternalEntry {
        ExternalEntry { series: "up".into(), namespace_label: None, rule: rule(options) }
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
            ("x.io/y=v,service.name", r#"{"service.name"!="","x.io/y"="v",ns="n"}"#),
            // Who names a namespace in the selector does not get out of that of the request.
            ("ns in (n,other)", r#"{ns=~"n|other",ns="n"}"#),
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
        let error = query(&entry, "n", &Selector::parse("k>1").unwrap()).unwrap_err();
        assert!(matches!(error, PlanError::Selector(_)), "{error}");
    }

    #[test]
    fn a_selector_that_no_series_can_match_is_refused_where_the_query_has_it() {
        let ask = |template: &str, resources: &str, selector: &str| {
            query(&entry(template, resources), "app", &Selector::parse(selector).unwrap())
        };
        let template = "sum(up{<<.LabelMatchers>>})";
        for selector in ["ns=nsq", "ns!=app", "!ns", "k=1,k=2"] {
            let error = ask(template, NAMESPACED, selector).unwrap_err();
            assert!(matches!(error, PlanError::Selector(_)), "{error}");
            ask("sum(up)", NAMESPACED, selector).unwrap();
        }
        ask(template, NAMESPACED, "ns=app").unwrap();
        ask(template, "namespaced: false, overrides: {ns: {resource: namespace}}", "ns=nsq")
            .unwrap();
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
        let samples: [(&[_], _, _); 5] = [
            (&[("queue", "b"), ("app", "x")], 1_000, 2.0),
            (&[("queue", "a"), ("app", "x")], 1_000, 1.5),
            (&[("queue", "c")], 1_000, f64::NAN),
            (&[("queue", "d")], 1_000, f64::NEG_INFINITY),
            (&[], 1_000, -3.0),
        ];
        let vector = Vector::of(samples);
        let readings = of_vector(&vector, &global(""), "n", Some(7));
        let shown: Vec<_> = readings
            .values
            .iter()
            .map(|reading| {
                let labels = reading.labels(Some(&vector)).unwrap().sorted().into_iter();
                let labels = labels.map(|(name, value)| format!("{name}={value}"));
                (labels.collect::<Vec<_>>().join(","), reading.milli)
            })
            .collect();
        let wanted = [("", -3000), ("app=x,queue=a", 1500), ("app=x,queue=b", 2000)];
        assert_eq!(shown, wanted.map(|(labels, milli)| (labels.to_owned(), milli)));
        let odd: Vec<_> = readings.odd.iter().collect();
        let wanted = [
            (Oddity::NotANumber, "queue=c"),
            (Oddity::Infinite, "queue=d"),
            (Oddity::SeveralValues, "3"),
        ];
        assert_eq!(odd, wanted);
    }

    #[test]
    fn what_says_another_namespace_is_not_of_this_one_unless_there_are_none() {
        let samples: [(&[_], _, _); 3] =
            [(&[("ns", "n")], 1, 1.0), (&[("ns", "other")], 1, 2.0), (&[], 1, 4.0)];
        let histogram = Oddity::NativeHistogram;
        let vector = Vector::of(samples).and_unusable(&[("ns", "other")], histogram);
        let read = |resources: &str, namespace| {
            let readings = of_vector(&vector, &entry("x", resources), namespace, None);
            let milli = readings.values.iter().map(|reading| reading.milli).collect::<Vec<_>>();
            (milli, readings.odd)
        };
        let (milli, odd) = read(NAMESPACED, "n");
        assert_eq!((milli, odd.why_nothing()), (vec![4000, 1000], Oddity::OtherNamespaces));
        assert_eq!(odd.example(Oddity::OtherNamespaces), Some("other"));
        assert!(!odd.has(Oddity::NativeHistogram), "it is of another");
        assert_eq!(read(NAMESPACED, "nobody").0, [4000]);
        let (milli, odd) = read(NOT_NAMESPACED, "n");
        assert_eq!((milli, odd.has(Oddity::OtherNamespaces)), (vec![4000, 1000, 2000], false));
        assert!(odd.has(Oddity::NativeHistogram));
    }

    #[test]
    fn a_scalar_is_one_value_without_labels() {
        let readings = of_scalar(5, 0.25, &rule(""));
        let wanted = ExternalReading { sample: None, milli: 250, at_ms: 5 };
        assert_eq!((readings.values, readings.odd), (vec![wanted], Oddities::default()));
        let readings = of_scalar(5, f64::NAN, &rule(""));
        assert_eq!((readings.values, readings.odd.why_nothing()), (vec![], Oddity::NotANumber));
    }

    #[test]
    fn a_rule_can_make_one_value_of_all_samples() {
        let samples: [(&[_], _, _); 4] = [
            (&[("queue", "a")], 1, 1.0),
            (&[("queue", "b")], 2, 4.5),
            (&[("queue", "c")], 1, f64::NAN),
            (&[("queue", "d")], 1, f64::INFINITY),
        ];
        let vector = Vector::of(samples);
        let cases = [
            ("sum", "drop", 5_500),
            ("max", "drop", 4_500),
            ("avg", "drop", 2_750),
            ("avg", "zero", 1_833),
        ];
        for (aggregate, nan, wanted) in cases {
            let entry = global(&format!(", aggregate: {aggregate}, nan: {nan}"));
            let readings = of_vector(&vector, &entry, "n", Some(7)).values;
            let wanted = ExternalReading { sample: None, milli: wanted, at_ms: 2 };
            assert_eq!(readings, [wanted], "{aggregate} {nan}");
        }
        let sum = global(", aggregate: sum");
        assert_eq!(
            of_vector(&Vector::default(), &sum, "n", Some(7)).values,
            [],
            "nothing has no sum"
        );
    }

    #[test]
    fn a_fallback_carries_its_label() {
        let (reading, vector) = of_fallback(1_500, 7);
        assert_eq!((reading.milli, reading.at_ms), (1_500, 7));
        let labels: Vec<_> = reading.labels(Some(&vector)).unwrap().iter().collect();
        assert_eq!(labels, [("loadline_fallback", "true")]);
    }

    #[test]
    fn nothing_is_what_the_rule_says_if_nothing_is_missing() {
        let value = |milli| ExternalReading { sample: None, milli, at_ms: 7 };
        let zero = value(0);
        let said = [("zero", 0), ("0", 0), ("5", 5_000), ("500m", 500), ("2k", 2_000_000)];
        let aggregates = ["", ", aggregate: sum", ", aggregate: max", ", aggregate: avg"];
        let all = said.iter().flat_map(|said| aggregates.map(|more| (said, more)));
        for ((said, milli), more) in all {
            let entry = global(&format!(", onEmpty: {said}{more}"));
            let empty = Vector::default();
            let read = |vector: &Vector, at| of_vector(vector, &entry, "n", at).values;
            assert_eq!(read(&empty, Some(7)), [value(*milli)], "{said}{more}");
            assert_eq!(read(&empty, None), [], "{more}");
            for oddity in [Oddity::NativeHistogram, Oddity::OutOfTime] {
                let vector = Vector::default().and_unusable(&[], oddity);
                assert_eq!(read(&vector, Some(7)), [], "a sample, though none that is a value");
            }
            let nan = Vector::of([(&[][..], 1, f64::NAN)]);
            assert_eq!(read(&nan, Some(7)), [], "{more}");
        }
        let omit = global(", onEmpty: omit");
        assert_eq!(of_vector(&Vector::default(), &omit, "n", Some(7)).values, []);
        // What is of another namespace is nothing here.
        let mut namespaced = entry("x", NAMESPACED);
        namespaced.rule = rule_of(NAMESPACED, ", onEmpty: zero");
        let other = Vector::of([(&[("ns", "other")][..], 1, 5.0)]);
        assert_eq!(of_vector(&other, &namespaced, "n", Some(7)).values, [zero]);
    }
}
