//! One endpoint against a peer that says whatever the bytes choose, in any order, while its own user commands whatever
//! the bytes choose. Nothing panics, and when everything has been let go nothing stays.

use std::time::{Duration, Instant};

use super::choices::Choices;
use super::stage::{self, METHODS, STATUSES, TCP, answer_to, flow, request, sdp, text};
use crate::endpoint::{
    ClientTx, Counts, DialogId, Endpoint, EndpointConfig, Event, Priority, Response, ServerTx, SessionTimer,
    TransportError,
};
use crate::flow::{ConnId, Flow, Target, TransmitToken, Transport};
use crate::{Headers, Limits, Message, Method};

/// More operations than this are not read: a finding is to be short.
const OPERATIONS: usize = 600;

/// The input is a list of operations; see [`Choices`].
pub fn transactions(data: &[u8]) {
    let mut lone = Lone::new(Choices::new(data));
    for _ in 0..OPERATIONS {
        if lone.choices.is_over() {
            break;
        }
        lone.step();
        let counts = lone.end.counts();
        assert!(counts.client + counts.server <= 80 && counts.dialogs <= 200, "{counts:?}");
    }
    lone.let_go();
    assert_eq!(lone.end.counts(), Counts::default(), "when all is over nothing stays");
    assert_eq!(lone.end.poll_timeout(), None, "nothing is left to wait for");
}

/// Lets time pass with every timer at its time.
pub(super) fn pass(end: &mut Endpoint, now: &mut Instant, duration: Duration) {
    let until = *now + duration;
    while let Some(at) = end.poll_timeout().filter(|at| *at <= until) {
        *now = (*now).max(at);
        end.handle_timeout(*now);
        assert!(end.poll_timeout().is_none_or(|next| next > *now), "a timer that was due stays due");
    }
    *now = until;
}

struct Lone<'a> {
    choices: Choices<'a>,
    now: Instant,
    end: Endpoint,
    sent: Vec<Message>,
    tags: Vec<String>,
    servers: Vec<ServerTx>,
    clients: Vec<ClientTx>,
    dialogs: Vec<DialogId>,
}

impl<'a> Lone<'a> {
    fn new(mut choices: Choices<'a>) -> Self {
        let config = EndpointConfig {
            max_transactions: 40,
            max_dialogs: 20,
            session: choices.chance(128).then_some(SessionTimer::DEFAULT),
            ..stage::config(1)
        };
        Lone {
            choices,
            now: stage::start(),
            end: Endpoint::new(config, [9; 32]),
            sent: Vec::new(),
            tags: vec![String::new(), "stranger".into()],
            servers: vec![ServerTx(0)],
            clients: vec![ClientTx(0)],
            dialogs: vec![DialogId(0)],
        }
    }

    fn transport(&mut self) -> Transport {
        if self.choices.chance(76) { Transport::Tcp } else { Transport::Udp }
    }

    fn flow(&mut self) -> Flow {
        let transport = self.transport();
        flow(0, 1, transport)
    }

    fn extras(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.choices.below(4) {
            let number = self.choices.byte();
            let (a, b) = (number >> 4 & 3, number >> 6);
            let line = match number & 15 {
                0 => "Supported: 100rel, timer\r\n".to_owned(),
                1 => "Require: 100rel\r\n".to_owned(),
                2 => "Require: unknown\r\n".to_owned(),
                3 => "Session-Expires: 90;refresher=uas\r\n".to_owned(),
                4 => "Session-Expires: 4294967295\r\n".to_owned(),
                5 => "Session-Expires: x\r\n".to_owned(),
                6 => "Min-SE: 4294967295\r\n".to_owned(),
                7 => "Max-Breadth: 0\r\n".to_owned(),
                8 => "Record-Route: <sip:p.example.org>, <sip:192.0.2.9;lr>\r\n".to_owned(),
                9 => "Record-Route: nonsense\r\n".to_owned(),
                10 => format!("Require: 100rel\r\nRSeq: {a}\r\n"),
                11 => "Require: 100rel\r\nRSeq: 4294967295\r\n".to_owned(),
                12 => format!("RAck: {a} {b} INVITE\r\n"),
                13 => "Allow: INVITE, UPDATE\r\n".to_owned(),
                14 => "Supported: 100rel\r\nRequire: timer\r\nSession-Expires: 120;refresher=uac\r\n".to_owned(),
                _ => "Route: <sip:192.0.2.2;lr>\r\n".to_owned(),
            };
            if !text.contains(&line[..4]) {
                text.push_str(&line);
            }
        }
        text
    }

