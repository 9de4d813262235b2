//! A call with its pool and a model of the packet path, so that tests state what is said and what flows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_media::bridge::{AnswerIn, Bridge, LegIx, LegPolicy, SdpReject};
use ringfort_media::ports::{PortPool, PortPoolConfig};
use ringfort_media::sdp::Sdp;
use ringfort_media::types::{Command, PortId, StreamConfig, StreamId};

/// Addresses by which a text is told to be ours or a peer's.
pub const OURS: &str = "198.51.100.1";
pub const PHONE: &str = "192.0.2.";

/// A policy with our address, a peer's signalling address and nothing else.
pub fn plain() -> LegPolicy {
    LegPolicy { trusted: true, ..LegPolicy::new(OURS.parse().unwrap(), "192.0.2.99".parse().unwrap()) }
}

/// The same over TLS.
pub fn secure() -> LegPolicy {
    LegPolicy { secure_signalling: true, ..plain() }
}

/// An SDP of phone number `phone` with those media lines (`;` parts lines).
pub fn sdp(phone: u8, version: u32, media: &str) -> Vec<u8> {
    let head = format!(
        "v=0\r\no=user{phone} 77{phone} {version} IN IP4 {PHONE}{phone}\r\ns=Phone {phone} secret\r\nc=IN IP4 {PHONE}{phone}\r\nt=0 0\r\n"
    );
    let body: String =
        media.split(';').map(str::trim).filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
    (head + &body).into_bytes()
}

/// Audio with A-law, µ-law and DTMF.
pub const AUDIO: &str = "m=audio 4000 RTP/AVP 8 0 101; a=rtpmap:101 telephone-event/8000; a=fmtp:101 0-16";

/// What the packet path knows of a stream.
#[derive(Debug, Default)]
pub struct Flow {
    pub config: Option<StreamConfig>,
    pub relearned: u32,
    pub partner: Option<StreamId>,
}

/// A call under test.
pub struct Call {
    pub bridge: Bridge,
    pub ports: PortPool,
    pub now: Instant,
    pub flows: BTreeMap<StreamId, Flow>,
    pub closed: Vec<StreamId>,
    /// Streams in the pool that are other calls'.
    pub strangers: usize,
    /// How often streams were connected.
    pub connects: usize,
    pool_is_lent: bool,
}

pub fn start() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    Instant::now()
}

impl Call {
    pub fn new() -> Call {
        Call::with_pool(PortPool::new(PortPoolConfig { first: 10_000, last: 10_200, ..PortPoolConfig::default() }), 7)
    }

    pub fn with_pool(ports: PortPool, seed: u8) -> Call {
        Call {
            bridge: Bridge::new([seed; 32]),
            ports,
            now: start(),
            flows: BTreeMap::new(),
            closed: Vec::new(),
            strangers: 0,
            connects: 0,
            pool_is_lent: false,
        }
    }

    /// Two legs, an offer of the first and an answer of the second, all the way.
    pub fn talking(caller: LegPolicy, callee: LegPolicy, offer: &str, answer: &str) -> (Call, LegIx, LegIx) {
        let mut call = Call::new();
        let (a, b) = (call.bridge.add_leg(caller), call.bridge.add_leg(callee));
        call.exchange(a, b, &sdp(1, 1, offer), &sdp(2, 1, answer));
        (call, a, b)
    }

    /// One exchange, offered by `from` and answered by `to`; gives what we said to both.
    pub fn exchange(&mut self, from: LegIx, to: LegIx, offer: &[u8], answer: &[u8]) -> (String, String) {
        self.bridge.offer_received(from, offer).expect("the offer is taken");
        let offered = self.offer_for(to);
        self.answer(to, answer).expect("the answer is taken");
        let answered = self.answer_for(from, AnswerIn::Final);
        (offered, answered)
    }

    pub fn offer_for(&mut self, to: LegIx) -> String {
        let text = self.bridge.offer_for(self.now, to, &mut self.ports).expect("an offer can be made");
        self.run();
        readable(text)
    }

    pub fn answer(&mut self, from: LegIx, answer: &[u8]) -> Result<(), SdpReject> {
        let result = self.bridge.answer_received(self.now, from, answer, &mut self.ports);
        self.run();
        result
    }

    pub fn answer_for(&mut self, to: LegIx, carried: AnswerIn) -> String {
        let text = self.bridge.answer_for(self.now, to, carried, &mut self.ports).expect("an answer can be made");
        self.run();
        readable(text)
    }

    pub fn rollback(&mut self) {
        self.bridge.rollback(self.now, &mut self.ports);
        self.run();
    }

    pub fn select(&mut self, winner: LegIx) {
        self.bridge.select(winner);
        self.run();
    }

    pub fn remove(&mut self, leg: LegIx) {
        self.bridge.remove_leg(self.now, leg, &mut self.ports);
        self.run();
    }

