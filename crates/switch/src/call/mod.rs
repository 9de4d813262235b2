//! A call: the caller's leg, one leg for each phone that is tried, and the bridge that joins their media. One loop
//! owns all of them, so that what touches several legs is an ordinary function.

mod announce;
mod arrival;
mod blacklist;
mod challenge;
pub(crate) mod door;
mod ending;
pub(crate) mod outcome;
mod outside;
mod paying;
mod progress;
mod published;
mod session;
mod setup;
mod shown;
mod talkers;
mod voicemail;

use std::net::SocketAddr;
use std::time::Instant;

use ringfort_media::bridge::{Bridge, LegIx};
use ringfort_sip::dialog::DialogId;
use ringfort_sip::endpoint::{ClientTx, ServerTx};
use ringfort_sip::flow::Target;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::write::Headers;

pub(crate) use self::announce::{Announcements, Announcing};
pub(crate) use self::outside::{Way, loose_route};
pub(crate) use self::paying::{Answer, Hold, Paying, Purse};
pub(crate) use self::setup::{session_description, shorten};
pub(crate) use self::talkers::Talkers;
use crate::model::{CallId, Context, ExtensionId, LegId, ProfileId, TenantId, TrunkId};
use crate::record::Cdr;
use crate::trunk::TrunkUse;

/// Index of the caller's leg in `Call::legs`, and the anchor of its bridge.
pub(crate) const CALLER: usize = 0;

/// What an outstanding request of ours is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClientUse {
    /// The INVITE to one of the phones that are tried.
    Fork { call: CallId, leg: usize },
    /// An INVITE that was given up, to that trunk: a late 2xx is acknowledged and ended.
    Abandoned { trunk: Option<TrunkId> },
    /// A request within a call that was asked for by the other side: its answer goes back there.
    Relayed { call: CallId, to: usize, tx: ServerTx, offer: Offer },
    /// A relayed re-INVITE that its sender has cancelled: should `peer` accept it all the same, it is taken back.
    Withdrawn { call: CallId, peer: usize },
    /// A BYE, to that trunk: the system is not idle before it is answered or given up.
    Ending { trunk: Option<TrunkId> },
    /// Our own refresh of a session (RFC 4028).
    Refresh { call: CallId, leg: usize, offered: bool },
    /// One copy of a MESSAGE.
    Errand(ServerTx),
    /// It keeps or tries a trunk.
    Trunk(TrunkUse),
}

/// What a relayed request carries for the media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// No session description: INFO, MESSAGE.
    None,
    /// The asking side's offer; the answer is in the response.
    Made,
    /// A re-INVITE without SDP: the other side's offer is in the 2xx, the asking side's answer in its ACK.
    Late,
}

/// What a dialog belongs to.
#[derive(Clone, Debug)]
pub(crate) enum DialogUse {
    Leg {
        call: CallId,
        leg: usize,
    },
    /// The call is over; a BYE, with the Reason that the other side heard (RFC 3326), has to wait until the peer has
    /// acknowledged our 2xx (RFC 3261 §15).
    ByeOnAck {
        words: Headers,
        trunk: Option<TrunkId>,
    },
}

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LegState {
    /// The caller waits for our final answer.
    Asking(ServerTx),
    /// We wait for a phone's. `rung`: it has answered provisionally.
    Calling {
        tx: ClientTx,
        rung: bool,
    },
    Up,
    Gone,
}

/// One side of a call (CALL-11: it knows its tenant, profile and context from the start).
#[derive(Debug)]
pub(crate) struct Leg {
    pub id: LegId,
    pub tenant: TenantId,
    pub profile: ProfileId,
    pub context: Context,
    pub extension: Option<ExtensionId>,
    /// The trunk that it goes by.
    pub trunk: Option<TrunkId>,
    /// Which of the extension's phones it is, where that is known (`+sip.instance`, RFC 5626 §4.1).
    pub instance: Option<Box<str>>,
    pub media: LegIx,
    pub dialog: Option<DialogId>,
    /// Where its first request went, or came from.
    pub began_at: Option<Target>,
    /// Where its messages come from, once it has shown that it is there.
    pub talks_from: Option<SocketAddr>,
    pub state: LegState,
    /// The caller's leg: our 2xx has been acknowledged. A callee's leg: we have acknowledged.
    pub acked: bool,
    /// It has refused UPDATE: refreshes go by re-INVITE.
    pub refuses_update: bool,
    /// Since when refreshes and offers of ours fail, one after another.
    pub failing_since: Option<Instant>,
    /// Offers of ours that it has refused.
    pub offers_refused: u8,
    pub secure: bool,
}

