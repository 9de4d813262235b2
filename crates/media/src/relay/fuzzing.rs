//! Entry points for fuzzing by bytes: RTP, RTCP and SRTP readers, and a relay with two calls on shared ports. They
//! panic where an invariant breaks. Called by the fuzz targets and by the test that replays the corpus.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{PacketBuf, Relay, RelayConfig, Verdict};
use crate::rtcp::{Compound, Packet};
use crate::rtp::{self, Header};
use crate::srtp::Context;
use crate::types::{CodecHint, Command, CryptoSuite, PortId, PtSet, SrtpKeys, StreamConfig, StreamId};

/// Reads an RTP packet and writes its header back.
pub fn rtp(data: &[u8]) {
    rtp::kind(data);
    let Ok(header) = Header::parse(data) else { return };
    assert!(header.len <= data.len());
    if let Ok(end) = header.payload_end(data) {
        assert!((header.len..=data.len()).contains(&end));
    }
    let mut fixed = [0; rtp::HEADER_LEN];
    header.write_fixed(&mut fixed);
    let again = Header::parse(&fixed).expect("what we write can be read");
    let plain = Header { padding: false, extension: false, len: rtp::HEADER_LEN, ..header };
    assert_eq!(again, plain);
}

/// Reads a compound RTCP packet to the last item.
pub fn rtcp(data: &[u8]) {
    let Ok(compound) = Compound::parse(data) else { return };
    let mut packets = 0;
    for packet in compound.packets() {
        packets += 1;
        match packet {
            Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. } => {
                assert_eq!(reports.iter().count(), reports.len());
            }
            Packet::SourceDescription(chunks) => assert!(chunks.count() <= data.len()),
            Packet::TransportFeedback(feedback) | Packet::PayloadFeedback(feedback) => {
                assert!(feedback.fci.len() <= data.len());
            }
            Packet::Bye { .. } | Packet::App { .. } | Packet::Other { .. } => {}
        }
    }
    assert!(packets > 0, "a checked compound has a packet");
}

/// Hands a packet to SRTP and SRTCP of every suite: without the key nothing is authentic.
pub fn srtp(data: &[u8]) {
    for suite in CryptoSuite::ALL {
        let mut context = Context::new(&keys(suite, 0x5a));
        assert!(context.unprotect_rtp(&mut data.to_vec()).is_err());
        assert!(context.unprotect_rtcp(&mut data.to_vec()).is_err());
    }
}

/// Plays a script against a relay: two calls share ports, one leg is encrypted. Each step is an operation octet, a
/// source octet, a length octet and that many octets of a datagram (or none, for commands and time).
pub fn relay(data: &[u8]) {
    // An arbitrary instant: only differences count.
    #[allow(clippy::disallowed_methods)]
    let epoch = Instant::now();
    let mut now = epoch;
    let mut relay = Relay::new(RelayConfig::default(), [7; 32], epoch, 0);
    for id in 0..4 {
        relay.handle_command(now, Command::Open { id: StreamId(id), port: port(id) });
    }
    for id in 0..4 {
        relay.handle_command(now, configure(id, false));
    }
    relay.handle_command(now, Command::Connect { a: StreamId(0), b: StreamId(1) });
    relay.handle_command(now, Command::Connect { a: StreamId(2), b: StreamId(3) });
    let mut rest = data;
    while let [operation, from, len, tail @ ..] = rest {
        let (datagram, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        now += Duration::from_millis(u64::from(from >> 4));
        step(&mut relay, &mut now, *operation, *from & 0x0f, datagram);
        while relay.poll_event().is_some() {}
        let mut room = [0; 1500];
        while relay.poll_packet(now, &mut PacketBuf::new(&mut room, 0)).is_some() {}
    }
    for id in 0..4 {
        relay.handle_command(now, Command::Close { id: StreamId(id) });
    }
    assert!(relay.is_empty());
    relay.handle_timeout(now + Duration::from_secs(600));
    assert_eq!(relay.poll_timeout(), None, "nothing is left behind");
}

fn step(relay: &mut Relay, now: &mut Instant, operation: u8, from: u8, datagram: &[u8]) {
    let id = u64::from(operation & 3);
    match operation >> 4 {
        0..=8 => {
            let mut room = [0; 600];
            room[..datagram.len()].copy_from_slice(datagram);
            let mut buf = PacketBuf::new(&mut room, datagram.len());
            let verdict = relay.handle_packet(*now, port(id), operation & 4 != 0, source(from), &mut buf);
            if let Verdict::Forward { is_rtcp, .. } = verdict {
                let packet = buf.as_slice();
                assert!(packet.len() >= if is_rtcp { 8 } else { rtp::HEADER_LEN });
                assert_eq!(packet[0] >> 6, 2);
                assert!(is_rtcp || rtp::kind(packet) == rtp::Kind::Rtcp || packet[0] == 0x80, "only the fixed header");
            }
        }
        9 => {
            *now += Duration::from_secs(u64::from(from) + 1);
            relay.handle_timeout(*now);
        }
        10 => relay.handle_command(*now, configure(id, true)),
        11 => relay.handle_command(*now, Command::Disconnect { id: StreamId(id) }),
        12 => relay.handle_command(*now, Command::Connect { a: StreamId(id), b: StreamId(u64::from(from & 3)) }),
        13 => relay.handle_command(*now, Command::Close { id: StreamId(id) }),
        14 => {
            relay.handle_command(*now, Command::Open { id: StreamId(id), port: port(id) });
            relay.handle_command(*now, configure(id, false));
        }
        _ => relay.handle_command(*now, Command::Report { id: StreamId(id) }),
    }
}

/// Streams 0 and 2 share a port, and so do 1 and 3.
fn port(id: u64) -> PortId {
    PortId(10_000 + 2 * (id as u16 & 1))
}

fn source(from: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, from & 3], 4000 + u16::from(from >> 2)))
}

fn keys(suite: CryptoSuite, fill: u8) -> SrtpKeys {
    let (mut key, mut salt) = ([0; 32], [0; 14]);
    key[..suite.key_len()].fill(fill);
    salt[..suite.salt_len()].fill(fill);
    SrtpKeys { suite, key, salt, mki: None }
}

fn configure(id: u64, relearn: bool) -> Command {
    let keys = (id == 3).then(|| keys(CryptoSuite::AesCm128HmacSha1_80, 1));
    let remote = source(id as u8);
    let config = StreamConfig {
        remote: Some(remote),
        remote_rtcp: Some(SocketAddr::new(remote.ip(), remote.port() + 1)),
        rtcp_mux: id == 2,
        signalling: Some(remote.ip()),
        payload_types: PtSet(u128::MAX),
        clock_rate: 8000,
        codec: if id < 2 { CodecHint::G711 } else { CodecHint::Video },
        rx_keys: keys.clone(),
        tx_keys: keys,
        sends: true,
        receives: true,
        send_unproven: id == 1 || id == 3,
        pass_extensions: id == 4,
    };
    Command::Configure { id: StreamId(id), config: Box::new(config), relearn }
}
