//! A storm for `make bench`: SIP requests over UDP whose sources are forged, each from another address of 127.0.0.0/8, at a given
//! rate. Wants CAP_NET_RAW, and nothing listening but the server under test.
//!
//!   storm TARGET:PORT COUNT RATE [VICTIM]      every 50th packet is in the name of VICTIM
#![allow(unsafe_code, reason = "a raw socket is made by libc; nothing in the library needs one")]
#![allow(clippy::disallowed_methods, reason = "it sends in real time")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// Source addresses begin here, far from those that tests and benchmarks use.
const FIRST: u32 = 0x7F20_0000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parsed = (|| {
        let target: SocketAddrV4 = arguments.first()?.parse().ok()?;
        let count: u32 = arguments.get(1)?.parse().ok()?;
        let rate: u32 = arguments.get(2)?.parse().ok().filter(|rate| *rate > 0)?;
        let victim: Option<Ipv4Addr> = arguments.get(3).map(|text| text.parse()).transpose().ok()?;
        Some((target, count, rate, victim))
    })();
    let Some((target, count, rate, victim)) = parsed else {
        eprintln!("expected TARGET:PORT COUNT RATE [VICTIM], got {arguments:?}");
        std::process::exit(2);
    };
    // SAFETY: socket takes numbers alone; the descriptor is checked and then owned.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW);
        if fd < 0 {
            eprintln!("no raw socket: {} (CAP_NET_RAW is needed)", std::io::Error::last_os_error());
            std::process::exit(1);
        }
        OwnedFd::from_raw_fd(fd)
    };
    let begun = Instant::now();
    let (mut failed, mut packet) = (0u32, Vec::with_capacity(1024));
    for n in 0..count {
        let due = begun + Duration::from_secs(u64::from(n)) / rate;
        let wait = due.saturating_duration_since(Instant::now());
        if wait > Duration::from_millis(1) {
            std::thread::sleep(wait);
        }
        let source = match victim {
            Some(victim) if n % 50 == 0 => victim,
            _ => Ipv4Addr::from_bits(FIRST + n),
        };
        write_packet(&mut packet, source, target, &request(n, source, target));
        failed += u32::from(!send(&socket, &packet, target));
    }
    let took = begun.elapsed().as_secs_f64();
    println!("{{\"sent\": {}, \"failed\": {failed}, \"per_second\": {:.0}}}", count - failed, f64::from(count) / took);
}

/// One of the things that attackers send.
fn request(n: u32, source: Ipv4Addr, target: SocketAddrV4) -> String {
    let host = target.ip();
    let (method, extra) = match n % 4 {
        0 => ("OPTIONS", "User-Agent: friendly-scanner\r\n".to_owned()),
        1 => ("INVITE", "User-Agent: pplsip\r\n".to_owned()),
        2 => (
            "REGISTER",
            format!(
                "Authorization: Digest username=\"{n}\", realm=\"{host}\", nonce=\"00\", uri=\"sip:{host}\", response=\"00\"\r\n"
            ),
        ),
        _ => ("REGISTER", "Content-Length: 1\r\nContent-Length: 9\r\n".to_owned()),
    };
    format!(
        "{method} sip:{n}@{host} SIP/2.0\r\nVia: SIP/2.0/UDP {source}:5060;branch=z9hG4bKs{n};rport\r\nFrom: <sip:{n}@{host}>;tag=s{n}\r\n\
         To: <sip:{n}@{host}>\r\nCall-ID: storm{n}\r\nCSeq: 1 {method}\r\nContact: <sip:{n}@{source}>\r\nMax-Forwards: 70\r\n{extra}\r\n"
    )
}

/// IPv4 and UDP headers (RFC 791, RFC 768) and the payload. The kernel fills in the header's checksum; UDP over IPv4 may go
/// without one.
fn write_packet(packet: &mut Vec<u8>, source: Ipv4Addr, target: SocketAddrV4, payload: &str) {
    let udp = (8 + payload.len()) as u16;
    packet.clear();
    packet.extend_from_slice(&[0x45, 0]);
    packet.extend_from_slice(&(20 + udp).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&target.ip().octets());
    packet.extend_from_slice(&5060u16.to_be_bytes());
    packet.extend_from_slice(&target.port().to_be_bytes());
    packet.extend_from_slice(&udp.to_be_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(payload.as_bytes());
}

fn send(socket: &OwnedFd, packet: &[u8], target: SocketAddrV4) -> bool {
    use std::os::fd::AsRawFd as _;
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(target.ip().octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: buffer and address are alive for the call, and their lengths are those of the values.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_in>() as libc::socklen_t,
        )
    };
    sent == packet.len() as isize
}
