//! A telephone as pure code over `ringfort_sip::endpoint`: it registers, calls, answers, holds, hangs up, and sends
//! and recognises tones. No socket, no clock, no thread: the owner passes `now` and input in and drains what is to
//! be sent and told. Called by the binary's `selftest`, by the simulation and by load tests.

mod calls;
mod config;
mod events;
mod media;
mod registration;
mod remote;
mod requests;
mod session;
pub mod tone;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use ringfort_sip::endpoint::{ClientTx, Counts, DialogId, Endpoint, EndpointConfig, EndpointError, ServerTx};
use ringfort_sip::flow::{ConnId, Flow, Transmit, TransmitToken};
use ringfort_sip::message::Message;
use ringfort_sip::timer::TimerTable;
use thiserror::Error;

pub use crate::config::{AnswerPolicy, MediaSettings, PhoneConfig, SrtpMode};
pub use crate::media::{MediaReport, RtpTransmit};
pub use crate::session::Agreed;
pub use ringfort_media::sdp::Direction;
pub use ringfort_sip::endpoint::TransportError;

use crate::calls::Call;
use crate::registration::Registration;
use crate::requests::Purpose;

/// One call of one phone; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallRef(pub u64);

/// Who brought a call to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndedBy {
    /// This phone hung up, cancelled or rejected.
    Us,
    /// The other side hung up, cancelled or refused.
    Peer,
    /// Nobody answered at all, or the session was not refreshed.
    Lost,
}

/// What a phone tells its owner.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The registrar took our contact for that long.
    Registered { expires: Duration },
    /// Our contact is gone from the registrar, as asked.
    Unregistered,
    /// A REGISTER failed for good: its status, 408 where nobody answered, 503 where it could not be sent.
    RegisterFailed { status: u16 },
    /// Somebody calls; `from` and `to` are the user parts of From and To.
    Incoming { call: CallRef, from: String, to: String },
    /// The called phone rings (a 180 or 183 came).
    Ringing { call: CallRef, status: u16 },
    /// The call is up: we got 200, or our 200 was acknowledged.
    Answered { call: CallRef },
    /// The call is over, told once: the final status of the INVITE, or 200 where it had been answered; the reason is
    /// the peer's Reason header field or the status's phrase.
    Ended { call: CallRef, status: u16, reason: String, by: EndedBy },
    /// The direction of media changed: by us or by the peer.
    Media { call: CallRef, direction: Direction, by_peer: bool },
    /// A re-INVITE or UPDATE of ours was refused; the session is as it was before.
    ChangeFailed { call: CallRef, status: u16 },
    /// A MESSAGE came.
    Message { from: String, text: String },
    /// An INFO came in a call.
    Info { call: CallRef, body: Vec<u8> },
    /// A MESSAGE, OPTIONS or INFO of ours has its final answer (408 where nobody answered).
    Done { method: &'static str, status: u16 },
}

/// Why a verb could not be carried out.
#[derive(Debug, Error)]
pub enum PhoneError {
    #[error("there is no call {}", .0.0)]
    NoSuchCall(CallRef),
    #[error("expected a call that is {expected}, got one that is {got}")]
    State { expected: &'static str, got: &'static str },
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Timers of the phone beside those of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Refresh or retry the registration; of that generation only.
    Register { generation: u32 },
    /// The second step of the answer policy that the call came in under.
    Policy { call: CallRef, answer: AnswerPolicy },
    /// Try the session change that met a 491 again (RFC 3261 §14.1).
    Glare { call: CallRef },
}

/// A telephone.
pub struct Phone {
    config: PhoneConfig,
    endpoint: Endpoint,
    rng: ChaCha8Rng,
    registration: Registration,
    calls: BTreeMap<CallRef, Call>,
    next_call: u64,
    by_dialog: BTreeMap<DialogId, CallRef>,
    by_server: BTreeMap<ServerTx, CallRef>,
    pending: BTreeMap<ClientTx, Purpose>,
    timers: BTreeMap<(Instant, u64), Timer>,
    next_timer: u64,
    events: VecDeque<Event>,
}

