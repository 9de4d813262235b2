//! A switch on a table: messages go in as text, what it sends comes out by address. No phone logic, so that each test
//! says byte by byte what the other side does.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;
use ringfort_guard::{BanChange, BanSet, WatchConfig};
use ringfort_media::types as media;
use ringfort_sip::digest::{Algorithm, Credentials, authorize};
use ringfort_sip::endpoint::{ListenerInfo, TransportError};
use ringfort_sip::flow::{ConnId, Flow, ListenerId, TransmitToken, Transport};
use ringfort_sip::header::HeaderName;
use ringfort_sip::locate;
use ringfort_sip::message::{Limits, Message};
use ringfort_sip::uri::HostPort;
use ringfort_switch::config::*;
use ringfort_switch::io::{Command, CommandReply, Notice, OffenceReport, Output, Status};
use ringfort_switch::model::*;
use ringfort_switch::record::{Cdr, GuardRecord, JournalRecord, MediaQuality, UnixMillis};
use ringfort_switch::voicemail::{MailAsk, MailNews};
use ringfort_switch::{Clock, Switch};

pub const DOMAIN: &str = "pbx.example";
/// Where Ringfort listens on its internal profile, and on its external one.
pub const INSIDE: &str = "192.0.2.1:5060";
pub const OUTSIDE: &str = "192.0.2.1:5080";

/// Something the switch sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub to: SocketAddr,
    pub message: Message,
    pub token: Option<TransmitToken>,
}

pub struct World {
    pub switch: Switch,
    pub now: Instant,
    pub sent: VecDeque<Sent>,
    pub media: Vec<media::Command>,
    /// Questions for the DNS.
    pub queries: Vec<locate::Query>,
    /// Certificates that are wanted.
    pub fetches: Vec<ringfort_stir::Query>,
    /// Whom a CRLF CRLF was sent to.
    pub keep_alives: Vec<SocketAddr>,
    pub journal: Vec<JournalRecord>,
    pub notices: Vec<Notice>,
    pub offences: Vec<OffenceReport>,
    pub penalised: Vec<IpAddr>,
    pub bans: Arc<BanSet>,
    pub ban_changes: Vec<BanChange>,
    pub mail: Vec<MailAsk>,
    /// Streams that were closed and have not reported.
    pub closed: Vec<media::StreamId>,
    /// Where the first listener listens.
    local: SocketAddr,
    rng: ChaCha12Rng,
    serial: u32,
}

pub fn at(text: &str) -> SocketAddr {
    text.parse().expect("a test writes good addresses")
}

pub fn config() -> SwitchConfig {
    let listener = |id: u16, profile: u16, transport: Transport, local: &str| Listener {
        profile: ProfileId(profile),
        sip: ListenerInfo {
            id: ListenerId(id),
            transport,
            local: at(local),
            advertised: HostPort::new("192.0.2.1", Some(at(local).port())),
            inside: None,
        },
    };
    SwitchConfig {
        profiles: vec![
            Profile {
                id: ProfileId(0),
                name: "phones".into(),
                kind: ProfileKind::Internal,
                digest: vec![Algorithm::Sha256, Algorithm::Md5],
                allow: None,
            },
            Profile {
                id: ProfileId(1),
                name: "world".into(),
                kind: ProfileKind::External,
                digest: vec![],
                allow: None,
            },
        ],
        listeners: vec![
            listener(0, 0, Transport::Udp, INSIDE),
            listener(1, 1, Transport::Udp, OUTSIDE),
            listener(2, 0, Transport::Tls, "192.0.2.1:5061"),
        ],
        registrar: RegistrarConfig::default(),
        // What strangers are told is tested where it is meant; elsewhere they hear a status.
        calls: CallConfig { session_expires: Duration::ZERO, announcements_per_stranger: 0, ..CallConfig::default() },
        voicemail: VoicemailConfig::default(),
        media: MediaConfig {
            advertised_v4: None,
            advertised_v6: None,
            ports: (10_000, 10_999),
            codecs: vec![],
            max_lines: 4,
        },
        nonce_lifetime: Duration::from_secs(300),
        max_transactions: 10_000,
        max_dialogs: 10_000,
        gruu_key: SecretKey::new([9; 32]),
        inner_domains: false,
        judges_identity: true,
        watch: WatchConfig::default(),
        scanners: SCANNERS.map(str::to_owned).to_vec(),
        locate: locate::Settings::default(),
        product: Some("Ringfort".into()),
    }
}

