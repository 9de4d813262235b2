//! The shard's end of fetching: certificates that the core asks for out, what came of them in. The threads behind it are started
//! by the first question.

use std::sync::mpsc::{Receiver, Sender, channel};

use ringfort_stir::{Fetch, FetchFailure, Query, QueryId};

use super::{FetchConfig, Fetcher};
use crate::sys::epoll::Waker;

pub(crate) struct StirLink {
    config: FetchConfig,
    started: Option<Fetcher>,
    /// Bounded by the fetches that the core has open at once.
    answers: Receiver<(QueryId, Fetch)>,
    sender: Sender<(QueryId, Fetch)>,
    waker: Waker,
}

impl StirLink {
    /// `waker`: the shard's, woken when there are answers.
    pub(crate) fn new(config: FetchConfig, waker: Waker) -> Self {
        let (sender, answers) = channel();
        Self { config, started: None, answers, sender, waker }
    }

    /// Asks; where nobody can be asked, that is the answer.
    pub(crate) fn ask(&mut self, query: Query) {
        if self.started.is_none() {
            let (sender, waker) = (self.sender.clone(), self.waker.clone());
            let answer = move |id, fetch| {
                // A shard that is gone waits for nothing.
                if sender.send((id, fetch)).is_ok() {
                    waker.wake();
                }
            };
            match Fetcher::start(&self.config, answer) {
                Ok(fetcher) => self.started = Some(fetcher),
                Err(error) => tracing::error!(rule = "stir.fetch", %error, "certificates cannot be fetched"),
            }
        }
        match &self.started {
            Some(fetcher) => fetcher.ask(query),
            None => {
                // Its own receiver is there as long as it is.
                let _ = self.sender.send((query.id, Fetch::Failed(FetchFailure::Busy)));
                self.waker.wake();
            }
        }
    }

    pub(crate) fn poll_answer(&mut self) -> Option<(QueryId, Fetch)> {
        self.answers.try_recv().ok()
    }
}