    fn request(&mut self) -> String {
        let method = *self.choices.pick(&METHODS);
        let branch = match self.choices.below(13) {
            12 => "1".to_owned(),
            n => format!("z9hG4bK{n}"),
        };
        let cseq = self.choices.below(8) as u32 + 1;
        let to_tag =
            if self.choices.chance(128) { self.choices.recent(&self.tags).unwrap_or_default() } else { String::new() };
        let more = self.extras();
        let mut text = text(method, &branch, cseq, &to_tag, &more);
        let shape = self.choices.byte();
        if shape & 3 == 3 {
            text = text.replace("call-1", "call-2");
        }
        if shape & 0x1c == 0x1c {
            text = text.replace("Contact: <sip:anna@192.0.2.1>", "Contact: ???");
        }
        if shape & 0x60 == 0x60 {
            text = text.replace("Content-Length: 0\r\n\r\n", "Content-Length: 1\r\n\r\nv");
        }
        // An answer to a reliable provisional of ours, as often as not.
        if method == "PRACK"
            && shape & 0x80 == 0
            && let Some(last) = self.sent.iter().rev().find_map(|msg| Some((msg.rseq()?.ok()?, msg.cseq().number)))
        {
            text = text.replacen("Contact:", &format!("RAck: {} {} INVITE\r\nContact:", last.0, last.1), 1);
        }
        text
    }

    fn answer(&mut self) -> Option<String> {
        let requests: Vec<&Message> = self.sent.iter().filter(|msg| msg.is_request()).collect();
        let request = self.choices.recent(&requests)?.clone();
        let status = *self.choices.pick(&STATUSES);
        let tag = *self.choices.pick(&["x", "", "y", "z"]);
        let more = self.extras();
        Some(answer_to(&request, status, tag, &more))
    }

    fn hear(&mut self, text: Option<String>) {
        let Some(msg) = text.and_then(|text| Message::parse_datagram(text.into(), &Limits::default()).ok()) else {
            return;
        };
        let flow = self.flow();
        self.end.peek(&msg);
        match self.choices.below(16) {
            15 if msg.is_request() => self.end.respond_stateless(&msg, &flow, Response::new(401)),
            14 => self.end.handle_message_from(self.now, msg, flow, Priority::High),
            _ => self.end.handle_message(self.now, msg, flow),
        }
    }

    fn send_request(&mut self) {
        let method = if self.choices.chance(76) { Method::Register } else { Method::Invite };
        let transport = self.transport();
        let mut r = request(1, method, transport);
        let shape = self.choices.byte();
        r.body = (shape & 1 == 0).then(sdp);
        r.reliable = shape & 2 != 0;
        r.session = (shape & 12 == 12).then_some(SessionTimer::DEFAULT);
        r.tcp_alternative = (shape & 48 == 48).then_some(TCP);
        if shape & 0x40 != 0 {
            r.headers.push("X-Long", "x".repeat(1500));
        }
        if shape & 0x80 != 0 {
            r.target = Target::Flow(flow(0, 1, transport));
        }
        self.clients.extend(self.end.send_request(self.now, r));
    }

    fn step(&mut self) {
        let operation = self.choices.below(22);
        let now = self.now;
        match operation {
            0..6 => {
                let text = self.request();
                return self.finish_step(Some(text));
            }
            6..10 => {
                let text = self.answer();
                return self.finish_step(text);
            }
            13 => self.send_request(),
            21 => {
                let shape = self.choices.byte();
                // Up to four seconds, or up to nine minutes.
                let pause = if shape < 224 { u64::from(shape) * 18 } else { u64::from(shape - 223) * 17_000 };
                pass(&mut self.end, &mut self.now, Duration::from_millis(pause));
            }
            _ => self.command(operation, now),
        }
        self.drain();
    }

