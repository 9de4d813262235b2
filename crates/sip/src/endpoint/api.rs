//! The plain data that goes into and comes out of an [`Endpoint`](super::Endpoint): configuration, requests and
//! answers to send, events.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::key::Mark;
use crate::dialog::DialogId;
use crate::flow::{Flow, ListenerId, Target, Transport};
use crate::message::Message;
use crate::method::Method;
use crate::session_timer::SessionTimer;
use crate::timer::TimerTable;
use crate::uri::HostPort;
use crate::write::{Body, Headers};

/// A request we have received and have to answer. Never reused within an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerTx(pub u64);

/// A request we have sent. Never reused within an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientTx(pub u64);

/// One socket we receive on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerInfo {
    pub id: ListenerId,
    pub transport: Transport,
    pub local: SocketAddr,
    /// What peers are told: goes into Via sent-by and Contact.
    pub advertised: HostPort,
    /// What those in private and loopback ranges are told, where that is something else ([`crate::advertise`]).
    pub inside: Option<HostPort>,
}

impl ListenerInfo {
    /// What that peer is told.
    pub fn told_to(&self, peer: IpAddr) -> &HostPort {
        self.inside.as_ref().filter(|_| crate::advertise::is_inside(peer)).unwrap_or(&self.advertised)
    }
}

/// What an endpoint is made with.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    pub timers: TimerTable,
    /// Client and server transactions together. Above it new requests out of a dialog are answered 503. Half as many
    /// answers are kept beside them for requests that are repeated (timer J); the oldest makes room.
    pub max_transactions: usize,
    pub max_dialogs: usize,
    pub listeners: Vec<ListenerInfo>,
    /// Written as User-Agent into requests and as Server into answers.
    pub user_agent: Option<String>,
    /// Option tags for Supported; `timer` and `100rel` only appear in requests that use them. Without `timer` the
    /// session timers that peers ask for are passed over.
    pub supported: &'static [&'static str],
    /// Methods for Allow.
    pub allow: &'static [&'static str],
    /// RFC 3261 §18.1.1: longer requests go by TCP where the request names a listener for it; bytes.
    pub udp_size_limit: usize,
    /// What we want of sessions that peers set up with us; `None` leaves session timers to peers that ask for them.
    pub session: Option<SessionTimer>,
    /// Answer to the source port even where the Via does not ask for it by `rport` (RFC 3581). Phones behind NAT that
    /// know no rport need it, phones that send from another port than they listen on cannot bear it.
    pub force_rport: bool,
    /// Seconds that a refused peer is told to wait when we are full.
    pub retry_after: u32,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        EndpointConfig {
            timers: TimerTable::default(),
            max_transactions: 200_000,
            max_dialogs: 100_000,
            listeners: Vec::new(),
            user_agent: None,
            supported: &["100rel", "replaces", "timer"],
            allow: &[
                "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE", "PRACK", "MESSAGE", "REFER", "NOTIFY",
            ],
            udp_size_limit: 1300,
            session: None,
            force_rport: false,
            retry_after: 5,
        }
    }
}

/// An answer to a request. Via, From, To, Call-ID, CSeq, Record-Route, Contact, Allow, Supported, session timer fields
/// and Content-Length are written by the endpoint.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// `None` writes the usual phrase.
    pub reason: Option<Cow<'static, str>>,
    pub headers: Headers,
    pub body: Option<Body>,
    /// The user part of our Contact.
    pub contact_user: Option<String>,
}

impl Response {
    pub fn new(status: u16) -> Self {
        Response { status, reason: None, headers: Headers::default(), body: None, contact_user: None }
    }

    pub fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    pub fn header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push(name, value);
        self
    }

    pub fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    pub fn contact_user(mut self, user: impl Into<String>) -> Self {
        self.contact_user = Some(user.into());
        self
    }
}

