//! TLS on SIP connections (RFC 3261 §26.2.1, RFC 5922): our certificate, which can be replaced while the system runs,
//! and what servers must show us.

mod self_signed;
mod verify;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{CertificateSource, ClientAuth, PeerCheck, TlsConfig};
use crate::error::TlsError;
use crate::published::{Published, Reader};
pub(crate) use verify::server_name;
use verify::{NoCheck, SipServerVerifier};

/// What connections are made with. Replaced as a whole, so that an open connection keeps what it began with.
pub(crate) struct Loaded {
    /// For our listeners. `None`: no certificate is configured, so none of them speaks TLS.
    pub(crate) server: Option<Arc<ServerConfig>>,
    clients: BTreeMap<PeerCheck, Arc<ClientConfig>>,
    default: PeerCheck,
    targets: BTreeMap<String, PeerCheck>,
    fingerprint: Option<String>,
}

impl Loaded {
    /// How to speak TLS to that server.
    pub(crate) fn client(&self, server_name: &str) -> Arc<ClientConfig> {
        let check = self.targets.get(&server_name.to_ascii_lowercase()).unwrap_or(&self.default);
        self.clients.get(check).expect("a configuration was made for every check that is configured").clone()
    }
}

/// The configuration and what it led to.
pub(crate) struct TlsStore {
    config: TlsConfig,
    provider: Arc<CryptoProvider>,
    current: Arc<Published<Loaded>>,
    /// Of the files when they were first read.
    first_stamp: Stamp,
}

/// Time and length of each file.
pub(crate) type Stamp = Vec<Option<(SystemTime, u64)>>;

impl TlsStore {
    /// Reads certificates and keys, or makes the self-signed ones.
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        if let Some(CertificateSource::SelfSigned { dir, domains, addresses }) = &config.certificate {
            self_signed::ensure(dir, domains, addresses)?;
        }
        // Taken before reading: what changes from now on is a change.
        let first_stamp = stamp(config);
        let current = Arc::new(Published::new(load(config, &provider)?));
        Ok(Self { config: config.clone(), provider, current, first_stamp })
    }

    /// Reads everything again. New connections use it; on an error the old stays. Returns our certificate's fingerprint.
    pub(crate) fn reload(&self) -> Result<Option<String>, TlsError> {
        let loaded = load(&self.config, &self.provider)?;
        let fingerprint = loaded.fingerprint.clone();
        self.current.publish(loaded);
        Ok(fingerprint)
    }

    pub(crate) fn reader(&self) -> Reader<Loaded> {
        Reader::new(self.current.clone())
    }

    pub(crate) fn fingerprint(&self) -> Option<String> {
        self.current.get().fingerprint.clone()
    }

    /// Whether there is a file that can change.
    pub(crate) fn has_files(&self) -> bool {
        !files(&self.config).is_empty()
    }

    /// Time and length of every file, to see a change by.
    pub(crate) fn file_stamp(&self) -> Stamp {
        stamp(&self.config)
    }

    /// [`TlsStore::file_stamp`] of what was loaded at start.
    pub(crate) fn first_stamp(&self) -> Stamp {
        self.first_stamp.clone()
    }
}

fn stamp(config: &TlsConfig) -> Stamp {
    let stamp = |path: &PathBuf| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    files(config).iter().map(stamp).collect()
}

fn files(config: &TlsConfig) -> Vec<PathBuf> {
    let mut files = match &config.certificate {
        None => Vec::new(),
        Some(CertificateSource::SelfSigned { dir, .. }) => self_signed::paths(dir).into(),
        Some(CertificateSource::Files { chain, key }) => vec![chain.clone(), key.clone()],
    };
    match &config.clients {
        ClientAuth::Off => {}
        ClientAuth::Optional { ca_file } | ClientAuth::Required { ca_file } => files.push(ca_file.clone()),
    }
    files.extend(checks(config).into_iter().filter_map(|check| match check {
        PeerCheck::Off => None,
        PeerCheck::Verify { ca_file, .. } => ca_file.clone(),
    }));
    files
}

fn checks(config: &TlsConfig) -> Vec<&PeerCheck> {
    config.targets.values().chain([&config.servers]).collect()
}

