//! A scan that is done anew by the clock, on request and when what is scanned has changed, and its last result. The scan has a
//! thread of its own; who asks for the result never waits for it.

use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::cluster::{self, ClusterOptions, Seen};

/// Until a cluster that could not be asked at all is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// The last result, and what goes on.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// What the last scan that went well wrote; `None` before it.
    pub result: Option<Arc<[u8]>>,
    /// When that was, in seconds since 1970; 0 before it.
    pub last: u64,
    /// Whether a scan goes on.
    pub refreshing: bool,
    /// Why the last scan did not go well.
    pub error: Option<String>,
    /// Somebody asked for another one.
    wanted: bool,
    /// Something has changed since the last scan began.
    changed: bool,
}

/// How long it is at least and at most from one scan to the next.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Whatever changes meanwhile waits for so long.
    pub least: Duration,
    /// Also where nothing seems to have changed.
    pub most: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Rescan {
    state: Mutex<State>,
    wake: Condvar,
}

impl Rescan {
    /// Scans now, and again at this pace, or as soon as somebody asks. `now` is the time in seconds since 1970.
    pub fn start(
        mut scan: impl FnMut() -> Result<Vec<u8>, String> + Send + 'static,
        pace: Pace,
        now: fn() -> u64,
    ) -> Arc<Self> {
        let rescan = Arc::new(Self::default());
        rescan.lock().refreshing = true;
        let own = rescan.clone();
        thread::spawn(move || {
            loop {
                let result = scan();
                let mut state = own.lock();
                state.refreshing = false;
                match result {
                    Ok(bytes) => (state.result, state.last, state.error) = (Some(bytes.into()), now(), None),
                    Err(error) => state.error = Some(error),
                }
                let least = pace.least.min(pace.most);
                let rests = own.wake.wait_timeout_while(state, least, |state| !state.wanted);
                let (state, _) = rests.unwrap_or_else(PoisonError::into_inner);
                let asleep = |state: &mut State| !state.wanted && !state.changed;
                let waits = own.wake.wait_timeout_while(state, pace.most - least, asleep);
                let (mut state, _) = waits.unwrap_or_else(PoisonError::into_inner);
                (state.wanted, state.changed, state.refreshing) = (false, false, true);
            }
        });
        rescan
    }

    /// Asks for a scan; while one goes on, for none after it.
    pub fn refresh(&self) {
        let mut state = self.lock();
        if !state.refreshing {
            state.wanted = true;
            state.refreshing = true;
            self.wake.notify_all();
        }
    }

    /// What is scanned has changed: another scan is due, also where one goes on.
    pub fn changed(&self) {
        self.lock().changed = true;
        self.wake.notify_all();
    }

    /// How things stand.
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has this scan done again whenever something changes in the cluster, for as long as anybody holds it. `tell` hears of gaps.
pub fn follow(rescan: &Arc<Rescan>, cluster: ClusterOptions, tell: fn(&str)) {
    let rescan = Arc::downgrade(rescan);
    thread::spawn(move || {
        while rescan.strong_count() > 0 {
            let mut settled = false;
            let result = cluster::watch(&cluster, std::future::pending(), &mut |seen| {
                let Some(rescan) = rescan.upgrade() else { return ControlFlow::Break(()) };
                match seen {
                    Seen::Object { .. } | Seen::Gone { .. } if settled => rescan.changed(),
                    // What was there at first the scan itself has read.
                    Seen::Object { .. } | Seen::Gone { .. } => {}
                    Seen::Gap { list, why } => tell(&format!("{list}: {why}")),
                    Seen::Mended { list } => tell(&format!("{list}: read again")),
                    Seen::Settled { .. } => settled = true,
                }
                ControlFlow::Continue(())
            });
            if let Err(error) = result {
                tell(&error.to_string());
                thread::sleep(AGAIN);
            }
        }
    });
}
