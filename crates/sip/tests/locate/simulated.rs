//! The use that a switch makes of it, in virtual time: `Query`s go out to a resolver that loses, delays and answers late,
//! `Answer`s come in, calls try one target after the other, targets die and rise.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use ringfort_sip::locate::*;

use crate::world::{Zone, name, request, start};

/// A call's INVITE waits so long for any answer before the next target is tried (a shortened Timer B).
const TIMER_B: Duration = Duration::from_secs(4);
const ROUND_TRIP: Duration = Duration::from_millis(80);

/// How a target behaves that does not work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Silent,
    Refuses,
    Overloaded,
}

enum Event {
    Answer(QueryId, Answer),
    /// What became of the request that this call sent as its n-th.
    Attempted(u64, usize, Attempt),
    Call(&'static str),
    Fault(SocketAddr, Option<Fault>),
}

struct Call {
    begun: Instant,
    domain: &'static str,
    targets: Targets,
    target: Option<Target>,
    attempts: usize,
    end: Option<(Instant, Result<SocketAddr, String>)>,
}

struct Network {
    /// Of a hundred answers, so many never come.
    loss: u32,
    /// The longest delay of an answer.
    delay: Duration,
}

struct Switch {
    locator: Locator,
    zone: Zone,
    network: Network,
    rng: ChaCha12Rng,
    now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    calls: Vec<Call>,
    /// Which call waits for which look-up.
    locating: BTreeMap<LookupId, u64>,
    faults: BTreeMap<SocketAddr, Fault>,
}

impl Switch {
    fn new(zone: &str, network: Network, seed: u8) -> Switch {
        Switch {
            locator: Locator::new(Settings::default(), [seed; 32]),
            zone: Zone::new(zone),
            network,
            rng: ChaCha12Rng::from_seed([seed.wrapping_add(100); 32]),
            now: start(),
            events: BTreeMap::new(),
            next_event: 0,
            calls: Vec::new(),
            locating: BTreeMap::new(),
            faults: BTreeMap::new(),
        }
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.events.insert((self.now + after, self.next_event), event);
        self.next_event += 1;
    }

    /// The loop of a shard: the earlier of the next event and the locator's own time, then everything is drained.
    fn run(&mut self) {
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = event.into_iter().chain(self.locator.poll_timeout()).min() else { break };
            self.now = self.now.max(next);
            self.locator.handle_timeout(self.now);
            while let Some(entry) = self.events.first_entry()
                && entry.key().0 <= self.now
            {
                let event = entry.remove();
                self.handle(event);
            }
            self.drain();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Answer(id, answer) => self.locator.handle_answer(self.now, id, answer),
            Event::Fault(address, Some(fault)) => {
                self.faults.insert(address, fault);
            }
            Event::Fault(address, None) => {
                self.faults.remove(&address);
            }
            Event::Call(domain) => {
                let id = self.locator.locate(self.now, request(&format!("sip:alex@{domain}")));
                self.locating.insert(id, self.calls.len() as u64);
                let (begun, targets) = (self.now, Targets::default());
                self.calls.push(Call { begun, domain, targets, target: None, attempts: 0, end: None });
            }
            Event::Attempted(call, nth, attempt) => {
                let at = &mut self.calls[call as usize];
                assert_eq!(at.attempts, nth);
                let target = at.target.take().expect("a request was sent");
                self.locator.report(self.now, &target, attempt);
                if attempt.is_failure() {
                    self.try_next(call);
                } else {
                    at.end = Some((self.now, Ok(target.address)));
                }
            }
        }
    }

    fn drain(&mut self) {
        while let Some(query) = self.locator.poll_query() {
            if self.rng.random_range(0..100) < self.network.loss {
                continue;
            }
            let answer = self.zone.answer(&query.name, query.kind);
            let millis = self.rng.random_range(1..=self.network.delay.as_millis() as u64);
            self.at(Duration::from_millis(millis), Event::Answer(query.id, answer.clone()));
            // Some resolvers answer twice.
            if self.rng.random_range(0..10) == 0 {
                self.at(Duration::from_millis(millis + 7), Event::Answer(query.id, answer));
            }
        }
        while let Some(located) = self.locator.poll_located() {
            let call = self.locating.remove(&located.id).expect("each look-up ends once");
            match located.result {
                Ok(targets) => {
                    self.calls[call as usize].targets = targets;
                    self.try_next(call);
                }
                Err(error) => self.calls[call as usize].end = Some((self.now, Err(error.to_string()))),
            }
        }
    }

