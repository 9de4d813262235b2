//! Bans in the kernel (GUARD-7): a thread that keeps the sets of a table of our own, `inet ringfort`, as the list of bans
//! says, by the `nft` program. Other tables are never touched. Whoever decides about bans sends what is new by
//! [`EnforceHandle::send`], which never blocks; [`Bans`] is asked for where everything has to be told again.

mod nft;
mod script;
mod thread;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ringfort_guard::{BanChange, Cidr, SourceKey, Until};

use crate::stats::EnforceCounters;
pub use crate::stats::EnforceStats;
pub use nft::Nft;
pub use script::{CHAIN, TABLE, remove as removal, table};

/// Everything that is to be in the kernel.
#[derive(Clone, Debug, Default)]
pub struct Bans {
    pub banned: Vec<(SourceKey, Until)>,
    /// Never dropped here, whatever is banned around them.
    pub free: Vec<Cidr>,
}

/// How bans reach the kernel.
pub struct EnforceConfig {
    /// The list as it is now; called on the thread, at the start and whenever a change may have been missed.
    pub bans: Box<dyn Fn() -> Bans + Send>,
    /// Changes that may wait; with one more, the whole list is told again.
    pub queue: usize,
    /// Changes within this time go in one transaction.
    pub gather: Duration,
    /// How often it is looked after whether the table is still there.
    pub check_every: Duration,
    /// Whether the table goes at [`Enforcer::stop`]. Otherwise it stays until its bans end.
    pub remove_at_stop: bool,
}

impl EnforceConfig {
    pub fn new(bans: impl Fn() -> Bans + Send + 'static) -> Self {
        Self {
            bans: Box::new(bans),
            queue: 4096,
            gather: Duration::from_millis(20),
            check_every: Duration::from_secs(5),
            remove_at_stop: false,
        }
    }
}

impl fmt::Debug for EnforceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnforceConfig").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// Why bans are not in the kernel. For the operator: [`EnforceError::mend`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnforceError {
    #[error("the program nft is not installed")]
    NoProgram,
    #[error("this process may not change the packet filter (it lacks CAP_NET_ADMIN)")]
    NoCapability,
    #[error("this kernel has no nf_tables: {0}")]
    NoKernel(String),
    #[error("{} cannot be run: {why}", path.display())]
    Run { path: PathBuf, why: String },
    #[error("nft refused: {0}")]
    Refused(String),
    #[error("the thread for bans in the kernel did not start: {0}")]
    Thread(String),
}

impl EnforceError {
    /// What nft wrote to its standard error.
    fn from_words(words: &str) -> Self {
        let first = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it did not say why");
        let first: String = first.chars().take(300).collect();
        let says = |text: &str| words.contains(text);
        if says("Operation not permitted") || says("Permission denied") || says("must be root") {
            EnforceError::NoCapability
        } else if says("not supported") || says("Invalid argument") && says("cache initialization") {
            EnforceError::NoKernel(first)
        } else {
            EnforceError::Refused(first)
        }
    }

    /// A command or a line of a unit file.
    pub fn mend(&self) -> &'static str {
        match self {
            EnforceError::NoProgram => "apt install nftables (or your system's package of that name)",
            EnforceError::NoCapability => {
                "run as root or with CAP_NET_ADMIN; under systemd: `systemctl edit ringfort` with the lines \
                 [Service] CapabilityBoundingSet=CAP_NET_ADMIN AmbientCapabilities=CAP_NET_ADMIN PrivateUsers=false \
                 RestrictAddressFamilies=AF_NETLINK; or [guard] nftables = \"off\" where it is meant so"
            }
            EnforceError::NoKernel(_) => "modprobe nf_tables; in a container, load it on the host",
            EnforceError::Run { .. } | EnforceError::Refused(_) | EnforceError::Thread(_) => {
                "`nft list ruleset` as root shows whether nft works here"
            }
        }
    }
}

/// What the thread is told.
enum ToThread {
    Change(BanChange),
    /// Look at what is flagged.
    Wake,
    Stop,
}

/// The thread that enforces bans.
#[derive(Debug)]
pub struct Enforcer {
    handle: EnforceHandle,
    thread: Option<JoinHandle<()>>,
}

/// Sends changes. Clones send to the same thread.
#[derive(Clone, Debug)]
pub struct EnforceHandle {
    queue: SyncSender<ToThread>,
    missed: Arc<AtomicBool>,
    stats: Arc<EnforceCounters>,
}

impl Enforcer {
    /// Makes the table with all that is banned now, and starts the thread.
    ///
    /// # Errors
    /// The program, the right or the kernel's part is missing. Nothing has been changed then.
    pub fn start(config: EnforceConfig) -> Result<Self, EnforceError> {
        let nft = Nft::find()?;
        let (queue, inbox) = sync_channel(config.queue.max(1));
        let handle = EnforceHandle { queue, missed: Arc::default(), stats: Arc::default() };
        let mut keeper = thread::Keeper::new(nft, config, inbox, handle.missed.clone(), handle.stats.clone());
        keeper.rebuild()?;
        let thread = std::thread::Builder::new()
            .name("bans".to_owned())
            .spawn(move || keeper.run())
            .map_err(|error| EnforceError::Thread(error.to_string()))?;
        Ok(Self { handle, thread: Some(thread) })
    }

    pub fn handle(&self) -> EnforceHandle {
        self.handle.clone()
    }

    /// What has been sent is carried out first.
    pub fn stop(mut self) {
        // The thread takes what is in the queue, so that there is room; where it is gone, nothing is left to stop.
        let _ = self.handle.queue.send(ToThread::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the thread.
            let _ = thread.join();
        }
    }
}

impl EnforceHandle {
    /// Never blocks. Call it after the list that [`EnforceConfig::bans`] gives has changed: where the queue is full, the
    /// thread takes the whole list instead.
    pub fn send(&self, change: BanChange) {
        match self.queue.try_send(ToThread::Change(change)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.missed.store(true, Ordering::Release),
            // It has been stopped.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Everything is told to the kernel again: for when what is never banned has changed.
    pub fn resynchronise(&self) {
        self.missed.store(true, Ordering::Release);
        // A full queue wakes it as well.
        let _ = self.queue.try_send(ToThread::Wake);
    }

    pub fn stats(&self) -> EnforceStats {
        self.stats.snapshot()
    }
}

/// Takes the table away, whoever made it. `false`: there was none.
///
/// # Errors
/// The program or the right is missing.
pub fn remove_table() -> Result<bool, EnforceError> {
    let nft = Nft::find()?;
    let there = match nft.list_table(TABLE) {
        Ok(_) => true,
        Err(EnforceError::Refused(_)) => false,
        Err(error) => return Err(error),
    };
    nft.transact(&script::remove())?;
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nft_says_tells_what_is_missing() {
        let said = |words| EnforceError::from_words(words);
        let right = "netlink: Error: cache initialization failed: Operation not permitted\n";
        assert_eq!(said(right), EnforceError::NoCapability);
        assert_eq!(said("Operation not permitted (you must be root)\n"), EnforceError::NoCapability);
        let kernel = "netlink: Error: cache initialization failed: Protocol not supported";
        assert!(matches!(said(kernel), EnforceError::NoKernel(_)));
        let other = "/dev/stdin:1:1-3: Error: syntax error, unexpected string\nfoo\n^^^\n";
        assert_eq!(said(other).to_string(), "nft refused: /dev/stdin:1:1-3: Error: syntax error, unexpected string");
        assert_eq!(said(""), EnforceError::Refused("it did not say why".into()));
    }
}
