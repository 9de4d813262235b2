use std::net::{SocketAddr, UdpSocket};

use ringfort_guard::{BanSet, Until};
use ringfort_media::types::{CodecHint, Command, Event, PortId, PtSet, StreamConfig, StreamId};
use ringfort_net::NetConfig;
use ringfort_switch::io::Output;

use crate::common::*;

/// Even ports that were free a moment ago, each with the one above it.
fn free_pairs(count: usize) -> Vec<PortId> {
    let mut held: Vec<(UdpSocket, UdpSocket)> = Vec::new();
    while held.len() < count {
        let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = rtp.local_addr().unwrap().port();
        if number.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", number + 1))
        {
            held.push((rtp, rtcp));
        }
    }
    held.iter().map(|(rtp, _)| PortId(rtp.local_addr().unwrap().port())).collect()
}

fn config() -> NetConfig {
    let mut config = NetConfig::default();
    config.media.bind = vec!["127.0.0.1".parse().unwrap()];
    config
}

fn stream(remote: SocketAddr) -> StreamConfig {
    StreamConfig {
        remote: Some(remote),
        remote_rtcp: None,
        rtcp_mux: false,
        signalling: None,
        payload_types: [8u8].into_iter().collect::<PtSet>(),
        clock_rate: 8000,
        codec: CodecHint::G711,
        rx_keys: None,
        tx_keys: None,
        sends: true,
        receives: true,
        send_unproven: true,
        pass_extensions: false,
    }
}

fn open(id: u64, port: PortId, remote: SocketAddr) -> [Output; 2] {
    let id = StreamId(id);
    [
        Output::Media(Command::Open { id, port }),
        Output::Media(Command::Configure { id, config: Box::new(stream(remote)), relearn: false }),
    ]
}

fn connect(a: u64, b: u64) -> Output {
    Output::Media(Command::Connect { a: StreamId(a), b: StreamId(b) })
}

fn close(id: u64) -> Output {
    Output::Media(Command::Close { id: StreamId(id) })
}

