//! Blacklists on calls (BLACK-3, BLACK-4), and with them what the system itself says in a call: to whom, when, and to
//! which address (CALL-5).

mod common;

use std::time::Duration;

use common::*;
use ringfort_media::sound::{Part, VoiceCodec};
use ringfort_media::types::{self as media, Playback, StreamId};
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_switch::identity::Stir;
use ringfort_switch::io::*;
use ringfort_switch::model::*;
use ringfort_switch::record::{EndCause, JournalRecord, Listed};

/// The phones of 101 and 102, and the provider.
const A: &str = "198.51.100.10:5060";
const B: &str = "198.51.100.20:5060";
const P: &str = "203.0.113.1:5060";
const TRUNK: TrunkId = TrunkId(1);
const DID: &str = "sip:+442079460000@192.0.2.1:5080";
const SECOND: Duration = Duration::from_secs(1);

fn site_with(change: impl FnOnce(&mut Trunk)) -> Site {
    let mut site = site();
    site.tenants[0].numbers = NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() };
    site.tenants[0].numbers.blacklists.names.insert(1, "salesmen".into());
    let mut trunk = Trunk {
        health_every: Duration::ZERO,
        blacklists: vec![0, 1],
        ..Trunk::new(TRUNK, TenantId(1), "one", "sip:203.0.113.1")
    };
    change(&mut trunk);
    site.trunks.insert(TRUNK, trunk);
    site.inbound.push(InboundRoute {
        tenant: TenantId(1),
        name: "main".into(),
        trunk: Some(TRUNK),
        called: Pattern::Any,
        identity: Vec::new(),
        hours: Vec::new(),
        to: Destination::Extension("102".into()),
    });
    site
}

fn world_with(change: impl FnOnce(&mut Trunk)) -> World {
    world_of(config(), site_with(change))
}

fn world_of(config: ringfort_switch::config::SwitchConfig, site: Site) -> World {
    let mut w = World::with(config, site);
    w.pass(Duration::ZERO);
    w.register("user-a", A);
    w.register("user-b", B);
    w
}

fn ask(w: &mut World, ask: BlacklistAsk) -> BlacklistReply {
    match w.command(Command::Blacklist { tenant: None, ask }) {
        CommandReply::Blacklist(reply) => reply,
        other => panic!("expected a reply about blacklists, got {other:?}"),
    }
}

fn add(w: &mut World, list: &str, entry: &str, hours: Option<u32>) -> usize {
    ask(w, BlacklistAsk::Add { list: Some(list.into()), entry: entry.into(), hours }).changed
}

fn hits(w: &mut World, number: &str) -> Vec<u32> {
    ask(w, BlacklistAsk::Check { number: number.into() }).hits.iter().map(|hit| hit.list).collect()
}

/// The provider's INVITE for the number of 102.
fn arrives(w: &mut World, n: u32, from: &str, more: &str, sdp: &str) {
    let body = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    w.send_to(
        1,
        OUTSIDE,
        P,
        &format!(
            "INVITE {DID} SIP/2.0\r\nVia: SIP/2.0/UDP {P};branch=z9hG4bKp{n};rport\r\nFrom: <sip:{from}@203.0.113.1>;tag=f{n}\r\n\
             To: <{DID}>\r\nCall-ID: far-{n}@provider.example\r\nCSeq: 1 INVITE\r\nContact: <sip:gw@{P}>\r\n\
             Max-Forwards: 70\r\n{more}{body}\r\n{sdp}"
        ),
    );
}

fn cancels(w: &mut World, n: u32, from: &str) {
    w.send_to(
        1,
        OUTSIDE,
        P,
        &format!(
            "CANCEL {DID} SIP/2.0\r\nVia: SIP/2.0/UDP {P};branch=z9hG4bKp{n};rport\r\nFrom: <sip:{from}@203.0.113.1>;tag=f{n}\r\n\
             To: <{DID}>\r\nCall-ID: far-{n}@provider.example\r\nCSeq: 1 CANCEL\r\nMax-Forwards: 70\r\n\r\n"
        ),
    );
}

