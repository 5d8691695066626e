//! What a backend says of a failure: its beginning is for the log, and the whole of it is looked at.

use std::fmt;

use crate::core::excerpt::{SAID, excerpt};

/// How much of a message is looked at, in bytes: some repeat the query before they say what is wrong with it.
const LOOKED_AT: usize = 64 << 10;

/// A message of a backend, or of a proxy before it.
#[derive(Debug, Default)]
pub struct Message {
    /// Its beginning, in one line and escaped.
    pub(super) text: String,
    /// Whether it says that the backend does not read the names in quotes that the query has.
    pub(super) is_about_quoted_names: bool,
}

impl Message {
    /// That of an answer in the form of the API.
    pub(super) fn new(said: &str) -> Self {
        Self::of(excerpt(said, SAID), said.as_bytes())
    }

    /// A body that is not of the API.
    pub(super) fn of_body(body: &[u8]) -> Self {
        Self::of(beginning(body), body)
    }

    fn of(text: String, said: &[u8]) -> Self {
        let looked_at = String::from_utf8_lossy(said.get(..LOOKED_AT).unwrap_or(said));
        Self { text, is_about_quoted_names: is_about_quoted_names(&looked_at) }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The beginning of a body, in one line and escaped. What is cut off is marked by `…`, also where spaces were left out: a secret at the end
/// may be cut, too.
pub(super) fn beginning(body: &[u8]) -> String {
    let body = body.trim_ascii_start();
    // A character has at most four bytes, and what is none takes more room than before.
    let looked_at = body.get(..4 * SAID).unwrap_or(body);
    let text = String::from_utf8_lossy(looked_at);
    let is_cut = looked_at.len() < body.len() || text.chars().nth(SAID).is_some();
    let text: String = text.chars().take(SAID).collect();
    let mut beginning = excerpt(&text.split_whitespace().collect::<Vec<_>>().join(" "), SAID);
    if is_cut && !beginning.ends_with('…') {
        beginning.push('…');
    }
    beginning
}

/// Whether a backend says that it expects something else than the string that is a name, in the words of Prometheus 2, which its
/// relatives share, or of VictoriaMetrics.
fn is_about_quoted_names(message: &str) -> bool {
    let of_prometheus =
        ["in label matching, expected identifier", "in grouping opts, expected label"];
    let of_victoria_metrics =
        ["labelFilterExpr: unexpected token ", "identList: unexpected token "];
    // The token is in quotes, and the quotes of a string are escaped in them. At the end of the query the token is empty.
    let is_string = |rest: &str| rest.starts_with("\"\\\"");
    (message.contains("unexpected string")
        && of_prometheus.iter().any(|words| message.contains(words)))
        || of_victoria_metrics
            .iter()
            .filter_map(|words| message.split_once(words))
            .any(|(_, rest)| is_string(rest))
}
