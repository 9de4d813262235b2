//! Requests that arrive: repetitions, ACK, CANCEL, new ones out of dialog; and answers without a transaction.

use std::time::Instant;

use bytes::Bytes;

use super::key::{Kind, Mark, Tag};
use super::{Endpoint, Event, Priority, Response, Server, ServerTx, clock};
use crate::dialog::DialogId;
use crate::flow::{Flow, Target};
use crate::message::Message;
use crate::session_timer;
use crate::timer::Owner;
use crate::transaction::server::{ServerMachine, ServerState};
use crate::write::Headers;

impl Endpoint {
    pub(super) fn on_request(&mut self, now: Instant, msg: Message, flow: Flow, priority: Priority) {
        let kind = Kind::of(msg.method());
        let key = self.secret.server_key(&msg, kind);
        if let Some(&tx) = self.server_keys.get(&key) {
            match kind {
                Kind::Ack => self.on_ack(now, tx, msg, &flow),
                Kind::Cancel => self.on_cancel(now, tx, msg, flow),
                Kind::Invite | Kind::Bye | Kind::Update | Kind::Prack | Kind::Register | Kind::Other => {
                    self.on_repeated(tx);
                }
            }
            return;
        }
        if let Some(answered) = self.answered.get(key) {
            self.stats.retransmissions += 1;
            let (target, answer) = (answered.target(), Bytes::copy_from_slice(&answered.answer));
            return self.transmit(target, answer);
        }
        match kind {
            Kind::Ack => self.on_core_ack(now, msg, &flow),
            // RFC 3261 §9.2: nothing to cancel.
            Kind::Cancel => self.refuse(&msg, &flow, 481),
            Kind::Register => self.on_new(now, msg, flow, key, kind, priority),
            _ if msg.to_tag().is_some() => self.on_in_dialog(now, msg, flow, key, kind),
            _ => self.on_new(now, msg, flow, key, kind, priority),
        }
    }

    fn on_repeated(&mut self, tx: ServerTx) {
        self.stats.retransmissions += 1;
        let Some(server) = self.servers.get(tx.0) else { return };
        if let Some(last) = server.last.clone().filter(|_| server.machine.repeats()) {
            let target = server.reply_target();
            self.transmit(target, last);
        }
    }

    fn on_ack(&mut self, now: Instant, tx: ServerTx, msg: Message, flow: &Flow) {
        let Some(server) = self.servers.get_mut(tx.0) else { return };
        if server.machine.state() == ServerState::Accepted {
            // A peer that uses the INVITE's branch again; RFC 6026 §7.1 hands it to the core.
            self.on_core_ack(now, msg, flow);
            return;
        }
        let mut clock = clock(&mut self.timers, &self.config, now, Owner::Server(tx));
        if !server.machine.acknowledged(&mut clock) {
            self.stats.stray_acks += 1;
        }
        if server.machine.state() == ServerState::Terminated {
            self.remove_server(tx);
        }
    }

    fn on_cancel(&mut self, now: Instant, tx: ServerTx, msg: Message, flow: Flow) {
        let Some(server) = self.servers.get(tx.0) else { return };
        // The answer to CANCEL has the tag of the answers to the INVITE (RFC 3261 §9.2).
        let (tag, open) = (server.tag, server.machine.is_open());
        self.answer_at_once(&msg, &flow, Some(tag), &Response::new(200));
        if open {
            if let Some(reliable) = self.servers.get_mut(tx.0).and_then(|server| server.reliable.as_mut()) {
                reliable.drop_queued();
            }
            self.tell(Event::Cancelled { tx, cancel: msg });
            self.answer(now, tx, &Response::new(487), None);
        }
    }