/// Three extensions 101, 102 and 103 with users `user-a`, `user-b` and `user-c`.
pub fn site() -> Site {
    let mut extensions = BTreeMap::new();
    for (i, user) in ["user-a", "user-b", "user-c"].into_iter().enumerate() {
        let id = ExtensionId(i as u32 + 1);
        extensions.insert(
            id,
            Extension {
                id,
                tenant: TenantId(1),
                number: format!("10{}", i + 1),
                name: format!("Desk {}", i + 1),
                credentials: SipCredentials { user: user.into(), password: Secret::new(format!("pw of {user}")) },
                srtp: SrtpPolicy::Offer,
                max_calls: 4,
                max_contacts: 3,
                enabled: true,
                calling: Calling::default(),
            },
        );
    }
    let tenant =
        Tenant { id: TenantId(1), name: "Acme".into(), domains: vec![DOMAIN.into()], numbers: NumberPlan::default() };
    Site { revision: 1, tenants: vec![tenant], extensions, ..Site::default() }
}

/// A route of the only tenant to these trunks, open to all at any hour.
pub fn route(name: &str, patterns: Vec<Pattern>, trunks: Vec<TrunkId>) -> OutboundRoute {
    OutboundRoute {
        tenant: TenantId(1),
        name: name.into(),
        patterns,
        groups: Vec::new(),
        hours: Vec::new(),
        strip: 0,
        prepend: String::new(),
        enum_domain: None,
        trunks,
        order: TrunkOrder::Listed,
        attempts: None,
        ring_for: None,
    }
}

/// Whatever comes by any trunk of the only tenant goes to an extension.
pub fn inbound_to(extension: &str) -> InboundRoute {
    InboundRoute {
        tenant: TenantId(1),
        name: "in".into(),
        trunk: None,
        called: Pattern::Any,
        identity: Vec::new(),
        hours: Vec::new(),
        to: Destination::Extension(extension.into()),
    }
}

/// A name of the only tenant's for an extension.
pub fn alias(name: &str, extension: &str, published: bool) -> Alias {
    Alias { tenant: TenantId(1), name: name.into(), to: Destination::Extension(extension.into()), published }
}

impl World {
    pub fn new() -> World {
        World::with(config(), site())
    }

    pub fn with(config: SwitchConfig, site: Site) -> World {
        World::at(1_790_000_000_000, config, site)
    }

