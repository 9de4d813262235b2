//! Random calls and random descriptions: what must hold whatever peers say and in whatever order things happen.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_media::bridge::{AnswerIn, LegIx, LegPolicy, SrtpPolicy};
use ringfort_media::codec::CodecAllowList;
use ringfort_media::ports::{PortPool, PortPoolConfig};
use ringfort_media::sdp::Sdp;

use super::support::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";

fn pick<'a, T: ?Sized>(rng: &mut ChaCha8Rng, from: &[&'a T]) -> &'a T {
    from[rng.random_range(0..from.len())]
}

fn random_policy(rng: &mut ChaCha8Rng) -> LegPolicy {
    let lists: [&[&str]; 4] = [&[], &["PCMA", "PCMU", "VP8"], &["-G729"], &["opus", "PCMA"]];
    let srtp = match rng.random_range(0..10) {
        0 => SrtpPolicy::Off,
        1 => SrtpPolicy::Require,
        _ => SrtpPolicy::Offer,
    };
    let codecs = CodecAllowList::parse(pick(rng, &lists)).unwrap();
    LegPolicy { srtp, secure_signalling: srtp == SrtpPolicy::Require || rng.random(), codecs, ..plain() }
}

/// Attributes that peers write, most of which must not cross.
fn random_attributes(rng: &mut ChaCha8Rng, phone: u8, out: &mut String) {
    let lines = [
        format!("a=rtcp:4001 IN IP4 {PHONE}{phone}"),
        format!("a=candidate:1 1 UDP 1 {PHONE}{phone} 4000 typ host"),
        format!("a=ssrc:1 cname:user{phone}@{PHONE}{phone}"),
        format!("a=fmtp:8 secret.host.example;x={PHONE}{phone}"),
        format!("a=fmtp:96 x-secret=1;useinbandfec=1;s={PHONE}{phone}"),
        format!("a=imageattr:97 send [x={PHONE}{phone}]"),
        format!("b=AS:{}", rng.random_range(0..4096)),
        "a=rtcp-mux".into(),
        "a=ptime:20".into(),
        "a=rtcp-fb:* nack pli".into(),
        "a=tool:user secret".into(),
        "a=\u{fe}secret".into(),
        format!("i={PHONE}{phone}"),
    ];
    for line in lines {
        if rng.random_bool(0.3) {
            out.push_str(&line);
            out.push_str("\r\n");
        }
    }
    out.push_str(pick(
        rng,
        &["", "", "a=sendrecv\r\n", "a=sendonly\r\n", "a=recvonly\r\n", "a=inactive\r\n", "c=IN IP4 0.0.0.0\r\n"],
    ));
}

fn random_offer(rng: &mut ChaCha8Rng, phone: u8, lines: usize) -> Vec<u8> {
    let mut text = String::from_utf8(sdp(phone, rng.random_range(1..9), "")).unwrap();
    for _ in 0..lines {
        let mut kind = pick(rng, &["audio", "video", "image", "application", "text", "mystery"]);
        let mut proto =
            pick(rng, &["RTP/AVP", "RTP/AVP", "RTP/SAVP", "RTP/AVPF", "RTP/SAVPF", "udptl", "UDP/TLS/RTP/SAVPF"]);
        let mut formats = pick(rng, &["8", "8 0 101", "96", "96 101", "18", "97 98", "9 13 99", "t38", "8 8 200 96"]);
        if rng.random_bool(0.7) {
            (kind, proto) = ("audio", pick(rng, &["RTP/AVP", "RTP/AVP", "RTP/SAVP"]));
            formats = pick(rng, &["8 0 101", "0 8", "8", "96 8 101"]);
        }
        let port = if rng.random_bool(0.1) { 0 } else { 4000 + 2 * rng.random_range(0..1000) };
        text.push_str(&format!(
            "m={kind} {port} {proto} {formats}\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 VP8/90000\r\na=rtpmap:98 rtx/90000\r\n\
             a=fmtp:98 apt=97\r\na=rtpmap:99 red/8000\r\na=fmtp:99 9/8\r\na=rtpmap:101 telephone-event/8000\r\n"
        ));
        if proto.contains("SAVP") || rng.random_bool(0.1) {
            text.push_str(&format!("a=crypto:{} AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n", rng.random_range(1..7)));
        }
        random_attributes(rng, phone, &mut text);
    }
    text.into_bytes()
}

