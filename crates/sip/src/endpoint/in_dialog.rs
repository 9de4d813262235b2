//! Requests that arrive within a dialog (RFC 3261 §12.2.2): order, glare, PRACK, and the ACK for our 2xx.

use std::time::Instant;

use rand::RngExt;

use super::key::{Kind, Mark};
use super::{Endpoint, Event, Priority, Response, ServerTx};
use crate::dialog::{Dialog, DialogId, DialogState};
use crate::flow::{Flow, Target};
use crate::header::HeaderName;
use crate::message::Message;

impl Endpoint {
    /// The dialog that a request of the peer names.
    pub(super) fn dialog_for(&self, msg: &Message) -> Option<DialogId> {
        let key = self.secret.dialog_key(msg.call_id(), msg.to_tag().unwrap_or(""), msg.from_tag().unwrap_or(""));
        self.dialog_keys.get(&key).copied()
    }

    pub(super) fn on_core_ack(&mut self, now: Instant, msg: Message, flow: &Flow) {
        let found = self.dialog_for(&msg);
        let Some((id, dialog)) = found.and_then(|id| Some((id, self.dialogs.get_mut(id.0)?))) else {
            // Also the ACK for a refusal without a transaction (RFC 3261 §8.2.7).
            self.stats.stray_acks += 1;
            if let Some(mark) = self.secret.mark_of(&msg, flow.remote.ip()).filter(|mark| *mark != Mark::NONE) {
                self.tell(Event::Acknowledged { mark, ack: msg, flow: *flow });
            }
            return;
        };
        let cseq = msg.cseq().number;
        let Some(at) = dialog.unacked.iter().position(|&(number, ..)| number == cseq) else {
            self.stats.stray_acks += 1;
            return;
        };
        let (_, tx, _) = dialog.unacked.remove(at);
        if let Some(server) = self.servers.get_mut(tx.0) {
            server.machine.settled();
        }
        self.tell(Event::Ack { dialog: id, ack: msg });
        self.release_bye(now, id);
    }

    pub(super) fn on_in_dialog(&mut self, now: Instant, msg: Message, flow: Flow, key: u128, kind: Kind) {
        let found = self.dialog_for(&msg);
        let Some((id, dialog)) = found.and_then(|id| Some((id, self.dialogs.get_mut(id.0)?))) else {
            self.stats.unknown_dialogs += 1;
            return self.refuse(&msg, &flow, 481);
        };
        let cseq = msg.cseq().number;
        if dialog.remote_seq.is_some_and(|last| cseq <= last) {
            // RFC 3261 §12.2.2; an equal one is the request before by another way.
            return self.refuse(&msg, &flow, 500);
        }
        let downgraded = dialog.target.transport().is_secure() && !flow.transport.is_secure();
        if downgraded && kind != Kind::Bye {
            // What began under TLS does not go on in the clear: the answer would carry SRTP keys, and so would what
            // follows. To hang up gives nothing away.
            return self.answer_at_once(&msg, &flow, None, &Response::new(403).reason("Secure Transport Required"));
        }
        if dialog.state == DialogState::Closing {
            // Both hung up (RFC 5407 §3.2); for all else the dialog is over.
            let status = if kind == Kind::Bye { 200 } else { 481 };
            if kind == Kind::Bye {
                dialog.remote_seq = Some(cseq);
                self.release_bye(now, id);
            }
            return self.refuse(&msg, &flow, status);
        }
        if !self.has_room(Priority::High) && kind != Kind::Bye {
            return self.refuse_full(&msg, &flow);
        }
        let dialog = self.dialogs.get_mut(id.0).expect("found above");
        dialog.remote_seq = Some(cseq);
        if matches!(dialog.target, Target::Flow(_)) && !downgraded {
            // The way the peer's messages come is the way back to it: its NAT may have moved.
            dialog.target = Target::Flow(flow);
        }
        let refusal = self.in_dialog_refusal(id, &msg, kind);
        let tx = self.insert_server(now, &msg, flow, key, kind, None, Some(id));
        if let Some(refusal) = refusal {
            return self.answer(now, tx, &refusal, None);
        }
        let dialog = self.dialogs.get_mut(id.0).expect("found above");
        match kind {
            Kind::Prack => return self.on_prack(now, id, tx, msg, flow),
            Kind::Invite => {
                dialog.invite_in = Some(tx);
                dialog.early_answered = false;
            }
            Kind::Update => dialog.update_in = Some(tx),
            Kind::Ack | Kind::Cancel | Kind::Bye | Kind::Register | Kind::Other => {}
        }
        self.tell(Event::DialogRequest { dialog: id, tx, request: msg, flow });
    }

