//! What rules files are called.

use std::{fmt, sync::Arc};

/// A rules file. The order is that in which files are merged: those of `--config` before those of ConfigMaps, each by name.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum FileName {
    /// The file of `--config`.
    #[default]
    Config,
    /// A file in the folder of `--config`, by its name there.
    InFolder(Arc<str>),
    /// A key of a ConfigMap.
    ConfigMap(Arc<ConfigMapKey>),
}

/// A key of a ConfigMap. Shown as `configmap NAMESPACE/NAME key KEY`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConfigMapKey {
    /// The namespace of the ConfigMap.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The key.
    pub key: Arc<str>,
}

impl FileName {
    /// Whether a name of a file or a key, without a path, is one of a rules file. Hidden files are none, and so is `..data` of a
    /// mounted ConfigMap.
    pub fn is_rules_file(name: &str) -> bool {
        let is_known = |(_, ending)| ["yaml", "yml", "json"].contains(&ending);
        !name.starts_with('.') && name.rsplit_once('.').is_some_and(is_known)
    }

    /// Who writes it: the namespace of a ConfigMap, and nothing for the files of `--config`.
    pub fn namespace(&self) -> Option<&Arc<str>> {
        match self {
            Self::Config | Self::InFolder(_) => None,
            Self::ConfigMap(key) => Some(&key.namespace),
        }
    }
}

#[cfg(test)]
impl FileName {
    /// The file that a key of a ConfigMap is.
    pub(crate) fn config_map(namespace: &str, name: &str, key: &str) -> Self {
        let [namespace, name, key] = [namespace, name, key].map(Arc::from);
        Self::ConfigMap(Arc::new(ConfigMapKey { namespace, name, key }))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("the file of --config"),
            Self::InFolder(name) => f.write_str(name),
            Self::ConfigMap(key) => key.fmt(f),
        }
    }
}

impl fmt::Display for ConfigMapKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, key } = self;
        write!(f, "configmap {namespace}/{name} key {key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_the_end_of_their_names() {
        for name in ["a.yaml", "a.yml", "a.json", "a.b.yaml"] {
            assert!(FileName::is_rules_file(name), "{name}");
        }
        for name in ["", "a", "yaml", ".yaml", ".a.yaml", "..data", "a.yaml~", "a.YAML", "a.txt"] {
            assert!(!FileName::is_rules_file(name), "{name}");
        }
    }

    #[test]
    fn config_maps_come_after_the_files_of_the_command_line() {
        let in_folder = |name: &str| FileName::InFolder(name.into());
        let in_order = [
            FileName::Config,
            in_folder("a.yaml"),
            in_folder("z.yaml"),
            FileName::config_map("a", "z", "k"),
            FileName::config_map("b", "a", "k"),
        ];
        assert!(in_order.is_sorted());
    }
}
