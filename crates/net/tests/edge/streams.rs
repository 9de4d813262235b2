use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use ringfort_guard::{BanChange, BanSet, Rate, Until};
use ringfort_net::NetConfig;
use ringfort_sip::endpoint::TransportError;
use ringfort_sip::flow::{ConnId, Flow, Target, Transmit, TransmitToken, Transport};
use ringfort_switch::io::Output;

use crate::common::*;

fn config() -> NetConfig {
    listeners(&[(Transport::Tcp, "127.0.0.1:0")])
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until that many answers are there.
fn read_answers(stream: &mut impl Read, count: usize) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while text.matches("\r\n\r\n").count() < count {
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
    }
    text
}

fn read_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

fn flow_of(edge: &Edge, cseq: u32) -> Flow {
    edge.wait_seen("the request", |seen| match seen {
        Seen::Message { flow, text } if text.contains(&format!("CSeq: {cseq} ")) => Some(*flow),
        _ => None,
    })
}

fn to_flow(flow: Flow, token: u64, payload: Bytes) -> Output {
    Output::Transmit(Transmit { target: Target::Flow(flow), payload, token: Some(TransmitToken(token)) })
}

#[test]
fn a_message_that_comes_octet_by_octet_and_two_in_one_write_are_answered() {
    let edge = Edge::start(config());
    let mut stream = connect(edge.local(0));
    stream.set_nodelay(true).unwrap();
    for octet in options(1).as_bytes() {
        stream.write_all(&[*octet]).unwrap();
    }
    assert!(read_answers(&mut stream, 1).contains("CSeq: 1 "));
    stream.write_all((options(2) + &options(3)).as_bytes()).unwrap();
    let answers = read_answers(&mut stream, 2);
    assert!(answers.contains("CSeq: 2 ") && answers.contains("CSeq: 3 "), "{answers}");
    let flow = flow_of(&edge, 3);
    assert_eq!((flow.transport, flow.remote), (Transport::Tcp, stream.local_addr().unwrap()));
    assert_eq!(flow.local, edge.local(0));
}

#[test]
fn a_ping_is_answered_with_a_pong_rfc5626_4_4_1() {
    let edge = Edge::start(config());
    let mut stream = connect(edge.local(0));
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
}

#[test]
fn a_million_pings_that_come_together_get_few_pongs_and_hold_up_nobody_rfc5626_4_4_1() {
    const PINGS: usize = 1_000_000;
    let edge = Edge::start(config());
    let mut pinging = connect(edge.local(0));
    pinging.write_all(&b"\n\n".repeat(PINGS)).unwrap();
    let mut other = connect(edge.local(0));
    other.write_all(options(1).as_bytes()).unwrap();
    read_answers(&mut other, 1);
    wait_for("all pings", || edge.handle.stats().keepalives == PINGS as u64);
    let passes = edge.handle.stats().passes;
    assert!(passes < 5_000, "{passes} passes");
    pinging.shutdown(Shutdown::Write).unwrap();
    let mut pongs = Vec::new();
    pinging.read_to_end(&mut pongs).unwrap();
    assert!((2..=passes as usize * 2).contains(&pongs.len()), "{} octets in {passes} passes", pongs.len());
}

#[test]
fn pings_of_a_peer_that_has_not_read_what_it_was_sent_get_no_pong() {
    // More than any socket buffer takes.
    const BIG: usize = 32 << 20;
    let mut config = config();
    config.connections.write_queue = BIG + 4096;
    let edge = Edge::start(config);
    let mut deaf = connect(edge.local(0));
    deaf.write_all(options(1).as_bytes()).unwrap();
    read_answers(&mut deaf, 1);
    edge.put_out([to_flow(flow_of(&edge, 1), 1, Bytes::from(vec![b'x'; BIG]))]);
    for _ in 0..100 {
        deaf.write_all(b"\r\n\r\n").unwrap();
    }
    wait_for("the pings", || edge.handle.stats().keepalives == 100);
    deaf.read_exact(&mut vec![0; BIG]).unwrap();
    deaf.write_all(options(2).as_bytes()).unwrap();
    assert!(read_answers(&mut deaf, 1).starts_with("SIP/2.0 200"));
}