/// The provider acknowledges a refusal.
fn acks(w: &mut World, n: u32, from: &str, refusal: &Message) {
    let to = String::from_utf8_lossy(refusal.header(HeaderName::To).expect("To")).into_owned();
    w.send_to(
        1,
        OUTSIDE,
        P,
        &format!(
            "ACK {DID} SIP/2.0\r\nVia: SIP/2.0/UDP {P};branch=z9hG4bKp{n};rport\r\nFrom: <sip:{from}@203.0.113.1>;tag=f{n}\r\n\
             To: {to}\r\nCall-ID: far-{n}@provider.example\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\n\r\n"
        ),
    );
}

/// What is played, the latest last.
fn plays(w: &World) -> Vec<(StreamId, Playback)> {
    let play = |c: &media::Command| match c {
        media::Command::Play { id, playback } => Some((*id, (**playback).clone())),
        _ => None,
    };
    w.media.iter().filter_map(play).collect()
}

fn played(w: &mut World) {
    let (id, playback) = plays(w).pop().expect("something was played");
    w.media_event(media::Event::Played { id, play: playback.id });
}

/// The settings that the packet path has of a stream.
fn settings(w: &World, stream: StreamId) -> media::StreamConfig {
    let config = |c: &media::Command| match c {
        media::Command::Configure { id, config, .. } if *id == stream => Some((**config).clone()),
        _ => None,
    };
    w.media.iter().filter_map(config).next_back().expect("it was configured")
}

fn is_prompt(playback: &Playback) -> bool {
    matches!(playback.sound.parts[..], [Part::Prompt(_)])
}

fn offer() -> String {
    sdp("203.0.113.1", 6000, "0 8 101")
}

#[test]
fn a_blocked_caller_hears_ringing_for_five_seconds_then_busy_for_five_and_no_phone_rings() {
    let mut w = world_with(|_| {});
    assert_eq!(add(&mut w, "salesmen", "020 7946 0009", None), 1);
    arrives(&mut w, 1, "02079460009", "", &offer());
    let ringing = w.take_starting(P, "SIP/2.0 180");
    assert!(ringing.body().is_empty());
    w.pass(4 * SECOND);
    assert!(w.nothing_for(P) && plays(&w).is_empty());
    w.pass(SECOND);
    let early = w.take_starting(P, "SIP/2.0 183");
    assert!(body_text(&early).contains("m=audio") && body_text(&early).contains("RTP/AVP 0\r\n"));
    let (_, busy) = plays(&w).pop().expect("busy is played at once: the SDP names the trunk's own address");
    assert_eq!((busy.codec, busy.payload_type), (VoiceCodec::Pcmu, 0));
    assert_eq!(busy.sound.length(), Some(5 * SECOND));
    w.pass(5 * SECOND);
    played(&mut w);
    let end = w.take_final(P);
    assert_eq!(end.status(), 486);
    acks(&mut w, 1, "02079460009", &end);
    assert!(w.nothing_for(B), "102 heard nothing of it");
    let cdr = w.cdrs()[0].clone();
    assert_eq!((cdr.status, cdr.cause, cdr.rule.as_deref()), (486, Some(EndCause::Refused), Some("blacklist")));
    assert!(cdr.reason.contains("blacklist 1 (salesmen)"), "{}", cdr.reason);
    assert!(!cdr.reason.contains("02079460009") && !cdr.reason.contains("+442079460009"), "{}", cdr.reason);
    let status = w.status();
    assert_eq!((status.counters.calls_blacklisted, status.counters.announcements), (1, 1));
    assert_eq!(status.counters.calls_refused, 1);
    w.assert_empty();
    assert_eq!(w.status().announcements, 0);
}

#[test]
fn the_packet_path_that_says_nothing_does_not_keep_a_blocked_caller() {
    let mut w = world_with(|_| {});
    add(&mut w, "0", "+442079460009", None);
    arrives(&mut w, 1, "02079460009", "", &offer());
    w.pass(13 * SECOND);
    assert_eq!(w.take_final(P).status(), 486);
    w.assert_empty();
}

