//! What relaying costs on this machine: a media thread on one core, G.711-like streams from another.
//!
//!     cargo run --release -p ringfort-net --example relay_bench -- [calls=400] [seconds=5] [ports=8] [pause_us=1000]
//!
//! `ports`: port pairs shared by all streams of a side; 0: one of its own for every stream, as with peers that send all
//! their media from one address. Prints one JSON line: CPU of the media thread, loss, delay. See docs/media-io.md.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_media::types::{CodecHint, Command as Media, Event, PortId, StreamConfig, StreamId};
use ringfort_net::core::Core;
use ringfort_net::{NetConfig, NoJournal, bind};
use ringfort_sip::endpoint::TransportError;
use ringfort_sip::flow::{ConnId, Flow, ListenerId, TransmitToken};
use ringfort_sip::locate::{Answer, QueryId};
use ringfort_sip::message::{Message, ParseError};
use ringfort_switch::io::{Command, CommandReply, Output};
use ringfort_switch::model::Site;

/// Puts out what it was given.
struct Script(Arc<Mutex<VecDeque<Output>>>, VecDeque<Output>);

impl Core for Script {
    fn handle_message(&mut self, _: Instant, _: Message, _: Flow) {}
    fn handle_malformed(&mut self, _: Instant, _: &ParseError, _: &Bytes, _: Flow) {}
    fn handle_flood(&mut self, _: Instant, _: IpAddr) {}
    fn handle_send_failed(&mut self, _: Instant, _: TransmitToken, _: TransportError) {}
    fn handle_unreachable(&mut self, _: Instant, _: SocketAddr, _: &[u8], _: TransportError) {}
    fn handle_conn_closed(&mut self, _: Instant, _: ConnId) {}
    fn handle_media(&mut self, _: Instant, _: Event) {}
    fn handle_dns_answer(&mut self, _: Instant, _: QueryId, _: Answer) {}
    fn handle_fetched(&mut self, _: Instant, _: ringfort_stir::QueryId, _: ringfort_stir::Fetch) {}
    fn handle_command(&mut self, _: Instant, _: Command) -> CommandReply {
        self.1.append(&mut self.0.lock().expect("not poisoned"));
        CommandReply::Done { changed: 0 }
    }
    fn apply_site(&mut self, _: Instant, _: Arc<Site>) {}
    fn follow_stir(&mut self, _: Instant, _: ringfort_switch::identity::Stir) {}
    fn handle_timeout(&mut self, _: Instant) {}
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.1.pop_front()
    }
    fn is_idle(&self) -> bool {
        true
    }
    fn flow_priority(&self, _: SocketAddr) -> bool {
        false
    }
    fn is_talking(&self, _: SocketAddr) -> bool {
        false
    }
    fn is_within_call(&self, _: &Message) -> bool {
        false
    }

    fn is_closed_to(&self, _: ListenerId, _: IpAddr) -> bool {
        false
    }
}

const PACKET: usize = 172;
const BATCH: usize = 64;
const FIRST_PORT: u16 = 20_000;

/// One side of a call: an address of its own in 127/8, or the same for all with ports of their own.
struct Stream {
    side: usize,
    source: Ipv4Addr,
    to: SocketAddrV4,
    seq: u16,
    got: u64,
}

