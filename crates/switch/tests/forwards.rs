//! Peers that speak of somebody else: redirections, REFER, Replaces and Join, a callee or target that is changed within a
//! call, and fields that tell of calls before. None of it makes the system call anybody: with every disguise of a forbidden
//! callee in it, no trunk sees an INVITE (GUARD-4).

mod common;
#[path = "../../guard/src/callee/disguises.rs"]
#[allow(dead_code, reason = "the other test has its ways to dress")]
mod disguises;

use std::time::Duration;

use common::*;
use disguises::corpus;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::uri::Uri;
use ringfort_switch::model::*;

const A: &str = "198.51.100.10:5060";
const B: &str = "198.51.100.20:5060";
const GUEST: &str = "203.0.113.77:5060";
const TRUNK: &str = "203.0.113.1:5060";

/// Any number that gets as far leaves by the trunk; its calls, and those for a published name, ring 102.
fn house() -> World {
    let mut site = site();
    site.tenants[0].numbers = NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() };
    for extension in site.extensions.values_mut() {
        extension.max_calls = u32::MAX;
    }
    let trunk = Trunk {
        health_every: Duration::ZERO,
        max_calls: u32::MAX,
        ..Trunk::new(TrunkId(1), TenantId(1), "one", "sip:203.0.113.1")
    };
    site.trunks.insert(TrunkId(1), trunk);
    site.outbound.push(route("all", vec![Pattern::Any], vec![TrunkId(1)]));
    site.inbound.push(inbound_to("102"));
    site.aliases.push(alias("director", "102", true));
    let mut cfg = config();
    (cfg.max_transactions, cfg.max_dialogs) = (1_000_000, 1_000_000);
    cfg.media.ports = (10_000, 59_999);
    // Nobody is banned for it: what stops them has to be the rules.
    cfg.watch.offences = u32::MAX;
    let mut w = World::with(cfg, site);
    w.pass(Duration::ZERO);
    register(&mut w);
    w
}

fn register(w: &mut World) {
    for (user, at) in [("user-a", A), ("user-b", B)] {
        w.register_with(user, at, &format!("<sip:{user}@{at}>"), "Expires: 86400\r\n");
    }
}

/// A forbidden callee as an address, in one of several shapes; half of them at the trunk's own address.
fn target(shape: usize, user: &str) -> String {
    match shape % 8 {
        0 => format!("sip:{user}@{DOMAIN}"),
        1 => format!("sip:{user}@{TRUNK}"),
        2 => format!("tel:{user}"),
        3 => format!("sip:{user}@203.0.113.1;user=phone"),
        4 => format!("sip:{user}@{DOMAIN}?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2"),
        5 => format!("sip:{user}@{TRUNK};method=INVITE"),
        6 => format!("sips:{user}@{DOMAIN}"),
        _ => format!("sip:director@{TRUNK}?Route=%3Csip:{}%3Blr%3E", "203.0.113.1"),
    }
}

/// Nothing at all but answers may go to the trunk.
fn the_trunk_is_not_asked(w: &World, what: &str) {
    let asked = w.sent.iter().filter(|sent| sent.to == at(TRUNK) && sent.message.is_request());
    let asked: Vec<String> = asked.map(|sent| first_line(&sent.message)).collect();
    assert_eq!(asked, [""; 0], "{what}");
}

/// An INVITE of somebody who is not asked for credentials.
fn call_from(from: &str, n: usize, uri: &str, more: &str) -> String {
    format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKf{n};rport\r\nFrom: <sip:bob@far.example>;tag=f{n}\r\n\
         To: <{uri}>\r\nCall-ID: f{n}\r\nCSeq: 1 INVITE\r\nContact: <sip:bob@{from}>\r\nMax-Forwards: 70\r\n{more}\
         Content-Type: application/sdp\r\n\r\n{}",
        sdp("203.0.113.77", 4000, "0 8")
    )
}

/// Lets everything run out now and then.
fn tidy(w: &mut World, n: usize) {
    w.sent.clear();
    if n % 500 == 499 {
        w.pass(Duration::from_secs(70));
        w.report_closed();
        w.sent.clear();
    }
}