#[test]
fn each_treatment_has_its_status() {
    for (treatment, status) in [(Treatment::Reject, 603), (Treatment::Reject608, 608)] {
        let mut w = world_with(|trunk| trunk.blocked = treatment);
        add(&mut w, "0", "+4420*", None);
        arrives(&mut w, 1, "02079460009", "", &offer());
        assert_eq!(w.take_final(P).status(), status);
        assert_eq!(w.cdrs()[0].rule.as_deref(), Some("blacklist"));
        w.assert_empty();
    }
    let mut w = world_with(|trunk| trunk.blocked = Treatment::Prompt);
    add(&mut w, "0", "+44[1-3]X.", None);
    arrives(&mut w, 1, "02079460009", "", &offer());
    assert!(!body_text(&w.take_starting(P, "SIP/2.0 183")).is_empty());
    assert!(is_prompt(&plays(&w)[0].1));
    played(&mut w);
    assert_eq!(w.take_final(P).status(), 603);
    w.assert_empty();
}

#[test]
fn a_caller_is_stopped_by_his_number_or_by_the_one_behind_it_unless_he_is_allowed() {
    let asserted = "P-Asserted-Identity: <sip:+442079460077@203.0.113.1>\r\n";
    let mut w = world_with(|trunk| trunk.blocked = Treatment::Reject);
    for (list, entry) in [("0", "+442079460077"), ("1", "+442079460088"), ("1", "anonymous")] {
        add(&mut w, list, entry, None);
    }
    let mut n = 0;
    let mut refused = |w: &mut World, from: &str, more: &str| {
        n += 1;
        arrives(w, n, from, more, &offer());
        let rings = w.try_take(B).is_some();
        if rings {
            cancels(w, n, from);
        }
        !rings
    };
    assert!(refused(&mut w, "02079460009", asserted), "by P-Asserted-Identity");
    assert!(refused(&mut w, "02079460088", asserted), "by From");
    assert!(refused(&mut w, "02079460088", "P-Asserted-Identity: <sip:+442079460001@203.0.113.1>\r\n"));
    assert!(refused(&mut w, "anonymous", ""));
    assert!(!refused(&mut w, "02079460009", ""));
    assert_eq!(
        ask(&mut w, BlacklistAsk::Add { list: Some("allow".into()), entry: "+442079460077".into(), hours: None })
            .changed,
        1
    );
    assert!(!refused(&mut w, "02079460088", asserted), "who is believed to be an allowed caller is let in");
    assert!(refused(&mut w, "02079460088", ""));
}

#[test]
fn russias_form_fits_whatever_a_provider_writes_black_5() {
    let mut site = site_with(|trunk| {
        trunk.blocked = Treatment::Reject;
        trunk.blacklist_form = Some(NumberForm::Russia);
    });
    site.tenants[0].numbers.country = "7".into();
    site.tenants[0].numbers.national_prefix = "8".into();
    site.tenants[0].numbers.blacklists.form = NumberForm::Russia;
    let mut w = world_of(config(), site);
    assert_eq!(add(&mut w, "0", "+7 916 123-45-67", None), 1);
    assert_eq!(hits(&mut w, "9161234567"), [0]);
    let written =
        ["89161234567", "79161234567", "+79161234567", "9161234567", "+7%20(916)%20123-45-67", "8-916-123-45-67"];
    for (n, from) in written.into_iter().enumerate() {
        arrives(&mut w, n as u32 + 1, from, "", &offer());
        assert_eq!(w.take_final(P).status(), 603, "{from}");
    }
    arrives(&mut w, 99, "89161234568", "", &offer());
    assert!(w.try_take(B).is_some());
}

#[test]
fn a_number_that_no_caller_has_in_full_is_not_taken_for_listed() {
    let mut w = world_of(config(), {
        let mut site = site_with(|_| {});
        site.tenants[0].numbers = NumberPlan::default();
        site
    });
    let reply = w.command(Command::Blacklist {
        tenant: None,
        ask: BlacklistAsk::Add { list: None, entry: "02079460009".into(), hours: None },
    });
    let CommandReply::Refused { error } = reply else { panic!("{reply:?}") };
    assert!(error.contains("with + and the country code"), "{error}");
    for fine in ["+442079460009", "101", "anonymous", "0207*"] {
        assert_eq!(add(&mut w, "0", fine, None), 1, "{fine}");
    }
    assert_eq!(w.status().blacklist_entries, 4);
    // By a phone: it hears that nothing was done.
    w.invite("user-a", A, "*30102079460009", &offer(), "");
    assert_eq!(w.status().blacklist_entries, 4);
    w.pass(10 * SECOND);
}