    fn on_new(&mut self, now: Instant, msg: Message, flow: Flow, key: u128, kind: Kind, priority: Priority) {
        if let Some(status) = self.hop_limit(&msg) {
            self.stats.loops += 1;
            return self.refuse(&msg, &flow, status);
        }
        let merge_key = self.secret.merge_key(&msg);
        if self.merge_keys.contains(&merge_key) {
            // RFC 3261 §8.2.2.2: the same request by another way.
            self.stats.loops += 1;
            return self.refuse(&msg, &flow, 482);
        }
        let dialogs = Self::room(self.config.max_dialogs, priority);
        if !self.has_room(priority) || kind == Kind::Invite && self.dialogs.len() >= dialogs {
            return self.refuse_full(&msg, &flow);
        }
        if kind == Kind::Invite && crate::dialog::contact_of(&msg).is_none() {
            let answer = Response::new(400).reason("Contact Missing or Malformed");
            return self.answer_at_once(&msg, &flow, None, &answer);
        }
        let tx = self.insert_server(now, &msg, flow, key, kind, Some(merge_key), None);
        self.tell(Event::Request { tx, request: msg, flow });
    }

    /// The 422 for an INVITE whose session interval is too small (RFC 4028 §9); `None` where it will do. Left to the user
    /// for requests out of dialog, so that strangers are challenged first.
    pub fn interval_refusal(&self, request: &Message) -> Option<Response> {
        let min_se = session_timer::too_small(request, self.config.session.as_ref()).filter(|_| self.knows_timer())?;
        Some(Response::new(422).header("Min-SE", min_se))
    }

    /// Whether we do session timers (RFC 4028) at all: what a peer asks for is passed over otherwise.
    pub(super) fn knows_timer(&self) -> bool {
        self.config.supported.contains(&"timer")
    }

