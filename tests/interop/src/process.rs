//! Programs: whether they are there, starting them with their output in a file, waiting for what they say, and
//! ending them whatever happens.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Whether a program is on the path. Says so where it is not; panics where programs are required.
pub fn is_installed(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    if !found {
        let required = std::env::var("RINGFORT_TEST_PROGRAMS").is_ok_and(|value| value == "required");
        assert!(!required, "{program} is not installed, and RINGFORT_TEST_PROGRAMS=required");
        println!("skipped: {program} is not installed");
    }
    found
}

/// Where a program is that `scripts/setup.sh` installs by pip, apart from the path. Says so where it is not there; panics
/// where programs are required.
pub fn from_pip(program: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let path = cache.map(|cache| cache.join("ringfort/python/bin").join(program)).filter(|path| path.is_file());
    if path.is_none() {
        let required = std::env::var("RINGFORT_TEST_PROGRAMS").is_ok_and(|value| value == "required");
        assert!(!required, "scripts/setup.sh has not installed {program}, and RINGFORT_TEST_PROGRAMS=required");
        println!("skipped: {program} is not installed");
    }
    path
}

/// Polls until `done` gives something.
#[allow(clippy::disallowed_methods, reason = "waits for other programs, in real time")]
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = done()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {limit:?} in vain for {what}");
        }
        sleep(Duration::from_millis(20));
    }
}

/// A running program; it ends with its value.
pub struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts a program with stdout and stderr in `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        Self::start_with(name, command.stdin(Stdio::null()), log)
    }

    /// The same for a program that takes commands on its standard input.
    pub fn start_console(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        Self::start_with(name, command.stdin(Stdio::piped()), log)
    }

    fn start_with(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone()?;
        let child = command.stdout(out).stderr(err).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types a line.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("the program takes no input")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// Everything it has said.
    pub fn said(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The exit status where it has ended.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it says something.
    pub fn wait_said(&mut self, text: &str, limit: Duration) -> anyhow::Result<()> {
        let what = format!("{} to say {text:?}", self.name);
        wait_for(&what, limit, || {
            if self.said().contains(text) {
                return Ok(Some(()));
            }
            if let Some(status) = self.ended()? {
                bail!("{} ended ({status}) before it said {text:?}:\n{}", self.name, self.said());
            }
            Ok(None)
        })
        .with_context(|| format!("{} said:\n{}", self.name, tail(&self.said())))
    }

    /// Waits until it ends by itself, with success.
    pub fn finish(mut self, limit: Duration) -> anyhow::Result<String> {
        let name = self.name.clone();
        let waited = wait_for(&format!("{name} to end"), limit, || self.ended());
        let said = self.said();
        let status = waited.with_context(|| format!("{name} said:\n{}", tail(&said)))?;
        if !status.success() {
            bail!("{name} failed ({status}):\n{}", tail(&said));
        }
        Ok(said)
    }

    /// Ends it without asking (SIGKILL).
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits.
    pub fn terminate(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        Command::new("kill").arg(self.id().to_string()).status().context("cannot run kill")?;
        let name = self.name.clone();
        wait_for(&format!("{name} to end after SIGTERM"), limit, || self.ended())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The last lines.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(120)..].join("\n")
}
