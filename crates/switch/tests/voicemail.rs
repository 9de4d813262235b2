//! Voicemail: what a blocked caller can leave and what he cannot do, and what a phone hears of it.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use ringfort_media::sound::{Part, Prompt, Spoken, VoiceCodec};
use ringfort_media::types::{self as media, Playback, RecordEnd, Recording, StreamId};
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_switch::config::{SwitchConfig, VoicemailConfig};
use ringfort_switch::io::*;
use ringfort_switch::model::*;
use ringfort_switch::record::EndCause;
use ringfort_switch::voicemail::*;

/// The phones of 101 and 102, and the provider.
const A: &str = "198.51.100.10:5060";
const B: &str = "198.51.100.20:5060";
const P: &str = "203.0.113.1:5060";
const DID: &str = "sip:+442079460000@192.0.2.1:5080";
const CALLER: &str = "02079460009";
const SECOND: Duration = Duration::from_secs(1);
/// 101 and 102.
const FIRST: ExtensionId = ExtensionId(1);
const BOX: ExtensionId = ExtensionId(2);

fn world_with(config: SwitchConfig, change: impl FnOnce(&mut Site)) -> World {
    let mut site = site();
    site.tenants[0].numbers.country = "44".into();
    site.tenants[0].numbers.national_prefix = "0".into();
    let trunk = Trunk {
        health_every: Duration::ZERO,
        blacklists: vec![0],
        blocked: Treatment::Voicemail,
        ..Trunk::new(TrunkId(1), TenantId(1), "one", "sip:203.0.113.1")
    };
    site.trunks.insert(TrunkId(1), trunk);
    site.inbound.push(inbound_to("102"));
    change(&mut site);
    let mut w = World::with(config, site);
    w.pass(Duration::ZERO);
    w.register("user-a", A);
    w.register("user-b", B);
    let ask = BlacklistAsk::Add { list: None, entry: CALLER.into(), hours: None };
    assert!(matches!(w.command(Command::Blacklist { tenant: None, ask }), CommandReply::Blacklist(_)));
    w
}

fn world() -> World {
    world_with(config(), |_| {})
}

fn of_provider(n: u32, method: &str, cseq: u32, to: &str, sdp: &str) -> String {
    let body = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} {DID} SIP/2.0\r\nVia: SIP/2.0/UDP {P};branch=z9hG4bK{method}{n};rport\r\n\
         From: <sip:{CALLER}@203.0.113.1>;tag=f{n}\r\nTo: {to}\r\nCall-ID: far-{n}@provider.example\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:gw@{P}>\r\nMax-Forwards: 70\r\n{body}\r\n{sdp}"
    )
}

/// The blocked caller's INVITE for the number of 102.
fn arrives(w: &mut World, n: u32, sdp: &str) {
    w.send_to(1, OUTSIDE, P, &of_provider(n, "INVITE", 1, &format!("<{DID}>"), sdp));
}

/// He is answered, and acknowledges.
fn is_answered(w: &mut World, n: u32) -> Message {
    let ok = w.take_final(P);
    assert_eq!(ok.status(), 200);
    w.send_to(1, OUTSIDE, P, &of_provider(n, "ACK", 1, &to_of(&ok), ""));
    ok
}

fn to_of(ok: &Message) -> String {
    String::from_utf8_lossy(ok.header(HeaderName::To).expect("To")).into_owned()
}

fn offer() -> String {
    sdp("203.0.113.1", 6000, "8 0 101")
}

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

fn says(playback: &Playback, spoken: Spoken) -> bool {
    playback.sound.parts.iter().any(|part| matches!(part, Part::Prompt(prompt) if *prompt == spoken.prompt()))
}

fn recordings(w: &World) -> Vec<(StreamId, Recording)> {
    let record = |c: &media::Command| match c {
        media::Command::Record { id, recording } => Some((*id, *recording)),
        _ => None,
    };
    w.media.iter().filter_map(record).collect()
}

fn deposits(w: &World) -> Vec<Deposit> {
    let deposit = |ask: &MailAsk| match ask {
        MailAsk::Deposit(deposit) => Some((**deposit).clone()),
        MailAsk::Fetch { .. } | MailAsk::Heard { .. } => None,
    };
    w.mail.iter().filter_map(deposit).collect()
}

