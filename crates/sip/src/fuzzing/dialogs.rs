//! Two endpoints with a wire between them: both users command what the bytes choose, and the bytes decide what the wire
//! loses, doubles and brings late. Whatever was begun ends once at either side, and nothing stays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::choices::Choices;
use super::stage::{self, STATUSES, TCP, flow, request, sdp};
use crate::endpoint::{ClientTx, Counts, DialogId, Endpoint, EndpointConfig, Event, Response, ServerTx, SessionTimer};
use crate::flow::{ConnId, Transport};
use crate::{Headers, Message, Method};

/// More operations than this are not read: a finding is to be short.
const OPERATIONS: usize = 400;
/// What the users ask for within a dialog.
const WITHIN: [Method<'static>; 8] = [
    Method::Invite,
    Method::Bye,
    Method::Update,
    Method::Info,
    Method::Message,
    Method::Refer,
    Method::Options,
    Method::Other("WHATEVER"),
];

/// The input is a list of operations; see [`Choices`].
pub fn dialogs(data: &[u8]) {
    let mut pair = Pair::new(Choices::new(data));
    for _ in 0..OPERATIONS {
        if pair.choices.is_over() {
            break;
        }
        pair.step();
    }
    pair.let_go();
    for (side, end) in pair.ends.iter().enumerate() {
        assert_eq!(end.counts(), Counts::default(), "when all is over nothing stays at side {side}");
        assert_eq!(end.poll_timeout(), None, "side {side} has nothing left to wait for");
    }
    for (side, user) in pair.users.iter().enumerate() {
        for (tx, finals) in &user.finals {
            assert_eq!(*finals, 1, "side {side} hears of the end of {tx:?} once");
        }
    }
}

/// What a user has heard of.
#[derive(Default)]
struct User {
    servers: Vec<ServerTx>,
    clients: Vec<ClientTx>,
    dialogs: Vec<DialogId>,
    /// How often it was told of the end of each request it sent.
    finals: BTreeMap<ClientTx, u32>,
}

struct Packet {
    from: usize,
    transport: Transport,
    payload: Bytes,
}

struct Pair<'a> {
    choices: Choices<'a>,
    now: Instant,
    ends: [Endpoint; 2],
    users: [User; 2],
    wire: Vec<Packet>,
}

impl<'a> Pair<'a> {
    fn new(mut choices: Choices<'a>) -> Self {
        let shape = choices.byte();
        let end = |side: usize| {
            let session = (shape >> side & 1 == 1).then_some(SessionTimer::DEFAULT);
            let config = EndpointConfig { max_transactions: 60, max_dialogs: 30, session, ..stage::config(side) };
            Endpoint::new(config, [side as u8 + 1; 32])
        };
        Pair { choices, now: stage::start(), ends: [end(0), end(1)], users: Default::default(), wire: Vec::new() }
    }

    fn step(&mut self) {
        let operation = self.choices.byte();
        let side = usize::from(operation >> 7);
        match operation & 0x7f {
            // The wire: brought in order, brought too early, lost, brought twice.
            0..24 => self.bring(0),
            24..32 => self.bring_all(),
            32..40 => {
                let at = self.choices.below(8);
                self.bring(at);
            }
            40..48 => {
                let at = self.choices.below(8);
                if self.wire.get(at).is_some_and(|packet| packet.transport == Transport::Udp) {
                    self.wire.remove(at);
                }
            }
            48..54 => {
                let at = self.choices.below(8);
                if let Some(packet) = self.wire.get(at).filter(|packet| packet.transport == Transport::Udp) {
                    let again = Packet { payload: packet.payload.clone(), ..*packet };
                    self.wire.push(again);
                }
            }
            54..64 => {
                let shape = self.choices.byte();
                let pause = if shape < 224 { u64::from(shape) * 18 } else { u64::from(shape - 223) * 17_000 };
                self.pass(Duration::from_millis(pause));
            }
            64..74 => self.begin(side),
            74..124 => self.command(operation & 0x7f, side),
            _ => {
                // The connection breaks, with what was on it.
                self.wire.retain(|packet| packet.transport == Transport::Udp);
                for end in &mut self.ends {
                    end.handle_flow_closed(self.now, ConnId(1));
                }
            }
        }
        self.settle();
    }

    fn begin(&mut self, side: usize) {
        let shape = self.choices.byte();
        let method = match shape & 7 {
            6 => Method::Options,
            7 => Method::Message,
            _ => Method::Invite,
        };
        let transport = if shape & 0x18 == 0x18 { Transport::Tcp } else { Transport::Udp };
        let mut r = request(side, method, transport);
        if method == Method::Invite {
            r.reliable = shape & 0x20 != 0;
            r.session = (shape & 0x40 != 0).then_some(SessionTimer::DEFAULT);
            if shape & 0x80 != 0 {
                r.body = None;
            }
        }
        if shape & 0x1f == 0x0f {
            r.tcp_alternative = Some(TCP);
            r.headers.push("X-Long", "x".repeat(1500));
        }
        let sent = self.ends[side].send_request(self.now, r);
        self.users[side].began(sent.ok());
    }

