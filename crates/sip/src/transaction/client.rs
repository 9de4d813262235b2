//! INVITE and non-INVITE client transactions (RFC 3261 §17.1, RFC 6026 §7.2).

use std::time::{Duration, Instant};

use super::{Alarm, Clock};
use crate::timer::Timer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientState {
    /// Built but not sent: a BYE that waits for the ACK before it.
    Idle,
    /// "Calling" for INVITE, "Trying" for others.
    Trying,
    Proceeding,
    /// A final answer came (for INVITE: not a 2xx).
    Completed,
    /// INVITE: a 2xx came; more may follow (RFC 6026 §7.2).
    Accepted,
    Terminated,
}

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientStep {
    /// The user has not seen this one.
    Deliver,
    /// The same, and it is to be acknowledged by the transaction.
    DeliverAndAck,
    /// A final answer again: the ACK again.
    AckAgain,
    /// A 2xx while accepted: the core finds out whether it is a repetition or a fork.
    Core,
    Absorb,
}

/// What a timer makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientFired {
    Resend,
    /// Timer B, C or F.
    TimedOut,
    Ended,
}

#[derive(Debug)]
pub(crate) struct ClientMachine {
    invite: bool,
    /// Within a dialog: an INVITE may not stay provisional for ever.
    limited: bool,
    reliable: bool,
    state: ClientState,
    /// Interval of A or E.
    interval: Duration,
    resend: Option<Alarm>,
    end: Option<Alarm>,
}

impl ClientMachine {
    pub(crate) fn new(invite: bool) -> Self {
        let (state, interval) = (ClientState::Idle, Duration::ZERO);
        ClientMachine { invite, limited: false, reliable: false, state, interval, resend: None, end: None }
    }

    pub(crate) fn state(&self) -> ClientState {
        self.state
    }

    /// The request is sent within a dialog.
    pub(crate) fn limit(&mut self) {
        self.limited = true;
    }

    /// Whether a final answer is still to come.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, ClientState::Idle | ClientState::Trying | ClientState::Proceeding)
    }

    /// The request is being sent: timers A and B, or E and F.
    pub(crate) fn start(&mut self, clock: &mut Clock<'_>, reliable: bool) {
        self.state = ClientState::Trying;
        self.reliable = reliable;
        self.interval = clock.table.t1;
        let (resend, end, limit) =
            if self.invite { (Timer::A, Timer::B, clock.table.b) } else { (Timer::E, Timer::F, clock.table.f) };
        self.resend = (!reliable).then(|| clock.arm(resend, clock.table.t1));
        self.end = Some(clock.arm(end, limit));
    }

    pub(crate) fn answered(&mut self, clock: &mut Clock<'_>, status: u16) -> ClientStep {
        match self.state {
            ClientState::Idle | ClientState::Terminated => ClientStep::Absorb,
            ClientState::Trying | ClientState::Proceeding => self.first(clock, status),
            ClientState::Completed if self.invite && status >= 300 => ClientStep::AckAgain,
            ClientState::Accepted if (200..300).contains(&status) => ClientStep::Core,
            ClientState::Completed | ClientState::Accepted => ClientStep::Absorb,
        }
    }

    fn first(&mut self, clock: &mut Clock<'_>, status: u16) -> ClientStep {
        if status < 200 {
            if self.invite && self.state == ClientState::Trying {
                // RFC 3261 §17.1.1.2: neither A nor B in Proceeding. A cancelled INVITE keeps its limit C.
                self.resend = None;
                self.end = self.limited.then(|| clock.arm(Timer::C, clock.table.c));
            }
            self.state = ClientState::Proceeding;
            return ClientStep::Deliver;
        }
        self.resend = None;
        let table = clock.table;
        let (state, timer, wait) = match (self.invite, status) {
            (true, 200..300) => (ClientState::Accepted, Timer::M, table.m),
            (true, _) => (ClientState::Completed, Timer::D, if self.reliable { Duration::ZERO } else { table.d }),
            (false, _) => (ClientState::Completed, Timer::K, if self.reliable { Duration::ZERO } else { table.t4 }),
        };
        if wait.is_zero() {
            self.state = ClientState::Terminated;
            self.end = None;
        } else {
            self.state = state;
            self.end = Some(clock.arm(timer, wait));
        }
        if self.invite && status >= 300 { ClientStep::DeliverAndAck } else { ClientStep::Deliver }
    }

    /// CANCEL has been sent: the final answer has 64*T1 to come (RFC 3261 §9.1).
    pub(crate) fn cancelled(&mut self, clock: &mut Clock<'_>) {
        if self.state == ClientState::Proceeding {
            self.end = Some(clock.arm(Timer::C, clock.table.t1 * 64));
        }
    }

    /// Keeps an ended transaction a while so that the request can be sent again with what the answer asked for.
    pub(crate) fn retain(&mut self, clock: &mut Clock<'_>) {
        if self.state == ClientState::Terminated {
            self.state = ClientState::Completed;
            self.end = Some(clock.arm(Timer::Retained, clock.table.t4));
        }
    }

    pub(crate) fn fired(&mut self, clock: &mut Clock<'_>, timer: Timer, at: Instant) -> Option<ClientFired> {
        if Alarm::fired(&mut self.resend, timer, at) {
            self.interval = match (self.invite, self.state) {
                // A doubles without bound (B comes first), E up to T2 and is T2 once a provisional answer came.
                (true, _) => self.interval * 2,
                (false, ClientState::Proceeding) => clock.table.t2,
                (false, _) => (self.interval * 2).min(clock.table.t2),
            };
            self.resend = Some(clock.arm(timer, self.interval));
            return Some(ClientFired::Resend);
        }
        if !Alarm::fired(&mut self.end, timer, at) {
            return None;
        }
        self.resend = None;
        self.state = ClientState::Terminated;
        Some(match timer {
            Timer::B | Timer::C | Timer::F => ClientFired::TimedOut,
            _ => ClientFired::Ended,
        })
    }
}
