//! The log of offences for programs such as fail2ban (GUARD-9): one line for each offence that counts, the address first.
//! Written by a thread of its own over a bounded queue, so that a slow disk never holds up signalling; opened anew when
//! somebody has moved it away.

#[cfg(test)]
mod fail2ban;

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfort_switch::io::OffenceReport;

use crate::time;

/// Lines that may wait for the disk; more are counted and left out.
const WAITING: usize = 4096;
/// Lines that are written in a second. Whoever is banned makes no more; a source that is spared could fill the disk.
const PER_SECOND: u32 = 500;
/// Of those that were left out it is told at the latest after this long.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Hands lines to the thread that writes them. The file is closed when the last one is dropped.
#[derive(Clone)]
pub struct OffenceLog {
    lines: SyncSender<String>,
    left_out: Arc<AtomicU64>,
}

impl OffenceLog {
    /// Opens the file for appending, and makes its folder where there is none. The thread ends with the last `OffenceLog`.
    ///
    /// # Errors
    /// What the system says of file, folder or thread.
    pub fn open(path: &Path) -> io::Result<(Self, JoinHandle<()>)> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let (lines, queue) = sync_channel(WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            path: path.to_owned(),
            file: append_to(path)?,
            left_out: left_out.clone(),
            failed: false,
            pace: Pace::new(now()),
        };
        let thread = std::thread::Builder::new()
            .name("offence-log".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || writer.run(&queue))?;
        Ok((Self { lines, left_out }, thread))
    }

    /// Queues one line.
    pub fn write(&self, report: &OffenceReport) {
        if self.lines.try_send(line(report)).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `ip[203.0.113.7] time=2026-11-27T18:00:01.234Z reason=authentication user="100" callee="102" …`. The time comes after
/// the address, or fail2ban takes it out and finds no match at the beginning of the line.
fn line(report: &OffenceReport) -> String {
    let mut line = String::with_capacity(160);
    let source = match report.source {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.to_string(),
    };
    let at = time::utc(report.at);
    let (date, clock) = at.split_once(' ').unwrap_or((&at, ""));
    let _ = write!(line, "ip[{source}] time={date}T{clock}.{:03}Z reason={}", report.at.0 % 1000, report.offence);
    for (name, value) in [
        ("user", report.user.reveal().as_str()),
        ("callee", report.callee.reveal().as_str()),
        ("rule", &report.rule),
        ("led_to", &report.counted),
    ] {
        let _ = write!(line, " {name}=\"");
        escape(&mut line, value);
        line.push('"');
    }
    line.push('\n');
    line
}

/// What a peer wrote stays within its quotes and on its line, whatever it is: a line of the log is never his to make.
fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            // Line ends of Unicode, and marks that turn the direction of what is read.
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "{}", c.escape_unicode());
            }
            c if c.is_control() => {
                let _ = write!(out, "{}", c.escape_unicode());
            }
            c => out.push(c),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

struct Writer {
    path: PathBuf,
    file: File,
    left_out: Arc<AtomicU64>,
    /// Said once, until it works again.
    failed: bool,
    pace: Pace,
}

