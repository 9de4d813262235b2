//! Offences and bans by the messages of attackers (GUARD-3, GUARD-5, GUARD-6, GUARD-8): who is proven, who is only said to
//! be there, who is never banned, and what an operator sees.

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::*;
use ringfort_guard::{BanChange, Until};
use ringfort_media::types as media;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::{Limits, Message};
use ringfort_switch::io::{Command, CommandReply, GuardCommand, GuardStatus, GuardWhy, Level};
use ringfort_switch::model::*;
use ringfort_switch::record::{GuardRecord, JournalRecord};

const ATTACKER: &str = "203.0.113.7:5060";
const VICTIM: &str = "203.0.113.99:5060";

fn ip(text: &str) -> IpAddr {
    text.split(':').next().unwrap().parse().expect("an address")
}

fn request(method: &str, uri: &str, from: &str, n: usize, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKw{n};rport\r\n\
         From: <sip:100@{DOMAIN}>;tag=w\r\nTo: <{uri}>\r\nCall-ID: w{n}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:100@{from}>\r\nMax-Forwards: 70\r\n{more}\r\n"
    )
}

/// The ACK for an answer.
fn ack(answer: &Message, uri: &str, from: &str, n: usize) -> String {
    let tag = answer.to_tag().expect("an answer has a tag");
    format!(
        "ACK {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKw{n};rport\r\nFrom: <sip:100@{DOMAIN}>;tag=w\r\n\
         To: <{uri}>;tag={tag}\r\nCall-ID: w{n}\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\n\r\n"
    )
}

const REGISTRAR: &str = "sip:pbx.example";
const INSIDE_CALLEE: &str = "sip:102@pbx.example";

fn offer() -> String {
    sdp("203.0.113.99", 4000, "0 8")
}

/// A REGISTER with wrong credentials: the challenge is asked for by `asks` and answered by `answers`.
fn guess(w: &mut World, n: usize, asks: &str, answers: &str) -> Message {
    w.send(asks, &request("REGISTER", REGISTRAR, asks, 2 * n, ""));
    let challenge = w.take(asks);
    let auth = w.answer_to(&challenge, "nobody", "REGISTER", REGISTRAR);
    w.send(answers, &request("REGISTER", REGISTRAR, answers, 2 * n + 1, &auth));
    w.take(answers)
}

fn is_banned(w: &World, address: &str) -> bool {
    w.bans.is_banned(w.now, ip(address))
}

fn guard(w: &mut World, command: GuardCommand) -> CommandReply {
    w.command(Command::Guard(command))
}

fn status(w: &mut World) -> GuardStatus {
    let CommandReply::GuardStatus(status) = guard(w, GuardCommand::Status) else { panic!("a status") };
    status
}

fn why(w: &mut World, address: &str) -> GuardWhy {
    let CommandReply::GuardWhy(why) = guard(w, GuardCommand::Why { address: ip(address) }) else { panic!("an answer") };
    why
}

#[test]
fn the_fifth_wrong_password_bans_for_a_day_and_the_log_the_journal_and_the_operator_know_it() {
    let mut w = World::new();
    for n in 0..4 {
        assert_eq!(guess(&mut w, n, ATTACKER, ATTACKER).status(), 401);
        assert!(!is_banned(&w, ATTACKER));
    }
    assert_eq!(status(&mut w).failed_now, 1);
    guess(&mut w, 4, ATTACKER, ATTACKER);
    assert!(is_banned(&w, ATTACKER));
    let end = w.now + Duration::from_secs(86_400);
    assert!(!w.bans.is_banned(end, ip(ATTACKER)), "a day later it is over");
    assert_eq!(w.ban_changes, [BanChange::Banned { source: ip(ATTACKER).into(), until: Until::Time(end) }]);
    let kept = w.journal.iter().filter(|r| matches!(r, JournalRecord::Guard(GuardRecord::Banned { times: 1, .. })));
    assert_eq!(kept.count(), 1);
    assert_eq!(w.offences.len(), 5);
    assert_eq!((w.offences[0].counted.as_str(), w.offences[4].counted.as_str()), ("1 of 5", "banned"));
    assert!(w.notices.iter().any(|n| n.rule == "ban" && n.level == Level::Warn && n.text.contains("203.0.113.7")));
    let now = status(&mut w);
    assert_eq!((now.failed_now, now.failed_total, now.banned_now, now.banned_total), (0, 5, 1, 1));
    let CommandReply::Bans { items, total } = guard(&mut w, GuardCommand::Bans { limit: 10 }) else { panic!("a list") };
    assert_eq!(total, 1);
    assert_eq!(
        (items[0].source.as_str(), items[0].left_s, items[0].cause.as_str()),
        ("203.0.113.7", Some(86_400), "authentication")
    );
    let why = why(&mut w, ATTACKER);
    assert!(why.banned && why.exempt.is_none());
}

