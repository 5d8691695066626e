//! How much a list of values holds, counted before any of it is kept.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// How much a list holds. The type of its items does not matter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Shape {
    /// How many values.
    pub(super) values: usize,
    /// The labels of all values.
    pub(super) labels: usize,
    /// The labels of the value that has the most.
    pub(super) most_labels: usize,
    /// The bytes of the longest label, with its value.
    pub(super) longest_label: usize,
}

impl Shape {
    /// Counts what a body holds.
    pub(super) fn of(body: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            items: Option<Items>,
        }
        serde_json::from_slice::<List>(body)
            .map(|list| list.items.map_or_else(Shape::default, |items| items.0))
    }
}

struct Items(Shape);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    metric_labels: Option<Labels>,
}

struct Labels {
    count: usize,
    longest: usize,
}

/// The bytes of a text.
struct Length(usize);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfItems;

        impl<'de> Visitor<'de> for OfItems {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items, A::Error> {
                let mut shape = Shape::default();
                while let Some(Item { metric_labels }) = items.next_element()? {
                    shape.values += 1;
                    let Some(Labels { count, longest }) = metric_labels else { continue };
                    shape.labels += count;
                    shape.most_labels = shape.most_labels.max(count);
                    shape.longest_label = shape.longest_label.max(longest);
                }
                Ok(Items(shape))
            }
        }

        deserializer.deserialize_seq(OfItems)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfLabels;

        impl<'de> Visitor<'de> for OfLabels {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut labels: A) -> Result<Labels, A::Error> {
                let (mut count, mut longest) = (0, 0);
                while let Some((Length(name), Length(value))) = labels.next_entry()? {
                    count += 1;
                    longest = longest.max(name + value);
                }
                Ok(Labels { count, longest })
            }
        }

        deserializer.deserialize_map(OfLabels)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;

        impl Visitor<'_> for OfText {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Length, E> {
                Ok(Length(text.len()))
            }
        }

        deserializer.deserialize_str(OfText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_counted() {
        let body = br#"{"kind": "L", "items": [
            {"value": "1", "metricLabels": {"a": "b", "cd": "\u00e9f"}},
            {"metricLabels": null}, {"metricLabels": {"a": ""}, "more": {"metricLabels": 7}}, {}
        ]}"#;
        let wanted = Shape { values: 4, labels: 3, most_labels: 2, longest_label: 5 };
        assert_eq!(Shape::of(body).unwrap(), wanted);
        for body in [&b"{}"[..], b"{\"items\": null}"] {
            assert_eq!(Shape::of(body).unwrap(), Shape::default());
        }
        for body in [&b"{\"items\": {}}"[..], b"{\"items\": [{\"metricLabels\": {\"a\": 1}}]}"] {
            assert!(Shape::of(body).is_err());
        }
    }
}