    /// RFC 3261 §16.3 item 3 is for what goes on to somebody else. What is answered here needs no hop more.
    fn hop_limit(&self, msg: &Message) -> Option<u16> {
        if msg.method().ends_here() {
            return None;
        }
        if matches!(msg.max_forwards(), Some(Ok(0))) {
            return Some(483);
        }
        // RFC 5393 §5.3.3.1.
        matches!(msg.max_breadth(), Some(Ok(0))).then_some(440)
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are facts about one request")]
    pub(super) fn insert_server(
        &mut self,
        now: Instant,
        msg: &Message,
        flow: Flow,
        key: u128,
        kind: Kind,
        merge_key: Option<u64>,
        dialog: Option<DialogId>,
    ) -> ServerTx {
        let (tag, reply_port) = (self.random_hex(), self.writer.reply_port(msg, &flow));
        let server = Server {
            key,
            merge_key,
            machine: ServerMachine::new(kind == Kind::Invite, flow.transport.is_reliable()),
            kind,
            cseq: msg.cseq().number,
            request: Some(msg.clone()),
            flow,
            reply_port,
            tag,
            dialog,
            in_dialog: dialog.is_some(),
            last: None,
            reliable: None,
        };
        let tx = ServerTx(self.servers.insert_with(|_| server));
        self.server_keys.insert(key, tx);
        if let Some(merge_key) = merge_key {
            self.merge_keys.insert(merge_key);
        }
        self.fresh.push((tx, now));
        tx
    }

    /// What nobody has answered meanwhile: INVITEs get a 100 (RFC 3261 §17.2.1), other requests a timer.
    pub(super) fn settle_fresh(&mut self) {
        for (tx, came) in std::mem::take(&mut self.fresh) {
            let Some(server) = self.servers.get_mut(tx.0) else { continue };
            let (None, Some(request)) = (&server.last, &server.request) else { continue };
            if server.kind != Kind::Invite {
                server.machine.wait(&mut clock(&mut self.timers, &self.config, came, Owner::Server(tx)));
                continue;
            }
            let mut answer = Response::new(100);
            if let Some(timestamp) = request.header_named("Timestamp") {
                answer.headers.push_bytes("Timestamp", timestamp);
            }
            let bytes = self.writer.plain_answer(request, &server.flow, None, &answer);
            server.last = Some(bytes.clone());
            server.machine.trying();
            let target = server.reply_target();
            self.transmit(target, bytes);
        }
    }

    /// Answers a request and keeps nothing of it (RFC 3261 §8.2.7). A transaction that `handle_message` has made for
    /// the request is freed, whatever its `ServerTx` was told for ends here. The To tag comes out the same each time;
    /// the ACK for a refused INVITE is absorbed as any ACK that belongs to nothing. Nothing is sent for an ACK.
    pub fn respond_stateless(&mut self, request: &Message, flow: &Flow, r: Response) {
        self.respond_marked(request, flow, r, Mark::NONE);
    }

    /// As [`Endpoint::respond_stateless`]. When an INVITE's sender acknowledges the answer, [`Event::Acknowledged`] tells the
    /// mark: the source is no forged one then, for our To tag was heard there. Nothing is kept for it meanwhile.
    pub fn respond_marked(&mut self, request: &Message, flow: &Flow, r: Response, mark: Mark) {
        let kind = Kind::of(request.method());
        if !request.is_request() || kind == Kind::Ack {
            return;
        }
        if kind != Kind::Cancel
            && let Some(&tx) = self.server_keys.get(&self.secret.server_key(request, kind))
            && self.servers.get(tx.0).is_some_and(|server| server.machine.is_open())
        {
            self.forget(tx);
        }
        let tag = request.to_tag().is_none().then(|| self.secret.stateless_tag(request, flow.remote.ip(), mark));
        self.answer_at_once(request, flow, tag, &r);
    }

    /// Lets go of a request without answering it; what comes of it later is new.
    pub fn forget(&mut self, tx: ServerTx) {
        if let Some(dialog) = self.remove_server(tx)
            && self.dialogs.get(dialog.0).is_some_and(|dialog| dialog.state == crate::dialog::DialogState::Early)
        {
            self.remove_dialog(dialog);
        }
    }

    /// Sends an answer that no transaction keeps. `tag` is the To tag where it must be a certain one.
    pub(super) fn answer_at_once(&mut self, request: &Message, flow: &Flow, tag: Option<Tag>, r: &Response) {
        let tag = match request.to_tag() {
            Some(_) => None,
            None => Some(tag.unwrap_or_else(|| self.secret.stateless_tag(request, flow.remote.ip(), Mark::NONE))),
        };
        let bytes = self.writer.plain_answer(request, flow, tag, r);
        let port = self.writer.reply_port(request, flow);
        self.transmit(Target::Flow(reply_flow(*flow, port)), bytes);
    }

    pub(super) fn refuse(&mut self, request: &Message, flow: &Flow, status: u16) {
        self.answer_at_once(request, flow, None, &Response::new(status));
    }

    pub(super) fn refuse_full(&mut self, request: &Message, flow: &Flow) {
        self.stats.refused_full += 1;
        let answer = Response::new(503).header("Retry-After", self.config.retry_after);
        self.answer_at_once(request, flow, None, &answer);
    }

    /// Option tags of Require that the configuration does not list, as the Unsupported field of a 420
    /// (RFC 3261 §8.2.2.3); `None` where all are known. Left to the user for requests out of dialog, so that strangers
    /// are challenged first.
    pub fn unsupported(&self, request: &Message) -> Option<Headers> {
        let mut headers = Headers::new();
        for tag in request.option_tags(crate::header::HeaderName::Require) {
            if !self.config.supported.iter().any(|known| known.eq_ignore_ascii_case(tag)) {
                headers.push("Unsupported", tag);
            }
        }
        (!headers.is_empty()).then_some(headers)
    }
}

/// The way back along `flow`, to that port.
fn reply_flow(mut flow: Flow, port: u16) -> Flow {
    flow.remote.set_port(port);
    flow
}

impl Server {
    /// The way that answers go.
    pub(super) fn reply_flow(&self) -> Flow {
        reply_flow(self.flow, self.reply_port)
    }

    pub(super) fn reply_target(&self) -> Target {
        Target::Flow(self.reply_flow())
    }
}
