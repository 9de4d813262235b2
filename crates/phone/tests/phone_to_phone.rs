//! Two phones on a wire without a server: every verb once, from both ends, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_phone::tone::Law;
use ringfort_phone::{
    AnswerPolicy, CallRef, Direction, EndedBy, Event, MediaSettings, Phone, PhoneConfig, RtpTransmit, SrtpMode,
};
use ringfort_sip::endpoint::ListenerInfo;
use ringfort_sip::flow::{Flow, ListenerId, Target, Transport};
use ringfort_sip::message::{Limits, Message};
use ringfort_sip::uri::HostPort;

const LATENCY: Duration = Duration::from_millis(15);

enum Packet {
    Sip(Bytes),
    Rtp(RtpTransmit),
}

/// Two phones and what is on its way between them.
struct Wire {
    now: Instant,
    phones: [Phone; 2],
    on_the_way: BTreeMap<(Instant, u64), (usize, Packet)>,
    sent: u64,
    /// What begins so is lost.
    lost: &'static str,
    events: [Vec<Event>; 2],
}

fn address(index: usize) -> SocketAddr {
    format!("192.0.2.{}:5060", index + 1).parse().expect("an address")
}

fn config(index: usize) -> PhoneConfig {
    let own = address(index);
    let id = ListenerId(0);
    let listener =
        ListenerInfo { id, transport: Transport::Udp, local: own, advertised: HostPort::from(own), inside: None };
    let remote = address(1 - index);
    let server = Target::Connect { transport: Transport::Udp, listener: id, remote, server_name: None };
    let media = MediaSettings {
        tone: Some([1000, 1500][index]),
        listen_for: vec![1000, 1500],
        ..MediaSettings::new(own.ip(), 4000)
    };
    PhoneConfig { media, ..PhoneConfig::new(["anna", "bela"][index], "example.org", server, listener) }
}

impl Wire {
    fn new(change: impl Fn(usize, &mut PhoneConfig)) -> Self {
        let phones = [0, 1].map(|index| {
            let mut config = config(index);
            change(index, &mut config);
            Phone::new(config, 7 + index as u64)
        });
        #[allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
        let now = Instant::now();
        Self { now, phones, on_the_way: BTreeMap::new(), sent: 0, lost: "-", events: [Vec::new(), Vec::new()] }
    }

    fn drain(&mut self) {
        for index in [0, 1] {
            let mut packets = Vec::new();
            while let Some(transmit) = self.phones[index].poll_transmit() {
                assert_eq!(transmit.target.remote(), address(1 - index), "a phone knows nobody but the other one");
                packets.push(Packet::Sip(transmit.payload));
            }
            while let Some(rtp) = self.phones[index].poll_rtp(self.now) {
                packets.push(Packet::Rtp(rtp));
            }
            let lost = self.lost.as_bytes();
            packets.retain(|packet| !matches!(packet, Packet::Sip(payload) if payload.starts_with(lost)));
            for packet in packets {
                self.sent += 1;
                self.on_the_way.insert((self.now + LATENCY, self.sent), (1 - index, packet));
            }
            while let Some(event) = self.phones[index].poll_event() {
                self.events[index].push(event);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain();
            let arrival = self.on_the_way.keys().next().map(|key| key.0);
            let timeout = self.phones.iter().filter_map(Phone::poll_timeout).min();
            let Some(next) = [arrival, timeout].into_iter().flatten().min().filter(|&at| at <= end) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, (to, packet)) = self.on_the_way.pop_first().expect("its time was just read");
                match packet {
                    Packet::Sip(payload) => {
                        let message = Message::parse_datagram(payload, &Limits::default()).expect("our own writing");
                        let flow = Flow {
                            transport: Transport::Udp,
                            listener: ListenerId(0),
                            conn: None,
                            local: address(to),
                            remote: address(1 - to),
                        };
                        self.phones[to].handle_message(self.now, message, flow);
                    }
                    Packet::Rtp(mut rtp) => self.phones[to].handle_rtp(self.now, rtp.remote.port(), &mut rtp.payload),
                }
            } else {
                self.phones.iter_mut().for_each(|phone| phone.handle_timeout(self.now));
            }
        }
        self.now = end;
    }

    fn seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    fn take(&mut self, index: usize) -> Vec<Event> {
        std::mem::take(&mut self.events[index])
    }

    /// Anna calls Bela, who answers; the call as each of them has it.
    fn call(&mut self) -> [CallRef; 2] {
        let now = self.now;
        let anna = self.phones[0].call(now, "bela").expect("a fresh phone can call");
        self.seconds(4);
        let bela = self.phones[1].talking().next().expect("Bela has answered");
        assert!(self.events[0].contains(&Event::Answered { call: anna }), "{:?}", self.events[0]);
        self.take(0);
        self.take(1);
        [anna, bela]
    }

    fn assert_nothing_left(&mut self) {
        self.seconds(60);
        for phone in &self.phones {
            assert_eq!(phone.calls().count(), 0);
            let counts = phone.counts();
            assert_eq!((counts.client, counts.server, counts.dialogs), (0, 0, 0));
        }
    }
}

