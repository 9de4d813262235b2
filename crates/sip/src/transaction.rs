//! The four transaction machines of RFC 3261 §17 with the corrections of RFC 6026, without messages: they are told
//! what happened and say what is to be done. The endpoint holds the messages.

pub(crate) mod client;
pub(crate) mod server;

use std::time::{Duration, Instant};

use crate::timer::{Owner, Timer, TimerQueue, TimerTable};

/// What a machine needs to set a timer.
pub(crate) struct Clock<'a> {
    pub(crate) now: Instant,
    pub(crate) owner: Owner,
    pub(crate) queue: &'a mut TimerQueue,
    pub(crate) table: &'a TimerTable,
}

impl Clock<'_> {
    pub(crate) fn arm(&mut self, timer: Timer, after: Duration) -> Alarm {
        Alarm { timer, at: self.queue.arm(self.now, after, self.owner, timer) }
    }
}

/// A timer that is running. A wake-up for another instant or another timer is of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    timer: Timer,
    at: Instant,
}

impl Alarm {
    /// Takes the alarm out of its place where it is the one that fired.
    pub(crate) fn fired(place: &mut Option<Alarm>, timer: Timer, at: Instant) -> bool {
        let fired = *place == Some(Alarm { timer, at });
        if fired {
            *place = None;
        }
        fired
    }
}
