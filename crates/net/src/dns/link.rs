//! The shard's end of the DNS: questions out, answers in. The thread behind it is started by the first question, so that
//! a system without trunks and domain calls needs no name server.

use std::sync::mpsc::{Receiver, Sender, channel};

use ringfort_sip::locate::{Answer, Query, QueryFailure, QueryId};

use super::{Dns, DnsConfig};
use crate::sys::epoll::Waker;

pub(crate) struct DnsLink {
    config: DnsConfig,
    started: Option<Dns>,
    /// Bounded by the questions that the core has open at once.
    answers: Receiver<(QueryId, Answer)>,
    sender: Sender<(QueryId, Answer)>,
    waker: Waker,
}

impl DnsLink {
    /// `waker`: the shard's, woken when there are answers.
    pub(crate) fn new(config: DnsConfig, waker: Waker) -> Self {
        let (sender, answers) = channel();
        Self { config, started: None, answers, sender, waker }
    }

    /// Asks; where nobody can be asked, that is the answer.
    pub(crate) fn ask(&mut self, query: Query) {
        if self.started.is_none() {
            let (sender, waker) = (self.sender.clone(), self.waker.clone());
            let answer = move |id, answer| {
                // A shard that is gone waits for nothing.
                if sender.send((id, answer)).is_ok() {
                    waker.wake();
                }
            };
            match Dns::start(&self.config, answer) {
                Ok(dns) => self.started = Some(dns),
                Err(error) => tracing::error!(rule = "dns", %error, "the DNS cannot be asked"),
            }
        }
        match &self.started {
            Some(dns) => dns.ask(query),
            None => {
                // Its own receiver is there as long as it is.
                let _ = self.sender.send((query.id, Answer::Failed(QueryFailure::Unreachable)));
                self.waker.wake();
            }
        }
    }

    pub(crate) fn poll_answer(&mut self) -> Option<(QueryId, Answer)> {
        self.answers.try_recv().ok()
    }
}