fn answering(_: usize, config: &mut PhoneConfig) {
    config.answer = AnswerPolicy::Answer { after: Duration::from_secs(1) };
}

fn ended(events: &[Event]) -> Option<(u16, EndedBy)> {
    events.iter().find_map(|event| match event {
        Event::Ended { status, by, .. } => Some((*status, *by)),
        _ => None,
    })
}

#[test]
fn a_call_is_answered_heard_both_ways_and_ended_by_bye() {
    let mut wire = Wire::new(answering);
    let [anna, bela] = wire.call();
    wire.seconds(5);
    for (phone, call, hertz) in [(0, anna, 1500), (1, bela, 1000)] {
        let report = wire.phones[phone].media_report(call).expect("media runs");
        assert_eq!(report.heard.hertz, Some(hertz));
        assert!(report.received > 240 && report.lost == 0 && report.refused == 0, "{report:?}");
        assert!(report.heard.share() > 0.99 && report.rtcp > 0, "{report:?}");
        assert!(report.longest_gap <= Duration::from_millis(21), "{report:?}");
    }
    let now = wire.now;
    wire.phones[0].hang_up(now, anna).expect("the call is up");
    wire.seconds(1);
    assert_eq!(ended(&wire.take(0)), Some((200, EndedBy::Us)));
    assert_eq!(ended(&wire.take(1)), Some((200, EndedBy::Peer)));
    wire.assert_nothing_left();
}

#[test]
fn srtp_is_agreed_by_sdes_and_the_tone_arrives_rfc_4568() {
    let mut wire = Wire::new(|index, config| {
        answering(index, config);
        config.media.srtp = if index == 0 { SrtpMode::Offer } else { SrtpMode::Require };
    });
    let [anna, bela] = wire.call();
    wire.seconds(5);
    assert!(wire.phones[0].agreed(anna).is_some_and(|agreed| agreed.keys.is_some()));
    for (phone, call, hertz) in [(0, anna, 1500), (1, bela, 1000)] {
        let report = wire.phones[phone].media_report(call).expect("media runs");
        assert_eq!((report.heard.hertz, report.refused), (Some(hertz), 0), "{report:?}");
    }
}

#[test]
fn an_offer_of_rtp_alone_to_a_phone_that_requires_srtp_gets_488() {
    let mut wire = Wire::new(|index, config| {
        answering(index, config);
        config.media.srtp = if index == 0 { SrtpMode::Off } else { SrtpMode::Require };
    });
    let now = wire.now;
    wire.phones[0].call(now, "bela").expect("a fresh phone can call");
    wire.seconds(2);
    assert_eq!(ended(&wire.take(0)), Some((488, EndedBy::Peer)));
    wire.assert_nothing_left();
}

#[test]
fn a_late_offer_comes_with_the_200_and_is_answered_in_the_ack_rfc_3264_section_5() {
    let mut wire = Wire::new(answering);
    let now = wire.now;
    let anna = wire.phones[0].call_late_offer(now, "bela").expect("a fresh phone can call");
    wire.seconds(5);
    let bela = wire.phones[1].talking().next().expect("Bela has answered");
    for (phone, call, hertz) in [(0, anna, 1500), (1, bela, 1000)] {
        let report = wire.phones[phone].media_report(call).expect("media runs");
        assert_eq!(report.heard.hertz, Some(hertz));
    }
}

#[test]
fn early_media_is_heard_before_the_answer_reliably_rfc_3262() {
    let mut wire = Wire::new(|_, config| {
        config.answer = AnswerPolicy::EarlyMedia { after: Duration::from_secs(4) };
        config.reliable = true;
    });
    let now = wire.now;
    let anna = wire.phones[0].call(now, "bela").expect("a fresh phone can call");
    wire.seconds(3);
    let report = wire.phones[0].media_report(anna).expect("early media runs");
    assert_eq!(report.heard.hertz, Some(1500));
    assert!(wire.events[0].contains(&Event::Ringing { call: anna, status: 183 }));
    wire.seconds(3);
    assert!(wire.events[0].contains(&Event::Answered { call: anna }));
    let now = wire.now;
    wire.phones[0].hang_up(now, anna).expect("the call is up");
    wire.assert_nothing_left();
}

