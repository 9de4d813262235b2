//! Thousands of ways to write a callee that may not be called, by a phone, a stranger and a trunk: no trunk behind it ever sees an
//! INVITE (GUARD-4).

mod common;
#[path = "../../guard/src/callee/disguises.rs"]
mod disguises;

use std::time::Duration;

use common::*;
use disguises::{corpus, dresses};
use ringfort_switch::model::*;

const PHONE: &str = "198.51.100.10:5060";
const GUEST: &str = "203.0.113.77:5060";
const TRUNK: &str = "203.0.113.1:5060";

/// Any number that gets as far leaves by the trunk, and one of the house is published.
fn house() -> Site {
    let mut site = site();
    site.tenants[0].numbers = NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() };
    for extension in site.extensions.values_mut() {
        (extension.calling.domains, extension.max_calls) = (false, u32::MAX);
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
    site
}

/// An INVITE for that user part, in one of several shapes.
fn invite_in(shape: usize, user: &str, from: &str, n: usize, auth: &str) -> (String, String) {
    let uri = match shape {
        0 => format!("sip:{user}@{DOMAIN}"),
        1 => format!("tel:{user}"),
        2 => format!("sip:{user}@{DOMAIN};user=phone"),
        3 => format!("sip:{user}@192.0.2.1"),
        4 => format!("sip:{user}%40{DOMAIN}@{DOMAIN}"),
        5 => format!("sip:director:{user}@{DOMAIN}"),
        6 => format!("sips:{user}@{DOMAIN}"),
        _ => format!("sip:{user}@{DOMAIN}"),
    };
    let to = if shape == 7 { format!("sip:director@{DOMAIN}") } else { uri.clone() };
    let more = match shape {
        0 => "Route: <sip:203.0.113.1;lr>\r\n".to_owned(),
        1 => format!("Diversion: <sip:101@{DOMAIN}>;reason=unconditional\r\n"),
        2 => format!("Referred-By: <sip:101@{DOMAIN}>\r\n"),
        3 => format!("P-Asserted-Identity: <sip:101@{DOMAIN}>\r\nHistory-Info: <sip:101@{DOMAIN}>;index=1\r\n"),
        8 => "Replaces: x;to-tag=1;from-tag=2\r\n".to_owned(),
        _ => String::new(),
    };
    let text = format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKd{n};rport\r\nFrom: <sip:user-a@{DOMAIN}>;tag=d{n}\r\n\
         To: <{to}>\r\nCall-ID: d{n}\r\nCSeq: {n} INVITE\r\nContact: <sip:user-a@{from}>\r\nMax-Forwards: 70\r\n{auth}{more}\
         Content-Type: application/sdp\r\n\r\n{}",
        sdp("198.51.100.10", 4000, "0 8")
    );
    (uri, text)
}

fn invites_to_the_trunk(w: &World) -> Vec<String> {
    let to_trunk = w.sent.iter().filter(|sent| sent.to == at(TRUNK));
    to_trunk.map(|sent| first_line(&sent.message)).filter(|line| line.starts_with("INVITE")).collect()
}

#[test]
fn no_disguise_of_a_forbidden_callee_reaches_a_trunk_guard_4() {
    let mut cfg = config();
    cfg.max_transactions = 1_000_000;
    // Nobody is banned for it: what stops them has to be the rules.
    cfg.watch.offences = u32::MAX;
    let mut w = World::with(cfg, house());
    w.register("user-b", "198.51.100.11:5060");
    let users = corpus();
    assert!(users.len() >= 5_000, "{}", users.len());
    let mut challenged = 0;
    for (n, user) in users.iter().enumerate() {
        let shape = n % 9;
        // Each of the three once in three: every dress meets each of them with some number.
        match n / 9 % 3 {
            0 => {
                let (uri, asks) = invite_in(shape, user, PHONE, 2 * n + 1, "");
                w.send(PHONE, &asks);
                let Some(challenge) = w.try_take(PHONE).filter(|answer| answer.status() == 401) else { continue };
                challenged += 1;
                let auth = w.answer_to(&challenge, "user-a", "INVITE", &uri);
                w.send(PHONE, &invite_in(shape, user, PHONE, 2 * n + 2, &auth).1);
            }
            1 => w.send_to(1, OUTSIDE, GUEST, &invite_in(shape, user, GUEST, 2 * n + 1, "").1),
            _ => w.send_to(1, OUTSIDE, TRUNK, &invite_in(shape, user, TRUNK, 2 * n + 1, "").1),
        }
        assert_eq!(invites_to_the_trunk(&w), [""; 0], "shape {shape}: {user:?}");
        w.sent.clear();
        if n % 500 == 0 {
            w.pass(Duration::from_secs(40));
            w.sent.clear();
        }
    }
    assert!(challenged > 1_000, "most of them are messages that can be read: {challenged}");
    let refused =
        w.cdrs().iter().filter(|cdr| cdr.rule.as_deref().is_some_and(|rule| rule.starts_with("callee."))).count();
    assert!(refused > 1_000, "{refused}");
}

#[test]
fn an_honest_callee_in_every_dress_reaches_the_trunk_as_what_it_is() {
    let mut w = World::with(config(), house());
    let mut reached = 0;
    for (n, dress) in dresses().into_iter().enumerate() {
        let user = dress("02079460000");
        let (uri, asks) = invite_in(9, &user, PHONE, 2 * n + 1, "");
        w.send(PHONE, &asks);
        let Some(challenge) = w.try_take(PHONE).filter(|answer| answer.status() == 401) else { continue };
        let auth = w.answer_to(&challenge, "user-a", "INVITE", &uri);
        w.send(PHONE, &invite_in(9, &user, PHONE, 2 * n + 2, &auth).1);
        assert_eq!(invites_to_the_trunk(&w), ["INVITE sip:+442079460000@203.0.113.1 SIP/2.0"], "{user:?}");
        w.sent.clear();
        reached += 1;
    }
    assert!(reached > 25, "{reached}");
}
