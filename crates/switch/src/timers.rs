//! The switch's own timers: an ordered set, so that what is not needed any more is taken out at once and a call that
//! ends leaves nothing behind. SIP's timers live in `ringfort_sip::endpoint`.

use std::collections::BTreeSet;
use std::time::Instant;

use ringfort_sip::dialog::DialogId;

use crate::arrival::HopId;
use crate::model::{CallId, TrunkId};
use crate::trunk::Wake;

/// What a wake-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Nobody answered in time.
    Ring(CallId),
    /// Not a word from the target that was asked.
    Unheard(CallId),
    /// The longest call time is over.
    MaxDuration(CallId),
    /// A call that costs money: its next step is due, or a warning.
    Spend(CallId),
    /// The relay did not report on a closed call's media in time.
    Quality(CallId),
    /// The next step of an announcement.
    Announce(CallId),
    /// A session refresh that could not be sent is due again.
    Refresh(DialogId),
    /// A trunk's host is to be located, or again.
    Sources(HopId),
    /// Bindings are looked over: expired ones go, phones behind NAT get a keep-alive.
    Sweep,
    Trunk(TrunkId, Wake),
    /// A provider has had its time to take a registration back.
    Leaving(u64),
    /// A test of a trunk: its next step, or its result goes.
    Trial(u64),
}

/// Timers by time, then by kind.
#[derive(Default)]
pub(crate) struct Timers {
    set: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub fn set(&mut self, at: Instant, timer: Timer) {
        self.set.insert((at, timer));
    }

    pub fn clear(&mut self, at: Instant, timer: Timer) {
        self.set.remove(&(at, timer));
    }

    pub fn next(&self) -> Option<Instant> {
        self.set.first().map(|(at, _)| *at)
    }

    /// The next timer that is due, taken out.
    pub fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.set.first()?;
        if at > now {
            return None;
        }
        self.set.pop_first();
        Some(timer)
    }
}
