//! The shard's end of a thread that asks others: questions out, answers in. The thread is started by the first question, so
//! that a system that asks nothing has none of them.

use std::fmt::Display;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::sys::epoll::Waker;

/// Somebody who asks others, from threads of its own.
pub(crate) trait Asker: Sized {
    type Config;
    type Query;
    type Answer: Send + 'static;
    /// For the log, where it does not start.
    const RULE: &'static str;
    const TROUBLE: &'static str;

    /// `answer` is called once for each question.
    fn start(
        config: &Self::Config,
        answer: impl Fn(Self::Answer) + Send + Sync + 'static,
    ) -> Result<Self, impl Display>;

    /// Never blocks.
    fn ask(&self, query: Self::Query);

    /// The answer where nobody can be asked.
    fn nobody(query: Self::Query) -> Self::Answer;
}

pub(crate) struct Link<A: Asker> {
    config: A::Config,
    started: Option<A>,
    /// Bounded by the questions that the core has open at once.
    answers: Receiver<A::Answer>,
    sender: Sender<A::Answer>,
    waker: Waker,
}

impl<A: Asker> Link<A> {
    /// `waker`: the shard's, woken when there are answers.
    pub(crate) fn new(config: A::Config, waker: Waker) -> Self {
        let (sender, answers) = channel();
        Self { config, started: None, answers, sender, waker }
    }

    /// Asks; where nobody can be asked, that is the answer.
    pub(crate) fn ask(&mut self, query: A::Query) {
        if self.started.is_none() {
            let (sender, waker) = (self.sender.clone(), self.waker.clone());
            let answer = move |answer| {
                // A shard that is gone waits for nothing.
                if sender.send(answer).is_ok() {
                    waker.wake();
                }
            };
            match A::start(&self.config, answer) {
                Ok(asker) => self.started = Some(asker),
                Err(error) => tracing::error!(rule = A::RULE, %error, "{}", A::TROUBLE),
            }
        }
        match &self.started {
            Some(asker) => asker.ask(query),
            None => {
                // Its own receiver is there as long as it is.
                let _ = self.sender.send(A::nobody(query));
                self.waker.wake();
            }
        }
    }

    pub(crate) fn poll_answer(&mut self) -> Option<A::Answer> {
        self.answers.try_recv().ok()
    }
}
