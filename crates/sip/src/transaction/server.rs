//! INVITE and non-INVITE server transactions (RFC 3261 §17.2, RFC 6026 §7.1), and the repetition of 2xx by the core,
//! which lasts as long as the Accepted state and so shares its timers.

use std::time::{Duration, Instant};

use super::{Alarm, Clock};
use crate::timer::Timer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerState {
    /// No answer yet.
    Trying,
    Proceeding,
    /// INVITE: 2xx sent.
    Accepted,
    Completed,
    /// INVITE: the ACK for our refusal came.
    Confirmed,
    Terminated,
}

/// What a timer makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerFired {
    Resend,
    /// Timer L with the 2xx still unacknowledged.
    NoAck,
    Ended,
}

#[derive(Debug)]
pub(crate) struct ServerMachine {
    invite: bool,
    /// Whether the request came over a reliable transport.
    reliable: bool,
    state: ServerState,
    /// Interval of G or of the repetition of the 2xx.
    interval: Duration,
    resend: Option<Alarm>,
    end: Option<Alarm>,
    /// The 2xx has not been acknowledged.
    wants_ack: bool,
}

impl ServerMachine {
    pub(crate) fn new(invite: bool, reliable: bool) -> Self {
        let (state, interval) = (ServerState::Trying, Duration::ZERO);
        ServerMachine { invite, reliable, state, interval, resend: None, end: None, wants_ack: false }
    }

    /// A non-INVITE that was not answered at once: what is not answered in 64*T1 needs no answer any more.
    pub(crate) fn wait(&mut self, clock: &mut Clock<'_>) {
        self.end = Some(clock.arm(Timer::Unanswered, clock.table.f));
    }

    pub(crate) fn state(&self) -> ServerState {
        self.state
    }

    /// Whether the user has not given a final answer.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, ServerState::Trying | ServerState::Proceeding)
    }

    /// Whether a repeated request is answered with the latest answer again. A 2xx to INVITE is repeated by the core at
    /// its own times (RFC 6026 §7.1).
    pub(crate) fn repeats(&self) -> bool {
        matches!(self.state, ServerState::Proceeding | ServerState::Completed)
    }

    /// The 100 that the endpoint sends of itself.
    pub(crate) fn trying(&mut self) {
        if self.state == ServerState::Trying {
            self.state = ServerState::Proceeding;
        }
    }

    /// A provisional answer; it is repeated each minute, or whatever the table says, so that proxies keep waiting.
    pub(crate) fn provisional(&mut self, clock: &mut Clock<'_>, status: u16) {
        self.state = ServerState::Proceeding;
        if status > 100 {
            self.end = Some(clock.arm(Timer::Ringing, clock.table.ringing));
        }
    }

    pub(crate) fn finish(&mut self, clock: &mut Clock<'_>, status: u16) {
        let table = clock.table;
        self.resend = None;
        match (self.invite, status) {
            (true, 200..300) => {
                self.state = ServerState::Accepted;
                self.wants_ack = true;
                self.interval = table.t1;
                // Over any transport: a later hop may be unreliable (RFC 3261 §13.3.1.4).
                self.resend = Some(clock.arm(Timer::Accepted, table.t1));
                self.end = Some(clock.arm(Timer::L, table.l));
            }
            (true, _) => {
                self.state = ServerState::Completed;
                self.interval = table.t1;
                self.resend = (!self.reliable).then(|| clock.arm(Timer::G, table.t1));
                self.end = Some(clock.arm(Timer::H, table.h));
            }
            (false, _) if self.reliable || table.j.is_zero() => {
                self.state = ServerState::Terminated;
                self.end = None;
            }
            // The endpoint keeps the answer until timer J fires, and lets go of the machine.
            (false, _) => {
                self.state = ServerState::Completed;
                self.end = None;
            }
        }
    }

    /// The ACK for our refusal. True where it is the first.
    pub(crate) fn acknowledged(&mut self, clock: &mut Clock<'_>) -> bool {
        if self.state != ServerState::Completed || !self.invite {
            return false;
        }
        self.resend = None;
        if self.reliable {
            self.state = ServerState::Terminated;
            self.end = None;
        } else {
            self.state = ServerState::Confirmed;
            self.end = Some(clock.arm(Timer::I, clock.table.t4));
        }
        true
    }

    /// The ACK for our 2xx, or the dialog has gone: it is not repeated any more.
    pub(crate) fn settled(&mut self) {
        self.resend = None;
        self.wants_ack = false;
    }

    pub(crate) fn fired(&mut self, clock: &mut Clock<'_>, timer: Timer, at: Instant) -> Option<ServerFired> {
        if Alarm::fired(&mut self.resend, timer, at) {
            self.interval = (self.interval * 2).min(clock.table.t2);
            self.resend = Some(clock.arm(timer, self.interval));
            return Some(ServerFired::Resend);
        }
        if !Alarm::fired(&mut self.end, timer, at) {
            return None;
        }
        if timer == Timer::Ringing {
            self.end = Some(clock.arm(timer, clock.table.ringing));
            return Some(ServerFired::Resend);
        }
        self.resend = None;
        self.state = ServerState::Terminated;
        Some(if self.wants_ack { ServerFired::NoAck } else { ServerFired::Ended })
    }
}
