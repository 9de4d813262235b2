//! What the parser takes and refuses, the accessors, the writer: RFC 3261 §7, §8.1, §18.3, §20.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use ringfort_sip::check::{Supported, inspect_request};
use ringfort_sip::reason::Reason;
use ringfort_sip::write::{self, Body, Headers, RequestHead, ResponseHead, ViaOut};
use ringfort_sip::{HeaderName, HostPort, Limits, Message, Method, ParseError, ParseErrorKind, flow::Transport};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator; the counter is a thread-local that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const INVITE: &str = "INVITE sip:1001@pbx.example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice, at \\\"home\\\"\" <sip:1000@pbx.example.com>;tag=1928301774\r\n\
    To: <sip:1001@pbx.example.com>\r\n\
    Call-ID: a84b4c76e66710@192.0.2.10\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:1000@192.0.2.10:5060;transport=udp>\r\n\
    X-Latin: caf\u{e9}\r\n\
    Supported: replaces,timer , 100rel\r\n\
    k: norefersub\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 5\r\n\
    \r\n\
    v=0\r\n";

fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse_datagram(Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
}

fn invite() -> Message {
    parse(INVITE).expect("a valid message")
}

fn refused(text: &str) -> ParseErrorKind {
    parse(text).expect_err(text).kind
}

#[test]
fn an_invite_is_parsed_with_two_allocations_at_most() {
    let raw = Bytes::from_static(INVITE.as_bytes());
    let limits = Limits::default();
    let before = ALLOCATIONS.get();
    let message = Message::parse_datagram(raw, &limits).expect("a valid message");
    let parsed = ALLOCATIONS.get();
    assert!(parsed - before <= 2, "{} allocations", parsed - before);
    assert_eq!((message.call_id(), message.cseq().number), ("a84b4c76e66710@192.0.2.10", 314_159));
    assert_eq!(message.top_via().branch(), Some("z9hG4bK776asdhds"));
    assert_eq!((message.from_tag(), message.to_tag()), (Some("1928301774"), None));
    assert_eq!(message.clone().body(), b"v=0\r\n");
    assert!(message.vias().all(|via| via.is_ok()));
    assert!(message.has_option(HeaderName::Supported, "TIMER"));
    assert_eq!(ALLOCATIONS.get(), parsed, "what is read from the index allocates nothing");
}

#[test]
fn header_fields_are_found_by_any_of_their_names_rfc_3261_7_3_3() {
    let message = invite();
    assert_eq!(
        message.option_tags(HeaderName::Supported).collect::<Vec<_>>(),
        ["replaces", "timer", "100rel", "norefersub"]
    );
    assert_eq!(message.header_named("v"), message.header(HeaderName::Via));
    assert_eq!(message.header_named("x-lATIN"), Some("café".as_bytes()));
    assert_eq!(message.header_named("X-Other"), None);
    assert_eq!(message.from().display.as_deref(), Some("Alice, at \"home\""));
    let names: Vec<&str> = message.all_headers().map(|(_, name, _)| name).collect();
    assert_eq!(names[9..], ["k", "Content-Type", "Content-Length"]);
    assert!(message.has_content_type("Application/SDP"));
}

#[test]
fn bytes_that_are_not_utf_8_are_kept_and_shown_as_latin_1() {
    let mut raw = INVITE.replace("caf\u{e9}", "caf\\").into_bytes();
    let at = raw.iter().position(|&b| b == b'\\').expect("the first backslash");
    let at = at + raw[at..].windows(4).position(|w| w == b"caf\\").expect("the header field") + 3;
    raw[at] = 0xe9;
    let message = Message::parse_datagram(raw.clone().into(), &Limits::default()).expect("a valid message");
    assert_eq!(message.header_named("X-Latin"), Some(&b"caf\xe9"[..]));
    let other = message.all_headers().find(|(_, name, _)| *name == "X-Latin").expect("the header field");
    assert_eq!(other.0, HeaderName::Other);
    assert_eq!(message.raw(), &raw);
}

