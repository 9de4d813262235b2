//! The machine that is checked: this one, or a tree of files that was one (`--root`). All that audits touch goes through here: files,
//! owners, the list of processes, the few programs that are started, and the clock.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::shell::fits;

/// How much an audit may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until an audit is ended.
    pub time: Duration,
    /// Bytes of a file that are read, and of what commands may print.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), output: 64 << 20 }
    }
}

/// What is looked at.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    /// The limits of each audit.
    pub limits: Limits,
    /// Now, in seconds since 1970.
    pub now: u64,
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

/// What a program that was started left.
#[derive(Debug)]
pub struct Finished {
    /// What it printed.
    pub out: Vec<u8>,
    /// What it complained of.
    pub err: Vec<u8>,
    /// Its exit status; 128 and more: a signal ended it.
    pub status: i32,
}

/// Why a program that was started did not finish.
#[derive(Debug)]
pub enum Unfinished {
    /// There is no such program.
    NotFound,
    /// It could not be started.
    NotStarted(io::Error),
    /// It took too long.
    TooLong,
    /// It printed too much.
    TooMuch,
}

/// The most symbolic links on the way to one file.
const MOST_LINKS: usize = 40;

impl Host {
    /// This machine, or the tree below `root`.
    pub fn new(root: Option<&Path>, now: u64, limits: Limits) -> Self {
        let root = root.map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
        let mut host = Self { root, limits, now, users: BTreeMap::new(), groups: BTreeMap::new() };
        host.users = host.names("/etc/passwd");
        host.groups = host.names("/etc/group");
        host
    }

    /// Whether it is this machine, where programs can be started.
    pub fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// A variable of the environment; a tree has none.
    pub fn environment(&self, name: &str) -> Option<String> {
        if self.is_live() { std::env::var(name).ok() } else { None }
    }

    /// When an audit that begins now has to be over.
    pub fn deadline(&self) -> Instant {
        #[allow(clippy::disallowed_methods)] // The thin edge: audits of a host take real time.
        let now = Instant::now();
        now + self.limits.time
    }

    /// Whether that time has come.
    pub fn is_over(&self, deadline: Instant) -> bool {
        left(deadline).is_none_or(|left| left.is_zero())
    }

