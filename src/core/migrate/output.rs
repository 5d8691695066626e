//! What came out, as YAML.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Level, Migration, Note, TeamRules};

/// The name of the ConfigMap that carries the rules.
const CONFIG_MAP: &str = "loadline-migrated";

impl TeamRules {
    /// The objects, each after what it comes from and the notes about that.
    pub fn manifests_yaml(&self) -> String {
        let mut text = String::new();
        let mut told: Option<&str> = None;
        let is_proposed =
            |note: &&Note| self.rules.iter().any(|(source, _)| *source == note.object);
        if self.rules.is_empty() {
            text.push_str(&comment("No rule can be proposed."));
        }
        text.push_str(&comments(self.notes.iter().filter(|note| !is_proposed(note))));
        for (source, manifest) in &self.rules {
            text.push_str("---\n");
            text.push_str(&comment(&format!("From {source}.")));
            if told != Some(source) {
                text.push_str(&comments(self.notes.iter().filter(|note| note.object == *source)));
            }
            told = Some(source);
            text.push_str(&yaml(manifest));
        }
        text
    }

    /// Whether everything has moved.
    pub fn is_whole(&self) -> bool {
        self.notes.iter().all(|note| note.level == Level::Note)
    }
}

impl Migration {
    /// The `HorizontalPodAutoscalers`, each after the notes about what it comes from.
    pub fn autoscalers_yaml(&self) -> String {
        self.documents(None)
    }

    /// The rules file, after all notes; empty where there are no rules.
    pub fn rules_yaml(&self) -> String {
        if self.rules.is_empty() {
            return String::new();
        }
        format!("{}{}", comments(&self.notes), self.rules_file())
    }

    /// Manifests: the `HorizontalPodAutoscalers`, and a ConfigMap with the rules file.
    pub fn manifests_yaml(&self) -> String {
        let config_map = (!self.rules.is_empty()).then(|| {
            let file: String = self.rules_file().lines().map(indented).collect();
            format!(
                "# To be merged into loadline's rules file.\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {CONFIG_MAP}\ndata:\n  config.yaml: |\n{file}"
            )
        });
        self.documents(config_map)
    }

    fn documents(&self, last: Option<String>) -> String {
        let sources = self.autoscalers.iter().map(|autoscaler| autoscaler.source.as_str());
        let mut of_autoscalers: BTreeMap<&str, Vec<&Note>> =
            sources.map(|source| (source, Vec::new())).collect();
        let mut others = Vec::new();
        for note in &self.notes {
            of_autoscalers.get_mut(note.object.as_str()).unwrap_or(&mut others).push(note);
        }
        let mut text = comments(others);
        for autoscaler in &self.autoscalers {
            text.push_str("---\n");
            text.push_str(&comment(&format!("From {}.", autoscaler.source)));
            let about = of_autoscalers.remove(autoscaler.source.as_str());
            text.push_str(&comments(about.unwrap_or_default()));
            text.push_str(&yaml(&autoscaler.manifest));
        }
        if let Some(last) = last {
            text.push_str("---\n");
            text.push_str(&last);
        }
        text
    }

    fn rules_file(&self) -> String {
        let mut text = String::new();
        let backends = self.rules.backends();
        if !backends.is_empty() {
            text.push_str(&yaml(&json!({"backends": backends})));
        }
        text.push_str("externalRules:\n");
        for (source, rule) in self.rules.rules() {
            text.push_str(&comment(source));
            text.push_str(&yaml(&json!([rule])));
        }
        text
    }
}

fn indented(line: &str) -> String {
    if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }
}

fn comments<'n>(notes: impl IntoIterator<Item = &'n Note>) -> String {
    notes.into_iter().map(|note| comment(&note.to_string())).collect()
}

/// One line, whatever the text is.
fn comment(text: &str) -> String {
    let text: String = text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect();
    format!("# {text}\n")
}

/// Whether a character may end a line for some parser of YAML, or must not stand in a comment.
fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// A value as a document in block style. It cannot fail: the keys are texts.
fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_default()
}
