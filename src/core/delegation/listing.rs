//! The metrics that delegates list, merged for our own lists.

use std::{collections::BTreeMap, sync::Arc};

use crate::core::{explain::Api, kinds::GroupResource, rules::Delegate};

/// The most metrics of a delegate, of both APIs.
pub const MOST_OF_DELEGATE: usize = 10_000;

/// The most metrics of all delegates, of both APIs.
pub const MOST_IN_ALL: usize = 25_000;

/// The longest name of a listed metric, with its resource, in bytes.
const LONGEST: usize = 512;

/// A metric of a delegate, by the name that a list has: `resource/metric`, or `metric` of an external one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedMetric {
    /// The name.
    pub name: Arc<str>,
    /// Whether the objects that it describes are in namespaces. External ones are.
    pub is_namespaced: bool,
}

/// The metrics of one delegate.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListedMetrics {
    /// Of custom.metrics.k8s.io.
    pub custom: Vec<ListedMetric>,
    /// Of external.metrics.k8s.io.
    pub external: Vec<ListedMetric>,
}

impl ListedMetrics {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.custom.len() + self.external.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of an API.
    pub fn of(&self, api: Api) -> &[ListedMetric] {
        match api {
            Api::Custom => &self.custom,
            Api::External => &self.external,
        }
    }
}

/// Leaves of a delegate's list what its `match` takes and what may be listed.
pub fn cleaned(
    delegate: &Delegate,
    api: Api,
    listed: impl IntoIterator<Item = (String, bool)>,
) -> Vec<ListedMetric> {
    let patterns = delegate.matching.as_ref().and_then(|matching| matching.metrics.as_ref());
    let may_be_listed = |name: &str| {
        let metric = match api {
            Api::Custom => name.split_once('/').map(|(_, metric)| metric),
            Api::External => Some(name),
        };
        let is_plain = name.len() <= LONGEST && !name.chars().any(char::is_control);
        let metric = metric.filter(|metric| is_plain && !metric.is_empty());
        metric.is_some_and(|metric| patterns.is_none_or(|pattern| pattern.is_match(metric)))
    };
    let listed = listed.into_iter().filter(|(name, _)| may_be_listed(name));
    let listed =
        listed.map(|(name, is_namespaced)| ListedMetric { name: name.into(), is_namespaced });
    listed.take(MOST_OF_DELEGATE).collect()
}

/// The metrics of all delegates. A name that several list is the first one's.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    custom: BTreeMap<Arc<str>, (Arc<str>, bool)>,
    external: BTreeMap<Arc<str>, Arc<str>>,
    left_out: usize,
}

