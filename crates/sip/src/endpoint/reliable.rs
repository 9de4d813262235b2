//! Reliable provisional answers of ours (RFC 3262 §3): one at a time, repeated until its PRACK comes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;

use super::{Endpoint, EndpointError, Event, Response, ServerTx, clock};
use crate::header::HeaderName;
use crate::timer::{Owner, Timer};
use crate::transaction::Alarm;

/// Answers to one INVITE that may wait behind the one that is not acknowledged yet. A call needs two or three; a caller
/// that keeps its PRACKs back, or a callee that sends progress without end, must not fill our memory.
pub const MOST_WAITING: usize = 8;

/// The one that has been sent and not acknowledged.
struct Outstanding {
    rseq: u32,
    bytes: Bytes,
    interval: Duration,
    resend: Option<Alarm>,
    end: Option<Alarm>,
    has_body: bool,
}

/// The reliable answers to one INVITE.
pub(super) struct Reliable {
    next: u32,
    outstanding: Option<Outstanding>,
    queue: VecDeque<Response>,
    /// A 2xx that has to wait (RFC 3262 §3): an answer with a session description is not acknowledged.
    held: Option<Response>,
}

impl Reliable {
    /// Whether a PRACK with that number is for the outstanding answer; if so it is settled.
    pub(super) fn acknowledge(&mut self, rseq: u32) -> bool {
        let matches = self.outstanding.as_ref().is_some_and(|outstanding| outstanding.rseq == rseq);
        if matches {
            self.outstanding = None;
        }
        matches
    }

    pub(super) fn drop_queued(&mut self) {
        self.queue.clear();
        self.held = None;
    }

    /// The final answer is sent: nothing is repeated any more, but a late PRACK is still known.
    pub(super) fn stop(&mut self) {
        self.drop_queued();
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.resend = None;
            outstanding.end = None;
        }
    }

    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Keeps a 2xx back where it must not be sent yet; gives it back where it may.
    pub(super) fn hold(&mut self, r: Response) -> Option<Response> {
        let described = self.outstanding.as_ref().is_some_and(|outstanding| outstanding.has_body);
        if described || self.queue.iter().any(|queued| queued.body.is_some()) {
            self.held = Some(r);
            return None;
        }
        Some(r)
    }
}

impl Endpoint {
    /// Answers an INVITE provisionally so that the answer arrives (RFC 3262). Further ones wait for the PRACK of the
    /// one before, [`MOST_WAITING`] at most: one more is refused with [`EndpointError::TooManyProvisional`] and is lost,
    /// which costs the caller a hint about progress and nothing else, for what is agreed on stands in the 2xx as well.
    /// The peer must have said that it knows 100rel.
    pub fn respond_reliably(&mut self, now: Instant, tx: ServerTx, r: Response) -> Result<(), EndpointError> {
        let server = self.servers.get_mut(tx.0).ok_or(EndpointError::UnknownTransaction)?;
        if !server.machine.is_open() || server.reliable.as_ref().is_some_and(|reliable| reliable.is_holding()) {
            return Err(EndpointError::AlreadyAnswered);
        }
        if !(101..200).contains(&r.status) {
            return Err(EndpointError::BadStatus(r.status));
        }
        let knows = server.request.as_ref().is_some_and(|request| {
            request.has_option(HeaderName::Supported, "100rel") || request.has_option(HeaderName::Require, "100rel")
        });
        if server.kind != super::Kind::Invite || !knows {
            return Err(EndpointError::NotReliable);
        }
        let first = &mut self.rng;
        let reliable = server.reliable.get_or_insert_with(|| {
            // RFC 3262 §3: between 1 and 2^31 - 1; room is left to count on.
            let next = first.random_range(1..0x7000_0000);
            Box::new(Reliable { next, outstanding: None, queue: VecDeque::new(), held: None })
        });
        if reliable.queue.len() >= MOST_WAITING {
            return Err(EndpointError::TooManyProvisional);
        }
        if reliable.outstanding.is_some() || !reliable.queue.is_empty() {
            reliable.queue.push_back(r);
        } else {
            self.send_reliable(now, tx, &r);
        }
        Ok(())
    }

    fn send_reliable(&mut self, now: Instant, tx: ServerTx, r: &Response) {
        let Some(reliable) = self.servers.get_mut(tx.0).and_then(|server| server.reliable.as_mut()) else { return };
        let rseq = reliable.next;
        reliable.next += 1;
        self.answer(now, tx, r, Some(rseq));
        let Some(server) = self.servers.get_mut(tx.0) else { return };
        let (Some(reliable), Some(bytes)) = (&mut server.reliable, &server.last) else { return };
        let mut clock = clock(&mut self.timers, &self.config, now, Owner::Server(tx));
        let t1 = clock.table.t1;
        reliable.outstanding = Some(Outstanding {
            rseq,
            bytes: bytes.clone(),
            interval: t1,
            resend: Some(clock.arm(Timer::Reliable, t1)),
            end: Some(clock.arm(Timer::ReliableTimeout, t1 * 64)),
            has_body: r.body.is_some(),
        });
        // An offer in the INVITE has its answer now, once it is acknowledged.
        let dialog = server.dialog.filter(|_| r.body.is_some());
        if let Some(dialog) = dialog.and_then(|dialog| self.dialogs.get_mut(dialog.0)) {
            dialog.early_answered = true;
        }
    }

    /// After a PRACK: the next answer in line, or the 2xx that waited.
    pub(super) fn next_reliable(&mut self, now: Instant, tx: ServerTx) {
        let Some(server) = self.servers.get_mut(tx.0).filter(|server| server.machine.is_open()) else { return };
        let Some(reliable) = &mut server.reliable else { return };
        if let Some(next) = reliable.queue.pop_front() {
            self.send_reliable(now, tx, &next);
        } else if let Some(held) = reliable.held.take() {
            self.answer(now, tx, &held, None);
        }
    }

    pub(super) fn wake_reliable(&mut self, now: Instant, tx: ServerTx, timer: Timer, at: Instant) {
        let Some(server) = self.servers.get_mut(tx.0) else { return };
        let target = server.reply_target();
        let Some(outstanding) = server.reliable.as_mut().and_then(|reliable| reliable.outstanding.as_mut()) else {
            return;
        };
        if Alarm::fired(&mut outstanding.resend, timer, at) {
            let mut clock = clock(&mut self.timers, &self.config, now, Owner::Server(tx));
            outstanding.interval *= 2;
            outstanding.resend = Some(clock.arm(Timer::Reliable, outstanding.interval));
            let bytes = outstanding.bytes.clone();
            self.transmit(target, bytes);
        } else if Alarm::fired(&mut outstanding.end, timer, at) {
            if let Some(reliable) = &mut server.reliable {
                reliable.stop();
            }
            self.tell(Event::ReliableTimeout { tx });
        }
    }
}
