//! Many datagrams by one system call: recvmmsg and sendmmsg over memory that is laid out once.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::addr::{self, RawAddr};
use super::would_block;

/// Room for one IP_PKTINFO or IPV6_PKTINFO, aligned as `cmsghdr` wants it.
const CONTROL_WORDS: usize = 8;
const CONTROL_LEN: usize = CONTROL_WORDS * size_of::<u64>();

/// Buffers for received datagrams.
pub(crate) struct RecvBatch {
    size: usize,
    room: usize,
    data: Box<[u8]>,
    addresses: Box<[RawAddr]>,
    controls: Box<[[u64; CONTROL_WORDS]]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    with_local: bool,
}

// SAFETY: the raw pointers inside point into the boxes of the same value, which nobody else has.
unsafe impl Send for RecvBatch {}

/// One received datagram.
pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) source: SocketAddr,
    /// Where the sender sent it to, if asked for.
    pub(crate) local: Option<IpAddr>,
    /// It was longer than its buffer.
    pub(crate) truncated: bool,
}

impl RecvBatch {
    /// `room` datagrams of up to `size` octets. `with_local`: also the address that each was sent to.
    pub(crate) fn new(room: usize, size: usize, with_local: bool) -> Self {
        let mut batch = Self {
            size,
            room,
            data: vec![0; room * size].into_boxed_slice(),
            addresses: vec![RawAddr::empty(); room].into_boxed_slice(),
            controls: vec![[0; CONTROL_WORDS]; if with_local { room } else { 0 }].into_boxed_slice(),
            parts: vec![libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; room].into_boxed_slice(),
            // SAFETY: null pointers and zero lengths are valid in a message header.
            headers: vec![unsafe { zeroed::<libc::mmsghdr>() }; room].into_boxed_slice(),
            with_local,
        };
        for index in 0..room {
            batch.parts[index].iov_base = batch.data[index * size..].as_mut_ptr().cast();
            batch.parts[index].iov_len = size;
            let header = &mut batch.headers[index].msg_hdr;
            header.msg_name = (&raw mut batch.addresses[index]).cast();
            header.msg_iov = &raw mut batch.parts[index];
            header.msg_iovlen = 1;
            if with_local {
                header.msg_control = batch.controls[index].as_mut_ptr().cast();
            }
        }
        batch
    }

    /// Receives up to `room` datagrams into the buffers from `first` on. Returns how many; 0 where none is waiting.
    pub(crate) fn recv_at(&mut self, fd: BorrowedFd<'_>, first: usize, at_most: usize) -> io::Result<usize> {
        let last = (first + at_most).min(self.room);
        let headers = &mut self.headers[first.min(last)..last];
        for header in headers.iter_mut() {
            header.msg_hdr.msg_namelen = RawAddr::LEN;
            if self.with_local {
                header.msg_hdr.msg_controllen = CONTROL_LEN as _;
            }
        }
        if headers.is_empty() {
            return Ok(0);
        }
        let (pointer, room) = (headers.as_mut_ptr(), headers.len() as libc::c_uint);
        // SAFETY: the headers are live, and everything they point to lives in boxes of `self`.
        let count = unsafe { libc::recvmmsg(fd.as_raw_fd(), pointer, room, libc::MSG_DONTWAIT, std::ptr::null_mut()) };
        if count >= 0 {
            return Ok(count as usize);
        }
        let error = io::Error::last_os_error();
        if would_block(&error) { Ok(0) } else { Err(error) }
    }

    pub(crate) fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.recv_at(fd, 0, self.room)
    }

    /// What is known of the datagram in buffer `index`. `None`: without a usable source.
    pub(crate) fn received(&self, index: usize) -> Option<Received> {
        let header = &self.headers[index];
        let source = self.addresses[index].get()?;
        Some(Received {
            len: (header.msg_len as usize).min(self.size),
            source,
            local: if self.with_local { local_address(&header.msg_hdr) } else { None },
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        })
    }

    /// The whole buffer `index`.
    pub(crate) fn buffer(&mut self, index: usize) -> &mut [u8] {
        &mut self.data[index * self.size..(index + 1) * self.size]
    }

    pub(crate) fn data(&self, index: usize, range: std::ops::Range<usize>) -> &[u8] {
        &self.data[index * self.size..(index + 1) * self.size][range]
    }
}

fn local_address(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the header was filled by recvmmsg; the macros walk the control data within its length, and the data of a
    // packet-information message is read as the type its level and type name, without assuming alignment.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    return Some(addr::ip_of_v4(&data.cast::<libc::in_pktinfo>().read_unaligned()));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    return Some(addr::ip_of_v6(&data.cast::<libc::in6_pktinfo>().read_unaligned()));
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
        None
    }
}