fn main() -> io::Result<()> {
    let options: Vec<u64> =
        std::env::args().skip(1).filter_map(|word| word.split('=').next_back()?.parse().ok()).collect();
    let option = |index: usize, default: u64| options.get(index).copied().unwrap_or(default);
    let (calls, seconds, ports, pause) = (option(0, 400), option(1, 5), option(2, 8), option(3, 1000));

    let outputs = Arc::new(Mutex::new(VecDeque::new()));
    let mut config = NetConfig::default();
    config.media.bind = vec![Ipv4Addr::new(127, 0, 0, 1).into()];
    config.media.pause = Duration::from_micros(pause);
    config.media.queue = 65_536;
    let handle = bind(config).and_then(|bound| bound.start(Script(outputs.clone(), VecDeque::new()), NoJournal, ()));
    let handle = handle.map_err(io::Error::other)?;

    let sides = [side()?, side()?];
    let mut streams = Vec::new();
    for call in 0..calls {
        for (index, socket) in sides.iter().enumerate() {
            let id = StreamId(call * 2 + index as u64 + 1);
            let local = if ports == 0 { id.0 - 1 } else { (call % ports) * 2 + index as u64 };
            let port = PortId(FIRST_PORT + (local * 2) as u16);
            let source = match ports {
                0 => Ipv4Addr::new(127, 0, 0, 2 + index as u8),
                _ => Ipv4Addr::new(127, 1 + index as u8, (call >> 8) as u8, call as u8),
            };
            let remote = SocketAddr::new(source.into(), socket.local_addr()?.port());
            let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port.rtp());
            streams.push(Stream { side: index, source, to, seq: 0, got: 0 });
            let configure = Media::Configure { id, config: Box::new(stream(remote)), relearn: false };
            let mut outputs = outputs.lock().expect("not poisoned");
            outputs.extend([Output::Media(Media::Open { id, port }), Output::Media(configure)]);
            if index == 1 {
                outputs.push_back(Output::Media(Media::Connect { a: StreamId(id.0 - 1), b: id }));
            }
        }
    }
    handle.command(Command::Status).map_err(io::Error::other)?;
    while handle.media_stats().streams < calls * 2 {
        std::thread::yield_now();
    }
    pin(0, media_thread()?);
    pin(1, 0);
    // A second to learn addresses and warm up, then the measurement.
    run(&mut streams, &sides, 1)?;
    streams.iter_mut().for_each(|stream| stream.got = 0);
    let (before, cpu_before) = (handle.media_stats(), cpu()?);
    let result = run(&mut streams, &sides, seconds)?;
    let (after, cpu) = (handle.media_stats(), cpu()? - cpu_before);
    let forwarded = after.forwarded - before.forwarded;
    let dead = streams.iter().filter(|stream| stream.got == 0).count();
    println!(
        "{{\"calls\":{calls},\"ports\":{ports},\"pause_us\":{pause},\"sent\":{},\"received\":{},\"dead_streams\":{dead},\
         \"loss_pct\":{:.4},\"delay_ms_p50\":{:.3},\"delay_ms_p99\":{:.3},\"late_ticks\":{},\"media_cpu_pct\":{:.1},\
         \"cpu_us_per_packet\":{:.2},\"core_pct_per_100_calls\":{:.2},\"packets_per_pass\":{:.1},\"sockets\":{}}}",
        result.sent,
        result.got,
        100.0 * (result.sent as f64 - result.got as f64) / result.sent as f64,
        percentile(&result.delays, 0.50),
        percentile(&result.delays, 0.99),
        result.late,
        cpu.as_secs_f64() * 100.0 / result.wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / forwarded.max(1) as f64,
        cpu.as_secs_f64() * 100.0 / result.wall.as_secs_f64() / calls as f64 * 100.0,
        (after.received - before.received) as f64 / (after.passes - before.passes).max(1) as f64,
        after.sockets,
    );
    handle.stop();
    Ok(())
}

/// A generator's socket: hears all of 127/8, sends from any of it.
fn side() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_nonblocking(true)?;
    let size: libc::c_int = 32 << 20;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // SAFETY: pointer and length are those of a live integer.
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const size).cast(), 4) };
    }
    Ok(socket)
}

fn stream(remote: SocketAddr) -> StreamConfig {
    StreamConfig {
        remote: Some(remote),
        remote_rtcp: None,
        rtcp_mux: false,
        signalling: None,
        payload_types: [8u8].into_iter().collect(),
        clock_rate: 8000,
        codec: CodecHint::G711,
        rx_keys: None,
        tx_keys: None,
        sends: true,
        receives: true,
        send_unproven: true,
        pass_extensions: false,
    }
}

struct Run {
    sent: u64,
    got: u64,
    late: u64,
    wall: Duration,
    /// By microseconds, the last entry for all that took longer.
    delays: Vec<u64>,
}

#[allow(clippy::disallowed_methods)]
fn clock() -> Instant {
    Instant::now()
}

/// 50 packets a second from every stream, evenly spread.
fn run(streams: &mut [Stream], sides: &[UdpSocket; 2], seconds: u64) -> io::Result<Run> {
    let start = clock();
    let mut result = Run { sent: 0, got: 0, late: 0, wall: Duration::ZERO, delays: vec![0; 1_000_001] };
    let ticks = seconds * 1000;
    for tick in 0..ticks {
        let due = Duration::from_millis(tick);
        while start.elapsed() < due {
            for socket in sides {
                drain(socket, start, streams, &mut result);
            }
            std::thread::yield_now();
        }
        result.late += u64::from(start.elapsed() > due + Duration::from_millis(2));
        let slice = |n: u64| (streams.len() as u64 * n / 20) as usize;
        let range = slice(tick % 20)..slice(tick % 20 + 1);
        for (side, socket) in sides.iter().enumerate() {
            result.sent += send(socket, start, &mut streams[range.clone()], range.start, side);
        }
    }
    let end = clock();
    result.wall = start.elapsed();
    while end.elapsed() < Duration::from_millis(300) {
        for socket in sides {
            drain(socket, start, streams, &mut result);
        }
    }
    Ok(result)
}