    /// At that many milliseconds since 1970.
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    pub fn at(unix: u64, config: SwitchConfig, site: Site) -> World {
        let now = Instant::now();
        let clock = Clock { instant: now, unix: UnixMillis(unix) };
        World {
            local: config.listeners[0].sip.local,
            switch: Switch::new(config, Arc::new(site), clock, [7; 32]),
            now,
            sent: VecDeque::new(),
            media: Vec::new(),
            queries: Vec::new(),
            fetches: Vec::new(),
            keep_alives: Vec::new(),
            journal: Vec::new(),
            notices: Vec::new(),
            offences: Vec::new(),
            penalised: Vec::new(),
            bans: Arc::default(),
            ban_changes: Vec::new(),
            mail: Vec::new(),
            closed: Vec::new(),
            rng: ChaCha12Rng::seed_from_u64(1),
            serial: 0,
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Transmit(t) => {
                    if t.payload.as_ref() == b"\r\n\r\n" {
                        self.keep_alives.push(t.target.remote());
                        continue;
                    }
                    let message =
                        Message::parse_datagram(t.payload, &Limits::default()).expect("we write good messages");
                    self.sent.push_back(Sent { to: t.target.remote(), message, token: t.token });
                }
                Output::Media(command) => {
                    if let media::Command::Close { id } = command {
                        self.closed.push(id);
                    }
                    self.media.push(command);
                }
                Output::Journal(record) => self.journal.push(record),
                Output::Notice(notice) => self.notices.push(notice),
                Output::CloseConn(_) => {}
                Output::Query(query) => self.queries.push(query),
                Output::Fetch(query) => self.fetches.push(query),
                Output::Offence(report) => self.offences.push(*report),
                Output::Penalise(source) => self.penalised.push(source),
                Output::Bans(bans) => self.bans = bans,
                Output::Ban(change) => self.ban_changes.push(change),
                Output::Mail(ask) => self.mail.push(ask),
            }
        }
    }

    /// Sends `text` (line ends as they come, Content-Length written by us) from `from` to the internal listener.
    pub fn send(&mut self, from: &str, text: &str) {
        let local = self.local.to_string();
        self.send_to(0, &local, from, text);
    }

    pub fn send_to(&mut self, listener: u16, local: &str, from: &str, text: &str) {
        let flow = Flow {
            transport: Transport::Udp,
            listener: ListenerId(listener),
            conn: None,
            local: at(local),
            remote: at(from),
        };
        let raw = Bytes::from(wire(text));
        match Message::parse_datagram(raw.clone(), &Limits::default()) {
            Ok(message) => self.switch.handle_message(self.now, message, flow),
            Err(error) => self.switch.handle_malformed(self.now, &error, &raw, flow),
        }
        self.drain();
    }

    /// As [`Self::send`], by a connection to the TLS listener.
    pub fn send_tls(&mut self, from: &str, text: &str) {
        self.send_tls_by(77, from, text);
    }

    /// The same by the connection of that number.
    pub fn send_tls_by(&mut self, conn: u64, from: &str, text: &str) {
        let flow = Flow {
            transport: Transport::Tls,
            listener: ListenerId(2),
            conn: Some(ConnId(conn)),
            local: at("192.0.2.1:5061"),
            remote: at(from),
        };
        let message = Message::parse_framed(Bytes::from(wire(text)), &Limits::default()).expect("a good message");
        self.switch.handle_message(self.now, message, flow);
        self.drain();
    }

    /// Registers `user` over TLS.
    pub fn register_tls(&mut self, user: &str, from: &str) {
        self.register_tls_by(77, user, from, &format!("sip:{user}@{from};transport=tls"));
    }

    /// The same by the connection of that number, with that contact.
    pub fn register_tls_by(&mut self, conn: u64, user: &str, from: &str, contact: &str) {
        self.register_tls_as(conn, user, from, &format!("<{contact}>"));
    }

    /// The same with a whole Contact field; gives the 200.
    pub fn register_tls_as(&mut self, conn: u64, user: &str, from: &str, contact: &str) -> Message {
        self.serial += 1;
        let n = self.serial;
        let request = |cseq: u32, auth: &str| {
            format!(
                "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/TLS {from};branch=z9hG4bKtls{n}x{cseq}\r\n\
                 From: <sip:{user}@{DOMAIN}>;tag=tls\r\nTo: <sip:{user}@{DOMAIN}>\r\nCall-ID: tls-{n}@{user}\r\n\
                 CSeq: {cseq} REGISTER\r\nContact: {contact}\r\nSupported: gruu\r\nMax-Forwards: 70\r\n{auth}\r\n"
            )
        };
        self.send_tls_by(conn, from, &request(1, ""));
        let challenge = self.take(from);
        let auth = self.answer_to(&challenge, user, "REGISTER", &format!("sip:{DOMAIN}"));
        self.send_tls_by(conn, from, &request(2, &auth));
        let ok = self.take(from);
        assert_eq!(ok.status(), 200);
        ok
    }

    /// What was sent to `to` and begins with `start` could not be sent: its connection is closed.
    pub fn fail_sends_to(&mut self, to: &str, start: &str) {
        let lost = |s: &Sent| s.to == at(to) && first_line(&s.message).starts_with(start);
        let (lost, kept): (Vec<Sent>, Vec<Sent>) = self.sent.drain(..).partition(lost);
        self.sent = kept.into();
        assert!(!lost.is_empty(), "nothing of the kind was sent to {to}");
        for token in lost.into_iter().filter_map(|s| s.token) {
            self.switch.handle_send_failed(self.now, token, TransportError::Closed);
        }
        self.drain();
    }

    /// That connection has closed.
    pub fn close_tls(&mut self, conn: u64) {
        self.switch.handle_conn_closed(self.now, ConnId(conn));
        self.drain();
    }

    /// Lets time pass, waking the switch whenever it asks.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.switch.poll_timeout().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            self.switch.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// The next message sent to `to`; everything before it to others stays.
    pub fn take(&mut self, to: &str) -> Message {
        self.try_take(to).unwrap_or_else(|| panic!("nothing was sent to {to}; waiting: {:#?}", self.summary()))
    }

    pub fn try_take(&mut self, to: &str) -> Option<Message> {
        let index = self.sent.iter().position(|s| s.to == at(to))?;
        self.sent.remove(index).map(|s| s.message)
    }

    /// The next final answer or request to `to`: 1xx are passed over.
    pub fn take_final(&mut self, to: &str) -> Message {
        loop {
            let message = self.take(to);
            if !(100..200).contains(&message.status()) {
                return message;
            }
        }
    }

    /// The next message to `to` whose first line begins with `start`: repetitions of others before it are passed over.
    pub fn take_starting(&mut self, to: &str, start: &str) -> Message {
        loop {
            let message = self.take(to);
            if first_line(&message).starts_with(start) {
                return message;
            }
        }
    }

    pub fn nothing_for(&self, to: &str) -> bool {
        !self.sent.iter().any(|s| s.to == at(to))
    }

    pub fn summary(&self) -> Vec<String> {
        self.sent.iter().map(|s| format!("{} <- {}", s.to, first_line(&s.message))).collect()
    }

    /// Registers `user` from `from` by digest; gives the 200.
    pub fn register(&mut self, user: &str, from: &str) -> Message {
        let contact = format!("<sip:{user}@{from}>");
        self.register_with(user, from, &contact, "Expires: 600\r\n")
    }

    pub fn register_with(&mut self, user: &str, from: &str, contact: &str, extra: &str) -> Message {
        self.serial += 1;
        let n = self.serial;
        let request = |cseq: u32, auth: &str| {
            format!(
                "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKr{n}x{cseq};rport\r\n\
                 From: <sip:{user}@{DOMAIN}>;tag=r{n}\r\nTo: <sip:{user}@{DOMAIN}>\r\nCall-ID: reg-{n}@{user}\r\n\
                 CSeq: {cseq} REGISTER\r\nContact: {contact}\r\nMax-Forwards: 70\r\n{auth}{extra}\r\n"
            )
        };
        self.send(from, &request(1, ""));
        let challenge = self.take(from);
        if challenge.status() != 401 {
            return challenge;
        }
        let auth = self.answer_to(&challenge, user, "REGISTER", &format!("sip:{DOMAIN}"));
        self.send(from, &request(2, &auth));
        self.take(from)
    }

    /// The Authorization line for a challenge, with the password of [`site`].
    pub fn answer_to(&mut self, challenge: &Message, user: &str, method: &str, uri: &str) -> String {
        let credentials = Credentials { realm: None, user: user.into(), password: format!("pw of {user}") };
        let headers = authorize(challenge, &credentials, method, uri, &mut self.rng, 1).expect("a digest challenge");
        String::from_utf8(headers.as_bytes().to_vec()).expect("header fields are text")
    }

    /// `user` at `from` calls `callee`; digest is answered. Gives the Call-ID for later.
    pub fn invite(&mut self, user: &str, from: &str, callee: &str, sdp: &str, extra: &str) -> String {
        self.invite_with(user, from, &format!("sip:{callee}@{DOMAIN}"), sdp, extra)
    }

    /// The same with a whole Request-URI.
    pub fn invite_uri(&mut self, user: &str, from: &str, uri: &str, sdp: &str) -> String {
        self.invite_with(user, from, uri, sdp, "")
    }

    fn invite_with(&mut self, user: &str, from: &str, uri: &str, sdp: &str, extra: &str) -> String {
        self.serial += 1;
        let n = self.serial;
        let call_id = format!("call-{n}@{user}.invalid");
        self.send(from, &invite(uri, user, from, &call_id, 1, &format!("z9hG4bKi{n}x1"), "", extra, sdp));
        let challenge = self.take(from);
        assert_eq!(challenge.status(), 401, "{}", first_line(&challenge));
        let to = String::from_utf8_lossy(challenge.header(HeaderName::To).expect("To")).into_owned();
        self.send(
            from,
            &format!(
                "ACK {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKi{n}x1;rport\r\nFrom: <sip:{user}@{DOMAIN}>;tag=t{call_id}\r\n\
                 To: {to}\r\nCall-ID: {call_id}\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\n\r\n"
            ),
        );
        let auth = self.answer_to(&challenge, user, "INVITE", uri);
        self.send(from, &invite(uri, user, from, &call_id, 2, &format!("z9hG4bKi{n}x2"), &auth, extra, sdp));
        call_id
    }

    /// Takes back the INVITE of that Call-ID.
    pub fn cancel(&mut self, user: &str, from: &str, uri: &str, call_id: &str) {
        let n: u32 = call_id.trim_start_matches("call-").split('@').next().and_then(|n| n.parse().ok()).expect("ours");
        self.send(
            from,
            &format!(
                "CANCEL {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKi{n}x2;rport\r\n\
                 From: \"Mallory\" <sip:{user}@{DOMAIN}>;tag=t{call_id}\r\nTo: <{uri}>\r\nCall-ID: {call_id}\r\n\
                 CSeq: 2 CANCEL\r\nMax-Forwards: 70\r\n\r\n"
            ),
        );
    }

    pub fn answer_dns(&mut self, query: locate::QueryId, answer: locate::Answer) {
        self.switch.handle_dns_answer(self.now, query, answer);
        self.drain();
    }

    /// An established call: `user-a` (at `a`) has called 102 (`user-b` at `b`), which answered; both acknowledged.
    pub fn call(&mut self, a: &str, b: &str) -> Established {
        self.register("user-a", a);
        self.register("user-b", b);
        let call_id = self.invite("user-a", a, "102", &sdp("198.51.100.10", 4000, "0 8 101"), "");
        let invite = self.take(b);
        self.send(
            b,
            &reply(
                &invite,
                200,
                "btag",
                &format!("Contact: <sip:user-b@{b}>\r\n"),
                &sdp("198.51.100.20", 5000, "0 101"),
            ),
        );
        let ack_b = self.take(b);
        let ok = self.take_final(a);
        assert_eq!(ok.status(), 200);
        let call = Established { a: a.into(), b: b.into(), call_id, invite, ok, ack_b, cseq_a: 2, cseq_b: 100 };
        self.send(a, &call.of_a("ACK", 2, "", ""));
        call
    }

    pub fn status(&mut self) -> Status {
        match self.switch.handle_command(self.now, Command::Status) {
            CommandReply::Status(status) => status,
            other => panic!("status gives a status, got {other:?}"),
        }
    }

    /// The finished records, in order.
    pub fn cdrs(&self) -> Vec<&Cdr> {
        self.journal
            .iter()
            .filter_map(|r| match r {
                JournalRecord::CallEnded(cdr) => Some(&**cdr),
                _ => None,
            })
            .collect()
    }

    pub fn qualities(&self) -> Vec<&[MediaQuality]> {
        self.journal
            .iter()
            .filter_map(|r| match r {
                JournalRecord::CallQuality { directions, .. } => Some(&**directions),
                _ => None,
            })
            .collect()
    }

    /// The relay answers every Close.
    pub fn report_closed(&mut self) {
        for id in std::mem::take(&mut self.closed) {
            let mut report = media::StreamReport::default();
            report.received.packets = 50;
            report.received.mos = Some(4.4);
            self.switch.handle_media(self.now, media::Event::Closed { id, report: Box::new(report) });
        }
        self.drain();
    }

    pub fn learned(&mut self) {
        let open: Vec<media::StreamId> = self
            .media
            .iter()
            .filter_map(|c| if let media::Command::Open { id, .. } = c { Some(*id) } else { None })
            .collect();
        for id in open {
            self.switch.handle_media(self.now, media::Event::Learned { id, remote: at("198.51.100.10:4000") });
        }
        self.drain();
    }

    pub fn mail_news(&mut self, news: MailNews) {
        self.switch.handle_mail(self.now, news);
        self.drain();
    }

    pub fn media_event(&mut self, event: media::Event) {
        self.switch.handle_media(self.now, event);
        self.drain();
    }

    /// What came of fetching a certificate.
    pub fn fetched(&mut self, query: ringfort_stir::QueryId, fetch: ringfort_stir::Fetch) {
        self.switch.handle_fetched(self.now, query, fetch);
        self.drain();
    }

    /// The next revision of the site.
    pub fn apply(&mut self, site: Site) {
        self.switch.apply_site(self.now, Arc::new(site));
        self.drain();
    }

    /// What a journal kept of the guard.
    pub fn restore_guard(&mut self, records: Vec<GuardRecord>) {
        self.switch.restore_guard(self.now, records);
        self.drain();
    }

    pub fn command(&mut self, command: Command) -> CommandReply {
        let reply = self.switch.handle_command(self.now, command);
        self.drain();
        reply
    }

    /// After everything has ended and timers ran out, nothing is left.
    pub fn assert_empty(&mut self) {
        self.report_closed();
        self.pass(Duration::from_secs(70));
        self.report_closed();
        let s = self.status();
        let left = (s.calls, s.transactions, s.dialogs, s.media_streams, s.media_ports);
        assert_eq!(left, (0, 0, 0, 0, 0), "calls, transactions, dialogs, streams, ports");
        assert!(self.switch.is_idle());
    }
}

