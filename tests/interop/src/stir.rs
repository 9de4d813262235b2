//! Authorities, keys and signatures made by the `openssl` program, and a web server in Python to fetch certificates from.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::place::Place;
use crate::process::Running;

/// Runs `openssl` with the words of a line, and gives what it printed.
pub fn openssl(dir: &Path, line: &str) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("openssl")
        .args(line.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .context("cannot run openssl")?;
    if !output.status.success() {
        bail!("openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// An authority (`ca.pem`) and a carrier with a list of one number (`sp.key`, `sp.pem`), in the place's folder.
pub fn make_carrier(place: &Place, number: &str) -> anyhow::Result<()> {
    let mut list = format!("30:{:02x}:a2:{:02x}:16:{:02x}", number.len() + 4, number.len() + 2, number.len());
    for digit in number.bytes() {
        write!(list, ":{digit:02x}")?;
    }
    place.write(
        "extensions.cnf",
        &format!(
            "[authority]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
             [carrier]\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
             1.3.6.1.5.5.7.1.26=DER:{list}\n"
        ),
    )?;
    let dir = place.dir();
    openssl(dir, "ecparam -name prime256v1 -genkey -noout -out ca.key")?;
    openssl(dir, "req -new -key ca.key -subj /CN=OpenSSL-Authority -out ca.csr")?;
    openssl(
        dir,
        "x509 -req -in ca.csr -signkey ca.key -days 30 -extfile extensions.cnf -extensions authority -out ca.pem",
    )?;
    openssl(dir, "ecparam -name prime256v1 -genkey -noout -out sp.key")?;
    openssl(dir, "req -new -key sp.key -subj /CN=OpenSSL-Carrier -out sp.csr")?;
    openssl(
        dir,
        "x509 -req -in sp.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile extensions.cnf -extensions carrier -out sp.pem",
    )?;
    openssl(dir, "x509 -in sp.pem -noout -pubkey -out sp.pub")?;
    Ok(())
}

/// The signature of `openssl dgst` over a text, as r and s of 32 octets each.
pub fn signature(place: &Place, text: &str) -> anyhow::Result<Vec<u8>> {
    place.write("signed.txt", text)?;
    let der = openssl(place.dir(), "dgst -sha256 -sign sp.key signed.txt")?;
    ensure!(der.first() == Some(&0x30), "expected a SEQUENCE");
    let (mut at, mut fixed) = (2, Vec::new());
    for _ in 0..2 {
        let length = usize::from(der[at + 1]);
        let integer = &der[at + 2..at + 2 + length];
        let digits = integer.strip_prefix(&[0]).unwrap_or(integer);
        fixed.extend(std::iter::repeat_n(0, 32 - digits.len()));
        fixed.extend_from_slice(digits);
        at += 2 + length;
    }
    Ok(fixed)
}

/// Whether `openssl dgst` finds that the carrier signed this.
pub fn verifies(place: &Place, text: &str, signature: &[u8]) -> anyhow::Result<bool> {
    let mut integers = Vec::new();
    for half in signature.chunks(32) {
        let digits = half.iter().position(|octet| *octet != 0).map_or(&half[31..], |first| &half[first..]);
        let padded = digits[0] & 0x80 != 0;
        integers.extend([2, (digits.len() + usize::from(padded)) as u8]);
        integers.extend(padded.then_some(0));
        integers.extend_from_slice(digits);
    }
    let mut der = vec![0x30, integers.len() as u8];
    der.extend(integers);
    place.write("signed.txt", text)?;
    std::fs::write(place.path("signature.der"), der)?;
    Ok(openssl(place.dir(), "dgst -sha256 -verify sp.pub -signature signature.der signed.txt").is_ok())
}

/// A web server with TLS that serves the place's folder, and some paths that misbehave.
pub struct WebServer {
    _process: Running,
    pub address: SocketAddr,
    /// Its own certificate, to be trusted.
    pub ca: PathBuf,
}

const SERVER: &str = r#"
import http.server, ssl, sys, time

class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/moved/"):
            left = int(self.path.rsplit("/", 1)[1])
            self.send_response(302)
            self.send_header("Location", "/sp.pem" if left <= 1 else "/moved/%d" % (left - 1))
            self.end_headers()
        elif self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest")
            self.end_headers()
        elif self.path == "/page":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
        elif self.path == "/large":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1000):
                    self.wfile.write(b"x" * 1024)
            except OSError:
                pass
        elif self.path == "/slow":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            try:
                for _ in range(200):
                    self.wfile.write(b"x")
                    time.sleep(0.1)
            except OSError:
                pass
        else:
            super().do_GET()

server = http.server.ThreadingHTTPServer((sys.argv[1], 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("web.pem", "web.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("port %d." % server.server_address[1], flush=True)
server.serve_forever()
"#;

impl WebServer {
    pub fn start(place: &Place, ip: IpAddr) -> anyhow::Result<WebServer> {
        place.write("server.py", SERVER)?;
        let dir = place.dir();
        openssl(dir, "ecparam -name prime256v1 -genkey -noout -out web.key")?;
        openssl(
            dir,
            &format!(
                "req -x509 -new -key web.key -subj /CN=web -days 30 -addext subjectAltName=IP:{ip} -addext basicConstraints=critical,CA:FALSE -out web.pem"
            ),
        )?;
        let mut command = Command::new("python3");
        command.args(["-u", "server.py", &ip.to_string()]).current_dir(dir);
        let mut process = Running::start("web server", &mut command, &place.path("web.log"))?;
        process.wait_said("port ", Duration::from_secs(20))?;
        let port = process.said().split_once("port ").and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
        let address = SocketAddr::new(ip, port.context("the web server told no port")?);
        Ok(WebServer { _process: process, address, ca: place.path("web.pem") })
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.address)
    }
}
