//! The flags of the serving certificate.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{UsageError, boolean};
use crate::prometheus::config::SERVICE_ACCOUNT;
use crate::registrations::Service;
use crate::server::{
    certificates::{NamedPaths, Names, Paths, Settings},
    tls::options::{Minimum, MinimumFlag, Options, Suites},
};

#[derive(Args, Debug)]
#[command(next_help_heading = "Serving certificate")]
pub(in crate::cli) struct CertificateFlags {
    /// Serving certificate, followed by its chain; read again when it changes [default: the one in --cert-dir, else
    /// loadline issues one]
    #[arg(long, value_name = "FILE")]
    tls_cert_file: Option<PathBuf>,

    /// Key of the serving certificate
    #[arg(long, value_name = "FILE")]
    tls_private_key_file: Option<PathBuf>,

    /// Directory with tls.crt and tls.key, or apiserver.crt and apiserver.key. If it has neither, the issued certificate is
    /// written there, unless it is kept in the Secret
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// Secret by which replicas share the issued certificate; empty for none
    #[arg(long, value_name = "NAME", default_value = "loadline-serving")]
    tls_secret_name: String,

    /// Service in front of loadline, for the names of the issued certificate. If given, loadline also reports APIServices that
    /// point to another Service [default: loadline]
    #[arg(long, value_name = "NAME")]
    service_name: Option<String>,

    /// Namespace of the Service and the Secret [default: POD_NAMESPACE of the environment, else that of the service account]
    #[arg(long, value_name = "NAMESPACE")]
    service_namespace: Option<String>,

    /// Maintain the caBundle of the APIServices that point to the Service
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_parser = boolean)]
    manage_apiservice: bool,

    /// Certificate for clients that name one of these hosts (SNI), by default the hosts of the certificate: cert.pem,key.pem or
    /// cert.pem,key.pem:*.example.com,example.com; repeatable
    #[arg(long, value_name = "CERT,KEY[:HOSTS]")]
    tls_sni_cert_key: Vec<NamedPaths>,

    /// Minimum TLS version: VersionTLS12 or VersionTLS13
    #[arg(long, value_name = "VERSION", default_value = "VersionTLS12")]
    tls_min_version: MinimumFlag,

    /// Cipher suites of TLS 1.2, separated by commas [default: all secure ones]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tls_cipher_suites: Vec<String>,
}

impl CertificateFlags {
    /// Where the certificate comes from. `address` is the one that is listened on. The Secret is only for who serves in the
    /// cluster: with a kubeconfig (`is_outside`) that is not known, and nothing is kept there unless a namespace is named.
    pub(in crate::cli) fn settings(
        &self,
        address: IpAddr,
        is_standalone: bool,
        is_outside: bool,
    ) -> Result<Settings, UsageError> {
        let files = match (&self.tls_cert_file, &self.tls_private_key_file) {
            (Some(certificate), Some(key)) => {
                Some(Paths { certificate: certificate.clone(), key: key.clone() })
            }
            (None, None) => None,
            _ => {
                let text = "--tls-cert-file and --tls-private-key-file belong together";
                return Err(UsageError(text.to_owned()));
            }
        };
        let namespace = self.namespace();
        if self.manage_apiservice && is_standalone {
            let text = "--manage-apiservice and --standalone exclude each other";
            return Err(UsageError(text.to_owned()));
        }
        if self.manage_apiservice && namespace.is_none() {
            let text = "--manage-apiservice needs --service-namespace";
            return Err(UsageError(text.to_owned()));
        }
        let pod = std::env::var("POD_IP").ok();
        let mut addresses = vec![address];
        addresses.extend(pod.and_then(|pod| pod.parse::<IpAddr>().ok()));
        Ok(Settings {
            files,
            folder: self.cert_dir.clone(),
            secret: Some(self.tls_secret_name.clone()).filter(|name| {
                !name.is_empty() && (!is_outside || self.service_namespace.is_some())
            }),
            names: Names::new(self.service_name(), namespace.as_deref(), &addresses),
            service: self.service_name().to_owned(),
            namespace,
            manage_apiservices: self.manage_apiservice,
            named: self.tls_sni_cert_key.clone(),
            ..Settings::default()
        })
    }