#[test]
fn an_answer_that_waits_for_a_prack_that_never_comes_ends_the_call_with_504_rfc_3262_section_3() {
    let mut wire = Wire::new(|_, config| {
        config.answer = AnswerPolicy::EarlyMedia { after: Duration::from_secs(4) };
        config.reliable = true;
    });
    wire.lost = "PRACK ";
    let now = wire.now;
    wire.phones[0].call(now, "bela").expect("a fresh phone can call");
    wire.seconds(40);
    let ended = |event: &Event| matches!(event, Event::Ended { status: 504, .. });
    assert!(wire.events[0].iter().any(ended), "{:?}", wire.events[0]);
    assert!(wire.events[1].iter().any(ended), "{:?}", wire.events[1]);
    wire.assert_nothing_left();
}

#[test]
fn a_caller_that_gives_up_while_the_answer_waits_for_its_prack_is_rid_of_the_call() {
    let mut wire = Wire::new(|_, config| {
        config.answer = AnswerPolicy::EarlyMedia { after: Duration::from_secs(4) };
        config.reliable = true;
    });
    wire.lost = "PRACK ";
    let now = wire.now;
    let anna = wire.phones[0].call(now, "bela").expect("a fresh phone can call");
    wire.seconds(10);
    let now = wire.now;
    wire.phones[0].cancel(now, anna).expect("it has no answer yet");
    wire.seconds(2);
    let ended = |event: &Event| matches!(event, Event::Ended { status: 487, by: EndedBy::Peer, .. });
    assert!(wire.events[1].iter().any(ended), "{:?}", wire.events[1]);
    wire.assert_nothing_left();
}

#[test]
fn lines_of_video_keep_their_places_and_voice_is_heard_beside_them_rfc_3264_section_8() {
    let mut wire = Wire::new(|index, config| {
        answering(index, config);
        config.media.video = [3, 1][index];
    });
    let [anna, bela] = wire.call();
    // The change is offered by the one who has taken one line of three, and refused two.
    let now = wire.now;
    wire.phones[1].hold(now, bela).expect("the call is up");
    wire.seconds(1);
    assert_eq!(wire.phones[0].agreed(anna).map(|agreed| agreed.direction), Some(Direction::RECV_ONLY));
    let now = wire.now;
    wire.phones[0].resume(now, anna).expect("the call is up");
    wire.seconds(2);
    let report = wire.phones[0].media_report(anna).expect("media runs");
    assert_eq!(report.heard.hertz, Some(1500), "{report:?}");
}

#[test]
fn hold_stops_media_towards_the_holder_and_resume_brings_it_back_rfc_3264_section_8_4() {
    let mut wire = Wire::new(answering);
    let [anna, bela] = wire.call();
    let now = wire.now;
    wire.phones[0].hold(now, anna).expect("the call is up");
    wire.seconds(1);
    let held = Event::Media { call: bela, direction: Direction::RECV_ONLY, by_peer: true };
    assert!(wire.events[1].contains(&held), "{:?}", wire.events[1]);
    let before = wire.phones[0].media_report(anna).expect("media runs").received;
    wire.seconds(2);
    assert_eq!(wire.phones[0].media_report(anna).expect("media runs").received, before);
    let now = wire.now;
    wire.phones[0].resume(now, anna).expect("the call is up");
    wire.seconds(2);
    let report = wire.phones[0].media_report(anna).expect("media runs");
    assert!(report.received > before + 80 && report.lost == 0, "{report:?}");
    assert!(wire.events[1].contains(&Event::Media { call: bela, direction: Direction::SEND_RECV, by_peer: true }));
}

#[test]
fn the_codec_changes_by_reinvite_and_the_tone_goes_on() {
    let mut wire = Wire::new(answering);
    let [anna, bela] = wire.call();
    assert_eq!(wire.phones[0].agreed(anna).map(|agreed| agreed.law), Some(Law::A));
    let now = wire.now;
    wire.phones[1].change_codec(now, bela, Law::Mu).expect("the call is up");
    wire.seconds(2);
    for (phone, call) in [(0, anna), (1, bela)] {
        assert_eq!(wire.phones[phone].agreed(call).map(|agreed| agreed.law), Some(Law::Mu));
        let report = wire.phones[phone].media_report(call).expect("media runs");
        assert!(report.heard.share() > 0.95 && report.refused == 0, "{report:?}");
    }
}

#[test]
fn update_refreshes_the_session_and_info_is_delivered_rfc_3311_rfc_6086() {
    let mut wire = Wire::new(answering);
    let [anna, bela] = wire.call();
    let now = wire.now;
    wire.phones[0].update(now, anna).expect("the call is up");
    wire.seconds(1);
    assert!(wire.take(0).is_empty(), "an UPDATE that changes nothing tells nothing");
    let now = wire.now;
    wire.phones[1].info(now, bela, "application/dtmf-relay", b"Signal=1").expect("the call is up");
    wire.seconds(1);
    assert!(wire.take(0).contains(&Event::Info { call: anna, body: b"Signal=1".to_vec() }));
    assert!(wire.take(1).contains(&Event::Done { method: "INFO", status: 200 }));
}