#[test]
fn a_phone_that_redirects_leads_no_call_out() {
    let mut w = house();
    let users = corpus();
    assert!(users.len() >= 5_000, "{}", users.len());
    let mut redirected = 0;
    for (n, user) in users.iter().enumerate() {
        match n % 3 {
            0 => w.send_to(1, OUTSIDE, GUEST, &call_from(GUEST, n, &format!("sip:director@{DOMAIN}"), "")),
            1 => w.send_to(1, OUTSIDE, TRUNK, &call_from(TRUNK, n, "sip:+442079460000@192.0.2.1", "")),
            _ => drop(w.invite("user-a", A, "102", &sdp("198.51.100.10", 4000, "0 8"), "")),
        }
        let invite = w.take_starting(B, "INVITE ");
        let status = [300, 301, 302, 305, 380, 485][n / 3 % 6];
        let contacts = format!(
            "Contact: <{}>;q=0.9, <sip:102@{DOMAIN}>;q=0.1\r\nDiversion: <{}>;reason=unconditional\r\n",
            target(n / 18, user),
            target(0, user)
        );
        w.send(B, &reply(&invite, status, "b", &contacts, ""));
        let caller = [GUEST, TRUNK, A][n % 3];
        let answer = w.take_final(caller);
        redirected += usize::from(answer.status() == 480);
        assert!(!answer.has(HeaderName::Contact), "{}", String::from_utf8_lossy(answer.raw()));
        the_trunk_is_not_asked(&w, &format!("{status} with {contacts}"));
        tidy(&mut w, n);
    }
    assert_eq!(redirected, users.len(), "each caller hears that nobody is there");
}

/// The trunk's own word leads nowhere else either: one INVITE, and no second one.
#[test]
fn a_trunk_that_redirects_is_not_followed() {
    let mut w = house();
    for (n, user) in corpus().iter().enumerate().step_by(7) {
        w.invite("user-a", A, "02079460000", &sdp("198.51.100.10", 4000, "0 8"), "");
        let invite = w.take_starting(TRUNK, "INVITE ");
        let status = [300, 301, 302, 305, 380][n % 5];
        let contact = format!("Contact: <{}>\r\n", target(n / 5, user));
        w.send_to(1, OUTSIDE, TRUNK, &reply(&invite, status, "t", &contact, ""));
        assert!(first_line(&w.take(TRUNK)).starts_with("ACK "));
        the_trunk_is_not_asked(&w, &contact);
        assert_eq!(w.take_final(A).status(), 480);
        tidy(&mut w, n);
    }
}

/// REFER out of dialog: Refer-To in every disguise, from a stranger, from the trunk and from a phone.
#[test]
fn a_refer_out_of_dialog_calls_nobody() {
    let mut w = house();
    let mut proven = 0;
    for (n, user) in corpus().iter().enumerate() {
        let refer = |from: &str, cseq: u32, auth: &str| {
            format!(
                "REFER sip:102@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKr{n}x{cseq};rport\r\n\
                 From: <sip:user-a@{DOMAIN}>;tag=r{n}\r\nTo: <sip:102@{DOMAIN}>\r\nCall-ID: r{n}\r\nCSeq: {cseq} REFER\r\n\
                 Contact: <sip:x@{from}>\r\nMax-Forwards: 70\r\n{auth}Refer-To: <{}>\r\nReferred-By: <sip:101@{DOMAIN}>\r\n\
                 Target-Dialog: r{n};local-tag=1;remote-tag=2\r\n\r\n",
                target(n / 4, user)
            )
        };
        match n % 4 {
            0 => w.send_to(1, OUTSIDE, GUEST, &refer(GUEST, 1, "")),
            1 => w.send_to(1, OUTSIDE, TRUNK, &refer(TRUNK, 1, "")),
            _ => {
                w.send(A, &refer(A, 1, ""));
                if let Some(challenge) = w.try_take(A).filter(|answer| answer.status() == 401) {
                    let auth = w.answer_to(&challenge, "user-a", "REFER", &format!("sip:102@{DOMAIN}"));
                    w.send(A, &refer(A, 2, &auth));
                    let status = w.take(A).status();
                    assert!(matches!(status, 400 | 405), "{status}");
                    proven += usize::from(status == 405);
                }
            }
        }
        the_trunk_is_not_asked(&w, user);
        assert!(w.nothing_for(B), "{:?}", w.summary());
        tidy(&mut w, n);
    }
    assert!(proven > 1_000, "{proven}");
}

