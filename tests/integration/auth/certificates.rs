//! Client certificates of all kinds: which ones count is as Go's verification has it, which kube-apiserver uses.

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};

use super::*;

/// An authority, or what calls itself one, that another one has signed.
fn below(above: &Authority, name: &str, is_ca: IsCa) -> Authority {
    let mut parameters = authority(name);
    parameters.is_ca = is_ca;
    let key = KeyPair::generate().unwrap();
    Authority(CertifiedIssuer::signed_by(parameters, key, &above.0).unwrap())
}

/// A certificate with all that is between it and the authority.
fn through(between: &[&Authority], parameters: impl FnOnce(&mut CertificateParams)) -> Credential {
    let mut credential = between[0].issue_with("front-proxy-client", [""; 2], parameters);
    for authority in between {
        credential.chain += &authority.pem();
    }
    credential
}

fn client_only(parameters: &mut CertificateParams) {
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

fn server_only(parameters: &mut CertificateParams) {
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
}

fn expired(parameters: &mut CertificateParams) {
    parameters.not_before = date_time_ymd(2000, 1, 1);
    parameters.not_after = date_time_ymd(2001, 1, 1);
}

fn not_yet_valid(parameters: &mut CertificateParams) {
    parameters.not_before = date_time_ymd(2100, 1, 1);
    parameters.not_after = date_time_ymd(2101, 1, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whom_the_authorities_mean_counts() {
    const PROXY: &str = "front-proxy-client";
    let stage = Stage::new().await;
    let app = ready(stage.forgetful()).await;
    let (clients, proxies) = (&stage.clients, &stage.proxies);
    let no_ca = below(proxies, "no-ca", IsCa::ExplicitNoCa);
    let last = below(proxies, "last", IsCa::Ca(BasicConstraints::Constrained(0)));
    let beyond = below(&last, "beyond", IsCa::Ca(BasicConstraints::Unconstrained));
    let any = below(proxies, "any", IsCa::Ca(BasicConstraints::Unconstrained));
    let named = |name: &str| proxies.issue(name, [""; 2]);
    let proxy = |change: fn(&mut CertificateParams)| proxies.issue_with(PROXY, [""; 2], change);
    // A name holds a type once; by its number the same one is another.
    let two_names = |first: &str, second: &str| {
        proxies.issue_with("", [""; 2], |parameters| {
            let mut subject = DistinguishedName::new();
            subject.push(DnType::CommonName, first);
            subject.push(DnType::CustomDnType(vec![2, 5, 4, 3]), second);
            parameters.distinguished_name = subject;
        })
    };
    let by_alternative_name = proxies.issue_with("other", [""; 2], |parameters| {
        let name = rcgen::SanType::DnsName(PROXY.try_into().unwrap());
        parameters.subject_alt_names.push(name);
    });
    let signature_only = proxies.issue_with(PROXY, [""; 2], |parameters| {
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    let of_client =
        |change: fn(&mut CertificateParams)| clients.issue_with("jane", ["g", ""], change);
    let ann = known("ann", &[]);
    let cases = [
        ("a proxy for clients", proxy(client_only), &ann),
        ("a proxy of no extended usage", signature_only, &ann),
        ("a proxy through another authority", through(&[&any], |_| {}), &ann),
        ("the last of two names", two_names("other", PROXY), &ann),
        ("an expired proxy", proxy(expired), &NOBODY),
        ("a proxy of the future", proxy(not_yet_valid), &NOBODY),
        ("a proxy that is a server", proxy(server_only), &NOBODY),
        ("the first of two names", two_names(PROXY, "other"), &NOBODY),
        ("an alternative name", by_alternative_name, &NOBODY),
        ("another case", named("Front-Proxy-Client"), &NOBODY),
        ("a name and more", named("front-proxy-client\0.example"), &NOBODY),
        ("a name and a space", named("front-proxy-client "), &NOBODY),
        ("through no authority", through(&[&no_ca], |_| {}), &NOBODY),
        ("longer than allowed", through(&[&beyond, &last], |_| {}), &NOBODY),
        (
            "masters of the proxies' authority",
            proxies.issue("admin", ["system:masters", ""]),
            &NOBODY,
        ),
        ("a client of the future", of_client(not_yet_valid), &NOBODY),
        ("a client that is a server", of_client(server_only), &NOBODY),
        ("a client for clients", of_client(client_only), &known("jane", &["g"])),
    ];
    let headers = [("x-remote-user", "ann")];
    let cases = cases.iter().map(|(what, credential, wanted)| {
        case(what, Some(credential), &headers, (*wanted).clone())
    });
    check(&stage, &app, cases.collect()).await;
}