/// How many lines this second may still have.
struct Pace {
    since: Instant,
    left: u32,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { since: now, left: PER_SECOND }
    }

    fn allows(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[allow(clippy::disallowed_methods, reason = "the edge of the system")]
fn now() -> Instant {
    Instant::now()
}

impl Writer {
    fn run(mut self, queue: &Receiver<String>) {
        let mut told = now();
        loop {
            let mut batch = String::new();
            let untold = self.left_out.load(Ordering::Relaxed) > 0;
            let first = match untold {
                true => queue.recv_timeout(TELL_AFTER),
                false => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let ended = first == Err(RecvTimeoutError::Disconnected);
            let mut next = first.ok();
            while let Some(line) = next {
                match self.pace.allows(now()) {
                    true => batch.push_str(&line),
                    false => drop(self.left_out.fetch_add(1, Ordering::Relaxed)),
                }
                next = if batch.len() < 64 * 1024 { queue.try_recv().ok() } else { None };
            }
            if ended || now().saturating_duration_since(told) >= TELL_AFTER {
                told = now();
                let left_out = self.left_out.swap(0, Ordering::Relaxed);
                if left_out > 0 {
                    // It begins with no address: nobody is blamed for it.
                    let _ = writeln!(batch, "# {left_out} offences left out: more came than are written");
                }
            }
            if batch.is_empty() {
                if ended {
                    return;
                }
                continue;
            }
            let result = self.follow().and_then(|()| self.file.write_all(batch.as_bytes()));
            match (result, self.failed) {
                (Ok(()), failed) => {
                    if failed {
                        tracing::info!(rule = "offence_log", "written again");
                    }
                    self.failed = false;
                }
                (Err(error), false) => {
                    self.failed = true;
                    tracing::error!(rule = "offence_log", %error, path = %self.path.display(), "offences not written");
                }
                (Err(_), true) => {}
            }
            if ended {
                return;
            }
        }
    }

    /// Opens the file anew where its name means another one, or none: it was rotated.
    fn follow(&mut self) -> io::Result<()> {
        let own = self.file.metadata()?;
        let same = std::fs::metadata(&self.path).is_ok_and(|now| now.ino() == own.ino() && now.dev() == own.dev());
        if !same {
            self.file = append_to(&self.path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_switch::model::Pii;
    use ringfort_switch::record::UnixMillis;

    fn report(source: &str, user: &str, callee: &str) -> OffenceReport {
        OffenceReport {
            at: UnixMillis(1_795_802_401_234),
            source: source.parse().unwrap(),
            offence: "authentication".into(),
            rule: "authentication".into(),
            user: Pii::new(user.into()),
            callee: Pii::new(callee.into()),
            counted: "1 of 5".into(),
        }
    }

    #[test]
    fn a_line_begins_with_the_address_and_has_the_time_after_it_guard_9() {
        assert_eq!(
            line(&report("203.0.113.7", "100", "00492012345")),
            "ip[203.0.113.7] time=2026-11-27T18:00:01.234Z reason=authentication user=\"100\" callee=\"00492012345\" \
             rule=\"authentication\" led_to=\"1 of 5\"\n"
        );
        assert!(line(&report("2001:db8::7", "", "")).starts_with("ip[2001:db8::7] time="));
    }

    #[test]
    fn whatever_a_peer_writes_it_is_one_line_with_one_address() {
        for evil in [
            "x\nip[198.51.100.1] time=…",
            "x\r\nip[198.51.100.1]",
            "\" ip[198.51.100.1]",
            "\\\" ip[198.51.100.1]",
            "a\u{2028}ip[198.51.100.1]",
            "a\u{85}ip[198.51.100.1]",
            "a\u{0}\u{1b}[2Jb",
            "a\u{202e}b",
        ] {
            let line = line(&report("203.0.113.7", evil, evil));
            assert_eq!(line.matches(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}', '\u{202e}']).count(), 1, "{line:?}");
            assert!(line.ends_with('\n') && line.starts_with("ip[203.0.113.7] "));
            assert!(!line.trim_end().contains(|c: char| c.is_control()), "{line:?}");
            // Quotes that are no escaped ones come in pairs around each value.
            let plain = line.replace("\\\\", "").replace("\\\"", "");
            assert_eq!(plain.matches('"').count(), 8, "{line}");
        }
    }

    #[test]
    fn more_than_a_bounded_number_of_lines_a_second_is_told_as_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offences.log");
        let (log, thread) = OffenceLog::open(&path).unwrap();
        let many = 3 * PER_SECOND as usize;
        for _ in 0..many {
            log.write(&report("192.168.1.7", "a", "b"));
        }
        drop(log);
        thread.join().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (notes, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
        let left_out = |note: &&str| note.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
        let told: usize = notes.iter().map(left_out).sum();
        assert_eq!(lines.len() + told, many);
        // A slow machine may take a second or two for it.
        assert!(told > 0 && lines.len() >= PER_SECOND as usize, "{} written, {told} left out", lines.len());
        assert!(lines.iter().all(|line| line.starts_with("ip[192.168.1.7] ")));
    }

    #[test]
    fn a_new_second_has_lines_again() {
        let start = now();
        let mut pace = Pace::new(start);
        assert!((0..PER_SECOND).all(|_| pace.allows(start)) && !pace.allows(start + Duration::from_millis(999)));
        assert!(pace.allows(start + Duration::from_secs(1)));
    }

    #[test]
    fn lines_go_to_the_file_of_that_name_even_when_it_was_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/offences.log");
        let (log, thread) = OffenceLog::open(&path).unwrap();
        let lines = |path: &Path| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
        let wait = |path: &Path, count: usize| {
            for _ in 0..500 {
                if lines(path) == count {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            panic!("expected {count} lines in {}, got {}", path.display(), lines(path));
        };
        log.write(&report("203.0.113.7", "a", "b"));
        wait(&path, 1);
        let old = dir.path().join("deep/offences.log.1");
        std::fs::rename(&path, &old).unwrap();
        log.write(&report("203.0.113.8", "a", "b"));
        wait(&path, 1);
        assert_eq!(lines(&old), 1);
        drop(log);
        thread.join().unwrap();
    }
}
