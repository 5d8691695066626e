//! Versions and cipher suites, as Kubernetes' flags name them: pure.

use std::str::FromStr;

use rustls::{
    CipherSuite, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring::default_provider},
    version::{TLS12, TLS13},
};

/// What is offered to clients.
#[derive(Clone, Debug)]
pub struct Options {
    /// The lowest version.
    pub minimum: Minimum,
    /// The suites of TLS 1.2; nothing for all.
    pub suites: Option<Vec<CipherSuite>>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

/// The lowest version that is offered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Minimum {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// A value of `--tls-min-version`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MinimumFlag {
    /// What is offered.
    pub minimum: Minimum,
    /// Whether an older version was asked for.
    pub is_raised: bool,
}

/// The suites that were asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Suites {
    /// Those of TLS 1.2 that are offered.
    pub offered: Vec<CipherSuite>,
    /// Those that are known and not offered by us.
    pub left_out: Vec<String>,
}

/// A cipher suite that does not exist.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("cipher suite {0} is not known")]
pub struct UnknownSuite(String);

impl Default for Options {
    fn default() -> Self {
        Self { minimum: Minimum::default(), suites: None, http2: true }
    }
}

impl Options {
    /// The cryptography, with the suites that are offered. Those of TLS 1.3 cannot be chosen, as in Go.
    pub fn provider(&self) -> CryptoProvider {
        let mut provider = default_provider();
        if let Some(offered) = &self.suites {
            provider
                .cipher_suites
                .retain(|suite| is_tls13(suite) || offered.contains(&suite.suite()));
        }
        provider
    }

    /// The versions: TLS 1.2 only where a suite for it is left.
    pub fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        let has_suites = self.suites.as_ref().is_none_or(|suites| !suites.is_empty());
        match self.minimum {
            Minimum::Tls12 if has_suites => BOTH,
            Minimum::Tls12 | Minimum::Tls13 => NEWEST,
        }
    }
}

impl FromStr for MinimumFlag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (minimum, is_raised) = match text {
            "" | "VersionTLS12" => (Minimum::Tls12, false),
            "VersionTLS10" | "VersionTLS11" => (Minimum::Tls12, true),
            "VersionTLS13" => (Minimum::Tls13, false),
            _ => return Err("VersionTLS12 or VersionTLS13 is expected"),
        };
        Ok(Self { minimum, is_raised })
    }
}

impl Suites {
    /// Takes names as Go and IANA write them.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownSuite> {
        let known = default_provider().cipher_suites;
        let mut suites = Self::default();
        for name in names {
            // Two names that Go had before the hash was part of them.
            let full = match name {
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"
                | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => format!("{name}_SHA256"),
                _ => name.to_owned(),
            };
            // rustls writes TLS13_… where everybody else writes TLS_….
            let found = known.iter().find(|suite| {
                let own = format!("{:?}", suite.suite());
                own.replacen("TLS13_", "TLS_", 1) == full
            });
            match found {
                Some(suite) if is_tls13(suite) => {}
                Some(suite) => suites.offered.push(suite.suite()),
                None if NOT_OFFERED.contains(&name) => suites.left_out.push(name.to_owned()),
                None => return Err(UnknownSuite(name.to_owned())),
            }
        }
        Ok(suites)
    }
}

static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
static NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];

fn is_tls13(suite: &SupportedCipherSuite) -> bool {
    suite.version().version == TLS13.version
}

/// The suites that Go knows and our TLS does not have: CBC, RC4, and RSA key exchange.
const NOT_OFFERED: [&str; 16] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_by_name() {
        let both = [
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        ];
        for name in both {
            let suites = Suites::parse([name]).unwrap();
            assert_eq!(suites.offered.len(), 1, "{name}");
            assert!(suites.left_out.is_empty(), "{name}");
        }
        for name in
            ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
        {
            assert_eq!(Suites::parse([name]), Ok(Suites::default()), "{name}");
        }
        for name in NOT_OFFERED {
            let suites = Suites::parse([name]).unwrap();
            assert_eq!(suites.left_out, [name]);
            assert!(suites.offered.is_empty(), "{name}");
        }
        for name in ["", "TLS_NULL", "tls_aes_128_gcm_sha256"] {
            assert!(Suites::parse([name]).is_err(), "{name}");
        }
    }

    #[test]
    fn the_suites_and_versions_that_are_offered() {
        let versions = |minimum: &str, suites: Option<&[&str]>| {
            let suites = suites.map(|names| Suites::parse(names.iter().copied()).unwrap().offered);
            let options = Options {
                minimum: minimum.parse::<MinimumFlag>().unwrap().minimum,
                suites,
                http2: true,
            };
            let suites = options.provider().cipher_suites;
            (options.versions().len(), suites.len())
        };
        let one = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];
        assert_eq!(versions("", None), (2, 9));
        assert_eq!(versions("VersionTLS12", Some(&one)), (2, 4));
        assert_eq!(versions("VersionTLS13", Some(&one)), (1, 4));
        assert_eq!(versions("", Some(&["TLS_RSA_WITH_RC4_128_SHA"])), (1, 3));
    }

    #[test]
    fn minimum_versions_by_name() {
        let cases = [
            ("VersionTLS10", Some((Minimum::Tls12, true))),
            ("VersionTLS11", Some((Minimum::Tls12, true))),
            ("VersionTLS12", Some((Minimum::Tls12, false))),
            ("VersionTLS13", Some((Minimum::Tls13, false))),
            ("VersionTLS14", None),
            ("1.2", None),
        ];
        for (text, wanted) in cases {
            let found = text.parse::<MinimumFlag>().ok();
            assert_eq!(found.map(|flag| (flag.minimum, flag.is_raised)), wanted, "{text}");
        }
    }
}
