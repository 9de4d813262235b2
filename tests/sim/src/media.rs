//! The packet path of a simulated system: the real relay, whose datagrams go over the virtual network. Called by
//! `world` in runs with media.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ringfort_media::relay::{PacketBuf, Relay, RelayConfig, TAIL_ROOM, Verdict};
use ringfort_media::types::{Command, Event, PortId};

/// A datagram of the relay: from, to, payload.
pub type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

/// The relay at one address.
pub struct MediaHost {
    relay: Relay,
    ip: IpAddr,
}

impl MediaHost {
    /// A relay without streams.
    pub fn new(now: Instant, ip: IpAddr, seed: [u8; 32]) -> Self {
        // The NTP time of some moment in 2023; only differences count.
        Self { relay: Relay::new(RelayConfig::default(), seed, now, 0xE8F0_0000_0000_0000), ip }
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.relay.len()
    }

    /// When [`Self::timeout`] wants to be called.
    pub fn next(&self) -> Option<Instant> {
        self.relay.poll_timeout()
    }

    /// Carries out a command of the switch.
    pub fn command(&mut self, now: Instant, command: Command) {
        self.relay.handle_command(now, command);
    }

    /// The next thing to tell the switch.
    pub fn event(&mut self) -> Option<Event> {
        self.relay.poll_event()
    }

    /// A datagram that came: what goes on, if anything does.
    pub fn packet(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Datagram> {
        let mut data = payload.to_vec();
        data.resize(payload.len() + TAIL_ROOM, 0);
        let mut buf = PacketBuf::new(&mut data, payload.len());
        let (port, is_rtcp) = (PortId(to.port() & !1), to.port() & 1 == 1);
        match self.relay.handle_packet(now, port, is_rtcp, from, &mut buf) {
            Verdict::Forward { port, is_rtcp, dest } => {
                Some((self.address(port, is_rtcp), dest, buf.as_slice().to_vec()))
            }
            Verdict::Consumed | Verdict::Drop(_) => None,
        }
    }

    /// The time of [`Self::next`] has come: the relay's own reports.
    pub fn timeout(&mut self, now: Instant) -> Vec<Datagram> {
        self.relay.handle_timeout(now);
        let mut datagrams = Vec::new();
        let mut data = [0; 1500];
        loop {
            let mut buf = PacketBuf::new(&mut data, 0);
            let Some(outgoing) = self.relay.poll_packet(now, &mut buf) else { break };
            let payload = buf.as_slice().to_vec();
            datagrams.push((self.address(outgoing.port, outgoing.is_rtcp), outgoing.dest, payload));
        }
        datagrams
    }

    fn address(&self, port: PortId, is_rtcp: bool) -> SocketAddr {
        SocketAddr::new(self.ip, if is_rtcp { port.rtcp() } else { port.rtp() })
    }
}
