//! SDES keys per leg (RFC 4568), plain RTP on the other one.

use std::sync::Arc;

use ringfort_media::bridge::{AnswerIn, LegPolicy, SdpReject, SrtpPolicy};
use ringfort_media::sdes::Crypto;
use ringfort_media::types::{CryptoSuite, Mki, SrtpKeys};

use super::support::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";
const OTHER_KEY: &str = "HRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA";
const PLAIN: &str = "m=audio 4000 RTP/AVP 8";

fn savp(tag: u32, key: &str) -> String {
    format!("m=audio 4000 RTP/SAVP 8; a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{key}")
}

fn with(policy: LegPolicy, srtp: SrtpPolicy) -> LegPolicy {
    LegPolicy { srtp, ..policy }
}

/// The a=crypto lines of an SDP of ours.
fn lines(text: &str) -> Vec<Crypto> {
    text.lines().filter_map(|line| line.strip_prefix("a=crypto:")).map(|line| Crypto::parse(line).unwrap()).collect()
}

fn keys(key: &str) -> SrtpKeys {
    Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key}")).unwrap().keys
}

#[test]
fn a_secure_caller_talks_to_a_plain_callee_rfc_4568_section_5() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(secure()), call.bridge.add_leg(plain()));
    let offer = format!(
        "m=audio 4000 RTP/SAVP 8; a=crypto:7 UNKNOWN inline:x; a=crypto:9 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31"
    );
    let (offered, answered) = call.exchange(a, b, &sdp(1, 1, &offer), &sdp(2, 1, PLAIN));
    assert!(offered.contains("RTP/AVP 8\r\n") && !offered.contains("crypto"));
    let ours = lines(&answered);
    assert!(answered.contains("RTP/SAVP 8\r\n") && ours.len() == 1 && ours[0].tag == 9);
    assert_eq!(call.config(a, 0).rx_keys, Some(keys(KEY)));
    assert_eq!(call.config(a, 0).tx_keys.as_ref(), Some(&ours[0].keys));
    assert_eq!((&call.config(b, 0).rx_keys, &call.config(b, 0).tx_keys), (&None, &None));
    call.hang_up();
}

#[test]
fn a_secure_callee_is_offered_our_suites_in_our_order_each_with_its_own_key() {
    let suites: Arc<[CryptoSuite]> = [CryptoSuite::AeadAes256Gcm, CryptoSuite::AesCm128HmacSha1_80].into();
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(LegPolicy { suites, ..secure() }));
    let answer = savp(2, KEY);
    let (offered, _) = call.exchange(a, b, &sdp(1, 1, PLAIN), &sdp(2, 1, &answer));
    let ours = lines(&offered);
    assert_eq!(
        ours.iter().map(|line| line.keys.suite).collect::<Vec<_>>(),
        [CryptoSuite::AeadAes256Gcm, CryptoSuite::AesCm128HmacSha1_80]
    );
    assert_eq!(call.config(b, 0).tx_keys.as_ref(), Some(&ours[1].keys));
    assert_eq!(call.config(b, 0).rx_keys, Some(keys(KEY)));
    let (offered_again, _) = call.exchange(a, b, &sdp(1, 1, PLAIN), &sdp(2, 1, &answer));
    assert_eq!(offered_again, offered, "keys stay");
    call.hang_up();
}

#[test]
fn an_answer_with_a_key_for_what_was_not_offered_is_refused_rfc_4568_section_5_1_3() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(secure()));
    call.bridge.offer_received(a, &sdp(1, 1, PLAIN)).unwrap();
    call.offer_for(b);
    for wrong in [savp(99, KEY), savp(1, KEY), "m=audio 4000 RTP/SAVP 8".into(), format!("{}|1:9", savp(5, KEY))] {
        assert_eq!(call.answer(b, &sdp(2, 1, &wrong)).unwrap_err().status(), 488, "{wrong}");
    }
    call.answer(b, &sdp(2, 1, &savp(5, KEY))).unwrap();
    call.hang_up();
}

#[test]
fn policy_off_refuses_savp_unless_a_plain_line_stands_beside_it() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(with(secure(), SrtpPolicy::Off)), call.bridge.add_leg(plain()));
    assert_eq!(call.bridge.offer_received(a, &sdp(1, 1, &savp(1, KEY))), Err(SdpReject::SrtpOff));
    let both = format!("{}; m=audio 4002 RTP/AVP 8", savp(1, KEY));
    let answer = "m=audio 0 RTP/AVP 8; m=audio 6002 RTP/AVP 8";
    let (offered, answered) = call.exchange(a, b, &sdp(1, 1, &both), &sdp(2, 1, answer));
    assert_eq!(media(&offered), "m=audio 0 RTP/AVP 0; m=audio P RTP/AVP 8; a=rtpmap:8 PCMA/8000; a=sendrecv");
    assert_eq!(media(&answered), "m=audio 0 RTP/SAVP 8; m=audio P RTP/AVP 8; a=rtpmap:8 PCMA/8000; a=sendrecv");
    call.hang_up();
}

