//! The token of the kubeconfig that this process wrote.

use std::sync::Arc;

use super::is_equal;

/// A token that nobody can guess. Not shown by `Debug`.
#[derive(Clone)]
pub struct LocalToken(Arc<str>);

impl LocalToken {
    /// Makes a token from the TLS provider's random numbers.
    pub fn generate() -> Result<Self, rustls::crypto::GetRandomFailed> {
        let mut bytes = [0; 32];
        rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self(text.into()))
    }

    /// The text to send as bearer token.
    pub fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn is(&self, shown: &str) -> bool {
        is_equal(&self.0, shown)
    }
}

impl std::fmt::Debug for LocalToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        let token = LocalToken::generate().unwrap();
        assert_eq!(token.text().len(), 64);
        assert!(token.is(token.text()));
        assert!(!token.is(""));
        assert!(!token.is(&format!("{}0", token.text())));
        assert!(!token.is(LocalToken::generate().unwrap().text()));
        assert!(!format!("{token:?}").contains(token.text()));
    }
}
