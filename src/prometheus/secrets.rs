//! What a backend was shown to be let in, taken out of what it says before that is logged: some servers, and pages of proxies,
//! repeat the request.

use http::{HeaderMap, header::AUTHORIZATION};

use super::{DecodeError, Error};

/// Shorter values cannot be distinguished from other words.
const SHORTEST: usize = 4;

/// What stands in its place.
const WITHHELD: &str = "[withheld]";

/// The secrets of one request, as they would be written in an excerpt.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Those of the headers that may have been sent, and others.
    pub(super) fn of<'s>(
        headers: impl IntoIterator<Item = &'s HeaderMap>,
        others: impl Iterator<Item = &'s str>,
    ) -> Self {
        let values = headers.into_iter().flatten().filter_map(|(name, value)| {
            let text = value.to_str().ok()?;
            let credential = text.split_once(' ').filter(|_| name == AUTHORIZATION);
            Some(credential.map_or(text, |(_scheme, credential)| credential))
        });
        let all = values.chain(others).filter(|value| value.len() >= SHORTEST);
        let mut secrets: Vec<_> = all.map(|value| value.escape_debug().to_string()).collect();
        // One may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The same failure without them.
    pub(super) fn withhold(&self, mut error: Error) -> Error {
        match &mut error {
            Error::Unreachable { message: text, .. }
            | Error::Page(text)
            | Error::Decode(DecodeError::Json(text)) => self.remove(text),
            Error::Http { body, .. } => self.remove(&mut body.text),
            Error::Api { kind, message, .. }
            | Error::Decode(DecodeError::Api { kind, message }) => {
                self.remove(kind);
                self.remove(&mut message.text);
            }
            Error::Timeout(_)
            | Error::Silent(_)
            | Error::Paused(_)
            | Error::Busy(_)
            | Error::OverQuota(_)
            | Error::TooLarge(_)
            | Error::Partial
            | Error::Decode(DecodeError::TooManyNames | DecodeError::NoData)
            | Error::NoRoom
            | Error::Token(_)
            | Error::Config(_) => {}
        }
        error
    }

    /// Takes them out of the warnings of an answer.
    pub(super) fn withhold_from(&self, warnings: &mut [String]) {
        for warning in warnings {
            self.remove(warning);
        }
    }

    /// Takes them out of a text.
    pub(super) fn remove(&self, text: &mut String) {
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), WITHHELD);
            }
            // An excerpt may end within one.
            if let Some(kept) = text.strip_suffix('…') {
                let beginnings = secret.char_indices().map(|(end, _)| secret.get(..end));
                let beginning = beginnings
                    .rev()
                    .flatten()
                    .find(|beginning| beginning.len() >= SHORTEST && kept.ends_with(beginning));
                if let Some(rest) = beginning.and_then(|beginning| kept.strip_suffix(beginning)) {
                    *text = format!("{rest}{WITHHELD}…");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::{
        core::excerpt::{SAID, excerpt},
        prometheus::message::Message,
    };

    fn secrets() -> Secrets {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic dXNlcjpodW50ZXI="));
        headers.insert("x-api-key", HeaderValue::from_static("key-of-the-proxy"));
        headers.insert("x-short", HeaderValue::from_static("a"));
        Secrets::of([&headers], ["hunter \"2\""].into_iter())
    }

    #[test]
    fn what_was_shown_is_not_repeated() {
        for (said, shown) in [
            ("a page", "a page"),
            ("authorization: Basic dXNlcjpodW50ZXI=, x", "authorization: Basic [withheld], x"),
            ("key-of-the-proxy and key-of-the-proxy", "[withheld] and [withheld]"),
            ("user:hunter \"2\"@host", "user:[withheld]@host"),
        ] {
            let mut text = excerpt(said, SAID);
            secrets().remove(&mut text);
            assert_eq!(text, shown);
        }
    }

    #[test]
    fn not_even_its_beginning_where_the_text_is_cut() {
        let said = format!("{}dXNlcjpodW50ZXI=", " ".repeat(40));
        for longest in 40..60 {
            let mut text = excerpt(&said, longest);
            secrets().remove(&mut text);
            assert!(!text.contains("dXNl"), "{longest}: {text}");
        }
    }

    #[test]
    fn nor_where_a_page_is_cut() {
        // Pages are indented, and runs of spaces are left out.
        for filler in ["x", "x    ", "é \n", "\"", "𝄞"] {
            for before in 0..260 {
                let filler: String = filler.chars().cycle().take(before).collect();
                let said = format!("{filler}dXNlcjpodW50ZXI= and more{}", "\n <br>".repeat(50));
                let mut text = Message::of_body(said.as_bytes()).to_string();
                secrets().remove(&mut text);
                assert!(!text.contains("dXNl"), "{before}: {text}");
            }
        }
    }

    #[test]
    fn every_text_of_a_failure_is_looked_at() {
        let said = || "x key-of-the-proxy".to_owned();
        for error in [
            Error::Http { status: 502, body: Message::new(&said()), retry_after: None },
            Error::Api {
                status: 400,
                kind: said(),
                message: Message::new(&said()),
                retry_after: None,
            },
            Error::Page(said()),
            Error::Decode(DecodeError::Api { kind: said(), message: Message::new(&said()) }),
            Error::Decode(DecodeError::Json(said())),
            Error::Unreachable { obstacle: crate::prometheus::Obstacle::Other, message: said() },
        ] {
            let shown = secrets().withhold(error).to_string();
            assert!(shown.contains(WITHHELD) && !shown.contains("key-of"), "{shown}");
        }
    }
}