fn fetches(w: &World) -> Vec<(CallId, ExtensionId, Option<MessageId>)> {
    let fetch = |ask: &MailAsk| match ask {
        MailAsk::Fetch { call, mailbox, before } => Some((*call, *mailbox, *before)),
        MailAsk::Deposit(_) | MailAsk::Heard { .. } => None,
    };
    w.mail.iter().filter_map(fetch).collect()
}

#[test]
fn a_blocked_caller_is_asked_for_a_message_and_what_he_says_is_recorded_until_he_is_quiet() {
    let mut w = world();
    arrives(&mut w, 1, &offer());
    is_answered(&mut w, 1);
    assert!(says(&plays(&w)[0].1, Spoken::LeaveMessage));
    assert!(matches!(plays(&w)[0].1.sound.parts.last(), Some(Part::Tone(..))), "the beep comes last");
    assert!(recordings(&w).is_empty(), "not before the beep is over");
    played(&mut w);
    let (stream, recording) = recordings(&w)[0];
    assert_eq!((recording.codec, recording.payload_type), (VoiceCodec::Pcma, 8));
    assert_eq!((recording.quiet, recording.longest), (10 * SECOND, 180 * SECOND));
    let deposit = deposits(&w).pop().expect("whose message it is");
    assert_eq!((deposit.record, deposit.mailbox, deposit.tenant), (recording.id, BOX, TenantId(1)));
    assert_eq!(deposit.from.reveal(), "+442079460009");
    w.pass(30 * SECOND);
    assert!(w.nothing_for(P), "he speaks");
    w.media_event(media::Event::Recorded { id: stream, record: recording.id, end: RecordEnd::Quiet });
    let bye = w.take_starting(P, "BYE");
    w.send_to(1, OUTSIDE, P, &reply(&bye, 200, "", "", ""));
    assert!(w.nothing_for(B), "102 heard nothing of it");
    let cdr = w.cdrs()[0].clone();
    assert_eq!((cdr.status, cdr.cause, cdr.rule.as_deref()), (200, Some(EndCause::Normal), Some("blacklist")));
    assert_eq!(cdr.more.voicemail.as_deref(), Some("102"));
    assert!(cdr.reason.contains("a message was left"), "{}", cdr.reason);
    let outcome = DepositOutcome::Kept { message: MessageId(1), length: 7 * SECOND };
    w.mail_news(MailNews::Deposited { tenant: TenantId(1), call: deposit.call, outcome });
    let counters = w.status().counters;
    assert_eq!((counters.voicemail_calls, counters.voicemail_kept, counters.calls_refused), (1, 1, 0));
    w.assert_empty();
}

#[test]
fn a_caller_who_hangs_up_ends_his_message_and_a_packet_path_that_says_nothing_does_not_keep_him() {
    let mut w = world();
    arrives(&mut w, 1, &offer());
    let ok = is_answered(&mut w, 1);
    played(&mut w);
    w.send_to(1, OUTSIDE, P, &of_provider(1, "BYE", 2, &to_of(&ok), ""));
    assert_eq!(w.take_final(P).status(), 200);
    assert_eq!((w.cdrs()[0].cause, w.cdrs()[0].more.voicemail.as_deref()), (Some(EndCause::Normal), Some("102")));
    w.assert_empty();

    arrives(&mut w, 2, &offer());
    is_answered(&mut w, 2);
    played(&mut w);
    w.pass(183 * SECOND);
    w.take_starting(P, "BYE");
}

#[test]
fn nothing_is_recorded_of_a_caller_who_hangs_up_before_the_beep_is_over() {
    let mut w = world();
    arrives(&mut w, 1, &offer());
    let ok = is_answered(&mut w, 1);
    w.send_to(1, OUTSIDE, P, &of_provider(1, "BYE", 2, &to_of(&ok), ""));
    assert!(deposits(&w).is_empty() && recordings(&w).is_empty());
    assert_eq!(w.cdrs()[0].more.voicemail, None);
    w.assert_empty();
}