#[test]
fn a_forged_source_is_never_banned_by_what_is_sent_in_its_name() {
    let mut w = World::new();
    for n in 0..50 {
        // A nonce that was given to the forger himself, and one that is made up.
        guess(&mut w, n, ATTACKER, VICTIM);
        let made_up = "Authorization: Digest username=\"a\", realm=\"pbx.example\", nonce=\"00\", uri=\"sip:x\", response=\"0\"\r\n";
        w.send(VICTIM, &request("REGISTER", REGISTRAR, VICTIM, 1000 + n, made_up));
        w.send(VICTIM, &request("INVITE", INSIDE_CALLEE, VICTIM, 2000 + n, made_up));
        w.send(VICTIM, &request("OPTIONS", REGISTRAR, VICTIM, 3000 + n, "User-Agent: friendly-scanner\r\n"));
        w.send(VICTIM, &request("REGISTER", REGISTRAR, VICTIM, 4000 + n, "Content-Length: 7\r\nContent-Length: 8\r\n"));
        w.send_to(1, OUTSIDE, VICTIM, &request("INVITE", "sip:nobody@pbx.example", VICTIM, 5000 + n, ""));
    }
    assert!(!is_banned(&w, VICTIM) && w.offences.is_empty(), "{:?}", w.offences);
    // Credentials for a nonce that was not given to there are not looked at: they say nothing, and count for nothing.
    assert_eq!(w.penalised.len(), 150, "all else lowers the rate");
    assert!(w.penalised.iter().all(|address| *address == ip(VICTIM)));
    assert_eq!(status(&mut w).unproven_total, 150);
}

#[test]
fn nobody_learns_whether_a_password_is_right_who_has_not_received_the_challenge_himself() {
    let mut w = World::new();
    // The right password of 101, with a nonce that was given to another address, and with one that is made up.
    w.send(ATTACKER, &request("REGISTER", REGISTRAR, ATTACKER, 1, ""));
    let challenge = w.take(ATTACKER);
    let right = w.answer_to(&challenge, "user-a", "REGISTER", REGISTRAR);
    let at = right.find("nonce=\"").unwrap() + 7;
    let made_up = format!("{}{}{}", &right[..at], "0".repeat(60), &right[at + 60..]);
    let wrong = right.replace("response=\"", "response=\"0");
    let mut told = Vec::new();
    for (n, auth) in [&right, &wrong, &made_up].into_iter().enumerate() {
        w.send(VICTIM, &request("REGISTER", REGISTRAR, VICTIM, 10 + n, auth));
        let answer = w.take(VICTIM);
        let field = answer.header_str(HeaderName::WwwAuthenticate).unwrap().into_owned();
        told.push((answer.status(), field.split("nonce=").next().unwrap().to_owned(), field.contains("stale=true")));
    }
    assert!(told.iter().all(|said| *said == told[0] && said.0 == 401 && said.2), "{told:?}");
    assert_eq!((w.status().registrations, w.offences.len(), w.penalised.len()), (0, 0, 0));
    // A call that bears somebody else's address bans nobody and is not made, whoever's password is in it.
    let call = w.answer_to(&challenge, "user-a", "INVITE", "sip:00491@pbx.example");
    for n in 0..6 {
        w.send(VICTIM, &request("INVITE", "sip:00491@pbx.example", VICTIM, 20 + n, &call));
        assert_eq!(w.take_final(VICTIM).status(), 401);
    }
    assert!(!is_banned(&w, VICTIM));
    // Where it was given to, the right one is right.
    w.send(ATTACKER, &request("REGISTER", REGISTRAR, ATTACKER, 2, &right));
    assert_eq!(w.take(ATTACKER).status(), 403, "101, who registers another's address");
}

