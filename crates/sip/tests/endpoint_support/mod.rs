//! Two endpoints in virtual time over a network that loses, doubles, delays and reorders, from a seed; and one endpoint
//! alone against messages written out by hand.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use ringfort_sip::endpoint::*;
use ringfort_sip::flow::{Flow, Transmit, Transport};
pub use ringfort_sip::fuzzing::stage::*;
use ringfort_sip::{Headers, Message, Method};

pub const T1: Duration = Duration::from_millis(500);

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn endpoint(side: usize) -> Endpoint {
    Endpoint::new(config(side), [side as u8 + 1; 32])
}

/// An INVITE from side `from` to the other.
pub fn invite(from: usize, transport: Transport) -> OutRequest {
    request(from, Method::Invite, transport)
}

/// "INVITE", "ACK" … or "200 INVITE".
pub fn label(msg: &Message) -> String {
    if msg.is_request() {
        msg.method().as_str().to_owned()
    } else {
        format!("{} {}", msg.status(), msg.method().as_str())
    }
}

/// A short word for an event.
pub fn word(event: &Event) -> String {
    match event {
        Event::Request { request, .. } => format!("request {}", request.method()),
        Event::Cancelled { .. } => "cancelled".into(),
        Event::DialogRequest { request, .. } => format!("dialog {}", request.method()),
        Event::Ack { .. } => "ack".into(),
        Event::Acknowledged { .. } => "acknowledged".into(),
        Event::AckTimeout { .. } => "no ack".into(),
        Event::ReliableAcked { .. } => "prack".into(),
        Event::ReliableTimeout { .. } => "no prack".into(),
        Event::Response { response, .. } => label(response),
        Event::Failed { cause, .. } => format!("failed {cause:?}"),
        Event::SessionRefreshDue { .. } => "refresh".into(),
        Event::SessionExpired { .. } => "expired".into(),
        Event::DialogEnded { .. } => "ended".into(),
    }
}

pub struct Packet {
    pub from: usize,
    pub payload: Bytes,
    pub transport: Transport,
}

/// What the network does.
#[derive(Clone, Copy)]
pub struct Weather {
    /// Of a thousand datagrams.
    pub lost: u32,
    pub doubled: u32,
    pub delay: (u64, u64),
}

impl Weather {
    pub const FAIR: Weather = Weather { lost: 0, doubled: 0, delay: (10, 10) };
    pub const FOUL: Weather = Weather { lost: 150, doubled: 100, delay: (1, 300) };
}

/// Says of a packet (sender, message) whether it is lost.
pub type Thief = Box<dyn FnMut(usize, &Message) -> bool>;

/// Called for each event with the side it is of.
pub type User<'a> = &'a mut dyn FnMut(&mut Endpoint, Instant, usize, Event);

pub struct World {
    pub now: Instant,
    pub start: Instant,
    pub ends: [Endpoint; 2],
    pub weather: Weather,
    pub thief: Option<Thief>,
    /// Everything sent: milliseconds from the start, sender, message label.
    pub sent: Vec<(u64, usize, String)>,
    pub keep_trace: bool,
    queue: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    packets: Vec<Option<Packet>>,
    free: Vec<usize>,
    count: u64,
    rng: ChaCha12Rng,
}

impl World {
    pub fn new(weather: Weather, seed: u64) -> World {
        World::with([config(0), config(1)], weather, seed)
    }

    pub fn with(configs: [EndpointConfig; 2], weather: Weather, seed: u64) -> World {
        let now = start();
        let mut side = 0;
        let ends = configs.map(|config| {
            side += 1;
            let mut key = [side; 32];
            key[..8].copy_from_slice(&seed.to_be_bytes());
            Endpoint::new(config, key)
        });
        World {
            now,
            start: now,
            ends,
            weather,
            thief: None,
            sent: Vec::new(),
            keep_trace: true,
            queue: BinaryHeap::new(),
            packets: Vec::new(),
            free: Vec::new(),
            count: 0,
            rng: ChaCha12Rng::seed_from_u64(seed),
        }
    }

