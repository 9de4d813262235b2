//! URIs (RFC 3261 §19.1, RFC 3966, RFC 5118) and addresses (RFC 3261 §20.10).

use ringfort_sip::uri::EscapeUser;
use ringfort_sip::write::{NameAddrOut, Quoted};
use ringfort_sip::{Host, HostPort, NameAddr, Scheme, Uri, UriError, Via};

fn uri(text: &str) -> Uri<'_> {
    Uri::parse(text).expect(text)
}

#[test]
fn every_part_of_a_sip_uri_is_found_rfc_3261_19_1_1() {
    let all = uri("SIPS:al%69ce;day=tue:pa%20ss@Example.COM:5071;transport=tcp;lr?Subject=a%20b&Priority=urgent");
    assert_eq!(all.scheme, Scheme::Sips);
    assert_eq!((all.user, all.password), (Some("al%69ce;day=tue"), Some("pa%20ss")));
    assert_eq!(all.user_unescaped().as_deref(), Some("alice;day=tue"));
    assert_eq!((all.host, all.port), (Host::Name("Example.COM"), Some(5071)));
    assert_eq!((all.param("TRANSPORT"), all.param("lr"), all.param("maddr")), (Some("tcp"), Some(""), None));
    assert!(all.is_loose_router());
    assert_eq!(all.headers().collect::<Vec<_>>(), [("Subject", "a%20b"), ("Priority", "urgent")]);
}

#[test]
fn hosts_are_names_or_addresses_rfc_3261_25_1() {
    assert_eq!(uri("sip:192.0.2.4").host, Host::V4("192.0.2.4".parse().expect("an address")));
    assert_eq!(uri("sip:a@[2001:db8::1]:5062").host.to_string(), "[2001:db8::1]");
    assert_eq!(uri("sip:a@[2001:db8::1]:5062").host_str(), "[2001:db8::1]");
    assert_eq!(uri("sip:192.0.2.256").host, Host::Name("192.0.2.256"));
    // A zero before a number means octal to some: no address.
    assert_eq!(uri("sip:192.0.2.010").host, Host::Name("192.0.2.010"));
    assert_eq!(HostPort::from("[::1]:5060".parse::<std::net::SocketAddr>().expect("one")).to_string(), "[::1]:5060");
    assert_eq!(HostPort::new("pbx.example.com", None).to_string(), "pbx.example.com");
}

#[test]
fn other_schemes_are_kept_whole_rfc_3261_19_1() {
    let urn = uri("urn:service:sos.fire?x");
    assert_eq!(
        (urn.scheme, urn.opaque, urn.as_str()),
        (Scheme::Other("urn"), "service:sos.fire?x", "urn:service:sos.fire?x")
    );
    let tel = uri("tel:+1-201-555-0123;ext=7");
    assert_eq!((tel.scheme, tel.user, tel.param("ext")), (Scheme::Tel, Some("+1-201-555-0123"), Some("7")));
}

#[test]
fn what_is_no_uri_is_named_rfc_3261_25_1() {
    for (text, error) in [
        ("", UriError::NoScheme),
        ("alice", UriError::NoScheme),
        ("1sip:a", UriError::NoScheme),
        ("sip:", UriError::Empty),
        ("sip:a b", UriError::BadCharacter),
        ("sip:<a>", UriError::BadCharacter),
        ("sip:@b", UriError::NoUser),
        ("sip:a@", UriError::NoHost),
        ("sip:a@b@c", UriError::BadHost),
        ("sip:a@b:", UriError::BadPort),
        ("sip:a@b:0", UriError::BadPort),
        ("sip:a@b:65536", UriError::BadPort),
        ("sip:2001:db8::1", UriError::BadPort),
        ("sip:a@[2001:db8::1", UriError::UnclosedBracket),
        ("sip:a@[fe80::1%25eth0]", UriError::BadIpv6),
        ("sip:%4@b", UriError::BadEscape),
        ("sip:a@b;", UriError::BadParameter),
        ("sip:a@b;=x", UriError::BadParameter),
        ("sip:a@b?x", UriError::BadHeader),
        ("tel:", UriError::Empty),
        ("tel:+", UriError::BadNumber),
        ("tel:alice", UriError::BadNumber),
    ] {
        assert_eq!(Uri::parse(text), Err(error), "{text}");
    }
}

