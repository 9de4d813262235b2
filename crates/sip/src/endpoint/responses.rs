//! Answers that arrive: to which request they belong, what they do to dialogs, PRACK, forks, the end of transactions.

use std::time::Instant;

use super::key::{Branch, Kind};
use super::{Cancel, ClientTx, Endpoint, Event, FailCause, MethodName, Source, clock};
use crate::dialog::{self, DialogId, DialogState, NewDialog, Side};
use crate::flow::Flow;
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::session_timer::{self, Session};
use crate::timer::{Owner, Timer};
use crate::transaction::client::{ClientState, ClientStep};
use crate::write::{Body, Headers};

/// Dialogs that the answers to one INVITE may begin; a peer that goes beyond is not believed.
const MOST_FORKS: usize = 32;

/// What a reliable provisional answer asks for.
enum Reliability {
    /// Nothing, or it has been seen to.
    Told,
    /// A repetition, or one too early: not for the user.
    Drop,
}

impl Endpoint {
    /// RFC 3261 §17.1.3: by the branch of the top Via and the method in CSeq. An answer with more than one Via is not
    /// ours (§8.1.3.3).
    pub(super) fn find_client(&self, msg: &Message) -> Option<ClientTx> {
        let (number, nonce) = Branch::read(msg.top_via().branch()?)?;
        let client = self.clients.get(number).filter(|client| client.nonce == nonce)?;
        let cseq = msg.cseq();
        if cseq.number != client.cseq || msg.values(HeaderName::Via).nth(1).is_some() {
            return None;
        }
        match (client.kind, Kind::of(cseq.method)) {
            (Kind::Invite, Kind::Cancel) => match client.cancel {
                Cancel::Sent(cancel) => self.clients.get(cancel.0).map(|_| cancel),
                Cancel::No | Cancel::Wanted(_) => None,
            },
            (Kind::Cancel, _) => None,
            (sent, got) => (sent == got).then_some(ClientTx(number)),
        }
    }

    pub(super) fn on_response(&mut self, now: Instant, msg: Message, flow: Flow) {
        let found = self.find_client(&msg);
        let Some((tx, client)) = found.and_then(|tx| Some((tx, self.clients.get_mut(tx.0)?))) else {
            self.stats.stray_responses += 1;
            return;
        };
        let status = msg.status();
        let mut clock = clock(&mut self.timers, &self.config, now, Owner::Client(tx));
        let step = client.machine.answered(&mut clock, status);
        match step {
            ClientStep::Absorb => self.stats.retransmissions += 1,
            ClientStep::AckAgain => {
                self.stats.retransmissions += 1;
                let (target, ack) = (client.target.clone(), client.payload.clone());
                self.transmit(target, ack);
            }
            ClientStep::Core => self.on_further_2xx(now, tx, &msg),
            ClientStep::DeliverAndAck => {
                // RFC 3261 §17.1.1.3: by the same way and with the same branch.
                let to = msg.header(HeaderName::To);
                let ack = self.writer.write_from_invite(&client.payload, Method::Ack, to, &Headers::new());
                client.payload = ack.clone();
                let target = client.target.clone();
                self.transmit(target, ack);
                self.forget_conn(tx);
                self.deliver(now, tx, msg);
            }
            ClientStep::Deliver => {
                if status >= 200 {
                    client.payload = bytes::Bytes::new();
                    self.forget_conn(tx);
                } else {
                    self.watch_conn(tx, &flow);
                }
                self.deliver(now, tx, msg);
            }
        }
    }

    /// The connection by which a provisional answer came is the one that the final answer would come by.
    fn watch_conn(&mut self, tx: ClientTx, flow: &Flow) {
        let (Some(conn), Some(client)) = (flow.conn, self.clients.get_mut(tx.0)) else { return };
        if client.conn.is_none() {
            client.conn = Some(conn);
            self.by_conn.entry(conn).or_default().insert(tx);
        }
    }

