//! What a peer is told of our address where a router stands before us (the one advertised-address model).

mod common;

use common::*;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::uri::HostPort;

const PUBLIC: &str = "203.0.113.10";
const OWN: &str = "192.168.1.2";
const OFFICE: &str = "192.168.1.77:5060";
const HOME: &str = "198.51.100.7:5060";

/// A machine at `OWN`, told to the world as `PUBLIC`.
fn behind_a_router(media: Option<&str>) -> World {
    let mut config = config();
    let sip = &mut config.listeners[0].sip;
    sip.local = at("192.168.1.2:5060");
    sip.advertised = HostPort::new(PUBLIC, Some(5060));
    sip.inside = Some(HostPort::new(OWN, Some(5060)));
    config.media.advertised_v4 = media.map(|address| address.parse().unwrap());
    World::with(config, site())
}

fn text(message: &Message, name: HeaderName) -> String {
    String::from_utf8_lossy(message.header(name).unwrap_or_default()).into_owned()
}

/// The address in Via or Contact and `c=`, and that the other one is nowhere in the message.
fn assert_told(message: &Message, told: &str, not: &str) {
    let all = String::from_utf8_lossy(message.raw()).into_owned();
    assert!(text(message, HeaderName::Contact).contains(told), "{all}");
    assert!(body_text(message).contains(&format!("c=IN IP4 {told}\r\n")), "{all}");
    assert!(!all.contains(not), "{all}");
}

#[test]
fn a_phone_in_our_network_is_told_our_own_address_and_one_outside_the_routers() {
    let media = [Some(PUBLIC), None];
    for (caller, callee, media) in media.into_iter().flat_map(|m| [(OFFICE, HOME, m), (HOME, OFFICE, m)]) {
        let mut world = behind_a_router(media);
        world.register("user-a", caller);
        world.register("user-b", callee);
        world.invite("user-a", caller, "102", &sdp("192.0.2.99", 4000, "0"), "");
        let invite = world.take_starting(callee, "INVITE");
        let told = |phone: &str| if phone == OFFICE { (OWN, PUBLIC) } else { (PUBLIC, OWN) };
        let (ours, other) = told(callee);
        assert_told(&invite, ours, other);
        assert!(text(&invite, HeaderName::Via).contains(&format!("{ours}:5060")));
        let ok =
            reply(&invite, 200, "btag", &format!("Contact: <sip:user-b@{callee}>\r\n"), &sdp("192.0.2.98", 4000, "0"));
        world.send(callee, &ok);
        let (ours, other) = told(caller);
        assert_told(&world.take_starting(caller, "SIP/2.0 200"), ours, other);
    }
}
