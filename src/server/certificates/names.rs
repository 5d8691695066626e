//! The names that our own certificate is for: pure.

use std::net::IpAddr;

/// The names that our own certificate is for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names {
    /// Those that all replicas have.
    pub shared: Vec<String>,
    /// Those and this process' addresses.
    pub all: Vec<String>,
}

impl Names {
    /// The names of a service in a namespace, and of this machine's loopback; `addresses` are this process' own.
    pub fn new(service: &str, namespace: Option<&str>, addresses: &[IpAddr]) -> Self {
        let mut shared = vec!["loadline".to_owned(), service.to_owned()];
        if let Some(namespace) = namespace {
            // kube-apiserver verifies the second; the others are for people and scrapers.
            for suffix in ["", ".svc", ".svc.cluster.local"] {
                shared.push(format!("{service}.{namespace}{suffix}"));
            }
        }
        shared.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        let mut all = shared.clone();
        all.extend(
            addresses.iter().filter(|address| !address.is_unspecified()).map(ToString::to_string),
        );
        for names in [&mut shared, &mut all] {
            let mut seen = std::collections::BTreeSet::new();
            names.retain(|name| seen.insert(name.clone()));
        }
        Self { shared, all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_the_aggregator_verifies_is_among_them() {
        let addresses = ["0.0.0.0", "10.0.0.7", "::1"].map(|text| text.parse().unwrap());
        let names = Names::new("adapter", Some("monitoring"), &addresses);
        assert_eq!(
            names.shared,
            [
                "loadline",
                "adapter",
                "adapter.monitoring",
                "adapter.monitoring.svc",
                "adapter.monitoring.svc.cluster.local",
                "localhost",
                "127.0.0.1",
                "::1"
            ]
        );
        assert_eq!(names.all.last().unwrap(), "10.0.0.7");
        assert_eq!(names.all.len(), names.shared.len() + 1);
        let names = Names::new("loadline", None, &[]).shared;
        assert_eq!(names, ["loadline", "localhost", "127.0.0.1", "::1"]);
    }
}
