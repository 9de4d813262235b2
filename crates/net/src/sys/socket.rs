//! Sockets with the options that must be set before binding, and connecting without waiting.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::addr::RawAddr;
use super::checked;

const BACKLOG: libc::c_int = 4096;

/// A UDP socket for SIP: non-blocking, tells the local address of each packet (for wildcard binds), with buffers of
/// `buffer` octets as far as the kernel gives them. Neither SO_REUSEADDR nor SO_REUSEPORT: with either, Linux would let
/// a second process take the same port and half of the packets. What comes back by ICMP waits in its error queue.
pub(crate) fn udp(bind: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let fd = socket(bind, libc::SOCK_DGRAM)?;
    match bind {
        SocketAddr::V4(_) => {
            set(fd.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            set(fd.as_fd(), libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
        }
        SocketAddr::V6(_) => {
            set(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            set(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
        }
    }
    set_buffers(fd.as_fd(), buffer);
    bind_to(&fd, bind)?;
    Ok(fd.into())
}

/// A UDP socket for media: as [`udp`] without packet information.
pub(crate) fn media(bind: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let fd = socket(bind, libc::SOCK_DGRAM)?;
    set_buffers(fd.as_fd(), buffer);
    bind_to(&fd, bind)?;
    Ok(fd.into())
}

/// A listening TCP socket. SO_REUSEADDR, which for TCP only lets a restart pass by connections that linger.
pub(crate) fn listen(bind: SocketAddr) -> io::Result<TcpListener> {
    let fd = socket(bind, libc::SOCK_STREAM)?;
    set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    bind_to(&fd, bind)?;
    // SAFETY: the descriptor is open.
    checked(unsafe { libc::listen(fd.as_raw_fd(), BACKLOG) })?;
    Ok(fd.into())
}

/// Begins a TCP connection from the address `from` (any port). It is made, or has failed ([`UdpSocket::take_error`] and
/// its like), when the socket is writable.
pub(crate) fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let fd = socket(to, libc::SOCK_STREAM)?;
    if !from.is_unspecified() && from.is_ipv4() == to.is_ipv4() {
        set(fd.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        bind_to(&fd, SocketAddr::new(from, 0))?;
    }
    let (raw, len) = RawAddr::new(to);
    // SAFETY: address and length are those of a live value.
    match checked(unsafe { libc::connect(fd.as_raw_fd(), (&raw const raw).cast(), len) }) {
        Ok(_) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let stream = TcpStream::from(fd);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks for buffers of that size: past the administrator's limit where we may, up to it where not. Returns what the
/// kernel gives for receiving, as it counts (twice what was asked for).
pub(crate) fn set_buffers(fd: BorrowedFd<'_>, octets: usize) -> usize {
    let octets = libc::c_int::try_from(octets).unwrap_or(libc::c_int::MAX);
    let pairs = [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)];
    for (force, plain) in pairs {
        if set(fd, libc::SOL_SOCKET, force, octets).is_err() {
            // What is left then is what `checks` reports at start.
            let _ = set(fd, libc::SOL_SOCKET, plain, octets);
        }
    }
    get(fd, libc::SOL_SOCKET, libc::SO_RCVBUF).map_or(0, |given| given as usize)
}

fn socket(address: SocketAddr, kind: libc::c_int) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointer is passed; the result is a new descriptor that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(checked(libc::socket(family, kind, 0))?) };
    if address.is_ipv6() {
        set(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    Ok(fd)
}

fn bind_to(fd: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let (raw, len) = RawAddr::new(address);
    // SAFETY: address and length are those of a live value.
    checked(unsafe { libc::bind(fd.as_raw_fd(), (&raw const raw).cast(), len) })?;
    Ok(())
}

fn set(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: pointer and length are those of a live integer.
    checked(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), len) })?;
    Ok(())
}

fn get(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: pointer and length are those of a live integer.
    checked(unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, (&raw mut value).cast(), &mut len) })?;
    Ok(value)
}

/// Soft and hard limit of open files.
pub(crate) fn open_file_limits() -> io::Result<(u64, u64)> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a pointer to a live value.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) })?;
    Ok((limits.rlim_cur, limits.rlim_max))
}

/// Raises the soft limit of open files to the hard one.
pub(crate) fn raise_open_files() -> io::Result<()> {
    let (_, hard) = open_file_limits()?;
    let limits = libc::rlimit { rlim_cur: hard, rlim_max: hard };
    // SAFETY: a pointer to a live value.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limits) })?;
    Ok(())
}