#[test]
fn lf_alone_ends_a_line_too() {
    let message = parse(&INVITE.replace("\r\n", "\n").replace("Length: 5", "Length: 4")).expect("a valid message");
    assert_eq!((message.call_id(), message.body()), ("a84b4c76e66710@192.0.2.10", &b"v=0\n"[..]));
    let mixed = INVITE.replacen("\r\n", "\n", 7);
    assert_eq!(parse(&mixed).expect("a valid message").cseq().method, Method::Invite);
}

#[test]
fn a_cr_without_lf_is_refused_in_the_head() {
    assert_eq!(refused(&INVITE.replace("X-Latin: ", "X-Latin: a\rb")), ParseErrorKind::HeaderLine);
    assert_eq!(refused(&INVITE.replace("X-Latin: ", "X-\rLatin: ")), ParseErrorKind::HeaderLine);
}

#[test]
fn empty_lines_before_the_start_line_do_not_count_rfc_3261_7_5() {
    let message = parse(&format!("\r\n\r\n{INVITE}")).expect("a valid message");
    assert!(message.raw().starts_with(b"INVITE "));
}

#[test]
fn the_body_of_a_datagram_is_what_content_length_says_or_all_rfc_3261_18_3() {
    let longer = format!("{INVITE}more");
    assert_eq!(parse(&longer).expect("a valid message").body(), b"v=0\r\n");
    let without = longer.replace("Content-Length: 5\r\n", "");
    assert_eq!(parse(&without).expect("a valid message").body(), b"v=0\r\nmore");
    let twice = INVITE.replace("Content-Length: 5", "Content-Length: 5\r\nl: 05");
    assert_eq!(parse(&twice).expect("a valid message").body(), b"v=0\r\n");
    let stream = Message::parse_framed(without.into_bytes().into(), &Limits::default()).expect_err("no length");
    assert_eq!(stream.kind, ParseErrorKind::Missing(HeaderName::ContentLength));
}

#[test]
fn lengths_that_do_not_fit_are_refused_with_their_status_rfc_3261_21_4() {
    for (length, status) in [
        ("6", 400),
        ("-1", 400),
        ("five", 400),
        ("", 400),
        ("5, 5", 400),
        ("5\r\nContent-Length: 4", 400),
        ("70000", 413),
        ("99999999999999999999999999", 413),
    ] {
        let error = parse(&INVITE.replace("Length: 5", &format!("Length: {length}"))).expect_err(length);
        assert_eq!(error.status, status, "{length}");
        assert!(error.reply.is_some());
    }
}

#[test]
fn each_limit_has_its_status_rfc_3261_21_4_and_5() {
    let long = |n: usize| "x".repeat(n);
    let uri = INVITE.replace("sip:1001@pbx.example.com SIP", &format!("sip:{}@b SIP", long(2048)));
    let line = INVITE.replace("X-Latin: ", &format!("X-Latin: {}", long(8192)));
    let folded = INVITE.replace("X-Latin: ", &format!("X-Latin: {}", format!("{}\r\n ", long(100)).repeat(90)));
    let many = INVITE.replace("X-Latin: ", &"X-Y: z\r\n".repeat(250));
    let whole = format!("{INVITE}{}", long(65_536));
    for (name, text, kind, status) in [
        ("uri", uri, ParseErrorKind::UriTooLong, 414),
        ("line", line, ParseErrorKind::HeadTooLong, 513),
        ("folded", folded, ParseErrorKind::HeadTooLong, 513),
        ("many", many, ParseErrorKind::HeadTooLong, 513),
        ("whole", whole, ParseErrorKind::MessageTooLong, 513),
    ] {
        let error = parse(&text).expect_err(name);
        assert_eq!((error.kind, error.status), (kind, status), "{name}");
        assert_eq!(error.reply.expect(name).call_id(), Some(&b"a84b4c76e66710@192.0.2.10"[..]), "{name}");
    }
}