    /// Applies the waiting commands and checks that each is possible.
    pub fn run(&mut self) {
        while let Some(command) = self.bridge.poll_command() {
            match command {
                Command::Open { id, port } => {
                    assert!(self.pool_is_lent || self.ports.port_of(id) == Some(port), "an open stream has its port");
                    assert!(self.flows.insert(id, Flow::default()).is_none(), "{id} is opened once");
                }
                Command::Configure { id, config, relearn } => {
                    let flow = self.flows.get_mut(&id).expect("a configured stream is open");
                    assert_ne!(flow.config.as_ref(), Some(&*config), "{id} is configured with news only");
                    flow.config = Some(*config);
                    flow.relearned += u32::from(relearn);
                }
                Command::Connect { a, b } => {
                    self.connects += 1;
                    for (one, other) in [(a, b), (b, a)] {
                        let flow = self.flows.get_mut(&one).expect("a connected stream is open");
                        assert!(flow.config.is_some() && flow.partner.is_none(), "{one} is configured and alone");
                        flow.partner = Some(other);
                    }
                }
                Command::Disconnect { id } => self.part(id),
                Command::Close { id } => {
                    let flow = self.flows.remove(&id).expect("a closed stream is open");
                    assert!(flow.partner.is_none(), "{id} is alone when it is closed");
                    self.closed.push(id);
                }
                other => panic!("not a command of offer/answer: {other:?}"),
            }
        }
    }

    fn part(&mut self, id: StreamId) {
        let partner = self.flows.get_mut(&id).and_then(|flow| flow.partner.take()).expect("it had a partner");
        self.flows.get_mut(&partner).expect("the partner is open").partner = None;
    }

    /// The stream of a leg's m-line that is on, counted from 0 among those.
    pub fn stream(&self, leg: LegIx, index: usize) -> (StreamId, PortId) {
        self.bridge.streams(leg)[index]
    }

    pub fn config(&self, leg: LegIx, index: usize) -> &StreamConfig {
        self.flows[&self.stream(leg, index).0].config.as_ref().expect("the stream is configured")
    }

    /// Whether the m-lines of two legs exchange packets.
    pub fn connected(&self, a: LegIx, b: LegIx, index: usize) -> bool {
        let (a, b) = (self.stream(a, index).0, self.stream(b, index).0);
        self.flows[&a].partner == Some(b) && self.flows[&b].partner == Some(a)
    }

    /// Hangs up and checks that nothing is left.
    pub fn hang_up(mut self) {
        let now = self.now;
        self.bridge.close(now, &mut self.ports);
        self.run();
        assert!(self.flows.is_empty(), "streams are left: {:?}", self.flows);
        assert_eq!(self.ports.streams(), 0);
    }

    /// Takes the pool out for the next call.
    pub fn lend_pool(&mut self) -> PortPool {
        self.pool_is_lent = true;
        std::mem::replace(
            &mut self.ports,
            PortPool::new(PortPoolConfig { first: 2, last: 3, ..PortPoolConfig::default() }),
        )
    }

    pub fn learn_all(&mut self) {
        for id in self.flows.keys() {
            self.ports.learned(*id);
        }
    }

    pub fn later(&mut self, by: Duration) {
        self.now += by;
    }
}

/// Our SDP as text, after the checks that hold for every one of them.
pub fn readable(text: Bytes) -> String {
    let parsed = Sdp::parse(&text).expect("we write what we can read");
    let text = String::from_utf8(text.to_vec()).expect("we write UTF-8");
    assert!(text.lines().count() * 2 == text.matches(['\r', '\n']).count(), "every line ends in CRLF: {text}");
    assert!(
        !text.contains(PHONE) && !text.contains("user") && !text.contains("secret"),
        "a peer shows through: {text}"
    );
    assert_eq!(parsed.origin().username, b"-");
    text
}

/// The session id and version of an SDP of ours.
pub fn origin(text: &str) -> (u64, u64) {
    let line = text.lines().nth(1).unwrap();
    let fields: Vec<&str> = line.split(' ').collect();
    (fields[1].parse().unwrap(), fields[2].parse().unwrap())
}

/// An SDP of ours from its first m-line on, as one line with ports as `P`.
pub fn media(text: &str) -> String {
    let from = text.find("m=").unwrap_or(text.len());
    let lines = text[from..].lines().map(|line| {
        let mut fields: Vec<&str> = line.split(' ').collect();
        if line.starts_with("m=") && fields[1] != "0" {
            fields[1] = "P";
        }
        fields.join(" ")
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// The remote address of a phone's port.
pub fn at(phone: u8, port: u16) -> Option<SocketAddr> {
    Some(format!("{PHONE}{phone}:{port}").parse().unwrap())
}
