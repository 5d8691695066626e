//! Which program answers as a backend, as far as it says so.

use std::fmt;

use serde::Deserialize;

use crate::core::excerpt::{NAME, excerpt};

/// What a backend says of itself at `/api/v1/status/buildinfo`. Relatives of Prometheus leave out what they do not have.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildInfo {
    /// The program. Prometheus itself does not say it.
    pub application: String,
    /// Its version.
    pub version: String,
    /// The revision of its source.
    pub revision: String,
    /// The version of Go that built it.
    pub go_version: String,
}

impl BuildInfo {
    /// Whether it says only what a client wants to hear. VictoriaMetrics answers nothing, or a version of Prometheus.
    pub fn is_bare(&self) -> bool {
        self.application.is_empty() && self.revision.is_empty() && self.go_version.is_empty()
    }
}

/// A program that answers the API of Prometheus.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Product {
    /// A program, and its version where it is known.
    Known {
        /// The program.
        name: String,
        /// Its version; empty where it does not say it.
        version: String,
    },
    /// It does not say what it is.
    Unknown,
}

impl Product {
    /// Draws the conclusion from what it says of itself, if it says anything, and from whether it evaluates `MetricsQL`, which only
    /// VictoriaMetrics does.
    pub fn of(info: Option<&BuildInfo>, evaluates_metricsql: bool) -> Self {
        let known = |name: &str, version: &str| Self::Known {
            name: name.to_owned(),
            version: excerpt(version, NAME),
        };
        if evaluates_metricsql {
            // The version that it says is one of Prometheus.
            return known("VictoriaMetrics", "");
        }
        let Some(info) = info else { return Self::Unknown };
        let BuildInfo { application, version, .. } = info;
        match application.trim_start_matches("Grafana ") {
            "" if version.is_empty() => Self::Unknown,
            // There is no version 1 of Thanos, and Prometheus 0 did not have the endpoint.
            "" if version.trim_start_matches('v').starts_with("0.") => known("Thanos", version),
            "" => known("Prometheus", version),
            application => known(&excerpt(application, NAME), version),
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { name, version } if version.is_empty() => f.write_str(name),
            Self::Known { name, version } => write!(f, "{name} {version}"),
            Self::Unknown => f.write_str("a server that does not say what it is"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_what_they_say() {
        let of = |json: &str, evaluates_metricsql| {
            let info = serde_json::from_str(json).unwrap();
            Product::of(Some(&info), evaluates_metricsql).to_string()
        };
        for (info, wanted) in [
            (
                r#"{"version": "2.53.3", "revision": "a", "goVersion": "go1.22"}"#,
                "Prometheus 2.53.3",
            ),
            (r#"{"version": "0.37.2", "revision": "a", "goVersion": "go1.22"}"#, "Thanos 0.37.2"),
            (
                r#"{"application": "Grafana Mimir", "version": "2.14.0", "features": {}}"#,
                "Mimir 2.14.0",
            ),
            (r#"{"application": "Cortex", "version": "1.18.0"}"#, "Cortex 1.18.0"),
            (r#"{"application": "new\u001b[2J", "version": "1"}"#, "new\\u{1b}[2J 1"),
            ("{}", "a server that does not say what it is"),
        ] {
            assert_eq!(of(info, false), wanted, "{info}");
        }
        for info in ["{}", r#"{"version": "2.24.0"}"#] {
            assert!(serde_json::from_str::<BuildInfo>(info).unwrap().is_bare());
            assert_eq!(of(info, true), "VictoriaMetrics");
        }
        assert_eq!(Product::of(None, false), Product::Unknown);
    }
}
