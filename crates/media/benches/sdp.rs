//! SDP and offer/answer: what a call costs here, without signalling and packets.

use std::time::Instant;

use ringfort_media::bridge::{AnswerIn, Bridge, LegPolicy};
use ringfort_media::ports::{PortPool, PortPoolConfig};
use ringfort_media::sdp::Sdp;

const OFFER: &[u8] = b"v=0\r\no=alice 2890844526 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
m=audio 4000 RTP/AVP 8 0 9 18 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:9 G722/8000\r\n\
a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n\
a=sendrecv\r\n";

const SECURE: &[u8] = b"v=0\r\no=bob 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
m=audio 6000 RTP/SAVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
a=crypto:5 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\r\n";

fn main() {
    divan::main();
}

#[divan::bench]
fn parse() -> Sdp {
    Sdp::parse(divan::black_box(OFFER)).expect("a good offer")
}

#[divan::bench(args = [false, true])]
fn call(bencher: divan::Bencher<'_, '_>, secure: bool) {
    let mut ports = PortPool::new(PortPoolConfig::default());
    #[allow(clippy::disallowed_methods, reason = "a benchmark has no caller that knows the time")]
    let now = Instant::now();
    let plain = LegPolicy::new([198, 51, 100, 1].into(), [192, 0, 2, 1].into());
    let callee = LegPolicy { secure_signalling: secure, ..plain.clone() };
    let answer = if secure { SECURE } else { OFFER };
    bencher.bench_local(|| {
        let mut bridge = Bridge::new([7; 32]);
        let (a, b) = (bridge.add_leg(plain.clone()), bridge.add_leg(callee.clone()));
        bridge.offer_received(a, OFFER).expect("a good offer");
        bridge.offer_for(now, b, &mut ports).expect("an offer for b");
        bridge.answer_received(now, b, answer, &mut ports).expect("a good answer");
        let answer = bridge.answer_for(now, a, AnswerIn::Final, &mut ports).expect("an answer for a");
        bridge.close(now, &mut ports);
        while bridge.poll_command().is_some() {}
        answer
    });
}
