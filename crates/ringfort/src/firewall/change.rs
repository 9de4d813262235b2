//! Putting the rules in force, with a way back that does not hang on the connection they came by: a process of its own
//! waits, and unless the change is confirmed it puts back what was there. Whoever takes the file `pending` away decides,
//! so that a confirmation and the end of the time cannot both win.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ringfort_net::enforce::{EnforceError, Nft};

use super::rules::{TABLE, removal};
use crate::random;

/// The watcher is a program that is loaded already.
const WATCHER_STARTS_WITHIN: Duration = Duration::from_secs(10);

/// The folder of a change that waits.
pub struct State {
    dir: PathBuf,
}

impl State {
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn make(&self) -> anyhow::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("cannot make {}", self.dir.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The id of the change that waits.
    pub fn pending(&self) -> Option<String> {
        fs::read_to_string(self.path("pending")).ok()
    }

    /// Whether it waited until now: from here on the caller decides what becomes of it.
    fn take(&self) -> bool {
        fs::remove_file(self.path("pending")).is_ok()
    }

    fn forget(&self) {
        for name in ["previous.nft", "watching"] {
            // They may not be there.
            let _ = fs::remove_file(self.path(name));
        }
    }
}

/// Words for a person, with what to do.
fn told(error: EnforceError) -> anyhow::Error {
    anyhow::anyhow!("{error}\n  {}", error.mend())
}

/// Puts the rules in force; they go after that time unless [`confirm`] comes.
///
/// # Errors
/// Another change waits; nft or the right is missing; nothing has changed then.
pub fn apply(state: &State, rules: &str, within: Duration) -> anyhow::Result<()> {
    let nft = Nft::find().map_err(told)?;
    nft.check(rules).map_err(told)?;
    if let Some(id) = state.pending() {
        if state.path("watching").exists() && is_alive(state) {
            bail!(
                "an earlier change still waits: `ringfort firewall confirm` keeps it, `ringfort firewall remove` takes it back"
            );
        }
        // Its watcher did not live to the end, as after a restart of the machine: so did its rules.
        tracing::debug!(id, "left over");
        state.take();
    }
    state.make()?;
    state.forget();
    let previous = match nft.list_table(TABLE) {
        Ok(rules) => rules,
        Err(EnforceError::Refused(_)) => String::new(),
        Err(error) => return Err(told(error)),
    };
    fs::write(state.path("previous.nft"), format!("{}{previous}", removal()))?;
    let id = format!("{:x}", random::number());
    fs::write(state.path("pending"), &id)?;
    let started = start_watcher(state, &id, within).and_then(|()| nft.transact(rules).map_err(told));
    if started.is_err() {
        state.take();
        state.forget();
    }
    started
}

/// Keeps what was put in force.
///
/// # Errors
/// Nothing waits: it has gone, or was never there.
pub fn confirm(state: &State) -> anyhow::Result<()> {
    if !state.take() {
        bail!("nothing waits to be confirmed: either no rules were applied, or their time was over and they are gone");
    }
    state.forget();
    Ok(())
}

/// Takes the rules away, waiting or confirmed. `false`: there were none.
///
/// # Errors
/// nft or the right is missing.
pub fn remove(state: &State) -> anyhow::Result<bool> {
    let nft = Nft::find().map_err(told)?;
    let there = match nft.list_table(TABLE) {
        Ok(_) => true,
        Err(EnforceError::Refused(_)) => false,
        Err(error) => return Err(told(error)),
    };
    nft.transact(&removal()).map_err(told)?;
    state.take();
    state.forget();
    Ok(there)
}

/// The watcher's whole life.
///
/// # Errors
/// What was there could not be put back.
#[allow(clippy::disallowed_methods, reason = "the edge of the system")]
pub fn watch(state: &State, id: &str, within: Duration) -> anyhow::Result<()> {
    // SAFETY: it takes no argument and changes this process alone. Where it fails, the process leads a session already.
    unsafe { libc::setsid() };
    let end = Instant::now() + within;
    fs::write(state.path("watching"), std::process::id().to_string())?;
    while Instant::now() < end {
        if state.pending().as_deref() != Some(id) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200).min(end.saturating_duration_since(Instant::now())));
    }
    if state.pending().as_deref() != Some(id) || !state.take() {
        return Ok(());
    }
    let nft = Nft::find().map_err(told)?;
    let previous = fs::read_to_string(state.path("previous.nft")).unwrap_or_default();
    // Better no rules than ones that shut the administrator out.
    let back = nft.transact(&previous).or_else(|_| nft.transact(&removal()));
    state.forget();
    back.map_err(told)
}

fn is_alive(state: &State) -> bool {
    let id = fs::read_to_string(state.path("watching")).unwrap_or_default();
    let words = fs::read(format!("/proc/{}/cmdline", id.trim())).unwrap_or_default();
    words.split(|octet| *octet == 0).any(|word| word == b"watch")
}

/// Starts it where the end of this session does not reach it, and waits until it watches.
#[allow(clippy::disallowed_methods, reason = "the edge of the system")]
fn start_watcher(state: &State, id: &str, within: Duration) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("where this program lies")?;
    let words = |command: &mut Command| {
        command.args(["firewall", "watch", id, &within.as_secs().to_string(), "--state"]).arg(&state.dir);
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    };
    // A session's end may take everything with it that was started in it, whatever it calls itself: systemd is asked first.
    let by_systemd = systemd_runs_here() && {
        let mut command = Command::new("/usr/bin/systemd-run");
        command.args(["--quiet", "--collect", &format!("--unit=ringfort-firewall-{id}"), "--"]).arg(&program);
        words(&mut command);
        command.status().is_ok_and(|status| status.success())
    };
    if !by_systemd {
        let mut command = Command::new(&program);
        words(&mut command);
        command.spawn().context("the process that takes the rules back did not start, so nothing was changed")?;
    }
    let start = Instant::now();
    while !state.path("watching").exists() {
        if start.elapsed() > WATCHER_STARTS_WITHIN {
            bail!("the process that takes the rules back did not start, so nothing was changed");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Whether systemd is there, and lives in the network whose rules are changed.
fn systemd_runs_here() -> bool {
    let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    Path::new("/run/systemd/system").is_dir() && network("1").is_some() && network("1") == network("self")
}
