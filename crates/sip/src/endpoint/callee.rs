//! Our answers and what they do to transactions and dialogs.

use std::time::Instant;

use super::answered::Answered;
use super::compose::{answers_with_contact, contact_value, copy_record_routes};
use super::key::{Kind, Tag};
use super::{Endpoint, EndpointError, Event, Response, ServerTx, clock};
use crate::dialog::{self, DialogId, DialogState, NewDialog, Side};
use crate::header::HeaderName;
use crate::message::Message;
use crate::session_timer::{self, Session};
use crate::timer::Owner;
use crate::transaction::server::ServerState;
use crate::write::Headers;

impl Endpoint {
    /// Answers a request. 2xx to INVITE are repeated until the ACK comes. A 408 to a non-INVITE is not sent, the
    /// transaction just ends (RFC 4320 §4.2). A provisional answer goes reliably where the peer requires that.
    pub fn respond(&mut self, now: Instant, tx: ServerTx, r: Response) -> Result<(), EndpointError> {
        let server = self.servers.get_mut(tx.0).ok_or(EndpointError::UnknownTransaction)?;
        if !(100..700).contains(&r.status) {
            return Err(EndpointError::BadStatus(r.status));
        }
        if !server.machine.is_open() {
            return Err(EndpointError::AlreadyAnswered);
        }
        if server.kind != Kind::Invite {
            match r.status {
                100..200 => return Err(EndpointError::NotProvisional),
                408 => {
                    self.remove_server(tx);
                }
                _ => self.answer(now, tx, &r, None),
            }
            return Ok(());
        }
        let required =
            || server.request.as_ref().is_some_and(|request| request.has_option(HeaderName::Require, "100rel"));
        if (101..200).contains(&r.status) && required() {
            return self.respond_reliably(now, tx, r);
        }
        let mut r = r;
        if let Some(reliable) = &mut server.reliable {
            if reliable.is_holding() && r.status < 300 {
                return Err(EndpointError::AlreadyAnswered);
            }
            if (200..300).contains(&r.status) {
                let Some(now_due) = reliable.hold(r) else { return Ok(()) };
                r = now_due;
            }
        }
        self.answer(now, tx, &r, None);
        Ok(())
    }

    /// Writes and sends an answer and draws the consequences. The transaction must be open.
    pub(super) fn answer(&mut self, now: Instant, tx: ServerTx, r: &Response, rseq: Option<u32>) {
        let Some(server) = self.servers.get(tx.0) else { return };
        let Some(request) = server.request.clone() else { return };
        let (kind, in_dialog) = (server.kind, server.in_dialog);
        if kind == Kind::Invite && !in_dialog && (101..300).contains(&r.status) && server.dialog.is_none() {
            self.begin_callee_dialog(tx, &request, r);
        }
        let mut block = Headers::new();
        if let Some(rseq) = rseq {
            block.push("Require", "100rel");
            block.push("RSeq", rseq);
        }
        let session = self.answer_lines(tx, &request, r, &mut block);
        let server = self.servers.get_mut(tx.0).expect("it was there a moment ago");
        let tag = (r.status > 100 && !in_dialog).then_some(server.tag);
        let bytes = self.writer.write_answer(&request, &server.flow, tag, r, &block);
        server.last = Some(bytes.clone());
        let mut clock = clock(&mut self.timers, &self.config, now, Owner::Server(tx));
        if r.status < 200 {
            server.machine.provisional(&mut clock, r.status);
        } else {
            server.machine.finish(&mut clock, r.status);
            server.request = None;
            if let Some(reliable) = &mut server.reliable {
                reliable.stop();
            }
        }
        let target = server.reply_target();
        self.transmit(target, bytes);
        if r.status >= 200 {
            self.answered(now, tx, &request, r.status, session);
        }
    }

    /// The header fields that an answer gets beside those copied from the request.
    fn answer_lines(&mut self, tx: ServerTx, request: &Message, r: &Response, block: &mut Headers) -> Option<Session> {
        let server = self.servers.get(tx.0)?;
        let success = (200..300).contains(&r.status);
        if answers_with_contact(server.kind, r.status) {
            if !server.in_dialog {
                copy_record_routes(request, block);
            }
            let dialog = server.dialog.and_then(|dialog| self.dialogs.get(dialog.0));
            if let Some(dialog) = dialog.filter(|_| !r.headers.contains("Contact")) {
                block.push_bytes("Contact", dialog.contact.as_bytes());
            }
            self.writer.capability_lines(block, &r.headers);
        } else if success && server.kind == Kind::Other && request.method() == crate::method::Method::Options {
            self.writer.capability_lines(block, &r.headers);
        }
        let mut session = None;
        if success && matches!(server.kind, Kind::Invite | Kind::Update) && self.knows_timer() {
            session = session_timer::accept(request, self.config.session.as_ref(), block);
        }
        self.writer.server_lines(block, r);
        block.append(&r.headers);
        session
    }