    fn try_next(&mut self, call: u64) {
        let at = &mut self.calls[call as usize];
        let Some(target) = self.locator.next_target(self.now, &mut at.targets) else {
            at.end = Some((self.now, Err("no target is left".into())));
            return;
        };
        at.attempts += 1;
        let nth = at.attempts;
        let (after, attempt) = match self.faults.get(&target.address) {
            None => (ROUND_TRIP, Attempt::Answered),
            Some(Fault::Silent) => (TIMER_B, Attempt::TimedOut),
            Some(Fault::Refuses) => (ROUND_TRIP, Attempt::TransportError),
            Some(Fault::Overloaded) => (ROUND_TRIP, Attempt::of_status(503, Some(Duration::from_secs(20)))),
        };
        at.target = Some(target);
        self.at(after, Event::Attempted(call, nth, attempt));
    }
}

const ZONE: &str = "
    example.org 60 NAPTR 10 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.one.example.org
    example.org 60 NAPTR 10 51 \"s\" \"SIP+D2U\" \"\" _sip._udp.two.example.org
    _sip._udp.one.example.org 60 SRV 10 50 5060 a.example.org
    _sip._udp.one.example.org 60 SRV 10 50 5060 b.example.org
    _sip._udp.two.example.org 60 SRV 10 0 5060 c.example.org
    a.example.org 60 A 192.0.2.1
    b.example.org 60 A 192.0.2.2
    c.example.org 60 A 192.0.2.3
    plain.example 60 A 192.0.2.4
";

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 5060))
}

#[test]
fn a_dead_target_costs_the_first_call_its_timer_and_the_next_ones_nothing() {
    let mut switch = Switch::new(ZONE, Network { loss: 0, delay: Duration::from_millis(30) }, 1);
    for last in [1, 2] {
        switch.faults.insert(address(last), Fault::Silent);
    }
    for second in 0..60 {
        switch.at(Duration::from_secs(second), Event::Call("example.org"));
    }
    switch.run();
    let took: Vec<Duration> = switch.calls.iter().map(|call| call.end.as_ref().unwrap().0 - call.begun).collect();
    assert!(switch.calls.iter().all(|call| call.end.as_ref().unwrap().1 == Ok(address(3))));
    assert!(took[0] >= 2 * TIMER_B && took[0] < 2 * TIMER_B + Duration::from_secs(1), "{:?}", took[0]);
    let slow = took.iter().filter(|took| **took >= TIMER_B).count();
    // Those that began before the first had found out, and one each time the memory of 30 s ran out.
    assert!((9..=24).contains(&slow), "{slow}: {took:?}");
    assert!(took[12..30].iter().all(|took| *took < Duration::from_millis(500)), "{took:?}");
}

#[test]
fn a_target_that_rises_gets_its_share_again() {
    let mut switch = Switch::new(ZONE, Network { loss: 0, delay: Duration::from_millis(30) }, 2);
    for last in [1, 2] {
        switch.faults.insert(address(last), Fault::Refuses);
        switch.at(Duration::from_secs(100), Event::Fault(address(last), None));
    }
    for second in 0..400 {
        switch.at(Duration::from_secs(second), Event::Call("example.org"));
    }
    switch.run();
    let reached = |range: std::ops::Range<usize>| {
        let mut counts = BTreeMap::new();
        for call in &switch.calls[range] {
            *counts.entry(call.end.as_ref().unwrap().1.clone().unwrap()).or_insert(0) += 1;
        }
        counts
    };
    assert_eq!(reached(0..100), BTreeMap::from([(address(3), 100)]));
    let after = reached(140..400);
    assert!(!after.contains_key(&address(3)), "preference 51 waits again: {after:?}");
    assert!((90..=170).contains(&after[&address(1)]), "weights 50 and 50: {after:?}");
}

