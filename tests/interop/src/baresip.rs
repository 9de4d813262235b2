//! baresip: a phone that plays a WAV file into a call and writes what it hears into another one. It runs without a
//! sound card: `aufile` is its microphone, the `sndfile` filter its recorder.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::place::Place;
use crate::process::Running;
use crate::ringfort::{DOMAIN, Ringfort, bracketed};
use crate::wav;

/// How a baresip reaches the system and what it does there.
pub struct Baresip {
    /// Its folder's name within the place.
    pub name: &'static str,
    pub number: &'static str,
    pub ip: IpAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'static str,
    pub server_port: u16,
    /// baresip's `mediaenc`: `srtp-mand` for SDES; empty for none.
    pub mediaenc: &'static str,
    /// The tone it plays, Hz.
    pub tone: u16,
    /// How long it plays; then baresip hangs up.
    pub seconds: u32,
    pub rtp_ports: u16,
    pub answers: bool,
}

/// A baresip that runs.
pub struct Phone {
    pub process: Running,
    dir: PathBuf,
    control: SocketAddr,
}

impl Baresip {
    /// Starts it and waits until it is registered.
    pub fn start(&self, place: &Place, system: &Ringfort) -> anyhow::Result<Phone> {
        let dir = place.path(self.name);
        fs::create_dir_all(&dir)?;
        wav::write_tone(&dir.join("tone.wav"), self.tone, self.seconds)?;
        let Self { ip, transport, rtp_ports, .. } = self;
        let control = SocketAddr::new(*ip, 4444);
        let path = dir.display();
        let address = bracketed(*ip);
        let config = format!(
            "poll_method epoll\nsip_listen {address}:5070\nsip_verify_server no\ncall_local_timeout 60\n\
             call_max_calls 4\naudio_source aufile,{path}/tone.wav\n\
             ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\nausrc_format s16\n\
             auplay_format s16\nrtp_ports {rtp_ports}-{}\nrtp_stats yes\nnet_interface {ip}\n\
             module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule srtp.so\nmodule aufile.so\n\
             module sndfile.so\nsnd_path {path}\nmodule_app account.so\nmodule_app menu.so\n\
             module_app ctrl_tcp.so\nctrl_tcp_listen {address}:4444\n",
            rtp_ports + 100
        );
        fs::write(dir.join("config"), config)?;
        let extension = system.extension(self.number);
        let mode = if self.answers { "auto" } else { "manual" };
        let mediaenc = if self.mediaenc.is_empty() { String::new() } else { format!(";mediaenc={}", self.mediaenc) };
        let account = format!(
            "<sip:{}@{DOMAIN};transport={transport}>;auth_user={};auth_pass={};\
             outbound=\"sip:{}:{};transport={transport}\";regint=600;answermode={mode};audio_codecs=PCMA{mediaenc}\n",
            extension.number,
            extension.user,
            extension.password,
            bracketed(system.ip()),
            self.server_port
        );
        fs::write(dir.join("accounts"), account)?;
        fs::write(dir.join("contacts"), "")?;
        let mut command = Command::new("baresip");
        command.current_dir(&dir).arg("-f").arg(&dir).arg("-s").env("TERM", "dumb");
        let mut process = Running::start(self.name, &mut command, &place.path(&format!("{}.log", self.name)))?;
        process.wait_said("baresip is ready", Duration::from_secs(15))?;
        system.wait_registered(self.number, 1)?;
        Ok(Phone { process, dir, control })
    }
}

impl Phone {
    /// Calls a number; the call ends when the tone has been played.
    pub fn dial(&self, number: &str) -> anyhow::Result<()> {
        self.dial_uri(&format!("sip:{number}@{DOMAIN}"))
    }

    /// The same with a whole URI.
    pub fn dial_uri(&self, uri: &str) -> anyhow::Result<()> {
        self.command("dial", uri)
    }

    /// A command by the control connection: JSON in a netstring.
    pub fn command(&self, command: &str, parameters: &str) -> anyhow::Result<()> {
        let json = serde_json::json!({ "command": command, "params": parameters, "token": "test" }).to_string();
        let mut stream = TcpStream::connect(self.control).context("cannot reach baresip's control port")?;
        write!(stream, "{}:{json},", json.len())?;
        stream.flush()?;
        Ok(())
    }

    /// What it heard: samples per second, and the samples.
    pub fn heard(&self) -> anyhow::Result<(u32, Vec<i16>)> {
        let recorded = fs::read_dir(&self.dir)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .with_context(|| format!("no recording; baresip said:\n{}", self.process.said()))?;
        wav::read(&recorded)
    }
}
