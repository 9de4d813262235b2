//! TLS for programs that have none (Debian's SIPp): socat listens for plain TCP and passes it on by TLS, checking that
//! the certificate it is shown is the system's own and is for its domain.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::place::Place;
use crate::process::Running;
use crate::ringfort::{DOMAIN, Ringfort, bracketed};

/// Port of the TLS listener in tests that have one.
pub const PORT: u16 = 5061;

/// A way to the system's TLS listener; open while the value lives.
pub struct Tunnel {
    _process: Running,
    address: SocketAddr,
}

impl Tunnel {
    /// Listens at `local`, port 5062, and makes a TLS connection of its own for each one that comes.
    pub fn start(place: &Place, system: &Ringfort, local: IpAddr) -> anyhow::Result<Self> {
        let address = SocketAddr::new(local, 5062);
        let trusted = system.certificate();
        let mut command = Command::new("socat");
        command
            .args(["-d", "-d"])
            .arg(format!("TCP-LISTEN:{},bind={},reuseaddr,fork", address.port(), bracketed(local)))
            .arg(format!(
                "OPENSSL:{}:{PORT},verify=1,cafile={},commonname={DOMAIN}",
                bracketed(system.ip()),
                trusted.display()
            ));
        let mut process = Running::start("socat", &mut command, &place.path("socat.log"))?;
        process.wait_said("listening on", Duration::from_secs(10))?;
        Ok(Self { _process: process, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The SHA-256 fingerprint, `AB:CD:…`, of the certificate that a client of the TLS listener is shown.
pub fn fingerprint_shown(system: &Ringfort) -> anyhow::Result<String> {
    let connect = format!("{}:{PORT}", bracketed(system.ip()));
    let shown = Command::new("openssl")
        .args(["s_client", "-connect", &connect, "-servername", DOMAIN])
        .stdin(Stdio::null())
        .output()
        .context("cannot run openssl")?;
    let text = String::from_utf8_lossy(&shown.stdout);
    let Some(pem) = text.find("-----BEGIN").zip(text.find("-----END")).map(|(from, to)| &text[from..to]) else {
        bail!("openssl was shown no certificate: {text}{}", String::from_utf8_lossy(&shown.stderr));
    };
    let place = Place::new()?;
    let file = place.write("shown.crt", &format!("{pem}-----END CERTIFICATE-----\n"))?;
    fingerprint(&file)
}

fn fingerprint(certificate: &Path) -> anyhow::Result<String> {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate)
        .output()
        .context("cannot run openssl")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, fingerprint) = text.trim().split_once('=').context("openssl printed no fingerprint")?;
    Ok(fingerprint.to_owned())
}

/// A certificate for `domain`, signed by itself, and its key.
pub fn certificate(place: &Place, domain: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (chain, key) = (place.path(&format!("{domain}.crt")), place.path(&format!("{domain}.key")));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=test", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", &format!("subjectAltName=DNS:{domain}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&chain)
        .output()
        .context("cannot run openssl")?;
    if !output.status.success() {
        bail!("openssl made no certificate: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok((chain, key))
}