fn send(socket: &UdpSocket, start: Instant, streams: &mut [Stream], first: usize, side: usize) -> u64 {
    #[repr(C, align(8))]
    #[derive(Clone, Copy)]
    struct Control([u8; 64]);
    let mut packets = [[0u8; PACKET]; BATCH];
    let mut controls = [Control([0; 64]); BATCH];
    // SAFETY: all-zero is a valid value of these C structures.
    let (mut names, mut parts, mut headers): (
        [libc::sockaddr_in; BATCH],
        [libc::iovec; BATCH],
        [libc::mmsghdr; BATCH],
    ) = unsafe { std::mem::zeroed() };
    let mut sent = 0;
    let mut mine: Vec<(usize, &mut Stream)> =
        streams.iter_mut().enumerate().filter(|(_, stream)| stream.side == side).collect();
    for group in mine.chunks_mut(BATCH) {
        for (slot, (index, stream)) in group.iter_mut().enumerate() {
            let id = (first + *index) as u32;
            stream.seq = stream.seq.wrapping_add(1);
            let packet = &mut packets[slot];
            packet[..2].copy_from_slice(&[0x80, 8]);
            packet[2..4].copy_from_slice(&stream.seq.to_be_bytes());
            packet[4..8].copy_from_slice(&(u32::from(stream.seq) * 160).to_be_bytes());
            packet[8..12].copy_from_slice(&(0x1000_0000 + id).to_be_bytes());
            packet[12..16].copy_from_slice(&id.to_be_bytes());
            packet[16..24].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
            names[slot].sin_family = libc::AF_INET as libc::sa_family_t;
            names[slot].sin_port = stream.to.port().to_be();
            names[slot].sin_addr.s_addr = stream.to.ip().to_bits().to_be();
            parts[slot] = libc::iovec { iov_base: packets[slot].as_mut_ptr().cast(), iov_len: PACKET };
            let header = &mut headers[slot].msg_hdr;
            header.msg_name = (&raw mut names[slot]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &raw mut parts[slot];
            header.msg_iovlen = 1;
            header.msg_control = controls[slot].0.as_mut_ptr().cast();
            // SAFETY: the control buffer is larger than one packet-information message and aligned for it.
            unsafe {
                let info = size_of::<libc::in_pktinfo>() as u32;
                header.msg_controllen = libc::CMSG_SPACE(info) as _;
                let message = libc::CMSG_FIRSTHDR(header);
                (*message).cmsg_level = libc::IPPROTO_IP;
                (*message).cmsg_type = libc::IP_PKTINFO;
                (*message).cmsg_len = libc::CMSG_LEN(info) as _;
                let source = libc::in_addr { s_addr: stream.source.to_bits().to_be() };
                let any = libc::in_addr { s_addr: 0 };
                let value = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
                libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().write_unaligned(value);
            }
        }
        // SAFETY: every header of the group points to live arrays.
        let count = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), group.len() as u32, 0) };
        sent += count.max(0) as u64;
    }
    sent
}

fn drain(socket: &UdpSocket, start: Instant, streams: &mut [Stream], result: &mut Run) {
    let mut packets = [[0u8; 2048]; BATCH];
    // SAFETY: all-zero is a valid value of these C structures.
    let (mut parts, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) = unsafe { std::mem::zeroed() };
    for slot in 0..BATCH {
        parts[slot] = libc::iovec { iov_base: packets[slot].as_mut_ptr().cast(), iov_len: 2048 };
        headers[slot].msg_hdr.msg_iov = &raw mut parts[slot];
        headers[slot].msg_hdr.msg_iovlen = 1;
    }
    loop {
        // SAFETY: every header points to live arrays.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let now = start.elapsed().as_nanos() as u64;
        for (packet, header) in packets.iter().zip(&headers).take(count.max(0) as usize) {
            if header.msg_len as usize != PACKET {
                continue;
            }
            let id = u32::from_be_bytes(packet[12..16].try_into().expect("four octets")) as usize;
            let at = u64::from_be_bytes(packet[16..24].try_into().expect("eight octets"));
            let Some(stream) = streams.get_mut(id) else { continue };
            stream.got += 1;
            result.got += 1;
            let last = result.delays.len() - 1;
            result.delays[(now.saturating_sub(at) / 1000).min(last as u64) as usize] += 1;
        }
        if count < BATCH as i32 {
            return;
        }
    }
}

fn percentile(delays: &[u64], part: f64) -> f64 {
    let wanted = (delays.iter().sum::<u64>() as f64 * part) as u64;
    let mut seen = 0;
    let place = delays.iter().position(|count| {
        seen += count;
        seen > wanted
    });
    place.unwrap_or(0) as f64 / 1000.0
}

/// The id of the media thread.
fn media_thread() -> io::Result<i32> {
    for entry in std::fs::read_dir("/proc/self/task")? {
        let path = entry?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == "media-0" {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            return name.parse().map_err(io::Error::other);
        }
    }
    Err(io::Error::other("no media thread"))
}

/// Time on a processor of the media thread.
fn cpu() -> io::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{}/schedstat", media_thread()?))?;
    let nanos = text.split(' ').next().unwrap_or_default().parse().map_err(io::Error::other)?;
    Ok(Duration::from_nanos(nanos))
}

fn pin(core: usize, thread: i32) {
    // SAFETY: a zeroed set is empty; the call reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &set);
    }
}
