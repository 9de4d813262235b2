//! The core of a SIP user agent (RFC 3261 §8, §12 to §15): transactions, dialogs, 2xx repetition, 100rel (RFC 3262),
//! UPDATE (RFC 3311), session timers (RFC 4028), loops (RFC 5393). `handle_*` takes what happened, `poll_*` gives what
//! is to be sent and told. Used by `switch` and `phone`.
//!
//! A request costs little until it is answered: it gets a slot and an index entry, no timer for INVITE, and its 100 is
//! written at the next `poll_transmit` only if nobody has answered by then. So whoever challenges or refuses uses
//! [`Endpoint::respond_stateless`], which frees the slot at once, or [`Endpoint::forget`], which says nothing at all.

mod answered;
mod api;
mod callee;
mod compose;
mod in_dialog;
mod incoming;
mod key;
mod outgoing;
mod reliable;
mod responses;
mod slab;
mod unreachable;
mod wake;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::ChaCha12Rng;
use rand::{Rng, RngExt, SeedableRng};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

pub use crate::dialog::{Dialog, DialogId, DialogState, Side};
pub use crate::session_timer::{Refresher, Session, SessionTimer};
pub use crate::timer::{Timer, TimerTable};
pub use api::*;
pub use key::Mark;
pub use reliable::MOST_WAITING;

use crate::flow::{ConnId, Flow, Target, Transmit, TransmitToken};
use crate::message::{Message, Method};
use crate::timer::{Owner, TimerQueue};
use crate::transaction::Clock;
use crate::transaction::client::ClientMachine;
use crate::transaction::server::ServerMachine;
use crate::write::{Body, Headers};
use answered::AnsweredQueue;
use compose::Writer;
use key::{Kind, Secret, Tag};
use reliable::Reliable;
use slab::Slab;

/// A request that we answer.
struct Server {
    key: u128,
    /// Where it is found by merged requests (RFC 3261 §8.2.2.2); requests out of dialog only.
    merge_key: Option<u64>,
    machine: ServerMachine,
    kind: Kind,
    cseq: u32,
    /// Until the final answer.
    request: Option<Message>,
    flow: Flow,
    /// Answers go to this port of the source (RFC 3261 §18.2.2, RFC 3581).
    reply_port: u16,
    /// Our To tag, where the request had none.
    tag: Tag,
    /// The dialog it came in or has begun.
    dialog: Option<DialogId>,
    in_dialog: bool,
    /// The latest answer, ready to be sent again.
    last: Option<Bytes>,
    reliable: Option<Box<Reliable>>,
}

/// What has become of the wish to cancel an INVITE.
enum Cancel {
    No,
    /// No provisional answer has come yet (RFC 3261 §9.1).
    Wanted(Headers),
    Sent(ClientTx),
}

/// What is needed to send a request again with another branch.
enum Source {
    /// Out of dialog; Call-ID, From tag and CSeq are filled in.
    New(Box<OutRequest>),
    InDialog {
        method: MethodName,
        headers: Headers,
        body: Option<Body>,
    },
    /// Sent by the endpoint itself: CANCEL and PRACK.
    Own,
}

/// A method without a borrow.
enum MethodName {
    Known(Method<'static>),
    Other(Box<str>),
}

impl MethodName {
    fn of(method: Method<'_>) -> Self {
        method.known().map_or_else(|| MethodName::Other(method.as_str().into()), MethodName::Known)
    }

    fn get(&self) -> Method<'_> {
        match self {
            MethodName::Known(method) => *method,
            MethodName::Other(name) => Method::Other(name),
        }
    }
}

/// A request of ours.
struct Client {
    machine: ClientMachine,
    kind: Kind,
    cseq: u32,
    /// The random half of the branch.
    nonce: u64,
    target: Target,
    /// The request; after a refused INVITE the ACK.
    payload: Bytes,
    /// Where it goes if TCP, taken for its length, cannot be had (RFC 3261 §18.1.1).
    fallback: Option<Target>,
    /// The dialog it is sent in.
    dialog: Option<DialogId>,
    /// The dialogs that answers to it have begun, in order.
    forks: SmallVec<[DialogId; 1]>,
    /// Keys of the dialogs whose 2xx the user has been told of.
    accepted: SmallVec<[u128; 1]>,
    source: Source,
    cancel: Cancel,
    /// The INVITE that this CANCEL is for.
    cancels: Option<ClientTx>,
    /// The session timer it asks for.
    session: Option<SessionTimer>,
    /// A 422 has answered it, with this Min-SE.
    too_short: Option<Option<u32>>,
    /// How often the interval has been raised for it.
    raises: u8,
    /// The connection whose end would fail it.
    conn: Option<ConnId>,
    has_body: bool,
}

