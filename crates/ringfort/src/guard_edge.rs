//! What the shard tells of attackers, to the log that other programs read.

use ringfort_guard::BanChange;
use ringfort_net::GuardSink;
use ringfort_switch::io::OffenceReport;

use crate::offence_log::OffenceLog;

/// Called by the shard thread; hands everything on to other threads.
pub struct GuardEdge {
    pub offences: Option<OffenceLog>,
}

impl GuardSink for GuardEdge {
    fn offence(&mut self, report: &OffenceReport) {
        if let Some(log) = &self.offences {
            log.write(report);
        }
    }

    fn ban(&mut self, _: BanChange) {}
}
