//! What people ask `loadline explain` about.

use std::collections::BTreeMap;

use crate::core::{
    explain::{Inquiry, Subject, command::USAGE, facts::Which},
    selector::Selector,
};
use crate::wire::path::{self, Name};

/// The subject of a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Question {
    /// An autoscaler, by name.
    Hpa(String),
    /// The autoscaler of a workload: kind as written, and name.
    Workload(String, String),
    /// A metric.
    Metric(MetricQuestion),
}

/// A metric, and whose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MetricQuestion {
    /// The resource; nothing for external metrics.
    pub resource: Option<String>,
    /// The object; nothing for all that are selected.
    pub object: Option<String>,
    /// The metric.
    pub metric: String,
    /// The namespace, where the question itself says it.
    pub namespace: Option<Option<String>>,
    /// Which objects, where the question itself says it.
    pub objects: Option<String>,
    /// Which series, where the question itself says it.
    pub series: Option<String>,
}

/// The kinds of workloads whose autoscaler can be asked for.
const WORKLOADS: [(&str, &[&str]); 3] = [
    ("Deployment", &["deployment", "deployments", "deploy", "deployments.apps"]),
    ("StatefulSet", &["statefulset", "statefulsets", "sts", "statefulsets.apps"]),
    ("ReplicaSet", &["replicaset", "replicasets", "rs", "replicasets.apps"]),
];

/// How people call an autoscaler.
const AUTOSCALERS: [&str; 4] = [
    "hpa",
    "horizontalpodautoscaler",
    "horizontalpodautoscalers",
    "horizontalpodautoscalers.autoscaling",
];

/// The forms of a question, for errors and help.
pub const FORMS: &str = "hpa/NAME, deployment/NAME, RESOURCE/NAME METRIC, RESOURCE METRIC with --selector, external METRIC, usage cpu, usage memory, or a path of the API";

impl Question {
    /// Reads the words of a command line.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match *words.as_slice() {
            [path] if path.starts_with('/') => of_path(path).map(Self::Metric),
            [object] => {
                let (kind, name) = object.split_once('/').ok_or_else(unreadable)?;
                workload(kind, name).ok_or_else(unreadable)
            }
            [kind, name] if AUTOSCALERS.contains(&kind.to_lowercase().as_str()) => {
                Ok(Self::Hpa(name.to_owned()))
            }
            ["external", metric] => Ok(Self::Metric(MetricQuestion::new(None, None, metric))),
            [object, metric] => {
                let (resource, name) = match object.split_once('/') {
                    Some((resource, "*")) => (resource, None),
                    Some((resource, name)) => (resource, Some(name)),
                    None => (object, None),
                };
                Ok(Self::Metric(MetricQuestion::new(Some(resource), name, metric)))
            }
            _ => Err(unreadable()),
        }
    }
}

fn unreadable() -> String {
    format!("say what to explain: {FORMS}")
}

fn workload(kind: &str, name: &str) -> Option<Question> {
    let word = kind.to_lowercase();
    if AUTOSCALERS.contains(&word.as_str()) {
        return Some(Question::Hpa(name.to_owned()));
    }
    let known = WORKLOADS.iter().find(|(_, words)| words.contains(&word.as_str()));
    known.map(|(kind, _)| Question::Workload((*kind).to_owned(), name.to_owned()))
}

impl MetricQuestion {
    fn new(resource: Option<&str>, object: Option<&str>, metric: &str) -> Self {
        Self {
            resource: resource.map(str::to_owned),
            object: object.map(str::to_owned),
            metric: metric.to_owned(),
            namespace: None,
            objects: None,
            series: None,
        }
    }

    /// What was asked, as it would be written.
    pub fn object(&self) -> String {
        match (&self.resource, &self.object) {
            (None, _) => format!("external {}", self.metric),
            (Some(resource), None) => format!("{resource} {}", self.metric),
            (Some(resource), Some(object)) => format!("{resource}/{object} {}", self.metric),
        }
    }