#[test]
fn a_user_is_escaped_so_that_it_comes_back_rfc_3261_19_1_2() {
    for user in ["alice", "a b@c:d", "%41", "é#\"<>", "+49(30)1;x?"] {
        let text = format!("sip:{}@example.com", EscapeUser(user));
        assert_eq!(uri(&text).user_unescaped().as_deref(), Some(user), "{text}");
    }
}

#[test]
fn addresses_are_read_in_all_their_forms_rfc_3261_20_10() {
    let read = |text: &'static str| NameAddr::parse(text.as_bytes()).expect(text);
    let full = read("\"Mr. \\\"X\\\", esq\"  <sip:x@y;lr?a=b>;q=0.25;tag=1;+sip.instance=\"<urn:uuid:0>\"; reg-id = 1");
    assert_eq!(full.display.as_deref(), Some("Mr. \"X\", esq"));
    assert_eq!((full.uri, full.tag(), full.q_thousandths()), ("sip:x@y;lr?a=b", Some("1"), 250));
    assert_eq!((full.param("+SIP.instance"), full.param("reg-id")), (Some("<urn:uuid:0>"), Some("1")));
    let bare = read("sip:x@y;tag=1;lr");
    assert_eq!((bare.uri, bare.tag(), bare.bracketed), ("sip:x@y", Some("1"), false));
    assert_eq!(read("O'Brien (Sales) é <sip:a@b>").display.as_deref(), Some("O'Brien (Sales) é"));
    assert_eq!(read("<tel:+1>").display, None);
    for text in
        ["", "*", "\"x <sip:a@b>", "x <sip:a@b", "sip:a@b?x=y", "<sip:a@b> x", "<sip:a@b>;", "<sip:a@b>;;x", "<>"]
    {
        assert!(NameAddr::parse(text.as_bytes()).is_err(), "{text}");
    }
    let latin = NameAddr::parse(b"\"Jos\xe9\" <sip:a@b>").expect("an address");
    assert_eq!(latin.display.as_deref(), Some("José"));
    let name = NameAddrOut { display: Some("a \"b\"\r\n"), uri: &"sip:x@y" };
    assert_eq!(name.to_string(), "\"a \\\"b\\\"  \" <sip:x@y>");
    assert_eq!(Quoted("\\").to_string(), "\"\\\\\"");
}

#[test]
fn q_values_are_thousandths_rfc_3261_20_10() {
    for (q, thousandths) in
        [("1", 1000), ("1.000", 1000), ("0.5", 500), ("0.123", 123), ("0", 0), ("1.5", 1000), ("x", 1000)]
    {
        let text = format!("<sip:a@b>;q={q}");
        assert_eq!(NameAddr::parse(text.as_bytes()).expect("an address").q_thousandths(), thousandths, "{q}");
    }
}

#[test]
fn a_via_is_read_with_white_space_and_ipv6_rfc_3261_20_42() {
    let via = Via::parse(b"SIP / 2.0 / UDP  [2001:db8::9] : 5070 ; branch = z9hG4bKa ;rport;received=2001:db8::8")
        .expect("a Via");
    assert_eq!((via.transport, via.host_str(), via.port), ("UDP", "[2001:db8::9]", Some(5070)));
    assert_eq!((via.transaction_branch(), via.rport()), (Some("z9hG4bKa"), Some(None)));
    assert_eq!(via.received(), Some("2001:db8::8"));
    // RFC 4475 §3.2.1: the cookie alone names no transaction.
    let via = Via::parse(b"SIP/2.0/UDP h;branch=z9hG4bK;rport=7").expect("a Via");
    assert_eq!((via.branch(), via.transaction_branch(), via.rport()), (Some("z9hG4bK"), None, Some(Some(7))));
    for text in [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDPh",
        "SIP/2.0 UDP h",
        "SIP/2.0/UDP ;branch=x",
        "SIP/2.0/UDP h;;x",
        "SIP/2.0/UDP [::1",
    ] {
        assert!(Via::parse(text.as_bytes()).is_err(), "{text}");
    }
}
