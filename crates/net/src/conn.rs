//! One TCP or TLS connection: bytes in through the framer, messages out through a bounded queue. It never waits.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringfort_sip::endpoint::TransportError;
use ringfort_sip::flow::{ConnId, Flow, ListenerId, TransmitToken, Transport};
use ringfort_sip::frame::{Frame, StreamFramer};
use ringfort_sip::message::{Limits, ParseError};

use crate::sys::epoll::Interest;
use crate::sys::would_block;

/// Octets read from one connection in one pass, so that others have their turn.
const READ_BUDGET: usize = 128 * 1024;
/// Plain text that rustls may hold while the socket takes no more.
const TLS_BUFFER: usize = 64 * 1024;
/// What a queued message costs beside its octets, so that many small ones have a bound, too.
const QUEUED_OVERHEAD: usize = 64;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// TCP: our SYN is on its way.
    Connecting,
    Handshaking,
    Open,
}

/// Who began it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Accepted,
    /// We connected; the name that the certificate was checked for.
    Connected {
        server_name: Option<Arc<str>>,
    },
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The peer closed or reset it.
    Peer,
    Refused,
    Unreachable,
    /// Connecting, the first message or anything at all did not come in time.
    TimedOut,
    Tls,
    /// The core wants it closed, a limit or a ban.
    Ours,
}

impl CloseReason {
    /// What the sender of a message that still waits is told.
    pub(crate) fn transport_error(self) -> TransportError {
        match self {
            CloseReason::Peer | CloseReason::Ours => TransportError::Closed,
            CloseReason::Refused => TransportError::Refused,
            CloseReason::Unreachable => TransportError::Unreachable,
            CloseReason::TimedOut => TransportError::ConnectTimeout,
            CloseReason::Tls => TransportError::Tls,
        }
    }

    fn of_connecting(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => CloseReason::Refused,
            io::ErrorKind::TimedOut => CloseReason::TimedOut,
            _ => CloseReason::Unreachable,
        }
    }
}

struct Queued {
    payload: Bytes,
    token: Option<TransmitToken>,
}

impl Queued {
    /// Its share of the queue's limit, octets.
    fn cost(&self) -> usize {
        self.payload.len() + QUEUED_OVERHEAD
    }
}

pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) transport: Transport,
    pub(crate) listener: ListenerId,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) origin: Origin,
    pub(crate) phase: Phase,
    /// Nobody we know is at the other end.
    pub(crate) stranger: bool,
    /// A whole message has come.
    pub(crate) spoke: bool,
    pub(crate) began: Instant,
    /// When anything last came.
    pub(crate) heard: Instant,
    /// Not read before then: its source is over its rate.
    pub(crate) paused_until: Option<Instant>,
    /// To be closed once the queue is empty.
    pub(crate) closing: bool,
    /// What epoll was told.
    pub(crate) interest: Interest,
    pub(crate) socket: TcpStream,
    tls: Option<Box<rustls::Connection>>,
    framer: StreamFramer,
    /// Found, but not taken yet because of the rate limit.
    stash: Option<Frame>,
    queue: VecDeque<Queued>,
    queued: usize,
    /// Octets of the first message that are gone already.
    gone: usize,
}

/// What a connection is made of.
pub(crate) struct Parts {
    pub(crate) id: ConnId,
    pub(crate) transport: Transport,
    pub(crate) listener: ListenerId,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) origin: Origin,
    pub(crate) socket: TcpStream,
    pub(crate) tls: Option<rustls::Connection>,
}

impl Conn {
    pub(crate) fn new(parts: Parts, limits: &Limits, now: Instant) -> Self {
        let Parts { id, transport, listener, local, remote, origin, socket, tls } = parts;
        let phase = match (&origin, &tls) {
            (Origin::Connected { .. }, _) => Phase::Connecting,
            (Origin::Accepted, Some(_)) => Phase::Handshaking,
            (Origin::Accepted, None) => Phase::Open,
        };
        let tls = tls.map(|mut tls| {
            tls.set_buffer_limit(Some(TLS_BUFFER));
            Box::new(tls)
        });
        Self {
            id,
            transport,
            listener,
            local,
            remote,
            stranger: origin == Origin::Accepted,
            origin,
            phase,
            spoke: false,
            began: now,
            heard: now,
            paused_until: None,
            closing: false,
            interest: Interest { read: true, write: phase == Phase::Connecting },
            socket,
            tls,
            framer: StreamFramer::new(limits.clone()),
            stash: None,
            queue: VecDeque::new(),
            queued: 0,
            gone: 0,
        }
    }

    pub(crate) fn flow(&self) -> Flow {
        Flow {
            transport: self.transport,
            listener: self.listener,
            conn: Some(self.id),
            local: self.local,
            remote: self.remote,
        }
    }

    /// Queues a message, if it and what waits already stay within `limit` octets, their overhead included.
    pub(crate) fn enqueue(&mut self, payload: Bytes, token: Option<TransmitToken>, limit: usize) -> bool {
        let queued = Queued { payload, token };
        if self.queued + queued.cost() > limit || self.closing {
            return false;
        }
        self.queued += queued.cost();
        self.queue.push_back(queued);
        true
    }

    /// Tokens of what has not been sent, when the connection ends.
    pub(crate) fn unsent(&mut self) -> impl Iterator<Item = TransmitToken> {
        self.queued = 0;
        self.queue.drain(..).filter_map(|queued| queued.token)
    }

