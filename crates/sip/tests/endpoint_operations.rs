//! Random lists of operations and messages: nothing panics, and when everything has been let go nothing stays.

mod endpoint_support;

use endpoint_support::*;
use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use ringfort_sip::endpoint::*;
use ringfort_sip::flow::{ConnId, Target, TransmitToken, Transport};
use ringfort_sip::{Headers, Message, Method};

const METHODS: [&str; 12] = [
    "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO", "UPDATE", "PRACK", "MESSAGE", "REFER", "WHATEVER",
];
const STATUSES: [u16; 16] = [100, 180, 183, 199, 200, 202, 299, 302, 401, 407, 408, 422, 481, 491, 503, 600];

struct Chaos {
    alone: Alone,
    rng: ChaCha12Rng,
    sent: Vec<Message>,
    tags: Vec<String>,
    servers: Vec<ServerTx>,
    clients: Vec<ClientTx>,
    dialogs: Vec<DialogId>,
}

impl Chaos {
    fn new(seed: u64) -> Chaos {
        let limits = EndpointConfig {
            max_transactions: 40,
            max_dialogs: 20,
            session: seed.is_multiple_of(2).then_some(SessionTimer::DEFAULT),
            ..config(1)
        };
        Chaos {
            alone: Alone::with(limits),
            rng: ChaCha12Rng::seed_from_u64(seed),
            sent: Vec::new(),
            tags: vec![String::new(), "stranger".into()],
            servers: vec![ServerTx(0)],
            clients: vec![ClientTx(0)],
            dialogs: vec![DialogId(0)],
        }
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        // Late entries are likelier: they are alive.
        let n = from.len();
        let at = if self.rng.random_bool(0.7) {
            n - 1 - self.rng.random_range(0..n.min(4))
        } else {
            self.rng.random_range(0..n)
        };
        from[at].clone()
    }

    fn flow(&mut self) -> ringfort_sip::flow::Flow {
        let transport = if self.rng.random_bool(0.7) { Transport::Udp } else { Transport::Tcp };
        flow(0, 1, transport)
    }

    fn extras(&mut self) -> String {
        let all = [
            "Supported: 100rel, timer\r\n".to_owned(),
            "Require: 100rel\r\n".to_owned(),
            "Require: unknown\r\n".to_owned(),
            "Session-Expires: 90;refresher=uas\r\n".to_owned(),
            "Session-Expires: 4294967295\r\n".to_owned(),
            "Session-Expires: x\r\n".to_owned(),
            "Min-SE: 4294967295\r\n".to_owned(),
            "Max-Breadth: 0\r\n".to_owned(),
            "Record-Route: <sip:p.example.org>, <sip:192.0.2.9;lr>\r\n".to_owned(),
            "Record-Route: nonsense\r\n".to_owned(),
            format!("Require: 100rel\r\nRSeq: {}\r\n", self.rng.random_range(0..4)),
            "Require: 100rel\r\nRSeq: 4294967295\r\n".to_owned(),
            format!("RAck: {} {} INVITE\r\n", self.rng.random_range(0..4), self.rng.random_range(0..4)),
            "Allow: INVITE, UPDATE\r\n".to_owned(),
        ];
        let mut text = String::new();
        for line in &all {
            if self.rng.random_bool(0.12) && !text.contains(&line[..4]) {
                text.push_str(line);
            }
        }
        text
    }

    fn request(&mut self) -> String {
        let method = METHODS[self.rng.random_range(0..METHODS.len())];
        let branch = match self.rng.random_range(0..10) {
            0 => "1".to_owned(),
            _ => format!("z9hG4bK{}", self.rng.random_range(0..12)),
        };
        let tags = self.tags.clone();
        let to_tag = if self.rng.random_bool(0.5) { String::new() } else { self.pick(&tags) };
        let more = self.extras();
        let mut text = text(method, &branch, self.rng.random_range(1..9), &to_tag, &more);
        if self.rng.random_bool(0.3) {
            text = text.replace("call-1", "call-2");
        }
        if self.rng.random_bool(0.1) {
            text = text.replace("Contact: <sip:anna@192.0.2.1>", "Contact: ???");
        }
        if self.rng.random_bool(0.3) {
            text = text.replace("Content-Length: 0\r\n\r\n", "Content-Length: 1\r\n\r\nv");
        }
        // An answer to a reliable provisional of ours, as often as not.
        if method == "PRACK"
            && let Some(last) = self.sent.iter().rev().find_map(|msg| Some((msg.rseq()?.ok()?, msg.cseq().number)))
        {
            text = text.replacen("Contact:", &format!("RAck: {} {} INVITE\r\nContact:", last.0, last.1), 1);
        }
        text
    }

    fn answer(&mut self) -> Option<String> {
        let requests: Vec<Message> = self.sent.iter().filter(|msg| msg.is_request()).cloned().collect();
        if requests.is_empty() {
            return None;
        }
        let request = self.pick(&requests);
        let status = STATUSES[self.rng.random_range(0..STATUSES.len())];
        let tag = ["", "x", "y", "z"][self.rng.random_range(0..4)];
        let more = self.extras();
        Some(answer_to(&request, status, tag, &more))
    }

    fn headers(&mut self) -> Headers {
        let mut headers = Headers::default();
        if self.rng.random_bool(0.3) {
            headers.push("Authorization", "Digest x").push("Contact", "<sip:me@192.0.2.2>");
        }
        headers
    }

