//! The test messages of RFC 4475 and RFC 5118, each ending as its RFC says for a user agent server.

use bytes::Bytes;
use ringfort_sip::check::{Supported, inspect_request, inspect_response};
use ringfort_sip::write::{Headers, ResponseHead};
use ringfort_sip::{Host, Limits, Message, Method, ParseError};

/// How a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Handed to the user of the transaction.
    Taken,
    /// Answered with this status.
    Refused(u16),
    /// Dropped without an answer.
    Dropped,
}
use End::{Dropped, Refused, Taken};

const UAS: Supported<'_> = Supported {
    methods: &Method::KNOWN,
    schemes: &["sip", "sips", "tel"],
    option_tags: &["timer", "100rel", "replaces"],
    proxy_option_tags: None,
    body_types: &["application/sdp", "multipart/mixed"],
    forwards: false,
};

/// File, section of RFC 4475, what the RFC says, how it ends here.
const RFC_4475: [(&str, &str, &str, End); 49] = [
    ("wsinv", "3.1.1.1", "well-formed", Taken),
    ("intmeth", "3.1.1.2", "endpoints answer 501 to the method", Refused(501)),
    ("esc01", "3.1.1.3", "well-formed", Taken),
    ("escnull", "3.1.1.4", "well-formed", Taken),
    ("esc02", "3.1.1.5", "well-formed; an endpoint answers 501 to the method", Refused(501)),
    ("lwsdisp", "3.1.1.6", "should be accepted", Taken),
    ("longreq", "3.1.1.7", "well-formed", Taken),
    ("dblreq", "3.1.1.8", "what follows the body is ignored", Taken),
    ("semiuri", "3.1.1.9", "well-formed", Taken),
    ("transports", "3.1.1.10", "well-formed", Taken),
    ("mpart01", "3.1.1.11", "well-formed", Taken),
    ("unreason", "3.1.1.12", "well-formed response", Taken),
    ("noreason", "3.1.1.13", "well-formed response", Taken),
    ("badinv01", "3.1.2.1", "400", Refused(400)),
    ("clerr", "3.1.2.2", "400 over UDP", Refused(400)),
    ("ncl", "3.1.2.3", "an error", Refused(400)),
    ("scalar02", "3.1.2.4", "400 for CSeq", Refused(400)),
    ("scalarlg", "3.1.2.5", "a response to be discarded", Dropped),
    ("quotbal", "3.1.2.6", "400", Refused(400)),
    ("ltgtruri", "3.1.2.7", "400 is reasonable", Refused(400)),
    ("lwsruri", "3.1.2.8", "400", Refused(400)),
    ("lwsstart", "3.1.2.9", "may be rejected", Refused(400)),
    ("trws", "3.1.2.10", "may be rejected", Refused(400)),
    ("escruri", "3.1.2.11", "400 is acceptable", Refused(400)),
    ("baddate", "3.1.2.12", "should not be rejected where Date is not needed", Taken),
    ("regbadct", "3.1.2.13", "400 is reasonable", Refused(400)),
    ("badaspec", "3.1.2.14", "400 is reasonable", Refused(400)),
    ("baddn", "3.1.2.15", "400 is reasonable", Refused(400)),
    ("badvers", "3.1.2.16", "505", Refused(505)),
    ("mismatch01", "3.1.2.17", "400", Refused(400)),
    ("mismatch02", "3.1.2.18", "501 rather than 400", Refused(501)),
    ("bigcode", "3.1.2.19", "a response to be dropped", Dropped),
    ("badbranch", "3.2.1", "may be matched as RFC 2543 says", Taken),
    ("insuf", "3.3.1", "400", Refused(400)),
    ("unkscm", "3.3.2", "416", Refused(416)),
    ("novelsc", "3.3.3", "416 where the scheme is never meaningful", Refused(416)),
    ("unksm2", "3.3.4", "a registrar answers 400", Refused(400)),
    ("bext01", "3.3.5", "420", Refused(420)),
    ("invut", "3.3.6", "415", Refused(415)),
    ("regaut01", "3.3.7", "well-formed; the registrar challenges", Taken),
    ("multi01", "3.3.8", "400", Refused(400)),
    ("mcl01", "3.3.9", "an error", Refused(400)),
    ("bcast", "3.3.10", "a response that an endpoint discards", Dropped),
    ("zeromf", "3.3.11", "an endpoint takes it, one that forwards answers 483", Taken),
    ("cparam01", "3.3.12", "should succeed", Taken),
    ("cparam02", "3.3.13", "should succeed", Taken),
    ("regescrt", "3.3.14", "should succeed", Taken),
    ("sdp01", "3.3.15", "406", Refused(406)),
    ("inv2543", "3.4.1", "should be accepted", Taken),
];

