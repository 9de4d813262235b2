//! A relay in virtual time, and phones that send to it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringfort_media::relay::{PacketBuf, Relay, RelayConfig, Verdict};
use ringfort_media::rtp::Header;
use ringfort_media::types::*;

pub const PORT: PortId = PortId(10_000);
pub const PORT_B: PortId = PortId(10_002);

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn config(remote: &str) -> StreamConfig {
    let remote = addr(remote);
    StreamConfig {
        remote: Some(remote),
        remote_rtcp: Some(SocketAddr::new(remote.ip(), remote.port() + 1)),
        rtcp_mux: false,
        signalling: Some(remote.ip()),
        payload_types: [0, 8, 101].into_iter().collect(),
        clock_rate: 8000,
        codec: CodecHint::G711,
        rx_keys: None,
        tx_keys: None,
        sends: true,
        receives: true,
        send_unproven: false,
        pass_extensions: false,
    }
}

pub fn keys(suite: CryptoSuite, fill: u8) -> SrtpKeys {
    let mut keys = SrtpKeys { suite, key: [0; 32], salt: [0; 14], mki: None };
    keys.key[..suite.key_len()].fill(fill);
    keys.salt[..suite.salt_len()].fill(fill ^ 0xff);
    keys
}

/// An RTP packet of a phone.
#[derive(Clone, Copy, Debug)]
pub struct Rtp {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub payload_type: u8,
    pub fill: u8,
}

impl Rtp {
    pub fn bytes(self) -> Vec<u8> {
        let mut packet = vec![0x80, self.payload_type];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(&[self.fill; 160]);
        packet
    }
}

/// A phone: where it sends from, and its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Phone {
    pub source: SocketAddr,
    pub rtp: Rtp,
}

impl Phone {
    pub fn new(source: &str, ssrc: u32) -> Self {
        let sequence = (ssrc as u16).wrapping_mul(7919);
        let fill = ssrc as u8;
        Phone { source: addr(source), rtp: Rtp { ssrc, sequence, timestamp: ssrc, payload_type: 8, fill } }
    }

    /// The next packet.
    pub fn next(&mut self) -> Rtp {
        self.rtp.sequence = self.rtp.sequence.wrapping_add(1);
        self.rtp.timestamp = self.rtp.timestamp.wrapping_add(160);
        self.rtp
    }
}

/// What came out of the relay.
#[derive(Clone, Debug, PartialEq)]
pub struct Out {
    pub port: PortId,
    pub is_rtcp: bool,
    pub dest: SocketAddr,
    pub bytes: Vec<u8>,
}

impl Out {
    pub fn header(&self) -> Header {
        Header::parse(&self.bytes).unwrap()
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[12..]
    }
}

pub struct Net {
    pub relay: Relay,
    pub now: Instant,
}

impl Net {
    pub fn new() -> Self {
        Net::with(RelayConfig::default())
    }

    pub fn with(config: RelayConfig) -> Self {
        #[allow(clippy::disallowed_methods)] // an arbitrary start; all that follows is virtual
        let now = Instant::now();
        Net { relay: Relay::new(config, [1; 32], now, 0xe000_0000 << 32), now }
    }

    /// Two connected streams: 1 on [`PORT`] and 2 on [`PORT_B`].
    pub fn call(&mut self, one: StreamConfig, two: StreamConfig) {
        self.stream(1, PORT, one);
        self.stream(2, PORT_B, two);
        self.connect(1, 2);
    }

    pub fn stream(&mut self, id: u64, port: PortId, config: StreamConfig) {
        self.command(Command::Open { id: StreamId(id), port });
        self.configure(id, config, false);
    }

    pub fn configure(&mut self, id: u64, config: StreamConfig, relearn: bool) {
        self.command(Command::Configure { id: StreamId(id), config: Box::new(config), relearn });
    }

    pub fn connect(&mut self, a: u64, b: u64) {
        self.command(Command::Connect { a: StreamId(a), b: StreamId(b) });
    }

    pub fn close(&mut self, id: u64) -> StreamReport {
        self.events();
        self.command(Command::Close { id: StreamId(id) });
        match self.events().remove(0) {
            Event::Closed { report, .. } => *report,
            other => panic!("{other:?}"),
        }
    }

    pub fn command(&mut self, command: Command) {
        self.relay.handle_command(self.now, command);
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub fn ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    /// Lets time go by with the timers that belong to it; returns the packets of our own.
    pub fn run(&mut self, time: Duration) -> Vec<Out> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(due) = self.relay.poll_timeout().filter(|&due| due <= end) {
            self.now = due.max(self.now);
            self.relay.handle_timeout(self.now);
            let mut room = [0; 1500];
            loop {
                let mut buf = PacketBuf::new(&mut room, 0);
                let Some(out) = self.relay.poll_packet(self.now, &mut buf) else { break };
                let bytes = buf.as_slice().to_vec();
                sent.push(Out { port: out.port, is_rtcp: out.is_rtcp, dest: out.dest, bytes });
            }
        }
        self.now = end;
        sent
    }

    pub fn send(&mut self, port: PortId, is_rtcp: bool, source: SocketAddr, bytes: &[u8]) -> Result<Out, Verdict> {
        let mut room = [0; 2048];
        room[..bytes.len()].copy_from_slice(bytes);
        let mut buf = PacketBuf::new(&mut room, bytes.len());
        match self.relay.handle_packet(self.now, port, is_rtcp, source, &mut buf) {
            Verdict::Forward { port, is_rtcp, dest } => Ok(Out { port, is_rtcp, dest, bytes: buf.as_slice().to_vec() }),
            other => Err(other),
        }
    }

    /// A phone's next packet; 20 ms pass.
    pub fn talk(&mut self, port: PortId, phone: &mut Phone) -> Result<Out, Verdict> {
        self.ms(20);
        let packet = phone.next();
        self.send(port, false, phone.source, &packet.bytes())
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.relay.poll_event()).collect()
    }

    pub fn report(&self, id: u64) -> StreamReport {
        self.relay.report(StreamId(id)).unwrap()
    }

    pub fn drops(&self, id: u64, reason: DropReason) -> u64 {
        self.report(id).drops[reason as usize]
    }
}

pub fn dropped(reason: DropReason) -> Result<Out, Verdict> {
    Err(Verdict::Drop(reason))
}