#[test]
fn pings_count_towards_the_rate_of_their_source() {
    let mut config = config();
    config.rate.ranges.insert(0, ("127.0.0.0/8".parse().unwrap(), Some(Rate::new(5, 1))));
    let edge = Edge::start(config);
    let mut stream = connect(edge.local(0));
    wait_for("a ping over the rate", || {
        stream.write_all(b"\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
        edge.handle.stats().dropped_rate_source > 0
    });
}

#[test]
fn a_stream_that_cannot_be_cut_into_messages_is_answered_and_closed_rfc3261_18_3() {
    let edge = Edge::start(config());
    let mut stream = connect(edge.local(0));
    let broken = options(1).replace("Content-Length: 0\r\n", "Content-Length: 0\r\nContent-Length: 7\r\n");
    stream.write_all(broken.as_bytes()).unwrap();
    assert!(read_answers(&mut stream, 1).starts_with("SIP/2.0 400"));
    read_end(&mut stream);
}

#[test]
fn the_core_is_told_when_a_peer_closes_and_what_is_sent_there_afterwards_fails() {
    let edge = Edge::start(config());
    let mut stream = connect(edge.local(0));
    stream.write_all(options(1).as_bytes()).unwrap();
    read_answers(&mut stream, 1);
    let flow = flow_of(&edge, 1);
    drop(stream);
    let closed = edge.wait_seen("the end", |seen| match seen {
        Seen::Closed(conn) => Some(*conn),
        _ => None,
    });
    assert_eq!(Some(closed), flow.conn);
    edge.put_out([to_flow(flow, 5, Bytes::from(options(5)))]);
    assert_eq!(edge.wait_failed(5), TransportError::Closed);
    assert_eq!(edge.handle.stats().connections, 0);
}

#[test]
fn the_core_can_close_a_connection_after_its_last_message() {
    let edge = Edge::start(config());
    let mut stream = connect(edge.local(0));
    stream.write_all(options(1).as_bytes()).unwrap();
    read_answers(&mut stream, 1);
    let flow = flow_of(&edge, 1);
    let conn: ConnId = flow.conn.unwrap();
    edge.put_out([to_flow(flow, 1, Bytes::from(options(8))), Output::CloseConn(conn)]);
    assert!(read_answers(&mut stream, 1).contains("CSeq: 8 "));
    read_end(&mut stream);
}

#[test]
fn a_connection_without_a_first_message_is_closed() {
    let mut config = config();
    config.connections.first_message = Duration::from_millis(30);
    let edge = Edge::start(config);
    let mut stream = connect(edge.local(0));
    stream.write_all(b"OPTIONS sip:half").unwrap();
    read_end(&mut stream);
    wait_for("the count", || edge.handle.stats().timed_out == 1);
}

#[test]
fn a_silent_stranger_is_closed_and_a_silent_phone_is_not() {
    let mut config = config();
    config.connections.stranger_idle = Duration::from_millis(30);
    let edge = Edge::start(config);
    edge.shared.known.lock().unwrap().insert("127.0.0.1".parse().unwrap());
    let mut phone = connect(edge.local(0));
    phone.write_all(options(1).as_bytes()).unwrap();
    read_answers(&mut phone, 1);
    wait_for("the phone to be known", || edge.handle.stats().strangers == 0);
    edge.shared.known.lock().unwrap().clear();
    let mut stranger = connect(edge.local(0));
    stranger.write_all(options(2).as_bytes()).unwrap();
    read_answers(&mut stranger, 1);
    read_end(&mut stranger);
    phone.write_all(options(3).as_bytes()).unwrap();
    assert!(read_answers(&mut phone, 1).contains("CSeq: 3 "));
}

#[test]
fn one_stranger_too_many_closes_the_oldest_one() {
    let mut config = config();
    config.connections.strangers = 2;
    let edge = Edge::start(config);
    let mut streams: Vec<TcpStream> = (1..=3)
        .map(|n| {
            let mut stream = connect(edge.local(0));
            stream.write_all(options(n).as_bytes()).unwrap();
            read_answers(&mut stream, 1);
            stream
        })
        .collect();
    read_end(&mut streams[0]);
    for stream in &mut streams[1..] {
        stream.write_all(options(9).as_bytes()).unwrap();
        read_answers(stream, 1);
    }
    assert_eq!(edge.handle.stats().strangers, 2);
}

#[test]
fn more_connections_than_allowed_are_closed_at_once() {
    let mut config = config();
    config.connections.all = 1;
    let edge = Edge::start(config);
    let mut first = connect(edge.local(0));
    first.write_all(options(1).as_bytes()).unwrap();
    read_answers(&mut first, 1);
    read_end(&mut connect(edge.local(0)));
    first.write_all(options(2).as_bytes()).unwrap();
    read_answers(&mut first, 1);
    assert_eq!(edge.handle.stats().accept_refused, 1);
}

#[test]
fn a_stream_over_its_rate_is_slowed_down_and_loses_nothing() {
    let mut config = config();
    config.rate.ranges.insert(0, ("127.0.0.0/8".parse().unwrap(), Some(Rate::new(200, 10))));
    let edge = Edge::start(config);
    let mut stream = connect(edge.local(0));
    let all: String = (1..=60).map(options).collect();
    stream.write_all(all.as_bytes()).unwrap();
    let answers = read_answers(&mut stream, 60);
    for n in 1..=60 {
        assert!(answers.contains(&format!("CSeq: {n} ")));
    }
    assert!(edge.handle.stats().dropped_rate_source > 0);
}

#[test]
fn the_core_hears_of_a_stranger_that_floods_a_connection_and_not_of_a_phone() {
    for known in [false, true] {
        let mut config = config();
        config.rate.ranges.insert(0, ("127.0.0.0/8".parse().unwrap(), Some(Rate::new(10, 2))));
        let edge = Edge::start(config);
        let own = "127.0.0.1".parse().unwrap();
        if known {
            edge.shared.known.lock().unwrap().insert(own);
        }
        let mut stream = connect(edge.local(0));
        stream.write_all((1..=5).map(options).collect::<String>().as_bytes()).unwrap();
        read_answers(&mut stream, 5);
        let seen = edge.shared.seen.lock().unwrap();
        let floods: Vec<_> = seen.iter().filter(|seen| matches!(seen, Seen::Flood(_))).collect();
        assert_eq!(floods.is_empty(), known);
        assert!(floods.into_iter().all(|flood| *flood == Seen::Flood(own)));
    }
}

#[test]
fn two_requests_to_one_address_share_a_connection() {
    let edge = Edge::start(config());
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap();
    edge.put_out([connect_to(Transport::Tcp, 0, to, None, 1), connect_to(Transport::Tcp, 0, to, None, 2)]);
    let (mut peer, _) = server.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let requests = read_answers(&mut peer, 2);
    assert!(requests.contains("CSeq: 1 ") && requests.contains("CSeq: 2 "));
    edge.put_out([connect_to(Transport::Tcp, 0, to, None, 3)]);
    assert!(read_answers(&mut peer, 1).contains("CSeq: 3 "));
    // What the peer sends on it comes by the same flow.
    peer.write_all(options(4).as_bytes()).unwrap();
    assert!(read_answers(&mut peer, 1).contains("CSeq: 4 "));
    assert_eq!(edge.handle.stats().connections, 1);
}

#[test]
fn a_request_to_the_address_of_an_accepted_connection_goes_over_it() {
    let edge = Edge::start(config());
    let mut phone = connect(edge.local(0));
    phone.write_all(options(1).as_bytes()).unwrap();
    read_answers(&mut phone, 1);
    edge.put_out([connect_to(Transport::Tcp, 0, phone.local_addr().unwrap(), None, 2)]);
    assert!(read_answers(&mut phone, 1).contains("CSeq: 2 "));
    assert_eq!(edge.handle.stats().connections, 1);
}

#[test]
fn a_refused_connection_fails_what_waited_for_it() {
    let edge = Edge::start(config());
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    edge.put_out([connect_to(Transport::Tcp, 0, gone, None, 1), connect_to(Transport::Tcp, 0, gone, None, 2)]);
    assert_eq!(edge.wait_failed(1), TransportError::Refused);
    assert_eq!(edge.wait_failed(2), TransportError::Refused);
    assert_eq!(edge.handle.stats().connections, 0);
}

#[test]
fn a_peer_that_does_not_read_fills_its_queue_and_nobody_elses() {
    let mut config = config();
    config.connections.write_queue = 256 * 1024;
    let edge = Edge::start(config);
    let mut deaf = connect(edge.local(0));
    deaf.write_all(options(1).as_bytes()).unwrap();
    read_answers(&mut deaf, 1);
    let flow = flow_of(&edge, 1);
    let big = Bytes::from(vec![b'x'; 200 * 1024]);
    // More than any socket buffer takes.
    edge.put_out((0..200).map(|token| to_flow(flow, token, big.clone())));
    assert_eq!(edge.wait_failed(199), TransportError::QueueFull);
    let mut other = connect(edge.local(0));
    other.write_all(options(2).as_bytes()).unwrap();
    read_answers(&mut other, 1);
    deaf.shutdown(Shutdown::Both).unwrap();
    wait_for("the end of the deaf one", || edge.handle.stats().connections == 1);
}

#[test]
fn a_ban_closes_the_connections_of_its_source_and_nobody_elses() {
    let edge = Edge::start(listeners(&[(Transport::Tcp, "127.0.0.1:0")]));
    let mut silent = connect(edge.local(0));
    wait_for("the connection", || edge.handle.stats().connections == 1);
    let source = silent.local_addr().unwrap().ip();
    let ban = |banned: IpAddr| {
        let set = BanSet::new([1; 16], &[], [(banned, Until::Revoked)]);
        let change = BanChange::Banned { source: banned.into(), until: Until::Revoked };
        edge.put_out([Output::Bans(set.into()), Output::Ban(change)]);
    };
    ban("127.0.0.99".parse().unwrap());
    assert_eq!(edge.handle.stats().connections, 1);
    ban(source);
    read_end(&mut silent);
    wait_for("its end", || edge.handle.stats().connections == 0);
}
