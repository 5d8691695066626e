//! The command line that asks about a metric.

use super::{Inquiry, Subject, facts::Which};
use crate::core::{selector::Selector, shell::quote};

/// How usage is called in a question.
pub const USAGE: &str = "usage";

/// How `loadline explain` reaches a server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum ExplainBy {
    /// By the cluster of the user's kubeconfig.
    #[default]
    Cluster,
    /// By a kubeconfig of the server itself, which is in no cluster.
    Kubeconfig(String),
    /// Not at all: the same rules and the same backend are asked.
    Files,
}

impl Inquiry {
    /// The `loadline explain` that asks this, for a POSIX shell.
    pub fn command(&self, by: &ExplainBy) -> String {
        let mut command = match by {
            ExplainBy::Cluster => "loadline explain".to_owned(),
            ExplainBy::Kubeconfig(file) => format!("loadline explain --kubeconfig={}", quote(file)),
            // Clients are not told which they are.
            ExplainBy::Files => "loadline explain --config=RULES --prometheus-url=URL".to_owned(),
        };
        let mut push = |before: &str, word: &str| {
            command.push_str(before);
            command.push_str(&quote(word));
        };
        if let Some(namespace) = &self.namespace {
            push(" -n ", namespace);
        }
        let (object, selector, metric_selector) = match &self.subject {
            Subject::External => ("external".to_owned(), &self.selector, None),
            Subject::Usage { which: Which::Named(name), .. } => {
                (format!("{USAGE}/{name}"), &Selector::default(), None)
            }
            Subject::Usage { which: Which::Selected(selector), .. } => {
                (USAGE.to_owned(), selector, None)
            }
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
