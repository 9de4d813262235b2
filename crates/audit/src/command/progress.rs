//! How far a scan is: a line of a terminal that is drawn over and taken away. Short scans show none.

use std::io::Write;
use std::time::{Duration, Instant};

/// A scan that ends before shows nothing.
const PATIENCE: Duration = Duration::from_millis(600);
/// From one drawing to the next.
const BETWEEN: Duration = Duration::from_millis(120);
/// Cells of the bar.
const CELLS: usize = 28;
/// Takes the line away.
const AWAY: &str = "\r\x1b[2K";

/// The line, and when it was drawn.
pub(super) struct Progress<'o> {
    out: &'o mut dyn Write,
    all: usize,
    started: Instant,
    drawn: Option<Instant>,
    shown: bool,
}

impl<'o> Progress<'o> {
    /// Of a scan of so many files that begins at `now`.
    pub(super) fn new(out: &'o mut dyn Write, all: usize, now: Instant) -> Self {
        Self { out, all, started: now, drawn: None, shown: false }
    }

    /// Takes the line away, so that something else can be written. What a terminal does not take is no reason to end a scan.
    pub(super) fn away(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = self.out.write_all(AWAY.as_bytes()).and_then(|()| self.out.flush());
        }
    }

    /// Draws it where it is time.
    pub(super) fn draw(&mut self, done: usize, failures: impl FnOnce() -> usize, now: Instant) {
        let soon = now < self.started + PATIENCE || self.drawn.is_some_and(|drawn| now < drawn + BETWEEN && self.shown);
        if soon || done >= self.all {
            return;
        }
        self.drawn = Some(now);
        self.shown = true;
        let line = format!("{AWAY}{}", line(done, self.all, failures()));
        let _ = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
    }
}

fn line(done: usize, all: usize, failures: usize) -> String {
    let full = done * CELLS / all.max(1);
    let bar = "█".repeat(full) + &"░".repeat(CELLS.saturating_sub(full));
    let findings = if failures == 1 { "finding" } else { "findings" };
    format!("{bar} {:>3} %  {done} of {all} files, {failures} {findings}", done * 100 / all.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // Only for a beginning; what follows is counted from it.
    fn the_line_comes_when_a_scan_takes_long_and_is_taken_away() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, 200, start);
        progress.draw(10, || 0, after(100));
        progress.away();
        progress.draw(50, || 1, after(700));
        progress.draw(51, || 1, after(750));
        progress.away();
        progress.draw(52, || 2, after(760));
        progress.draw(200, || 2, after(2_000));
        progress.away();
        let line = |full: usize, rest: &str| format!("{AWAY}{}{} {rest}", "█".repeat(full), "░".repeat(CELLS - full));
        let expected = [
            line(7, " 25 %  50 of 200 files, 1 finding"),
            AWAY.to_owned(),
            line(7, " 26 %  52 of 200 files, 2 findings"),
            AWAY.to_owned(),
        ];
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected.concat());
    }
}