/// Both ends of an answered call.
pub struct Established {
    pub a: String,
    pub b: String,
    pub call_id: String,
    /// Our INVITE to the called phone.
    pub invite: Message,
    /// Our 200 to the caller.
    pub ok: Message,
    pub ack_b: Message,
    pub cseq_a: u32,
    pub cseq_b: u32,
}

impl Established {
    /// A call whose callee's dialog is read off our INVITE to it, and in which nothing was sent within the dialog yet.
    pub fn new(a: &str, b: &str, call_id: String, invite: Message, ok: Message) -> Self {
        Self { a: a.into(), b: b.into(), call_id, ack_b: invite.clone(), invite, ok, cseq_a: 2, cseq_b: 1 }
    }

    /// A request of the caller within its dialog.
    pub fn of_a(&self, method: &str, cseq: u32, extra: &str, body: &str) -> String {
        let to = String::from_utf8_lossy(self.ok.header(HeaderName::To).expect("To")).into_owned();
        let (a, call_id) = (&self.a, &self.call_id);
        let branch = format!("z9hG4bKa{}{cseq}", method.to_ascii_lowercase());
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {a};branch={branch};rport\r\nFrom: <sip:user-a@{DOMAIN}>;tag=t{call_id}\r\n\
             To: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:user-a@{a}>\r\nMax-Forwards: 70\r\n\
             {extra}{}\r\n{body}",
            contact_uri(&self.ok),
            content_type(body),
        )
    }

    /// A request of the called phone within its dialog.
    pub fn of_b(&self, method: &str, cseq: u32, extra: &str, body: &str) -> String {
        let from = String::from_utf8_lossy(self.invite.header(HeaderName::To).expect("To")).into_owned();
        let to = String::from_utf8_lossy(self.invite.header(HeaderName::From).expect("From")).into_owned();
        let (b, call_id) = (&self.b, self.invite.call_id());
        let branch = format!("z9hG4bKb{}{cseq}", method.to_ascii_lowercase());
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {b};branch={branch};rport\r\nFrom: {from};tag=btag\r\nTo: {to}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:user-b@{b}>\r\nMax-Forwards: 70\r\n\
             {extra}{}\r\n{body}",
            contact_uri(&self.invite),
            content_type(body),
        )
    }
}