    /// The socket can be written: the connection is there now, or there is room again.
    pub(crate) fn writable(&mut self) -> Result<(), CloseReason> {
        if self.phase == Phase::Connecting {
            match self.socket.take_error() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => return Err(CloseReason::of_connecting(&error)),
            }
            self.local = self.socket.local_addr().map_err(|_| CloseReason::Unreachable)?;
            self.phase = if self.tls.is_some() { Phase::Handshaking } else { Phase::Open };
        }
        self.write()
    }

    /// Sends what can be sent now.
    pub(crate) fn write(&mut self) -> Result<(), CloseReason> {
        if self.phase == Phase::Connecting {
            return Ok(());
        }
        match self.tls.take() {
            None => self.write_plain(),
            Some(mut tls) => {
                let result = self.write_tls(&mut tls);
                self.tls = Some(tls);
                result
            }
        }
    }

    fn write_plain(&mut self) -> Result<(), CloseReason> {
        while let Some(first) = self.queue.front() {
            match self.socket.write(&first.payload[self.gone..]) {
                Ok(count) => {
                    self.gone += count;
                    if self.gone == first.payload.len() {
                        self.finish_first();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if would_block(&error) => return Ok(()),
                Err(_) => return Err(CloseReason::Peer),
            }
        }
        Ok(())
    }

    fn write_tls(&mut self, tls: &mut rustls::Connection) -> Result<(), CloseReason> {
        loop {
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if would_block(&error) => return Ok(()),
                    Err(_) => return Err(CloseReason::Peer),
                }
            }
            if tls.is_handshaking() {
                return Ok(());
            }
            let Some(first) = self.queue.front() else { return Ok(()) };
            let count = tls.writer().write(&first.payload[self.gone..]).map_err(|_| CloseReason::Tls)?;
            self.gone += count;
            if self.gone == first.payload.len() {
                self.finish_first();
            }
        }
    }

    fn finish_first(&mut self) {
        self.gone = 0;
        if let Some(done) = self.queue.pop_front() {
            self.queued -= done.cost();
        }
    }

    /// Whether something waits for room in the socket.
    pub(crate) fn wants_write(&self) -> bool {
        self.phase == Phase::Connecting
            || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
            || !self.queue.is_empty() && self.phase == Phase::Open
    }

    /// Reads what has come, up to a budget, into the framer. What came before an end of the stream can still be taken.
    pub(crate) fn read(&mut self, now: Instant, scratch: &mut [u8]) -> Result<(), CloseReason> {
        if self.phase == Phase::Connecting {
            return Ok(());
        }
        match self.tls.take() {
            None => self.read_plain(now, scratch),
            Some(mut tls) => {
                let result = self.read_tls(now, &mut tls, scratch);
                self.tls = Some(tls);
                result
            }
        }
    }

    fn read_plain(&mut self, now: Instant, scratch: &mut [u8]) -> Result<(), CloseReason> {
        let mut taken = 0;
        while taken < READ_BUDGET {
            match self.socket.read(scratch) {
                Ok(0) => return Err(CloseReason::Peer),
                Ok(count) => {
                    self.heard = now;
                    self.framer.push(&scratch[..count]);
                    taken += count;
                    if count < scratch.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if would_block(&error) => return Ok(()),
                Err(_) => return Err(CloseReason::Peer),
            }
        }
        Ok(())
    }

    fn read_tls(&mut self, now: Instant, tls: &mut rustls::Connection, scratch: &mut [u8]) -> Result<(), CloseReason> {
        let mut taken = 0;
        while taken < READ_BUDGET {
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(CloseReason::Peer),
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if would_block(&error) => break,
                Err(_) => return Err(CloseReason::Peer),
            }
            self.heard = now;
            if let Err(error) = tls.process_new_packets() {
                match &self.origin {
                    // A server that an operator wants to reach: what is wrong with it is for him to know.
                    Origin::Connected { server_name } => {
                        let (remote, name) = (self.remote, server_name.as_deref());
                        tracing::info!(rule = "tls", %remote, name, "{}", crate::tls::trouble(&error));
                    }
                    Origin::Accepted => tracing::debug!(rule = "tls", remote = %self.remote, %error, "TLS failed"),
                }
                // The alert says why; whether it arrives does not matter any more.
                let _ = tls.write_tls(&mut self.socket);
                return Err(CloseReason::Tls);
            }
            loop {
                match tls.reader().read(scratch) {
                    Ok(0) => return Err(CloseReason::Peer),
                    Ok(count) => self.framer.push(&scratch[..count]),
                    Err(error) if would_block(&error) => break,
                    Err(_) => return Err(CloseReason::Peer),
                }
            }
        }
        if self.phase == Phase::Handshaking && !tls.is_handshaking() {
            self.phase = Phase::Open;
        }
        self.write_tls(tls)
    }

    /// The next message or keep-alive. It stays with the connection until it is taken.
    ///
    /// # Errors
    /// The stream cannot be read any further.
    pub(crate) fn peek(&mut self) -> Result<Option<&Frame>, ParseError> {
        if self.stash.is_none() {
            self.stash = self.framer.poll()?;
        }
        Ok(self.stash.as_ref())
    }

    pub(crate) fn take(&mut self) -> Option<Frame> {
        self.stash.take()
    }

    /// Tells the peer that nothing more comes, as far as that goes without waiting.
    pub(crate) fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The connection ends either way.
            let _ = tls.write_tls(&mut self.socket);
        }
    }

    /// Whether a message for that server may go out here: what we opened for that name, or any connection where the
    /// name need not be proven (RFC 5923 §4: an accepted TLS connection proves no name).
    pub(crate) fn may_carry(&self, wanted: Option<&str>) -> bool {
        match (&self.origin, self.transport) {
            _ if self.closing => false,
            (_, Transport::Tcp) => true,
            (Origin::Connected { server_name }, _) => server_name.as_deref() == wanted,
            (Origin::Accepted, _) => wanted.is_none(),
        }
    }
}
