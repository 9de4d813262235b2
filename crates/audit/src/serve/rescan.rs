//! A scan that is done anew by the clock and on request, and its last result. The scan has a thread of its own; who asks for the
//! result never waits for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

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
}

/// See the module.
#[derive(Debug, Default)]
pub struct Rescan {
    state: Mutex<State>,
    wake: Condvar,
}

impl Rescan {
    /// Scans now, and again each time `every` has passed or somebody asks. `now` is the time in seconds since 1970.
    pub fn start(
        mut scan: impl FnMut() -> Result<Vec<u8>, String> + Send + 'static,
        every: Duration,
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
                let asleep = |state: &mut State| !state.wanted;
                let waited = own.wake.wait_timeout_while(state, every, asleep);
                let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                state.wanted = false;
                state.refreshing = true;
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

    /// How things stand.
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
