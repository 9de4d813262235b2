use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use ringfort_guard::{BanSet, Rate, Until};
use ringfort_net::StopReason;
use ringfort_sip::endpoint::TransportError;
use ringfort_sip::flow::Transport;
use ringfort_switch::io::Command;
use ringfort_switch::model::Site;

use crate::common::*;

#[test]
fn requests_are_answered_over_ipv4_and_ipv6() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0"), (Transport::Udp, "[::1]:0")]));
    for (listener, from) in [(0, "127.0.0.2:0"), (1, "[::1]:0")] {
        let client = client(from);
        client.send_to(options(5).as_bytes(), edge.local(listener)).unwrap();
        let (answer, source) = receive(&client);
        assert!(answer.starts_with("SIP/2.0 200 OK\r\nCSeq: 5"), "{answer}");
        assert_eq!(source, edge.local(listener));
    }
}

#[test]
fn a_wildcard_listener_answers_from_the_address_that_was_asked() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "0.0.0.0:0")]));
    let client = client("127.0.0.1:0");
    let asked = SocketAddr::new("127.0.0.9".parse().unwrap(), edge.local(0).port());
    client.send_to(options(1).as_bytes(), asked).unwrap();
    assert_eq!(receive(&client).1, asked);
    let local = edge.wait_seen("the request", |seen| match seen {
        Seen::Message { flow, .. } => Some(flow.local),
        _ => None,
    });
    assert_eq!(local, asked);
}

#[test]
fn stun_binding_requests_on_the_sip_port_are_answered_rfc5626_4_4_2() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0")]));
    let client = client("127.0.0.1:0");
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend([7; 12]);
    client.send_to(b"\r\n\r\n", edge.local(0)).unwrap();
    client.send_to(&request, edge.local(0)).unwrap();
    let mut answer = [0; 256];
    let len = client.recv(&mut answer).unwrap();
    assert!(len > 20);
    assert_eq!((&answer[..2], &answer[8..20]), (&[1, 1][..], &[7; 12][..]));
    let stats = edge.handle.stats();
    assert_eq!((stats.keepalives, stats.parsed), (2, 0));
}

#[test]
fn malformed_datagrams_reach_the_core_as_such() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0")]));
    let client = client("127.0.0.1:0");
    let broken = options(1).replace("CSeq: 1 OPTIONS", "CSeq: one OPTIONS");
    client.send_to(broken.as_bytes(), edge.local(0)).unwrap();
    assert!(receive(&client).0.starts_with("SIP/2.0 400"));
    assert_eq!(edge.handle.stats().malformed, 1);
}

#[test]
fn a_flood_of_20000_packets_is_dropped_before_parsing_and_others_are_served() {
    let mut config = listeners(&[(Transport::Udp, "127.0.0.1:0")]);
    config.rate.ranges.insert(0, ("127.0.0.66".parse().unwrap(), Some(Rate::new(1, 100))));
    let edge = Edge::start(config);
    let (bad, good) = (client("127.0.0.66:0"), client("127.0.0.4:0"));
    let garbage = [b'x'; 400];
    for round in 1..=200 {
        for _ in 0..100 {
            bad.send_to(&garbage, edge.local(0)).unwrap();
        }
        // The socket's buffer is not what is tested here.
        wait_for("the flood to be read", || edge.handle.stats().udp_received >= round * 101 - 1);
        good.send_to(options(round as u32).as_bytes(), edge.local(0)).unwrap();
        assert!(receive(&good).0.contains(&format!("CSeq: {round} ")));
    }
    let stats = edge.handle.stats();
    let parsed_of_flood = stats.parsed - 200;
    assert_eq!(stats.dropped_rate_source + parsed_of_flood, 20_000);
    // The burst, and one a second for as long as the machine took.
    assert!(parsed_of_flood < 200, "{parsed_of_flood}");
}

#[test]
fn a_known_source_passes_where_a_stranger_is_dropped() {
    let mut config = listeners(&[(Transport::Udp, "127.0.0.1:0")]);
    config.rate.ranges.insert(0, ("127.0.0.64/26".parse().unwrap(), Some(Rate::new(1, 1))));
    let edge = Edge::start(config);
    let known = client("127.0.0.70:0");
    edge.shared.known.lock().unwrap().insert("127.0.0.70".parse().unwrap());
    for n in 1..=50 {
        known.send_to(options(n).as_bytes(), edge.local(0)).unwrap();
        assert!(receive(&known).0.contains(&format!("CSeq: {n} ")));
    }
}