#[test]
fn a_start_line_with_nul_or_without_its_parts_is_refused_rfc_3261_7_1() {
    for line in [
        "INVITE sip:a\0b SIP/2.0",
        "INVITE sip:a@b\tSIP/2.0",
        "INVITE  sip:a@b SIP/2.0",
        "INVITE sip:a@b",
        "INVITE sip:a@b SIP/2.0 ",
        "INVITE sip: SIP/2.0",
        "INVITE 1001 SIP/2.0",
        "IN\u{e9}ITE sip:a@b SIP/2.0",
        "INVITE sip:a@b HTTP/1.1",
        " INVITE sip:a@b SIP/2.0",
    ] {
        let text = INVITE.replace("INVITE sip:1001@pbx.example.com SIP/2.0", line);
        let error = parse(&text).expect_err(line);
        assert_eq!((error.kind, error.status), (ParseErrorKind::StartLine, 400), "{line}");
    }
    let version = parse(&INVITE.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia")).expect_err("another version");
    assert_eq!(version.status, 505);
    assert!(parse(&INVITE.replace("SIP/2.0\r\nVia", "sip/2.0\r\nVia")).is_ok());
}

#[test]
fn ack_and_responses_that_are_broken_get_no_answer_rfc_3261_8_2_and_17_2_1() {
    let ack = INVITE.replace("INVITE", "ACK").replace("CSeq:", "X-CSeq:");
    assert!(parse(&ack).expect_err("no CSeq").reply.is_none());
    let response = INVITE.replace("INVITE sip:1001@pbx.example.com SIP/2.0", "SIP/2.0 200 OK").replace("CSeq:", "X:");
    assert!(parse(&response).expect_err("no CSeq").reply.is_none());
    let no_via = INVITE.replace("Via:", "X-Via:");
    assert!(parse(&no_via).expect_err("no Via").reply.is_none());
}

#[test]
fn a_refusal_says_what_was_expected_got_and_where() {
    let error = parse(&INVITE.replace("314159 INVITE", "x\u{7f} INVITE")).expect_err("no number");
    let at = error.offset;
    assert_eq!(&INVITE[at - 6..at], "CSeq: ");
    assert_eq!(error.to_string(), format!("byte {at}: expected a number and a method, got \"x\\x7f INVITE\" (400)"));
}

#[test]
fn what_every_layer_relies_on_must_be_there_once_rfc_3261_8_1_1() {
    for (name, header) in [
        ("Via: ", HeaderName::Via),
        ("From: ", HeaderName::From),
        ("To: ", HeaderName::To),
        ("Call-ID: ", HeaderName::CallId),
        ("CSeq: ", HeaderName::CSeq),
    ] {
        let line = INVITE.lines().find(|line| line.starts_with(name)).expect(name);
        assert_eq!(refused(&INVITE.replace(&format!("{line}\r\n"), "")), ParseErrorKind::Missing(header));
        if header != HeaderName::Via {
            let twice = INVITE.replace(line, &format!("{line}\r\n{line}"));
            assert_eq!(refused(&twice), ParseErrorKind::Duplicate(header));
        }
    }
}

#[test]
fn values_that_cannot_be_read_are_refused_rfc_3261_20() {
    for (from, to, header) in [
        ("192.0.2.10:5060;branch", "192.0.2.10:0;branch", HeaderName::Via),
        ("192.0.2.10:5060;branch", "192.0.2.10:99999;branch", HeaderName::Via),
        ("SIP/2.0/UDP 192", "SIP/2.0 192", HeaderName::Via),
        (";rport", ";=5", HeaderName::Via),
        ("pbx.example.com>;tag", "pbx.example.com;tag", HeaderName::From),
        ("tag=1928301774", "tag=", HeaderName::From),
        ("tag=1928301774", "tag=\"a b\"", HeaderName::From),
        ("To: <sip:1001@pbx", "To: <1001@pbx", HeaderName::To),
        ("To: <", "To: ", HeaderName::To),
        ("a84b4c76e66710@", "a84b 4c76@", HeaderName::CallId),
        ("314159 INVITE", "2147483648 INVITE", HeaderName::CSeq),
        ("314159 INVITE", "314159", HeaderName::CSeq),
        ("314159 INVITE", "314159 INVITE x", HeaderName::CSeq),
    ] {
        let text = INVITE.replace(from, to);
        assert_ne!(text, INVITE);
        assert_eq!(refused(&text), ParseErrorKind::Value(header), "{to}");
    }
}

#[test]
fn the_checks_of_a_server_name_the_first_fault_rfc_3261_8_2() {
    let supported = Supported { body_types: &["application/sdp"], option_tags: &["timer"], ..Supported::default() };
    assert_eq!(inspect_request(&invite(), &supported), Ok(()));
    for (from, to, status) in [
        ("Max-Forwards: 70", "Max-Forwards: 70\r\nMax-Forwards: 70", 400),
        ("Max-Forwards: 70", "Max-Forwards: 256", 400),
        ("314159 INVITE", "314159 BYE", 400),
        ("INVITE sip:1001", "INVITE http:1001", 416),
        ("INVITE sip:1001@", "INVITE sip:@", 400),
        ("X-Latin: ", "Require: timer,\r\n  gruu\r\nX-Latin: ", 420),
        ("X-Latin: ", "Contact: <sip:a@b>\r\nX-Latin: ", 400),
        ("X-Latin: ", "Route: <sip:a@b\r\nX-Latin: ", 400),
        ("X-Latin: ", "Via: SIP/2.0/UDP\r\nX-Latin: ", 400),
        ("Contact: <sip:1000@192.0.2.10:5060;transport=udp>", "Contact: *", 400),
        ("X-Latin: ", "e: gzip\r\nX-Latin: ", 415),
        ("application/sdp", "text/plain", 415),
    ] {
        let text = INVITE.replace(from, to);
        assert_ne!(text, INVITE);
        let message = parse(&text).expect(to);
        assert_eq!(inspect_request(&message, &supported).expect_err(to).status, status, "{to}");
    }
    let optional = INVITE.replace("application/sdp", "text/plain\r\nContent-Disposition: render; handling=optional");
    assert_eq!(inspect_request(&parse(&optional).expect("valid"), &supported), Ok(()));
}

#[test]
fn a_response_copies_what_it_must_and_marks_the_via_rfc_3261_8_2_6_and_rfc_3581_4() {
    let message =
        parse(&INVITE.replace("Via: ", "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;rport;x=\"a,b\", ")).expect("valid");
    let head = ResponseHead {
        status: 180,
        reason: None,
        to_tag: Some("314"),
        source: "[::ffff:203.0.113.5]:40000".parse().ok(),
    };
    let mut extra = Headers::new();
    extra.push("Contact", "<sip:pbx@192.0.2.1>");
    let mut out = Vec::new();
    write::write_response(&mut out, &message, &head, &extra, Some(&Body::sdp(&b"v=0\r\n"[..])));
    let text = String::from_utf8(out.clone()).expect("text");
    let expected = "SIP/2.0 180 Ringing\r\n\
        Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;rport=40000;x=\"a,b\";received=203.0.113.5, \
        SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds;rport\r\n\
        From: \"Alice, at \\\"home\\\"\" <sip:1000@pbx.example.com>;tag=1928301774\r\n\
        To: <sip:1001@pbx.example.com>;tag=314\r\n\
        Call-ID: a84b4c76e66710@192.0.2.10\r\n\
        CSeq: 314159 INVITE\r\n\
        Contact: <sip:pbx@192.0.2.1>\r\n\
        Content-Type: application/sdp\r\n\
        Content-Length: 5\r\n\r\nv=0\r\n";
    assert_eq!(text, expected);
    let response = Message::parse_framed(out.into(), &Limits::default()).expect("our own response");
    assert_eq!((response.status(), response.method(), response.request_uri()), (180, Method::Invite, ""));
    assert_eq!(response.top_via().rport(), Some(Some(40_000)));
}

#[test]
fn received_is_added_only_where_sent_by_differs_rfc_3261_18_2_1() {
    let plain = INVITE.replace(";rport", "");
    for (source, mark) in [("192.0.2.10:9", false), ("192.0.2.11:5060", true), ("[2001:db8::1]:5060", true)] {
        let head = ResponseHead { status: 200, source: source.parse().ok(), ..ResponseHead::default() };
        let mut out = Vec::new();
        write::write_response(&mut out, &parse(&plain).expect("valid"), &head, &Headers::new(), None);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.contains(";received="), mark, "{source}");
        assert!(!text.contains("rport"));
    }
}