    /// The file that a path of the host means; in a tree symbolic links are followed inside it, and `..` never leads out.
    fn place(&self, path: &str, follow_last: bool) -> io::Result<PathBuf> {
        let path = Path::new("/").join(path);
        if self.is_live() {
            return Ok(path);
        }
        let mut left: Vec<_> = path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
        let mut inside = PathBuf::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match Path::new(&part).components().next() {
                Some(Component::RootDir) => inside.clear(),
                Some(Component::ParentDir) => {
                    inside.pop();
                }
                Some(Component::Normal(name)) => {
                    let outside = self.root.join(&inside).join(name);
                    let link = if left.is_empty() && !follow_last { None } else { fs::read_link(&outside).ok() };
                    match link {
                        Some(target) => {
                            links += 1;
                            if links > MOST_LINKS {
                                return Err(io::Error::from_raw_os_error(40)); // ELOOP
                            }
                            left.extend(target.components().rev().map(|part| part.as_os_str().to_owned()));
                        }
                        None => inside.push(name),
                    }
                }
                _ => {}
            }
        }
        Ok(self.root.join(inside))
    }

    /// What is known of a file; `follow`: of what a symbolic link leads to.
    ///
    /// # Errors
    /// Where it is not there or not to be seen.
    pub fn metadata(&self, path: &str, follow: bool) -> Result<Metadata, String> {
        let place = self.place(path, follow).map_err(|error| words(&error))?;
        let found = if follow { fs::metadata(place) } else { fs::symlink_metadata(place) };
        found.map_err(|error| words(&error))
    }

    /// Whether something is there.
    pub fn exists(&self, path: &str) -> bool {
        self.metadata(path, true).is_ok()
    }

    /// A file's bytes. Devices and pipes are not read: they may never end.
    ///
    /// # Errors
    /// In the words of the system's programs.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let place = self.place(path, true).map_err(|error| words(&error))?;
        let kind = fs::metadata(&place).map_err(|error| words(&error))?.file_type();
        if kind.is_dir() {
            return Err("Is a directory".to_owned());
        }
        if kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket() {
            return Err("not a regular file, and not read".to_owned());
        }
        let mut bytes = Vec::new();
        let limit = self.limits.output as u64 + 1;
        File::open(&place).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(|error| words(&error))?;
        if bytes.len() as u64 == limit {
            return Err(format!("larger than {} MiB, and not read", self.limits.output >> 20));
        }
        Ok(bytes)
    }

    /// Where a symbolic link leads.
    pub fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.place(path, false).ok()?).ok()?;
        Some(target.display().to_string())
    }

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// In the words of the system's programs.
    pub fn list(&self, path: &str) -> Result<Vec<String>, String> {
        let place = self.place(path, true).map_err(|error| words(&error))?;
        let entries = fs::read_dir(place).map_err(|error| words(&error))?;
        let mut names: Vec<_> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// The files that fit a pattern, sorted.
    pub fn glob(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![if pattern.starts_with('/') { "/".to_owned() } else { String::new() }];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            let mut next = Vec::new();
            for folder in &found {
                let plain = plain(part);
                let names = match &plain {
                    Some(name) => vec![name.clone()],
                    None => self.list(if folder.is_empty() { "/" } else { folder }).unwrap_or_default(),
                };
                for name in names {
                    let path = format!("{folder}{name}");
                    let chosen =
                        plain.is_some() || (fits(part, &name) && (!name.starts_with('.') || part.starts_with('.')));
                    if chosen && self.metadata(&path, false).is_ok() {
                        next.push(format!("{path}/"));
                    }
                }
            }
            found = next;
        }
        let folders = pattern.ends_with('/');
        found.iter().map(|path| if folders { path.clone() } else { path.trim_end_matches('/').to_owned() }).collect()
    }

    /// A user's name.
    pub fn user(&self, id: u32) -> Option<&str> {
        self.users.get(&id).map(String::as_str)
    }

    /// A group's name.
    pub fn group(&self, id: u32) -> Option<&str> {
        self.groups.get(&id).map(String::as_str)
    }

    fn names(&self, path: &str) -> BTreeMap<u32, String> {
        let bytes = self.read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut names = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(id)) = (fields.next(), fields.nth(1).and_then(|id| id.parse().ok())) {
                names.entry(id).or_insert_with(|| name.to_owned());
            }
        }
        names
    }

    /// Starts a program with these arguments and waits for it; `input` is what it can read.
    ///
    /// # Errors
    /// Where it did not finish; what was started is ended then.
    pub fn start(
        &self,
        program: &str,
        arguments: &[String],
        input: Vec<u8>,
        deadline: Instant,
    ) -> Result<Finished, Unfinished> {
        let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Unfinished::NotFound,
                _ => Unfinished::NotStarted(error),
            })?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read to the end has what it wanted.
            thread::spawn(move || stdin.write_all(&input).and_then(|()| stdin.flush()));
        }
        let limit = self.limits.output as u64 + 1;
        let (sender, receiver) = mpsc::channel();
        let streams: [Option<Box<dyn io::Read + Send>>; 2] =
            [child.stdout.take().map(|out| Box::new(out) as _), child.stderr.take().map(|err| Box::new(err) as _)];
        for (which, stream) in streams.into_iter().flatten().enumerate() {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stream.take(limit).read_to_end(&mut bytes);
                let _ = sender.send((which, bytes));
            });
        }
        let mut read = [Vec::new(), Vec::new()];
        let mut failed = None;
        for _ in 0..2 {
            match receiver.recv_timeout(left(deadline).unwrap_or_default()) {
                Ok((_, bytes)) if bytes.len() as u64 == limit => failed = Some(Unfinished::TooMuch),
                Ok((which, bytes)) => read[which] = bytes,
                Err(_) => failed = Some(Unfinished::TooLong),
            }
            if failed.is_some() {
                break;
            }
        }
        // It may go on after it closed its streams.
        while failed.is_none() && child.try_wait().is_ok_and(|status| status.is_none()) {
            thread::sleep(Duration::from_millis(2));
            failed = self.is_over(deadline).then_some(Unfinished::TooLong);
        }
        if let Some(failed) = failed {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed);
        }
        let status = child.wait().map_err(Unfinished::NotStarted)?;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
        let [out, err] = read;
        Ok(Finished { out, err, status: status.code().unwrap_or(128 + signal) })
    }
}

fn left(deadline: Instant) -> Option<Duration> {
    #[allow(clippy::disallowed_methods)] // The thin edge: audits of a host take real time.
    let now = Instant::now();
    deadline.checked_duration_since(now)
}

/// A part of a pattern that is a plain name, without its backslashes.
fn plain(part: &str) -> Option<String> {
    let mut name = String::new();
    let mut characters = part.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' | '?' | '[' => return None,
            '\\' => name.extend(characters.next()),
            _ => name.push(character),
        }
    }
    Some(name)
}

/// An error of the system as its programs say it: without the number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