/// Our Contact: the host is the listener's advertised address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// User part, escaped as it is to be written; `None` for none.
    pub user: Option<String>,
    /// Written after the URI's `>` as it is, for example `;expires=600;+sip.instance="<urn:uuid:…>"`.
    pub params: String,
    /// A whole `Contact` value in place of all this, for example `*`.
    pub raw: Option<String>,
}

/// A request out of any dialog, or the one that begins a dialog.
#[derive(Clone, Debug)]
pub struct OutRequest {
    pub method: Method<'static>,
    pub request_uri: String,
    pub target: Target,
    /// Route values in order, `<sip:…;lr>`.
    pub routes: Vec<String>,
    /// A name-addr without tag: `"Anna" <sip:anna@example.org>`.
    pub from: String,
    pub to: String,
    /// `None`: the listener's address without a user, for methods that need a Contact.
    pub contact: Option<Contact>,
    pub max_forwards: u8,
    pub headers: Headers,
    pub body: Option<Body>,
    /// RFC 4028: ask for this session timer (INVITE).
    pub session: Option<SessionTimer>,
    /// RFC 3262: let the peer answer provisionally with 100rel (INVITE).
    pub reliable: bool,
    pub call_id: Option<String>,
    pub cseq: Option<u32>,
    pub from_tag: Option<String>,
    /// RFC 3261 §18.1.1: a TCP listener from which the request goes to the same address where it is too long for UDP.
    /// If that connection fails it goes by UDP after all. The dialog inherits it.
    pub tcp_alternative: Option<ListenerId>,
}

/// A request of ours within a dialog, as it went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRequest {
    pub method: String,
    /// Its Request-URI.
    pub uri: String,
    pub remote: SocketAddr,
    /// It was sent again with credentials.
    pub has_credentials: bool,
}

impl OutRequest {
    pub fn new(method: Method<'static>, request_uri: impl Into<String>, target: Target) -> Self {
        OutRequest {
            method,
            request_uri: request_uri.into(),
            target,
            routes: Vec::new(),
            from: String::new(),
            to: String::new(),
            contact: None,
            max_forwards: 70,
            headers: Headers::default(),
            body: None,
            session: None,
            reliable: false,
            call_id: None,
            cseq: None,
            from_tag: None,
            tcp_alternative: None,
        }
    }
}

/// Why something could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportError {
    Refused,
    Unreachable,
    ConnectTimeout,
    /// The connection closed or was reset.
    Closed,
    /// The peer's certificate is not for the name we wanted (RFC 5922), or the handshake failed.
    Tls,
    /// The sending queue of that connection is full.
    QueueFull,
    TooLong,
    NoListener,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TransportError::Refused => "connection refused",
            TransportError::Unreachable => "address unreachable",
            TransportError::ConnectTimeout => "connecting took too long",
            TransportError::Closed => "connection closed",
            TransportError::Tls => "TLS handshake or certificate check failed",
            TransportError::QueueFull => "sending queue full",
            TransportError::TooLong => "message too long for the transport",
            TransportError::NoListener => "no such listener",
        })
    }
}

/// Why a request got no final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailCause {
    /// Timer B or F, or no final answer after a CANCEL; to be handled as 408 (RFC 3261 §8.1.3.1).
    Timeout,
    /// To be handled as 503.
    Transport(TransportError),
    /// A 2xx to an INVITE whose Call-ID or tags are not those of the request, or of one fork too many. The endpoint has
    /// acknowledged it and hung up; no other answer is waited for.
    ForeignAnswer,
}