#[test]
fn who_is_in_a_call_and_over_his_rate_can_still_hang_up_and_do_nothing_else() {
    let mut config = listeners(&[(Transport::Udp, "127.0.0.1:0")]);
    config.rate.ranges.insert(0, ("127.0.0.64/26".parse().unwrap(), Some(Rate::new(1, 1))));
    let edge = Edge::start(config);
    let (talker, other) = (client("127.0.0.71:0"), client("127.0.0.71:0"));
    edge.shared.talking.lock().unwrap().insert(talker.local_addr().unwrap());
    // What a stranger may send is used up.
    for n in 1..=20 {
        other.send_to(options(n).as_bytes(), edge.local(0)).unwrap();
    }
    let within = |n: u32| options(n).replace("OPTIONS", "BYE").replace("\r\nCall-ID", ";tag=ours\r\nCall-ID");
    for n in 100..120 {
        talker.send_to(options(n).as_bytes(), edge.local(0)).unwrap();
        talker.send_to(b"garbage that is no message\r\n\r\n", edge.local(0)).unwrap();
        other.send_to(within(n + 1000).as_bytes(), edge.local(0)).unwrap();
        talker.send_to(within(n + 500).as_bytes(), edge.local(0)).unwrap();
        // A second of a slow machine lets one of the others through as well.
        while !receive(&talker).0.contains(&format!("CSeq: {} ", n + 500)) {}
    }
    let seen = edge.shared.seen.lock().unwrap();
    let hung_up = |seen: &&Seen| matches!(seen, Seen::Message { text, .. } if text.starts_with("BYE") && text.contains("Call-ID: c6"));
    let all = seen.iter().filter(hung_up).count();
    assert_eq!(all, 20);
    assert!(seen.len() - all < 20, "80 others were sent: {}", seen.len() - all);
}

#[test]
fn a_published_ban_drops_before_parsing_and_its_end_lets_in_again() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0")]));
    let client = client("127.0.0.77:0");
    let ban = |bans: BanSet| {
        edge.shared.outputs.lock().unwrap().push_back(ringfort_switch::io::Output::Bans(bans.into()));
        edge.handle.command(ringfort_switch::io::Command::Status).unwrap();
    };
    ban(BanSet::new([1; 16], &[], [("127.0.0.77".parse().unwrap(), Until::Revoked)]));
    client.send_to(options(1).as_bytes(), edge.local(0)).unwrap();
    wait_for("the drop", || edge.handle.stats().dropped_ban == 1);
    ban(BanSet::empty());
    client.send_to(options(2).as_bytes(), edge.local(0)).unwrap();
    assert!(receive(&client).0.contains("CSeq: 2 "));
    assert_eq!(edge.handle.stats().parsed, 1);
}

#[test]
fn whom_a_profile_is_not_for_gets_no_answer_to_stun_either_and_no_connection() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0"), (Transport::Tcp, "127.0.0.1:0")]));
    let client = client("127.0.0.77:0");
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    client.send_to(&binding, edge.local(0)).unwrap();
    let mut answer = [0; 100];
    assert_eq!(client.recv(&mut answer).unwrap(), 32, "a binding response with XOR-MAPPED-ADDRESS");
    edge.shared.closed_to.lock().unwrap().extend(["127.0.0.77", "127.0.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    client.send_to(&binding, edge.local(0)).unwrap();
    wait_for("the drop", || edge.handle.stats().dropped_acl == 1);
    let mut stream = std::net::TcpStream::connect(edge.local(1)).unwrap();
    wait_for("the refusal", || edge.handle.stats().dropped_acl == 2);
    assert!(matches!(std::io::Read::read(&mut stream, &mut answer), Ok(0) | Err(_)), "closed");
    assert_eq!((edge.handle.stats().accepted, edge.handle.stats().accept_refused), (0, 1));
}

#[test]
fn records_are_safe_before_the_answer_that_depends_on_them_is_sent() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0")]));
    *edge.shared.journalled.lock().unwrap() = true;
    let client = client("127.0.0.1:0");
    client.send_to(options(1).as_bytes(), edge.local(0)).unwrap();
    receive(&client);
    assert_eq!(*edge.shared.journal.lock().unwrap(), ["append", "flush"]);
}