/// The invariants, over a network that gets worse from seed to seed.
#[test]
fn whatever_the_resolver_loses_or_delays_every_call_ends_and_none_is_lost_while_a_target_works() {
    let (mut reached, mut failed, mut late) = (0, 0, 0);
    for seed in 0..60 {
        let network =
            Network { loss: u32::from(seed) % 6 * 12, delay: Duration::from_millis(1 + u64::from(seed) * 120) };
        let lossless = network.loss == 0 && network.delay < Duration::from_millis(1_000);
        let mut switch = Switch::new(ZONE, network, seed);
        let mut chance = ChaCha12Rng::from_seed([seed; 32]);
        for _ in 0..40 {
            let domain = if chance.random_range(0..4) == 0 { "plain.example" } else { "example.org" };
            switch.at(Duration::from_millis(chance.random_range(0..200_000)), Event::Call(domain));
        }
        for _ in 0..12 {
            let fault = match chance.random_range(0..3) {
                0 => Fault::Silent,
                1 => Fault::Refuses,
                _ => Fault::Overloaded,
            };
            // Two of three at most: the third always works.
            let at = address(chance.random_range(1..=2));
            let from = chance.random_range(0..200_000);
            switch.at(Duration::from_millis(from), Event::Fault(at, Some(fault)));
            switch.at(Duration::from_millis(from + chance.random_range(0..60_000)), Event::Fault(at, None));
        }
        switch.run();
        assert!(switch.locating.is_empty() && switch.events.is_empty());
        assert_eq!(switch.locator.sizes()[2..], [0, 0], "seed {seed}");
        late += switch.locator.counters().late_answers;
        for call in &switch.calls {
            let (end, result) = call.end.as_ref().expect("every call ends");
            let longest = Settings::default().deadline + TIMER_B * call.attempts as u32 + ROUND_TRIP;
            assert!(*end - call.begun <= longest, "seed {seed}: {:?}", *end - call.begun);
            match result {
                Ok(address) => {
                    reached += 1;
                    assert_eq!(call.domain == "plain.example", address.ip().to_string() == "192.0.2.4");
                }
                Err(_) => failed += 1,
            }
            assert!(
                result.is_ok() || !lossless,
                "seed {seed}: {result:?} though every answer came and a target worked"
            );
        }
    }
    assert!(
        reached > 1_500 && failed > 50 && late > 100,
        "{reached} {failed} {late}: the network was bad enough to tell"
    );
}

#[test]
fn a_run_replays_from_its_seed() {
    let run = |seed| {
        let mut switch = Switch::new(ZONE, Network { loss: 20, delay: Duration::from_millis(900) }, seed);
        for millis in (0..30_000).step_by(333) {
            switch.at(Duration::from_millis(millis), Event::Call("example.org"));
        }
        let begun = switch.now;
        switch.run();
        let end = |call: &Call| call.end.as_ref().map(|(at, result)| (*at - begun, result.clone()));
        switch.calls.iter().map(end).collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    let different: BTreeSet<_> = (0..5).map(|seed| format!("{:?}", run(seed))).collect();
    assert!(different.len() > 1);
}

#[test]
fn once_there_is_a_target_slow_answers_are_not_waited_for_and_serve_the_next_look_up() {
    let mut locator = Locator::new(Settings::default(), [1; 32]);
    let now = start();
    let zone = Zone::new("a.example 60 A 192.0.2.1\na.example 60 AAAA 2001:db8::1");
    locator.locate(now, request("sip:x@a.example:5060"));
    let queries: Vec<Query> = std::iter::from_fn(|| locator.poll_query()).collect();
    let of = |kind| queries.iter().find(|query| query.kind == kind).unwrap().id;
    let at = |millis| now + Duration::from_millis(millis);
    locator.handle_answer(at(20), of(RecordType::A), zone.answer(&name("a.example"), RecordType::A));
    assert!(locator.poll_located().is_none());
    assert_eq!(locator.poll_timeout(), Some(at(520)), "patience");
    locator.handle_timeout(at(520));
    let targets = locator.poll_located().unwrap().result.unwrap();
    assert!(!targets.complete && targets.left().len() == 1);
    locator.handle_answer(at(900), of(RecordType::Aaaa), zone.answer(&name("a.example"), RecordType::Aaaa));
    locator.locate(at(1_000), request("sip:x@a.example:5060"));
    let targets = locator.poll_located().unwrap().result.unwrap();
    assert!(targets.complete && targets.left().len() == 2);
}

#[test]
fn a_resolver_that_never_answers_costs_the_deadline_of_the_request_and_no_more() {
    let mut locator = Locator::new(Settings::default(), [1; 32]);
    let now = start();
    let within = Some(Duration::from_millis(700));
    let id = locator.locate(now, Request { within, ..request("sip:x@a.example") });
    assert_eq!(locator.poll_timeout(), Some(now + Duration::from_millis(700)));
    locator.handle_timeout(now + Duration::from_millis(700));
    let located = locator.poll_located().unwrap();
    assert_eq!((located.id, located.result), (id, Err(LocateError::TooLate)));
    locator.handle_timeout(now + Duration::from_secs(4));
    assert_eq!(locator.sizes()[2..], [0, 0]);
    assert_eq!(locator.counters().timeouts, 1, "the NAPTR question");
}
