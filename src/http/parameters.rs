//! The parameters of a request's query.

use std::borrow::Cow;

use super::error::ApiError;
use crate::core::{fields::FieldSelector, selector::Selector};

/// The parameters that mean something here. Others, such as `timeout` and `resourceVersion`, are let pass, as an API server does;
/// of one that is given twice the first counts, as in Go.
#[derive(Debug, Default)]
pub(super) struct Parameters<'a> {
    label_selector: Option<Cow<'a, str>>,
    metric_label_selector: Option<Cow<'a, str>>,
    field_selector: Option<Cow<'a, str>>,
    pretty: Option<Cow<'a, str>>,
    watch: Option<Cow<'a, str>>,
    verbose: Option<Cow<'a, str>>,
    api: Option<Cow<'a, str>>,
    resource: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    container: Option<Cow<'a, str>>,
    at_zero: Option<Cow<'a, str>>,
    namespace: Option<Cow<'a, str>>,
    metric: Option<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    pub(super) fn parse(query: Option<&'a str>) -> Self {
        Self::of(form_urlencoded::parse(query.unwrap_or_default().as_bytes()))
    }

    /// The fields of a form. Those that are empty are none.
    pub(super) fn of_form(query: Option<&'a str>) -> Self {
        let fields = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self::of(fields.filter(|(_, value)| !value.trim().is_empty()))
    }

    fn of(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Self {
        let mut parameters = Self::default();
        for (name, value) in pairs {
            let parameter = match &*name {
                "labelSelector" => &mut parameters.label_selector,
                "metricLabelSelector" => &mut parameters.metric_label_selector,
                "fieldSelector" => &mut parameters.field_selector,
                "pretty" => &mut parameters.pretty,
                "watch" => &mut parameters.watch,
                "verbose" => &mut parameters.verbose,
                "api" => &mut parameters.api,
                "resource" => &mut parameters.resource,
                "name" => &mut parameters.name,
                "container" => &mut parameters.container,
                "atZero" => &mut parameters.at_zero,
                "namespace" => &mut parameters.namespace,
                "metric" => &mut parameters.metric,
                _ => continue,
            };
            parameter.get_or_insert(value);
        }
        parameters
    }

    /// Which objects are selected by their labels.
    pub(super) fn labels(&self) -> Result<Selector, ApiError> {
        selector(self.label_selector.as_deref())
    }

    /// Which series of a metric are selected.
    pub(super) fn metric_labels(&self) -> Result<Selector, ApiError> {
        selector(self.metric_label_selector.as_deref())
    }

    /// Which objects are selected by their fields.
    pub(super) fn fields(&self) -> Result<FieldSelector, ApiError> {
        let text = self.field_selector.as_deref().unwrap_or_default();
        FieldSelector::parse(text).map_err(|error| ApiError::bad_request(&error))
    }

    /// Whether answers are to be indented, if the client says so.
    pub(super) fn pretty(&self) -> Option<bool> {
        let pretty = self.pretty.as_deref()?;
        Some(!matches!(pretty, "0" | "f" | "F" | "false" | "FALSE" | "False"))
    }

    /// Whether changes are asked for, in the spellings that Go takes for that.
    pub(super) fn watch(&self) -> bool {
        matches!(self.watch.as_deref(), Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    /// Of an explanation: the API that is asked about.
    pub(super) fn api(&self) -> Option<&str> {
        self.api.as_deref()
    }

    /// Of an explanation: the resource of the objects that are asked about.
    pub(super) fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// Of an explanation: the one object that is asked about.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Of an explanation of usage: the container that is asked about.
    pub(super) fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// Of an explanation: whether the workload has zero replicas.
    pub(super) fn at_zero(&self) -> bool {
        self.at_zero.as_deref() == Some("true")
    }

    /// Of the form of the status page: the namespace.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Of the form of the status page: the metric.
    pub(super) fn metric(&self) -> Option<&str> {
        self.metric.as_deref()
    }

    /// Of the form of the status page: the selector of objects.
    pub(super) fn labels_as_written(&self) -> Option<&str> {
        self.label_selector.as_deref()
    }

    /// Of the form of the status page: the selector of series.
    pub(super) fn metric_labels_as_written(&self) -> Option<&str> {
        self.metric_label_selector.as_deref()
    }

    /// Whether all checks of health are asked for.
    pub(super) fn verbose(&self) -> bool {
        self.verbose.is_some()
    }
}

fn selector(text: Option<&str>) -> Result<Selector, ApiError> {
    Selector::parse(text.unwrap_or_default()).map_err(|error| ApiError::bad_request(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_on_off_or_not_there() {
        let cases = [
            (None, (None, false, false)),
            (Some("a=b"), (None, false, false)),
            (Some("pretty&watch&verbose"), (Some(true), true, true)),
            (Some("a=b&pretty=true&watch=1&verbose=x"), (Some(true), true, true)),
            (Some("pretty=false&watch=false"), (Some(false), false, false)),
            (Some("pretty=0&pretty=1&watch=0&watch=1"), (Some(false), false, false)),
            (Some("watch=tr%75e"), (None, true, false)),
            (Some("watching=true&prettyy"), (None, false, false)),
        ];
        for (query, wanted) in cases {
            let parameters = Parameters::parse(query);
            let found = (parameters.pretty(), parameters.watch(), parameters.verbose());
            assert_eq!(found, wanted, "{query:?}");
        }
    }

    #[test]
    fn selectors_are_decoded_and_the_first_counts() {
        let query = "labelSelector=app%3Dweb&labelSelector=app%3Ddb&metricLabelSelector=a+in+(b)";
        let parameters = Parameters::parse(Some(query));
        let text = |selector: Result<Selector, _>| selector.ok().map(|parsed| parsed.to_string());
        assert_eq!(text(parameters.labels()).as_deref(), Some("app=web"));
        assert_eq!(text(parameters.metric_labels()).as_deref(), Some("a in (b)"));
        assert!(parameters.fields().is_ok_and(|fields| fields == FieldSelector::default()));
        let error = Parameters::parse(Some("fieldSelector=x%3Dy")).fields().err();
        assert_eq!(error.map(|error| error.code()), Some(400));
    }
}
