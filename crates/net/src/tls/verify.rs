//! Checking a SIP server's certificate (RFC 5922 §7): the chain as everywhere, the name by SIP's own rules.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

/// Chain and SIP domain identity.
#[derive(Debug)]
pub(super) struct SipServerVerifier {
    roots: RootCertStore,
    wildcards: bool,
    provider: Arc<CryptoProvider>,
}

impl SipServerVerifier {
    pub(super) fn new(roots: RootCertStore, wildcards: bool, provider: Arc<CryptoProvider>) -> Self {
        Self { roots, wildcards, provider }
    }
}

impl ServerCertVerifier for SipServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        let certificate = EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let matches = match server_name {
            ServerName::DnsName(name) => names_domain(&certificate, name.as_ref(), self.wildcards),
            ServerName::IpAddress(_) => certificate.verify_is_valid_for_subject_name(server_name).is_ok(),
            _ => false,
        };
        if matches {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether one of the certificate's SIP domain identities is `domain` (RFC 5922 §7.1, §7.2): the host parts of its
/// `sip:` URIs without a user; where it has none of those, its DNS names.
fn names_domain(certificate: &EndEntityCert<'_>, domain: &str, wildcards: bool) -> bool {
    let mut has_sip_uri = false;
    for uri in certificate.valid_uri_names() {
        let Some(identity) = sip_domain(uri) else { continue };
        has_sip_uri = true;
        if same_domain(identity, domain, false) {
            return true;
        }
    }
    !has_sip_uri && certificate.valid_dns_names().any(|name| same_domain(name, domain, wildcards))
}

/// The host of a `sip:` URI that names a domain; `None` for other schemes and for users.
fn sip_domain(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") || rest.contains('@') {
        return None;
    }
    let host = rest.split([';', '?', ':']).next().unwrap_or_default();
    (!host.is_empty()).then_some(host)
}

/// Whole names, without case. With `wildcards`, a leading `*.` stands for one label.
fn same_domain(presented: &str, wanted: &str, wildcards: bool) -> bool {
    let wanted = wanted.strip_suffix('.').unwrap_or(wanted);
    let presented = presented.strip_suffix('.').unwrap_or(presented);
    if presented.eq_ignore_ascii_case(wanted) {
        return true;
    }
    match (wildcards, presented.strip_prefix("*."), wanted.split_once('.')) {
        (true, Some(presented), Some((label, parent))) => {
            !label.is_empty() && parent.contains('.') && presented.eq_ignore_ascii_case(parent)
        }
        _ => false,
    }
}

/// No check: the operator has turned it off for this server. Signatures are still verified, so the peer at least has
/// the key of the certificate it shows.
#[derive(Debug)]
pub(super) struct NoCheck {
    provider: Arc<CryptoProvider>,
}

impl NoCheck {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }
}

impl ServerCertVerifier for NoCheck {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The name to check a server by: a domain, or an address where the target had no name.
pub(crate) fn server_name(name: Option<&str>, address: IpAddr) -> Option<ServerName<'static>> {
    match name {
        Some(name) => {
            let bare = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
            ServerName::try_from(bare.to_owned()).ok()
        }
        None => Some(ServerName::IpAddress(address.to_canonical().into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sip_uris_without_a_user_are_domain_identities_rfc5922_7_1() {
        let cases = [
            ("sip:example.net", Some("example.net")),
            ("SIP:example.net", Some("example.net")),
            ("sip:example.net:5061;transport=tls", Some("example.net")),
            ("sip:alice@example.net", None),
            ("sips:example.net", None),
            ("https://example.net", None),
            ("sip:", None),
        ];
        for (uri, expected) in cases {
            assert_eq!(sip_domain(uri), expected, "{uri}");
        }
    }

    #[test]
    fn names_are_compared_whole_and_without_case_rfc5922_7_2() {
        assert!(same_domain("Example.NET", "example.net.", false));
        assert!(!same_domain("example.net", "sip.example.net", false));
        assert!(!same_domain(".example.net", "sip.example.net", false));
        assert!(!same_domain("*.example.net", "sip.example.net", false));
    }

    #[test]
    fn a_wildcard_stands_for_one_label_where_the_operator_allows_it() {
        assert!(same_domain("*.example.net", "sip.example.net", true));
        assert!(!same_domain("*.example.net", "a.sip.example.net", true));
        assert!(!same_domain("*.example.net", "example.net", true));
        assert!(!same_domain("*.net", "example.net", true));
    }

    #[test]
    fn a_target_without_a_name_is_checked_by_its_address() {
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        assert_eq!(server_name(None, address), Some(ServerName::IpAddress(address.into())));
        assert!(matches!(server_name(Some("sip.example.net"), address), Some(ServerName::DnsName(_))));
        assert!(matches!(server_name(Some("[2001:db8::1]"), address), Some(ServerName::IpAddress(_))));
        assert_eq!(server_name(Some("not a name"), address), None);
    }
}
