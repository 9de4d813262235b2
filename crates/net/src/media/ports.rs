//! The sockets of media ports: bound when the first stream comes to a port, closed when the last one leaves it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use ringfort_media::types::{PortId, StreamId};
use rustc_hash::FxHashMap;

use crate::sys::epoll::{Epoll, Interest};
use crate::sys::socket;

/// One half of a port pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortAt {
    pub(super) port: PortId,
    pub(super) is_rtcp: bool,
}

impl PortAt {
    fn number(self) -> u16 {
        if self.is_rtcp { self.port.rtcp() } else { self.port.rtp() }
    }
}

struct Open {
    socket: UdpSocket,
    at: PortAt,
    is_v6: bool,
    /// How many datagrams to ask for next.
    wanted: usize,
    /// The pass in which it was last read.
    read_in: u64,
}

/// Datagrams asked for by one system call, at most.
pub(super) const MOST: usize = 64;

const NONE: u32 = u32::MAX;

pub(super) struct Ports {
    bind: Vec<IpAddr>,
    buffer: usize,
    /// By socket index.
    open: Vec<Option<Open>>,
    free: Vec<u32>,
    /// Socket index by family and UDP port number.
    index: Box<[u32]>,
    streams: FxHashMap<StreamId, PortId>,
    /// How many streams a port has.
    users: FxHashMap<PortId, u32>,
}

impl Ports {
    pub(super) fn new(bind: &[IpAddr], buffer: usize) -> Self {
        Self {
            bind: bind.to_vec(),
            buffer,
            open: Vec::new(),
            free: Vec::new(),
            index: vec![NONE; 2 << 16].into_boxed_slice(),
            streams: FxHashMap::default(),
            users: FxHashMap::default(),
        }
    }

    /// A stream comes to a port. Its sockets are bound if it is the first.
    ///
    /// # Errors
    /// One of them cannot be bound. Then none is, and the stream has not come: the next one tries again.
    pub(super) fn open(&mut self, epoll: &Epoll, stream: StreamId, port: PortId) -> io::Result<()> {
        if self.streams.contains_key(&stream) {
            return Ok(());
        }
        if !self.users.contains_key(&port) {
            for address in self.bind.clone() {
                for is_rtcp in [false, true] {
                    if let Err(error) = self.bind(epoll, address, PortAt { port, is_rtcp }) {
                        self.unbind(port);
                        return Err(error);
                    }
                }
            }
        }
        self.streams.insert(stream, port);
        *self.users.entry(port).or_default() += 1;
        Ok(())
    }

