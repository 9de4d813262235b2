//! What the shard tells of attackers: to the log that other programs read, and to the kernel.

use std::sync::{Arc, Mutex, PoisonError};

use ringfort_guard::{BanChange, BanSet, Cidr};
use ringfort_net::GuardSink;
use ringfort_net::enforce::{Bans, EnforceHandle};
use ringfort_switch::io::OffenceReport;

use crate::offence_log::OffenceLog;

/// The bans as they stand, for the thread that has them in the kernel.
#[derive(Clone)]
pub struct BanList(Arc<Mutex<Arc<BanSet>>>);

impl BanList {
    pub fn new(bans: Arc<BanSet>) -> Self {
        Self(Arc::new(Mutex::new(bans)))
    }

    /// Everything that is to be in the kernel.
    pub fn bans(&self) -> Bans {
        let set = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Bans { banned: set.list(), free: set.spared().to_vec() }
    }

    fn put(&self, set: Arc<BanSet>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = set;
    }
}

/// Called by the shard thread; hands everything on to other threads.
pub struct GuardEdge {
    pub offences: Option<OffenceLog>,
    pub list: BanList,
    pub kernel: Option<EnforceHandle>,
    /// What the kernel spares.
    pub spared: Vec<Cidr>,
}

impl GuardSink for GuardEdge {
    fn offence(&mut self, report: &OffenceReport) {
        if let Some(log) = &self.offences {
            log.write(report);
        }
    }

    fn bans(&mut self, bans: &Arc<BanSet>) {
        self.list.put(bans.clone());
        if let Some(kernel) = self.kernel.as_ref().filter(|_| self.spared != bans.spared()) {
            self.spared = bans.spared().to_vec();
            kernel.resynchronise();
        }
    }

    fn ban(&mut self, change: BanChange) {
        if let Some(kernel) = &self.kernel {
            kernel.send(change);
        }
    }
}
