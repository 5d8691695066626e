//! The command line that asks about a metric.

use super::{Inquiry, Subject, facts::Which};
use crate::core::{selector::Selector, shell::quote};

impl Inquiry {
    /// The `loadline explain` that asks this, for a POSIX shell.
    pub fn command(&self) -> String {
        let mut command = "loadline explain".to_owned();
        let mut push = |before: &str, word: &str| {
            command.push_str(before);
            command.push_str(&quote(word));
        };
        if let Some(namespace) = &self.namespace {
            push(" -n ", namespace);
        }
        let (object, selector, metric_selector) = match &self.subject {
            Subject::External => ("external".to_owned(), &self.selector, None),
            Subject::Objects { resource, which: Which::Named(name) } => {
                (format!("{resource}/{name}"), &Selector::default(), Some(&self.selector))
            }
            Subject::Objects { resource, which: Which::Selected(selector) } => {
                (resource.clone(), selector, Some(&self.selector))
            }
        };
        if !selector.is_empty() {
            push(" --selector=", &selector.to_string());
        }
        if let Some(selector) = metric_selector.filter(|selector| !selector.is_empty()) {
            push(" --metric-selector=", &selector.to_string());
        }
        // Clients choose the names: none of them is to be read as a flag.
        if [&object, &self.metric].iter().any(|word| word.starts_with('-')) {
            push(" ", "--");
        }
        push(" ", &object);
        push(" ", &self.metric);
        command
    }
}