#[test]
fn five_floods_of_connections_ban_their_source_guard_5() {
    let mut w = World::new();
    for n in 1..=5 {
        assert!(!is_banned(&w, ATTACKER), "after {} of them", n - 1);
        w.switch.handle_flood(w.now, ip(ATTACKER));
        // What it put out is taken up with the answer.
        status(&mut w);
    }
    assert!(is_banned(&w, ATTACKER));
    assert!(w.offences.iter().all(|o| (o.offence.as_str(), o.rule.as_str()) == ("flood", "rate.connection")));
}

#[test]
fn packets_in_a_trunks_name_do_not_mute_it() {
    let mut site = site();
    let trunk = Trunk {
        health_every: Duration::ZERO,
        sources: vec!["203.0.113.0/30".into()],
        ..Trunk::new(TrunkId(1), TenantId(1), "one", "sip:203.0.113.1")
    };
    site.trunks.insert(TrunkId(1), trunk);
    let mut w = World::with(config(), site);
    w.pass(Duration::ZERO);
    for (n, provider) in ["203.0.113.1:5060", "203.0.113.2:5090"].into_iter().enumerate() {
        for k in 0..10 {
            let scan = request("OPTIONS", REGISTRAR, provider, 10 * n + k, "User-Agent: friendly-scanner\r\n");
            w.send_to(1, OUTSIDE, provider, &scan);
        }
        assert!(w.switch.flow_priority(at(provider)), "{provider} has the room of those that are known");
    }
    assert!(w.penalised.is_empty(), "{:?}", w.penalised);
    assert!(!w.switch.flow_priority(at(ATTACKER)));
}

#[test]
fn the_ack_for_a_refusal_proves_an_invite_and_a_repeated_ack_proves_nothing_more() {
    let mut w = World::new();
    let uri = "sip:nobody@pbx.example";
    for n in 0..5 {
        assert!(!is_banned(&w, ATTACKER));
        w.send_to(1, OUTSIDE, ATTACKER, &request("INVITE", uri, ATTACKER, n, ""));
        let answer = w.take_final(ATTACKER);
        assert_eq!(answer.status(), 404);
        let ack = ack(&answer, uri, ATTACKER, n);
        for _ in 0..3 {
            w.send_to(1, OUTSIDE, ATTACKER, &ack);
        }
        // The same words from elsewhere, by somebody who saw them on the way: no tag of ours went there.
        w.send_to(1, OUTSIDE, VICTIM, &ack);
        assert_eq!(w.offences.len(), n + 1);
    }
    assert!(is_banned(&w, ATTACKER) && !is_banned(&w, VICTIM));
    assert!(w.offences.iter().all(|o| o.offence == "unknown-user" && o.callee.reveal() == "nobody"));
    let wrong = w.notices.iter().filter(|n| n.text.starts_with("Wrong call IP=203.0.113.7"));
    assert_eq!(wrong.filter(|n| n.level == Level::Warn).count(), 5);
}