/// The user agent core. See the module's text.
pub struct Endpoint {
    config: EndpointConfig,
    writer: Writer,
    rng: ChaCha12Rng,
    secret: Secret,
    timers: TimerQueue,
    servers: Slab<Server>,
    server_keys: FxHashMap<u128, ServerTx>,
    /// Non-INVITE requests after their final answer.
    answered: AnsweredQueue,
    merge_keys: FxHashSet<u64>,
    clients: Slab<Client>,
    by_conn: FxHashMap<ConnId, BTreeSet<ClientTx>>,
    dialogs: Slab<Dialog>,
    dialog_keys: FxHashMap<u128, DialogId>,
    out: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// Requests that came since the last `poll_transmit`, and when: INVITEs may need a 100, others a timer.
    fresh: Vec<(ServerTx, Instant)>,
    stats: Stats,
}

/// A clock for one owner, beside the other fields of the endpoint.
fn clock<'a>(timers: &'a mut TimerQueue, config: &'a EndpointConfig, now: Instant, owner: Owner) -> Clock<'a> {
    Clock { now, owner, queue: timers, table: &config.timers }
}

impl Endpoint {
    /// `seed` feeds branches, tags, Call-IDs and the hash keys; it has to be secret and used once.
    pub fn new(mut config: EndpointConfig, seed: [u8; 32]) -> Self {
        let least = Duration::from_millis(1);
        let table = &mut config.timers;
        for timer in [&mut table.t1, &mut table.t2, &mut table.t4, &mut table.ringing] {
            *timer = (*timer).max(least);
        }
        let mut rng = ChaCha12Rng::from_seed(seed);
        Endpoint {
            writer: Writer::new(&config),
            secret: Secret::new(&mut rng),
            timers: TimerQueue::new(&config.timers),
            rng,
            config,
            servers: Slab::new(),
            server_keys: FxHashMap::default(),
            answered: AnsweredQueue::default(),
            merge_keys: FxHashSet::default(),
            clients: Slab::new(),
            by_conn: FxHashMap::default(),
            dialogs: Slab::new(),
            dialog_keys: FxHashMap::default(),
            out: VecDeque::new(),
            events: VecDeque::new(),
            fresh: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// A message came. Equal to [`Endpoint::handle_message_from`] with normal priority.
    pub fn handle_message(&mut self, now: Instant, msg: Message, flow: Flow) {
        self.handle_message_from(now, msg, flow, Priority::Normal);
    }

    /// A message came from somebody of that priority, which matters only when [`Endpoint::is_full`].
    pub fn handle_message_from(&mut self, now: Instant, msg: Message, flow: Flow, priority: Priority) {
        if msg.is_request() {
            self.on_request(now, msg, flow, priority);
        } else {
            self.on_response(now, msg, flow);
        }
    }

    /// The send with that token failed.
    pub fn handle_transport_error(&mut self, now: Instant, token: TransmitToken, reason: TransportError) {
        self.on_transport_error(now, ClientTx(token.0), reason);
    }

    /// A connection has closed: requests that wait for an answer on it fail.
    pub fn handle_flow_closed(&mut self, now: Instant, conn: ConnId) {
        for tx in self.by_conn.remove(&conn).unwrap_or_default() {
            self.on_transport_error(now, tx, TransportError::Closed);
        }
    }

    /// Lets everything happen that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.settle_fresh();
        while let Some((at, owner, timer)) = self.timers.pop_due(now) {
            match owner {
                Owner::Client(tx) => self.wake_client(now, tx, timer, at),
                Owner::Server(tx) => self.wake_server(now, tx, timer, at),
                Owner::Dialog(dialog) => self.wake_dialog(now, dialog, timer, at),
            }
        }
        while let Some(answered) = self.answered.pop_due(now) {
            self.forget_merged(answered.merge_key);
        }
    }

    /// When to call `handle_timeout` next; it may turn out that nothing is due then.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let fresh = self.fresh.first().map(|(_, came)| *came + self.config.timers.f);
        [self.timers.next(), self.answered.next(), fresh].into_iter().flatten().min()
    }