fn rtp(seq: u16, ssrc: u32, payload: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(seq.to_be_bytes());
    packet.extend((u32::from(seq) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([payload; 160]);
    packet
}

fn local(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().unwrap()
}

/// Sends packets until one with that payload comes out at the other end, from that port.
fn flows(from: &UdpSocket, to: PortId, at: &UdpSocket, out: PortId, payload: u8) {
    for seq in 1..=20 {
        from.send_to(&rtp(seq, 0x1000 + u32::from(payload), payload), ("127.0.0.1", to.rtp())).unwrap();
    }
    let mut buffer = [0; 2048];
    let (len, source) = at.recv_from(&mut buffer).unwrap();
    assert_eq!((len, &buffer[12..len]), (172, &[payload; 160][..]));
    assert_eq!(source.port(), out.rtp());
    for _ in 1..20 {
        let (len, _) = at.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[len - 1], payload);
    }
}

fn learned(edge: &Edge, id: u64) {
    edge.wait_seen("the address to be learned", |seen| match seen {
        Seen::Media(Event::Learned { id: of, .. }) if *of == StreamId(id) => Some(()),
        _ => None,
    });
}

/// Two streams that are connected, with a port each.
fn relaying() -> (Edge, [UdpSocket; 2], Vec<PortId>) {
    let edge = Edge::start(config());
    let (alice, bob) = (client("127.0.0.2:0"), client("127.0.0.3:0"));
    let ports = free_pairs(2);
    edge.put_out(
        open(1, ports[0], local(&alice)).into_iter().chain(open(2, ports[1], local(&bob))).chain([connect(1, 2)]),
    );
    wait_for("the ports", || edge.handle.media_stats().sockets == 4);
    (edge, [alice, bob], ports)
}

#[test]
fn rtp_is_relayed_both_ways_and_the_ports_are_given_back() {
    let (edge, [alice, bob], ports) = relaying();
    flows(&alice, ports[0], &bob, ports[1], 1);
    flows(&bob, ports[1], &alice, ports[0], 2);
    learned(&edge, 1);
    learned(&edge, 2);
    edge.put_out([close(1), close(2)]);
    for id in [1, 2] {
        edge.wait_seen("the report", |seen| match seen {
            Seen::Media(Event::Closed { id: of, report }) if *of == StreamId(id) => {
                assert_eq!(report.received.packets, 20);
                Some(())
            }
            _ => None,
        });
    }
    wait_for("the ports to close", || edge.handle.media_stats().sockets == 0);
    let stats = edge.handle.media_stats();
    assert_eq!((stats.streams, stats.forwarded, stats.bind_failed), (0, 40, 0));
}

#[test]
fn a_banned_sources_media_are_dropped_and_the_other_calls_go_on() {
    let (edge, [alice, bob], ports) = relaying();
    flows(&alice, ports[0], &bob, ports[1], 1);
    let ban = |bans: BanSet| edge.put_out([Output::Bans(bans.into())]);
    ban(BanSet::new([1; 16], &[], [("127.0.0.2".parse().unwrap(), Until::Revoked)]));
    wait_for("the ban in force", || {
        alice.send_to(&rtp(21, 0x1001, 1), ("127.0.0.1", ports[0].rtp())).unwrap();
        edge.handle.media_stats().dropped_ban > 0
    });
    // What was on its way before the ban is let through; what is banned gets nowhere, and the other side does.
    let before = edge.handle.media_stats().forwarded;
    flows(&bob, ports[1], &alice, ports[0], 2);
    let dropped = edge.handle.media_stats().dropped_ban;
    alice.send_to(&rtp(22, 0x1001, 1), ("127.0.0.1", ports[0].rtp())).unwrap();
    wait_for("the drop", || edge.handle.media_stats().dropped_ban == dropped + 1);
    assert_eq!(edge.handle.media_stats().forwarded, before + 20);
    ban(BanSet::empty());
    wait_for("the pardon", || {
        alice.send_to(&rtp(23, 0x1001, 1), ("127.0.0.1", ports[0].rtp())).unwrap();
        edge.handle.media_stats().forwarded > before + 20
    });
}

#[test]
fn calls_that_share_ports_do_not_hear_each_other() {
    let edge = Edge::start(config());
    let ports = free_pairs(2);
    let mut calls = Vec::new();
    for call in 0..10u64 {
        let (a, b) = (client("127.0.0.2:0"), client("127.0.0.3:0"));
        let (x, y) = (call * 2 + 1, call * 2 + 2);
        edge.put_out(
            open(x, ports[0], local(&a)).into_iter().chain(open(y, ports[1], local(&b))).chain([connect(x, y)]),
        );
        wait_for("the streams", || edge.handle.media_stats().streams == y);
        flows(&a, ports[0], &b, ports[1], call as u8);
        flows(&b, ports[1], &a, ports[0], 100 + call as u8);
        learned(&edge, x);
        learned(&edge, y);
        calls.push((a, b));
    }
    assert_eq!(edge.handle.media_stats().sockets, 4);
    // All at once, and each hears its own.
    for seq in 100..150 {
        for (call, (a, b)) in calls.iter().enumerate() {
            a.send_to(&rtp(seq, 0x1000 + call as u32, call as u8), ("127.0.0.1", ports[0].rtp())).unwrap();
            b.send_to(&rtp(seq, 0x1000 + 100 + call as u32, 100 + call as u8), ("127.0.0.1", ports[1].rtp())).unwrap();
        }
    }
    let mut buffer = [0; 2048];
    for (call, (a, b)) in calls.iter().enumerate() {
        for _ in 0..50 {
            let len = a.recv(&mut buffer).unwrap();
            assert_eq!(buffer[len - 1], 100 + call as u8);
            let len = b.recv(&mut buffer).unwrap();
            assert_eq!(buffer[len - 1], call as u8);
        }
    }
}

#[test]
fn a_port_that_is_taken_is_reported_the_rest_goes_on_and_it_opens_once_it_is_free() {
    let edge = Edge::start(config());
    let (alice, bob) = (client("127.0.0.2:0"), client("127.0.0.3:0"));
    let ports = free_pairs(3);
    let taken = UdpSocket::bind(("127.0.0.1", ports[2].rtcp())).unwrap();
    edge.put_out(open(9, ports[2], local(&alice)));
    let failed = Seen::Media(Event::PortFailed { id: StreamId(9), port: ports[2] });
    wait_for("the failure", || edge.seen().contains(&failed));
    assert_eq!((edge.handle.media_stats().bind_failed, edge.handle.media_stats().sockets), (1, 0));
    edge.put_out(
        open(1, ports[0], local(&alice)).into_iter().chain(open(2, ports[1], local(&bob))).chain([connect(1, 2)]),
    );
    wait_for("the ports", || edge.handle.media_stats().sockets == 4);
    flows(&alice, ports[0], &bob, ports[1], 1);
    edge.put_out([close(9)]);
    edge.wait_seen("the report", |seen| match seen {
        Seen::Media(Event::Closed { id: StreamId(9), .. }) => Some(()),
        _ => None,
    });
    drop(taken);
    edge.put_out(open(3, ports[2], local(&alice)).into_iter().chain([connect(1, 3)]));
    wait_for("the port", || edge.handle.media_stats().sockets == 6);
    assert_eq!(edge.handle.media_stats().bind_failed, 1);
}

#[test]
fn a_burst_of_commands_larger_than_the_queue_is_carried_out_in_order() {
    let mut config = config();
    config.media.queue = 2;
    let edge = Edge::start(config);
    let port = free_pairs(1)[0];
    let remote = "127.0.0.2:4000".parse().unwrap();
    edge.put_out((1..=100).flat_map(|id| open(id, port, remote)));
    wait_for("the streams", || edge.handle.media_stats().streams == 100);
    edge.put_out((1..=100).map(close));
    wait_for("their end", || edge.handle.media_stats().streams == 0);
    let closed = |seen: &&Seen| matches!(seen, Seen::Media(Event::Closed { .. }));
    wait_for("all reports", || edge.seen().iter().filter(closed).count() == 100);
}