#[test]
fn a_scanner_gets_no_answer_but_where_the_answer_can_prove_it() {
    let mut w = World::new();
    let agent = "User-Agent: Friendly-Scanner/0.2\r\n";
    for (n, method) in ["OPTIONS", "SUBSCRIBE", "MESSAGE", "NOTIFY"].into_iter().enumerate() {
        w.send(ATTACKER, &request(method, INSIDE_CALLEE, ATTACKER, n, agent));
        assert!(w.try_take(ATTACKER).is_none(), "{method}");
    }
    assert!(w.offences.is_empty());
    for n in 10..15 {
        w.send(ATTACKER, &request("INVITE", INSIDE_CALLEE, ATTACKER, n, agent));
        let answer = w.take_final(ATTACKER);
        assert_eq!(answer.status(), 401, "the same as for anybody");
        w.send(ATTACKER, &ack(&answer, INSIDE_CALLEE, ATTACKER, n));
    }
    assert!(is_banned(&w, ATTACKER));
    assert!(w.offences.iter().all(|o| o.offence == "scanner"));
    // A phone that asks without credentials first is no offender.
    for n in 20..40 {
        w.send(VICTIM, &request("INVITE", INSIDE_CALLEE, VICTIM, n, ""));
        let answer = w.take_final(VICTIM);
        w.send(VICTIM, &ack(&answer, INSIDE_CALLEE, VICTIM, n));
    }
    assert!(!is_banned(&w, VICTIM) && w.offences.len() == 5);
}

#[test]
fn over_a_connection_every_offence_counts_at_once() {
    let mut w = World::new();
    for n in 0..5 {
        assert!(!is_banned(&w, ATTACKER));
        w.send_tls(ATTACKER, &request("OPTIONS", INSIDE_CALLEE, ATTACKER, n, "User-Agent: sipvicious\r\n"));
    }
    assert!(is_banned(&w, ATTACKER));
    assert!(w.try_take(ATTACKER).is_none());
}

#[test]
fn phones_in_the_house_and_trunks_are_never_banned() {
    let mut site = site();
    let trunk = Trunk {
        sources: vec!["203.0.113.0/28".into()],
        health_every: Duration::ZERO,
        ..Trunk::new(TrunkId(1), TenantId(1), "one", "sip:203.0.113.1")
    };
    site.trunks.insert(TrunkId(1), trunk);
    let mut w = World::with(config(), site);
    for n in 0..20 {
        guess(&mut w, n, "192.168.1.9:5060", "192.168.1.9:5060");
        guess(&mut w, 100 + n, ATTACKER, ATTACKER);
    }
    assert!(!is_banned(&w, "192.168.1.9") && !is_banned(&w, ATTACKER));
    assert_eq!(w.offences.len(), 40);
    assert!(why(&mut w, ATTACKER).exempt.is_some_and(|words| words.contains("trunk")));
    let refused = guard(&mut w, GuardCommand::Ban { address: ip(ATTACKER), for_s: None });
    assert!(matches!(&refused, CommandReply::Refused { error } if error.contains("trunk")), "{refused:?}");
}

#[test]
fn a_trunk_that_takes_calls_from_everywhere_keeps_nobody_from_being_banned() {
    let mut site = site();
    let far = SipCredentials { user: "far".into(), password: Secret::new("far secret") };
    let trunk = Trunk {
        sources: vec!["0.0.0.0/0".into()],
        inbound_credentials: Some(far),
        health_every: Duration::ZERO,
        ..Trunk::new(TrunkId(1), TenantId(1), "one", "sip:203.0.113.1")
    };
    site.trunks.insert(TrunkId(1), trunk);
    let mut w = World::with(config(), site);
    w.pass(Duration::ZERO);
    for n in 0..5 {
        assert!(!is_banned(&w, ATTACKER));
        guess(&mut w, n, ATTACKER, ATTACKER);
        guess(&mut w, 10 + n, "203.0.113.1:5060", "203.0.113.1:5060");
    }
    assert!(is_banned(&w, ATTACKER), "anybody could try the trunk's password, and the phones'");
    assert!(!is_banned(&w, "203.0.113.1"), "that is where it was located");
    let banned = guard(&mut w, GuardCommand::Ban { address: ip(VICTIM), for_s: None });
    assert!(matches!(banned, CommandReply::Done { changed: 1 }), "{banned:?}");
}

#[test]
fn a_source_that_becomes_a_trunks_is_let_in_again() {
    let mut w = World::new();
    for n in 0..5 {
        guess(&mut w, n, ATTACKER, ATTACKER);
    }
    assert!(is_banned(&w, ATTACKER));
    let mut next = site();
    next.revision = 2;
    let trunk = Trunk {
        sources: vec![ip(ATTACKER).to_string()],
        health_every: Duration::ZERO,
        ..Trunk::new(TrunkId(1), TenantId(1), "one", "sip:203.0.113.1")
    };
    next.trunks.insert(TrunkId(1), trunk);
    w.apply(next);
    assert!(!is_banned(&w, ATTACKER));
    assert!(w.ban_changes.contains(&BanChange::Lifted { source: ip(ATTACKER).into() }));
}