fn content_type(body: &str) -> &'static str {
    if body.starts_with("v=0") { "Content-Type: application/sdp\r\n" } else { "" }
}

pub fn contact_uri(message: &Message) -> String {
    message.contacts().next().expect("a Contact").expect("a good Contact").uri.to_owned()
}

#[allow(clippy::too_many_arguments, reason = "the parts of an INVITE")]
pub fn invite(
    uri: &str,
    user: &str,
    from: &str,
    call_id: &str,
    cseq: u32,
    branch: &str,
    auth: &str,
    extra: &str,
    sdp: &str,
) -> String {
    format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch={branch};rport\r\nFrom: \"Mallory\" <sip:{user}@{DOMAIN}>;tag=t{call_id}\r\n\
         To: <{uri}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} INVITE\r\nContact: <sip:{user}@{from}>\r\nMax-Forwards: 70\r\n\
         User-Agent: Caller-Phone/9\r\n{auth}{extra}{}\r\n{sdp}",
        content_type(sdp),
    )
}

/// A phone's answer to a request of ours.
pub fn reply(request: &Message, status: u16, tag: &str, extra: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status} Because\r\n");
    for (name, written, value) in request.all_headers() {
        if matches!(name, HeaderName::Via | HeaderName::From | HeaderName::CallId | HeaderName::CSeq) {
            text.push_str(&format!("{written}: {}\r\n", String::from_utf8_lossy(value)));
        }
    }
    let to = String::from_utf8_lossy(request.header(HeaderName::To).expect("To")).into_owned();
    let tagged = if to.contains(";tag=") || tag.is_empty() { to } else { format!("{to};tag={tag}") };
    text.push_str(&format!("To: {tagged}\r\n{extra}{}\r\n{body}", content_type(body)));
    text
}