#[test]
fn a_request_is_written_as_it_is_read_rfc_3261_8_1_1() {
    let sent_by = HostPort::new("2001:db8::5", Some(5070));
    let head = RequestHead {
        method: Method::Message,
        uri: "sip:bob@example.com",
        via: ViaOut { transport: Transport::Tcp, sent_by: &sent_by, branch: "z9hG4bKq", rport: true },
        max_forwards: 70,
        routes: &["<sip:a;lr>", "<sip:b;lr>"],
        from: "\"x\" <sip:alice@example.com>",
        from_tag: "f",
        to: "<sip:bob@example.com>",
        to_tag: Some("t"),
        call_id: "c@x",
        cseq: 7,
        contact: None,
    };
    let mut out = Vec::new();
    write::write_request(&mut out, &head, &Headers::new(), Some(&Body::new("text/plain", "hi")));
    let message = Message::parse_framed(out.into(), &Limits::default()).expect("our own request");
    assert_eq!((message.method(), message.body()), (Method::Message, &b"hi"[..]));
    assert_eq!((message.from_tag(), message.to_tag(), message.call_id()), (Some("f"), Some("t"), "c@x"));
    assert_eq!(message.top_via().as_bytes(), b"SIP/2.0/TCP [2001:db8::5]:5070;branch=z9hG4bKq;rport");
    assert_eq!(message.routes().filter(|route| route.is_ok()).count(), 2);
    assert_eq!(message.max_forwards(), Some(Ok(70)));
}