/// What an endpoint refuses to do; always our own side's doing, never the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("no such transaction: it has been answered, has ended, or never was")]
    UnknownTransaction,
    #[error("no such dialog: it has ended or never was")]
    UnknownDialog,
    #[error("expected a listener of the configuration, got another id")]
    UnknownListener,
    #[error("the request has had its final answer")]
    AlreadyAnswered,
    #[error("expected a status of 100 to 699, got {0}")]
    BadStatus(u16),
    #[error("a provisional answer is for INVITE only (RFC 4320 §4.1)")]
    NotProvisional,
    #[error("the peer did not offer 100rel (RFC 3262 §3)")]
    NotReliable,
    #[error("as many reliable provisional answers wait for a PRACK as may")]
    TooManyProvisional,
    #[error("a request of this kind is still unanswered in this dialog (RFC 3261 §14, RFC 3311 §5)")]
    Pending,
    #[error("the dialog is not in a state for this request")]
    WrongState,
    #[error("this method is not sent this way")]
    WrongMethod,
    #[error("as many transactions or dialogs as configured are in use")]
    Full,
}

/// What happened. Events come in the order in which things happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Out of dialog. An INVITE gets its 100 at the next `poll_transmit` unless it has been answered by then. Merged
    /// requests got 482, Max-Forwards 0 got 483, Max-Breadth 0 got 440.
    Request {
        tx: ServerTx,
        request: Message,
        flow: Flow,
    },
    /// The CANCEL was answered 200 and the INVITE 487, both by the endpoint.
    Cancelled {
        tx: ServerTx,
        cancel: Message,
    },
    /// Stale CSeq was answered 500, glare 491 or 500 by the endpoint. The user answers, BYE too.
    DialogRequest {
        dialog: DialogId,
        tx: ServerTx,
        request: Message,
        flow: Flow,
    },
    /// The first ACK for a 2xx of ours.
    Ack {
        dialog: DialogId,
        ack: Message,
    },
    /// An INVITE that was answered by [`Endpoint::respond_marked`](super::Endpoint::respond_marked) was acknowledged from
    /// where the answer went. Repeated when the ACK is.
    Acknowledged {
        mark: Mark,
        ack: Message,
        flow: Flow,
    },
    /// 64*T1 without an ACK for our 2xx: the user should send BYE (RFC 3261 §13.3.1.4).
    AckTimeout {
        dialog: DialogId,
    },
    /// The PRACK for our reliable provisional answer. The endpoint answered it unless it carries a body; then it comes
    /// as a `DialogRequest` as well.
    ReliableAcked {
        tx: ServerTx,
        prack: Message,
    },
    /// 64*T1 without a PRACK: the user should refuse the INVITE with a 5xx (RFC 3262 §3).
    ReliableTimeout {
        tx: ServerTx,
    },
    /// 101 to 699, without retransmissions; every forked 2xx with its own dialog.
    Response {
        tx: ClientTx,
        dialog: Option<DialogId>,
        response: Message,
    },
    Failed {
        tx: ClientTx,
        dialog: Option<DialogId>,
        cause: FailCause,
    },
    /// RFC 4028 §10: send an UPDATE or a re-INVITE.
    SessionRefreshDue {
        dialog: DialogId,
    },
    /// RFC 4028 §10: send a BYE.
    SessionExpired {
        dialog: DialogId,
    },
    /// The dialog is gone from the endpoint.
    DialogEnded {
        dialog: DialogId,
    },
}

/// What is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub client: usize,
    pub server: usize,
    pub dialogs: usize,
}

/// What has been dropped or refused without troubling the user; only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests received again and absorbed.
    pub retransmissions: u64,
    /// Answers to nothing we have sent.
    pub stray_responses: u64,
    /// ACKs for nothing we have answered.
    pub stray_acks: u64,
    /// Requests for dialogs we do not know (481).
    pub unknown_dialogs: u64,
    /// Requests refused with 503 because we are full.
    pub refused_full: u64,
    /// 482, 483 and 440.
    pub loops: u64,
}

/// Who is asking, for when we are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Normal,
    /// A tenth of the room beyond the limit is kept for these (registered phones, requests within dialogs).
    High,
}

/// What a message would be to the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Of a transaction that is there: answers, CANCEL, ACK and repeated requests.
    Known,
    /// A request with a To tag that is no retransmission.
    InDialog,
    /// A new request out of dialog.
    New,
    /// An answer or ACK to nothing we know.
    Stray,
}