/// An audio SDP with payload types in `formats`.
pub fn sdp(address: &str, port: u16, formats: &str) -> String {
    sdp_with(address, port, formats, "a=sendrecv\r\n")
}

pub fn sdp_with(address: &str, port: u16, formats: &str, attributes: &str) -> String {
    let mut text = format!(
        "v=0\r\no=alice 53655765 2353687637 IN IP4 {address}\r\ns=Secret Phone Session\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {formats}\r\n"
    );
    for format in formats.split(' ') {
        let line = match format {
            "0" => "a=rtpmap:0 PCMU/8000\r\n",
            "8" => "a=rtpmap:8 PCMA/8000\r\n",
            "9" => "a=rtpmap:9 G722/8000\r\n",
            "101" => "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n",
            other => panic!("no rtpmap written for {other}"),
        };
        text.push_str(line);
    }
    text.push_str(attributes);
    text
}

pub fn body_text(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

pub fn first_line(message: &Message) -> String {
    String::from_utf8_lossy(message.raw()).lines().next().unwrap_or_default().to_owned()
}

/// Adds Content-Length where there is none.
fn wire(text: &str) -> Vec<u8> {
    let (head, body) = text.split_once("\r\n\r\n").expect("a message has an empty line");
    if head.contains("Content-Length:") {
        return text.as_bytes().to_vec();
    }
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