    fn step(&mut self) {
        let now = self.alone.now;
        let (server, client, dialog) = {
            let (servers, clients, dialogs) = (self.servers.clone(), self.clients.clone(), self.dialogs.clone());
            (self.pick(&servers), self.pick(&clients), self.pick(&dialogs))
        };
        let headers = self.headers();
        let body = self.rng.random_bool(0.4).then(sdp);
        let status = STATUSES[self.rng.random_range(0..STATUSES.len())];
        let response = Response { headers: headers.clone(), body: body.clone(), ..Response::new(status) };
        match self.rng.random_range(0..22) {
            0..6 => {
                let (text, flow) = (self.request(), self.flow());
                if let Ok(msg) = Message::parse_datagram(text.into(), &ringfort_sip::Limits::default()) {
                    self.alone.end.peek(&msg);
                    if self.rng.random_bool(0.05) {
                        self.alone.end.respond_stateless(&msg, &flow, response);
                    } else {
                        let priority = if self.rng.random_bool(0.5) { Priority::High } else { Priority::Normal };
                        self.alone.end.handle_message_from(now, msg, flow, priority);
                    }
                }
            }
            6..10 => {
                if let Some(text) = self.answer() {
                    let flow = self.flow();
                    if let Ok(msg) = Message::parse_datagram(text.into(), &ringfort_sip::Limits::default()) {
                        self.alone.end.handle_message(now, msg, flow);
                    }
                }
            }
            10..12 => drop(self.alone.end.respond(now, server, response)),
            12 => drop(self.alone.end.respond_reliably(now, server, response)),
            13 => {
                let method = if self.rng.random_bool(0.7) { Method::Invite } else { Method::Register };
                let transport = if self.rng.random_bool(0.7) { Transport::Udp } else { Transport::Tcp };
                let mut r = request(1, method, transport);
                (r.body, r.headers) = (body, headers);
                r.reliable = self.rng.random_bool(0.5);
                r.session = self.rng.random_bool(0.3).then_some(SessionTimer::DEFAULT);
                r.tcp_alternative = self.rng.random_bool(0.3).then_some(TCP);
                if self.rng.random_bool(0.2) {
                    r.headers.push("X-Long", "x".repeat(1500));
                }
                if self.rng.random_bool(0.3) {
                    r.target = Target::Flow(flow(0, 1, transport));
                }
                if let Ok(tx) = self.alone.end.send_request(now, r) {
                    self.clients.push(tx);
                }
            }
            14 => {
                if let Ok(tx) = self.alone.end.resend_with(now, client, headers) {
                    self.clients.push(tx);
                }
            }
            15 => self.alone.end.cancel(now, client, headers),
            16 => self.alone.end.ack(now, dialog, headers, body),
            17 | 18 => {
                let method = METHODS[self.rng.random_range(0..METHODS.len())];
                let sent = self.alone.end.dialog_request(now, dialog, Method::from_name(method), headers, body);
                self.clients.extend(sent);
            }
            19 => {
                let sent = self.alone.end.prack(now, dialog, headers, body);
                self.clients.extend(sent);
            }
            20 => match self.rng.random_range(0..6) {
                0 => self.alone.end.handle_transport_error(now, TransmitToken(client.0), TransportError::Refused),
                1 => self.alone.end.handle_flow_closed(now, ConnId(1)),
                2 => self.alone.end.end_dialog(dialog),
                3 => self.alone.end.forget(server),
                4 => {
                    let flow = self.flow();
                    self.alone.end.set_target(dialog, Target::Flow(flow));
                }
                _ => drop(self.alone.end.glare_wait(dialog)),
            },
            _ => {
                let pause = ms(self.rng.random_range(0..4000));
                self.alone.pass(pause);
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        for event in self.alone.events() {
            match event {
                Event::Request { tx, .. } => self.servers.push(tx),
                Event::DialogRequest { tx, dialog, .. } => {
                    self.servers.push(tx);
                    self.dialogs.push(dialog);
                }
                Event::Response { dialog: Some(dialog), .. } => self.dialogs.push(dialog),
                Event::Ack { dialog, .. }
                | Event::AckTimeout { dialog }
                | Event::SessionRefreshDue { dialog }
                | Event::SessionExpired { dialog }
                | Event::DialogEnded { dialog } => self.dialogs.push(dialog),
                Event::Response { .. }
                | Event::Failed { .. }
                | Event::Cancelled { .. }
                | Event::ReliableAcked { .. }
                | Event::ReliableTimeout { .. } => {}
            }
        }
        for tx in &self.servers {
            self.dialogs.extend(self.alone.end.dialog_of(*tx));
        }
        self.dialogs.sort();
        self.dialogs.dedup();
        for msg in self.alone.sent() {
            if let Some(tag) = msg.to_tag().filter(|_| !msg.is_request()) {
                self.tags.push(tag.to_owned());
            }
            self.sent.push(msg);
        }
        let keep = self.sent.len().saturating_sub(60);
        self.sent.drain(..keep);
    }

    fn let_go(&mut self) {
        let now = self.alone.now;
        for tx in self.servers.clone() {
            let _ = self.alone.end.respond(now, tx, Response::new(480));
        }
        for tx in self.clients.clone() {
            self.alone.end.cancel(now, tx, Headers::default());
        }
        self.alone.pass(secs(400));
        self.drain();
        for dialog in self.dialogs.clone() {
            self.alone.end.end_dialog(dialog);
        }
        self.alone.pass(secs(400));
        self.drain();
    }
}

#[test]
fn no_list_of_operations_makes_an_endpoint_panic_or_keep_anything() {
    for seed in 0..400 {
        let mut chaos = Chaos::new(seed);
        for _ in 0..400 {
            chaos.step();
            let counts = chaos.alone.end.counts();
            assert!(counts.client + counts.server <= 80 && counts.dialogs <= 200, "seed {seed}: {counts:?}");
        }
        chaos.let_go();
        assert_eq!(chaos.alone.end.counts(), Counts::default(), "seed {seed}");
        assert_eq!(chaos.alone.end.poll_timeout(), None, "seed {seed}");
    }
}