#[test]
fn bans_and_allowed_ranges_hold_after_a_restart() {
    let mut w = World::new();
    for n in 0..5 {
        guess(&mut w, n, ATTACKER, ATTACKER);
    }
    guard(&mut w, GuardCommand::Ban { address: ip(VICTIM), for_s: None });
    guard(&mut w, GuardCommand::Allow { range: "198.51.100.0/24".parse().unwrap() });
    let records: Vec<GuardRecord> = w
        .journal
        .iter()
        .filter_map(|record| match record {
            JournalRecord::Guard(record) => Some(record.clone()),
            _ => None,
        })
        .collect();
    let mut again = World::new();
    again.restore_guard(records);
    assert!(is_banned(&again, ATTACKER) && is_banned(&again, VICTIM));
    assert_eq!(again.ban_changes.len(), 2, "whoever enforces them is told");
    for n in 0..9 {
        guess(&mut again, n, "198.51.100.7:5060", "198.51.100.7:5060");
    }
    assert!(!is_banned(&again, "198.51.100.7"));
    assert_eq!(status(&mut again).allowed, ["198.51.100.0/24"]);
    guard(&mut again, GuardCommand::Unban { address: ip(VICTIM) });
    assert!(!is_banned(&again, VICTIM));
    again.pass(Duration::from_secs(86_400 + 10));
    assert!(!is_banned(&again, ATTACKER));
    assert_eq!(why(&mut again, ATTACKER).ban.map(|ban| ban.times), Some(1), "it is remembered");
}

#[test]
fn a_closed_profile_answers_those_on_its_list_and_nobody_else() {
    let mut cfg = config();
    cfg.profiles[1].allow = Some(vec!["198.51.100.0/24".parse().unwrap()].into());
    let mut site = site();
    site.aliases = vec![alias("director", "102", true)];
    let mut w = World::with(cfg, site);
    let uri = "sip:director@pbx.example";
    for (n, method) in ["OPTIONS", "INVITE", "REGISTER", "BYE"].into_iter().enumerate() {
        w.send_to(1, OUTSIDE, ATTACKER, &request(method, uri, ATTACKER, n, ""));
        w.pass(Duration::from_secs(1));
        assert!(w.try_take(ATTACKER).is_none(), "{method}");
    }
    // A tag of no dialog opens nothing.
    for (n, method) in ["OPTIONS", "INVITE", "REGISTER", "BYE", "SUBSCRIBE"].into_iter().enumerate() {
        let tagged = request(method, uri, ATTACKER, 20 + n, "").replace("\r\nCall-ID", ";tag=x\r\nCall-ID");
        w.send_to(1, OUTSIDE, ATTACKER, &tagged);
        w.pass(Duration::from_secs(1));
        assert!(w.try_take(ATTACKER).is_none(), "{method} with a tag");
    }
    let bad = request("OPTIONS", uri, ATTACKER, 8, "Content-Length: 1\r\nContent-Length: 2\r\n");
    w.send_to(1, OUTSIDE, ATTACKER, &bad);
    assert!(w.try_take(ATTACKER).is_none());
    assert_eq!(status(&mut w).refused_acl_total, 9);
    assert_eq!(why(&mut w, ATTACKER).closed_profiles, ["world"]);
    w.send_to(1, OUTSIDE, "198.51.100.7:5060", &request("OPTIONS", uri, "198.51.100.7:5060", 9, ""));
    assert_eq!(w.take("198.51.100.7:5060").status(), 200);
    w.send(ATTACKER, &request("OPTIONS", uri, ATTACKER, 10, ""));
    assert_eq!(w.take(ATTACKER).status(), 200, "another profile is not closed");
}

