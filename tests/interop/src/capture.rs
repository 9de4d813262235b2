//! tshark on the loopback interface: what one side of a call got to see.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::place::Place;
use crate::process::{Running, wait_for};

/// A capture that runs.
pub struct Capture {
    process: Running,
    file: PathBuf,
    own: IpAddr,
}

impl Capture {
    /// Captures what these addresses send and get, and what goes from or to the UDP ports of phones' media.
    pub fn start(place: &Place, addresses: &[IpAddr], media: Option<(u16, u16)>) -> anyhow::Result<Self> {
        let file = place.path("capture.pcap");
        let mut filter: Vec<String> = addresses.iter().map(|ip| format!("host {ip}")).collect();
        filter.extend(media.map(|(first, last)| format!("udp portrange {first}-{last}")));
        let mut command = Command::new("dumpcap");
        command.args(["-i", "lo", "-q", "-P", "-f", &filter.join(" or "), "-w"]).arg(&file);
        let mut process = Running::start("dumpcap", &mut command, &place.path("dumpcap.log"))?;
        process.wait_said("File:", Duration::from_secs(20))?;
        let own = *addresses.first().context("an address to capture at")?;
        Ok(Self { process, file, own })
    }

    /// Ends the capture when all that was sent before is in it: a datagram to a port where nobody listens marks the end.
    pub fn stop(mut self) -> anyhow::Result<Captured> {
        const MARK: &[u8] = b"end of the capture";
        let socket = UdpSocket::bind((self.own, 0))?;
        wait_for("the capture to be written", Duration::from_secs(10), || {
            socket.send_to(MARK, (self.own, 9))?;
            let written = std::fs::read(&self.file)?;
            Ok(written.windows(MARK.len()).any(|window| window == MARK).then_some(()))
        })?;
        self.process.terminate(Duration::from_secs(10))?;
        Ok(Captured { file: self.file.clone() })
    }
}

/// One UDP datagram: ports and payload.
pub struct Datagram {
    pub from: u16,
    pub to: u16,
    pub payload: Vec<u8>,
}

/// A finished capture.
pub struct Captured {
    file: PathBuf,
}

impl Captured {
    /// The UDP datagrams that match a display filter.
    pub fn datagrams(&self, filter: &str) -> anyhow::Result<Vec<Datagram>> {
        self.fields(&format!("udp && !icmp && ({filter})"), &["udp.srcport", "udp.dstport", "udp.payload"])?
            .into_iter()
            .map(|line| {
                let mut fields = line.split('\t');
                let mut field = || fields.next().context("a field is missing");
                Ok(Datagram { from: field()?.parse()?, to: field()?.parse()?, payload: unhex(field()?.trim())? })
            })
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