/// Within a call, from either side of it: REFER, and re-INVITE and UPDATE for another callee, with another target.
#[test]
fn nothing_that_is_said_within_a_call_makes_another_one() {
    let mut w = house();
    let call = w.call(A, B);
    w.sent.clear();
    let (mut cseq_a, mut cseq_b) = (call.cseq_a, call.cseq_b);
    let mut refused = 0;
    for (n, user) in corpus().iter().enumerate() {
        let other = target(n / 8, user);
        let (method, more, body) = match n / 2 % 4 {
            0 => ("REFER", format!("Refer-To: <{other}>\r\nReferred-By: <sip:101@{DOMAIN}>\r\n"), String::new()),
            1 => (
                "REFER",
                format!("Refer-To: \"x\" <{other}>;early-only\r\nReplaces: {};to-tag=1;from-tag=2\r\n", call.call_id),
                String::new(),
            ),
            2 => (
                "INVITE",
                format!("Diversion: <{other}>\r\n"),
                sdp("198.51.100.10", 4002 + (n / 8 % 2 * 2) as u16, "0 8 101"),
            ),
            _ => ("UPDATE", format!("History-Info: <{other}>;index=1\r\n"), String::new()),
        };
        let is_a = n % 2 == 0;
        let text = if is_a {
            cseq_a += 1;
            call.of_a(method, cseq_a, &more, &body)
        } else {
            cseq_b += 1;
            call.of_b(method, cseq_b, &more, &body)
        };
        // Another Request-URI, To and Contact than those of the call.
        let (first, rest) = text.split_once("\r\n").unwrap();
        let uri = first.split(' ').nth(1).unwrap();
        let text = format!("{}\r\n{rest}", first.replace(uri, &other));
        let text = match n / 8 % 3 {
            0 => text,
            1 => text.replace("Contact: <sip:user-a@198.51.100.10:5060>", &format!("Contact: <sip:x@{TRUNK}>")),
            _ => text.replace("Contact: <sip:user-b@198.51.100.20:5060>", &format!("Contact: <sip:x@{TRUNK}>")),
        };
        let (from, peer) = if is_a { (A, B) } else { (B, A) };
        w.send(from, &text);
        the_trunk_is_not_asked(&w, &text);
        // A change of media is put to the other side of the call, and to nobody else.
        while let Some(asked) = w.try_take(peer) {
            if first_line(&asked).starts_with("INVITE ") {
                w.send(peer, &reply(&asked, 488, "", "", ""));
            }
        }
        while let Some(answer) = w.try_take(from) {
            refused += usize::from(answer.status() >= 400);
        }
        the_trunk_is_not_asked(&w, &text);
        w.sent.clear();
        if n % 400 == 399 {
            w.pass(Duration::from_secs(33));
            w.sent.clear();
        }
    }
    assert!(refused > 2_000, "{refused}");
    assert_eq!(w.status().calls, 1, "the call goes on");
}

/// An INVITE that wants to take over a call, or tells of one before: whoever may not call a number may not so either.
#[test]
fn replaces_join_and_tales_of_other_calls_open_no_way_out() {
    let mut w = house();
    let call = w.call(A, B);
    register(&mut w);
    w.sent.clear();
    let tag = |message: &Message, of: HeaderName| {
        let value = String::from_utf8_lossy(message.header(of).expect("it has one")).into_owned();
        value.split("tag=").nth(1).unwrap_or("t").to_owned()
    };
    let dialog = format!(
        "{};to-tag={};from-tag={}",
        call.call_id,
        tag(&call.ok, HeaderName::To),
        tag(&call.ok, HeaderName::From)
    );
    for (n, user) in corpus().iter().enumerate() {
        let other = target(n / 6, user);
        let more = match n / 3 % 6 {
            0 => format!("Replaces: {dialog}\r\nReferred-By: <{other}>\r\n"),
            1 => format!("Require: replaces\r\nReplaces: {dialog}\r\n"),
            2 => format!("Join: {dialog}\r\nRefer-To: <{other}>\r\n"),
            3 => format!("Diversion: <{other}>;reason=user-busy\r\nP-Called-Party-ID: <{other}>\r\n"),
            4 => {
                format!("History-Info: <{other}>;index=1, <sip:102@{DOMAIN}>;index=1.1\r\nTarget-Dialog: {dialog}\r\n")
            }
            _ => format!("Route: <sip:{user}@203.0.113.1;lr>\r\nContact: <{other}>\r\n"),
        };
        // Half of them for whom they may call, half for whom they may not.
        let uri = if n % 2 == 0 { format!("sip:director@{DOMAIN}") } else { other };
        match n % 3 {
            0 => w.send_to(1, OUTSIDE, GUEST, &call_from(GUEST, n, &uri, &more)),
            1 => w.send_to(1, OUTSIDE, TRUNK, &call_from(TRUNK, n, &uri, &more)),
            _ => {
                let asks = |cseq: u32, auth: &str| {
                    invite(
                        &uri,
                        "user-a",
                        A,
                        &format!("j{n}"),
                        cseq,
                        &format!("z9hG4bKj{n}x{cseq}"),
                        auth,
                        &more,
                        &sdp("198.51.100.10", 4000, "0"),
                    )
                };
                w.send(A, &asks(1, ""));
                if let Some(challenge) = w.try_take(A).filter(|answer| answer.status() == 401) {
                    let auth = w.answer_to(&challenge, "user-a", "INVITE", &uri);
                    w.send(A, &asks(2, &auth));
                }
            }
        }
        the_trunk_is_not_asked(&w, &format!("{uri} with {more}"));
        // Whoever is let in as far as 102 hears that nobody is there.
        while let Some(asked) = w.try_take(B) {
            if first_line(&asked).starts_with("INVITE ") {
                w.send(B, &reply(&asked, 486, "b", "", ""));
            }
        }
        the_trunk_is_not_asked(&w, &format!("{uri} with {more}"));
        tidy(&mut w, n);
    }
    assert_eq!(w.status().calls, 1, "nobody has taken it over");
}