#[test]
fn entries_that_have_run_out_give_their_memory_back() {
    let mut w = world_with(|_| {});
    for n in 0..50 {
        add(&mut w, "0", &format!("+4420794600{n:02}"), Some(1));
    }
    assert_eq!(w.status().blacklist_entries, 50);
    w.pass(3 * 3600 * SECOND);
    assert_eq!(w.status().blacklist_entries, 0);
}

#[test]
fn an_entry_leaves_to_the_second_and_is_gone_when_it_is_met() {
    let mut w = world_with(|trunk| trunk.blocked = Treatment::Reject);
    add(&mut w, "0", "+442079460009", Some(2));
    w.pass(7199 * SECOND);
    w.register("user-b", B);
    arrives(&mut w, 1, "02079460009", "", &offer());
    assert_eq!(w.take_final(P).status(), 603);
    assert_eq!(w.status().blacklist_entries, 1);
    w.pass(SECOND);
    w.register("user-b", B);
    arrives(&mut w, 2, "02079460009", "", &offer());
    assert!(w.try_take(B).is_some(), "102 rings");
    assert_eq!(w.status().blacklist_entries, 0);
}

#[test]
fn lists_that_the_trunk_does_not_name_stop_nobody() {
    let mut w = world_with(|trunk| trunk.blacklists = vec![1]);
    add(&mut w, "0", "+442079460009", None);
    add(&mut w, "7", "+442079460009", None);
    arrives(&mut w, 1, "02079460009", "", &offer());
    assert!(w.try_take(B).is_some());
}

#[test]
fn nothing_goes_to_an_address_that_an_unproven_trunk_names_before_rtp_has_come_from_there() {
    let mut w = world_with(|trunk| trunk.blocked = Treatment::Prompt);
    add(&mut w, "0", "+442079460009", None);
    arrives(&mut w, 1, "02079460009", "", &sdp("198.51.100.99", 6000, "0"));
    w.take_starting(P, "SIP/2.0 183");
    assert!(plays(&w).is_empty());
    w.pass(4 * SECOND);
    assert!(plays(&w).is_empty());
    w.learned();
    let (stream, playback) = plays(&w).pop().expect("his own RTP has come");
    assert!(is_prompt(&playback) && !settings(&w, stream).send_unproven);
    played(&mut w);
    assert_eq!(w.take_final(P).status(), 603);

    arrives(&mut w, 2, "02079460009", "", &sdp("198.51.100.99", 6000, "0"));
    w.pass(5 * SECOND);
    assert_eq!(plays(&w).len(), 1, "nobody came: nothing is played");
    assert_eq!(w.take_final(P).status(), 603);
    w.assert_empty();
}

#[test]
fn a_blocked_caller_may_give_up_at_any_time() {
    for after in [1, 7] {
        let mut w = world_with(|_| {});
        add(&mut w, "0", "+442079460009", None);
        arrives(&mut w, 1, "02079460009", "", &offer());
        w.pass(after * SECOND);
        cancels(&mut w, 1, "02079460009");
        assert_eq!(w.take_starting(P, "SIP/2.0 487").status(), 487);
        let cdr = w.cdrs()[0].clone();
        assert_eq!((cdr.status, cdr.cause, cdr.rule.as_deref()), (487, Some(EndCause::Cancelled), Some("blacklist")));
        w.assert_empty();
    }
}

#[test]
fn a_caller_without_a_codec_of_ours_or_without_sdp_hears_ringing_and_then_the_refusal() {
    let opus = "v=0\r\no=- 1 1 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 96\r\n\
                a=rtpmap:96 opus/48000/2\r\n";
    for sdp in [opus, ""] {
        let mut w = world_with(|_| {});
        add(&mut w, "0", "+442079460009", None);
        arrives(&mut w, 1, "02079460009", "", sdp);
        w.take_starting(P, "SIP/2.0 180");
        w.pass(5 * SECOND);
        assert_eq!(w.take_final(P).status(), 486);
        assert!(plays(&w).is_empty());
        w.assert_empty();
    }
}

