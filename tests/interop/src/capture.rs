//! tshark on the loopback interface: what one side of a call got to see.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::place::Place;
use crate::process::Running;

/// A capture that runs.
pub struct Capture {
    process: Running,
    file: PathBuf,
}

impl Capture {
    /// Captures what these addresses send and get.
    pub fn start(place: &Place, addresses: &[IpAddr]) -> anyhow::Result<Self> {
        let file = place.path("capture.pcap");
        let filter: Vec<String> = addresses.iter().map(|ip| format!("host {ip}")).collect();
        let mut command = Command::new("tshark");
        command.args(["-i", "lo", "-q", "-F", "pcap", "-f", &filter.join(" or "), "-w"]).arg(&file);
        let mut process = Running::start("tshark", &mut command, &place.path("tshark.log"))?;
        process.wait_said("Capturing on", Duration::from_secs(20))?;
        Ok(Self { process, file })
    }

    /// Ends the capture once it has something.
    pub fn stop(mut self) -> anyhow::Result<Captured> {
        // dumpcap writes what it has every now and then; SIGTERM makes it write the rest.
        self.process.terminate(Duration::from_secs(10))?;
        Ok(Captured { file: self.file.clone() })
    }
}

/// A finished capture.
pub struct Captured {
    file: PathBuf,
}

impl Captured {
    /// The payloads of all UDP packets to or from `ip`, as they were on the wire.
    pub fn payloads(&self, ip: IpAddr) -> anyhow::Result<Vec<Vec<u8>>> {
        self.fields(&format!("ip.addr == {ip} && udp"), &["udp.payload"])?
            .into_iter()
            .map(|line| unhex(line.trim()))
            .collect()
    }

    /// The payloads of all UDP packets from `ip`.
    pub fn sent(&self, ip: IpAddr) -> anyhow::Result<Vec<Vec<u8>>> {
        self.fields(&format!("ip.src == {ip} && udp"), &["udp.payload"])?
            .into_iter()
            .map(|line| unhex(line.trim()))
            .collect()
    }

    /// The values of fields in the packets that match a display filter, one line per packet.
    pub fn fields(&self, filter: &str, fields: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file).args(["-Y", filter, "-T", "fields"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.output().context("cannot run tshark")?;
        if !output.status.success() {
            bail!("tshark failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }
}

fn unhex(text: &str) -> anyhow::Result<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair)?, 16).context("not hexadecimal"))
        .collect()
}