    fn command(&mut self, operation: u8, side: usize) {
        let (end, user) = (&mut self.ends[side], &mut self.users[side]);
        let shape = self.choices.byte();
        let body = (shape & 0x80 != 0).then(sdp);
        let response = Response { body: body.clone(), ..Response::new(STATUSES[usize::from(shape & 15)]) };
        let server = self.choices.recent(&user.servers);
        let client = self.choices.recent(&user.clients);
        let dialog = self.choices.recent(&user.dialogs);
        let (now, none) = (self.now, Headers::default());
        match (operation, server, client, dialog) {
            (74..90, Some(tx), ..) => drop(end.respond(now, tx, response)),
            (90..96, Some(tx), ..) => drop(end.respond_reliably(now, tx, response)),
            (96..100, _, Some(tx), _) => end.cancel(now, tx, none),
            (100..108, _, _, Some(dialog)) => end.ack(now, dialog, none, body),
            (108..112, _, _, Some(dialog)) => {
                let sent = end.prack(now, dialog, none, body);
                user.began(sent.ok());
            }
            (112..122, _, _, Some(dialog)) => {
                let method = WITHIN[usize::from(shape & 7)];
                let sent = end.dialog_request(now, dialog, method, none, body);
                user.began(sent.ok());
            }
            (122.., _, Some(tx), _) => {
                let sent = end.resend_with(now, tx, none);
                user.began(sent.ok());
            }
            _ => {}
        }
    }

    fn bring(&mut self, at: usize) {
        if at < self.wire.len() {
            let packet = self.wire.remove(at);
            let to = 1 - packet.from;
            let msg = stage::parse(packet.payload);
            self.ends[to].handle_message(self.now, msg, flow(packet.from, to, packet.transport));
        }
    }

    /// What is on the wire now, in order, and not what comes of it.
    fn bring_all(&mut self) {
        for _ in 0..self.wire.len() {
            self.bring(0);
        }
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        for end in &mut self.ends {
            let mut now = self.now;
            super::transactions::pass(end, &mut now, duration);
        }
        self.now = until;
    }

    fn settle(&mut self) {
        for side in 0..2 {
            while let Some(event) = self.ends[side].poll_event() {
                self.users[side].hear(event);
            }
            let end = &mut self.ends[side];
            self.users[side].learn_dialogs(end);
            while let Some(transmit) = self.ends[side].poll_transmit() {
                let msg: Message = stage::parse(transmit.payload.clone());
                assert!(msg.raw().len() == transmit.payload.len(), "one message, and nothing behind it");
                self.wire.push(Packet {
                    from: side,
                    transport: transmit.target.transport(),
                    payload: transmit.payload,
                });
            }
        }
        // A wire that nobody empties loses what is oldest.
        let excess = self.wire.len().saturating_sub(64);
        self.wire.drain(..excess);
    }

    /// Both users are done with everything; the wire works.
    fn let_go(&mut self) {
        for round in 0..4 {
            for side in 0..2 {
                let (end, user, now) = (&mut self.ends[side], &mut self.users[side], self.now);
                for tx in user.servers.drain(..) {
                    let _ = end.respond(now, tx, Response::new(480));
                }
                for tx in user.clients.drain(..) {
                    end.cancel(now, tx, Headers::default());
                }
                if round == 2 {
                    for dialog in user.dialogs.drain(..) {
                        end.end_dialog(dialog);
                    }
                }
            }
            // 400 s in steps: what one says, the other hears at once.
            for _ in 0..400 {
                self.settle();
                while !self.wire.is_empty() {
                    self.bring_all();
                    self.settle();
                }
                if self.ends.iter().all(|end| end.poll_timeout().is_none()) {
                    break;
                }
                self.pass(Duration::from_secs(1));
            }
        }
    }
}

impl User {
    fn began(&mut self, tx: Option<ClientTx>) {
        if let Some(tx) = tx {
            self.clients.push(tx);
            self.finals.insert(tx, 0);
        }
    }

    fn ended(&mut self, tx: ClientTx) {
        if let Some(finals) = self.finals.get_mut(&tx) {
            *finals += 1;
        }
    }

    fn learn_dialogs(&mut self, end: &Endpoint) {
        for tx in &self.servers {
            self.dialogs.extend(end.dialog_of(*tx));
        }
        self.dialogs.sort();
        self.dialogs.dedup();
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Request { tx, .. } => self.servers.push(tx),
            Event::DialogRequest { tx, dialog, .. } => {
                self.servers.push(tx);
                self.dialogs.push(dialog);
            }
            Event::Response { tx, dialog, response } => {
                self.dialogs.extend(dialog);
                if response.status() >= 200 {
                    self.ended(tx);
                }
            }
            Event::Failed { tx, dialog, .. } => {
                self.dialogs.extend(dialog);
                self.ended(tx);
            }
            Event::Ack { dialog, .. }
            | Event::AckTimeout { dialog }
            | Event::SessionRefreshDue { dialog }
            | Event::SessionExpired { dialog }
            | Event::DialogEnded { dialog } => self.dialogs.push(dialog),
            Event::Cancelled { .. }
            | Event::Acknowledged { .. }
            | Event::ReliableAcked { .. }
            | Event::ReliableTimeout { .. } => {}
        }
    }
}