#[test]
fn no_more_announcements_run_at_once_than_are_allowed_and_the_rest_is_refused_plainly() {
    let mut config = config();
    config.calls.announcements_per_source = 2;
    let mut w = world_of(config, site_with(|_| {}));
    add(&mut w, "0", "+442079460009", None);
    for n in 1..=2 {
        arrives(&mut w, n, "02079460009", "", &offer());
        w.take_starting(P, "SIP/2.0 180");
    }
    arrives(&mut w, 3, "02079460009", "", &offer());
    assert_eq!(w.take_final(P).status(), 486);
    assert_eq!(w.status().announcements, 2);
    assert_eq!(w.status().counters.announcements_full, 1);
    assert!(w.cdrs()[0].reason.contains("not announced: too many"), "{}", w.cdrs()[0].reason);
    w.pass(13 * SECOND);
    w.assert_empty();
    arrives(&mut w, 4, "02079460009", "", &offer());
    w.take_starting(P, "SIP/2.0 180");
}

/// 101 dials a code; gives our 200.
fn dials(w: &mut World, code: &str, sdp: &str) -> Established {
    let call_id = w.invite("user-a", A, code, sdp, "");
    let ok = w.take_final(A);
    assert_eq!(ok.status(), 200, "{code}");
    Established::new(A, B, call_id, ok.clone(), ok)
}

fn changes(w: &World) -> Vec<(Option<u32>, String, Listed)> {
    let all = w.journal.iter().filter_map(|record| match record {
        JournalRecord::Blacklist(changes) => Some(changes.clone()),
        _ => None,
    });
    all.flatten().map(|c| (c.list, c.entry.reveal().clone(), c.listed)).collect()
}

#[test]
fn a_phone_lists_a_number_hears_the_beep_and_is_hung_up() {
    let mut w = world_with(|_| {});
    let call = dials(&mut w, "*30102079460009", &sdp("198.51.100.10", 4000, "8 0 101"));
    assert!(plays(&w).is_empty(), "not before the ACK");
    let calls = w.command(Command::Calls { tenant: None });
    let CommandReply::Calls { items } = calls else { panic!("calls are calls") };
    assert_eq!((items.len(), items[0].state.as_str(), items[0].legs), (1, "announcing", 1));
    w.send(A, &call.of_a("ACK", 2, "", ""));
    let (_, beep) = plays(&w).pop().expect("played to a phone of ours at once");
    assert_eq!(beep.codec, VoiceCodec::Pcma);
    assert!(matches!(beep.sound.parts[..], [Part::Silence(_), Part::Tone(..), Part::Silence(_)]));
    played(&mut w);
    let bye = w.take_starting(A, "BYE");
    w.send(A, &reply(&bye, 200, "", "", ""));
    assert_eq!(changes(&w), [(Some(1), "+442079460009".to_owned(), Listed::ForEver)]);
    assert_eq!(hits(&mut w, "020 7946 0009"), [1]);
    let cdr = w.cdrs()[0].clone();
    assert_eq!((cdr.status, cdr.cause, cdr.rule.as_deref()), (200, Some(EndCause::Normal), Some("feature.blacklist")));
    assert!(cdr.answered.is_some() && cdr.from_extension.is_some());
    w.assert_empty();
    assert_eq!(w.status().counters.calls_refused, 0);
}

#[test]
fn codes_delete_and_add_to_three_lists_and_a_wrong_number_has_a_tone_of_its_own() {
    let mut w = world_with(|_| {});
    let sdp = sdp("198.51.100.10", 4000, "0");
    let dial = |w: &mut World, code: &str| {
        let call = dials(w, code, &sdp);
        w.send(A, &call.of_a("ACK", 2, "", ""));
        let beeps = |p: &Playback| p.sound.parts.iter().filter(|part| matches!(part, Part::Tone(..))).count();
        let heard = beeps(&plays(w).pop().expect("a tone").1);
        played(w);
        let bye = w.take_starting(A, "BYE");
        w.send(A, &reply(&bye, 200, "", "", ""));
        heard
    };
    assert_eq!(dial(&mut w, "*4002079460009"), 1);
    assert_eq!(hits(&mut w, "+442079460009"), [1, 2, 3]);
    assert_eq!(dial(&mut w, "*31202079460009"), 1);
    assert_eq!(hits(&mut w, "+442079460009"), [1, 3]);
    for wrong in ["*30", "*301", "*30xyz", "*40"] {
        assert_eq!(dial(&mut w, wrong), 2, "{wrong}");
    }
    assert_eq!(changes(&w).len(), 4);
    w.assert_empty();
}