/// An answer to an offer of ours: mostly a good one.
fn random_answer(rng: &mut ChaCha8Rng, phone: u8, offer: &str) -> Vec<u8> {
    let parsed = Sdp::parse(offer.as_bytes()).unwrap();
    if rng.random_bool(0.05) {
        return random_offer(rng, phone, parsed.media().len());
    }
    let mut text = String::from_utf8(sdp(phone, rng.random_range(1..9), "")).unwrap();
    for section in parsed.media() {
        let line = section.media_line().unwrap();
        let name = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let port = if line.port == 0 || rng.random_bool(0.1) { 0 } else { 6000 + 2 * rng.random_range(0..1000) };
        let mut formats: Vec<String> = line.formats().map(name).collect();
        formats.truncate(rng.random_range(1..=formats.len()));
        text.push_str(&format!("m={} {port} {} {}\r\n", name(line.media), name(line.proto_name), formats.join(" ")));
        let cryptos: Vec<&str> =
            section.attributes().filter(|(name, _)| *name == "crypto").map(|(_, value)| value).collect();
        if let Some(line) = cryptos.iter().find(|line| line.contains("AES_CM_128_HMAC_SHA1_80")) {
            let tag = line.split(' ').next().unwrap();
            text.push_str(&format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"));
        }
        for (name, value) in section.attributes().filter(|(name, _)| *name == "rtpmap" || *name == "fmtp") {
            text.push_str(&format!("a={name}:{value}\r\n"));
        }
        random_attributes(rng, phone, &mut text);
    }
    text.into_bytes()
}

/// The last SDP that was sent to each leg, for the rules that tie one to the next.
#[derive(Default)]
struct Sent(BTreeMap<LegIx, (u64, u64, String)>);

impl Sent {
    fn check(&mut self, leg: LegIx, text: &str) {
        let (id, version) = origin(text);
        let tail: String = text.lines().skip(2).collect::<Vec<_>>().join("\n");
        if let Some((id_before, version_before, tail_before)) = self.0.get(&leg) {
            assert_eq!(id, *id_before, "the session id stays");
            let step = u64::from(tail != *tail_before);
            assert_eq!(version, version_before + step, "the version goes up by one exactly when the text changes");
        }
        self.0.insert(leg, (id, version, tail));
    }
}

fn lines_of(text: &[u8]) -> usize {
    Sdp::parse(text).unwrap().media().len()
}

/// A random exchange: offered by one leg, passed to another, answered or failed.
fn random_exchange(rng: &mut ChaCha8Rng, call: &mut Call, sent: &mut Sent, from: LegIx, to: LegIx) {
    let lines = rng.random_range(1..4);
    let offer = random_offer(rng, from.0 as u8 + 1, lines);
    if call.bridge.offer_received(from, &offer).is_err() {
        return;
    }
    let offered = call.bridge.offer_for(call.now, to, &mut call.ports);
    call.run();
    let Ok(offered) = offered.map(readable) else { return call.rollback() };
    sent.check(to, &offered);
    assert!(lines_of(offered.as_bytes()) >= lines, "no line is dropped");
    assert!(!offered.contains("mystery"), "an unknown media type is told to nobody but who said it");
    let mut answered = false;
    for _ in 0..rng.random_range(0..3) {
        let answer = random_answer(rng, to.0 as u8 + 1, &offered);
        answered |= call.answer(to, &answer).is_ok();
        if answered && rng.random() {
            let carried = if rng.random_bool(0.3) { AnswerIn::Reliable } else { AnswerIn::Provisional };
            check_answer(call, sent, from, carried, lines);
        }
    }
    if !answered || rng.random_bool(0.2) || !check_answer(call, sent, from, AnswerIn::Final, lines) {
        call.rollback();
    }
}

fn check_answer(call: &mut Call, sent: &mut Sent, to: LegIx, carried: AnswerIn, lines: usize) -> bool {
    let answer = call.bridge.answer_for(call.now, to, carried, &mut call.ports);
    call.run();
    let Ok(answer) = answer.map(readable) else { return false };
    sent.check(to, &answer);
    assert_eq!(lines_of(answer.as_bytes()), lines, "an answer has as many lines as its offer");
    true
}

/// One call of one to four legs with a few things happening in it.
fn random_call(rng: &mut ChaCha8Rng, call: &mut Call) {
    let mut sent = Sent::default();
    let a = call.bridge.add_leg(random_policy(rng));
    let mut legs = vec![call.bridge.add_leg(random_policy(rng))];
    for _ in 0..rng.random_range(2..16) {
        match rng.random_range(0..14) {
            0..2 => legs.push(call.bridge.add_leg(random_policy(rng))),
            2 if legs.len() > 1 => {
                let leg = legs.swap_remove(rng.random_range(0..legs.len()));
                call.remove(leg);
                sent.0.remove(&leg);
            }
            3 if !legs.is_empty() => call.select(legs[rng.random_range(0..legs.len())]),
            4 => {
                call.learn_all();
                call.later(Duration::from_secs(1));
            }
            5 => call.rollback(),
            6 if !legs.is_empty() => {
                let to = if rng.random() { a } else { legs[rng.random_range(0..legs.len())] };
                if let Some(text) = call.bridge.refresh_offer(to).map(readable) {
                    sent.check(to, &text);
                    let answer = random_answer(rng, to.0 as u8 + 1, &text);
                    if call.answer(to, &answer).is_err() {
                        call.rollback();
                    }
                }
            }
            7 if !legs.is_empty() => {
                let leg = legs[rng.random_range(0..legs.len())];
                call.bridge.fall_back_to_plain(call.now, leg, &mut call.ports);
                call.run();
            }
            _ if !legs.is_empty() => {
                let leg = legs[rng.random_range(0..legs.len())];
                let (from, to) = if rng.random_bool(0.7) { (a, leg) } else { (leg, a) };
                random_exchange(rng, call, &mut sent, from, to);
            }
            _ => {}
        }
        for (id, flow) in &call.flows {
            assert!(call.bridge.leg_of(*id).is_some() && call.ports.port_of(*id).is_some());
            assert!(flow.partner.is_none_or(|partner| call.flows[&partner].partner == Some(*id)));
        }
        assert_eq!(call.ports.streams() - call.strangers, call.flows.len(), "every port belongs to an open stream");
        let _ = call.bridge.needs_reoffer();
    }
}

#[test]
fn ten_thousand_random_calls_leave_every_port_free() {
    let mut rng = ChaCha8Rng::seed_from_u64(0x5d9);
    let config = PortPoolConfig { first: 10_000, last: 10_159, ..PortPoolConfig::default() };
    let mut pool = PortPool::new(config);
    let mut running: Vec<Call> = Vec::new();
    let mut connects = 0;
    for number in 0..10_000u32 {
        let mut call = Call::with_pool(pool, 0);
        call.bridge = ringfort_media::bridge::Bridge::new(rng.random());
        call.strangers = call.ports.streams();
        random_call(&mut rng, &mut call);
        connects += call.connects;
        pool = call.lend_pool();
        running.push(call);
        if running.len() > 12 || number == 9_999 {
            let keep = if number == 9_999 { 0 } else { 6 };
            while running.len() > keep {
                let mut call = running.swap_remove(rng.random_range(0..running.len()));
                call.bridge.close(call.now, &mut pool);
                call.run();
                assert!(call.flows.is_empty());
            }
        }
    }
    assert!(connects > 5_000, "most calls get somewhere: {connects}");
    assert_eq!((pool.streams(), pool.open_ports()), (0, 0));
    let later = start() + Duration::from_secs(3600);
    let all = std::iter::from_fn(|| {
        let id = pool.next_stream();
        pool.acquire(later, id)
    });
    assert_eq!(all.count(), 80, "every port can be had again");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_call_keeps_the_rules(seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut call = Call::new();
        random_call(&mut rng, &mut call);
        call.hang_up();
    }

    #[test]
    fn what_is_parsed_is_written_byte_for_byte(
        lines in proptest::collection::vec("[a-zA-Z]=[ -~\u{80}-\u{ff}]{0,40}", 0..20),
        line_feed_only: bool,
    ) {
        let end = if line_feed_only { "\n" } else { "\r\n" };
        let mut text = format!("v=0{end}o=- 1 1 IN IP4 h{end}");
        for line in &lines {
            text.push_str(line);
            text.push_str(end);
        }
        let latin_1: Vec<u8> = text.chars().map(|c| c as u8).collect();
        if let Ok(sdp) = Sdp::parse(&latin_1) {
            prop_assert_eq!(&sdp.to_bytes()[..], &latin_1[..]);
            prop_assert_eq!(sdp.lines().count(), lines.len() + 2);
        }
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        ringfort_media::sdp::fuzz_sdp(&data);
        ringfort_media::sdes::fuzz_sdes(&data);
        ringfort_media::bridge::fuzz_bridge(start(), &data);
    }
}