#[test]
fn a_good_guest_call_is_told_and_is_no_offence() {
    let mut site = site();
    site.aliases = vec![alias("director", "102", true)];
    let mut w = World::with(config(), site);
    w.register("user-b", "198.51.100.11:5060");
    w.send_to(
        1,
        OUTSIDE,
        VICTIM,
        &(request("INVITE", "sip:director@pbx.example", VICTIM, 1, "Content-Type: application/sdp\r\n") + &offer()),
    );
    w.take_starting("198.51.100.11:5060", "INVITE");
    let told = w.notices.iter().find(|n| n.text.starts_with("Good call IP=203.0.113.99"));
    assert_eq!(told.map(|n| n.level), Some(Level::Notice));
    assert!(w.offences.is_empty() && w.penalised.is_empty());
}

#[test]
fn a_stranger_who_dialled_wrongly_is_told_so_and_hung_up_and_his_ack_counts_dom_5() {
    let mut cfg = config();
    cfg.calls.announcements_per_stranger = 2;
    let mut w = World::with(cfg, site());
    let uri = "sip:nobody@pbx.example";
    for n in 0..5 {
        assert!(!is_banned(&w, ATTACKER));
        let invite =
            request("INVITE", uri, ATTACKER, n, "Content-Type: application/sdp\r\n") + &sdp("203.0.113.7", 4000, "0 8");
        w.send_to(1, OUTSIDE, ATTACKER, &invite);
        let ok = w.take_final(ATTACKER);
        assert_eq!(ok.status(), 200, "answered, or his phone would play nothing");
        assert_eq!(w.offences.len(), n, "nothing is proven yet");
        let plays = |w: &World| w.media.iter().filter(|command| matches!(command, media::Command::Play { .. })).count();
        assert_eq!(plays(&w), n, "nothing is played to somebody who may be forged (CALL-5)");
        let tag = ok.to_tag().expect("a tag").to_owned();
        w.send_to(
            1,
            OUTSIDE,
            ATTACKER,
            &format!(
                "ACK {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {ATTACKER};branch=z9hG4bKack{n};rport\r\nFrom: <sip:100@{DOMAIN}>;tag=w\r\n\
                 To: <{uri}>;tag={tag}\r\nCall-ID: w{n}\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\n\r\n"
            ),
        );
        assert_eq!((w.offences.len(), plays(&w)), (n + 1, n + 1), "proven: heard, and counted");
        let play = w.media.iter().rev().find_map(|command| match command {
            media::Command::Play { id, playback } => Some((*id, playback.id)),
            _ => None,
        });
        let (id, play) = play.expect("the prompt");
        w.media_event(media::Event::Played { id, play });
        let bye = w.take_starting(ATTACKER, "BYE");
        w.send_to(1, OUTSIDE, ATTACKER, &reply(&bye, 200, "", "", ""));
        let record = w.cdrs().last().map(|cdr| (cdr.rule.clone().unwrap_or_default(), cdr.context.clone()));
        assert_eq!(record, Some(("context.public".to_owned(), "public".to_owned())));
        w.report_closed();
    }
    assert!(is_banned(&w, ATTACKER));
    // A scanner is not entertained.
    let invite = request("INVITE", uri, VICTIM, 99, "User-Agent: sipvicious\r\nContent-Type: application/sdp\r\n")
        + &sdp("203.0.113.99", 4000, "0 8");
    w.send_to(1, OUTSIDE, VICTIM, &invite);
    assert_eq!(w.take_final(VICTIM).status(), 404);
}

