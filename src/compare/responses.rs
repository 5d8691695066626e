//! What is compared of an answer.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use jiff::Timestamp;

use crate::{
    core::{
        compare::{Measured, MetricsApi, Response},
        duration,
    },
    kubernetes::reader::Refused,
    wire::answer::{self, Item, Window},
};

/// The values of an answer, by object: of a container `POD/CONTAINER RESOURCE`, of external values their labels.
pub(super) fn values(api: MetricsApi, text: &str) -> Response {
    let items = match answer::items(text) {
        Ok(items) => items,
        Err(error) => return Response::Failed { code: 0, reason: format!("no list: {error}") },
    };
    let (mut values, mut seen) = (BTreeMap::new(), HashMap::<String, usize>::new());
    for item in items {
        let (at, window) = (at(&item), item.window.as_ref().and_then(seconds));
        let mut put = |object: String, quantity: String| {
            // Several values of the same labels are distinguished by their order.
            let number = seen.entry(object.clone()).and_modify(|number| *number += 1).or_insert(1);
            let key = if *number == 1 { object } else { format!("{object} #{number}") };
            values.insert(key, Measured { quantity, at, window });
        };
        match api {
            MetricsApi::Custom => put(item.described_object.name, item.value),
            MetricsApi::External => put(labels(&item.metric_labels), item.value),
            MetricsApi::Resource => {
                let name = item.metadata.name;
                for (resource, quantity) in item.usage {
                    put(format!("{name} {resource}"), quantity);
                }
                for container in item.containers {
                    for (resource, quantity) in container.usage {
                        put(format!("{name}/{} {resource}", container.name), quantity);
                    }
                }
            }
        }
    }
    Response::Values(values)
}

/// What there is to compare of a refusal. Why there was no answer at all differs from time to time.
pub(super) fn failed(refused: &Refused) -> Response {
    let code = refused.unread.code;
    let reason = if code == 0 { refused.unread.message.clone() } else { refused.reason.clone() };
    Response::Failed { code, reason }
}

fn at(item: &Item) -> Option<i64> {
    let at: Timestamp = item.timestamp.as_ref()?.parse().ok()?;
    Some(at.as_second())
}

fn seconds(window: &Window) -> Option<i64> {
    match window {
        Window::Seconds(seconds) => Some(*seconds),
        Window::Text(text) => i64::try_from(duration::parse_go(text).ok()?.as_secs()).ok(),
    }
}

/// Labels in a line of a table.
fn labels(labels: &BTreeMap<String, String>) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in labels.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a String does not fail.
        write!(text, "{comma}{name}={value}").unwrap_or_default();
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(api: MetricsApi, text: &str) -> Vec<(String, String)> {
        let Response::Values(values) = values(api, text) else { panic!("{text}") };
        values.into_iter().map(|(key, value)| (key, value.quantity)).collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn values_are_known_by_object_or_labels() {
        let custom = r#"{"items":[{"describedObject":{"name":"web-0"},"value":"1"}]}"#;
        assert_eq!(read(MetricsApi::Custom, custom), [pair("web-0", "1")]);
        let external = r#"{"items":[{"metricLabels":{"b":"2","a":"1"},"value":"1"},{"metricLabels":{},"value":"2"},{"metricLabels":null,"value":"3"}]}"#;
        let external = external.replace("\"metricLabels\":null,", "");
        let wanted = [pair("{a=1,b=2}", "1"), pair("{}", "2"), pair("{} #2", "3")];
        assert_eq!(read(MetricsApi::External, &external), wanted);
        let pods = r#"{"items":[{"metadata":{"name":"p"},"window":"1m0s","timestamp":"1970-01-01T00:01:00Z","containers":[{"name":"c","usage":{"cpu":"1m","memory":"2Mi"}}]}]}"#;
        let wanted = [pair("p/c cpu", "1m"), pair("p/c memory", "2Mi")];
        assert_eq!(read(MetricsApi::Resource, pods), wanted);
        let Response::Values(values) = values(MetricsApi::Resource, pods) else { panic!() };
        let first = values.values().next().unwrap();
        assert_eq!((first.at, first.window), (Some(60), Some(60)));
    }

    #[test]
    fn what_is_no_list_is_a_failure() {
        let response = values(MetricsApi::Custom, "<html>");
        assert!(matches!(response, Response::Failed { code: 0, .. }), "{response:?}");
    }
}