    fn finish_step(&mut self, text: Option<String>) {
        self.hear(text);
        self.drain();
    }

    /// What a user does with the ids that it has.
    fn command(&mut self, operation: usize, now: Instant) {
        let server = self.choices.recent(&self.servers).expect("there is the invented one");
        let client = self.choices.recent(&self.clients).expect("there is the invented one");
        let dialog = self.choices.recent(&self.dialogs).expect("there is the invented one");
        let shape = self.choices.byte();
        let body = (shape & 3 == 3).then(sdp);
        let mut headers = Headers::default();
        if shape & 12 == 12 {
            headers.push("Authorization", "Digest x").push("Contact", "<sip:me@192.0.2.2>");
        }
        let status = STATUSES[usize::from(shape >> 4)];
        let response = Response { headers: headers.clone(), body: body.clone(), ..Response::new(status) };
        match operation {
            10 | 11 => drop(self.end.respond(now, server, response)),
            12 => drop(self.end.respond_reliably(now, server, response)),
            14 => self.clients.extend(self.end.resend_with(now, client, headers)),
            15 => self.end.cancel(now, client, headers),
            16 => self.end.ack(now, dialog, headers, body),
            17 | 18 => {
                let method = Method::from_name(self.choices.pick::<&str>(&METHODS));
                self.clients.extend(self.end.dialog_request(now, dialog, method, headers, body));
            }
            19 => self.clients.extend(self.end.prack(now, dialog, headers, body)),
            _ => match self.choices.below(6) {
                0 => self.end.handle_transport_error(now, TransmitToken(client.0), TransportError::Refused),
                1 => self.end.handle_flow_closed(now, ConnId(1)),
                2 => self.end.end_dialog(dialog),
                3 => self.end.forget(server),
                4 => {
                    let flow = self.flow();
                    self.end.set_target(dialog, Target::Flow(flow));
                }
                _ => drop(self.end.glare_wait(dialog)),
            },
        }
    }

    fn drain(&mut self) {
        while let Some(event) = self.end.poll_event() {
            match event {
                Event::Request { tx, .. } => self.servers.push(tx),
                Event::DialogRequest { tx, dialog, .. } => {
                    self.servers.push(tx);
                    self.dialogs.push(dialog);
                }
                Event::Response { dialog: Some(dialog), .. }
                | Event::Ack { dialog, .. }
                | Event::AckTimeout { dialog }
                | Event::SessionRefreshDue { dialog }
                | Event::SessionExpired { dialog }
                | Event::DialogEnded { dialog } => self.dialogs.push(dialog),
                Event::Response { .. }
                | Event::Failed { .. }
                | Event::Cancelled { .. }
                | Event::Acknowledged { .. }
                | Event::ReliableAcked { .. }
                | Event::ReliableTimeout { .. } => {}
            }
        }
        for tx in &self.servers {
            self.dialogs.extend(self.end.dialog_of(*tx));
        }
        self.dialogs.sort();
        self.dialogs.dedup();
        while let Some(transmit) = self.end.poll_transmit() {
            let msg = stage::parse(transmit.payload);
            if let Some(tag) = msg.to_tag().filter(|_| !msg.is_request()) {
                self.tags.push(tag.to_owned());
            }
            self.sent.push(msg);
        }
        let keep = self.sent.len().saturating_sub(60);
        self.sent.drain(..keep);
    }

    fn let_go(&mut self) {
        for tx in &self.servers {
            let _ = self.end.respond(self.now, *tx, Response::new(480));
        }
        for tx in &self.clients {
            self.end.cancel(self.now, *tx, Headers::default());
        }
        pass(&mut self.end, &mut self.now, Duration::from_secs(400));
        self.drain();
        for dialog in &self.dialogs {
            self.end.end_dialog(*dialog);
        }
        pass(&mut self.end, &mut self.now, Duration::from_secs(400));
        self.drain();
    }
}