    fn bind(&mut self, epoll: &Epoll, address: IpAddr, at: PortAt) -> io::Result<()> {
        let socket = socket::media(SocketAddr::new(address, at.number()), self.buffer)?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.open.push(None);
            self.open.len() as u32 - 1
        });
        if let Err(error) = epoll.add(socket.as_fd(), u64::from(index), Interest::READ) {
            self.free.push(index);
            return Err(error);
        }
        let is_v6 = address.is_ipv6();
        self.open[index as usize] = Some(Open { socket, at, is_v6, wanted: 1, read_in: 0 });
        self.index[place(at.number(), is_v6)] = index;
        Ok(())
    }

    /// A stream leaves its port. The port's sockets are closed if it was the last.
    pub(super) fn close(&mut self, stream: StreamId) {
        let Some(port) = self.streams.remove(&stream) else { return };
        let Some(users) = self.users.get_mut(&port) else { return };
        *users -= 1;
        if *users > 0 {
            return;
        }
        self.users.remove(&port);
        self.unbind(port);
    }

    /// Closes what is open of a port's sockets.
    fn unbind(&mut self, port: PortId) {
        for is_rtcp in [false, true] {
            for is_v6 in [false, true] {
                let entry = &mut self.index[place(PortAt { port, is_rtcp }.number(), is_v6)];
                let index = std::mem::replace(entry, NONE);
                if index != NONE {
                    // Closing takes it out of epoll.
                    self.open[index as usize] = None;
                    self.free.push(index);
                }
            }
        }
    }

    /// The socket of that index, and what it is.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<(BorrowedFd<'_>, PortAt)> {
        let open = self.open.get(index as usize)?.as_ref()?;
        debug_assert_eq!(self.index[place(open.at.number(), open.is_v6)], index);
        Some((open.socket.as_fd(), open.at))
    }

    /// The socket and how many datagrams to ask it for: more than last time if it was ready in the pass before, too.
    #[inline]
    pub(super) fn reading(&mut self, index: u32, pass: u64) -> Option<(BorrowedFd<'_>, PortAt, usize)> {
        let open = self.open.get_mut(index as usize)?.as_mut()?;
        if open.wanted == 1 && open.read_in + 1 >= pass {
            open.wanted = 4;
        }
        open.read_in = pass;
        Some((open.socket.as_fd(), open.at, open.wanted))
    }

    /// How many there were of how many asked for.
    #[inline]
    pub(super) fn found(&mut self, index: u32, asked: usize, count: usize) {
        let Some(Some(open)) = self.open.get_mut(index as usize) else { return };
        open.wanted = match count {
            _ if count < asked => count.max(1),
            // One of one says nothing about a second one.
            1 => 1,
            _ => (asked * 4).min(MOST),
        };
    }

    /// The index of the socket to send from.
    #[inline]
    pub(super) fn find(&self, at: PortAt, is_v6: bool) -> Option<u32> {
        let index = self.index[place(at.number(), is_v6)];
        (index != NONE).then_some(index)
    }

    /// Open sockets.
    pub(super) fn len(&self) -> usize {
        self.open.len() - self.free.len()
    }
}

fn place(number: u16, is_v6: bool) -> usize {
    usize::from(number) | usize::from(is_v6) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An even port that was free a moment ago, with the one above it.
    fn free_pair() -> PortId {
        loop {
            let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
            let number = probe.local_addr().unwrap().port();
            if number.is_multiple_of(2) && UdpSocket::bind(("127.0.0.1", number + 1)).is_ok() {
                return PortId(number);
            }
        }
    }

    #[test]
    fn a_ports_sockets_live_as_long_as_it_has_streams() {
        let epoll = Epoll::new(4).unwrap();
        let mut ports = Ports::new(&["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()], 65_536);
        let port = free_pair();
        ports.open(&epoll, StreamId(1), port).unwrap();
        ports.open(&epoll, StreamId(2), port).unwrap();
        assert_eq!(ports.len(), 4);
        let rtcp = ports.find(PortAt { port, is_rtcp: true }, true).unwrap();
        assert_eq!(ports.get(rtcp).unwrap().1, PortAt { port, is_rtcp: true });
        ports.close(StreamId(1));
        assert_eq!(ports.len(), 4);
        ports.close(StreamId(2));
        ports.close(StreamId(2));
        assert_eq!(ports.len(), 0);
        assert_eq!(ports.find(PortAt { port, is_rtcp: false }, false), None);
        UdpSocket::bind(("127.0.0.1", port.rtp())).unwrap();
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_leaves_no_socket_and_can_be_opened_later() {
        let epoll = Epoll::new(4).unwrap();
        let mut ports = Ports::new(&["127.0.0.1".parse().unwrap()], 65_536);
        let port = free_pair();
        let taken = UdpSocket::bind(("127.0.0.1", port.rtcp())).unwrap();
        for id in [1, 2] {
            assert!(ports.open(&epoll, StreamId(id), port).is_err());
            assert_eq!(ports.len(), 0);
            assert_eq!(ports.find(PortAt { port, is_rtcp: false }, false), None);
        }
        drop(taken);
        ports.open(&epoll, StreamId(3), port).unwrap();
        assert_eq!(ports.len(), 2);
        // The streams that could not come have nothing to leave.
        ports.close(StreamId(1));
        ports.close(StreamId(2));
        assert_eq!(ports.len(), 2);
        ports.close(StreamId(3));
        assert_eq!(ports.len(), 0);
    }
}
