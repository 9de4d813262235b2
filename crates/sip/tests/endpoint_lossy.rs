//! Many calls over networks that lose, double, delay and reorder: all end, each is told once, nothing stays.

mod endpoint_support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use endpoint_support::*;
use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use ringfort_sip::endpoint::*;
use ringfort_sip::flow::Transport;
use ringfort_sip::{Headers, Method};

/// Users at both ends who do as users do: ring, answer, refuse, give up, change the session, hang up.
struct Users {
    rng: ChaCha12Rng,
    transport: Transport,
    /// Calls begun: how often their final outcome was told.
    outcomes: BTreeMap<(usize, ClientTx), u32>,
    /// Calls answered at the callee: how often ACK or its absence was told.
    acks: BTreeMap<(usize, DialogId), u32>,
    answered: u32,
    acked: u32,
    /// Every INVITE, within dialogs too.
    invites: Vec<(usize, ClientTx)>,
    /// Every dialog that was confirmed.
    dialogs: BTreeSet<(usize, DialogId)>,
}

impl Users {
    fn new(seed: u64, transport: Transport) -> Users {
        let rng = ChaCha12Rng::seed_from_u64(seed);
        Users {
            rng,
            transport,
            outcomes: BTreeMap::new(),
            acks: BTreeMap::new(),
            answered: 0,
            acked: 0,
            invites: Vec::new(),
            dialogs: BTreeSet::new(),
        }
    }

    fn call(&mut self, end: &mut Endpoint, now: Instant, side: usize) {
        let mut r = invite(side, self.transport);
        r.reliable = self.rng.random_bool(0.5);
        r.session = self.rng.random_bool(0.3).then_some(SessionTimer::DEFAULT);
        let tx = end.send_request(now, r).expect("there is room");
        self.outcomes.insert((side, tx), 0);
        self.invites.push((side, tx));
        if self.rng.random_bool(0.15) {
            end.cancel(now, tx, Headers::default());
        }
    }

    fn hang_up(&mut self, end: &mut Endpoint, now: Instant, dialog: DialogId) {
        // Refused only where it is being done already or the dialog has gone.
        let _ = end.dialog_request(now, dialog, Method::Bye, Headers::default(), None);
    }

    fn on(&mut self, end: &mut Endpoint, now: Instant, side: usize, event: Event) {
        match event {
            Event::Request { tx, .. } => {
                if self.rng.random_bool(0.7) && end.respond_reliably(now, tx, Response::new(183).body(sdp())).is_err() {
                    end.respond(now, tx, Response::new(180)).expect("not answered yet");
                }
                let status = if self.rng.random_bool(0.8) { 200 } else { 486 };
                end.respond(now, tx, Response::new(status).body(sdp())).expect("not answered yet");
                if let (200, Some(dialog)) = (status, end.dialog_of(tx)) {
                    self.acks.insert((side, dialog), 0);
                    self.dialogs.insert((side, dialog));
                }
            }
            Event::DialogRequest { tx, .. } => end.respond(now, tx, Response::new(200)).expect("not answered yet"),
            Event::Ack { dialog, .. } => {
                *self.acks.entry((side, dialog)).or_default() += 1;
                self.acked += 1;
                match self.rng.random_range(0..4) {
                    0 => self.hang_up(end, now, dialog),
                    1 => {
                        let _ = end.dialog_request(now, dialog, Method::Invite, Headers::default(), Some(sdp()));
                    }
                    2 => {
                        let _ = end.dialog_request(now, dialog, Method::Update, Headers::default(), None);
                    }
                    _ => {}
                }
            }
            Event::AckTimeout { dialog } => self.hang_up(end, now, dialog),
            Event::Response { tx, dialog, response } => {
                let status = response.status();
                if status >= 200
                    && let Some(outcome) = self.outcomes.get_mut(&(side, tx))
                {
                    *outcome += 1;
                }
                if response.method() == Method::Invite
                    && let (200..300, Some(dialog)) = (status, dialog)
                {
                    self.answered += 1;
                    self.dialogs.insert((side, dialog));
                    end.ack(now, dialog, Headers::default(), None);
                    match self.rng.random_range(0..3) {
                        0 => self.hang_up(end, now, dialog),
                        1 => {
                            let _ = end.dialog_request(now, dialog, Method::Info, Headers::default(), None);
                        }
                        _ => {}
                    }
                }
            }
            Event::Failed { tx, dialog, .. } => {
                if let Some(outcome) = self.outcomes.get_mut(&(side, tx)) {
                    *outcome += 1;
                }
                if let Some(dialog) = dialog {
                    self.hang_up(end, now, dialog);
                }
            }
            Event::SessionExpired { dialog } => self.hang_up(end, now, dialog),
            Event::ReliableTimeout { tx } => {
                let _ = end.respond(now, tx, Response::new(504));
            }
            Event::Cancelled { tx, .. } => {
                // A 200 that waited for a PRACK has not gone out.
                if let Some(dialog) = end.dialog_of(tx) {
                    self.acks.remove(&(side, dialog));
                }
            }
            Event::ReliableAcked { .. }
            | Event::Acknowledged { .. }
            | Event::SessionRefreshDue { .. }
            | Event::DialogEnded { .. } => {}
        }
    }
}