#[test]
fn what_cannot_be_heard_is_not_done() {
    let mut w = world_with(|_| {});
    w.invite("user-a", A, "*30102079460009", "", "");
    assert_eq!(w.take_final(A).status(), 488);
    assert!(changes(&w).is_empty() && hits(&mut w, "+442079460009").is_empty());
    w.assert_empty();
}

#[test]
fn a_lost_ack_and_an_early_bye_end_the_call() {
    let sdp = sdp("198.51.100.10", 4000, "0");
    let mut w = world_with(|_| {});
    dials(&mut w, "*30102079460009", &sdp);
    w.pass(33 * SECOND);
    w.take_starting(A, "BYE");
    assert!(plays(&w).is_empty());
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::PeerGone));
    w.sent.clear();
    w.assert_empty();

    let mut w = world_with(|_| {});
    let call = dials(&mut w, "*30102079460009", &sdp);
    w.send(A, &call.of_a("ACK", 2, "", ""));
    w.send(A, &call.of_a("BYE", 3, "", ""));
    assert_eq!(w.take_final(A).status(), 200);
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::Normal));
    w.assert_empty();
}

#[test]
fn hold_is_answered_by_the_system_itself() {
    let mut w = world_with(|_| {});
    let call = dials(&mut w, "*30102079460009", &sdp("198.51.100.10", 4000, "0"));
    w.send(A, &call.of_a("ACK", 2, "", ""));
    let stream = plays(&w)[0].0;
    assert!(settings(&w, stream).sends);
    w.send(A, &call.of_a("INVITE", 3, "", &sdp_with("198.51.100.10", 4000, "0", "a=sendonly\r\n")));
    let held = w.take_final(A);
    assert_eq!(held.status(), 200);
    assert!(body_text(&held).contains("a=recvonly"), "{}", body_text(&held));
    assert!(!settings(&w, stream).sends);
    w.send(A, &call.of_a("ACK", 3, "", ""));
    w.send(A, &call.of_a("INVITE", 4, "", ""));
    let asked = w.take_final(A);
    assert!(asked.status() == 200 && body_text(&asked).contains("m=audio"));
    w.send(A, &call.of_a("ACK", 4, "", &sdp("198.51.100.10", 4000, "0")));
    assert!(settings(&w, stream).sends);
    played(&mut w);
    let bye = w.take_starting(A, "BYE");
    w.send(A, &reply(&bye, 200, "", "", ""));
    w.assert_empty();
}

#[test]
fn an_operator_can_hang_up_an_announcement() {
    let mut w = world_with(|_| {});
    let call = dials(&mut w, "*30102079460009", &sdp("198.51.100.10", 4000, "0"));
    w.send(A, &call.of_a("ACK", 2, "", ""));
    let CommandReply::Calls { items } = w.command(Command::Calls { tenant: None }) else { panic!("calls are calls") };
    w.command(Command::Hangup { call: items[0].call });
    let bye = w.take_starting(A, "BYE");
    w.send(A, &reply(&bye, 200, "", "", ""));
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::Operator));
    w.assert_empty();
}

#[test]
fn neither_a_trunk_nor_a_stranger_reaches_a_code() {
    let mut w = world_with(|_| {});
    for (n, at) in [(1, P), (2, "203.0.113.99:5060")] {
        w.send_to(
            1,
            OUTSIDE,
            at,
            &format!(
                "INVITE sip:*30102079460009@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKx{n};rport\r\n\
                 From: <sip:x@203.0.113.1>;tag=x{n}\r\nTo: <sip:x@{DOMAIN}>\r\nCall-ID: x-{n}\r\nCSeq: 1 INVITE\r\n\
                 Contact: <sip:x@{at}>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n\r\n{}",
                offer()
            ),
        );
    }
    assert!(changes(&w).is_empty());
    assert_eq!(w.status().counters.announcements, 0);
}

#[test]
fn an_extension_with_the_number_of_a_code_keeps_it_and_route_explain_shows_codes() {
    let mut site = site_with(|_| {});
    site.extensions.get_mut(&ExtensionId(3)).expect("103").number = "*301".into();
    site.outbound.push(route(
        "clir",
        vec![Pattern::Prefix("*31#".into()), Pattern::Prefix("*319".into()), Pattern::Any],
        vec![TRUNK],
    ));
    let mut w = world_of(config(), site);
    let mut explain = |to: &str| {
        let ask = Command::RouteExplain { from: "101".into(), to: to.into(), at: None };
        let CommandReply::Route(answer) = w.command(ask) else { panic!("a route is a route") };
        answer.outcome
    };
    assert_eq!(explain("*301"), "rings extension *301");
    assert_eq!(explain("*30102079460009"), "is a code that puts 02079460009 on blacklist 1");
    assert_eq!(explain("*31002079460009"), "is a code that takes 02079460009 off blacklist 0");
    assert_eq!(explain("*31902079"), "leaves by the route clir", "a route that names the code goes first");
}