    pub(super) fn forget_conn(&mut self, tx: ClientTx) {
        let Some(conn) = self.clients.get_mut(tx.0).and_then(|client| client.conn.take()) else { return };
        if let Some(waiting) = self.by_conn.get_mut(&conn) {
            waiting.remove(&tx);
            if waiting.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
    }

    /// The first sight of an answer.
    fn deliver(&mut self, now: Instant, tx: ClientTx, msg: Message) {
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        let (kind, status) = (client.kind, msg.status());
        if status == 422 {
            client.too_short = Some(msg.min_se().and_then(Result::ok));
        }
        let own = matches!(client.source, Source::Own);
        match (kind, status) {
            (Kind::Invite, 100..200) => self.on_provisional(now, tx, msg),
            (Kind::Invite, 200..300) => self.on_2xx(now, tx, msg),
            (_, 100..200) if own || status == 100 => {}
            _ => {
                let dialog = client.dialog;
                if let Some(dialog) = dialog {
                    self.answered_within(now, dialog, tx, &msg);
                }
                if !own {
                    self.tell(Event::Response { tx, dialog, response: msg });
                }
                if status >= 200 {
                    self.final_told(now, tx, status);
                }
            }
        }
    }

    /// A final answer has been told: dialogs that hung on it end, and so does the transaction where nothing is left to
    /// wait for.
    fn final_told(&mut self, now: Instant, tx: ClientTx, status: u16) {
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        for fork in std::mem::take(&mut client.forks) {
            self.dialog_over(fork);
        }
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        let again = matches!(status, 401 | 407 | 413 | 415 | 420 | 422 | 423 | 488 | 494 | 606);
        let bye = client.dialog.filter(|_| client.kind == Kind::Bye && !matches!(status, 401 | 407));
        if (200..300).contains(&status) {
            client.source = Source::Own;
        }
        if again && !matches!(client.source, Source::Own) {
            client.machine.retain(&mut clock(&mut self.timers, &self.config, now, Owner::Client(tx)));
        }
        let ended = client.machine.state() == ClientState::Terminated;
        if let Some(dialog) = bye {
            self.dialog_over(dialog);
        }
        if ended {
            self.remove_client(tx);
        }
    }

    /// What a final answer to a request within a dialog does to it, before the user is told.
    fn answered_within(&mut self, now: Instant, id: DialogId, tx: ClientTx, msg: &Message) {
        let Some(client) = self.clients.get(tx.0) else { return };
        let (kind, asked, status) = (client.kind, client.session, msg.status());
        let Some(dialog) = self.dialogs.get_mut(id.0) else { return };
        if status < 200 {
            return;
        }
        if status == 422
            && asked.is_some()
            && let (Some(session), Some(Ok(min_se))) = (&mut dialog.session, msg.min_se())
            && min_se <= session_timer::LONGEST_INTERVAL
        {
            // RFC 4028 §7.3: the next refresh asks for as much, or it would be refused as well until the session ends.
            session.min_se = session.min_se.max(min_se);
            session.interval = session.interval.max(min_se);
        }
        match kind {
            Kind::Invite => {
                dialog.invite_out = None;
                dialog.rseq = None;
                dialog.to_prack = None;
            }
            Kind::Update => {
                dialog.update_out = None;
                if status < 300 {
                    dialog.learn(msg);
                    dialog.refresh_target(msg);
                    let session = session_timer::settled(asked.as_ref(), msg);
                    self.start_session(now, id, session);
                }
            }
            Kind::Ack | Kind::Cancel | Kind::Bye | Kind::Prack | Kind::Register | Kind::Other => {}
        }
    }

    fn on_provisional(&mut self, now: Instant, tx: ClientTx, msg: Message) {
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        if matches!(client.cancel, Cancel::Wanted(_))
            && let Cancel::Wanted(extra) = std::mem::replace(&mut client.cancel, Cancel::No)
        {
            self.send_cancel(now, tx, &extra);
        }
        if msg.status() == 100 {
            return;
        }
        let dialog = match self.clients.get(tx.0).and_then(|client| client.dialog) {
            Some(dialog) => Some(dialog),
            None if msg.to_tag().is_some() => self.caller_dialog(tx, &msg),
            None => None,
        };
        if let Some(id) = dialog {
            if let Reliability::Drop = self.acknowledge_provisional(now, tx, id, &msg) {
                return;
            }
            if let Some(dialog) = self.dialogs.get_mut(id.0) {
                dialog.learn(&msg);
                dialog.refresh_target(&msg);
            }
        }
        self.tell(Event::Response { tx, dialog, response: msg });
    }

    /// RFC 3262 §4: in order, each once, and each answered with a PRACK.
    fn acknowledge_provisional(&mut self, now: Instant, tx: ClientTx, id: DialogId, msg: &Message) -> Reliability {
        let has_room = self.has_room(super::Priority::High);
        let (Some(client), Some(dialog)) = (self.clients.get(tx.0), self.dialogs.get_mut(id.0)) else {
            return Reliability::Told;
        };
        let Some(Ok(rseq)) = msg.rseq().filter(|_| msg.has_option(HeaderName::Require, "100rel")) else {
            return Reliability::Told;
        };
        let in_order = dialog.rseq.is_none_or(|last| rseq == last.wrapping_add(1));
        if !in_order || !has_room || dialog.state == DialogState::Closing {
            return Reliability::Drop;
        }
        dialog.rseq = Some(rseq);
        dialog.to_prack = Some((rseq, client.cseq));
        let described = !msg.body().is_empty();
        if described && !client.has_body && !dialog.early_answered {
            // It carries the offer: the PRACK has to carry the answer, which only the user knows.
            return Reliability::Told;
        }
        dialog.early_answered |= described;
        let sent = self.request_within(now, id, MethodName::Known(Method::Prack), Headers::new(), None::<Body>);
        if let Some(prack) = sent.ok().and_then(|prack| self.clients.get_mut(prack.0)) {
            prack.source = Source::Own;
        }
        Reliability::Told
    }

    fn on_2xx(&mut self, now: Instant, tx: ClientTx, msg: Message) {
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        let (cseq, asked, within) = (client.cseq, client.session, client.dialog);
        let Some(id) = within.or_else(|| self.caller_dialog(tx, &msg)) else {
            return self.on_foreign_2xx(now, tx, &msg);
        };
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        if let Source::New(r) = &mut client.source {
            // Only what further forks need is kept.
            r.body = None;
            r.headers = credentials_of(&r.headers);
        }
        let credentials = match &client.source {
            Source::New(r) => r.headers.clone(),
            Source::InDialog { headers, .. } => credentials_of(headers),
            Source::Own => Headers::new(),
        };
        if let Some(dialog) = self.dialogs.get_mut(id.0) {
            client.accepted.push(dialog.key);
            if within.is_none() {
                // RFC 3261 §13.2.2.4: the route set is that of the 2xx.
                dialog.routes = routes_of(&msg);
            }
            if dialog.state == DialogState::Early {
                dialog.state = DialogState::Confirmed;
            }
            dialog.invite_out = None;
            dialog.to_prack = None;
            dialog.rseq = None;
            dialog.to_ack = Some(cseq);
            dialog.credentials = credentials;
            dialog.learn(&msg);
            dialog.refresh_target(&msg);
            let session = session_timer::settled(asked.as_ref(), &msg);
            self.start_session(now, id, session);
        }
        self.tell(Event::Response { tx, dialog: Some(id), response: msg });
    }

    /// A 2xx to our INVITE, by its branch, that begins no dialog of ours: its Call-ID or From tag are not those we sent,
    /// or too many forks have answered. Nothing can be said in such a dialog, and no other answer comes any more, so the
    /// request has failed now; and the peer, who believes that the call is up, is acknowledged and hung up under the
    /// names that it uses (RFC 3261 §13.2.2.4).
    fn on_foreign_2xx(&mut self, now: Instant, tx: ClientTx, msg: &Message) {
        self.stats.stray_responses += 1;
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        let is_first = client.accepted.is_empty();
        if is_first {
            self.events.push_back(Event::Failed { tx, dialog: None, cause: FailCause::ForeignAnswer });
        }
        let (call_id, local_tag) = (msg.call_id(), msg.from_tag().unwrap_or(""));
        let remote_tag = msg.to_tag().unwrap_or("");
        let key = self.secret.dialog_key(call_id, local_tag, remote_tag);
        let Source::New(r) = &client.source else { return };
        let (forks, target) = (client.forks.len(), r.target.clone());
        let has_room = forks < MOST_FORKS;
        if is_first || has_room {
            client.accepted.push(key);
        }
        // Nor are the names of a dialog that is alive this peer's to end.
        if !has_room || self.dialog_keys.contains_key(&key) {
            return;
        }
        let mut new = NewDialog {
            key,
            side: Side::Caller,
            message: msg,
            local_tag,
            remote_tag,
            local: msg.header(HeaderName::From).unwrap_or_default().into(),
            remote: msg.header(HeaderName::To).unwrap_or_default().into(),
            local_seq: client.cseq,
            remote_seq: None,
            remote_target: dialog::contact_of(msg).unwrap_or(&r.request_uri),
            contact: "".into(),
            target: target.clone(),
            tcp_alternative: r.tcp_alternative,
        }
        .build();
        new.target = dialog::dialog_target(target, new.next_hop_uri());
        new.state = DialogState::Confirmed;
        new.to_ack = Some(client.cseq);
        let id = DialogId(self.dialogs.insert_with(|_| new));
        client.forks.push(id);
        self.dialog_keys.insert(key, id);
        self.ack(now, id, Headers::new(), None);
        let mut why = Headers::new();
        why.push("Reason", "SIP;cause=481;text=\"Answer for another dialog\"");
        let bye = self.request_within(now, id, MethodName::Known(Method::Bye), why, None::<Body>);
        if let Some(bye) = bye.ok().and_then(|bye| self.clients.get_mut(bye.0)) {
            bye.source = Source::Own;
        }
    }

    /// A 2xx after the first: the same again, which gets its ACK again, or another fork's (RFC 3261 §13.2.2.4).
    fn on_further_2xx(&mut self, now: Instant, tx: ClientTx, msg: &Message) {
        let Some(client) = self.clients.get(tx.0) else { return };
        let from_tag = msg.from_tag().unwrap_or("");
        let key = match client.dialog {
            Some(id) => self.dialogs.get(id.0).map(|dialog| dialog.key),
            None => Some(self.secret.dialog_key(msg.call_id(), from_tag, msg.to_tag().unwrap_or(""))),
        };
        let Some(key) = key else { return };
        if client.dialog.is_none() && !client.accepted.contains(&key) {
            return self.on_2xx(now, tx, msg.clone());
        }
        self.stats.retransmissions += 1;
        let dialog = self.dialog_keys.get(&key).and_then(|id| self.dialogs.get(id.0));
        if let Some((target, ack)) = dialog.and_then(|dialog| {
            let (_, ack) = dialog.ack.as_ref().filter(|(cseq, _)| *cseq == msg.cseq().number)?;
            Some((dialog.target.clone(), ack.clone()))
        }) {
            self.transmit(target, ack);
        }
    }

    /// The dialog that an answer to our INVITE belongs to, begun where there is none (RFC 3261 §12.1.2).
    fn caller_dialog(&mut self, tx: ClientTx, msg: &Message) -> Option<DialogId> {
        let client = self.clients.get(tx.0)?;
        let Source::New(r) = &client.source else { return None };
        let (call_id, from_tag) = (r.call_id.as_deref()?, r.from_tag.as_deref()?);
        if msg.call_id() != call_id || msg.from_tag() != Some(from_tag) {
            return None;
        }
        let remote_tag = msg.to_tag().unwrap_or("");
        let key = self.secret.dialog_key(call_id, from_tag, remote_tag);
        if let Some(&id) = self.dialog_keys.get(&key) {
            return Some(id);
        }
        if client.forks.len() >= MOST_FORKS {
            return None;
        }
        let contact = self.writer.contact_of_request(r).unwrap_or_default();
        let mut new = NewDialog {
            key,
            side: Side::Caller,
            message: msg,
            local_tag: from_tag,
            remote_tag,
            local: [r.from.as_str(), ";tag=", from_tag].concat().into_bytes().into_boxed_slice(),
            remote: msg.header(HeaderName::To).unwrap_or_default().into(),
            local_seq: client.cseq,
            remote_seq: None,
            remote_target: dialog::contact_of(msg).unwrap_or(&r.request_uri),
            contact: contact.into_boxed_str(),
            target: r.target.clone(),
            tcp_alternative: r.tcp_alternative,
        }
        .build();
        new.target = dialog::dialog_target(r.target.clone(), new.next_hop_uri());
        new.invite_out = client.machine.is_waiting().then_some((tx, client.has_body));
        let id = DialogId(self.dialogs.insert_with(|_| new));
        self.dialog_keys.insert(key, id);
        self.clients.get_mut(tx.0)?.forks.push(id);
        Some(id)
    }

    /// Puts a session timer in force and starts its clocks anew (RFC 4028 §10); `None` ends it.
    pub(super) fn start_session(&mut self, now: Instant, id: DialogId, session: Option<Session>) {
        self.stop_session(id);
        let Some(dialog) = self.dialogs.get_mut(id.0) else { return };
        dialog.session = session;
        let Some(session) = session else { return };
        let clock = clock(&mut self.timers, &self.config, now, Owner::Dialog(id));
        let mut arm = |timer, seconds: u32| {
            clock.queue.arm(now, std::time::Duration::from_secs(seconds.into()), clock.owner, timer)
        };
        dialog.expiry_at = Some(arm(Timer::SessionExpiry, session.expires_after()));
        if session.we_refresh {
            dialog.refresh_at = Some(arm(Timer::SessionRefresh, session.refresh_after()));
        }
    }

    pub(super) fn stop_session(&mut self, id: DialogId) {
        let Some(dialog) = self.dialogs.get_mut(id.0) else { return };
        for (at, timer) in
            [(dialog.refresh_at.take(), Timer::SessionRefresh), (dialog.expiry_at.take(), Timer::SessionExpiry)]
        {
            if let Some(at) = at {
                self.timers.disarm(at, Owner::Dialog(id), timer);
            }
        }
    }
}

fn credentials_of(headers: &Headers) -> Headers {
    let mut credentials = Headers::new();
    for (name, value) in headers.iter() {
        for known in ["Authorization", "Proxy-Authorization"] {
            if name.eq_ignore_ascii_case(known.as_bytes()) {
                credentials.push_bytes(known, value);
            }
        }
    }
    credentials
}

fn routes_of(msg: &Message) -> Box<[Box<str>]> {
    let mut routes: Vec<Box<str>> = msg
        .values(HeaderName::RecordRoute)
        .filter_map(|value| std::str::from_utf8(value).ok())
        .map(Box::from)
        .collect();
    routes.reverse();
    routes.into_boxed_slice()
}