fn weather_run(seed: u64, weather: Weather, transport: Transport, calls: usize) -> Users {
    let mut world = World::new(weather, seed);
    world.keep_trace = false;
    let mut users = Users::new(seed, transport);
    for n in 0..calls {
        let (now, side) = (world.now, n % 2);
        users.call(&mut world.ends[side], now, side);
        world.run_for(ms(37), &mut |end, now, side, event| users.on(end, now, side, event));
    }
    // Where all final answers were lost the caller gives up; dialogs that nobody has hung up end by their users' hands.
    for (side, tx) in users.invites.clone() {
        let now = world.now;
        world.ends[side].cancel(now, tx, Headers::default());
    }
    world.run_for(secs(300), &mut |end, now, side, event| users.on(end, now, side, event));
    for _ in 0..2 {
        for (side, dialog) in users.dialogs.clone() {
            let now = world.now;
            users.hang_up(&mut world.ends[side], now, dialog);
        }
        world.run_for(secs(2000), &mut |end, now, side, event| users.on(end, now, side, event));
    }
    for end in &world.ends {
        assert_eq!(end.counts(), Counts::default(), "seed {seed}");
        assert_eq!(end.poll_timeout(), None, "seed {seed}");
    }
    for (tx, told) in &users.outcomes {
        assert_eq!(*told, 1, "the outcome of {tx:?} was told {told} times, seed {seed}");
    }
    users
}

#[test]
fn in_foul_weather_every_call_ends_and_every_outcome_is_told_once() {
    for seed in 0..40 {
        let users = weather_run(seed, Weather::FOUL, Transport::Udp, 40);
        assert!(users.answered > 10 && users.acked > 10, "seed {seed}: {} {}", users.answered, users.acked);
    }
}

#[test]
fn in_fair_weather_every_answered_call_is_acknowledged() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let users = weather_run(77, Weather::FAIR, transport, 300);
        assert!(users.acks.values().all(|told| *told >= 1));
    }
}

#[test]
fn in_a_storm_nothing_stays_either() {
    let storm = Weather { lost: 700, doubled: 200, delay: (1, 3000) };
    for seed in 100..120 {
        weather_run(seed, storm, Transport::Udp, 30);
    }
}

#[test]
fn after_ten_thousand_calls_nothing_is_left() {
    let mut world = World::new(Weather::FAIR, 4);
    world.keep_trace = false;
    let mut ended = 0;
    for _ in 0..100 {
        for _ in 0..100 {
            let now = world.now;
            world.ends[0].send_request(now, invite(0, Transport::Udp)).expect("there is room");
        }
        world.run_for(ms(100), &mut |end, now, _, event| match event {
            Event::Request { tx, .. } => {
                end.respond(now, tx, Response::new(180)).expect("not answered yet");
                end.respond(now, tx, Response::new(200).body(sdp())).expect("not answered yet");
            }
            Event::Response { dialog: Some(dialog), response, .. }
                if response.status() == 200 && response.method() == Method::Invite =>
            {
                end.ack(now, dialog, Headers::default(), None);
                end.dialog_request(now, dialog, Method::Bye, Headers::default(), None).expect("in a call");
            }
            Event::DialogRequest { tx, .. } => end.respond(now, tx, Response::new(200)).expect("not answered yet"),
            Event::DialogEnded { .. } => ended += 1,
            _ => {}
        });
    }
    assert_eq!(ended, 20_000, "both sides of each");
    assert_eq!(world.ends[0].counts().dialogs, 0);
    world.run_for(secs(70), &mut |_, _, _, event| panic!("nothing more was to come, got {event:?}"));
    world.assert_empty();
    assert!(world.ends.iter().all(|end| end.poll_timeout().is_none()));
}