    /// The question in the terms of the API, in this namespace unless the question names one. Fails if a selector does not parse.
    pub fn inquiry(
        &self,
        namespace: &str,
        (objects, series): (Option<&str>, Option<&str>),
    ) -> Result<Inquiry, String> {
        if self.object.is_some() && objects.is_some() {
            return Err("--selector selects objects, and the question names one".into());
        }
        let selector = |own: &Option<String>, given: Option<&str>| {
            if own.is_some() && given.is_some() {
                return Err("the path has a selector of its own: leave out that of the flag".into());
            }
            let text = own.as_deref().or(given).unwrap_or_default();
            Selector::parse(text).map_err(|error| error.to_string())
        };
        let (subject, selector) = match &self.resource {
            // The only selector of an external metric is that of its series.
            None if series.is_some() && objects.is_some() => {
                return Err("an external metric has one selector: --selector".into());
            }
            None => (Subject::External, selector(&self.series, series.or(objects))?),
            Some(resource) => {
                let which = match &self.object {
                    Some(name) => Which::Named(name.clone()),
                    None => Which::Selected(selector(&self.objects, objects)?),
                };
                let series = selector(&self.series, series)?;
                if resource != USAGE {
                    (Subject::Objects { resource: resource.clone(), which }, series)
                } else if series.is_empty() {
                    (Subject::Usage { which, container: None }, series)
                } else {
                    return Err(
                        "--metric-selector selects series of a metric, and usage has none".into()
                    );
                }
            }
        };
        Ok(Inquiry {
            metric: self.metric.clone(),
            subject,
            namespace: self.namespace.clone().unwrap_or_else(|| Some(namespace.to_owned())),
            selector,
            is_at_zero: false,
        })
    }
}

/// The metric that a path of the API asks for.
fn of_path(text: &str) -> Result<MetricQuestion, String> {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let parameters: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes())
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    let parameter = |name: &str| parameters.get(name).cloned();
    let of = |group: &str| {
        let rest = path.strip_prefix("/apis/")?.strip_prefix(group)?.strip_prefix('/')?;
        rest.split_once('/').map(|(_, rest)| rest)
    };
    if let Some(rest) = of("custom.metrics.k8s.io") {
        let path = path::parse(rest).map_err(|error| error.to_string())?;
        let object = match path.name {
            Name::One(name) => Some(name),
            Name::All => None,
        };
        return Ok(MetricQuestion {
            namespace: Some(path.namespace),
            objects: parameter("labelSelector"),
            series: parameter("metricLabelSelector"),
            ..MetricQuestion::new(Some(&path.resource.to_string()), object.as_deref(), &path.metric)
        });
    }
    if let Some(rest) = of("external.metrics.k8s.io") {
        let path = path::parse_external(rest).map_err(|error| error.to_string())?;
        return Ok(MetricQuestion {
            namespace: Some(Some(path.namespace)),
            series: parameter("labelSelector"),
            ..MetricQuestion::new(None, None, &path.metric)
        });
    }
    Err(format!(
        "{path} is no path of custom.metrics.k8s.io or external.metrics.k8s.io; of usage ask `usage cpu` or `usage memory`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Question, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Question::parse(&words)
    }

    #[test]
    fn the_forms_of_questions() {
        assert_eq!(parse("hpa/web"), Ok(Question::Hpa("web".to_owned())));
        assert_eq!(parse("hpa web"), Ok(Question::Hpa("web".to_owned())));
        let workload = Question::Workload("Deployment".to_owned(), "web".to_owned());
        assert_eq!(parse("deploy/web"), Ok(workload));
        let of =
            |resource, object| Ok(Question::Metric(MetricQuestion::new(resource, object, "m")));
        assert_eq!(parse("pods/web-0 m"), of(Some("pods"), Some("web-0")));
        assert_eq!(parse("pods m"), of(Some("pods"), None));
        assert_eq!(parse("external m"), of(None, None));
        assert_eq!(parse("usage m"), of(Some("usage"), None));
        for line in ["", "web", "pods/web-0", "a b c", "/apis/apps/v1/deployments"] {
            parse(line).unwrap_err();
        }
    }

    #[test]
    fn selectors_that_nothing_would_read_are_refused() {
        let inquiry = |line: &str, selectors| {
            let Ok(Question::Metric(question)) = parse(line) else { panic!("{line}") };
            question.inquiry("n", selectors)
        };
        let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n/pods/*/m?labelSelector=a";
        for (line, selectors) in [
            ("pods/web-0 m", (Some("app=web"), None)),
            ("usage/web-0 cpu", (Some("app=web"), None)),
            ("usage cpu", (None, Some("app=web"))),
            ("external m", (Some("a"), Some("b"))),
            (path, (Some("app=web"), None)),
        ] {
            inquiry(line, selectors).unwrap_err();
            inquiry(line, (None, None)).unwrap();
        }
        let usage = inquiry("usage cpu", (Some("app=web"), None)).unwrap();
        let which = Which::Selected(Selector::parse("app=web").unwrap());
        assert_eq!(usage.subject, Subject::Usage { which, container: None });
    }

    #[test]
    fn paths_say_all_that_there_is_to_say() {
        let path =
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n/pods/*/m?labelSelector=app%3Dweb";
        let Ok(Question::Metric(question)) = parse(path) else { panic!("{path}") };
        assert_eq!(question.namespace, Some(Some("n".to_owned())));
        assert_eq!(question.objects.as_deref(), Some("app=web"));
        assert_eq!((question.resource.as_deref(), question.object), (Some("pods"), None));
    }
}