/// The same for RFC 5118. Three of the files have a Content-Length that the printed one is not: it did not fit the body.
const RFC_5118: [(&str, &str, &str, End); 12] = [
    ("ipv6-good", "4.1", "well-formed", Taken),
    ("ipv6-bad", "4.2", "400", Refused(400)),
    ("port-ambiguous", "4.3", "well-formed, if not what was meant", Taken),
    ("port-unambiguous", "4.4", "well-formed", Taken),
    ("via-received-param-with-delim", "4.5", "to be parsed", Taken),
    ("via-received-param-no-delim", "4.5", "well-formed", Taken),
    ("ipv6-in-sdp", "4.6", "well-formed", Taken),
    ("mult-ip-in-header", "4.7", "well-formed", Taken),
    ("mult-ip-in-sdp", "4.8", "well-formed", Taken),
    ("ipv4-mapped-ipv6", "4.9", "well-formed", Taken),
    ("ipv6-bug-abnf-3-colons", "4.10", "to be tolerated", Taken),
    ("ipv6-correct-abnf-2-colons", "4.10", "well-formed", Taken),
];

fn read(folder: &str, name: &str) -> Bytes {
    let path = format!("{}/tests/{folder}/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).expect(&path).into()
}

fn torture(name: &str) -> Message {
    let raw = read("torture", &format!("{name}.dat"));
    Message::parse_datagram(raw, &Limits::default()).expect(name)
}

fn ipv6(name: &str) -> Message {
    Message::parse_datagram(read("torture-ipv6", &format!("{name}.dat")), &Limits::default()).expect(name)
}

fn refusal(name: &str) -> ParseError {
    let raw = read("torture", &format!("{name}.dat"));
    Message::parse_datagram(raw, &Limits::default()).expect_err(name)
}

fn end(raw: Bytes, uas: &Supported<'_>) -> End {
    match Message::parse_datagram(raw, &Limits::default()) {
        Err(error) if error.reply.is_none() => Dropped,
        Err(error) => Refused(error.status),
        Ok(message) if message.is_request() => match inspect_request(&message, uas) {
            Ok(()) => Taken,
            Err(rejection) => Refused(rejection.status),
        },
        Ok(message) => match inspect_response(&message) {
            Ok(()) => Taken,
            Err(_) => Dropped,
        },
    }
}

#[test]
fn each_of_the_49_messages_ends_as_rfc_4475_says() {
    for (name, section, says, expected) in RFC_4475 {
        assert_eq!(end(read("torture", &format!("{name}.dat")), &UAS), expected, "{name}, §{section}: {says}");
    }
    let folder = std::fs::read_dir(format!("{}/tests/torture", env!("CARGO_MANIFEST_DIR"))).expect("the folder");
    assert_eq!(folder.count(), RFC_4475.len());
}

#[test]
fn each_message_ends_as_rfc_5118_says() {
    for (name, section, says, expected) in RFC_5118 {
        assert_eq!(end(read("torture-ipv6", &format!("{name}.dat")), &UAS), expected, "{name}, §{section}: {says}");
    }
    let folder = std::fs::read_dir(format!("{}/tests/torture-ipv6", env!("CARGO_MANIFEST_DIR"))).expect("the folder");
    assert_eq!(folder.count(), RFC_5118.len());
}

#[test]
fn max_forwards_of_zero_is_the_end_for_one_that_forwards_rfc_4475_3_3_11() {
    let forwards = Supported { forwards: true, ..UAS };
    assert_eq!(end(read("torture", "zeromf.dat"), &forwards), Refused(483));
}

#[test]
fn the_tortuous_invite_is_read_to_the_last_fold_rfc_4475_3_1_1_1() {
    let invite = torture("wsinv");
    assert_eq!(invite.method(), Method::Invite);
    assert_eq!(invite.request_uri(), "sip:vivekg@chair-dnrc.example.com;unknownparam");
    assert_eq!((invite.to_tag(), invite.from_tag()), (Some("1918181833n"), Some("98asjd8")));
    assert_eq!(invite.from().display.as_deref(), Some("J Rosenberg \\\""));
    assert_eq!(invite.max_forwards(), Some(Ok(68)));
    assert_eq!((invite.cseq().number, invite.cseq().method), (9, Method::Invite));
    let vias: Vec<_> = invite.vias().map(|via| via.expect("a Via")).collect();
    let hosts: Vec<_> = vias.iter().map(|via| (via.transport, via.host_str(), via.branch())).collect();
    assert_eq!(hosts[0], ("UDP", "192.0.2.2", Some("390skdjuw")));
    assert_eq!(hosts[1], ("TCP", "spindle.example.com", Some("z9hG4bK9ikj8")));
    assert_eq!(hosts[2], ("UDP", "192.168.255.111", Some("z9hG4bK30239")));
    assert_eq!(invite.header_named("Subject"), Some(&b""[..]));
    assert_eq!(invite.header_named("newfangledheader").map(|v| v.len()), Some(45));
    assert_eq!(invite.header_named("UnknownHeaderWithUnusualValue"), Some(&b";;,,;;,;"[..]));
    let contact = invite.contacts().next().expect("a contact").expect("a readable one");
    assert_eq!(contact.display.as_deref(), Some("Quoted string \"\""));
    assert_eq!((contact.param("newparam"), contact.param("secondparam")), (Some("newvalue"), Some("")));
    assert_eq!(contact.q_thousandths(), 330);
    assert_eq!(invite.body().len(), 150);
}

#[test]
fn unusual_characters_stand_where_tokens_may_have_them_rfc_4475_3_1_1_2() {
    let message = torture("intmeth");
    assert_eq!(message.method(), Method::Other("!interesting-Method0123456789_*+`.%indeed'~"));
    let uri = message.parsed_request_uri().expect("a URI");
    assert_eq!(uri.user, Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(uri.password, Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
    assert_eq!(message.to().display.as_deref(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    assert_eq!(message.from().display.as_deref(), Some("token1~` token2'+_ token3*%!.-"));
    assert_eq!(message.from().param("fromParam''~+*_!.-%"), Some("работающий"));
    assert_eq!(message.from_tag(), Some("_token~1'+`*%!-."));
    assert_eq!(message.call_id(), "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
    assert_eq!(message.header_named("extensionHeader-!.%*+_`'~"), Some("\u{feff}大停電".as_bytes()));
}

#[test]
fn escapes_are_undone_once_and_a_nul_stays_escaped_rfc_4475_3_1_1_3_and_4() {
    let message = torture("esc01");
    let uri = message.parsed_request_uri().expect("a URI");
    assert_eq!(uri.user_unescaped().as_deref(), Some("sips:user@example.com"));
    let contact = message.contacts().next().expect("a contact").expect("a readable one");
    assert_eq!(contact.uri().expect("a URI").user_unescaped().as_deref(), Some("caller"));
    let message = torture("escnull");
    assert_eq!(message.to().uri().expect("a URI").user_unescaped().as_deref(), Some("null-%00-null"));
    assert_eq!(message.contacts().filter(|contact| contact.is_ok()).count(), 2);
    assert_eq!(torture("esc02").contacts().count(), 2);
    assert_eq!(torture("esc02").to().display.as_deref(), Some("%Z%45"));
    let semicolons = torture("semiuri");
    let uri = semicolons.parsed_request_uri().expect("a URI");
    assert_eq!(uri.user_unescaped().as_deref(), Some("user;par=u@example.net"));
}

#[test]
fn a_body_is_kept_to_the_byte_and_not_beyond_rfc_4475_3_1_1_8_and_11() {
    let message = torture("dblreq");
    assert_eq!((message.method(), message.body()), (Method::Register, &b""[..]));
    assert!(message.raw().ends_with(b"Content-Length: 0\r\n\r\n"));
    let message = torture("mpart01");
    assert_eq!(message.body().len(), 553);
    assert!(message.body().contains(&0));
    assert_eq!(torture("inv2543").body().len(), torture("inv2543").raw().len() - torture("inv2543").head().len());
    assert!(!torture("inv2543").body().is_empty());
}

#[test]
fn a_parameter_outside_the_brackets_is_the_header_fields_rfc_4475_3_3_12_and_13() {
    let first = torture("cparam01");
    let contact = first.contacts().next().expect("a contact").expect("a readable one");
    assert_eq!(contact.param("unknownparam"), Some(""));
    assert!(!contact.uri().expect("a URI").has_param("unknownparam"));
    let second = torture("cparam02");
    let contact = second.contacts().next().expect("a contact").expect("a readable one");
    assert_eq!(contact.param("unknownparam"), None);
    assert!(contact.uri().expect("a URI").has_param("unknownparam"));
    let third = torture("regescrt");
    let contact = third.contacts().next().expect("a contact").expect("a readable one");
    let headers: Vec<_> = contact.uri().expect("a URI").headers().collect();
    assert_eq!(headers, [("Route", "%3Csip:sip.example.com%3E")]);
}

#[test]
fn reason_phrases_may_be_anything_or_nothing_rfc_4475_3_1_1_12_and_13() {
    let message = torture("unreason");
    assert_eq!(message.status(), 200);
    assert!(message.reason_phrase().starts_with("= 2**3 * 5**2 но сто"));
    assert_eq!((torture("noreason").status(), torture("noreason").reason_phrase().as_ref()), (100, ""));
}

#[test]
fn rejections_say_what_is_supported_rfc_3261_8_2() {
    let rejection = inspect_request(&torture("bext01"), &UAS).expect_err("a rejection");
    assert_eq!(rejection.headers.as_bytes(), b"Unsupported: nothingSupportsThis, nothingSupportsThisEither\r\n");
    let proxy = Supported { option_tags: &["nothingSupportsThis", "NOTHINGsupportsthiseither"], ..UAS };
    assert_eq!(inspect_request(&torture("bext01"), &proxy), Ok(()));
    let proxy = Supported { proxy_option_tags: Some(&[]), ..proxy };
    let rejection = inspect_request(&torture("bext01"), &proxy).expect_err("a rejection");
    assert_eq!(rejection.headers.as_bytes(), b"Unsupported: noProxiesSupportThis, norDoAnyProxiesSupportThis\r\n");
    let rejection = inspect_request(&torture("invut"), &UAS).expect_err("a rejection");
    assert_eq!(rejection.headers.as_bytes(), b"Accept: application/sdp, multipart/mixed\r\n");
    let rejection = inspect_request(&torture("mismatch02"), &UAS).expect_err("a rejection");
    assert!(rejection.headers.as_bytes().starts_with(b"Allow: INVITE, ACK, BYE,"));
}

#[test]
fn a_broken_request_is_answered_with_what_could_be_saved_of_it_rfc_3261_8_2_6() {
    for (name, ..) in RFC_4475.iter().filter(|row| matches!(row.3, Refused(_))) {
        let raw = read("torture", &format!("{name}.dat"));
        let Err(error) = Message::parse_datagram(raw, &Limits::default()) else { continue };
        let reply = error.reply.as_ref().unwrap_or_else(|| panic!("{name}: {error}"));
        let head = ResponseHead {
            status: error.status,
            reason: None,
            to_tag: Some("ours"),
            source: "198.51.100.9:1024".parse().ok(),
        };
        let mut out = Vec::new();
        reply.write_reply(&mut out, &head, &Headers::new());
        let text = String::from_utf8_lossy(&out);
        assert!(text.starts_with(&format!("SIP/2.0 {} ", error.status)), "{name}: {text}");
        // The parameters of badinv01's Via cannot be read: it goes back as it came.
        let via = if *name == "badinv01" { ";;,;,,\r\n" } else { ";received=198.51.100.9\r\n" };
        assert!(text.contains("\r\nVia: ") && text.contains(via), "{name}: {text}");
        assert!(text.contains("\r\nCSeq: "), "{name}: {text}");
    }
    let insufficient = refusal("insuf").reply.expect("a reply");
    assert_eq!((insufficient.call_id(), insufficient.method()), (None, Method::Invite));
    assert_eq!(insufficient.top_via().branch(), Some("z9hG4bKkdj.insuf"));
}

#[test]
fn ipv6_references_are_hosts_with_and_without_ports_rfc_5118_4() {
    let uri = ipv6("port-ambiguous");
    assert_eq!(uri.parsed_request_uri().expect("a URI").port, None);
    let uri = ipv6("port-unambiguous");
    assert_eq!(uri.parsed_request_uri().expect("a URI").port, Some(5070));
    assert_eq!(uri.parsed_request_uri().expect("a URI").host_str(), "[2001:db8::10]");
    assert_eq!(ipv6("via-received-param-with-delim").top_via().received(), Some("[2001:db8::9:255]"));
    assert_eq!(ipv6("via-received-param-no-delim").top_via().received(), Some("2001:db8::9:255"));
    assert_eq!(ipv6("mult-ip-in-header").vias().filter(|via| via.is_ok()).count(), 3);
    let expected = Host::V6("2001:db8::192.0.2.1".parse().expect("an address"));
    assert_eq!(ipv6("ipv6-bug-abnf-3-colons").parsed_request_uri().expect("a URI").host, expected);
    let mapped = ipv6("ipv4-mapped-ipv6");
    assert_eq!(mapped.top_via().port, Some(19823));
}