#[test]
fn policy_require_refuses_plain_media_and_insecure_signalling() {
    let mut call = Call::new();
    let strict = with(secure(), SrtpPolicy::Require);
    let (a, b, c) = (
        call.bridge.add_leg(strict.clone()),
        call.bridge.add_leg(strict.clone()),
        call.bridge.add_leg(with(plain(), SrtpPolicy::Require)),
    );
    assert_eq!(call.bridge.offer_received(a, &sdp(1, 1, PLAIN)), Err(SdpReject::SrtpRequired));
    let unkeyed = sdp(1, 1, "m=audio 4000 RTP/SAVP 8");
    assert_eq!(call.bridge.offer_received(a, &unkeyed).unwrap_err().status(), 488);
    call.bridge.offer_received(a, &sdp(1, 1, &savp(1, KEY))).unwrap();
    assert_eq!(call.bridge.offer_for(call.now, c, &mut call.ports), Err(SdpReject::SrtpNeedsTls));
    assert!(call.offer_for(b).contains("RTP/SAVP 8\r\n"));
    assert_eq!(call.answer(b, &sdp(2, 1, PLAIN)), Err(SdpReject::SrtpRequired));
    call.answer(b, &sdp(2, 1, &savp(5, OTHER_KEY))).unwrap();
    call.answer_for(a, AnswerIn::Final);
    assert!(call.config(a, 0).rx_keys.is_some() && call.config(b, 0).rx_keys.is_some());
    assert_ne!(call.config(a, 0).tx_keys, call.config(b, 0).tx_keys, "each leg has its own keys");
    call.hang_up();
}

#[test]
fn keys_are_taken_over_tls_only_call_6() {
    let mut call = Call::new();
    let a = call.bridge.add_leg(plain());
    let reject = call.bridge.offer_received(a, &sdp(1, 1, &savp(1, KEY))).unwrap_err();
    assert_eq!(reject, SdpReject::SrtpNeedsTls);
}

#[test]
fn a_plain_answer_to_savp_is_taken_where_srtp_is_only_offered() {
    let (call, a, b) = Call::talking(plain(), secure(), PLAIN, PLAIN);
    assert!(call.connected(a, b, 0));
    assert!(call.config(b, 0).rx_keys.is_none() && call.config(b, 0).tx_keys.is_none());
    call.hang_up();
}

#[test]
fn after_a_488_to_savp_plain_rtp_is_offered_once() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(secure()));
    call.bridge.offer_received(a, &sdp(1, 1, PLAIN)).unwrap();
    let first = call.offer_for(b);
    assert!(call.bridge.fall_back_to_plain(call.now, b, &mut call.ports));
    call.run();
    let second = call.offer_for(b);
    assert!(second.contains("RTP/AVP 8\r\n") && !second.contains("crypto"));
    assert_eq!(origin(&second), (origin(&first).0, origin(&first).1 + 1));
    assert!(!call.bridge.fall_back_to_plain(call.now, b, &mut call.ports));
    call.answer(b, &sdp(2, 1, PLAIN)).unwrap();
    call.answer_for(a, AnswerIn::Final);
    call.hang_up();
}

#[test]
fn keys_stay_over_re_offers_and_change_when_the_peer_changes_its_own_rfc_4568_section_7_1_4() {
    let (mut call, a, b) = Call::talking(secure(), plain(), &savp(1, KEY), PLAIN);
    let before = call.config(a, 0).tx_keys.clone();
    call.exchange(
        a,
        b,
        &sdp(1, 2, &format!("{}; a=sendonly", savp(1, KEY))),
        &sdp(2, 2, &format!("{PLAIN}; a=recvonly")),
    );
    assert_eq!(call.config(a, 0).tx_keys, before);
    call.exchange(a, b, &sdp(1, 3, &savp(1, OTHER_KEY)), &sdp(2, 3, PLAIN));
    assert_ne!(call.config(a, 0).tx_keys, before);
    assert_eq!(call.config(a, 0).rx_keys, Some(keys(OTHER_KEY)));
    let agreed = call.config(a, 0).clone();
    call.bridge.offer_received(a, &sdp(1, 4, &savp(1, KEY))).unwrap();
    call.offer_for(b);
    call.rollback();
    assert_eq!(call.config(a, 0), &agreed, "a refused offer leaves the old keys");
    call.hang_up();
}

#[test]
fn a_re_offer_of_ours_stays_secure_or_plain_as_it_was_agreed() {
    let (mut call, a, b) = Call::talking(secure(), secure(), &savp(1, KEY), PLAIN);
    let before = call.config(a, 0).tx_keys.clone();
    let offered = call.bridge.offer_received(b, &sdp(2, 2, PLAIN)).map(|()| call.offer_for(a)).unwrap();
    assert!(offered.contains("RTP/SAVP 8\r\n"));
    let tag =
        lines(&offered).iter().find(|line| Some(&line.keys) == before.as_ref()).expect("the key in use is offered").tag;
    call.answer(a, &sdp(1, 2, &savp(tag, KEY))).unwrap();
    call.answer_for(b, AnswerIn::Final);
    assert_eq!(call.config(a, 0).tx_keys, before);
    let offered = call.bridge.offer_received(a, &sdp(1, 3, &savp(1, KEY))).map(|()| call.offer_for(b)).unwrap();
    assert!(offered.contains("RTP/AVP 8\r\n"), "b was plain and stays plain");
    call.hang_up();
}

