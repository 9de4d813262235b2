//! What somebody hears who has proven nothing: the challenge, whatever else his request says (GUARD-10; the order of
//! RFC 3261 §8.2, in words in docs/order-of-checks.md).

mod common;

use common::*;
use ringfort_sip::header::HeaderName;

const A: &str = "198.51.100.10:5060";

/// A request out of dialog with `more` header lines.
fn request(method: &str, uri: &str, n: usize, auth: &str, more: &str, body: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKs{n};rport\r\nFrom: <sip:user-a@{DOMAIN}>;tag=s\r\n\
         To: <sip:user-a@{DOMAIN}>\r\nCall-ID: s{n}\r\nCSeq: {n} {method}\r\nContact: <sip:user-a@{A}>\r\n\
         Max-Forwards: 70\r\n{auth}{more}\r\n{body}"
    )
}

/// What is wrong with a request, and what somebody who is known hears of it.
struct Flaw {
    method: &'static str,
    uri: &'static str,
    more: &'static str,
    body: &'static str,
    status: u16,
}

const HERE: &str = "sip:102@pbx.example";

const fn flaw(method: &'static str, uri: &'static str, more: &'static str, body: &'static str, status: u16) -> Flaw {
    Flaw { method, uri, more, body, status }
}

const FLAWS: [Flaw; 18] = [
    flaw("INVITE", HERE, "Supported: timer\r\nSession-Expires: 60\r\n", "", 422),
    flaw("INVITE", HERE, "Require: nothing-we-know\r\n", "", 420),
    flaw("INVITE", HERE, "Content-Type: text/html\r\n", "<p>", 415),
    flaw("INVITE", HERE, "Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n", "x", 415),
    flaw("INVITE", HERE, "Accept: text/html\r\n", "", 406),
    flaw("INVITE", "mailto:102@pbx.example", "", "", 416),
    flaw("INVITE", "sip:102@pbx.example?Subject=x", "", "", 400),
    flaw("INVITE", "sip:nobody@pbx.example", "", "", 404),
    flaw("REGISTER", "sip:pbx.example", "Require: nothing-we-know\r\n", "", 420),
    flaw("REGISTER", "sip:pbx.example", "Expires: 1\r\n", "", 423),
    flaw("MESSAGE", HERE, "Require: nothing-we-know\r\n", "", 420),
    flaw("MESSAGE", "sip:nobody@pbx.example", "", "", 404),
    flaw("SUBSCRIBE", HERE, "Event: presence\r\n", "", 489),
    flaw("BYE", HERE, "", "", 481),
    flaw("INFO", HERE, "", "", 481),
    flaw("NOTIFY", HERE, "Event: message-summary\r\n", "", 481),
    flaw("REFER", HERE, "Refer-To: <sip:nobody@pbx.example>\r\n", "", 405),
    flaw("SHOUT", HERE, "", "", 501),
];

#[test]
fn whatever_is_wrong_with_a_request_a_stranger_hears_the_challenge_and_a_phone_the_truth_guard_10() {
    let mut cfg = config();
    cfg.calls.session_expires = std::time::Duration::from_secs(600);
    let mut w = World::with(cfg, site());
    for (n, Flaw { method, uri, more, body, status }) in FLAWS.into_iter().enumerate() {
        let n = 10 * n + 1;
        w.send(A, &request(method, uri, n, "", more, body));
        let challenge = w.take_final(A);
        assert_eq!(challenge.status(), 401, "{method} {uri} {more}");
        for told in [HeaderName::MinSe, HeaderName::Unsupported, HeaderName::Accept, HeaderName::MinExpires] {
            assert!(!challenge.has(told), "{method} {more}: the challenge says {told:?}");
        }
        let auth = w.answer_to(&challenge, "user-a", method, uri);
        w.send(A, &request(method, uri, n + 1, &auth, more, body));
        let truth = w.take_final(A);
        assert_eq!(truth.status(), status, "{method} {uri} {more}");
        assert_eq!(truth.has(HeaderName::Allow), status == 405, "RFC 3261 §8.2.1: {method}");
    }
    let status = w.status();
    assert_eq!((status.calls, status.dialogs), (0, 0));
}