#[test]
fn records_that_could_not_be_written_are_tried_again_without_a_next_one() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0")]));
    *edge.shared.journalled.lock().unwrap() = true;
    *edge.shared.failing_flushes.lock().unwrap() = 2;
    let socket = client("127.0.0.1:0");
    socket.send_to(options(1).as_bytes(), edge.local(0)).unwrap();
    assert!(receive(&socket).0.starts_with("SIP/2.0 200"), "the system goes on without its journal");
    wait_for("the third try", || *edge.shared.journal.lock().unwrap() == ["append", "flush", "flush", "flush"]);
    assert_eq!(edge.handle.stats().journal_errors, 2);
}

#[test]
fn a_datagram_that_the_kernel_refuses_is_reported_to_its_sender() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0")]));
    edge.put_out([
        connect_to(Transport::Udp, 0, "[::1]:9".parse().unwrap(), None, 1),
        connect_to(Transport::Udp, 4, "127.0.0.1:9".parse().unwrap(), None, 2),
        connect_to(Transport::Tcp, 0, "127.0.0.1:9".parse().unwrap(), None, 3),
    ]);
    assert_eq!(edge.wait_failed(1), TransportError::Unreachable);
    assert_eq!(edge.wait_failed(2), TransportError::NoListener);
    assert_eq!(edge.wait_failed(3), TransportError::NoListener);
}

#[test]
fn requests_of_our_own_leave_from_the_listeners_port() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0")]));
    let peer = client("127.0.0.3:0");
    edge.put_out([connect_to(Transport::Udp, 0, peer.local_addr().unwrap(), None, 9)]);
    let (text, from) = receive(&peer);
    assert!(text.starts_with("OPTIONS"));
    assert_eq!(from, edge.local(0));
}

#[test]
fn a_panic_of_the_core_stops_the_shard_with_its_reason() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0")]));
    let client = client("127.0.0.1:0");
    client.send_to(options(1).replace("OPTIONS", "PANIC").as_bytes(), edge.local(0)).unwrap();
    let reason = edge.handle.wait(Some(PATIENCE)).unwrap();
    assert_eq!(reason, StopReason::Panicked("a test asked for this panic".to_owned()));
    assert_eq!(edge.handle.is_idle(), Err(ringfort_net::HandleError::Stopped));
}

#[test]
fn a_new_site_reaches_the_core_and_a_stop_frees_the_port() {
    let edge = Edge::start(listeners(&[(Transport::Udp, "127.0.0.1:0")]));
    edge.handle.apply_site(Arc::new(Site { revision: 42, ..Site::default() })).unwrap();
    assert_eq!(edge.handle.is_idle(), Ok(true));
    assert_eq!(edge.seen(), [Seen::Site(42)]);
    assert_eq!(edge.handle.stopped(), None);
    assert_eq!(edge.handle.stop(), StopReason::Asked);
    UdpSocket::bind(edge.local(0)).unwrap();
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = ringfort_net::bind(listeners(&[(Transport::Udp, &address)])).err().unwrap().to_string();
    assert!(error.contains(&address) && error.contains("UDP"), "{error}");
}

#[test]
fn a_datagram_to_a_closed_port_is_told_and_hinders_no_other() {
    for ip in ["127.0.0.1", "[::1]"] {
        let edge = Edge::start(listeners(&[(Transport::Udp, &format!("{ip}:0"))]));
        let there = client(&format!("{ip}:0"));
        let closed = client(&format!("{ip}:0")).local_addr().unwrap();
        let to = |remote: SocketAddr, token: u64| connect_to(Transport::Udp, 0, remote, None, token);
        for round in 0..20 {
            edge.put_out([to(closed, 2 * round), to(there.local_addr().unwrap(), 2 * round + 1)]);
            edge.handle.command(Command::Status).unwrap();
            receive(&there);
        }
        let (text, error) = edge.wait_seen("what came back", |seen| match seen {
            Seen::Undelivered(remote, text, error) if *remote == closed => Some((text.clone(), *error)),
            _ => None,
        });
        assert_eq!(error, TransportError::Refused);
        assert!(text.starts_with("OPTIONS "), "{text}");
        let failed = edge.seen().iter().any(|seen| matches!(seen, Seen::SendFailed(..)));
        assert!(!failed, "{:?}", edge.seen());
        // The queue of errors is read to its end: the shard sleeps again.
        until("the shard to rest", || {
            let before = edge.handle.stats().passes;
            std::thread::sleep(std::time::Duration::from_millis(50));
            (edge.handle.stats().passes <= before + 1).then_some(())
        });
    }
}
