//! Results into PostgreSQL: a row for each file of controls, in a table as kube-bench makes it.

use std::sync::Arc;
use std::time::Duration;

use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::report::{ControlsReport, controls_json};

/// Where results go.
#[derive(Debug, Clone)]
pub struct Target {
    /// `postgresql://user:password@host/database?sslmode=require`, or in pairs of key and value.
    pub address: String,
    /// Certificates of authorities in PEM that the server's is checked against, instead of the public ones.
    pub authorities: Option<Vec<u8>>,
}

/// Why results were not stored.
#[derive(Debug, thiserror::Error)]
pub enum PgsqlError {
    /// The address is none.
    #[error("the address of PostgreSQL: {}", chain(.0))]
    Address(postgres::Error),
    /// The authorities cannot be used.
    #[error("the authorities for PostgreSQL: {0}")]
    Authorities(String),
    /// The server cannot be reached or does not take the results. The words have no password in them.
    #[error("PostgreSQL: {}", chain(.0))]
    Server(#[from] postgres::Error),
}

/// How long a connection may take to be made, where the address does not say.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest name of a host (RFC 1035 §2.3.4).
const LONGEST_HOST: usize = 63;
const TABLE: &str = "create table if not exists scan_results (id bigserial primary key, created_at timestamptz, updated_at timestamptz, \
                     deleted_at timestamptz, scan_host varchar(63) not null, scan_time timestamptz not null, scan_info jsonb not null); \
                     create index if not exists idx_scan_results_deleted_at on scan_results (deleted_at)";
const ROW: &str = "insert into scan_results (created_at, updated_at, scan_host, scan_time, scan_info) \
                   values (now(), now(), $1, $2::text::timestamptz, $3::text::jsonb)";

/// Stores results, all or none. `host` is whose they are, `time` when (RFC 3339).
///
/// # Errors
/// Where the address is none, or the server does not take them.
pub fn store(target: &Target, controls: &[ControlsReport], host: &str, time: &str) -> Result<(), PgsqlError> {
    let mut config: Config = target.address.parse().map_err(PgsqlError::Address)?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    if config.get_application_name().is_none() {
        config.application_name("ringfort audit cis");
    }
    let mut client = match config.get_ssl_mode() {
        SslMode::Disable => config.connect(NoTls)?,
        _ => config.connect(MakeRustlsConnect::new(tls(target.authorities.as_deref())?))?,
    };
    insert(&mut client, controls, host, time)?;
    Ok(client.close()?)
}

fn insert(client: &mut Client, controls: &[ControlsReport], host: &str, time: &str) -> Result<(), postgres::Error> {
    let host: String = host.chars().take(LONGEST_HOST).collect();
    let mut transaction = client.transaction()?;
    transaction.batch_execute(TABLE)?;
    for controls in controls {
        transaction.execute(ROW, &[&host, &time, &controls_json(&without_nul(controls))])?;
    }
    transaction.commit()
}

/// PostgreSQL has no text with a NUL in it; what audits printed may have.
fn without_nul(controls: &ControlsReport) -> ControlsReport {
    let mut controls = controls.clone();
    for check in controls.tests.iter_mut().flatten().flat_map(|group| &mut group.results) {
        for text in [&mut check.actual_value, &mut check.expected_result, &mut check.reason] {
            text.retain(|character| character != '\0');
        }
    }
    controls
}

fn tls(authorities: Option<&[u8]>) -> Result<ClientConfig, PgsqlError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| PgsqlError::Authorities(error.to_string()))?;
                roots.add(certificate).map_err(|error| PgsqlError::Authorities(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(PgsqlError::Authorities("certificates in PEM are expected, there is none".to_owned()));
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| PgsqlError::Authorities(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// An error with what it came from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}