    /// What is offered to clients; what was asked for and is not is logged.
    pub(in crate::cli) fn options(&self, http2: bool) -> Result<Options, UsageError> {
        if self.tls_min_version.is_raised {
            tracing::warn!("--tls-min-version: versions before TLS 1.2 are not offered");
        }
        let names = self.tls_cipher_suites.iter().map(|name| name.trim().trim_matches('"'));
        let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
        let mut suites = None;
        if !names.is_empty() {
            let parsed = Suites::parse(names)
                .map_err(|error| UsageError(format!("--tls-cipher-suites: {error}")))?;
            if !parsed.left_out.is_empty() {
                tracing::warn!(
                    suites = parsed.left_out.join(","),
                    "--tls-cipher-suites: these are not safe and not offered"
                );
            }
            if parsed.offered.is_empty() && self.tls_min_version.minimum == Minimum::Tls12 {
                tracing::warn!("--tls-cipher-suites leaves none for TLS 1.2: only 1.3 is offered");
            }
            suites = Some(parsed.offered);
        }
        Ok(Options { minimum: self.tls_min_version.minimum, suites, http2 })
    }

    /// The Service that we are reached by, if somebody has said so.
    pub(in crate::cli) fn service(&self) -> Option<Service> {
        let is_said = self.service_name.is_some() || self.manage_apiservice;
        let name = self.service_name().to_owned();
        self.namespace().filter(|_| is_said).map(|namespace| Service { namespace, name })
    }

    fn service_name(&self) -> &str {
        self.service_name.as_deref().unwrap_or("loadline")
    }

    fn namespace(&self) -> Option<String> {
        let file = Path::new(SERVICE_ACCOUNT).join("namespace");
        let is_name = |text: &String| !text.is_empty();
        self.service_namespace
            .clone()
            .filter(is_name)
            .or_else(|| std::env::var("POD_NAMESPACE").ok().filter(is_name))
            .or_else(|| std::fs::read_to_string(file).ok())
            .map(|text| text.trim().to_owned())
            .filter(is_name)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: CertificateFlags,
    }

    fn parsed(line: &str) -> Result<CertificateFlags, clap::Error> {
        Line::try_parse_from(std::iter::once("serve").chain(line.split_whitespace()))
            .map(|line| line.flags)
    }

    fn settings(line: &str, is_standalone: bool) -> Result<Settings, UsageError> {
        parsed(line).unwrap().settings(Ipv4Addr::LOCALHOST.into(), is_standalone, false)
    }

    #[test]
    fn where_the_certificate_comes_from() {
        let found = settings("--service-namespace=monitoring", false).unwrap();
        assert_eq!(found.secret.as_deref(), Some("loadline-serving"));
        assert_eq!(found.namespace.as_deref(), Some("monitoring"));
        let name = "loadline.monitoring.svc".to_owned();
        assert!(found.names.shared.contains(&name));
        assert!(!found.manage_apiservices);

        let line = "--tls-secret-name= --cert-dir=/tmp/cert --tls-sni-cert-key a,b:c,d --tls-sni-cert-key=e,f";
        let found = settings(line, false).unwrap();
        assert_eq!(found.secret, None);
        assert_eq!(found.folder.unwrap().to_str(), Some("/tmp/cert"));
        assert_eq!(found.named.len(), 2);
        assert_eq!(found.named[0].hosts, ["c", "d"]);
    }

    #[test]
    fn who_we_are_is_known_when_it_is_said() {
        let service = |line| parsed(line).unwrap().service().map(|service| service.to_string());
        assert_eq!(service("--service-namespace=n"), None);
        let named = service("--service-namespace=n --service-name=adapter");
        assert_eq!(named.as_deref(), Some("n/adapter"));
        let managed = service("--service-namespace=n --manage-apiservice");
        assert_eq!(managed.as_deref(), Some("n/loadline"));
    }

    #[test]
    fn a_cluster_that_is_served_from_outside_is_left_alone() {
        let outside =
            |line| parsed(line).unwrap().settings(Ipv4Addr::LOCALHOST.into(), false, true);
        assert_eq!(outside("").unwrap().secret, None);
        let named = outside("--service-namespace=monitoring").unwrap();
        assert_eq!(named.secret.as_deref(), Some("loadline-serving"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(settings("--tls-cert-file=a", false).is_err());
        assert!(settings("--tls-private-key-file=a", false).is_err());
        let manage = "--manage-apiservice --service-namespace=monitoring";
        assert!(settings(manage, false).unwrap().manage_apiservices);
        assert!(settings(manage, true).is_err());
        assert!(parsed("--tls-sni-cert-key=a").is_err());
        assert!(parsed("--tls-min-version=VersionTLS14").is_err());
        let unknown = parsed("--tls-cipher-suites=TLS_NULL").unwrap();
        assert!(unknown.options(true).is_err());
    }

    #[test]
    fn what_manifests_pass_is_taken() {
        let line = "--tls-min-version=VersionTLS11 --tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA,\
                    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 --tls-cipher-suites=TLS_AES_128_GCM_SHA256";
        let options = parsed(line).unwrap().options(false).unwrap();
        assert_eq!(options.minimum, Minimum::Tls12);
        assert_eq!(options.suites.unwrap().len(), 1);
        assert!(!options.http2);
    }
}
