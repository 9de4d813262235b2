//! Parsing and writing a 653-byte INVITE: the figures of docs/performance.md. `cargo bench -p ringfort-sip --bench message`

use bytes::Bytes;
use divan::{Bencher, black_box};
use ringfort_sip::write::{Body, Headers, RequestHead, ResponseHead, ViaOut};
use ringfort_sip::{HeaderName, HostPort, Limits, Message, Method, flow::Transport, uri_eq, write};

const INVITE: &[u8] = b"INVITE sip:1001@pbx.example.com SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds;rport\r\n\
Max-Forwards: 70\r\n\
From: \"Alice Example\" <sip:1000@pbx.example.com>;tag=1928301774\r\n\
To: <sip:1001@pbx.example.com>\r\n\
Call-ID: a84b4c76e66710@192.0.2.10\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:1000@192.0.2.10:5060;transport=udp>\r\n\
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE\r\n\
Supported: replaces, timer, 100rel\r\n\
User-Agent: Phone 12\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 142\r\n\
\r\n\
v=0\r\n\
o=- 20518 0 IN IP4 192.0.2.10\r\n\
s=-\r\n\
c=IN IP4 192.0.2.10\r\n\
t=0 0\r\n\
m=audio 30000 RTP/AVP 0 8\r\n\
a=rtpmap:0 PCMU/8000\r\n\
a=sendrecv\r\n\
a=ptime:20\r\n";

fn main() {
    assert_eq!(INVITE.len(), 653);
    divan::main();
}

#[divan::bench(sample_size = 500, sample_count = 2000)]
fn parse_invite(bencher: Bencher<'_, '_>) {
    let raw = Bytes::from_static(INVITE);
    let limits = Limits::default();
    // The drop is counted: a message that has been handled makes room for the next.
    bencher.bench_local(|| {
        black_box(Message::parse_datagram(black_box(raw.clone()), &limits).expect("a valid message"));
    });
}

#[divan::bench(sample_size = 500, sample_count = 2000)]
fn parse_invite_and_read_what_a_transaction_needs(bencher: Bencher<'_, '_>) {
    let raw = Bytes::from_static(INVITE);
    let limits = Limits::default();
    bencher.bench(|| {
        let message = Message::parse_datagram(black_box(raw.clone()), &limits).expect("a valid message");
        black_box((message.top_via(), message.cseq(), message.from_tag(), message.to_tag(), message.call_id()));
    });
}

#[divan::bench(sample_size = 500, sample_count = 2000)]
fn read_contact_uri(bencher: Bencher<'_, '_>) {
    let message = Message::parse_datagram(Bytes::from_static(INVITE), &Limits::default()).expect("a valid message");
    bencher.bench(|| {
        let contact = black_box(&message).contacts().next().expect("a contact").expect("a valid one");
        black_box(contact.uri().expect("a valid URI").port)
    });
}

#[divan::bench(sample_size = 500, sample_count = 2000)]
fn compare_uris(bencher: Bencher<'_, '_>) {
    let a = ringfort_sip::Uri::parse("sip:alice@example.com;transport=tcp").expect("a valid URI");
    let b = ringfort_sip::Uri::parse("sip:%61lice@EXAMPLE.com;Transport=TCP").expect("a valid URI");
    bencher.bench(|| uri_eq(black_box(&a), black_box(&b)));
}

#[divan::bench(sample_size = 500, sample_count = 2000)]
fn look_up_a_header_name(bencher: Bencher<'_, '_>) {
    bencher.bench(|| HeaderName::from_bytes(black_box(b"Content-Length")));
}

#[divan::bench(sample_size = 500, sample_count = 2000)]
fn write_response(bencher: Bencher<'_, '_>) {
    let request = Message::parse_datagram(Bytes::from_static(INVITE), &Limits::default()).expect("a valid message");
    let source = "192.0.2.10:5060".parse().ok();
    let mut out = Vec::with_capacity(2048);
    bencher.bench_local(|| {
        out.clear();
        let head = ResponseHead { status: 180, reason: None, to_tag: Some("8321234356"), source };
        write::write_response(&mut out, black_box(&request), &head, &Headers::new(), None);
        out.len()
    });
}

#[divan::bench(sample_size = 500, sample_count = 2000)]
fn write_request(bencher: Bencher<'_, '_>) {
    let sent_by = HostPort::new("192.0.2.1", Some(5060));
    let body = Body::sdp(Bytes::from_static(b"v=0\r\n"));
    let mut out = Vec::with_capacity(2048);
    bencher.bench_local(|| {
        out.clear();
        let head = RequestHead {
            method: Method::Invite,
            uri: "sip:1001@192.0.2.20:5060",
            via: ViaOut { transport: Transport::Udp, sent_by: &sent_by, branch: "z9hG4bK-1", rport: true },
            max_forwards: 69,
            routes: &[],
            from: "<sip:1000@pbx.example.com>",
            from_tag: "1",
            to: "<sip:1001@pbx.example.com>",
            to_tag: None,
            call_id: "a84b4c76e66710",
            cseq: 1,
            contact: Some("<sip:pbx@192.0.2.1:5060>"),
        };
        write::write_request(&mut out, black_box(&head), &Headers::new(), Some(&body));
        out.len()
    });
}