    fn push(&mut self, packet: Packet, delay: u64) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.packets.push(None);
            self.packets.len() - 1
        });
        self.packets[slot] = Some(packet);
        self.count += 1;
        self.queue.push(Reverse((self.now + ms(delay), self.count, slot)));
    }

    fn carry(&mut self, from: usize, transmit: Transmit) {
        let transport = transmit.target.transport();
        if self.keep_trace || self.thief.is_some() {
            let msg = parse(transmit.payload.clone());
            self.sent.push(((self.now - self.start).as_millis() as u64, from, label(&msg)));
            if self.thief.as_mut().is_some_and(|thief| thief(from, &msg)) {
                return;
            }
        }
        let weather = self.weather;
        let (low, high) = weather.delay;
        if transport.is_reliable() {
            return self.push(Packet { from, payload: transmit.payload, transport }, low);
        }
        if self.rng.random_range(0..1000) < weather.lost {
            return;
        }
        if self.rng.random_range(0..1000) < weather.doubled {
            let delay = self.rng.random_range(low..=high);
            self.push(Packet { from, payload: transmit.payload.clone(), transport }, delay);
        }
        let delay = self.rng.random_range(low..=high);
        self.push(Packet { from, payload: transmit.payload, transport }, delay);
    }

    /// Lets `user` see all events and carries off what is to be sent.
    pub fn settle(&mut self, user: User<'_>) {
        for side in 0..2 {
            while let Some(event) = self.ends[side].poll_event() {
                user(&mut self.ends[side], self.now, side, event);
            }
            while let Some(transmit) = self.ends[side].poll_transmit() {
                self.carry(side, transmit);
            }
        }
    }

    /// Runs until `end`, or until nothing is left to happen.
    pub fn run_until(&mut self, end: Instant, user: User<'_>) {
        loop {
            self.settle(user);
            let packet = self.queue.peek().map(|Reverse((at, ..))| *at);
            let timers = self.ends.iter().filter_map(Endpoint::poll_timeout);
            let Some(next) = timers.chain(packet).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for side in 0..2 {
                self.ends[side].handle_timeout(self.now);
            }
            while let Some(Reverse((at, _, slot))) = self.queue.peek().copied() {
                if at > self.now {
                    break;
                }
                self.queue.pop();
                self.free.push(slot);
                let packet = self.packets[slot].take().expect("queued once");
                let to = 1 - packet.from;
                let msg = parse(packet.payload);
                self.ends[to].handle_message(self.now, msg, flow(packet.from, to, packet.transport));
            }
        }
        self.now = self.now.max(end);
    }

    pub fn run_for(&mut self, duration: Duration, user: User<'_>) {
        self.run_until(self.now + duration, user);
    }

    /// Runs for a time and gives the events with their sides.
    pub fn watch(&mut self, duration: Duration) -> Vec<(usize, Event)> {
        let mut seen = Vec::new();
        self.run_for(duration, &mut |_, _, side, event| seen.push((side, event)));
        seen
    }

    /// The labels of what one side has sent so far; forgets them.
    pub fn sent_by(&mut self, side: usize) -> Vec<String> {
        let labels = self.sent.iter().filter(|(_, from, _)| *from == side).map(|(.., label)| label.clone()).collect();
        self.sent.retain(|(_, from, _)| *from != side);
        labels
    }

    /// When one side sent messages of that label, in milliseconds.
    pub fn times_of(&self, side: usize, wanted: &str) -> Vec<u64> {
        let wanted = |(_, from, label): &&(u64, usize, String)| *from == side && label == wanted;
        self.sent.iter().filter(wanted).map(|(at, ..)| *at).collect()
    }

    pub fn assert_empty(&self) {
        for (side, end) in self.ends.iter().enumerate() {
            assert_eq!(end.counts(), Counts::default(), "side {side}");
        }
    }

    /// Sets up a call from side 0 to side 1 in fair weather; gives both dialogs.
    pub fn call(&mut self, r: OutRequest) -> (DialogId, DialogId) {
        let now = self.now;
        self.ends[0].send_request(now, r).expect("there is room");
        let (mut caller, mut callee) = (None, None);
        self.run_for(ms(100), &mut |end, now, _, event| match event {
            Event::Request { tx, .. } => {
                let answer = Response::new(200).body(sdp()).contact_user("bob");
                end.respond(now, tx, answer).expect("not answered yet");
                callee = end.dialog_of(tx);
            }
            Event::Response { dialog, response, .. } if response.status() == 200 => {
                caller = dialog;
                end.ack(now, dialog.expect("a 2xx has a dialog"), Headers::default(), None);
            }
            _ => {}
        });
        self.sent.clear();
        (caller.expect("answered"), callee.expect("called"))
    }
}

pub fn words(events: &[(usize, Event)]) -> Vec<String> {
    events.iter().map(|(side, event)| format!("{side} {}", word(event))).collect()
}

/// One endpoint against messages by hand. It is side 1, the peer writes as side 0.
pub struct Alone {
    pub now: Instant,
    pub end: Endpoint,
}

impl Alone {
    pub fn new() -> Alone {
        Alone { now: start(), end: endpoint(1) }
    }

    pub fn with(config: EndpointConfig) -> Alone {
        Alone { now: start(), end: Endpoint::new(config, [9; 32]) }
    }

    /// Hands in a message by UDP.
    pub fn get(&mut self, text: &str) {
        self.get_by(text, flow(0, 1, Transport::Udp));
    }

    pub fn get_by(&mut self, text: &str, flow: Flow) {
        self.end.handle_message(self.now, parse(text.to_owned()), flow);
    }

    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.end.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.end.handle_timeout(self.now);
        }
        self.now = end;
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.end.poll_event()).collect()
    }

    pub fn words(&mut self) -> Vec<String> {
        self.events().iter().map(word).collect()
    }

    pub fn sent(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.end.poll_transmit()).map(|transmit| parse(transmit.payload)).collect()
    }

    pub fn transmits(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.end.poll_transmit()).collect()
    }

    pub fn labels(&mut self) -> Vec<String> {
        self.sent().iter().map(label).collect()
    }

    /// The transaction of the request that was told of last.
    pub fn request_tx(&mut self) -> ServerTx {
        match self.events().pop() {
            Some(Event::Request { tx, .. } | Event::DialogRequest { tx, .. }) => tx,
            other => panic!("expected a request, got {other:?}"),
        }
    }
}