    /// RFC 3261 §12.1.1.
    fn begin_callee_dialog(&mut self, tx: ServerTx, request: &Message, r: &Response) {
        let Some(server) = self.servers.get(tx.0) else { return };
        let (tag, flow, cseq): (Tag, _, _) = (server.tag, server.flow, server.cseq);
        let remote_tag = request.from_tag().unwrap_or("");
        let key = self.secret.dialog_key(request.call_id(), tag.as_str(), remote_tag);
        let mut local = request.header(HeaderName::To).unwrap_or_default().to_vec();
        local.extend_from_slice(b";tag=");
        local.extend_from_slice(tag.as_str().as_bytes());
        let secure = request.request_uri().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"));
        let contact = self.writer.listener(flow.listener).map_or_else(String::new, |listener| {
            contact_value(listener, flow.remote.ip(), r.contact_user.as_deref(), "", secure)
        });
        let remote_target = dialog::contact_of(request).unwrap_or_else(|| request.from().uri);
        let mut new = NewDialog {
            key,
            side: Side::Callee,
            message: request,
            local_tag: tag.as_str(),
            remote_tag,
            local: local.into_boxed_slice(),
            remote: request.header(HeaderName::From).unwrap_or_default().into(),
            local_seq: 0,
            remote_seq: Some(cseq),
            remote_target,
            contact: contact.into_boxed_str(),
            target: crate::flow::Target::Flow(flow),
            tcp_alternative: None,
        }
        .build();
        new.target = dialog::callee_target(flow, request, new.next_hop_uri());
        new.invite_in = Some(tx);
        let id = DialogId(self.dialogs.insert_with(|_| new));
        self.dialog_keys.insert(key, id);
        if let Some(server) = self.servers.get_mut(tx.0) {
            server.dialog = Some(id);
        }
    }

    /// What a final answer of ours means for the dialog.
    fn answered(&mut self, now: Instant, tx: ServerTx, request: &Message, status: u16, session: Option<Session>) {
        let Some(server) = self.servers.get(tx.0) else { return };
        let (kind, cseq, in_dialog) = (server.kind, server.cseq, server.in_dialog);
        let success = (200..300).contains(&status);
        let id = server.dialog;
        if let Some((id, dialog)) = id.and_then(|id| Some((id, self.dialogs.get_mut(id.0)?))) {
            match kind {
                Kind::Invite if success => {
                    if dialog.state == DialogState::Early {
                        dialog.state = DialogState::Confirmed;
                    }
                    dialog.unacked.push((cseq, tx, request.body().is_empty()));
                    if in_dialog {
                        dialog.learn(request);
                        dialog.refresh_target(request);
                    }
                    self.start_session(now, id, session);
                }
                Kind::Invite if !in_dialog => self.dialog_over(id),
                Kind::Update => {
                    if dialog.update_in == Some(tx) {
                        dialog.update_in = None;
                    }
                    if success {
                        dialog.learn(request);
                        dialog.refresh_target(request);
                        self.start_session(now, id, session);
                    }
                }
                Kind::Bye if success || status == 481 => {
                    // RFC 3261 §15.1.2: the INVITE that the BYE overtook gets its answer.
                    let pending = dialog.invite_in.filter(|_| status != 481);
                    let open = |tx: &ServerTx| self.servers.get(tx.0).is_some_and(|server| server.machine.is_open());
                    if let Some(invite) = pending.filter(open) {
                        self.answer(now, invite, &Response::new(487), None);
                    }
                    self.dialog_over(id);
                }
                Kind::Invite | Kind::Ack | Kind::Cancel | Kind::Bye | Kind::Prack | Kind::Register | Kind::Other => {}
            }
        }
        let state = self.servers.get(tx.0).map(|server| server.machine.state());
        if state == Some(ServerState::Terminated) {
            self.remove_server(tx);
        } else if state == Some(ServerState::Completed) && kind != Kind::Invite {
            self.retire(now, tx);
        }
    }

    /// Keeps nothing of an answered request but its answer. Where there are too many, the oldest goes before its time: a
    /// repetition would have come by then, and if it still comes it is taken for new.
    fn retire(&mut self, now: Instant, tx: ServerTx) {
        let Some(server) = self.servers.get_mut(tx.0) else { return };
        let (Some(answer), merge_key) = (server.last.take(), server.merge_key.take()) else { return };
        let (key, to, until) = (server.key, server.reply_flow(), now + self.config.timers.j);
        self.remove_server(tx);
        if self.answered.len() >= (self.config.max_transactions / 2).max(1)
            && let Some(oldest) = self.answered.pop_oldest()
        {
            self.forget_merged(oldest.merge_key);
        }
        self.answered.push(Answered::new(until, key, merge_key, to, &answer));
    }

    /// Removes a dialog and says so.
    pub(super) fn dialog_over(&mut self, id: DialogId) {
        if self.remove_dialog(id) {
            self.tell(Event::DialogEnded { dialog: id });
        }
    }
}
