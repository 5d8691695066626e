//! How much of a failure is told, and to whom.

use super::{super::decode::DecodeError, Error, Obstacle};
use crate::core::excerpt::unescaped;

/// Who reads what is said of a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audience {
    /// Those who ask a server: no address, no path, no text of a backend.
    Clients,
    /// Whoever has started this process and chosen its backends and credentials, and has no log of a server to look at.
    Operator,
}

impl Error {
    /// The sentence for these readers. It holds no secret for either of them.
    pub fn told(&self, audience: Audience) -> String {
        let public = self.public();
        match audience {
            Audience::Clients => public.to_string(),
            Audience::Operator => match self.detail() {
                Some(detail) => format!("{}: {detail}", self.sentence()),
                None => public.to_string(),
            },
        }
    }

    /// The public sentence, without the reason where [`Error::detail`] says the same at greater length.
    fn sentence(&self) -> String {
        match self {
            Self::Token(_) => "no credentials for Prometheus could be fetched".to_owned(),
            _ => self.public().to_string(),
        }
    }

    /// What the backend said, or what is wrong on this machine, where the public sentence does not say it all.
    fn detail(&self) -> Option<String> {
        let of_api = |kind: &str, message: &str| match (kind, message) {
            (kind, "") => kind.to_owned(),
            ("", message) => message.to_owned(),
            (kind, message) => format!("{kind}: {message}"),
        };
        let said = match self {
            // The beginning of a page is markup.
            Self::Http { body, .. } if body.text.starts_with('<') => return None,
            Self::Http { body, .. } => body.text.clone(),
            Self::Api { kind, message, .. } | Self::Decode(DecodeError::Api { kind, message }) => {
                of_api(kind, &message.text)
            }
            Self::Decode(DecodeError::Json(text)) => text.clone(),
            // The others are as clear without the words of the library.
            Self::Unreachable {
                obstacle: Obstacle::OtherName | Obstacle::Certificate | Obstacle::Other,
                message,
            } => message.clone(),
            // These are our own words.
            Self::Config(error) => return Some(error.to_string()),
            Self::Token(error) => return Some(error.to_string()),
            _ => return None,
        };
        Some(unescaped(&said)).filter(|said| !said.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::{ConfigError, TokenError, message::Message};

    fn api(message: &str) -> Error {
        let kind = "bad_data".to_owned();
        Error::Api { status: 400, kind, message: Message::new(message), retry_after: None }
    }

    #[test]
    fn the_operator_is_told_what_clients_are_not() {
        let path = std::path::PathBuf::from("/etc/loadline/b/token");
        let file = ConfigError::File { path, message: "No such file".to_owned() };
        for (error, detail) in [
            (api("unknown function with name \"foo\""), "unknown function with name \"foo\""),
            (
                Error::Http { status: 502, body: Message::new("no route"), retry_after: None },
                "no route",
            ),
            (Error::Decode(DecodeError::Json("expected value".to_owned())), "expected value"),
            (Error::Config(file.clone()), "/etc/loadline/b/token: No such file"),
            (Error::Token(TokenError::File(file)), "/etc/loadline/b/token: No such file"),
            (
                Error::Token(TokenError::Settings("AZURE_TENANT_ID is not set".to_owned())),
                "AZURE_TENANT_ID is not set",
            ),
        ] {
            let (clients, operator) =
                (error.told(Audience::Clients), error.told(Audience::Operator));
            assert_eq!(clients, error.public().to_string());
            assert!(!clients.contains(detail), "{clients}");
            assert!(operator.starts_with(&clients) && operator.ends_with(detail), "{operator}");
        }
    }

    #[test]
    fn pages_are_not_shown() {
        let page = "<h1>Sign in</h1>";
        for error in [
            Error::Page(page.to_owned()),
            Error::Http { status: 502, body: Message::new(page), retry_after: None },
        ] {
            assert_eq!(error.told(Audience::Operator), error.public().to_string());
        }
    }

    #[test]
    fn what_a_backend_says_obeys_no_terminal_and_is_short() {
        let told = api(&format!("a\u{1b}[2J\n{}", "x".repeat(5_000))).told(Audience::Operator);
        assert!(told.contains("a\\u{1b}[2J\\nx") && told.chars().count() < 400, "{told}");
    }
}
