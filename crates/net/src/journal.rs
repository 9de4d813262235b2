//! Where the switch's records go before anything that depends on them is sent.

use std::io;

use ringfort_switch::record::JournalRecord;

/// A durable list of records. Called by the shard thread alone.
pub trait JournalSink: Send + 'static {
    /// Takes a record; it may stay in memory until the next `flush`.
    fn append(&mut self, record: &JournalRecord);

    /// Makes what was appended safe. Called once a pass, before the sends of that pass.
    ///
    /// # Errors
    /// What the disk says. The shard logs it, counts it, goes on, because a telephone system without a journal is
    /// better than none, and calls again soon: the sink keeps what it could not write.
    fn flush(&mut self) -> io::Result<()>;
}

/// Keeps nothing: for tests and for systems that want no records.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl JournalSink for NoJournal {
    fn append(&mut self, _: &JournalRecord) {}

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
