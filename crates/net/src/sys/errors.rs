//! The error queue of a UDP socket (`IP_RECVERR`): which datagrams came back by ICMP, and what it quotes of them. It is looked
//! at when the socket reports an error; datagrams that arrive pay nothing for it.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::addr::RawAddr;
use super::would_block;

/// Room for the error and the address of who reported it, beside packet information.
const CONTROL_WORDS: usize = 32;
/// What is kept of a quoted datagram: the topmost Via stands in it.
const QUOTED: usize = 1024;
const DEST_UNREACHABLE: u8 = 3;
const DEST_UNREACHABLE_V6: u8 = 1;
/// Network, host, protocol, port; the others say that it was too long, or that somebody does not want it.
const LAST_CODE: u8 = 3;
const LAST_CODE_V6: u8 = 4;
const PORT: u8 = 3;
const PORT_V6: u8 = 4;

/// A datagram that could not be delivered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undelivered<'a> {
    /// Where it was sent to.
    pub(crate) to: SocketAddr,
    /// Nobody listens on the port, and the machine is there.
    pub(crate) port_closed: bool,
    /// What came back of it.
    pub(crate) quoted: &'a [u8],
}

/// A buffer for what stands in the queue.
pub(crate) struct ErrorQueue {
    data: Box<[u8; QUOTED]>,
    control: Box<[u64; CONTROL_WORDS]>,
}

impl ErrorQueue {
    pub(crate) fn new() -> Self {
        Self { data: Box::new([0; QUOTED]), control: Box::new([0; CONTROL_WORDS]) }
    }

    /// Takes the next entry. `Ok(None)`: the queue is empty; `Ok(Some(None))`: it is of no interest.
    pub(crate) fn take(&mut self, fd: BorrowedFd<'_>) -> io::Result<Option<Option<Undelivered<'_>>>> {
        let mut address = RawAddr::empty();
        let mut part = libc::iovec { iov_base: self.data.as_mut_ptr().cast(), iov_len: QUOTED };
        // SAFETY: null pointers and zero lengths are valid in a message header.
        let mut header = unsafe { zeroed::<libc::msghdr>() };
        header.msg_name = (&raw mut address).cast();
        header.msg_namelen = RawAddr::LEN;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = self.control.as_mut_ptr().cast();
        header.msg_controllen = (CONTROL_WORDS * size_of::<u64>()) as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: everything that the header points to is live for the call and as long as it says.
        let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, flags) };
        if len < 0 {
            let error = io::Error::last_os_error();
            return if would_block(&error) { Ok(None) } else { Err(error) };
        }
        let quoted = &self.data[..(len as usize).min(QUOTED)];
        let found = unreachable(&header).zip(address.get());
        Ok(Some(found.map(|(port_closed, to)| Undelivered { to, port_closed, quoted })))
    }
}

/// Whether an ICMP message said that the destination cannot be reached, and then whether that is for its port alone.
fn unreachable(header: &libc::msghdr) -> Option<bool> {
    // SAFETY: the header was filled by recvmsg; the macros walk the control data within its length, and the data of an error
    // message is read as the type its level and type name, without assuming alignment.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let kind = ((*message).cmsg_level, (*message).cmsg_type);
            if matches!(kind, (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)) {
                let error = libc::CMSG_DATA(message).cast::<libc::sock_extended_err>().read_unaligned();
                return match (error.ee_origin, error.ee_type) {
                    (libc::SO_EE_ORIGIN_ICMP, DEST_UNREACHABLE) if error.ee_code <= LAST_CODE => {
                        Some(error.ee_code == PORT)
                    }
                    (libc::SO_EE_ORIGIN_ICMP6, DEST_UNREACHABLE_V6) if error.ee_code <= LAST_CODE_V6 => {
                        Some(error.ee_code == PORT_V6)
                    }
                    _ => None,
                };
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::super::epoll::{Epoll, Interest};
    use super::super::socket;
    use super::*;

    #[test]
    fn a_datagram_to_a_closed_port_comes_back_with_its_beginning() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let closed = std::net::UdpSocket::bind(address).unwrap().local_addr().unwrap();
            let socket = socket::udp(address.parse().unwrap(), 1 << 16).unwrap();
            let mut epoll = Epoll::new(4).unwrap();
            epoll.add(socket.as_fd(), 1, Interest::READ).unwrap();
            socket.send_to(b"OPTIONS sip:nobody SIP/2.0", closed).unwrap();
            let mut ready = Vec::new();
            epoll.wait(Some(Duration::from_secs(5)), &mut ready).unwrap();
            assert!(ready[0].error, "{ready:?}");
            let mut queue = ErrorQueue::new();
            let found = queue.take(socket.as_fd()).unwrap().expect("an entry").expect("of interest");
            assert_eq!((found.to, found.port_closed), (closed, true));
            assert!(found.quoted.starts_with(b"OPTIONS sip:"), "{:?}", found.quoted);
            assert_eq!(queue.take(socket.as_fd()).unwrap(), None);
            epoll.wait(Some(Duration::ZERO), &mut ready).unwrap();
            assert!(ready.is_empty(), "with the queue empty the socket is quiet: {ready:?}");
        }
    }
}
