//! Triggers of CPU and memory, which the autoscaler has itself.

use serde_json::{Map, Value, json};

use super::{Fields, Moved, Notes};
use crate::core::quantity::parse_nano;

pub(super) fn trigger(trigger: &mut Fields, resource: &str, notes: &mut Notes) -> Moved {
    trigger.text("name");
    let metric_type = trigger.text("metricType");
    let path = trigger.path("metadata");
    let parameters = trigger.mapping("metadata", notes, |metadata, _| {
        (metadata.text("type"), metadata.text("value"), metadata.text("containerName"))
    });
    let (deprecated, value, container) = parameters.unwrap_or_default();
    if trigger.take("authenticationRef").is_some() {
        let text = "the autoscaler reads metrics.k8s.io itself";
        notes.note(&trigger.path("authenticationRef"), text);
    }
    let value = value.unwrap_or_default();
    let target = match metric_type.or(deprecated).as_deref() {
        Some("Utilization") => value
            .parse()
            .ok()
            .filter(|percent: &i32| *percent > 0)
            .map(|percent| json!({"type": "Utilization", "averageUtilization": percent})),
        Some("AverageValue") => parse_nano(&value)
            .filter(|nano| *nano > 0)
            .map(|_| json!({"type": "AverageValue", "averageValue": value})),
        _ => {
            let text = "it has to be Utilization or AverageValue, for KEDA too";
            notes.cannot(&trigger.path("metricType"), text);
            return Moved::Not;
        }
    };
    let Some(target) = target else {
        notes.cannot(&path.key("value"), "this is no target: a positive quantity, or a percentage");
        return Moved::Not;
    };
    let mut source = Map::new();
    source.insert("name".to_owned(), resource.into());
    let (kind, key) = match container {
        Some(container) => {
            source.insert("container".to_owned(), container.into());
            ("ContainerResource", "containerResource")
        }
        None => ("Resource", "resource"),
    };
    source.insert("target".to_owned(), target);
    let mut metric = Map::new();
    metric.insert("type".to_owned(), kind.into());
    metric.insert(key.to_owned(), Value::Object(source));
    Moved::Resource(Value::Object(metric))
}
