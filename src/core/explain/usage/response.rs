//! A `PodMetricsList` of metrics.k8s.io, read as the HPA controller reads it.
//!
//! Source: `pkg/controller/podautoscaler/metrics/client.go` of Kubernetes 1.36.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::no_container;
use crate::core::{
    duration,
    explain::{Step, hpa::Measured},
    quantity::parse_milli_rounded_up,
};

/// The usage that a server has returned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// By pod, in thousandths of a core or of a byte.
    pub values: Vec<(String, i64)>,
    /// When it was measured, by pod.
    pub measured: BTreeMap<String, Measured>,
}

/// Reads the usage of a resource by whole pods, or by one container. Pods of which a container does not say the resource are left
/// out. Fails where a pod has not the container.
pub fn read(list: &Value, resource: &str, container: Option<&str>) -> Result<Response, Step> {
    let mut response = Response::default();
    let items = list.get("items").and_then(Value::as_array);
    for item in items.into_iter().flatten() {
        let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").unwrap_or_default();
        let containers = item.get("containers").and_then(Value::as_array);
        let containers: Vec<_> = containers.into_iter().flatten().map(of_container).collect();
        let milli = |usage: &Value| {
            let quantity = usage.get(resource)?.as_str()?;
            parse_milli_rounded_up(quantity)
        };
        let used = match container {
            None if containers.is_empty() => None,
            None => {
                let mut used = containers.iter().map(|(_, usage)| milli(usage));
                used.try_fold(0_i64, |sum, used| Some(sum.saturating_add(used?)))
            }
            Some(asked) => {
                let Some((_, usage)) = containers.iter().find(|(name, _)| *name == asked) else {
                    let there: Vec<&str> = containers.iter().map(|(name, _)| *name).collect();
                    return Err(no_container(asked, name, &there));
                };
                milli(usage)
            }
        };
        let Some(used) = used else { continue };
        response.values.push((name.to_owned(), used));
        let at = text("/timestamp").and_then(|at| at.parse::<Timestamp>().ok());
        let window = text("/window").and_then(|window| duration::parse_go(window).ok());
        if let (Some(at), Some(window)) = (at, window) {
            let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
            let measured = Measured { at_ms: at.as_millisecond(), window_ms };
            response.measured.insert(name.to_owned(), measured);
        }
    }
    Ok(response)
}

/// The name of a container, and its usage.
fn of_container(container: &Value) -> (&str, &Value) {
    let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
    (name, container.get("usage").unwrap_or(&Value::Null))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::explain::Cause;

    fn list() -> Value {
        let container =
            |name: &str, cpu: &str| json!({"name": name, "usage": {"cpu": cpu, "memory": "1Ki"}});
        json!({"kind": "PodMetricsList", "items": [
            {"metadata": {"name": "a"}, "timestamp": "1970-01-01T00:01:00Z", "window": "30s",
                "containers": [container("web", "100m"), container("proxy", "1500u")]},
            {"metadata": {"name": "b"}, "containers": [container("web", "1")]},
            // Of this one something is missing.
            {"metadata": {"name": "c"}, "containers": [container("web", "1"), {"name": "new", "usage": {}}]},
            {"metadata": {"name": "d"}, "containers": []},
        ]})
    }

    #[test]
    fn usage_is_summed_by_pod_or_taken_of_a_container() {
        let whole = read(&list(), "cpu", None).unwrap();
        assert_eq!(whole.values, [("a".to_owned(), 102), ("b".to_owned(), 1000)]);
        let measured = Measured { at_ms: 60_000, window_ms: 30_000 };
        assert_eq!(whole.measured, BTreeMap::from([("a".to_owned(), measured)]));
        let memory = read(&list(), "memory", None).unwrap();
        assert_eq!(memory.values.first(), Some(&("a".to_owned(), 2_048_000)));

        let step = read(&list(), "cpu", Some("web")).unwrap_err();
        assert!(step.seen.contains("pod d"), "{step:?}");
        let mut list = list();
        list["items"].as_array_mut().unwrap().pop();
        let of_web = read(&list, "cpu", Some("web")).unwrap();
        assert_eq!(of_web.values.iter().map(|(_, milli)| *milli).sum::<i64>(), 2100);
        let step = read(&list, "cpu", Some("proxy")).unwrap_err();
        assert_eq!(step.cause.map(|(cause, _)| cause), Some(Cause::NamesDiffer));
    }

    #[test]
    fn what_is_no_list_has_no_usage() {
        for document in
            [json!(null), json!({"items": null}), json!({"items": [1, {"containers": 2}]})]
        {
            assert_eq!(read(&document, "cpu", None), Ok(Response::default()), "{document}");
        }
    }
}