impl Leg {
    /// A leg at its start, of nobody in particular, over a transport that is not secure, as the bridge's first.
    pub(crate) fn new(id: LegId, tenant: TenantId, profile: ProfileId, context: Context, state: LegState) -> Self {
        Self {
            id,
            tenant,
            profile,
            context,
            extension: None,
            trunk: None,
            instance: None,
            media: LegIx(0),
            dialog: None,
            began_at: None,
            talks_from: None,
            state,
            acked: false,
            refuses_update: false,
            failing_since: None,
            offers_refused: 0,
            secure: false,
        }
    }
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Phones ring.
    Setup,
    /// `legs[winner]` talks to the caller.
    Answered { winner: usize },
    /// The system itself does.
    Announced,
}

/// A call.
#[derive(Debug)]
pub(crate) struct Call {
    pub id: CallId,
    pub tenant: TenantId,
    pub legs: Vec<Leg>,
    pub bridge: Bridge,
    pub phase: Phase,
    pub cdr: Box<Cdr>,
    pub answered_at: Option<Instant>,
    pub started_at: Instant,
    pub ring_timer: Option<Instant>,
    pub max_timer: Option<Instant>,
    /// The caller's INVITE had no SDP: the callee offers in its 2xx (RFC 3261 §13.2.1).
    pub late_offer: bool,
    /// The best refusal so far, and the Reason that came with it.
    pub best: Option<(u16, Headers)>,
    /// The caller's INVITE.
    pub invite: ServerTx,
    /// The caller has been told that a phone rings.
    pub ringing_told: bool,
    /// The caller has been told something.
    pub progress_told: bool,
    /// An answer that is due in the ACK to this leg, where a 2xx of it carried the offer.
    pub owes_answer_to: Option<usize>,
    /// CSeq of the request whose ACK brings it: an ACK of an earlier one that is repeated is not it.
    pub owes_answer_cseq: u32,
    pub reliable_caller: bool,
    /// Set while it is on its way out of the house.
    pub way: Option<Box<Way>>,
    /// The trunk whose place it has.
    pub line: Option<TrunkId>,
    /// Set while it costs money.
    pub paying: Option<Box<Paying>>,
    /// Set where the system itself is the other side.
    pub announcing: Option<Box<Announcing>>,
}

impl Call {
    /// One that begins with the INVITE of `leg`. `offered`: with an SDP in it.
    pub fn begun(
        now: Instant,
        invite: ServerTx,
        cdr: Box<Cdr>,
        leg: Leg,
        bridge: Bridge,
        offered: bool,
        request: &Message,
    ) -> Self {
        let tenant = leg.tenant;
        // Most calls have two.
        let mut legs = Vec::with_capacity(2);
        legs.push(leg);
        Self {
            id: cdr.call,
            tenant,
            legs,
            bridge,
            phase: Phase::Setup,
            cdr,
            answered_at: None,
            started_at: now,
            ring_timer: None,
            max_timer: None,
            late_offer: !offered,
            best: None,
            invite,
            ringing_told: false,
            progress_told: false,
            owes_answer_to: None,
            owes_answer_cseq: request.cseq().number,
            // Without an offer of his, the first reliable answer would have to carry ours (RFC 3261 §13.2.1).
            reliable_caller: request.has_option(HeaderName::Require, "100rel")
                || request.has_option(HeaderName::Supported, "100rel") && offered,
            way: None,
            line: None,
            paying: None,
            announcing: None,
        }
    }

    /// The leg that talks to `leg`; none while phones ring, unless only one is left.
    pub fn peer_of(&self, leg: usize) -> Option<usize> {
        match self.phase {
            Phase::Answered { winner } if leg == CALLER => Some(winner),
            Phase::Answered { winner } if leg == winner => Some(CALLER),
            Phase::Answered { .. } | Phase::Announced => None,
            Phase::Setup if leg != CALLER => Some(CALLER),
            Phase::Setup => {
                let mut open = (1..self.legs.len()).filter(|&i| {
                    matches!(self.legs[i].state, LegState::Calling { .. }) && self.legs[i].dialog.is_some()
                });
                let only = open.next();
                if open.next().is_some() { None } else { only }
            }
        }
    }

    pub fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered { .. } | Phase::Announced)
    }

    /// Phones that have not refused yet.
    pub fn open_forks(&self) -> usize {
        self.legs[1..].iter().filter(|l| matches!(l.state, LegState::Calling { .. })).count()
    }

    /// What `ctl calls` calls its state.
    pub fn state_name(&self) -> &'static str {
        match self.phase {
            Phase::Announced => "announcing",
            Phase::Answered { .. } => "answered",
            Phase::Setup if self.progress_told => "ringing",
            Phase::Setup => "trying",
        }
    }
}
