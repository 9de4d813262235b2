//! What a crash may lose, and what it must not (RUN-1): the journal as it stands, less what was registered in its last
//! moments; and what outsiders were told, which is what counts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ringfort_switch::model::ExtensionId;
use ringfort_switch::record::{Binding, GuardRecord, JournalRecord};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::net::Host;

/// What a crash may lose of the registrations.
pub(crate) const MAY_LOSE: Duration = Duration::from_millis(200);

/// What a phone was told of its registration last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub at: Instant,
    /// `None`: that it is gone.
    pub until: Option<Instant>,
}

/// The journal, and what was told.
#[derive(Default)]
pub(super) struct Kept {
    bindings: Vec<(Instant, JournalRecord)>,
    bans: BTreeMap<IpAddr, GuardRecord>,
    /// How many there were.
    pub banned: usize,
    /// A ban stands in the journal and is not in force yet, or the other way round.
    pub unsettled_ban: bool,
    /// How long a REGISTER asks for, by Call-ID and CSeq.
    asked: FxHashMap<(String, u32), u64>,
    answered: FxHashSet<(String, u32)>,
    told: BTreeMap<Host, Told>,
}

impl Kept {
    pub fn asked(&mut self, call_id: &str, cseq: u32, seconds: u64) {
        self.asked.insert((call_id.to_owned(), cseq), seconds);
    }

    /// The switch says 200 to a REGISTER; again where it is repeated.
    pub fn registered(&mut self, now: Instant, host: Host, call_id: &str, cseq: u32) {
        let key = (call_id.to_owned(), cseq);
        let Some(&seconds) = self.asked.get(&key) else { return };
        if self.answered.insert(key) {
            let until = (seconds > 0).then(|| now + Duration::from_secs(seconds));
            self.told.insert(host, Told { at: now, until });
        }
    }

    /// Nothing is known of a phone's registration any more: an operator had his hand in it.
    pub fn forget(&mut self, host: Host) {
        self.told.remove(&host);
    }

    pub fn told(&self) -> impl Iterator<Item = (Host, Told)> + '_ {
        self.told.iter().map(|(&host, &told)| (host, told))
    }

    pub fn binding(&mut self, now: Instant, record: JournalRecord) {
        self.bindings.push((now, record));
    }

    pub fn guard(&mut self, record: GuardRecord) {
        self.unsettled_ban = true;
        match record {
            GuardRecord::Banned { source, .. } => {
                self.banned += 1;
                self.bans.insert(source, record);
            }
            GuardRecord::Lifted { source } => {
                self.bans.remove(&source);
            }
            GuardRecord::Allowed { .. } | GuardRecord::Disallowed { .. } => {}
        }
    }

    /// The switch dies, and with it what the journal of registrations has of the time after `until`. What was told so shortly
    /// before counts no more.
    pub fn crashed(&mut self, now: Instant, until: Instant) {
        self.bindings.retain(|(at, _)| *at <= until);
        self.told.retain(|_, told| told.at + MAY_LOSE <= now);
    }

    pub fn bans(&self) -> Vec<GuardRecord> {
        self.bans.values().cloned().collect()
    }

    pub fn bindings(&self) -> Vec<Binding> {
        let mut live: BTreeMap<(ExtensionId, &str), &Binding> = BTreeMap::new();
        for (_, record) in &self.bindings {
            match record {
                JournalRecord::Bound(binding) => {
                    live.insert((binding.extension, &binding.key), binding);
                }
                JournalRecord::Unbound { extension, key } => {
                    live.remove(&(*extension, key.as_str()));
                }
                JournalRecord::CallStarted(_)
                | JournalRecord::CallEnded(_)
                | JournalRecord::CallQuality { .. }
                | JournalRecord::Guard(_)
                | JournalRecord::Spent(_)
                | JournalRecord::Blacklist(_) => {}
            }
        }
        live.into_values().cloned().collect()
    }
}