fn load(config: &TlsConfig, provider: &Arc<CryptoProvider>) -> Result<Loaded, TlsError> {
    let own = match &config.certificate {
        None => None,
        Some(CertificateSource::SelfSigned { dir, domains, addresses }) => {
            self_signed::ensure(dir, domains, addresses)?;
            let [chain, key] = self_signed::paths(dir);
            Some(certified_key(&chain, &key, provider)?)
        }
        Some(CertificateSource::Files { chain, key }) => Some(certified_key(chain, key, provider)?),
    };
    // A self-signed certificate proves nothing to a server, so it is not shown to any.
    let shown = match &config.certificate {
        Some(CertificateSource::Files { .. }) => own.clone(),
        Some(CertificateSource::SelfSigned { .. }) | None => None,
    };
    let mut clients = BTreeMap::new();
    for check in checks(config) {
        if !clients.contains_key(check) {
            clients.insert(check.clone(), Arc::new(client_config(check, shown.as_ref(), provider)?));
        }
    }
    let fingerprint = own.as_ref().map(|own| self_signed::fingerprint(&own.cert[0]));
    let server = own.map(|own| server_config(own, &config.clients, provider)).transpose()?.map(Arc::new);
    let targets = config.targets.iter().map(|(name, check)| (name.to_ascii_lowercase(), check.clone())).collect();
    Ok(Loaded { server, clients, default: config.servers.clone(), targets, fingerprint })
}

fn certified_key(chain: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let certificates = certificates(chain)?;
    let private = private_key(key)?;
    let pair = |why: rustls::Error| TlsError::Pair { chain: chain.into(), key: key.into(), why: why.to_string() };
    let certified = CertifiedKey::from_der(certificates, private, provider).map_err(pair)?;
    certified.keys_match().map_err(pair)?;
    Ok(Arc::new(certified))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| TlsError::Pem {
        path: path.to_owned(),
        expected: "a private key (PKCS#8, PKCS#1 or SEC1) in PEM form",
        got: error.to_string(),
    })
}

/// Why a TLS connection to a server was not made, and where an operator mends it.
pub(crate) fn trouble(error: &rustls::Error) -> String {
    use rustls::CertificateError as C;
    let words = match error {
        rustls::Error::InvalidCertificate(C::UnknownIssuer) => {
            "its certificate is of no authority that is trusted: [tls] server_ca names others"
        }
        rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "its certificate is for another name than the domain that is called (RFC 5922 §4)"
        }
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => "its certificate has expired",
        rustls::Error::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            "its certificate is not valid yet: is our clock right?"
        }
        other => return format!("no TLS connection: {other}"),
    };
    format!("no TLS connection: {words}")
}

/// Reads the files that a configuration names, without starting anything: everything that a start would refuse.
/// A self-signed certificate is not looked at; a start makes it.
pub fn certificate_problems(config: &TlsConfig) -> Vec<TlsError> {
    let mut problems = Vec::new();
    if let Some(CertificateSource::Files { chain, key }) = &config.certificate {
        problems.extend(certificates(chain).err());
        problems.extend(private_key(key).err());
        if problems.is_empty() {
            problems.extend(certified_key(chain, key, &rustls::crypto::aws_lc_rs::default_provider()).err());
        }
    }
    if let ClientAuth::Optional { ca_file } | ClientAuth::Required { ca_file } = &config.clients {
        problems.extend(roots_of(ca_file).err());
    }
    problems
}

fn server_config(
    own: Arc<CertifiedKey>,
    clients: &ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Config(error.to_string()))?;
    let verifier = |ca_file: &Path| {
        Ok::<_, TlsError>(WebPkiClientVerifier::builder_with_provider(roots_of(ca_file)?.into(), provider.clone()))
    };
    let failed = |error: rustls::server::VerifierBuilderError| TlsError::Config(error.to_string());
    let builder = match clients {
        ClientAuth::Off => builder.with_no_client_auth(),
        ClientAuth::Optional { ca_file } => {
            builder.with_client_cert_verifier(verifier(ca_file)?.allow_unauthenticated().build().map_err(failed)?)
        }
        ClientAuth::Required { ca_file } => {
            builder.with_client_cert_verifier(verifier(ca_file)?.build().map_err(failed)?)
        }
    };
    Ok(builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(own))))
}

fn client_config(
    check: &PeerCheck,
    own: Option<&Arc<CertifiedKey>>,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Config(error.to_string()))?
        .dangerous();
    let builder = match check {
        PeerCheck::Off => builder.with_custom_certificate_verifier(Arc::new(NoCheck::new(provider.clone()))),
        PeerCheck::Verify { ca_file, wildcards } => {
            let roots = match ca_file {
                Some(path) => roots_of(path)?,
                None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
            };
            let verifier = SipServerVerifier::new(roots, *wildcards, provider.clone());
            builder.with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    Ok(match own {
        Some(own) => {
            let resolver = rustls::sign::SingleCertAndKey::from(own.clone());
            builder.with_client_cert_resolver(Arc::new(resolver))
        }
        None => builder.with_no_client_auth(),
    })
}

pub(crate) fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::Pem {
            path: path.to_owned(),
            expected: "CA certificates",
            got: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |got: String| TlsError::Pem { path: path.to_owned(), expected: "certificates in PEM form", got };
    let text = read(path)?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() { Err(wrong("none".to_owned())) } else { Ok(certificates) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source: io::Error| TlsError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "tls/tests.rs"]
mod tests;
