//! Requests of ours: new ones, repeats with credentials, CANCEL, ACK, and those within dialogs.

use std::time::Instant;

use bytes::Bytes;
use rand::Rng;
use smallvec::SmallVec;

use super::compose::{Within, request_uri};
use super::key::{Branch, Kind};
use super::{
    Cancel, Client, ClientTx, Endpoint, EndpointError, MethodName, OutRequest, Priority, SentRequest, Source, clock,
};
use crate::dialog::{DialogId, DialogState, Side};
use crate::flow::{ListenerId, Target, Transmit, TransmitToken, Transport};
use crate::method::Method;
use crate::session_timer::LONGEST_INTERVAL;
use crate::timer::Owner;
use crate::transaction::client::{ClientMachine, ClientState};
use crate::write::{Body, Headers};

/// 422s that one request may get before it has failed.
const MOST_RAISES: u8 = 2;

impl Endpoint {
    /// Sends a request out of any dialog. Call-ID, From tag and CSeq (1) are chosen where they are not given.
    pub fn send_request(&mut self, now: Instant, mut r: OutRequest) -> Result<ClientTx, EndpointError> {
        if matches!(r.method, Method::Ack | Method::Cancel | Method::Prack) {
            return Err(EndpointError::WrongMethod);
        }
        if self.writer.listener(r.target.listener()).is_none() {
            return Err(EndpointError::UnknownListener);
        }
        // What we begin ourselves was let in before: strangers' requests leave room for it.
        if !self.has_room(Priority::High) {
            return Err(EndpointError::Full);
        }
        if r.call_id.is_none() {
            let (a, b) = (self.random_hex(), self.random_hex());
            r.call_id = Some([a.as_str(), b.as_str()].concat());
        }
        if r.from_tag.is_none() {
            r.from_tag = Some(self.random_hex().as_str().to_owned());
        }
        r.cseq.get_or_insert(1);
        Ok(self.launch(now, Box::new(r)))
    }

    /// Sends a request that was refused once more: same Call-ID and From tag, CSeq one up, `extra` in place of fields
    /// of the same names. For 401 and 407 `extra` holds the credentials; after a 422 the session interval is raised to
    /// what it said. Works for requests within dialogs too, as long as the transaction is kept (5 s at least).
    ///
    /// `WrongState` where nothing would come of it: a 422 without a Min-SE above what was asked for, one too many of
    /// them, or a dialog that is being ended. `Pending` and `Full` as for [`Self::dialog_request`].
    pub fn resend_with(&mut self, now: Instant, tx: ClientTx, extra: Headers) -> Result<ClientTx, EndpointError> {
        self.resend(now, tx, extra, None)
    }

    /// As [`Self::resend_with`], with another body: a 488 is answered with an offer that the peer may like better.
    pub fn resend_with_body(
        &mut self,
        now: Instant,
        tx: ClientTx,
        extra: Headers,
        body: Body,
    ) -> Result<ClientTx, EndpointError> {
        self.resend(now, tx, extra, Some(body))
    }

    fn resend(
        &mut self,
        now: Instant,
        tx: ClientTx,
        extra: Headers,
        other_body: Option<Body>,
    ) -> Result<ClientTx, EndpointError> {
        let client = self.clients.get(tx.0).ok_or(EndpointError::UnknownTransaction)?;
        if client.machine.is_waiting() || client.machine.state() == ClientState::Accepted {
            return Err(EndpointError::WrongState);
        }
        let mut raises = client.raises;
        let mut min_se = None;
        if let Some(wanted) = client.too_short {
            // A peer that refuses what it asked for, or does not say what it wants, will refuse it again.
            let asked = client.session.map_or(u32::MAX, |session| session.expires);
            min_se = wanted.filter(|&wanted| wanted > asked && wanted <= LONGEST_INTERVAL);
            if min_se.is_none() || raises >= MOST_RAISES {
                return Err(EndpointError::WrongState);
            }
            raises += 1;
        }
        let kind = client.kind;
        if let Source::InDialog { body, .. } = &client.source {
            let id = client.dialog.ok_or(EndpointError::UnknownDialog)?;
            let dialog = self.dialogs.get(id.0).ok_or(EndpointError::UnknownDialog)?;
            if dialog.state == DialogState::Closing && kind != Kind::Bye {
                return Err(EndpointError::WrongState);
            }
            if self.must_wait(id, kind, body.is_some() || other_body.is_some()) {
                return Err(EndpointError::Pending);
            }
        }
        if kind != Kind::Bye && !self.has_room(Priority::High) {
            return Err(EndpointError::Full);
        }
        let client = self.clients.get_mut(tx.0).expect("found above");
        let again = match std::mem::replace(&mut client.source, Source::Own) {
            Source::Own => return Err(EndpointError::WrongMethod),
            Source::New(mut r) => {
                r.cseq = r.cseq.map(|cseq| cseq + 1);
                r.headers = merged(&r.headers, &extra);
                if other_body.is_some() {
                    r.body = other_body;
                }
                if let (Some(session), Some(min_se)) = (&mut r.session, min_se) {
                    session.raise(min_se);
                }
                self.launch(now, r)
            }
            Source::InDialog { method, headers, body } => {
                let id = client.dialog.take().ok_or(EndpointError::UnknownDialog)?;
                let headers = merged(&headers, &extra);
                self.request_within(now, id, method, headers, other_body.or(body))?
            }
        };
        if let Some(client) = self.clients.get_mut(again.0) {
            client.raises = raises;
        }
        Ok(again)
    }

