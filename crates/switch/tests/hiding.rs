//! CALL-1: nothing of one side reaches the other. Every message of a whole call is searched for what the other side
//! is and has.

mod common;

use common::*;
use ringfort_sip::header::HeaderName;

const A: &str = "198.51.100.10:5060";
const B: &str = "198.51.100.20:5060";

fn text_of(messages: &[ringfort_sip::message::Message]) -> String {
    messages.iter().map(|m| String::from_utf8_lossy(m.raw()).into_owned()).collect::<Vec<_>>().join("\n")
}

#[test]
fn neither_side_sees_the_others_addresses_tags_call_id_product_or_session() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    let secret_headers = "P-Asserted-Identity: <sip:boss@198.51.100.10>\r\nX-Internal: 198.51.100.10\r\n\
                          Call-Info: <http://198.51.100.10/>\r\nReply-To: <sip:x@198.51.100.10>\r\nSubject: lunch\r\n\
                          Organization: Acme Internals\r\n";
    let attributes = "a=rtcp:4001 IN IP4 198.51.100.10\r\na=ssrc:1234567 cname:alice@198.51.100.10\r\n\
                      a=candidate:1 1 UDP 2130706431 198.51.100.10 4000 typ host\r\na=tool:Caller-Phone\r\na=sendrecv\r\n";
    let call_id = w.invite("user-a", A, "102", &sdp_with("198.51.100.10", 4000, "0 101", attributes), secret_headers);
    let invite = w.take(B);
    let answer = format!(
        "{}a=ssrc:7654321 cname:bob@198.51.100.20\r\na=tool:Callee-Phone\r\n",
        sdp("198.51.100.20", 5000, "0 101")
    );
    let extra =
        format!("Contact: <sip:user-b@{B}>\r\nServer: Callee-Phone/7\r\nP-Asserted-Identity: <sip:198.51.100.20>\r\n");
    w.send(B, &reply(&invite, 180, "tag-of-b", &extra, ""));
    w.send(B, &reply(&invite, 200, "tag-of-b", &extra, &answer));
    let ack = w.take(B);
    let mut to_a: Vec<_> = std::iter::from_fn(|| w.try_take(A)).collect();
    let ok = to_a.last().expect("a 200").clone();
    assert_eq!(ok.status(), 200);
    let call = Established {
        a: A.into(),
        b: B.into(),
        call_id: call_id.clone(),
        invite: invite.clone(),
        ok,
        ack_b: ack.clone(),
        cseq_a: 2,
        cseq_b: 1,
    };
    w.send(A, &call.of_a("ACK", 2, "", ""));
    w.send(A, &call.of_a("BYE", 3, "User-Agent: Caller-Phone/9\r\n", ""));
    let bye = w.take(B);
    to_a.extend(std::iter::from_fn(|| w.try_take(A)));

    let to_b = text_of(&[invite.clone(), ack, bye]);
    for secret in [
        "198.51.100.10",
        call_id.as_str(),
        "z9hG4bKi",
        "Caller-Phone",
        "Mallory",
        "user-a",
        "boss",
        "alice",
        "53655765",
        "Secret Phone Session",
        "Acme Internals",
        "X-Internal",
        "1234567",
        "candidate",
    ] {
        assert!(!to_b.contains(secret), "the called side sees {secret:?}:\n{to_b}");
    }
    let to_a = text_of(&to_a);
    for secret in ["198.51.100.20", invite.call_id(), "tag-of-b", "Callee-Phone", "user-b", "bob", "7654321"] {
        assert!(!to_a.contains(secret), "the caller sees {secret:?}:\n{to_a}");
    }
    // What people read does cross.
    assert_eq!(invite.header_str(HeaderName::Subject).as_deref(), Some("lunch"));
    assert_eq!(
        invite.header_str(HeaderName::From).map(|f| f.split(";tag").next().unwrap_or_default().to_owned()).as_deref(),
        Some("\"Desk 1\" <sip:101@pbx.example>")
    );
}

#[test]
fn max_forwards_goes_down_across_the_legs_rfc_7332() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    w.invite("user-a", A, "102", &sdp("198.51.100.10", 4000, "0"), "");
    assert_eq!(w.take(B).header_str(HeaderName::MaxForwards).as_deref(), Some("69"));
}

#[test]
fn the_page_of_header_fields_that_cross_names_what_the_code_lets_cross() {
    let page = include_str!("../../../docs/header-allow-list.md");
    let code = include_str!("../src/crossing.rs");
    let mut names: Vec<HeaderName> = Vec::new();
    for line in code.lines().filter(|l| l.starts_with("pub const") && l.contains("HeaderName")) {
        for part in line.split("H::").skip(1) {
            let variant: String = part.chars().take_while(char::is_ascii_alphanumeric).collect();
            let known = page_name(&variant);
            assert!(page.contains(&known), "{known} crosses and docs/header-allow-list.md does not say so");
            names.push(HeaderName::from_bytes(known.as_bytes()));
        }
    }
    assert!(names.len() > 10, "the list was read: {names:?}");
}

/// `UserToUser` → `User-to-User` as the page writes it.
fn page_name(variant: &str) -> String {
    let mut name = String::new();
    for c in variant.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(c);
    }
    name.replace("-To-", "-to-")
}