#[test]
fn opportunistic_keys_beside_rtp_avp_are_taken_where_the_signalling_is_secure_rfc_8643() {
    let offer = format!("{PLAIN}; a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let (mut call, a, b) = Call::talking(secure(), plain(), &offer, PLAIN);
    assert_eq!(call.config(a, 0).rx_keys, Some(keys(KEY)));
    let (_, answered) = call.exchange(a, b, &sdp(1, 1, &offer), &sdp(2, 1, PLAIN));
    assert!(answered.contains("RTP/AVP 8\r\n") && lines(&answered)[0].tag == 3);
    let offered = call.bridge.offer_received(b, &sdp(2, 2, PLAIN)).map(|()| call.offer_for(a)).unwrap();
    assert!(offered.contains("RTP/AVP 8\r\n") && !lines(&offered).is_empty());
    call.rollback();
    call.hang_up();
    let (call, a, _) = Call::talking(plain(), plain(), &offer, PLAIN);
    assert_eq!(call.config(a, 0).rx_keys, None, "without TLS the keys are not looked at");
    call.hang_up();
}

#[test]
fn savpf_on_one_side_and_avp_on_the_other_are_translated() {
    let offer = format!("m=audio 4000 RTP/SAVPF 8; a=rtcp-fb:* nack; a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(secure()), call.bridge.add_leg(plain()));
    let (offered, answered) = call.exchange(a, b, &sdp(1, 1, &offer), &sdp(2, 1, PLAIN));
    assert!(offered.contains("RTP/AVP 8\r\n") && !offered.contains("rtcp-fb"));
    assert!(answered.contains("RTP/SAVPF 8\r\n") && !answered.contains("rtcp-fb"));
    call.hang_up();
}

#[test]
fn keys_never_show_in_debug() {
    let (call, ..) = Call::talking(secure(), secure(), &savp(1, KEY), PLAIN);
    let shown = format!("{:?}", call.bridge);
    assert!(shown.contains("SrtpKeys") && !shown.contains("inline") && !shown.contains("105, 110, 108"), "{shown}");
    call.hang_up();
}

#[test]
fn a_phone_with_a_master_key_identifier_gets_one_as_long_in_both_directions_rfc_4568_section_6_1() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(secure()), call.bridge.add_leg(plain()));
    let offer = savp(3, &format!("{KEY}|2^31|1066:4"));
    let (_, answered) = call.exchange(a, b, &sdp(1, 1, &offer), &sdp(2, 1, PLAIN));
    let ours = lines(&answered);
    assert!(answered.contains("|1066:4\r\n"), "{answered}");
    assert_eq!(ours[0].keys.mki, Mki::new(1066, 4));
    let config = call.config(a, 0);
    assert_eq!(config.rx_keys.as_ref().and_then(|keys| keys.mki), Mki::new(1066, 4));
    assert_eq!(config.tx_keys.as_ref(), Some(&ours[0].keys), "what is sent is what the answer says");
    call.hang_up();
}

#[test]
fn an_answer_with_a_master_key_identifier_concerns_what_its_writer_sends_alone() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(secure()));
    call.bridge.offer_received(a, &sdp(1, 1, PLAIN)).unwrap();
    let offered = lines(&call.offer_for(b));
    let line = offered.iter().find(|line| line.keys.suite == CryptoSuite::AesCm128HmacSha1_80).unwrap();
    call.answer(b, &sdp(2, 1, &savp(line.tag, &format!("{KEY}|1:1")))).unwrap();
    call.answer_for(a, AnswerIn::Final);
    let config = call.config(b, 0);
    assert_eq!(config.rx_keys.as_ref().and_then(|keys| keys.mki), Mki::new(1, 1));
    assert_eq!(config.tx_keys.as_ref(), Some(&line.keys), "our key was offered without one");
    call.hang_up();
}

#[test]
fn an_identifier_that_we_cannot_carry_leaves_the_next_line_or_488_in_words() {
    let mut call = Call::new();
    let a = call.bridge.add_leg(secure());
    let other = savp(2, OTHER_KEY).split("; ").nth(1).unwrap().to_owned();
    let beside = format!("{}; {other}", savp(1, &format!("{KEY}|1:16")));
    call.bridge.offer_received(a, &sdp(1, 1, &beside)).unwrap();
    let mut alone = Call::new();
    let a = alone.bridge.add_leg(secure());
    let reject = alone.bridge.offer_received(a, &sdp(1, 1, &savp(1, &format!("{KEY}|1:16")))).unwrap_err();
    assert_eq!((reject.status(), reject.warn_code()), (488, 306));
    assert!(reject.to_string().contains("master key identifier"), "{reject}");
}
