//! Where offences and bans go beside the packet path: a log that other programs read, the kernel's packet filter.

use ringfort_guard::BanChange;
use ringfort_switch::io::OffenceReport;

/// Called by the shard thread: nothing in it may wait.
pub trait GuardSink: Send + 'static {
    /// A proven offence (GUARD-9).
    fn offence(&mut self, report: &OffenceReport);

    /// A source is banned from now on, or free again; after a start, every ban that goes on (GUARD-7).
    fn ban(&mut self, change: BanChange);
}

/// Nobody else is told.
impl GuardSink for () {
    fn offence(&mut self, _: &OffenceReport) {}

    fn ban(&mut self, _: BanChange) {}
}
