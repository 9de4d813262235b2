//! Rest between passes while a flood is dropped. To be woken for each packet costs several times what dropping it does;
//! with a pause the packets of some milliseconds share one wake-up. Whoever is served meanwhile waits no longer than
//! the pause, which SIP's own timers (T1 is 500 ms) do not notice.

use std::time::{Duration, Instant};

/// Dropped packets are counted over so long.
const WINDOW: Duration = Duration::from_millis(50);
/// With so many in a window (1,000 to 12,000 a second) a pause pays. Above, a wake-up finds a batch in any case, and the
/// packets of a pause would not fit into a socket buffer of the kernel's usual size (some 200 packets): honest ones
/// would be lost with the others.
const MANY: std::ops::Range<u32> = 50..600;
const PAUSE: Duration = Duration::from_millis(5);

/// Tells whether the shard is flooded with packets that it drops.
pub(crate) struct Flood {
    since: Instant,
    dropped: u32,
    on: bool,
}

impl Flood {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, dropped: 0, on: false }
    }

    /// A packet was dropped before parsing.
    pub(crate) fn dropped(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    /// How long to rest after a pass at `now`. `behind`: more waited than a batch, and a pause might lose some.
    pub(crate) fn pause(&mut self, now: Instant, behind: bool) -> Option<Duration> {
        if now.saturating_duration_since(self.since) >= WINDOW {
            // A window that was slept through says nothing about now.
            let stale = now.saturating_duration_since(self.since) >= WINDOW * 2;
            self.on = MANY.contains(&self.dropped) && !stale;
            (self.since, self.dropped) = (now, 0);
        }
        (self.on && !behind).then_some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Packets a second for a while, one a pass; gives the passes that ended in a pause.
    fn run(flood: &mut Flood, now: &mut Instant, per_second: u32, passes: u32) -> u32 {
        let mut pauses = 0;
        for _ in 0..passes {
            *now += Duration::from_secs(1) / per_second;
            flood.dropped();
            pauses += u32::from(flood.pause(*now, false).is_some());
        }
        pauses
    }

    #[test]
    fn some_hundred_dropped_packets_a_second_are_no_flood() {
        let mut now = start();
        let mut flood = Flood::new(now);
        assert_eq!(run(&mut flood, &mut now, 500, 1_000), 0);
    }

    #[test]
    fn a_flood_brings_pauses_after_a_window_and_they_end_with_it() {
        let mut now = start();
        let mut flood = Flood::new(now);
        let pauses = run(&mut flood, &mut now, 4_000, 4_000);
        assert!((3_790..=3_801).contains(&pauses), "{pauses}");
        assert_eq!(flood.pause(now, true), None, "not while packets wait");
        now += WINDOW;
        flood.pause(now, false);
        now += WINDOW;
        assert_eq!(flood.pause(now, false), None);
    }

    #[test]
    fn a_flood_that_would_overflow_the_socket_in_a_pause_brings_none() {
        let mut now = start();
        let mut flood = Flood::new(now);
        assert_eq!(run(&mut flood, &mut now, 20_000, 20_000), 0);
    }

    #[test]
    fn what_came_before_a_silence_does_not_count() {
        let mut now = start();
        let mut flood = Flood::new(now);
        for _ in 0..1_000 {
            flood.dropped();
        }
        now += Duration::from_secs(60);
        assert_eq!(flood.pause(now, false), None);
    }
}
