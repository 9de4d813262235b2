//! The thread that keeps the kernel's sets as the list of bans is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ringfort_guard::{BanChange, SourceKey, Until};

use super::script::{self, CHUNK, TABLE};
use super::{EnforceConfig, EnforceError, Nft, ToThread};
use crate::stats::EnforceCounters;

/// After a failure it is tried again, later each time.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// A look at the table reads its elements too: with many of them it is done less often, for a hundredth of the time.
const SHARE: u32 = 100;

pub(super) struct Keeper {
    nft: Nft,
    config: EnforceConfig,
    inbox: Receiver<ToThread>,
    /// A change found no room in the queue.
    missed: Arc<AtomicBool>,
    stats: Arc<EnforceCounters>,
    /// What is in the kernel, as far as we know.
    there: BTreeMap<SourceKey, Until>,
    /// What is new; `None`: lifted.
    pending: BTreeMap<SourceKey, Option<Until>>,
    /// When the sets are to be made anew after a failure, and the time to wait after the next one.
    broken: Option<(Instant, Duration)>,
    next_check: Instant,
    /// Dropped packets that a table counted which is gone.
    counted: (u64, u64),
    last_seen: (u64, u64),
}

impl Keeper {
    pub(super) fn new(
        nft: Nft,
        config: EnforceConfig,
        inbox: Receiver<ToThread>,
        missed: Arc<AtomicBool>,
        stats: Arc<EnforceCounters>,
    ) -> Self {
        let next_check = now() + config.check_every;
        Self {
            nft,
            config,
            inbox,
            missed,
            stats,
            there: BTreeMap::new(),
            pending: BTreeMap::new(),
            broken: None,
            next_check,
            counted: (0, 0),
            last_seen: (0, 0),
        }
    }

    pub(super) fn run(&mut self) {
        let mut gathered_by: Option<Instant> = None;
        loop {
            let due = [gathered_by, self.broken.map(|(at, _)| at), Some(self.next_check)].into_iter().flatten().min();
            let wait = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now()));
            match self.inbox.recv_timeout(wait) {
                Ok(ToThread::Change(change)) => {
                    match change {
                        BanChange::Banned { source, until } => self.pending.insert(source, Some(until)),
                        BanChange::Lifted { source } => self.pending.insert(source, None),
                    };
                    gathered_by = gathered_by.or_else(|| Some(now() + self.config.gather));
                }
                Ok(ToThread::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Ok(ToThread::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.missed.swap(false, Ordering::AcqRel) {
                self.rebuild_or_retry();
            }
            let now = now();
            if gathered_by.is_some_and(|by| by <= now) || self.pending.len() >= CHUNK {
                gathered_by = None;
                self.flush();
            }
            if self.broken.is_some_and(|(at, _)| at <= now) {
                self.rebuild_or_retry();
            }
            if self.next_check <= now {
                self.check();
            }
        }
        if self.config.remove_at_stop {
            if let Err(error) = self.nft.transact(&script::remove()) {
                self.failed(&error, "the bans stay in the kernel until they end");
            }
        } else {
            self.flush();
        }
    }

    /// Makes the table anew, with all that is banned.
    pub(super) fn rebuild(&mut self) -> Result<(), EnforceError> {
        // Whatever comes into the queue from here on is newer than the list, or says the same.
        let bans = (self.config.bans)();
        self.pending.clear();
        let start = now();
        let (first, rest) = bans.banned.split_at(bans.banned.len().min(CHUNK));
        // One transaction: a table that somebody changed is replaced without a moment in between.
        let table =
            [script::remove(), script::table(), script::free(&bans.free), script::elements(start, first)].concat();
        self.nft.transact(&table)?;
        self.counted = (self.counted.0 + self.last_seen.0, self.counted.1 + self.last_seen.1);
        self.last_seen = (0, 0);
        for chunk in rest.chunks(CHUNK) {
            let script = script::elements(now(), chunk);
            if !script.is_empty() {
                self.nft.transact(&script)?;
            }
        }
        self.there = bans.banned.into_iter().collect();
        self.stats.rebuilds.one();
        self.stats.elements.set(self.there.len() as u64);
        Ok(())
    }

    fn rebuild_or_retry(&mut self) {
        match self.rebuild() {
            Ok(()) => {
                if self.broken.take().is_some() {
                    tracing::info!(rule = "ban", bans = self.there.len(), "bans are in the kernel again");
                }
            }
            Err(error) => self.failed(&error, "they go on in this process; the kernel's part is tried again"),
        }
    }

    /// One transaction for all that is new.
    fn flush(&mut self) {
        // While it is broken, the next whole list has the changes in it.
        if self.pending.is_empty() || self.broken.is_some() {
            self.pending.clear();
            return;
        }
        let script = script::changes(now(), self.pending.iter());
        match self.nft.transact(&script) {
            Ok(()) => {
                for (source, until) in std::mem::take(&mut self.pending) {
                    match until {
                        Some(until) => drop(self.there.insert(source, until)),
                        None => drop(self.there.remove(&source)),
                    }
                }
                self.stats.transactions.one();
                self.stats.elements.set(self.there.len() as u64);
            }
            // Most likely somebody took our table away.
            Err(error) => {
                self.stats.failures.one();
                tracing::warn!(rule = "ban", %error, "the kernel did not take a change of bans: its table is made anew");
                self.rebuild_or_retry();
            }
        }
    }

    /// Whether the table is as we made it, and what it has dropped.
    fn check(&mut self) {
        let start = now();
        self.there.retain(|_, until| match until {
            Until::Time(end) => *end > start,
            Until::Revoked => true,
        });
        self.stats.elements.set(self.there.len() as u64);
        if self.broken.is_none() {
            match self.nft.list_table(TABLE).map(|listing| script::dropped(&listing)) {
                Ok(Some(seen)) => {
                    self.last_seen = seen;
                    self.stats.dropped_v4.set(self.counted.0 + seen.0);
                    self.stats.dropped_v6.set(self.counted.1 + seen.1);
                }
                Ok(None) | Err(EnforceError::Refused(_)) => {
                    tracing::warn!(rule = "ban", "somebody removed or changed the table {TABLE}: it is made anew");
                    self.rebuild_or_retry();
                }
                Err(error) => self.failed(&error, "they go on in this process; the kernel's part is tried again"),
            }
        }
        let end = now();
        self.next_check = end + self.config.check_every.max((end - start) * SHARE);
    }

    fn failed(&mut self, error: &EnforceError, consequence: &str) {
        self.stats.failures.one();
        let wait = self.broken.map_or(FIRST_RETRY, |(_, wait)| (wait * 2).min(LAST_RETRY));
        if self.broken.is_none() {
            tracing::warn!(rule = "ban", %error, mend = error.mend(), "bans do not reach the kernel: {consequence}");
        }
        self.broken = Some((now() + wait, wait));
    }
}

#[allow(clippy::disallowed_methods, reason = "the edge of the system")]
fn now() -> Instant {
    Instant::now()
}