impl Phone {
    /// A phone that has done nothing yet. The same seed makes the same tags, keys and nonces.
    pub fn new(config: PhoneConfig, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let endpoint_config = EndpointConfig {
            timers: TimerTable::from_base(config.t1, Duration::from_secs(4), Duration::from_secs(5)),
            listeners: vec![config.listener.clone()],
            user_agent: config.user_agent.clone(),
            supported: if config.knows_timer { EndpointConfig::default().supported } else { &["100rel", "replaces"] },
            ..EndpointConfig::default()
        };
        let mut endpoint_seed = [0; 32];
        rand::Rng::fill_bytes(&mut rng, &mut endpoint_seed);
        Self {
            registration: Registration::new(config.credentials.as_ref(), &mut rng),
            endpoint: Endpoint::new(endpoint_config, endpoint_seed),
            config,
            rng,
            calls: BTreeMap::new(),
            next_call: 1,
            by_dialog: BTreeMap::new(),
            by_server: BTreeMap::new(),
            pending: BTreeMap::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            events: VecDeque::new(),
        }
    }

    /// Its settings.
    pub fn config(&self) -> &PhoneConfig {
        &self.config
    }

    /// How it answers calls that come from now on.
    pub fn set_answer(&mut self, answer: AnswerPolicy) {
        self.config.answer = answer;
    }

    /// One message from the network.
    pub fn handle_message(&mut self, now: Instant, message: Message, flow: Flow) {
        self.endpoint.handle_message(now, message, flow);
        self.drain(now);
    }

    /// A message could not be sent.
    pub fn handle_send_failed(&mut self, now: Instant, token: TransmitToken, error: TransportError) {
        self.endpoint.handle_transport_error(now, token, error);
        self.drain(now);
    }

    /// A stream connection is gone: a registration over it is made anew (RFC 5626 §4.4.1).
    pub fn handle_conn_closed(&mut self, now: Instant, conn: ConnId) {
        self.endpoint.handle_flow_closed(now, conn);
        self.drain(now);
        self.register_over_new_connection(now);
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.drain(now);
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                Timer::Register { generation } => self.register_timer(now, generation),
                Timer::Policy { call, answer } => self.policy_timer(now, call, answer),
                Timer::Glare { call } => self.glare_timer(now, call),
            }
            self.drain(now);
        }
    }

    /// When [`Self::handle_timeout`] is to be called next; media included.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timer = self.timers.first_key_value().map(|(key, _)| key.0);
        let media = self.calls.values().filter_map(Call::next_packet).min();
        [self.endpoint.poll_timeout(), timer, media].into_iter().flatten().min()
    }

    /// The next SIP message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next RTP or RTCP packet that is due.
    pub fn poll_rtp(&mut self, now: Instant) -> Option<RtpTransmit> {
        self.calls.values_mut().find_map(|call| call.poll_rtp(now))
    }

    /// An RTP or RTCP packet that came to one of our ports.
    pub fn handle_rtp(&mut self, now: Instant, port: u16, packet: &mut [u8]) {
        if let Some(call) = self.calls.values_mut().find(|call| call.has_port(port)) {
            call.handle_rtp(now, port, packet);
        }
    }

    /// Transactions and dialogs that exist.
    pub fn counts(&self) -> Counts {
        self.endpoint.counts()
    }

    /// Calls that exist, oldest first: those whose BYE is not answered yet included.
    pub fn calls(&self) -> impl Iterator<Item = CallRef> + '_ {
        self.calls.keys().copied()
    }

    /// Calls that are up, oldest first.
    pub fn talking(&self) -> impl Iterator<Item = CallRef> + '_ {
        self.calls.iter().filter(|(_, call)| call.is_talking()).map(|(&call, _)| call)
    }

    /// Whether the registrar has our contact.
    pub fn is_registered(&self) -> bool {
        self.registration.is_registered()
    }

    /// What was agreed on in a call, where something was.
    pub fn agreed(&self, call: CallRef) -> Option<&Agreed> {
        self.calls.get(&call).and_then(Call::agreed)
    }

    /// What was heard and lost in a call so far; `None` for a phone without packets or before an answer.
    pub fn media_report(&self, call: CallRef) -> Option<MediaReport> {
        self.calls.get(&call).and_then(Call::media_report)
    }

    fn arm(&mut self, at: Instant, timer: Timer) {
        self.next_timer += 1;
        self.timers.insert((at, self.next_timer), timer);
    }
}
