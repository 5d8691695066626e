//! Names and lists of them in sentences.

use super::EXAMPLES;
use crate::core::{
    duration,
    excerpt::{NAME, excerpt},
    explain::facts::{Asked, Of},
};

pub(super) fn resource(asked: &Asked) -> String {
    match &asked.of {
        Of::Objects { kind: Ok(kind), .. } => kind.resource.to_string(),
        Of::Objects { kind: Err(unknown), .. } => unknown.written.clone(),
        Of::External => "external metrics".to_owned(),
    }
}

/// What `resources.overrides` maps a label of the objects to.
pub(super) fn mapping(asked: &Asked) -> String {
    match &asked.of {
        Of::Objects { kind: Ok(kind), .. } if !kind.resource.group.is_empty() => {
            format!("{}, group: {}", kind.singular, kind.resource.group)
        }
        Of::Objects { kind: Ok(kind), .. } => kind.singular.clone(),
        _ => resource(asked),
    }
}

pub(super) fn listed(texts: &[String]) -> String {
    let shown: Vec<String> = texts.iter().take(EXAMPLES).map(|text| excerpt(text, NAME)).collect();
    let more = texts.len().saturating_sub(EXAMPLES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

pub(super) fn examples(texts: &[String]) -> String {
    if texts.is_empty() { String::new() } else { format!(": {}", listed(texts)) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an age in seconds")]
pub(super) fn spoken(seconds: f64) -> String {
    let seconds = std::time::Duration::from_secs(seconds.max(0.0).round() as u64);
    if seconds.is_zero() { "0s".to_owned() } else { duration::prometheus(seconds) }
}
