//! The four transaction machines and what stands before them, in virtual time.

mod endpoint_support;

use endpoint_support::*;
use ringfort_sip::endpoint::*;
use ringfort_sip::flow::{ConnId, Flow, Target, Transport};
use ringfort_sip::{HeaderName, Headers, Method};

/// Nothing that the caller sends arrives.
fn silence(sender: usize) -> World {
    let mut world = World::new(Weather::FAIR, 1);
    world.thief = Some(Box::new(move |from, _| from == sender));
    world
}

#[test]
fn timer_a_doubles_and_timer_b_ends_an_invite_without_answer_rfc_3261_section_17_1_1_2() {
    let mut world = silence(0);
    let now = world.now;
    world.ends[0].send_request(now, invite(0, Transport::Udp)).expect("there is room");
    let events = world.watch(secs(40));
    assert_eq!(world.times_of(0, "INVITE"), [0, 500, 1500, 3500, 7500, 15500, 31500]);
    assert_eq!(words(&events), ["0 failed Timeout"]);
    world.assert_empty();
}

#[test]
fn timer_e_grows_to_t2_and_timer_f_ends_a_request_without_answer_rfc_3261_section_17_1_2_2() {
    let mut world = silence(0);
    let now = world.now;
    world.ends[0].send_request(now, request(0, Method::Options, Transport::Udp)).expect("there is room");
    let events = world.watch(secs(40));
    assert_eq!(world.times_of(0, "OPTIONS"), [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    assert_eq!(words(&events), ["0 failed Timeout"]);
    world.assert_empty();
}

#[test]
fn nothing_is_repeated_over_a_reliable_transport_but_the_time_limits_hold() {
    let mut world = silence(0);
    let now = world.now;
    world.ends[0].send_request(now, request(0, Method::Options, Transport::Tcp)).expect("there is room");
    world.ends[0].send_request(now, invite(0, Transport::Tcp)).expect("there is room");
    let events = world.watch(secs(40));
    assert_eq!(world.sent_by(0), ["OPTIONS", "INVITE"]);
    assert_eq!(words(&events), ["0 failed Timeout", "0 failed Timeout"]);
    world.assert_empty();
}

#[test]
fn timer_g_repeats_a_refusal_until_timer_h_where_no_ack_comes_rfc_3261_section_17_2_1() {
    let mut world = World::new(Weather::FAIR, 1);
    world.thief = Some(Box::new(|_, msg| msg.method() == Method::Ack));
    let now = world.now;
    world.ends[0].send_request(now, invite(0, Transport::Udp)).expect("there is room");
    world.run_for(secs(100), &mut |end, now, _, event| {
        if let Event::Request { tx, .. } = event {
            end.respond(now, tx, Response::new(486)).expect("not answered yet");
        }
    });
    let at: Vec<u64> = world.times_of(1, "486 INVITE").iter().map(|at| at - 10).collect();
    assert_eq!(at, [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    assert_eq!(world.times_of(0, "ACK").len(), 11, "each repetition is acknowledged (timer D)");
    world.assert_empty();
}

#[test]
fn an_ack_ends_the_repetition_and_timers_d_and_i_the_transactions() {
    let mut world = World::new(Weather::FAIR, 1);
    let now = world.now;
    world.ends[0].send_request(now, invite(0, Transport::Udp)).expect("there is room");
    let user = &mut |end: &mut Endpoint, now, _, event| {
        if let Event::Request { tx, .. } = event {
            end.respond(now, tx, Response::new(486)).expect("not answered yet");
        }
    };
    world.run_for(secs(2), user);
    assert_eq!(world.sent_by(0), ["INVITE", "ACK"]);
    assert_eq!(world.sent_by(1), ["486 INVITE"]);
    assert_eq!((world.ends[0].counts().client, world.ends[1].counts().server), (1, 1));
    world.run_for(secs(4), user);
    assert_eq!(world.ends[1].counts().server, 0, "timer I is T4");
    world.run_for(secs(30), user);
    world.assert_empty();
}

#[test]
fn an_unanswered_invite_gets_100_and_one_that_is_answered_first_does_not_rfc_3261_section_17_2_1() {
    let mut alone = Alone::new();
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", ""));
    assert_eq!(alone.labels(), ["100 INVITE"]);
    let tx = alone.request_tx();
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", ""));
    assert_eq!(alone.labels(), ["100 INVITE"], "the latest answer again");
    alone.end.respond(alone.now, tx, Response::new(180)).expect("not answered yet");
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", ""));
    assert_eq!(alone.labels(), ["180 INVITE", "180 INVITE"]);
    alone.get(&text("INVITE", "z9hG4bKb", 2, "", ""));
    let tx = alone.request_tx();
    alone.end.respond(alone.now, tx, Response::new(404)).expect("not answered yet");
    assert_eq!(alone.labels(), ["404 INVITE"]);
    assert_eq!(alone.end.stats().retransmissions, 2);
}

#[test]
fn a_repeated_request_is_answered_again_for_timer_j_rfc_3261_section_17_2_2() {
    let mut alone = Alone::new();
    let options = text("OPTIONS", "z9hG4bKa", 1, "", "");
    alone.get(&options);
    let tx = alone.request_tx();
    alone.get(&options);
    assert!(alone.labels().is_empty(), "nothing to repeat yet");
    alone.end.respond(alone.now, tx, Response::new(200)).expect("not answered yet");
    alone.get(&options);
    let answers = alone.sent();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].raw(), answers[1].raw());
    assert_eq!(alone.end.respond(alone.now, tx, Response::new(500)), Err(EndpointError::UnknownTransaction));
    assert_eq!(alone.end.counts().server, 1, "it counts as long as its answer is kept");
    alone.pass(secs(33));
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn no_408_and_no_provisional_answer_goes_to_a_non_invite_rfc_4320_section_4() {
    let mut alone = Alone::new();
    alone.get(&text("OPTIONS", "z9hG4bKa", 1, "", ""));
    let tx = alone.request_tx();
    assert_eq!(alone.end.respond(alone.now, tx, Response::new(183)), Err(EndpointError::NotProvisional));
    assert_eq!(alone.end.respond(alone.now, tx, Response::new(408)), Ok(()));
    assert!(alone.labels().is_empty());
    assert_eq!(alone.end.counts(), Counts::default());
    alone.get(&text("OPTIONS", "z9hG4bKb", 2, "", ""));
    alone.pass(secs(33));
    assert_eq!(alone.end.counts(), Counts::default(), "a forgotten request ends by itself");
    assert!(alone.labels().is_empty());
}

#[test]
fn a_request_without_the_magic_cookie_is_matched_by_the_rules_of_rfc_2543_rfc_3261_section_17_2_3() {
    let mut alone = Alone::new();
    alone.get(&text("INVITE", "1", 1, "", ""));
    let tx = alone.request_tx();
    alone.end.respond(alone.now, tx, Response::new(486)).expect("not answered yet");
    alone.get(&text("INVITE", "1", 1, "", ""));
    let answers = alone.sent();
    assert_eq!(answers.len(), 2);
    let tag = answers[0].to_tag().expect("our tag").to_owned();
    alone.get(&text("ACK", "1", 1, &tag, ""));
    assert!(alone.words().is_empty());
    alone.pass(secs(6));
    assert_eq!(alone.end.counts(), Counts::default());
    assert!(alone.labels().is_empty(), "the ACK ended the repetition");
    alone.get(&text("INVITE", "1", 2, "", ""));
    assert_eq!(alone.words(), ["request INVITE"], "another CSeq is another request");
}

#[test]
fn the_branch_alone_does_not_make_a_retransmission_sent_by_and_method_count_rfc_3261_section_17_2_3() {
    let mut alone = Alone::new();
    alone.get(&text("OPTIONS", "z9hG4bKa", 1, "", ""));
    alone.get(
        &text("OPTIONS", "z9hG4bKa", 1, "", "").replace("UDP 192.0.2.1:5060", "UDP 192.0.2.7").replace("call-1", "x"),
    );
    alone.get(&text("MESSAGE", "z9hG4bKa", 1, "", ""));
    assert_eq!(alone.words(), ["request OPTIONS", "request OPTIONS", "request MESSAGE"]);
    alone.get(&text("OPTIONS", "z9hG4bKa", 1, "", "").replace("192.0.2.1:5060;", "192.0.2.1:5060 ;"));
    assert!(alone.words().is_empty());
}

#[test]
fn a_merged_request_is_refused_with_482_rfc_3261_section_8_2_2_2() {
    let mut alone = Alone::new();
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", ""));
    alone.get(&text("INVITE", "z9hG4bKb", 1, "", ""));
    assert_eq!(alone.words(), ["request INVITE"]);
    assert_eq!(alone.labels(), ["482 INVITE", "100 INVITE"]);
    alone.get(&text("INVITE", "z9hG4bKc", 2, "", ""));
    assert_eq!(alone.words(), ["request INVITE"]);
    assert_eq!(alone.end.stats().loops, 1);
}

#[test]
fn hop_and_breadth_limits_are_kept_rfc_3261_section_8_1_1_6_rfc_5393_section_5() {
    let mut alone = Alone::new();
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", "").replace("Max-Forwards: 70", "Max-Forwards: 0"));
    alone.get(&text("INVITE", "z9hG4bKb", 1, "", "Max-Breadth: 0\r\n"));
    alone.get(&text("INVITE", "z9hG4bKc", 1, "", "Max-Breadth: 1\r\n"));
    assert_eq!(alone.labels(), ["483 INVITE", "440 INVITE", "100 INVITE"]);
    assert_eq!(alone.words(), ["request INVITE"]);
    // RFC 4475 §3.3.11: whoever is asked himself needs no hop more.
    for method in ["OPTIONS", "REGISTER"] {
        let branch = format!("z9hG4bK{method}");
        alone.get(&text(method, &branch, 1, "", "").replace("Max-Forwards: 70", "Max-Forwards: 0"));
        assert_eq!(alone.words(), [format!("request {method}")]);
    }
}

#[test]
fn a_full_endpoint_refuses_strangers_statelessly_and_keeps_a_tenth_for_friends() {
    let mut alone = Alone::with(EndpointConfig { max_transactions: 10, retry_after: 7, ..config(1) });
    let options = |n: u32| text("OPTIONS", &format!("z9hG4bK{n}"), n, "", "");
    for n in 0..12 {
        alone.get(&options(n));
    }
    assert_eq!(alone.words().len(), 10);
    let refused = alone.sent();
    assert_eq!(refused.iter().map(label).collect::<Vec<_>>(), ["503 OPTIONS", "503 OPTIONS"]);
    assert_eq!(refused[0].header(HeaderName::RetryAfter), Some(&b"7"[..]));
    assert!(alone.end.is_full());
    for n in 20..22 {
        let msg = parse(options(n));
        alone.end.handle_message_from(alone.now, msg, flow(0, 1, Transport::Udp), Priority::High);
    }
    assert_eq!(alone.words().len(), 1);
    assert_eq!(alone.labels(), ["503 OPTIONS"]);
    assert_eq!(alone.end.counts().server, 11);
}

#[test]
fn answers_that_are_kept_refuse_nobody_and_the_oldest_makes_room() {
    let mut alone = Alone::with(EndpointConfig { max_transactions: 8, ..config(1) });
    let options = |n: u32| text("OPTIONS", &format!("z9hG4bKr{n}"), n, "", "");
    for n in 1..=20 {
        alone.get(&options(n));
        let tx = alone.request_tx();
        alone.end.respond(alone.now, tx, Response::new(200)).expect("it is open");
        assert_eq!(alone.labels(), ["200 OPTIONS"], "{n}");
    }
    assert_eq!(alone.end.counts().server, 4, "half of what may be open");
    alone.get(&options(20));
    assert_eq!(alone.labels(), ["200 OPTIONS"], "the newest are repeated");
    alone.get(&options(1));
    alone.request_tx();
    assert_eq!(alone.labels(), [""; 0], "the oldest is new again");
    alone.pass(secs(33));
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn the_ack_for_a_marked_refusal_proves_its_source_and_no_guess_does() {
    let mut alone = Alone::new();
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", ""));
    let Some(Event::Request { request, flow, .. }) = alone.events().pop() else { panic!("expected a request") };
    let mark = Mark::new(7).expect("1 to 15");
    alone.end.respond_marked(&request, &flow, Response::new(404), mark);
    assert_eq!(alone.end.counts(), Counts::default(), "nothing is kept");
    let tag = alone.sent()[0].to_tag().expect("a tag").to_owned();
    // The tag of an answer to another address: whoever forges a source cannot take it from an answer to himself.
    let elsewhere = Flow { remote: "198.51.100.9:5060".parse().unwrap(), ..flow };
    alone.end.respond_marked(&request, &elsewhere, Response::new(404), mark);
    let other = alone.sent()[0].to_tag().expect("a tag").to_owned();
    assert_ne!(tag[..15], other[..15]);
    for wrong in [other.as_str(), "0123456789abcdef", "x", &tag.to_uppercase()] {
        alone.get(&text("ACK", "z9hG4bKa", 1, wrong, ""));
        assert!(alone.events().is_empty(), "{wrong}");
    }
    // Scanners have been seen to acknowledge under another branch than they called with.
    for branch in ["z9hG4bKa", "z9hG4bKb"] {
        alone.get(&text("ACK", branch, 1, &tag, ""));
        let told = alone.events().pop();
        assert!(
            matches!(told, Some(Event::Acknowledged { mark: told, flow: from, .. }) if told == mark && from == flow)
        );
    }
    assert_eq!((Mark::new(0), Mark::new(16)), (None, None));
}

#[test]
fn a_stateless_refusal_keeps_nothing_and_its_ack_is_absorbed_rfc_3261_section_8_2_7() {
    let mut alone = Alone::new();
    let invite = text("INVITE", "z9hG4bKa", 1, "", "");
    let mut tags = Vec::new();
    for _ in 0..2 {
        alone.get(&invite);
        let Some(Event::Request { request, flow, .. }) = alone.events().pop() else { panic!("expected a request") };
        alone.end.respond_stateless(&request, &flow, Response::new(401));
        assert_eq!(alone.end.counts(), Counts::default());
        let sent = alone.sent();
        assert_eq!(sent.iter().map(label).collect::<Vec<_>>(), ["401 INVITE"], "no 100 before it");
        tags.push(sent[0].to_tag().expect("a tag").to_owned());
    }
    assert_eq!(tags[0], tags[1], "the same tag for the same request");
    alone.get(&text("ACK", "z9hG4bKa", 1, &tags[0], ""));
    assert!(alone.words().is_empty() && alone.labels().is_empty());
    assert_eq!(alone.end.stats().stray_acks, 1);
    assert_eq!(alone.end.poll_timeout(), None, "not even a timer is left");
    alone.get(&text("INVITE", "z9hG4bKb", 2, "", ""));
    let tx = alone.request_tx();
    alone.end.forget(tx);
    assert!(alone.labels().is_empty());
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn peek_tells_what_a_message_would_be_and_changes_nothing() {
    let mut alone = Alone::new();
    let peek = |alone: &Alone, text: &str| alone.end.peek(&parse(text.to_owned()));
    let invite = text("INVITE", "z9hG4bKa", 1, "", "");
    assert_eq!(peek(&alone, &invite), Peek::New);
    alone.get(&invite);
    assert_eq!(peek(&alone, &invite), Peek::Known);
    assert_eq!(peek(&alone, &text("CANCEL", "z9hG4bKa", 1, "", "")), Peek::Known);
    assert_eq!(peek(&alone, &text("BYE", "z9hG4bKb", 2, "x", "")), Peek::InDialog);
    assert_eq!(peek(&alone, &text("ACK", "z9hG4bKc", 2, "x", "")), Peek::Stray);
    assert_eq!(alone.end.counts().server, 1);
}

#[test]
fn stray_answers_are_dropped_rfc_3261_section_18_1_2() {
    let mut alone = Alone::new();
    alone.end.send_request(alone.now, request(1, Method::Options, Transport::Udp)).expect("there is room");
    let options = alone.sent().remove(0);
    let good = answer_to(&options, 200, "b", "");
    let branch = options.top_via().branch().expect("ours").to_owned();
    let other = if branch.ends_with('0') { '1' } else { '0' };
    let forged = good.replace(&branch, &format!("{}{other}", &branch[..branch.len() - 1]));
    let two_vias = good.replacen("From:", "Via: SIP/2.0/UDP x;branch=z9hG4bKq\r\nFrom:", 1);
    for stray in [forged, two_vias, good.replace("CSeq: 1", "CSeq: 2"), good.replace("1 OPTIONS", "1 INVITE")] {
        alone.get(&stray);
        assert!(alone.words().is_empty(), "{stray}");
    }
    assert_eq!(alone.end.stats().stray_responses, 4);
    alone.get(&good);
    alone.get(&good);
    assert_eq!(alone.words(), ["200 OPTIONS"], "told once");
    alone.pass(secs(6));
    assert_eq!(alone.end.counts(), Counts::default(), "timer K is T4");
}

#[test]
fn a_failed_send_and_a_closed_connection_fail_the_request_at_once_rfc_3261_section_8_1_3_1() {
    let mut alone = Alone::new();
    let mut r = request(1, Method::Options, Transport::Tcp);
    r.target = Target::Flow(flow(0, 1, Transport::Tcp));
    alone.end.send_request(alone.now, r.clone()).expect("there is room");
    let token = alone.transmits()[0].token.expect("requests have a token");
    alone.end.handle_transport_error(alone.now, token, TransportError::Refused);
    alone.end.handle_transport_error(alone.now, token, TransportError::Refused);
    assert_eq!(alone.words(), ["failed Transport(Refused)"]);
    for _ in 0..3 {
        alone.end.send_request(alone.now, r.clone()).expect("there is room");
    }
    alone.end.handle_flow_closed(alone.now, ConnId(2));
    assert!(alone.words().is_empty());
    alone.end.handle_flow_closed(alone.now, ConnId(1));
    assert_eq!(alone.words(), ["failed Transport(Closed)"; 3]);
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn an_icmp_error_fails_the_request_that_it_quotes_and_no_other_rfc_3261_section_18_4() {
    let mut alone = Alone::new();
    let mut r = request(1, Method::Invite, Transport::Udp);
    r.target = Target::Connect { transport: Transport::Udp, listener: UDP, remote: addr(7), server_name: None };
    let tx = alone.end.send_request(alone.now, r).expect("there is room");
    let sent = alone.transmits().remove(0).payload;
    let text = String::from_utf8_lossy(&sent).into_owned();
    let branch = text.find("z9hG4bK").expect("a branch");
    let other_nonce = {
        let at = branch + 30;
        let digit = if &text[at..=at] == "0" { "1" } else { "0" };
        format!("{}{digit}{}", &text[..at], &text[at + 1..])
    };
    let refused = TransportError::Refused;
    // Forged, cut off too early, of nothing that is known, sent elsewhere.
    for (remote, quoted) in [
        (addr(7), other_nonce.as_bytes()),
        (addr(7), &sent[..branch + 38]),
        (addr(7), b"branch="),
        (addr(7), b""),
        (addr(8), &sent[..]),
    ] {
        assert!(!alone.end.handle_unreachable(alone.now, remote, quoted, refused));
    }
    assert!(alone.words().is_empty() && alone.end.is_unheard(tx));
    assert!(alone.end.handle_unreachable(alone.now, addr(7), &sent[..branch + 39], refused));
    assert!(!alone.end.handle_unreachable(alone.now, addr(7), &sent, refused));
    assert_eq!(alone.words(), ["failed Transport(Refused)"]);
}

#[test]
fn an_icmp_error_does_not_fail_what_has_been_heard() {
    let mut alone = Alone::new();
    let mut r = request(1, Method::Invite, Transport::Udp);
    r.target = Target::Connect { transport: Transport::Udp, listener: UDP, remote: addr(0), server_name: None };
    alone.end.send_request(alone.now, r).expect("there is room");
    let sent = alone.transmits().remove(0).payload;
    alone.get(&answer_to(&parse(sent.clone()), 100, "", ""));
    assert!(!alone.end.handle_unreachable(alone.now, addr(0), &sent, TransportError::Refused));
}

#[test]
fn a_request_too_long_for_udp_goes_by_tcp_and_by_udp_where_tcp_fails_rfc_3261_section_18_1_1() {
    let mut alone = Alone::new();
    let mut r = request(1, Method::Message, Transport::Udp);
    r.tcp_alternative = Some(TCP);
    alone.end.send_request(alone.now, r.clone()).expect("there is room");
    assert_eq!(alone.transmits()[0].target.transport(), Transport::Udp, "short enough");
    r.headers.push("Subject", "x".repeat(1400));
    alone.end.send_request(alone.now, r.clone()).expect("there is room");
    let first = alone.transmits().remove(0);
    assert_eq!((first.target.transport(), first.target.remote()), (Transport::Tcp, addr(0)));
    let msg = parse(first.payload);
    assert_eq!(msg.top_via().transport, "TCP");
    alone.end.handle_transport_error(alone.now, first.token.expect("a token"), TransportError::Refused);
    let second = alone.transmits().remove(0);
    assert_eq!(second.target.transport(), Transport::Udp);
    let again = parse(second.payload);
    assert_eq!(again.top_via().transport, "UDP");
    assert_eq!(again.top_via().branch(), msg.top_via().branch());
    assert!(alone.words().is_empty(), "nobody is told");
    alone.pass(ms(600));
    assert!(alone.labels().contains(&"MESSAGE".to_owned()), "timer E runs now");
    r.tcp_alternative = None;
    alone.end.send_request(alone.now, r).expect("there is room");
    assert_eq!(alone.transmits()[0].target.transport(), Transport::Udp, "no other way is known");
}

#[test]
fn an_invite_that_falls_back_to_udp_after_its_cancel_is_cancelled_again_and_ends() {
    let mut alone = Alone::new();
    let mut r = invite(1, Transport::Udp);
    r.tcp_alternative = Some(TCP);
    r.headers.push("Subject", "x".repeat(1400));
    let tx = alone.end.send_request(alone.now, r).expect("there is room");
    let first = alone.transmits().remove(0);
    alone.get_by(&answer_to(&parse(first.payload), 180, "x", ""), flow(0, 1, Transport::Tcp));
    alone.end.cancel(alone.now, tx, Headers::default());
    assert_eq!(alone.labels(), ["CANCEL"]);
    alone.end.handle_flow_closed(alone.now, ConnId(1));
    let second = parse(alone.transmits().remove(0).payload);
    assert_eq!((label(&second).as_str(), second.top_via().transport), ("INVITE", "UDP"));
    alone.get(&answer_to(&second, 180, "x", ""));
    let cancel = parse(alone.transmits().remove(0).payload);
    assert_eq!((label(&cancel).as_str(), cancel.top_via().transport), ("CANCEL", "UDP"));
    alone.get(&answer_to(&second, 487, "x", ""));
    assert_eq!(alone.words().last().map(String::as_str), Some("ended"));
    alone.pass(secs(100));
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn answers_go_to_the_source_port_with_rport_and_to_sent_by_without_rfc_3581_section_4() {
    let mut alone = Alone::new();
    let mut nat = flow(0, 1, Transport::Udp);
    nat.remote = "203.0.113.9:34567".parse().expect("an address");
    for (rport, port) in [(";rport", 34567), ("", 5060)] {
        alone.get_by(&text("CANCEL", "z9hG4bKa", 1, "", "").replace(";rport", rport), nat);
        let transmit = alone.transmits().remove(0);
        assert_eq!(transmit.target.remote(), (nat.remote.ip(), port).into());
        let via = String::from_utf8_lossy(parse(transmit.payload).header(HeaderName::Via).expect("a Via")).into_owned();
        assert!(via.contains("received=203.0.113.9"), "{via}");
        assert_eq!(via.contains("rport=34567"), !rport.is_empty(), "{via}");
    }
}

#[test]
fn credentials_go_out_under_the_same_call_id_with_the_next_cseq_rfc_3261_section_22_2() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut alone = Alone::new();
        let mut r = request(1, Method::Register, transport);
        r.headers.push("Authorization", "Digest old");
        r.headers.push("X-Kept", "yes");
        let tx = alone.end.send_request(alone.now, r).expect("there is room");
        assert_eq!(alone.end.resend_with(alone.now, tx, Headers::default()), Err(EndpointError::WrongState));
        let first = alone.sent().remove(0);
        alone.get(&answer_to(&first, 401, "b", ""));
        assert_eq!(alone.words(), ["401 REGISTER"]);
        let mut extra = Headers::default();
        extra.push("Authorization", "Digest new");
        let again = alone.end.resend_with(alone.now, tx, extra.clone()).expect("kept for it");
        assert_ne!(tx, again);
        let second = alone.sent().remove(0);
        assert_eq!((second.cseq().number, second.call_id()), (2, first.call_id()));
        assert_eq!(second.from_tag(), first.from_tag());
        assert_ne!(second.top_via().branch(), first.top_via().branch());
        let fields: Vec<&[u8]> = second.headers(HeaderName::Authorization).collect();
        assert_eq!(fields, [&b"Digest new"[..]]);
        assert_eq!(second.header_named("X-Kept"), Some(&b"yes"[..]));
        assert_eq!(alone.end.resend_with(alone.now, tx, extra), Err(EndpointError::WrongMethod), "once");
        alone.get(&answer_to(&second, 200, "b", ""));
        alone.pass(secs(6));
        assert_eq!(alone.end.counts(), Counts::default());
    }
}

#[test]
fn what_cannot_be_sent_is_said_so() {
    let mut alone = Alone::with(EndpointConfig { max_transactions: 1, ..config(1) });
    let mut r = request(1, Method::Options, Transport::Udp);
    assert_eq!(
        alone.end.send_request(alone.now, request(1, Method::Ack, Transport::Udp)),
        Err(EndpointError::WrongMethod)
    );
    r.target = Target::Flow(ringfort_sip::flow::Flow {
        listener: ringfort_sip::flow::ListenerId(9),
        ..flow(0, 1, Transport::Udp)
    });
    assert_eq!(alone.end.send_request(alone.now, r), Err(EndpointError::UnknownListener));
    alone.end.send_request(alone.now, request(1, Method::Options, Transport::Udp)).expect("there is room");
    // A tenth of the room beyond the limit, rounded up, is for what we begin ourselves.
    alone.end.send_request(alone.now, request(1, Method::Options, Transport::Udp)).expect("the reserve has room");
    let third = alone.end.send_request(alone.now, request(1, Method::Options, Transport::Udp));
    assert_eq!(third, Err(EndpointError::Full));
    assert_eq!(alone.end.respond(alone.now, ServerTx(77), Response::new(200)), Err(EndpointError::UnknownTransaction));
}