    /// The next message to send. Drain the events first: an INVITE that has been answered by then gets no 100.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if !self.fresh.is_empty() {
            self.settle_fresh();
        }
        self.out.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn dialog(&self, id: DialogId) -> Option<&Dialog> {
        self.dialogs.get(id.0)
    }

    /// The dialog that a request came in, or that a 101 to 299 answer to an INVITE has begun.
    pub fn dialog_of(&self, tx: ServerTx) -> Option<DialogId> {
        self.servers.get(tx.0)?.dialog
    }

    /// Sets where requests of a dialog go, for instance the flow of the peer's registration, or an address found for
    /// [`Dialog::next_hop_uri`].
    pub fn set_target(&mut self, dialog: DialogId, target: Target) {
        if let Some(dialog) = self.dialogs.get_mut(dialog.0) {
            dialog.target = target;
        }
    }

    /// Forgets a dialog without a word to the peer; no `DialogEnded` comes.
    pub fn end_dialog(&mut self, dialog: DialogId) {
        self.remove_dialog(dialog);
    }

    pub fn counts(&self) -> Counts {
        Counts {
            client: self.clients.len(),
            server: self.servers.len() + self.answered.len(),
            dialogs: self.dialogs.len(),
        }
    }

    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Whether new requests of normal priority are refused.
    pub fn is_full(&self) -> bool {
        self.in_use() >= self.config.max_transactions || self.dialogs.len() >= self.config.max_dialogs
    }

    /// What `handle_message` would take a message for; changes nothing.
    pub fn peek(&self, msg: &Message) -> Peek {
        if !msg.is_request() {
            return if self.find_client(msg).is_some() { Peek::Known } else { Peek::Stray };
        }
        let kind = Kind::of(msg.method());
        let key = self.secret.server_key(msg, kind);
        if self.server_keys.contains_key(&key) || self.answered.get(key).is_some() {
            return Peek::Known;
        }
        match (kind, msg.to_tag()) {
            (Kind::Ack, _) if self.dialog_for(msg).is_none() => Peek::Stray,
            (Kind::Ack | Kind::Cancel, _) => Peek::Known,
            (Kind::Register, _) | (_, None) => Peek::New,
            (_, Some(_)) => Peek::InDialog,
        }
    }

    /// Whether a message belongs to a dialog that is alive.
    pub fn knows_dialog(&self, msg: &Message) -> bool {
        self.dialog_for(msg).is_some()
    }

    /// How long to wait after a 491 before the request is sent again (RFC 3261 §14.1).
    pub fn glare_wait(&mut self, dialog: DialogId) -> Duration {
        let ours = self.dialogs.get(dialog.0).is_some_and(|dialog| dialog.side == Side::Caller);
        let step = if ours { self.rng.random_range(210..=400) } else { self.rng.random_range(0..=200) };
        Duration::from_millis(step * 10)
    }

    fn forget_merged(&mut self, merge_key: Option<u64>) {
        if let Some(merge_key) = merge_key {
            self.merge_keys.remove(&merge_key);
        }
    }

    /// Requests that are being dealt with. Answers that are kept for repetitions do not count: they never are a reason
    /// to refuse somebody.
    fn in_use(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Room for the given priority, of `limit`.
    fn room(limit: usize, priority: Priority) -> usize {
        match priority {
            Priority::Normal => limit,
            Priority::High => limit + limit.div_ceil(10),
        }
    }

    fn has_room(&self, priority: Priority) -> bool {
        self.in_use() < Self::room(self.config.max_transactions, priority)
    }

    fn transmit(&mut self, target: Target, payload: Bytes) {
        self.out.push_back(Transmit { target, payload, token: None });
    }

    fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    fn random_hex(&mut self) -> Tag {
        Tag::new(self.rng.next_u64())
    }
}