#[test]
fn a_full_mailbox_is_busy_and_the_record_says_why() {
    for (messages, octets) in [(100, 5), (3, 100 << 20)] {
        let mut w = world();
        w.mail_news(MailNews::Uses(vec![MailboxUse { mailbox: BOX, messages, octets }]));
        arrives(&mut w, 1, &offer());
        w.take_starting(P, "SIP/2.0 180");
        w.pass(5 * SECOND);
        w.take_starting(P, "SIP/2.0 183");
        played(&mut w);
        assert_eq!(w.take_final(P).status(), 486);
        let cdr = w.cdrs()[0].clone();
        assert!(cdr.reason.contains("no voicemail: the mailbox has"), "{}", cdr.reason);
        assert_eq!((w.status().counters.voicemail_full, deposits(&w).len()), (1, 0));
        // Somebody has deleted some.
        w.mail_news(MailNews::Uses(vec![MailboxUse { mailbox: BOX, messages: 2, octets: 5 }]));
        arrives(&mut w, 2, &offer());
        assert_eq!(w.take_final(P).status(), 200);
        assert_eq!(w.status().voicemail_messages, 2);
    }
}

#[test]
fn callers_who_leave_a_message_just_now_count_as_if_they_had() {
    for limits in
        [VoicemailConfig { at_once: 2, ..Default::default() }, VoicemailConfig { messages: 2, ..Default::default() }]
    {
        let mut w = world_with(SwitchConfig { voicemail: limits, ..config() }, |_| {});
        for n in 1..=2 {
            arrives(&mut w, n, &offer());
            assert_eq!(w.take_final(P).status(), 200);
        }
        arrives(&mut w, 3, &offer());
        w.take_starting(P, "SIP/2.0 180");
    }
}

#[test]
fn a_caller_without_sdp_or_a_codec_of_ours_gets_the_plain_status() {
    let mut w = world();
    arrives(&mut w, 1, "");
    assert_eq!(w.take_final(P).status(), 486);
    assert_eq!(w.cdrs()[0].rule.as_deref(), Some("blacklist"));
    w.assert_empty();
    assert_eq!(w.status().counters.voicemail_calls, 0);
}

/// 102 dials the code for its messages and acknowledges; gives its call.
fn dials(w: &mut World, code: &str) -> Established {
    let call_id = w.invite("user-b", B, code, &sdp("198.51.100.20", 4000, "0"), "");
    let ok = w.take_final(B);
    assert_eq!(ok.status(), 200);
    let call = Established::new(B, A, call_id, ok.clone(), ok);
    w.send(B, &call.of_a("ACK", 2, "", "").replace("user-a", "user-b"));
    call
}

#[test]
fn a_phone_hears_its_own_messages_the_newest_first_and_those_that_it_heard_are_marked() {
    let mut w = world();
    dials(&mut w, "*97");
    assert!(fetches(&w).is_empty(), "a pause comes first");
    played(&mut w);
    let (call, mailbox, before) = fetches(&w)[0];
    assert_eq!((mailbox, before), (BOX, None));
    let prompt = |level: i16| Arc::new(Prompt::from_samples(&[level; 8_000], false));
    for (n, message) in [(1, MessageId(9)), (2, MessageId(4))] {
        w.mail_news(MailNews::Fetched { call, message: Some((message, prompt(n))) });
        let parts = plays(&w).pop().expect("a message").1.sound.parts.clone();
        assert!(
            matches!(&parts[..], [Part::Tone(..), Part::Silence(_), Part::Prompt(p), Part::Silence(_)] if *p == prompt(n))
        );
        assert_eq!(fetches(&w).len(), n as usize, "not before it is over");
        played(&mut w);
        assert!(w.mail.contains(&MailAsk::Heard { message }));
        assert_eq!(fetches(&w)[n as usize], (call, BOX, Some(message)));
    }
    w.mail_news(MailNews::Fetched { call, message: None });
    let bye = w.take_starting(B, "BYE");
    w.send(B, &reply(&bye, 200, "", "", ""));
    let cdr = w.cdrs()[0].clone();
    assert_eq!((cdr.status, cdr.cause, cdr.rule.as_deref()), (200, Some(EndCause::Normal), Some("feature.voicemail")));
    assert_eq!(w.status().counters.voicemail_played, 2);
    w.assert_empty();
    // What comes late is for nobody.
    w.mail_news(MailNews::Fetched { call, message: Some((MessageId(1), prompt(1))) });
    assert!(w.nothing_for(B));
}