/// What the packet path asks of somebody who is over his rate.
#[test]
fn a_guest_in_a_call_is_known_by_where_he_sends_from_and_by_his_dialog() {
    const GUEST: &str = "203.0.113.99:5060";
    const MOVED: &str = "203.0.113.99:40000";
    let mut site = site();
    site.aliases.push(alias("director", "102", true));
    let mut w = World::with(config(), site);
    w.register("user-b", "198.51.100.11:5060");
    let uri = "sip:director@pbx.example";
    let text = request("INVITE", uri, GUEST, 1, "Content-Type: application/sdp\r\n") + &offer();
    w.send_to(1, OUTSIDE, GUEST, &text);
    let invite = w.take_starting("198.51.100.11:5060", "INVITE");
    let contact = "Contact: <sip:user-b@198.51.100.11:5060>\r\n";
    w.send("198.51.100.11:5060", &reply(&invite, 200, "b", contact, &sdp("198.51.100.11", 5000, "0")));
    let ok = w.take_final(GUEST);
    assert!(!w.switch.is_talking(at(GUEST)), "his address may be forged");
    w.send_to(1, OUTSIDE, GUEST, &ack(&ok, uri, GUEST, 1).replace("bKw1;", "bKwa;"));
    assert!(w.switch.is_talking(at(GUEST)) && !w.switch.is_talking(at(ATTACKER)) && !w.switch.is_talking(at(MOVED)));

    let within = |method: &str, from: &str, tag: &str, n: usize| {
        let text =
            request(method, uri, from, n, "").replace(&format!("To: <{uri}>"), &format!("To: <{uri}>;tag={tag}"));
        text.replace(&format!("Call-ID: w{n}"), "Call-ID: w1").replace("CSeq: 1", &format!("CSeq: {n}"))
    };
    let message = |text: &str| {
        let text = text.replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n");
        Message::parse_datagram(text.into(), &Limits::default()).expect("a good message")
    };
    let tag = ok.to_tag().expect("a tag").to_owned();
    for (text, belongs) in [
        (within("BYE", GUEST, &tag, 2), true),
        (within("ACK", GUEST, &tag, 2), true),
        (within("BYE", GUEST, "guessed", 2), false),
        (request("BYE", uri, GUEST, 1, ""), false),
        (request("OPTIONS", uri, GUEST, 1, ""), false),
        ("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5080;branch=z9hG4bKnone\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
          Call-ID: w1\r\nCSeq: 1 INVITE\r\n\r\n"
            .to_owned(), false),
    ] {
        assert_eq!(w.switch.is_within_call(&message(&text)), belongs, "{text}");
    }
    // His NAT gives him another port: what is within the call tells.
    w.send_to(1, OUTSIDE, MOVED, &within("INFO", MOVED, &tag, 2));
    assert!(w.switch.is_talking(at(MOVED)) && !w.switch.is_talking(at(GUEST)));
    w.send_to(1, OUTSIDE, MOVED, &within("BYE", MOVED, &tag, 3));
    assert!(!w.switch.is_talking(at(MOVED)), "the call is over");
    let bye = w.take_starting("198.51.100.11:5060", "BYE");
    w.send("198.51.100.11:5060", &reply(&bye, 200, "", "", ""));
    w.assert_empty();
}

#[test]
fn callees_against_the_rules_are_offences_of_guests_and_of_phones_that_have_proven_themselves() {
    let mut w = World::new();
    let phone = "203.0.113.50:5060";
    w.register("user-a", phone);
    for number in ["00492012345", "+492012345", "%2b492012345", "0%30492012345", "1234567890123"] {
        w.invite("user-a", phone, number, &offer(), "");
        let status = w.take_final(phone).status();
        assert_eq!(status, 403, "{number}");
    }
    assert!(w.offences.iter().all(|o| o.offence == "callee"), "{:?}", w.offences);
    assert!(is_banned(&w, phone), "a stolen password is worth five calls abroad, and none of them goes out");
    let uri = "sip:00492012345@pbx.example";
    w.send_to(1, OUTSIDE, ATTACKER, &request("INVITE", uri, ATTACKER, 1, ""));
    let answer = w.take_final(ATTACKER);
    assert_eq!(answer.status(), 404, "a guest cannot tell a rule from nobody");
    w.send_to(1, OUTSIDE, ATTACKER, &ack(&answer, uri, ATTACKER, 1));
    assert_eq!(w.offences.last().map(|o| o.rule.as_str()), Some("callee.denied_prefix"));
    let record = w.cdrs().last().map(|cdr| cdr.rule.clone());
    assert_eq!(record, Some(Some("callee.denied_prefix".to_owned())));
    assert!(w.sent.iter().all(|sent| sent.message.header(HeaderName::Authorization).is_none()));
}
