//! The log of offences for programs such as fail2ban (GUARD-9): one line for each offence that counts, the address first.
//! Written by a thread of its own over a bounded queue, so that a slow disk never holds up signalling; opened anew when
//! somebody has moved it away.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use ringfort_switch::io::OffenceReport;

use crate::time;

/// Lines that may wait for the disk; more are counted and left out.
const WAITING: usize = 4096;

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
        let writer =
            Writer { path: path.to_owned(), file: append_to(path)?, left_out: left_out.clone(), failed: false };
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
}

impl Writer {
    fn run(mut self, queue: &Receiver<String>) {
        while let Ok(first) = queue.recv() {
            let mut batch = first;
            while batch.len() < 64 * 1024
                && let Ok(next) = queue.try_recv()
            {
                batch.push_str(&next);
            }
            let left_out = self.left_out.swap(0, Ordering::Relaxed);
            if left_out > 0 {
                // It begins with no address: nobody is blamed for it.
                let _ = writeln!(batch, "# {left_out} offences left out: more came than the disk took");
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
