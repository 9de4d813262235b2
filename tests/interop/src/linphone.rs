//! linphonec: linphone on the command line, with WAV files in place of a sound card.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::place::Place;
use crate::process::Running;
use crate::ringfort::{DOMAIN, Ringfort, bracketed};
use crate::wav;

/// How a linphone is set up.
pub struct Linphone {
    /// Its folder's name within the place.
    pub name: &'static str,
    pub number: &'static str,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    pub sip_port: u16,
    pub rtp_port: u16,
    /// The tone it plays, Hz.
    pub tone: u16,
    pub answers: bool,
}

/// A linphone that runs.
pub struct Phone {
    pub process: Running,
    dir: PathBuf,
}

impl Linphone {
    /// Starts it and waits until it is registered.
    pub fn start(&self, place: &Place, system: &Ringfort) -> anyhow::Result<Phone> {
        let Self { name, number, transport, sip_port, rtp_port, .. } = self;
        let dir = place.path(name);
        fs::create_dir_all(dir.join(".local/share/linphone"))?;
        wav::write_tone(&dir.join("tone.wav"), self.tone, 20)?;
        let extension = system.extension(number);
        let server = bracketed(system.ip());
        let (udp, tcp) = if *transport == "udp" { (*sip_port, 0) } else { (0, *sip_port) };
        let config = format!(
            "[sip]\nsip_port={udp}\nsip_tcp_port={tcp}\nsip_tls_port=0\ndefault_proxy=0\nguess_hostname=1\n\
             [rtp]\naudio_rtp_port={rtp_port}\n[video]\nenabled=0\ncapture=0\ndisplay=0\n\
             [auth_info_0]\nusername={number}\nuserid={}\npasswd={}\nrealm={DOMAIN}\n\
             [proxy_0]\nreg_proxy=<sip:{server}:5060;transport={transport}>\n\
             reg_route=<sip:{server}:5060;transport={transport};lr>\nreg_identity=<sip:{number}@{DOMAIN}>\n\
             reg_expires=600\nreg_sendregister=1\npublish=0\n",
            extension.user, extension.password
        );
        let file = dir.join("linphonerc");
        fs::write(&file, config)?;
        let mut command = Command::new("linphonec");
        command.current_dir(&dir).env("HOME", &dir).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        if self.answers {
            command.arg("-a");
        }
        command.arg("-c").arg(&file);
        let mut process = Running::start_console(name, &mut command, &place.path(&format!("{name}.log")))?;
        process.wait_said("linphonec>", Duration::from_secs(15))?;
        process.say("soundcard use files")?;
        process.say(&format!("record {}", dir.join("heard.wav").display()))?;
        process.say(&format!("play {}", dir.join("tone.wav").display()))?;
        system
            .wait_registered(number, 1)
            .map_err(|error| error.context(format!("linphonec said:\n{}", process.said())))?;
        Ok(Phone { process, dir })
    }
}

impl Phone {
    /// Calls a number.
    pub fn call(&mut self, number: &str) -> anyhow::Result<()> {
        self.process.say(&format!("call sip:{number}@{DOMAIN}"))
    }

    /// Hangs up.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.process.say("terminate")
    }

    /// What it heard: samples per second, and the samples.
    pub fn heard(&self) -> anyhow::Result<(u32, Vec<i16>)> {
        wav::read(&self.dir.join("heard.wav"))
    }
}