#[test]
fn a_call_to_a_real_extension_and_one_to_an_invented_one_get_the_same_bytes_guard_10() {
    let mut w = World::new();
    w.register("user-b", "198.51.100.20:5060");
    let mut told = Vec::new();
    for (n, callee) in ["102", "103", "999", "nobody", "*30102079460009", "00491"].into_iter().enumerate() {
        for method in ["INVITE", "MESSAGE", "SUBSCRIBE"] {
            w.send(A, &request(method, &format!("sip:{callee}@pbx.example"), 100 * n + method.len(), "", "", ""));
            let text = String::from_utf8_lossy(w.take_final(A).raw()).into_owned();
            // What the request itself says comes back, and a nonce is drawn anew each time.
            let own = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
            let kept = text.lines().filter(|line| !own.iter().any(|name| line.starts_with(name)));
            let kept: Vec<String> = kept.map(|line| line.split("nonce=\"").next().unwrap().to_owned()).collect();
            told.push((method, kept));
        }
    }
    for answer in &told {
        let of_method = told.iter().find(|other| other.0 == answer.0).unwrap();
        assert_eq!(answer.1, of_method.1, "{}", answer.0);
    }
    assert!(told.iter().all(|(_, lines)| lines[0].contains(" 401 ")), "{told:?}");
}

#[test]
fn a_phone_that_repeats_a_refused_request_hears_the_same_again_and_leaves_no_second_record_rfc_3261_section_17_2() {
    let mut cfg = config();
    cfg.calls.session_expires = std::time::Duration::from_secs(600);
    let mut w = World::with(cfg, site());
    for (n, Flaw { method, uri, more, body, status }) in FLAWS.into_iter().enumerate() {
        let n = 10 * n + 1;
        w.send(A, &request(method, uri, n, "", more, body));
        let challenge = w.take_final(A);
        let auth = w.answer_to(&challenge, "user-a", method, uri);
        let asked = request(method, uri, n + 1, &auth, more, body);
        w.send(A, &asked);
        let first = w.take_final(A);
        assert_eq!(first.status(), status, "{method} {uri} {more}");
        let (records, challenges) = (w.cdrs().len(), w.status().counters.challenges);
        w.send(A, &asked);
        assert_eq!(w.take_final(A).raw(), first.raw(), "{method} {uri} {more}");
        assert_eq!((w.cdrs().len(), w.status().counters.challenges), (records, challenges), "{method} {uri} {more}");
    }
}

#[test]
fn a_refused_attempt_of_a_phone_leaves_a_record_and_a_question_about_the_interval_does_not_call_10() {
    let mut cfg = config();
    cfg.calls.session_expires = std::time::Duration::from_secs(600);
    let mut w = World::with(cfg, site());
    w.invite("user-a", A, "102", "", "Require: nothing-we-know\r\n");
    assert_eq!(w.take_final(A).status(), 420);
    let record = w.cdrs()[0];
    assert_eq!((record.status, record.rule.as_deref()), (420, Some("format")));
    w.invite("user-a", A, "102", "", "Supported: timer\r\nSession-Expires: 60\r\n");
    let refused = w.take_final(A);
    assert_eq!((refused.status(), refused.min_se()), (422, Some(Ok(90))));
    assert_eq!(w.cdrs().len(), 1, "the phone asks again at once, and that is the attempt");
}

#[test]
fn options_is_answered_to_everybody_and_says_nothing_about_numbers_call_2() {
    let mut w = World::new();
    let mut told = Vec::new();
    for (n, uri) in [HERE, "sip:nobody@pbx.example", "sip:pbx.example"].into_iter().enumerate() {
        w.send(A, &request("OPTIONS", uri, n, "", "", ""));
        let ok = w.take_final(A);
        assert_eq!(ok.status(), 200);
        told.push((ok.header_str(HeaderName::Allow).map(|v| v.into_owned()), ok.body().to_vec()));
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn loops_are_seen_before_anybody_is_asked_who_he_is_rfc_3261_section_16_3() {
    let mut w = World::new();
    let text = request("INVITE", HERE, 1, "", "", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    w.send(A, &text);
    assert_eq!(w.take_final(A).status(), 483);
    w.send(A, &request("INVITE", HERE, 2, "", "Max-Breadth: 0\r\n", ""));
    assert_eq!(w.take_final(A).status(), 440);
}
