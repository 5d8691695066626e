//! Values and times that no pod should have, and what is read of them.

use serde_json::{Value, json};

use crate::support::{
    app::{Launch, custom},
    backend::{Answer, Backend, knows},
};

fn row(value: &Value) -> Value {
    json!({"resultType": "vector", "result": [{"metric": {"pod": "p"}, "value": value}]})
}

/// What a client reads of a sample; nothing where the object has no value.
const READ: &[(&str, Option<&str>)] = &[
    ("1", Some("1")),
    ("-5", Some("-5")),
    ("-0", Some("0")),
    // As prometheus-adapter has it.
    ("NaN", Some("0")),
    ("+Inf", None),
    ("-Inf", None),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_a_quantity_or_none() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Hang)).await;
    let app = Launch::new(super::RULE, &backend.url).start().await;
    let read = async |value: Value| {
        let data = row(&value);
        backend.play(knows(&["m"], move |_| Answer::Data(data.clone())));
        app.get(&custom("namespaces/n/pods/*/m")).await.values()
    };
    for (value, wanted) in READ {
        let values = read(json!([1_790_000_000, value])).await;
        let values: Vec<_> = values.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, wanted.as_slice(), "{value}");
    }
    // These are beyond what a quantity can say: it has a sign, and is one.
    for (value, is_negative) in
        [("1e308", false), ("-1e308", true), ("1.7976931348623157e308", false)]
    {
        let values = read(json!([1_790_000_000, value])).await;
        assert_eq!(values.len(), 1, "{value}");
        assert_eq!(values[0].1.starts_with('-'), is_negative, "{value}: {values:?}");
        assert!(values[0].1.len() < 40, "{values:?}");
    }
    // Times that no calendar has: the sample is ignored.
    for time in [1e300, -1e300, 9_223_372_036_854.0, -62_135_596_801.0] {
        assert_eq!(read(json!([time, "1"])).await, [], "{time}");
    }
}

/// Two samples with the same labels, as of servers that are put together without deduplication.
#[tokio::test(flavor = "multi_thread")]
async fn duplicate_series_are_one_value_whatever_their_order() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Hang)).await;
    let app = Launch::new(super::RULE, &backend.url).start().await;
    let mut read = Vec::new();
    for values in [["1", "2"], ["2", "1"]] {
        let rows =
            values.map(|value| json!({"metric": {"pod": "p"}, "value": [1_790_000_000, value]}));
        let data = json!({"resultType": "vector", "result": rows});
        backend.play(knows(&["m"], move |_| Answer::Data(data.clone())));
        read.push(app.get(&custom("namespaces/n/pods/*/m")).await.values());
    }
    assert_eq!(read[0].len(), 1, "{read:?}");
    assert_eq!(read[0], read[1]);
}
