//! Messages out of a stream: RFC 3261 §18.3, RFC 5626 §3.5.1.

use proptest::prelude::*;
use ringfort_sip::frame::{Frame, StreamFramer, is_keep_alive};
use ringfort_sip::{HeaderName, Limits, Message, ParseErrorKind};

fn message(call: &str, body: &str, eol: &str) -> String {
    let length = body.len();
    format!(
        "OPTIONS sip:a@b SIP/2.0\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\nFrom: <sip:a@b>;tag=1\nTo: <sip:a@b>\n\
         Call-ID: {call}\nCSeq: 1 OPTIONS\nContent-Length :\n  {length}\n\n"
    )
    .replace('\n', eol)
        + body
}

fn frames(pieces: &[&[u8]]) -> Vec<Result<Frame, (ParseErrorKind, bool)>> {
    let mut framer = StreamFramer::new(Limits { message: 2000, ..Limits::default() });
    let mut all = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.poll() {
                Ok(Some(frame)) => all.push(Ok(frame)),
                Ok(None) => break,
                Err(error) => all.push(Err((error.kind, error.reply.is_some()))),
            }
        }
    }
    all
}

fn stream() -> String {
    let mut stream = String::from("\r\n\r\n");
    stream += &message("one", "body\r\n\r\nOPTIONS", "\r\n");
    stream += &message("two", "", "\n");
    stream += "\r\n\n\r\n";
    stream += &message("three", "\r\n", "\r\n");
    stream += "\r\n\r\n";
    stream
}

#[test]
fn messages_and_keep_alives_come_out_in_order_rfc_5626_3_5_1() {
    let all = frames(&[stream().as_bytes()]);
    let words: Vec<String> = all
        .into_iter()
        .map(|frame| match frame.expect("no error") {
            Frame::Crlf => "crlf".to_owned(),
            Frame::Ping => "ping".to_owned(),
            Frame::Message(raw) => {
                Message::parse_framed(raw, &Limits::default()).expect("a valid message").call_id().to_owned()
            }
        })
        .collect();
    assert_eq!(words, ["crlf", "ping", "one", "two", "crlf", "ping", "crlf", "three", "crlf", "ping"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same_messages(cuts in proptest::collection::vec(0usize..700, 0..12)) {
        let stream = stream();
        let bytes = stream.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        prop_assert_eq!(frames(&pieces), frames(&[bytes]));
    }
}

#[test]
fn without_a_content_length_that_can_be_relied_on_the_stream_is_over_rfc_3261_18_3() {
    let whole = message("x", "body", "\r\n");
    let length = "Content-Length :\r\n  4";
    for (with, kind) in [
        ("X: y", ParseErrorKind::Missing(HeaderName::ContentLength)),
        ("Content-Length: -4", ParseErrorKind::ContentLength),
        ("Content-Length: 4\r\nl: 5", ParseErrorKind::ContentLength),
        ("l: four", ParseErrorKind::ContentLength),
        ("l: 1900", ParseErrorKind::BodyTooLong),
        ("l: 99999999999999999999", ParseErrorKind::BodyTooLong),
    ] {
        let broken = whole.replace(length, with) + &whole;
        assert_eq!(frames(&[broken.as_bytes()]), [Err((kind, true))], "{with}");
    }
    let same = whole.replace(length, "l: 4\r\nContent-Length: 04");
    assert!(matches!(frames(&[same.as_bytes()])[..], [Ok(Frame::Message(_))]));
}

#[test]
fn a_head_without_end_is_given_up_at_the_limit() {
    let endless = message("x", "", "\r\n").replace("\r\n\r\n", "\r\n") + &"X: y\r\n".repeat(400);
    let expected = [Err((ParseErrorKind::HeadTooLong, true))];
    assert_eq!(frames(&[endless.as_bytes()]), expected);
    let pieces: Vec<&[u8]> = endless.as_bytes().chunks(7).collect();
    assert_eq!(frames(&pieces), expected);
    let noise = vec![b'\x80'; 5000];
    assert_eq!(frames(&[&noise]), [Err((ParseErrorKind::HeadTooLong, false))]);
}

#[test]
fn a_connection_in_the_midst_of_a_message_says_so() {
    let mut framer = StreamFramer::new(Limits::default());
    framer.push(b"\r\n");
    assert!(matches!(framer.poll(), Ok(Some(Frame::Crlf))));
    assert!(!framer.is_within_message());
    framer.push(b"OPTIONS");
    assert!(matches!(framer.poll(), Ok(None)));
    assert!(framer.is_within_message() && framer.held() == 7);
}

#[test]
fn what_only_keeps_a_path_open_is_known_rfc_5626_3_5() {
    for bytes in [&b"\r\n\r\n"[..], b"\r\n", b"", b"\0\0\0\0", b"  "] {
        assert!(is_keep_alive(bytes));
    }
    assert!(!is_keep_alive(b"\r\nOPTIONS"));
    assert!(!is_keep_alive(&[b' '; 1000]));
}
