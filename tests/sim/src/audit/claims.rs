//! 2xx to INVITEs of the switch (RFC 3261 §13.2.2.4): each one is acknowledged at once, one dialog of each INVITE is kept at
//! the most, and an answer as of another dialog is hung up on at once.

use std::time::{Duration, Instant};

use ringfort_sip::message::Message;
use rustc_hash::FxHashMap;

/// How long the transaction takes further 2xx (RFC 6026 §8.7, timer M: 64*T1), less the time on the way.
const TAKES_MORE: Duration = Duration::from_secs(25);
/// How long an INVITE waits for its first word (RFC 3261 §17.1.1.2, timer B).
const WAITS: Duration = Duration::from_secs(32);

/// One INVITE out of a dialog, by its Call-ID.
#[derive(Default)]
struct Claim {
    from_tag: String,
    /// It carried an offer: the ACK need not wait for anybody.
    offered: bool,
    /// A refusal was the final answer, or a CANCEL went out and the transaction may be gone.
    refused: bool,
    answered_at: Option<Instant>,
    /// When it was sent first, last with credentials; and whether a word has come in time.
    sent_at: Option<Instant>,
    heard: bool,
    dialogs: Vec<Dialog>,
}

/// What a 2xx has claimed.
struct Dialog {
    call_id: String,
    from_tag: String,
    to_tag: String,
    acked: bool,
    /// A BYE went one way or the other.
    ended: bool,
    foreign: bool,
}

/// All of them.
#[derive(Default)]
pub(super) struct Claims {
    by_call_id: FxHashMap<String, Claim>,
    /// Via branch to Call-ID.
    by_branch: FxHashMap<String, String>,
    /// Dialogs that were not kept.
    pub strays: usize,
    /// The Call-ID of the claims that 2xx without an equal have come to since the last pause.
    fresh: Vec<String>,
}

fn tag(tag: Option<&str>) -> &str {
    tag.unwrap_or_default()
}

impl Claims {
    /// The switch sends an INVITE out of a dialog.
    pub fn invite(&mut self, now: Instant, message: &Message) {
        let id = message.call_id();
        let branch = message.top_via().branch().unwrap_or_default();
        let claim = self.by_call_id.entry(id.to_owned()).or_default();
        if self.by_branch.insert(branch.to_owned(), id.to_owned()).is_none() {
            (claim.sent_at, claim.heard) = (Some(now), false);
        }
        claim.from_tag = tag(message.from_tag()).to_owned();
        claim.offered = !message.body().is_empty();
    }

    /// The switch takes an answer to an INVITE.
    pub fn answer(&mut self, now: Instant, message: &Message) {
        let Some(id) = message.top_via().branch().and_then(|branch| self.by_branch.get(branch)) else { return };
        let Some(claim) = self.by_call_id.get_mut(id) else { return };
        claim.heard |= claim.sent_at.is_some_and(|at| now < at + WAITS);
        if message.status() < 200 {
            return;
        }
        if message.status() >= 300 {
            claim.refused |= !matches!(message.status(), 401 | 407 | 422);
            return;
        }
        let late = claim.answered_at.is_some_and(|at| now > at + TAKES_MORE);
        let (call_id, from_tag, to_tag) = (message.call_id(), tag(message.from_tag()), tag(message.to_tag()));
        let known = claim.dialogs.iter().any(|d| d.call_id == call_id && d.from_tag == from_tag && d.to_tag == to_tag);
        if known || late || claim.refused || !claim.heard {
            return;
        }
        claim.answered_at.get_or_insert(now);
        claim.dialogs.push(Dialog {
            foreign: call_id != id.as_str() || from_tag != claim.from_tag,
            call_id: call_id.to_owned(),
            from_tag: from_tag.to_owned(),
            to_tag: to_tag.to_owned(),
            acked: false,
            ended: false,
        });
        self.fresh.push(id.clone());
    }

    fn dialog(&mut self, call_id: &str, from_tag: &str, to_tag: &str) -> Option<&mut Dialog> {
        // A foreign one may have any Call-ID in theory; those of the simulation keep theirs.
        let claim = self.by_call_id.get_mut(call_id)?;
        claim.dialogs.iter_mut().find(|d| d.from_tag == from_tag && d.to_tag == to_tag)
    }

    /// The switch sends an ACK.
    pub fn ack(&mut self, message: &Message) {
        if let Some(dialog) = self.dialog(message.call_id(), tag(message.from_tag()), tag(message.to_tag())) {
            dialog.acked = true;
        }
    }

    /// A BYE goes out, or comes in where `ours` is false.
    pub fn bye(&mut self, message: &Message, ours: bool) {
        let (mut local, mut remote) = (tag(message.from_tag()), tag(message.to_tag()));
        if !ours {
            std::mem::swap(&mut local, &mut remote);
        }
        if let Some(dialog) = self.dialog(message.call_id(), local, remote) {
            dialog.ended = true;
        }
    }

    /// Dialogs of an INVITE that are acknowledged and not hung up.
    pub fn up(&self, call_id: &str) -> usize {
        let dialogs = self.by_call_id.get(call_id).map_or(&[][..], |claim| &claim.dialogs);
        dialogs.iter().filter(|dialog| dialog.acked && !dialog.ended).count()
    }

    /// The switch has done what it does at once. What is wrong by then, and the INVITEs that had an answer.
    pub fn pause(&mut self) -> (Vec<String>, Vec<String>) {
        let fresh = std::mem::take(&mut self.fresh);
        let mut wrong = Vec::new();
        for id in &fresh {
            let Some(claim) = self.by_call_id.get(id) else { continue };
            for dialog in &claim.dialogs {
                let name = format!("the 2xx to {id} with To tag {}", dialog.to_tag);
                if !dialog.acked && (claim.offered || dialog.foreign) {
                    wrong.push(format!("{name} was not acknowledged at once"));
                }
                if dialog.foreign && !dialog.ended {
                    wrong.push(format!("{name} is of another dialog and was not hung up on at once"));
                }
            }
            self.strays += claim.dialogs.iter().filter(|dialog| dialog.ended).count();
            let up = claim.dialogs.iter().filter(|dialog| !dialog.ended).count();
            if up > 1 {
                wrong.push(format!("{up} dialogs of one INVITE are kept: {id}"));
            }
        }
        (wrong, fresh)
    }

    /// The switch has died: its transactions are no more.
    pub fn crashed(&mut self) {
        *self = Self { strays: self.strays, ..Self::default() };
    }
}
