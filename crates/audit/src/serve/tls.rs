//! The certificate of a site. Who renews it replaces the files; the next connection uses the new ones.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{ServeError, TlsFiles};

/// Time and length of certificate and key.
type Stamp = [Option<(SystemTime, u64)>; 2];

pub(super) struct Acceptor {
    files: TlsFiles,
    stamp: Stamp,
    config: Arc<ServerConfig>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Acceptor {
    pub(super) fn load(files: TlsFiles) -> Result<Self, ServeError> {
        let stamp = stamp(&files);
        let config = read(&files)?;
        Ok(Self { files, stamp, config })
    }

    /// With what the files hold now; where that is no good, with what they held before.
    pub(super) fn current(&mut self, tell: fn(&str)) -> TlsAcceptor {
        let now = stamp(&self.files);
        if now != self.stamp {
            self.stamp = now;
            match read(&self.files) {
                Ok(config) => self.config = config,
                Err(error) => tell(&format!("the certificate was not read again, the old one stays: {error}")),
            }
        }
        TlsAcceptor::from(self.config.clone())
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    [&files.certificate, &files.key].map(|path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    })
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, ServeError> {
    let error = |path: &Path, why: String| ServeError::Tls { path: path.display().to_string(), why };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|why| error(&files.certificate, format!("expected certificates in PEM: {why}")))?;
    if certificates.is_empty() {
        return Err(error(&files.certificate, "expected a certificate in PEM, found none".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|why| error(&files.key, format!("expected a private key in PEM: {why}")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the ciphers of its own versions")
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|why| error(&files.key, format!("does not go with {}: {why}", files.certificate.display())))?;
    Ok(Arc::new(config))
}