/// A phone answers with a Contact at the trunk's address, or a Record-Route over it. What follows in the call would go there, in our name
/// and from our address: it goes to the phone.
#[test]
fn a_contact_at_the_trunks_address_does_not_send_the_rest_of_a_call_there() {
    let contacts = corpus().into_iter().filter(|user| Uri::parse(&target(1, user)).is_ok());
    for (n, user) in contacts.step_by(101).enumerate() {
        let mut w = house();
        let extra = match n % 2 {
            0 => format!("Contact: <{}>\r\n", target(1, &user)),
            _ => format!("Contact: <sip:user-b@{B}>\r\nRecord-Route: <sip:203.0.113.1;lr>\r\n"),
        };
        let call_id = w.invite("user-a", A, "102", &sdp("198.51.100.10", 4000, "0 8 101"), "");
        let invite = w.take_starting(B, "INVITE ");
        w.send(B, &reply(&invite, 200, "btag", &extra, &sdp("198.51.100.20", 5000, "0 101")));
        the_trunk_is_not_asked(&w, &extra);
        assert!(first_line(&w.take(B)).starts_with("ACK "), "{extra}");
        let ok = w.take_final(A);
        let call = Established::new(A, B, call_id, invite, ok);
        w.send(A, &call.of_a("ACK", 2, "", ""));
        w.send(A, &call.of_a("INVITE", 3, "", &sdp_with("198.51.100.10", 4000, "0 8 101", "a=sendonly\r\n")));
        the_trunk_is_not_asked(&w, &extra);
        assert!(first_line(&w.take(B)).starts_with("INVITE "), "{extra}");
        w.send(A, &call.of_a("BYE", 4, "", ""));
        the_trunk_is_not_asked(&w, &extra);
    }
}

/// The same of a guest, whose dialog is one that he began.
#[test]
fn a_guest_with_a_contact_at_the_trunks_address_is_called_back_where_he_is() {
    let mut w = house();
    let contacts = corpus().into_iter().filter(|user| Uri::parse(&target(1, user)).is_ok());
    for (n, user) in contacts.step_by(101).enumerate() {
        let contact = format!("Contact: <{}>", target(1, &user));
        let text = call_from(GUEST, n, &format!("sip:director@{DOMAIN}"), "");
        w.send_to(1, OUTSIDE, GUEST, &text.replace(&format!("Contact: <sip:bob@{GUEST}>"), &contact));
        let invite = w.take_starting(B, "INVITE ");
        w.send(
            B,
            &reply(
                &invite,
                200,
                "btag",
                &format!("Contact: <sip:user-b@{B}>\r\n"),
                &sdp("198.51.100.20", 5000, "0 101"),
            ),
        );
        w.take_starting(B, "ACK ");
        let ok = w.take_final(GUEST);
        assert_eq!(ok.status(), 200);
        let to = String::from_utf8_lossy(ok.header(HeaderName::To).expect("To")).into_owned();
        let ack = format!(
            "ACK {} SIP/2.0\r\nVia: SIP/2.0/UDP {GUEST};branch=z9hG4bKk{n};rport\r\nFrom: <sip:bob@far.example>;tag=f{n}\r\n\
             To: {to}\r\nCall-ID: f{n}\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\n\r\n",
            contact_uri(&ok)
        );
        w.send_to(1, OUTSIDE, GUEST, &ack);
        let cseq = 7 + 2 * n as u32;
        // 102 puts him on hold: our re-INVITE to him, with his Contact as its Request-URI, goes where he is.
        let call = Established::new(GUEST, B, format!("f{n}"), invite, ok);
        w.send(B, &call.of_b("INVITE", cseq, "", &sdp_with("198.51.100.20", 5000, "0 101", "a=sendonly\r\n")));
        the_trunk_is_not_asked(&w, &contact);
        assert!(first_line(&w.take_starting(GUEST, "INVITE ")).starts_with("INVITE "));
        w.send(B, &call.of_b("BYE", cseq + 1, "", ""));
        the_trunk_is_not_asked(&w, &contact);
        w.sent.clear();
    }
}