#[test]
fn both_hold_at_once_meet_491_and_both_end_as_they_wanted_rfc_3261_section_14_1() {
    let mut wire = Wire::new(answering);
    let [anna, bela] = wire.call();
    let now = wire.now;
    wire.phones[0].hold(now, anna).expect("the call is up");
    wire.phones[1].hold(now, bela).expect("the call is up");
    wire.seconds(20);
    for (phone, call) in [(0, anna), (1, bela)] {
        assert_eq!(wire.phones[phone].agreed(call).map(|agreed| agreed.direction), Some(Direction::INACTIVE));
        assert!(!wire.events[phone].iter().any(|event| matches!(event, Event::ChangeFailed { .. })));
    }
}

#[test]
fn a_cancelled_call_ends_with_487_on_both_sides_rfc_3261_section_9() {
    let mut wire = Wire::new(|_, config| config.answer = AnswerPolicy::RingOnly);
    let now = wire.now;
    let anna = wire.phones[0].call(now, "bela").expect("a fresh phone can call");
    wire.seconds(2);
    assert!(wire.take(0).contains(&Event::Ringing { call: anna, status: 180 }));
    let now = wire.now;
    wire.phones[0].hang_up(now, anna).expect("the call is dialling");
    wire.seconds(1);
    assert_eq!(ended(&wire.take(0)), Some((487, EndedBy::Us)));
    assert_eq!(ended(&wire.take(1)), Some((487, EndedBy::Peer)));
    wire.assert_nothing_left();
}

#[test]
fn a_cancel_that_meets_the_answer_ends_in_bye_rfc_3261_section_9_1() {
    let mut wire = Wire::new(|_, config| config.answer = AnswerPolicy::Answer { after: Duration::ZERO });
    let now = wire.now;
    let anna = wire.phones[0].call(now, "bela").expect("a fresh phone can call");
    // The 200 is on its way when the CANCEL leaves.
    wire.run(LATENCY + Duration::from_millis(1));
    let now = wire.now;
    wire.phones[0].cancel(now, anna).expect("the call is dialling");
    wire.seconds(2);
    assert_eq!(ended(&wire.take(0)), Some((487, EndedBy::Us)));
    assert_eq!(ended(&wire.take(1)), Some((200, EndedBy::Peer)));
    wire.assert_nothing_left();
}

#[test]
fn a_busy_phone_says_486_and_a_phone_that_is_gone_gives_408() {
    let mut wire = Wire::new(|_, config| config.max_calls = 0);
    let now = wire.now;
    wire.phones[0].call(now, "bela").expect("max_calls is for incoming calls");
    wire.seconds(1);
    assert_eq!(ended(&wire.take(0)), Some((486, EndedBy::Peer)));
    wire.assert_nothing_left();
}

#[test]
fn both_hang_up_at_once_and_nothing_is_left() {
    let mut wire = Wire::new(answering);
    let [anna, bela] = wire.call();
    let now = wire.now;
    wire.phones[0].hang_up(now, anna).expect("the call is up");
    wire.phones[1].hang_up(now, bela).expect("the call is up");
    wire.seconds(1);
    assert_eq!(ended(&wire.take(0)), Some((200, EndedBy::Us)));
    assert_eq!(ended(&wire.take(1)), Some((200, EndedBy::Us)));
    wire.assert_nothing_left();
}

#[test]
fn a_message_and_options_are_answered_rfc_3428_rfc_3261_section_11() {
    let mut wire = Wire::new(answering);
    let now = wire.now;
    wire.phones[0].message(now, "bela", "hello").expect("a fresh phone can write");
    wire.phones[0].options(now, "bela").expect("a fresh phone can ask");
    wire.seconds(1);
    let told = wire.take(0);
    assert!(told.contains(&Event::Done { method: "MESSAGE", status: 200 }), "{told:?}");
    assert!(told.contains(&Event::Done { method: "OPTIONS", status: 200 }), "{told:?}");
    assert!(wire.take(1).contains(&Event::Message { from: "anna".into(), text: "hello".into() }));
    wire.assert_nothing_left();
}

#[test]
fn a_session_timer_is_refreshed_while_the_call_lasts_rfc_4028() {
    let mut wire = Wire::new(|index, config| {
        answering(index, config);
        config.media.tone = None;
        config.session = Some(ringfort_sip::session_timer::SessionTimer { expires: 90, min_se: 90, refresher: None });
    });
    let [anna, _] = wire.call();
    wire.seconds(1000);
    assert_eq!(wire.phones[0].talking().collect::<Vec<_>>(), [anna], "{:?}", wire.events[0]);
    assert!(wire.take(1).is_empty());
}
