//! Knot DNS as the authoritative name server of a test's own zones, on an address of the test's place.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::place::Place;
use crate::process::Running;

/// Beyond 1024, so that no right is needed; every place has addresses of its own.
const PORT: u16 = 30_053;

/// A running knotd; it ends with its value.
pub struct Knot {
    process: Option<Running>,
    dir: PathBuf,
    address: SocketAddr,
    serial: u32,
}

/// What stands at the top of every zone. Absences are good for `minimum` seconds (RFC 2308 §4).
fn head(zone: &str, serial: u32, minimum: u32) -> String {
    format!(
        "$ORIGIN {zone}.\n$TTL 3600\n@ {minimum} IN SOA ns.{zone}. hostmaster.{zone}. {serial} 3600 600 86400 {minimum}\n\
         @ IN NS ns.{zone}.\nns.{zone}. IN A 127.0.0.1\n"
    )
}

impl Knot {
    /// Starts it with zones: name, seconds that an absence is good for, records.
    pub fn start(place: &Place, ip: IpAddr, zones: &[(&str, u32, &str)]) -> anyhow::Result<Knot> {
        let dir = place.path("knot");
        for part in ["", "zones", "db"] {
            std::fs::create_dir_all(dir.join(part))?;
        }
        let mut knot = Knot { process: None, dir, address: SocketAddr::new(ip, PORT), serial: 0 };
        let show = knot.dir.display();
        let mut config = format!(
            "server:\n    rundir: \"{show}\"\n    listen: {ip}@{PORT}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
             log:\n  - target: stdout\n    any: info\n\
             database:\n    storage: \"{show}/db\"\n\
             template:\n  - id: default\n    storage: \"{show}/zones\"\n    file: \"%s.zone\"\n    zonefile-sync: -1\n    journal-content: none\n\
             zone:\n"
        );
        for (zone, minimum, records) in zones {
            let _ = writeln!(config, "  - domain: {zone}");
            knot.write(zone, *minimum, records)?;
        }
        std::fs::write(knot.config(), config)?;
        let log = knot.dir.join("log");
        let mut process = Running::start("knotd", Command::new("knotd").arg("-c").arg(knot.config()), &log)?;
        process.wait_said("server started", Duration::from_secs(20))?;
        for (zone, _, _) in zones {
            process.wait_said(&format!("[{zone}.] loaded"), Duration::from_secs(20))?;
        }
        knot.process = Some(process);
        Ok(knot)
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn config(&self) -> PathBuf {
        self.dir.join("knot.conf")
    }

    /// The file of a zone.
    pub fn zone_file(&self, zone: &str) -> PathBuf {
        self.dir.join("zones").join(format!("{zone}.zone"))
    }

    fn write(&mut self, zone: &str, minimum: u32, records: &str) -> anyhow::Result<()> {
        self.serial += 1;
        let text = format!("{}{records}\n", head(zone, self.serial, minimum));
        std::fs::write(self.zone_file(zone), text).with_context(|| format!("cannot write the zone {zone}"))
    }

    /// Changes a zone, and waits until it is in force.
    pub fn change(&mut self, zone: &str, minimum: u32, records: &str) -> anyhow::Result<()> {
        self.write(zone, minimum, records)?;
        let reload = ["--blocking", "zone-reload", zone];
        let output = Command::new("knotc").arg("-s").arg(self.dir.join("knot.sock")).args(reload).output()?;
        if !output.status.success() {
            bail!("knotc zone-reload {zone}: {}{}", text(&output.stdout), text(&output.stderr));
        }
        Ok(())
    }

    /// Stops it for good.
    pub fn stop(&mut self) {
        self.process = None;
    }
}

/// What kzonecheck says of a whole zone's file; it has to be content.
pub fn zone_check(zone: &str, file: &Path) -> anyhow::Result<()> {
    let Output { status, stdout, stderr } = Command::new("kzonecheck").args(["-o", zone]).arg(file).output()?;
    let said = format!("{}{}", text(&stdout), text(&stderr));
    if !status.success() || !said.trim().is_empty() {
        bail!("kzonecheck {zone}: {status}\n{said}{}", std::fs::read_to_string(file).unwrap_or_default());
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
