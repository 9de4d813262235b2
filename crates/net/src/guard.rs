//! Where offences and bans go beside the packet path: a log that other programs read, the kernel's packet filter.

use std::sync::Arc;

use ringfort_guard::{BanChange, BanSet};
use ringfort_switch::io::OffenceReport;

/// Called by the shard thread: nothing in it may wait.
pub trait GuardSink: Send + 'static {
    /// A proven offence (GUARD-9).
    fn offence(&mut self, report: &OffenceReport);

    /// Every ban as it stands. Called before the changes that led to it are told one by one.
    fn bans(&mut self, bans: &Arc<BanSet>);

    /// A source is banned from now on, or free again; after a start, every ban that goes on (GUARD-7).
    fn ban(&mut self, change: BanChange);
}

/// Nobody else is told.
impl GuardSink for () {
    fn offence(&mut self, _: &OffenceReport) {}

    fn bans(&mut self, _: &Arc<BanSet>) {}

    fn ban(&mut self, _: BanChange) {}
}