    /// What was sent within a dialog, while its transaction is kept: for whoever answers a challenge.
    pub fn sent_within(&self, tx: ClientTx) -> Option<SentRequest> {
        let client = self.clients.get(tx.0)?;
        let Source::InDialog { method, headers, .. } = &client.source else { return None };
        let dialog = self.dialogs.get(client.dialog?.0)?;
        Some(SentRequest {
            method: method.get().as_str().to_owned(),
            uri: request_uri(dialog).to_owned(),
            remote: client.target.remote(),
            has_credentials: headers.contains("Authorization") || headers.contains("Proxy-Authorization"),
        })
    }

    /// Whether nothing at all has come to a request of ours, not even a 100.
    pub fn is_unheard(&self, tx: ClientTx) -> bool {
        let waits = |state| matches!(state, ClientState::Idle | ClientState::Trying);
        self.clients.get(tx.0).is_some_and(|client| waits(client.machine.state()))
    }

    /// Nobody waits for the answer to a request out of a dialog any more: it is not repeated, and an answer that comes after
    /// all is a stray one. Not for INVITE, which is cancelled.
    pub fn abandon(&mut self, tx: ClientTx) {
        if self.clients.get(tx.0).is_some_and(|client| client.kind != Kind::Invite && client.dialog.is_none()) {
            self.remove_client(tx);
        }
    }

    /// Cancels an INVITE (RFC 3261 §9.1): at once where a provisional answer has come, otherwise when it comes. A 2xx
    /// that crosses the CANCEL is delivered as any. If no final answer comes in 64*T1 the transaction fails.
    pub fn cancel(&mut self, now: Instant, tx: ClientTx, extra: Headers) {
        let Some(client) = self.clients.get_mut(tx.0).filter(|client| client.kind == Kind::Invite) else { return };
        if !matches!(client.cancel, Cancel::No) {
            return;
        }
        match client.machine.state() {
            ClientState::Trying | ClientState::Idle => client.cancel = Cancel::Wanted(extra),
            ClientState::Proceeding => self.send_cancel(now, tx, &extra),
            ClientState::Completed | ClientState::Accepted | ClientState::Terminated => {}
        }
    }

    pub(super) fn send_cancel(&mut self, now: Instant, tx: ClientTx, extra: &Headers) {
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        client.machine.cancelled(&mut clock(&mut self.timers, &self.config, now, Owner::Client(tx)));
        let (invite, target) = (client.payload.clone(), client.target.clone());
        let (cseq, nonce) = (client.cseq, client.nonce);
        let payload = self.writer.write_from_invite(&invite, Method::Cancel, None, extra);
        let cancel = self.insert_client(Kind::Cancel, cseq, nonce, target, Source::Own);
        let client = self.clients.get_mut(cancel.0).expect("just made");
        client.payload = payload;
        client.cancels = Some(tx);
        if let Some(invite) = self.clients.get_mut(tx.0) {
            invite.cancel = Cancel::Sent(cancel);
        }
        self.start_client(now, cancel);
    }

    /// Acknowledges the 2xx to our latest INVITE in a dialog. Kept, and sent again for each repeated 2xx. `body` is the
    /// answer where the 2xx carried the offer. Credentials of the INVITE are repeated (RFC 3261 §13.2.2.4).
    pub fn ack(&mut self, _now: Instant, dialog: DialogId, extra: Headers, body: Option<Body>) {
        let branch = self.loose_branch();
        let Some(dialog) = self.dialogs.get_mut(dialog.0) else { return };
        if self.writer.listener(dialog.target.listener()).is_none() {
            return;
        }
        let Some(cseq) = dialog.to_ack.take() else { return };
        let mut headers = std::mem::take(&mut dialog.credentials);
        headers.append(&extra);
        let within =
            Within { method: Method::Ack, cseq, headers: &headers, body: body.as_ref(), session: None, rack: None };
        let payload = self.writer.write_within(dialog, &dialog.target, branch, &within);
        dialog.ack = Some((cseq, payload.clone()));
        let target = dialog.target.clone();
        self.transmit(target, payload);
    }