/// One datagram to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Datagram<'a> {
    pub(crate) to: SocketAddr,
    /// The source address, where the socket is bound to all of them.
    pub(crate) from: Option<IpAddr>,
    pub(crate) data: &'a [u8],
}

/// Headers for datagrams to be sent.
pub(crate) struct SendBatch {
    /// Errors of other datagrams that may show when one is sent.
    pending: u8,
    addresses: Box<[RawAddr]>,
    controls: Box<[[u64; CONTROL_WORDS]]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the raw pointers inside point into the boxes of the same value, or are overwritten before each use.
unsafe impl Send for SendBatch {}

impl SendBatch {
    /// `room`: datagrams by one system call.
    pub(crate) fn new(room: usize) -> Self {
        let mut batch = Self {
            pending: 0,
            addresses: vec![RawAddr::empty(); room].into_boxed_slice(),
            controls: vec![[0; CONTROL_WORDS]; room].into_boxed_slice(),
            parts: vec![libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; room].into_boxed_slice(),
            // SAFETY: null pointers and zero lengths are valid in a message header.
            headers: vec![unsafe { zeroed::<libc::mmsghdr>() }; room].into_boxed_slice(),
        };
        for index in 0..room {
            let header = &mut batch.headers[index].msg_hdr;
            header.msg_name = (&raw mut batch.addresses[index]).cast();
            header.msg_iov = &raw mut batch.parts[index];
            header.msg_iovlen = 1;
        }
        batch
    }

    /// For sockets with an error queue.
    pub(crate) fn with_error_queue(self) -> Self {
        Self { pending: 3, ..self }
    }

    /// Sends them all, in order. One that the kernel refuses is told to `failed` by its place, and the rest goes on; a
    /// full buffer refuses the rest of the batch. Returns how many were sent.
    pub(crate) fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        datagrams: impl IntoIterator<Item = Datagram<'a>>,
        mut failed: impl FnMut(usize, io::Error),
    ) -> usize {
        let mut datagrams = datagrams.into_iter();
        let (mut sent, mut before) = (0, 0);
        loop {
            let mut count = 0;
            while count < self.headers.len() {
                let Some(datagram) = datagrams.next() else { break };
                self.fill(count, datagram);
                count += 1;
            }
            if count == 0 {
                return sent;
            }
            sent += self.flush(fd, count, |index, error| failed(before + index, error));
            before += count;
        }
    }

