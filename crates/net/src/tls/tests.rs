use super::*;
use rustls_pki_types::{ServerName, UnixTime};

struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test CA");
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    fn issue(&self, names: Vec<rcgen::SanType>) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = names;
        let key = rcgen::KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }
}

fn dns(name: &str) -> rcgen::SanType {
    rcgen::SanType::DnsName(name.to_owned().try_into().unwrap())
}

fn uri(name: &str) -> rcgen::SanType {
    rcgen::SanType::URI(name.to_owned().try_into().unwrap())
}

#[test]
fn a_servers_name_is_found_as_rfc5922_7_1_says() {
    use rustls::client::danger::ServerCertVerifier;
    let authority = Authority::new();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let accepts = |wildcards: bool, names: Vec<rcgen::SanType>, wanted: &str| {
        let verifier = SipServerVerifier::new(roots.clone(), wildcards, provider.clone());
        let name = ServerName::try_from(wanted.to_owned()).unwrap();
        verifier.verify_server_cert(&authority.issue(names), &[], &name, &[], UnixTime::now()).is_ok()
    };
    assert!(accepts(false, vec![dns("sip.example.net")], "sip.example.net"));
    assert!(!accepts(false, vec![dns("sip.example.net")], "example.net"));
    assert!(accepts(false, vec![uri("sip:example.net"), dns("host.example.net")], "example.net"));
    // A DNS name counts only where there is no SIP URI.
    assert!(!accepts(false, vec![uri("sip:example.net"), dns("host.example.net")], "host.example.net"));
    assert!(accepts(false, vec![uri("sip:alice@example.net"), dns("host.example.net")], "host.example.net"));
    assert!(!accepts(false, vec![uri("sips:example.net")], "example.net"));
    assert!(!accepts(false, vec![dns("*.example.net")], "sip.example.net"));
    assert!(accepts(true, vec![dns("*.example.net")], "sip.example.net"));
    let address = rcgen::SanType::IpAddress("192.0.2.7".parse().unwrap());
    assert!(accepts(false, vec![address.clone()], "192.0.2.7"));
    assert!(!accepts(false, vec![address], "192.0.2.8"));
    let stranger = Authority::new().issue(vec![dns("sip.example.net")]);
    let verifier = SipServerVerifier::new(roots.clone(), false, provider.clone());
    let name = ServerName::try_from("sip.example.net").unwrap();
    assert!(verifier.verify_server_cert(&stranger, &[], &name, &[], UnixTime::now()).is_err());
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_was_expected() {
    let dir = std::env::temp_dir().join(format!("ringfort-net-{}-files", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
    let config = TlsConfig {
        certificate: Some(CertificateSource::Files { chain: chain.clone(), key: key.clone() }),
        ..TlsConfig::default()
    };
    let error = |config: &TlsConfig| TlsStore::load(config).err().unwrap().to_string();
    assert!(error(&config).contains("chain.pem"), "{}", error(&config));
    fs::write(&chain, "nothing").unwrap();
    assert!(error(&config).contains("expected certificates in PEM form, got none"), "{}", error(&config));
    fs::write(&chain, Authority::new().pem).unwrap();
    fs::write(&key, "nothing").unwrap();
    assert!(error(&config).contains("private key"), "{}", error(&config));
    fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(error(&config).contains("do not go together"), "{}", error(&config));
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn what_is_wrong_with_a_servers_certificate_is_said_in_words() {
    use rustls::CertificateError as C;
    let words = |error| trouble(&rustls::Error::InvalidCertificate(error));
    assert!(words(C::UnknownIssuer).contains("server_ca"));
    assert!(words(C::NotValidForName).contains("RFC 5922"));
    assert!(words(C::Expired).contains("expired"));
    assert!(words(C::NotValidYet).contains("clock"));
    assert!(trouble(&rustls::Error::HandshakeNotComplete).starts_with("no TLS connection: "));
}
