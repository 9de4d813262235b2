//! SIPp with our scenarios (`scenarios/*.xml`). It answers challenges by MD5 only and writes its own idea of the
//! digest URI, so each run is told the right one.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::place::Place;
use crate::process::Running;
use crate::ringfort::{DOMAIN, Extension, Ringfort, bracketed};
use crate::tls::Tunnel;

/// One run of SIPp.
pub struct Sipp {
    scenario: &'static str,
    local: IpAddr,
    port: u16,
    server: String,
    arguments: Vec<String>,
    /// What calls that come in are answered with.
    answers: Option<&'static str>,
    tls: bool,
}

impl Sipp {
    /// A run of `scenarios/SCENARIO.xml` at `local:port` against the system.
    pub fn new(scenario: &'static str, local: IpAddr, port: u16, system: &Ringfort) -> Self {
        Self::against(scenario, local, port, format!("{}:5060", bracketed(system.ip())))
    }

    /// The same against any server.
    pub fn against(scenario: &'static str, local: IpAddr, port: u16, server: String) -> Self {
        let arguments = ["-m", "1", "-nostdin", "-timeout", "40s", "-timeout_error", "-recv_timeout", "20000"]
            .map(str::to_owned)
            .to_vec();
        let sipp = Self { scenario, local, port, server, arguments, answers: None, tls: false };
        sipp.with(["-key", "domain", DOMAIN])
    }

    /// More arguments.
    pub fn with<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(str::to_owned));
        self
    }

    /// A value for `[name]` in the scenario.
    pub fn key(self, name: &str, value: &str) -> Self {
        self.with(["-key", name, value])
    }

    /// Whom the scenario speaks for.
    pub fn user(self, extension: &Extension) -> Self {
        self.with(["-s", &extension.number, "-au", &extension.user, "-ap", &extension.password])
    }

    /// Whom it calls.
    pub fn calls(self, number: &str) -> Self {
        self.key("callee", number).with(["-auth_uri", &format!("{number}@{DOMAIN}")])
    }

    /// Everything by one connection through the tunnel, with what a phone on TLS writes into Via and Contact.
    pub fn over_tls(mut self, tunnel: &Tunnel) -> Self {
        (self.server, self.tls) = (tunnel.address().to_string(), true);
        self.with(["-t", "t1"])
    }

    /// Calls that come in while the scenario runs are answered with that one.
    pub fn answers_with(mut self, scenario: &'static str) -> Self {
        self.answers = Some(scenario);
        self
    }

    /// The scenario's file; for TLS a copy that says so, because SIPp knows the connection as TCP.
    fn file(&self, place: &Place, scenario: &str) -> anyhow::Result<PathBuf> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{scenario}.xml"));
        if !self.tls {
            return Ok(file);
        }
        let text = std::fs::read_to_string(file)?;
        let text = text.replace("transport=[transport]", "transport=tls").replace("[transport]", "TLS");
        place.write(&format!("{scenario}-tls.xml"), &text)
    }

    /// Starts it.
    pub fn start(self, place: &Place) -> anyhow::Result<Running> {
        let scenario = self.file(place, self.scenario)?;
        let name = format!("sipp-{}-{}", self.scenario, self.port);
        let mut command = Command::new("sipp");
        command
            .current_dir(place.dir())
            .arg(&self.server)
            .arg("-sf")
            .arg(scenario)
            .args(["-i", &self.local.to_string(), "-p", &self.port.to_string()])
            .args(&self.arguments)
            .args(["-trace_err", "-error_file", &format!("{name}.errors")])
            .args(["-trace_msg", "-message_file", &format!("{name}.messages")]);
        if let Some(answers) = self.answers {
            command.arg("-oocsf").arg(self.file(place, answers)?);
        }
        Running::start(&name, &mut command, &place.path(&format!("{name}.log")))
    }

    /// Starts it and waits for its success.
    pub fn run(self, place: &Place) -> anyhow::Result<()> {
        let name = format!("sipp-{}-{}", self.scenario, self.port);
        let running = self.start(place)?;
        running.finish(Duration::from_secs(60)).map(drop).map_err(|error| {
            let read = |kind: &str| std::fs::read_to_string(place.path(&format!("{name}.{kind}"))).unwrap_or_default();
            error.context(format!("{name}\n{}\n{}", read("errors"), crate::process::tail(&read("messages"))))
        })
    }
}

/// Waits for a called SIPp that should end well by itself.
pub fn finish(place: &Place, scenario: &str, port: u16, running: Running) -> anyhow::Result<()> {
    running.finish(Duration::from_secs(60)).map(drop).map_err(|error| {
        let name = format!("sipp-{scenario}-{port}");
        let read = |kind: &str| std::fs::read_to_string(place.path(&format!("{name}.{kind}"))).unwrap_or_default();
        error.context(format!("{name}\n{}\n{}", read("errors"), crate::process::tail(&read("messages"))))
    })
}

/// Registers an extension's phone at `local:port`.
pub fn register(place: &Place, system: &Ringfort, number: &str, local: IpAddr, port: u16) -> anyhow::Result<()> {
    Sipp::new("register", local, port, system).user(system.extension(number)).with(["-auth_uri", DOMAIN]).run(place)
}