    /// Acknowledges a reliable provisional answer that carried an offer, with `body` as the answer (RFC 3262 §5). All
    /// other reliable answers are acknowledged by the endpoint itself.
    pub fn prack(
        &mut self,
        now: Instant,
        dialog: DialogId,
        extra: Headers,
        body: Option<Body>,
    ) -> Result<ClientTx, EndpointError> {
        let found = self.dialogs.get_mut(dialog.0).ok_or(EndpointError::UnknownDialog)?;
        if found.to_prack.is_none() {
            return Err(EndpointError::WrongState);
        }
        found.early_answered = true;
        self.request_within(now, dialog, MethodName::Known(Method::Prack), extra, body)
    }

    /// Sends a request within a dialog: re-INVITE, UPDATE, INFO, BYE, MESSAGE, OPTIONS, NOTIFY, REFER or any other but
    /// ACK, CANCEL, PRACK and REGISTER. A BYE of the callee waits until the ACK of its 2xx has come or is not expected
    /// any more (RFC 3261 §15).
    ///
    /// `Pending` where the rules of RFC 3261 §14.1 or RFC 3311 §5.1 want the request to wait.
    pub fn dialog_request(
        &mut self,
        now: Instant,
        dialog: DialogId,
        method: Method<'_>,
        extra: Headers,
        body: Option<Body>,
    ) -> Result<ClientTx, EndpointError> {
        let kind = Kind::of(method);
        let found = self.dialogs.get(dialog.0).ok_or(EndpointError::UnknownDialog)?;
        if matches!(kind, Kind::Ack | Kind::Cancel | Kind::Prack | Kind::Register) {
            return Err(EndpointError::WrongMethod);
        }
        if found.state == DialogState::Closing
            || kind == Kind::Bye && found.state == DialogState::Early && found.side == Side::Callee
        {
            return Err(EndpointError::WrongState);
        }
        if self.must_wait(dialog, kind, body.is_some()) {
            return Err(EndpointError::Pending);
        }
        if kind != Kind::Bye && !self.has_room(Priority::High) {
            return Err(EndpointError::Full);
        }
        self.request_within(now, dialog, MethodName::of(method), extra, body)
    }

    fn must_wait(&self, id: DialogId, kind: Kind, offer: bool) -> bool {
        let Some(dialog) = self.dialogs.get(id.0) else { return false };
        let peer_inviting =
            dialog.invite_in.and_then(|tx| self.servers.get(tx.0)).is_some_and(|server| server.machine.is_open());
        let answer_due = dialog.unacked.iter().any(|&(_, _, answer_due)| answer_due);
        let update_offer = dialog.update_out.is_some_and(|(_, offer)| offer);
        match kind {
            Kind::Invite => {
                dialog.state == DialogState::Early
                    || dialog.invite_out.is_some()
                    || dialog.to_ack.is_some()
                    || peer_inviting
                    || answer_due
                    || update_offer
                    || dialog.update_in.is_some()
            }
            Kind::Update => {
                let negotiating = (dialog.invite_out.is_some() || peer_inviting) && !dialog.early_answered;
                let inviting = negotiating || dialog.to_ack.is_some() || answer_due || dialog.update_in.is_some();
                dialog.update_out.is_some() || offer && inviting
            }
            Kind::Ack | Kind::Cancel | Kind::Bye | Kind::Prack | Kind::Register | Kind::Other => false,
        }
    }

    /// Writes a request within a dialog and sends it, or lets it wait where it is a BYE before its time.
    pub(super) fn request_within(
        &mut self,
        now: Instant,
        id: DialogId,
        name: MethodName,
        headers: Headers,
        body: Option<Body>,
    ) -> Result<ClientTx, EndpointError> {
        let dialog = self.dialogs.get_mut(id.0).ok_or(EndpointError::UnknownDialog)?;
        if self.writer.listener(dialog.target.listener()).is_none() {
            return Err(EndpointError::UnknownListener);
        }
        dialog.local_seq += 1;
        let (cseq, target, alternative) = (dialog.local_seq, dialog.target.clone(), dialog.tcp_alternative);
        let kind = Kind::of(name.get());
        let session = dialog.session.filter(|_| matches!(kind, Kind::Invite | Kind::Update));
        let session = session.map(|session| session.again());
        let rack = if kind == Kind::Prack { dialog.to_prack.take() } else { None };
        let nonce = self.rng.next_u64();
        let tx = self.insert_client(kind, cseq, nonce, target.clone(), Source::Own);
        let branch = Branch::new(tx.0, nonce);
        let dialog = self.dialogs.get_mut(id.0).expect("found above");
        let within = Within { method: name.get(), cseq, headers: &headers, body: body.as_ref(), session, rack };
        let payload = self.writer.write_within(dialog, &target, branch, &within);
        let has_body = body.is_some();
        match kind {
            Kind::Invite => {
                dialog.invite_out = Some((tx, has_body));
                dialog.early_answered = false;
                dialog.rseq = None;
            }
            Kind::Update => dialog.update_out = Some((tx, has_body)),
            Kind::Bye => dialog.state = DialogState::Closing,
            Kind::Ack | Kind::Cancel | Kind::Prack | Kind::Register | Kind::Other => {}
        }
        let waits = kind == Kind::Bye
            && dialog.unacked.iter().any(|&(_, tx, _)| self.servers.get(tx.0).is_some_and(|server| !server.in_dialog));
        if waits {
            dialog.waiting_bye = Some(tx);
        }
        let client = self.clients.get_mut(tx.0).expect("just made");
        client.machine.limit();
        client.dialog = Some(id);
        client.session = session;
        client.has_body = has_body;
        client.source = Source::InDialog { method: name, headers, body };
        self.set_payload(tx, payload, alternative);
        if !waits {
            self.start_client(now, tx);
        }
        Ok(tx)
    }

