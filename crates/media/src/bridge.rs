//! Offer/answer (RFC 3264, RFC 6337) of a back-to-back call: the caller's leg and any number of callee legs. Pure code:
//! SDP in, SDP out, and the commands that make the packet path do what the SDP says. Called by the switch; what crosses
//! from leg to leg is an allow-list (docs/sdp-allow-list.md).

mod error;
mod policy;

use std::time::Instant;

use bytes::Bytes;

pub use self::error::SdpReject;
pub use self::policy::{LegPolicy, SrtpPolicy};
use crate::ports::PortPool;
use crate::types::{Command, PortId, StreamId};

/// One leg of a bridge. Never reused within it. The first leg added is the anchor (the caller): every other leg talks to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegIx(pub u32);

/// What carries an answer, and so how binding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerIn {
    /// A 1xx that is not sent reliably: a later answer to the same offer may differ.
    Provisional,
    /// A reliable 1xx (RFC 3262): this is the answer; later calls give the same one.
    Reliable,
    /// A 2xx, a PRACK or an ACK: this is the answer and the exchange is over.
    Final,
}

/// The offer/answer state of one call. Every stream's port goes back to the pool by `remove_leg` or `close`.
#[derive(Debug)]
pub struct Bridge {
    seed: [u8; 32],
}

impl Bridge {
    /// A bridge without legs. The seed makes session ids and SRTP keys: 32 octets from a CSPRNG, never used twice.
    pub fn new(seed: [u8; 32]) -> Bridge {
        Bridge { seed }
    }

    /// A new leg; the first one is the anchor.
    pub fn add_leg(&mut self, policy: LegPolicy) -> LegIx {
        let _ = (policy, self.seed);
        LegIx(0)
    }

    /// The leg is gone (refused, cancelled, hung up): its streams are closed and its ports released.
    pub fn remove_leg(&mut self, now: Instant, leg: LegIx, ports: &mut PortPool) {
        let _ = (now, leg, ports);
    }

    /// The peer of that leg sent an offer.
    ///
    /// # Errors
    /// Says why it is refused; the state is as before.
    pub fn offer_received(&mut self, from: LegIx, sdp: &[u8]) -> Result<(), SdpReject> {
        let _ = (from, sdp);
        Err(SdpReject::UnknownLeg)
    }

    /// Our offer to that leg: made from the other side's waiting offer or, where none waits, from what the other side
    /// described last (a re-offer of our own).
    ///
    /// # Errors
    /// Nothing that this leg may have is left, or no port is free; the state is as before.
    pub fn offer_for(&mut self, now: Instant, to: LegIx, ports: &mut PortPool) -> Result<Bytes, SdpReject> {
        let _ = (now, to, ports);
        Err(SdpReject::UnknownLeg)
    }

    /// The peer of that leg answered our offer, by a 1xx, 2xx, PRACK or ACK. A later answer to the same offer may differ.
    ///
    /// # Errors
    /// Says why it cannot be used; the state is as before.
    pub fn answer_received(&mut self, from: LegIx, sdp: &[u8]) -> Result<(), SdpReject> {
        let _ = (from, sdp);
        Err(SdpReject::UnknownLeg)
    }

    /// Our answer to the offer that this leg's peer made, from what the other side described.
    ///
    /// # Errors
    /// No offer waits, or nothing is left that both sides have.
    pub fn answer_for(
        &mut self,
        now: Instant,
        to: LegIx,
        carried: AnswerIn,
        ports: &mut PortPool,
    ) -> Result<Bytes, SdpReject> {
        let _ = (now, to, carried, ports);
        Err(SdpReject::UnknownLeg)
    }

    /// Whether the SDP is word for word the one that this peer sent last (a session refresh): it needs no exchange with
    /// the other side; `offer_received` and `answer_for` at once answer it.
    pub fn is_refresh(&self, from: LegIx, sdp: &[u8]) -> bool {
        let _ = (from, sdp);
        false
    }

    /// Our last SDP to that leg as an offer, for a session refresh by re-INVITE (RFC 4028 §7.4); its answer goes to
    /// `answer_received`. `None`: nothing is agreed yet, or an exchange is open.
    pub fn refresh_offer(&mut self, to: LegIx) -> Option<Bytes> {
        let _ = to;
        None
    }

    /// The exchange failed (a re-INVITE or UPDATE got a failure): all legs are as before it.
    pub fn rollback(&mut self, now: Instant, ports: &mut PortPool) {
        let _ = (now, ports);
    }

    /// That leg talks to the anchor from now on. Without it the first leg that describes its media does.
    pub fn select(&mut self, winner: LegIx) {
        let _ = winner;
    }

    /// The leg that talks to the anchor.
    pub fn selected(&self) -> Option<LegIx> {
        None
    }

    /// Whether the anchor was told something that does not fit the leg it talks to now (it got another fork's answer, which
    /// cannot be taken back): `offer_for` the anchor in a re-INVITE mends it.
    pub fn needs_reoffer(&self) -> bool {
        false
    }

    /// SRTP was offered to this leg and refused with 488: offer RTP/AVP next, where the policy is `Offer`. Tells whether
    /// that makes a difference.
    pub fn fall_back_to_plain(&mut self, leg: LegIx) -> bool {
        let _ = leg;
        false
    }

    /// The peer's signalling comes from elsewhere now.
    pub fn set_policy(&mut self, leg: LegIx, policy: LegPolicy) {
        let _ = (leg, policy);
    }

    /// The streams of a leg, in the order of its m-lines.
    pub fn streams(&self, leg: LegIx) -> Vec<(StreamId, PortId)> {
        let _ = leg;
        Vec::new()
    }

    /// The leg that a stream belongs to.
    pub fn leg_of(&self, stream: StreamId) -> Option<LegIx> {
        let _ = stream;
        None
    }

    /// The call is over: all streams are closed, all ports released.
    pub fn close(&mut self, now: Instant, ports: &mut PortPool) {
        let _ = (now, ports);
    }

    /// What the packet path has to be told next, in order.
    pub fn poll_command(&mut self) -> Option<Command> {
        None
    }
}
