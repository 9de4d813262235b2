//! The certificate that a system makes for itself at its first start: ECDSA P-256, for its domains and addresses, ten
//! years. It is kept while it can be used, because phones and people compare its fingerprint.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use webpki::EndEntityCert;

use crate::error::TlsError;

const YEAR: Duration = Duration::from_secs(365 * 86_400);
const VALID_FOR: Duration = Duration::from_secs(10 * YEAR.as_secs());
/// A certificate with less than that left is made anew.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// Valid a little before now, for peers whose clocks are late.
const BACKDATED: Duration = Duration::from_secs(86_400);

/// Certificate and key in `dir`.
pub(super) fn paths(dir: &Path) -> [PathBuf; 2] {
    [dir.join("self-signed.crt"), dir.join("self-signed.key")]
}

/// Makes the certificate unless there is one that is good for another 30 days, fits its key and names every domain.
/// Addresses may change without a new one: the machine's are often handed out anew.
pub(super) fn ensure(dir: &Path, domains: &[String], addresses: &[IpAddr]) -> Result<(), TlsError> {
    let [chain, key] = paths(dir);
    let now = now();
    match why_not(&chain, &key, domains, now) {
        None => return Ok(()),
        Some(why) => tracing::info!(rule = "tls", path = %chain.display(), "making a self-signed certificate: {why}"),
    }
    let (certificate, private) = make(domains, addresses, now)?;
    fs::create_dir_all(dir).map_err(|source| TlsError::Write { path: dir.to_owned(), source })?;
    // The key first: a stop in between leaves a pair that does not fit, and that is made anew.
    write(&key, &private, 0o600)?;
    write(&chain, &certificate, 0o644)
}

#[allow(clippy::disallowed_methods)]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Why the pair in these files cannot be used, in words.
fn why_not(chain: &Path, key: &Path, domains: &[String], now: Duration) -> Option<&'static str> {
    let (Ok(certificate), Ok(private)) = (fs::read(chain), fs::read(key)) else {
        return Some("there is none");
    };
    let (Ok(certificate), Ok(private)) =
        (CertificateDer::from_pem_slice(&certificate), PrivateKeyDer::from_pem_slice(&private))
    else {
        return Some("the one in place cannot be read");
    };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let fits = rustls::sign::CertifiedKey::from_der(vec![certificate.clone()], private, &provider)
        .is_ok_and(|pair| pair.keys_match().is_ok());
    if !fits {
        return Some("key and certificate do not go together");
    }
    let (Ok(parsed), Ok(anchor)) =
        (EndEntityCert::try_from(&certificate), webpki::anchor_from_trusted_cert(&certificate))
    else {
        return Some("the one in place cannot be read");
    };
    let algorithms = provider.signature_verification_algorithms.all;
    let usage = webpki::KeyUsage::server_auth();
    let valid_at = |time: Duration| {
        let time = UnixTime::since_unix_epoch(time);
        parsed.verify_for_usage(algorithms, std::slice::from_ref(&anchor), &[], time, usage, None, None).is_ok()
    };
    if !valid_at(now) || !valid_at(now + RENEW_BEFORE) {
        return Some("the one in place runs out");
    }
    let names: Vec<&str> = parsed.valid_dns_names().collect();
    let missing = domains.iter().any(|domain| !names.iter().any(|name| name.eq_ignore_ascii_case(domain)));
    missing.then_some("a domain has been added")
}

/// Certificate and key, both PEM.
fn make(domains: &[String], addresses: &[IpAddr], now: Duration) -> Result<(String, String), TlsError> {
    let failed = |error: rcgen::Error| TlsError::Make(error.to_string());
    let mut params = CertificateParams::default();
    for domain in domains {
        let text = |text: String| text.try_into().map_err(failed);
        params.subject_alt_names.push(SanType::DnsName(text(domain.clone())?));
        // RFC 5922 §7.1: the SIP domain identity proper.
        params.subject_alt_names.push(SanType::URI(text(format!("sip:{domain}"))?));
    }
    params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
    let name = domains.first().cloned().or_else(|| addresses.first().map(|address| address.to_string()));
    params.distinguished_name.push(DnType::CommonName, name.unwrap_or_else(|| "localhost".to_owned()));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + (now + VALID_FOR);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Writes by way of a new file, so that a reader never finds half of it.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let failed = |source| TlsError::Write { path: path.to_owned(), source };
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new).map_err(failed)?;
    // A file that was there already keeps its mode when it is opened.
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

/// SHA-256 of the certificate, `AB:CD:…`.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let octets: Vec<String> = digest.as_ref().iter().map(|octet| format!("{octet:02X}")).collect();
    octets.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ringfort-net-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn the_certificate_is_made_once_and_kept() {
        let dir = scratch("kept");
        let domains = ["example.net".to_owned()];
        ensure(&dir, &domains, &["192.0.2.1".parse().unwrap()]).unwrap();
        let [chain, key] = paths(&dir);
        let first = fs::read(&chain).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        ensure(&dir, &domains, &["192.0.2.2".parse().unwrap()]).unwrap();
        assert_eq!(fs::read(&chain).unwrap(), first);
        ensure(&dir, &["example.net".to_owned(), "example.org".to_owned()], &[]).unwrap();
        assert_ne!(fs::read(&chain).unwrap(), first);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_certificate_that_runs_out_or_does_not_fit_its_key_is_made_anew() {
        let dir = scratch("renewed");
        let domains = ["example.net".to_owned()];
        ensure(&dir, &domains, &[]).unwrap();
        let [chain, key] = paths(&dir);
        assert_eq!(why_not(&chain, &key, &domains, now()), None);
        let late = now() + VALID_FOR - Duration::from_secs(10 * 86_400);
        assert_eq!(why_not(&chain, &key, &domains, late), Some("the one in place runs out"));
        let (_, other_key) = make(&domains, &[], now()).unwrap();
        fs::write(&key, other_key).unwrap();
        assert_eq!(why_not(&chain, &key, &domains, now()), Some("key and certificate do not go together"));
        ensure(&dir, &domains, &[]).unwrap();
        assert_eq!(why_not(&chain, &key, &domains, now()), None);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_system_without_domains_and_addresses_still_gets_a_certificate() {
        let (certificate, _) = make(&[], &[], now()).unwrap();
        assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    }

    #[test]
    fn the_fingerprint_is_sha256_in_octets() {
        let shown = fingerprint(&CertificateDer::from(Vec::new()));
        assert_eq!(shown.len(), 95);
        assert!(shown.starts_with("E3:B0:C4:42"), "{shown}");
    }
}