#[test]
fn a_phone_without_messages_is_told_so_and_one_that_gets_no_answer_is_hung_up() {
    let mut w = world();
    dials(&mut w, "*97");
    played(&mut w);
    let (call, ..) = fetches(&w)[0];
    w.mail_news(MailNews::Fetched { call, message: None });
    assert!(says(&plays(&w).pop().expect("a prompt").1, Spoken::NoMessages));
    played(&mut w);
    let bye = w.take_starting(B, "BYE");
    w.send(B, &reply(&bye, 200, "", "", ""));
    w.assert_empty();
    assert!(!w.mail.iter().any(|ask| matches!(ask, MailAsk::Heard { .. })));

    dials(&mut w, "*97");
    played(&mut w);
    w.pass(3 * SECOND);
    w.take_starting(B, "BYE");
}

#[test]
fn a_message_that_is_broken_off_is_not_heard() {
    let mut w = world();
    let call = dials(&mut w, "*97");
    played(&mut w);
    let (id, ..) = fetches(&w)[0];
    let prompt = Arc::new(Prompt::from_samples(&[1; 8_000], false));
    w.mail_news(MailNews::Fetched { call: id, message: Some((MessageId(9), prompt)) });
    w.send(B, &call.of_a("BYE", 3, "", "").replace("user-a", "user-b"));
    assert_eq!(w.take_final(B).status(), 200);
    assert!(!w.mail.iter().any(|ask| matches!(ask, MailAsk::Heard { .. })));
    w.assert_empty();
}

#[test]
fn neither_a_trunk_nor_a_stranger_reaches_a_mailbox_dom_4() {
    let mut w = world();
    for (n, at) in [(1, P), (2, "203.0.113.99:5060")] {
        w.send_to(
            1,
            OUTSIDE,
            at,
            &format!(
                "INVITE sip:*97@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKx{n};rport\r\n\
                 From: <sip:x@203.0.113.1>;tag=x{n}\r\nTo: <sip:x@{DOMAIN}>\r\nCall-ID: x-{n}\r\nCSeq: 1 INVITE\r\n\
                 Contact: <sip:x@{at}>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n\r\n{}",
                offer()
            ),
        );
    }
    w.pass(SECOND);
    assert!(fetches(&w).is_empty() && plays(&w).is_empty());
    // Nor does an extension that another gateway registers with.
    let mut w = world_with(config(), |site| site.extensions.get_mut(&BOX).expect("102").calling.public = true);
    w.invite("user-b", B, "*97", &sdp("198.51.100.20", 4000, "0"), "");
    assert_eq!(w.take_final(B).status(), 404);
}

#[test]
fn the_code_is_the_tenants_and_a_route_that_names_it_goes_first() {
    let explain = |w: &mut World, to: &str| {
        let ask = Command::RouteExplain { from: "101".into(), to: to.into(), at: None };
        let CommandReply::Route(answer) = w.command(ask) else { panic!("a route is a route") };
        answer.outcome
    };
    let mut w = world();
    assert_eq!(explain(&mut w, "*97"), "plays the messages of extension 101");
    assert!(explain(&mut w, "*971").contains("refused"));
    let mut w = world_with(config(), |site| site.tenants[0].numbers.voicemail_code = "*1".into());
    assert!(explain(&mut w, "*97").contains("refused"));
    assert_eq!(explain(&mut w, "*1"), "plays the messages of extension 101");
    let mut w = world_with(config(), |site| site.tenants[0].numbers.voicemail_code = String::new());
    assert!(explain(&mut w, "*97").contains("refused"));
    let named = vec![Pattern::Exact("*97".into())];
    let mut w = world_with(config(), |site| site.outbound.push(route("theirs", named, vec![TrunkId(1)])));
    assert_eq!(explain(&mut w, "*97"), "leaves by the route theirs");
    assert_ne!(FIRST, BOX);
}