    /// Refusals that need no user: unknown extensions, small session intervals, glare.
    fn in_dialog_refusal(&mut self, id: DialogId, msg: &Message, kind: Kind) -> Option<Response> {
        if msg.has(HeaderName::Require)
            && let Some(headers) = self.unsupported(msg)
        {
            let mut refusal = Response::new(420);
            refusal.headers = headers;
            return Some(refusal);
        }
        if !matches!(kind, Kind::Invite | Kind::Update) {
            return None;
        }
        if let Some(refusal) = self.interval_refusal(msg) {
            return Some(refusal);
        }
        let dialog = self.dialogs.get(id.0)?;
        let invite_open = dialog
            .invite_in
            .and_then(|tx| self.servers.get(tx.0))
            .filter(|server| server.machine.is_open())
            .map(|server| server.request.as_ref().is_some_and(|request| !request.body().is_empty()));
        let offer = !msg.body().is_empty();
        let status = match kind {
            Kind::Invite => invite_refusal(dialog, invite_open.is_some()),
            _ => update_refusal(dialog, offer, invite_open),
        }?;
        let refusal = Response::new(status);
        // RFC 3261 §14.2: a random time of 0 to 10 seconds.
        Some(if status == 500 { refusal.header("Retry-After", self.rng.random_range(0..=10)) } else { refusal })
    }

    fn on_prack(&mut self, now: Instant, id: DialogId, tx: ServerTx, msg: Message, flow: Flow) {
        let invite = self.dialogs.get(id.0).and_then(|dialog| dialog.invite_in);
        let rack = msg.header_str(HeaderName::Rack);
        let acknowledged = rack.and_then(|rack| read_rack(&rack)).zip(invite).is_some_and(|((rseq, cseq), invite)| {
            self.servers.get_mut(invite.0).is_some_and(|server| {
                server.cseq == cseq && server.reliable.as_mut().is_some_and(|reliable| reliable.acknowledge(rseq))
            })
        });
        let Some(invite) = invite.filter(|_| acknowledged) else {
            // RFC 3262 §3.
            return self.answer(now, tx, &Response::new(481), None);
        };
        self.tell(Event::ReliableAcked { tx: invite, prack: msg.clone() });
        if msg.body().is_empty() {
            self.answer(now, tx, &Response::new(200), None);
        } else {
            self.tell(Event::DialogRequest { dialog: id, tx, request: msg, flow });
        }
        self.next_reliable(now, invite);
    }
}

/// RFC 3261 §14.2; also RFC 5407 §3.1.5: an answer to our offer is still on its way in an ACK.
fn invite_refusal(dialog: &Dialog, invite_open: bool) -> Option<u16> {
    if invite_open {
        return Some(500);
    }
    let answer_due = dialog.unacked.iter().any(|&(_, _, answer_due)| answer_due);
    (dialog.invite_out.is_some() || answer_due).then_some(491)
}

/// RFC 3311 §5.2. `invite_open` says of an unanswered INVITE of the peer whether it carried an offer.
fn update_refusal(dialog: &Dialog, offer: bool, invite_open: Option<bool>) -> Option<u16> {
    if dialog.update_in.is_some() {
        return Some(500);
    }
    if !offer {
        return None;
    }
    if invite_open == Some(true) && !dialog.early_answered {
        return Some(500);
    }
    let ours = |pending: Option<(_, bool)>| pending.is_some_and(|(_, offer)| offer);
    let inviting = ours(dialog.invite_out) && !dialog.early_answered;
    let answer_due = dialog.unacked.iter().any(|&(_, _, answer_due)| answer_due);
    (inviting || ours(dialog.update_out) || answer_due).then_some(491)
}

/// RFC 3262 §7.2: response number, CSeq number, method.
fn read_rack(value: &str) -> Option<(u32, u32)> {
    let mut parts = value.split_ascii_whitespace();
    let numbers = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (parts.next()? == "INVITE" && parts.next().is_none()).then_some(numbers)
}