impl Listing {
    /// Merges the lists of delegates, by their names and in their order. There are no more than [`MOST_IN_ALL`].
    pub fn merge<'d>(lists: impl IntoIterator<Item = (&'d Arc<str>, &'d ListedMetrics)>) -> Self {
        let mut merged = Self::default();
        for (delegate, metrics) in lists {
            for ListedMetric { name, is_namespaced } in &metrics.custom {
                if merged.takes(merged.custom.contains_key(name)) {
                    let owner = (Arc::clone(delegate), *is_namespaced);
                    merged.custom.insert(Arc::clone(name), owner);
                }
            }
            for ListedMetric { name, .. } in &metrics.external {
                if merged.takes(merged.external.contains_key(name)) {
                    merged.external.insert(Arc::clone(name), Arc::clone(delegate));
                }
            }
        }
        merged
    }

    /// Whether another metric is taken, which may be known.
    fn takes(&mut self, is_known: bool) -> bool {
        let is_full = self.custom.len() + self.external.len() >= MOST_IN_ALL;
        self.left_out += usize::from(is_full && !is_known);
        !is_known && !is_full
    }

    /// How many metrics were left out because there are too many.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The custom metrics, as resource, metric, and whether the objects are in namespaces.
    pub fn custom(&self) -> impl Iterator<Item = (GroupResource, &str, bool)> {
        self.custom.iter().filter_map(|(name, (_, is_namespaced))| {
            let (resource, metric) = name.split_once('/')?;
            Some((GroupResource::parse(resource), metric, *is_namespaced))
        })
    }

    /// The external metrics.
    pub fn external(&self) -> impl Iterator<Item = &str> {
        self.external.keys().map(|name| &**name)
    }

    /// The delegate that lists a metric; `resource` is that of the described objects, and nothing for external metrics.
    pub fn owner(&self, resource: Option<&GroupResource>, metric: &str) -> Option<&Arc<str>> {
        match resource {
            Some(resource) => {
                self.custom.get(format!("{resource}/{metric}").as_str()).map(|(owner, _)| owner)
            }
            None => self.external.get(metric),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rules::load;

    fn metrics(custom: &[&str], external: &[&str]) -> ListedMetrics {
        let listed = |name: &&str| ListedMetric {
            name: Arc::from(*name),
            is_namespaced: !name.starts_with("nodes"),
        };
        ListedMetrics {
            custom: custom.iter().map(listed).collect(),
            external: external.iter().map(listed).collect(),
        }
    }

    #[test]
    fn the_first_delegate_that_lists_a_metric_has_it() {
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let lists = [
            (&a, &metrics(&["pods/x", "nodes/y"], &["q"])),
            (&b, &metrics(&["pods/x", "jobs.batch/z"], &["q", "r"])),
        ];
        let merged = Listing::merge(lists);
        let custom: Vec<_> = merged
            .custom()
            .map(|(resource, metric, is)| format!("{resource} {metric} {is}"))
            .collect();
        assert_eq!(custom, ["jobs.batch z true", "nodes y false", "pods x true"]);
        assert_eq!(merged.external().collect::<Vec<_>>(), ["q", "r"]);
        let owner = |resource: &str, metric| {
            let resource = (!resource.is_empty()).then(|| GroupResource::parse(resource));
            merged.owner(resource.as_ref(), metric).map(ToString::to_string)
        };
        assert_eq!(owner("pods", "x").as_deref(), Some("a"));
        assert_eq!(owner("jobs.batch", "z").as_deref(), Some("b"));
        assert_eq!(owner("", "r").as_deref(), Some("b"));
        assert_eq!((owner("", "x"), owner("pods", "q")), (None, None));
        assert_eq!(merged.left_out(), 0);
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let names: Vec<_> = (0..MOST_IN_ALL).map(|index| format!("m{index}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let merged = Listing::merge([
            (&a, &metrics(&[], &names)),
            (&b, &metrics(&["pods/x"], &["m0", "other"])),
        ]);
        assert_eq!((merged.external().count(), merged.left_out()), (MOST_IN_ALL, 2));
    }

    #[test]
    fn a_list_has_what_the_delegate_may_be_asked_for() {
        let rules = load(
            "delegates:\n- {name: a, url: https://a, match: {metrics: 's\\d+-.*'}}\n- {name: b, url: https://b}\n",
        )
        .unwrap();
        let cleaned = |delegate: usize, api, names: &[&str]| -> Vec<String> {
            let names = names.iter().map(|name| ((*name).to_owned(), true));
            let listed = cleaned(&rules.delegates[delegate], api, names);
            listed.iter().map(|listed| listed.name.to_string()).collect()
        };
        assert_eq!(cleaned(0, Api::External, &["s0-x", "externalmetrics"]), ["s0-x"]);
        assert_eq!(cleaned(0, Api::Custom, &["pods/s1-x", "s1-x", "pods/x"]), ["pods/s1-x"]);
        let long = "m".repeat(LONGEST + 1);
        let names = ["ok", "a\nb", "", &long];
        assert_eq!(cleaned(1, Api::External, &names), ["ok"]);
        let many: Vec<_> = (0..=MOST_OF_DELEGATE).map(|index| format!("m{index}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(cleaned(1, Api::External, &many).len(), MOST_OF_DELEGATE);
    }
}