    fn launch(&mut self, now: Instant, r: Box<OutRequest>) -> ClientTx {
        let contact = self.writer.contact_of_request(&r);
        let (cseq, nonce) = (r.cseq.unwrap_or(1), self.rng.next_u64());
        let tx = self.insert_client(Kind::of(r.method), cseq, nonce, r.target.clone(), Source::Own);
        let payload = self.writer.write_new(&r, contact.as_deref(), &r.target, Branch::new(tx.0, nonce));
        let client = self.clients.get_mut(tx.0).expect("just made");
        client.session = r.session;
        client.has_body = r.body.is_some();
        let alternative = r.tcp_alternative;
        client.source = Source::New(r);
        self.set_payload(tx, payload, alternative);
        self.start_client(now, tx);
        tx
    }

    pub(super) fn insert_client(
        &mut self,
        kind: Kind,
        cseq: u32,
        nonce: u64,
        target: Target,
        source: Source,
    ) -> ClientTx {
        let machine = ClientMachine::new(kind == Kind::Invite);
        ClientTx(self.clients.insert_with(|_| Client {
            machine,
            kind,
            cseq,
            nonce,
            target,
            payload: Bytes::new(),
            fallback: None,
            dialog: None,
            forks: SmallVec::new(),
            accepted: SmallVec::new(),
            source,
            cancel: Cancel::No,
            cancels: None,
            session: None,
            too_short: None,
            raises: 0,
            conn: None,
            has_body: false,
        }))
    }

    /// RFC 3261 §18.1.1: what is too long for UDP goes by TCP where there is a way.
    fn set_payload(&mut self, tx: ClientTx, payload: Bytes, alternative: Option<ListenerId>) {
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        client.payload = payload;
        let tcp = alternative
            .filter(|_| client.target.transport() == Transport::Udp)
            .filter(|_| client.payload.len() > self.config.udp_size_limit)
            .filter(|id| self.writer.listener(*id).is_some_and(|listener| listener.transport == Transport::Tcp));
        let Some(listener) = tcp else { return };
        let remote = client.target.remote();
        let target = Target::Connect { transport: Transport::Tcp, listener, remote, server_name: None };
        let branch = Branch::new(tx.0, client.nonce);
        if let Some(payload) = self.writer.with_other_via(&client.payload, &target, branch) {
            client.payload = payload;
            client.fallback = Some(std::mem::replace(&mut client.target, target));
        }
    }

    pub(super) fn start_client(&mut self, now: Instant, tx: ClientTx) {
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        let reliable = client.target.transport().is_reliable();
        client.machine.start(&mut clock(&mut self.timers, &self.config, now, Owner::Client(tx)), reliable);
        if let Target::Flow(flow) = &client.target
            && let Some(conn) = flow.conn
        {
            client.conn = Some(conn);
            self.by_conn.entry(conn).or_default().insert(tx);
        }
        self.transmit_client(tx);
    }

    pub(super) fn transmit_client(&mut self, tx: ClientTx) {
        let Some(client) = self.clients.get(tx.0) else { return };
        let (target, payload) = (client.target.clone(), client.payload.clone());
        self.out.push_back(Transmit { target, payload, token: Some(TransmitToken(tx.0)) });
    }

    /// A branch that belongs to no transaction, for ACK.
    fn loose_branch(&mut self) -> Branch {
        // The upper bit lies beyond what any slot's counter reaches, so no answer can match it.
        Branch::new(self.rng.next_u64() | 1 << 63, self.rng.next_u64())
    }
}

/// `old` without the fields that `extra` has, then `extra`.
fn merged(old: &Headers, extra: &Headers) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in old.iter() {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if !extra.contains(name) {
            headers.push_bytes(name, value);
        }
    }
    headers.append(extra);
    headers
}
