//! Where rules are from.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use clap::Args;

use super::{UsageError, boolean, listed};
use crate::{
    core::{rules::is_dns_label, selector::Selector},
    rules_file::config_maps::{self, MAX_NAMESPACES},
};

#[derive(Args, Debug)]
pub(in crate::cli) struct RulesFlags {
    /// The rules file, or a folder of rules files: its *.yaml, *.yml and *.json
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) config: Option<PathBuf>,

    /// Label selector of ConfigMaps whose keys *.yaml, *.yml and *.json are rules files, too
    #[arg(long, value_name = "SELECTOR", value_parser = selector)]
    config_selector: Option<Selector>,

    /// Namespaces of the ConfigMaps [default: the one that loadline runs in]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    config_namespaces: Vec<String>,

    /// Refuse to start when a rule does not compile, instead of serving the others
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    pub(in crate::cli) strict: bool,
}

impl RulesFlags {
    /// Which ConfigMaps are rules files; nothing where none are.
    pub(in crate::cli) fn config_maps(&self) -> Result<Option<config_maps::Settings>, UsageError> {
        let namespaces: BTreeSet<Arc<str>> =
            listed(&self.config_namespaces).into_iter().map(Arc::from).collect();
        let Some(selector) = &self.config_selector else {
            if namespaces.is_empty() {
                return Ok(None);
            }
            return Err(UsageError("--config-namespaces needs --config-selector".to_owned()));
        };
        if let Some(name) = namespaces.iter().find(|name| !is_dns_label(name)) {
            let name = name.escape_debug();
            return Err(UsageError(format!("--config-namespaces: `{name}` is no namespace")));
        }
        if namespaces.len() > MAX_NAMESPACES {
            let text = format!("--config-namespaces: at most {MAX_NAMESPACES} can be watched");
            return Err(UsageError(text));
        }
        let (selector, patience) = (selector.clone(), config_maps::PATIENCE);
        Ok(Some(config_maps::Settings { selector, namespaces, patience }))
    }
}

/// A selector that does not select every ConfigMap.
fn selector(text: &str) -> Result<Selector, String> {
    let selector = Selector::parse(text).map_err(|error| error.to_string())?;
    if selector.is_empty() {
        return Err("it selects every ConfigMap".to_owned());
    }
    Ok(selector)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        rules: RulesFlags,
    }

    fn config_maps(line: &str) -> Result<Option<config_maps::Settings>, String> {
        let words = std::iter::once("loadline").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.rules.config_maps().map_err(|error| error.to_string())
    }

    #[test]
    fn config_maps_have_a_selector_and_namespaces() {
        assert!(config_maps("--config=x").unwrap().is_none());
        let settings =
            config_maps("--config-selector=a=b --config-namespaces=n,m").unwrap().unwrap();
        assert_eq!(settings.selector.to_string(), "a=b");
        assert_eq!(settings.namespaces.len(), 2);
        for line in [
            "--config-selector=",
            "--config-selector=a=b=c",
            "--config-namespaces=n",
            "--config-selector=a --config-namespaces=N",
            "--config-selector=a --config-namespaces=-",
        ] {
            config_maps(line).unwrap_err();
        }
    }
}