#[test]
fn an_import_is_taken_as_a_whole_or_not_at_all() {
    let mut w = world_with(|_| {});
    let row = |entry: &str| BlacklistRow { list: Some(2), entry: entry.into(), expires: Some(4_000_000_000) };
    let rows = vec![row("02079460001"), row("+4930*"), row("")];
    let refused = ask(&mut w, BlacklistAsk::Put { rows: rows.clone(), dry_run: false });
    let places: Vec<usize> = refused.wrong.iter().map(|wrong| wrong.row).collect();
    assert_eq!((refused.changed, places), (0, vec![2]));
    assert_eq!(w.status().blacklist_entries, 0);
    let rows = rows[..2].to_vec();
    assert!(ask(&mut w, BlacklistAsk::Put { rows: rows.clone(), dry_run: true }).wrong.is_empty());
    assert_eq!(w.status().blacklist_entries, 0, "a dry run changes nothing");
    assert_eq!(ask(&mut w, BlacklistAsk::Put { rows: rows.clone(), dry_run: false }).changed, 2);
    assert_eq!(ask(&mut w, BlacklistAsk::Put { rows, dry_run: false }).changed, 0, "twice is once");
    assert_eq!(hits(&mut w, "+442079460001"), [2]);
    assert_eq!(hits(&mut w, "+49301234567"), [2]);
    let journal: Vec<JournalRecord> =
        w.journal.iter().filter(|r| matches!(r, JournalRecord::Blacklist(_))).cloned().collect();
    let mut again = world_with(|_| {});
    let kept = journal.into_iter().flat_map(|record| match record {
        JournalRecord::Blacklist(changes) => changes,
        _ => Vec::new(),
    });
    again.switch.restore_blacklists(kept);
    assert_eq!(again.status().blacklist_entries, 2);
    assert_eq!(hits(&mut again, "+442079460001"), [2]);
}

#[test]
fn what_an_operator_asks_wrongly_is_refused_in_words() {
    let mut w = world_with(|_| {});
    let mut error = |tenant: Option<&str>, list: &str, entry: &str| {
        let ask = BlacklistAsk::Add { list: Some(list.into()), entry: entry.into(), hours: None };
        match w.command(Command::Blacklist { tenant: tenant.map(Into::into), ask }) {
            CommandReply::Refused { error } => error,
            other => panic!("expected a refusal, got {other:?}"),
        }
    };
    assert!(error(None, "nobody", "+442079460009").contains("(names: 1=salesmen)"));
    assert!(error(None, "0", "").contains("expected a number"));
    assert!(error(None, "0", "+44").contains("expected + and 7 to 15 digits"));
    assert!(error(Some("other"), "0", "+442079460009").contains("one of the tenants Acme"));
}

#[test]
fn a_608_says_where_to_complain_where_a_card_is_served_rfc_8688() {
    for card_url in [None, Some("https://pbx.example/rejected/")] {
        let mut w = world_with(|trunk| trunk.blocked = Treatment::Reject608);
        w.switch.set_stir(Stir { card_url: card_url.map(str::to_owned), ..Stir::default() });
        add(&mut w, "0", "+442079460009", None);
        arrives(&mut w, 1, "02079460009", "", &offer());
        let refusal = w.take_final(P);
        assert_eq!(refusal.status(), 608);
        let told = refusal.header_str(HeaderName::CallInfo).map(|value| value.into_owned());
        match card_url {
            None => assert_eq!(told, None),
            Some(_) => {
                let told = told.expect("a card");
                let url = ringfort_stir::rejection::card_url(&told).expect("it is one").to_owned();
                let second: u64 =
                    url.strip_prefix("https://pbx.example/rejected/").expect(&url).parse().expect("a second");
                assert!((1_790_000_000..1_790_000_060).contains(&second), "{second}");
            }
        }
    }
}