    fn fill(&mut self, index: usize, datagram: Datagram<'_>) {
        let header = &mut self.headers[index].msg_hdr;
        header.msg_namelen = self.addresses[index].set(datagram.to);
        // The kernel only reads what it sends.
        self.parts[index].iov_base = datagram.data.as_ptr().cast_mut().cast();
        self.parts[index].iov_len = datagram.data.len();
        (header.msg_control, header.msg_controllen) = (std::ptr::null_mut(), 0);
        let control = &mut self.controls[index];
        match datagram.from {
            None => {}
            Some(IpAddr::V4(ip)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: addr::in_addr(ip),
                    ipi_addr: addr::in_addr(std::net::Ipv4Addr::UNSPECIFIED),
                };
                attach(header, control, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            Some(IpAddr::V6(ip)) => {
                let info = libc::in6_pktinfo { ipi6_addr: addr::in6_addr(ip), ipi6_ifindex: 0 };
                attach(header, control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }

    fn flush(&mut self, fd: BorrowedFd<'_>, count: usize, mut failed: impl FnMut(usize, io::Error)) -> usize {
        let (mut next, mut sent) = (0, 0);
        let mut waited = false;
        let mut again = 0;
        while next < count {
            let rest = &mut self.headers[next..count];
            let (pointer, room) = (rest.as_mut_ptr(), rest.len() as libc::c_uint);
            // SAFETY: `fill` pointed every header of 0..count at live memory: its own boxes and the data that the
            // caller's datagrams borrow for longer than this call.
            let done = unsafe { libc::sendmmsg(fd.as_raw_fd(), pointer, room, libc::MSG_DONTWAIT) };
            if done > 0 {
                next += done as usize;
                sent += done as usize;
                again = 0;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if !waited => {
                    waited = true;
                    wait_writable(fd, 2);
                }
                io::ErrorKind::WouldBlock => {
                    (next..count).for_each(|index| failed(index, io::ErrorKind::WouldBlock.into()));
                    next = count;
                }
                // An error that waits in the socket is of another datagram, which came back by ICMP: it is told once, and
                // then there is room for this one.
                _ if again < self.pending && came_back(&error) => again += 1,
                _ => {
                    failed(next, error);
                    (next, again) = (next + 1, 0);
                }
            }
        }
        sent
    }
}

fn attach<T>(
    header: &mut libc::msghdr,
    control: &mut [u64; CONTROL_WORDS],
    level: libc::c_int,
    kind: libc::c_int,
    info: T,
) {
    let len = size_of::<T>() as libc::c_uint;
    // SAFETY: CMSG_SPACE of both kinds of packet information (28 and 36 octets) is within the 64 octets of `control`,
    // which is aligned for a `cmsghdr`.
    unsafe {
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(len) as _;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(len) as _;
        libc::CMSG_DATA(message).cast::<T>().write_unaligned(info);
    }
}

/// Errors by which ICMP shows.
fn came_back(error: &io::Error) -> bool {
    let known =
        [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::ENOPROTOOPT, libc::EPROTO, libc::EACCES];
    error.raw_os_error().is_some_and(|code| known.contains(&code))
}

/// Waits until there is room in the sending buffer, at most so many milliseconds.
fn wait_writable(fd: BorrowedFd<'_>, millis: libc::c_int) {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one live structure.
    unsafe { libc::poll(&mut poll, 1, millis) };
}

#[cfg(test)]
mod tests {
    use super::super::socket;
    use super::*;
    use std::os::fd::AsFd;

    fn receive(batch: &mut RecvBatch, socket: &std::net::UdpSocket, wanted: usize) {
        let mut got = 0;
        for _ in 0..1000 {
            got += batch.recv_at(socket.as_fd(), got, wanted - got).unwrap();
            if got == wanted {
                return;
            }
            std::thread::yield_now();
        }
        panic!("{got} of {wanted} datagrams came");
    }

    #[test]
    fn a_batch_of_64_datagrams_arrives_in_order_with_its_source() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (a, b) = (socket::udp(any.parse().unwrap(), 1 << 20), socket::udp(any.parse().unwrap(), 1 << 20));
            let (a, b) = (a.unwrap(), b.unwrap());
            let payloads: Vec<[u8; 2]> = (0..150u16).map(|n| n.to_be_bytes()).collect();
            let to = b.local_addr().unwrap();
            let datagrams = payloads.iter().map(|data| Datagram { to, from: None, data });
            let sent = SendBatch::new(64).send(a.as_fd(), datagrams, |_, error| panic!("{error}"));
            assert_eq!(sent, 150);
            let mut batch = RecvBatch::new(150, 2048, true);
            receive(&mut batch, &b, 150);
            for (index, payload) in payloads.iter().enumerate() {
                let received = batch.received(index).unwrap();
                assert_eq!(received.source, a.local_addr().unwrap());
                assert_eq!(received.local, Some(to.ip()));
                assert_eq!(batch.data(index, 0..received.len), payload);
            }
        }
    }

    #[test]
    fn a_wildcard_socket_hears_where_a_packet_went_and_answers_from_there() {
        let server = socket::udp("0.0.0.0:0".parse().unwrap(), 1 << 16).unwrap();
        let client = socket::udp("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        let asked = SocketAddr::new("127.0.0.7".parse().unwrap(), server.local_addr().unwrap().port());
        let mut sender = SendBatch::new(4);
        sender.send(client.as_fd(), [Datagram { to: asked, from: None, data: b"ping" }], |_, e| panic!("{e}"));
        let mut batch = RecvBatch::new(1, 64, true);
        receive(&mut batch, &server, 1);
        let received = batch.received(0).unwrap();
        assert_eq!(received.local, Some(asked.ip()));
        let answer = Datagram { to: received.source, from: received.local, data: b"pong" };
        sender.send(server.as_fd(), [answer], |_, e| panic!("{e}"));
        receive(&mut batch, &client, 1);
        assert_eq!(batch.received(0).unwrap().source, asked);
    }

    #[test]
    fn a_datagram_that_cannot_be_sent_does_not_hold_up_the_others() {
        let socket = socket::udp("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        let me = socket.local_addr().unwrap();
        let too_long = vec![0u8; 70_000];
        let datagrams = [&b"one"[..], &too_long, b"two"].map(|data| Datagram { to: me, from: None, data });
        let mut failures = Vec::new();
        let sent = SendBatch::new(8).send(socket.as_fd(), datagrams, |index, error| failures.push((index, error)));
        assert_eq!(sent, 2);
        assert_eq!((failures.len(), failures[0].0), (1, 1));
        assert_eq!(failures[0].1.raw_os_error(), Some(libc::EMSGSIZE));
    }

    #[test]
    fn a_datagram_longer_than_its_buffer_is_marked() {
        let socket = socket::udp("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        let datagram = Datagram { to: socket.local_addr().unwrap(), from: None, data: &[7; 100] };
        SendBatch::new(1).send(socket.as_fd(), [datagram], |_, error| panic!("{error}"));
        let mut batch = RecvBatch::new(1, 64, false);
        receive(&mut batch, &socket, 1);
        let received = batch.received(0).unwrap();
        assert!(received.truncated && received.len == 64);
    }
}
