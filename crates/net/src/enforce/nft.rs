//! The `nft` program: where it is looked for, and one transaction through its standard input. No shell, no path of the
//! environment, a bounded time.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::EnforceError;

/// Where systems put it. Not `PATH`: whoever could set that would choose what runs with our rights.
const PLACES: [&str; 6] = [
    "/usr/sbin/nft",
    "/sbin/nft",
    "/usr/local/sbin/nft",
    "/usr/bin/nft",
    "/usr/local/bin/nft",
    "/run/current-system/sw/bin/nft",
];
/// One that takes longer hangs. A hundred thousand elements take half a second.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of what it says.
const MOST_OUTPUT: u64 = 64 << 20;

/// The program, found.
#[derive(Clone, Debug)]
pub struct Nft {
    path: PathBuf,
}

impl Nft {
    /// # Errors
    /// It is in none of the places.
    pub fn find() -> Result<Self, EnforceError> {
        let path = PLACES.iter().map(Path::new).find(|path| path.is_file());
        path.map(|path| Self { path: path.to_owned() }).ok_or(EnforceError::NoProgram)
    }

    /// One transaction: all of it, or nothing.
    ///
    /// # Errors
    /// What nft said.
    pub fn transact(&self, script: &str) -> Result<(), EnforceError> {
        self.run(&["-f", "-"], script).map(drop)
    }

    /// Whether nft can read it and the kernel would take it.
    ///
    /// # Errors
    /// As [`Nft::transact`].
    pub fn check(&self, script: &str) -> Result<(), EnforceError> {
        self.run(&["-c", "-f", "-"], script).map(drop)
    }

    /// A table without the elements of its sets.
    ///
    /// # Errors
    /// As [`Nft::transact`]; there is no such table.
    pub fn list_table(&self, table: &str) -> Result<String, EnforceError> {
        let words: Vec<&str> = ["-t", "list", "table"].into_iter().chain(table.split(' ')).collect();
        self.run(&words, "")
    }

    fn run(&self, words: &[&str], input: &str) -> Result<String, EnforceError> {
        let broken = |error: std::io::Error| EnforceError::Run { path: self.path.clone(), why: error.to_string() };
        let mut child = Command::new(&self.path)
            .args(words)
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(broken)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (ended, said, complaint) = thread::scope(|scope| {
            let said = scope.spawn(|| read(stdout));
            let complaint = scope.spawn(|| read(stderr));
            scope.spawn(move || {
                // Where it does not read to the end, its exit status says why.
                let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
            });
            // Whatever it does, it is ended here, and with it what the three threads wait for.
            let ended = wait(&mut child);
            (ended, said.join().unwrap_or_default(), complaint.join().unwrap_or_default())
        });
        match ended.map_err(broken)? {
            Some(true) => Ok(said),
            Some(false) => Err(EnforceError::from_words(&complaint)),
            None => Err(EnforceError::Run {
                path: self.path.clone(),
                why: format!("no end within {} seconds", PATIENCE.as_secs()),
            }),
        }
    }
}

fn read(stream: Option<impl Read>) -> String {
    let mut octets = Vec::new();
    if let Some(stream) = stream {
        // What was read until an error is what there is.
        let _ = stream.take(MOST_OUTPUT).read_to_end(&mut octets);
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// Whether it went well; `None`: it was killed.
#[allow(clippy::disallowed_methods, reason = "the edge of the system")]
fn wait(child: &mut Child) -> std::io::Result<Option<bool>> {
    let start = Instant::now();
    let mut nap = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(10));
    }
}