#[test]
fn no_value_can_begin_a_line_of_its_own() {
    let mut headers = Headers::new();
    headers.push("Subject", "a\r\nX-Evil: 1\0").push("Bad Name:", 5).push_bytes("X", b"folded\r\n value");
    assert_eq!(headers.as_bytes(), b"Subject: a  X-Evil: 1 \r\nBad-Name-: 5\r\nX: folded   value\r\n");
    assert!(headers.try_push("Subject", "a\nb").is_err());
    assert!(headers.try_push("", "a").is_err());
    assert!(headers.push_raw(b"A: b\r\nC: d").is_err());
    assert!(headers.push_raw(b"A: b\r\n\r\n").is_err());
    assert!(headers.push_raw(b"A: b\nC: d\r\n").is_err());
    assert!(headers.push_raw(b"A: b\r\nC: d\r\n").is_ok());
    assert!(headers.contains("c") && !headers.contains("Evil"));

    let mut out = Vec::new();
    write::request_line(&mut out, Method::Other("A\r\nB"), "sip:a b\r\nX: y");
    write::status_line(&mut out, 486, Some("Busy\r\nX: y"));
    assert_eq!(out, b"A  B sip:a_b__X:_y SIP/2.0\r\nSIP/2.0 486 Busy  X: y\r\n");
}

#[test]
fn reasons_are_written_and_read_rfc_3326() {
    let reason = Reason::sip(200, "Call completed elsewhere");
    assert_eq!(reason.to_string(), "SIP;cause=200;text=\"Call completed elsewhere\"");
    let line = b"Q.850 ;cause=16;text=\"a \\\"b\\\", c\", SIP;cause=486, ;";
    let reasons: Vec<Reason<'_>> = Reason::parse_all(line).collect();
    assert_eq!(reasons.len(), 2);
    assert_eq!((reasons[0].cause, reasons[0].text.as_deref()), (Some(16), Some("a \"b\", c")));
    assert_eq!(reasons[1], Reason { protocol: "SIP", cause: Some(486), text: None });
}
