//! The packet path allocates nothing per packet, needs little memory per stream, and gives it back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringfort_media::relay::{PacketBuf, Relay, RelayConfig, Verdict};
use ringfort_media::types::*;

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; beside that only thread-local counters are touched.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        let _ = HELD.try_with(|held| held.set(held.get() + layout.size() as i64));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get() - layout.size() as i64));
        // SAFETY: `ptr` came from `alloc` above with that layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held() -> i64 {
    HELD.with(Cell::get)
}

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

fn keys(suite: CryptoSuite) -> SrtpKeys {
    let mut keys = SrtpKeys { suite, key: [0; 32], salt: [0; 14], mki: None };
    keys.key[..suite.key_len()].fill(1);
    keys
}

fn remote(id: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, (id >> 8) as u8, id as u8], 4000))
}

/// Streams 2n and 2n + 1 are a call; 64 streams share a port.
fn open(relay: &mut Relay, now: Instant, id: u64, suite: Option<CryptoSuite>) {
    let keys = suite.map(keys);
    let config = StreamConfig {
        remote: Some(remote(id)),
        remote_rtcp: None,
        rtcp_mux: false,
        signalling: None,
        payload_types: [0, 8].into_iter().collect(),
        clock_rate: 8000,
        codec: CodecHint::G711,
        rx_keys: None,
        tx_keys: keys,
        sends: true,
        receives: true,
        send_unproven: true,
        pass_extensions: false,
    };
    relay.handle_command(now, Command::Open { id: StreamId(id), port: port(id) });
    relay.handle_command(now, Command::Configure { id: StreamId(id), config: Box::new(config), relearn: false });
    if id % 2 == 1 {
        relay.handle_command(now, Command::Connect { a: StreamId(id - 1), b: StreamId(id) });
    }
}

fn port(id: u64) -> PortId {
    PortId(10_000 + 2 * (id / 64) as u16)
}

fn send(relay: &mut Relay, now: Instant, id: u64, sequence: u16) -> Verdict {
    let mut room = [0u8; 300];
    room[0] = 0x80;
    room[2..4].copy_from_slice(&sequence.to_be_bytes());
    room[8..12].copy_from_slice(&(id as u32 + 1).to_be_bytes());
    let verdict = relay.handle_packet(now, port(id), false, remote(id), &mut PacketBuf::new(&mut room, 172));
    while relay.poll_event().is_some() {}
    verdict
}

fn relay() -> (Relay, Instant) {
    #[allow(clippy::disallowed_methods)] // an arbitrary start; all that follows is virtual
    let now = Instant::now();
    (Relay::new(RelayConfig::default(), [0; 32], now, 0), now)
}

#[test]
fn a_packet_costs_no_allocation_whatever_becomes_of_it() {
    for suite in CryptoSuite::ALL.into_iter().map(Some).chain([None]) {
        let (mut relay, mut now) = relay();
        for id in 0..2 {
            open(&mut relay, now, id, suite);
            send(&mut relay, now, id, 0);
        }
        let before = allocations();
        for sequence in 1..2_000u16 {
            now += Duration::from_millis(20);
            assert!(matches!(send(&mut relay, now, 0, sequence), Verdict::Forward { .. }));
            assert!(matches!(send(&mut relay, now, 0, sequence), Verdict::Drop(DropReason::Replay)));
            assert!(matches!(send(&mut relay, now, 77, sequence), Verdict::Drop(DropReason::NoStream)));
            let mut report = [0u8; 300];
            report[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 1]);
            let rtcp = SocketAddr::new(remote(1).ip(), 4001);
            let mut buf = PacketBuf::new(&mut report, 8);
            let verdict = relay.handle_packet(now, port(1), true, rtcp, &mut buf);
            assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
            for octets in [0, 1, 12, 60] {
                let mut noise = [sequence as u8; 64];
                let mut buf = PacketBuf::new(&mut noise, octets);
                relay.handle_packet(now, port(0), octets & 4 != 0, remote(0), &mut buf);
            }
        }
        assert_eq!(allocations() - before, 0, "{suite:?}");
    }
}

#[test]
fn a_call_of_two_plain_streams_holds_at_most_6_kib_with_its_share_of_the_tables() {
    let (mut relay, now) = relay();
    let before = held();
    let calls = 4_000;
    for id in 0..2 * calls {
        open(&mut relay, now, id, None);
        send(&mut relay, now, id, 0);
    }
    let per_call = (held() - before) / calls as i64;
    println!("{per_call} octets per call of two plain streams");
    assert!(per_call <= 6 * 1024, "{per_call}");
}

#[test]
fn a_call_with_srtp_on_both_legs_and_directions_stays_within_10_kib() {
    for suite in CryptoSuite::ALL {
        let (mut relay, now) = relay();
        let before = held();
        for id in 0..2_000 {
            open(&mut relay, now, id, Some(suite));
            send(&mut relay, now, id, 0);
        }
        // `open` encrypts one direction; a context is the same size either way. The library keeps GCM keys in memory of
        // its own, which is not counted here.
        let contexts = 2 * size_of::<ringfort_media::srtp::Context>() as i64;
        let per_call = (held() - before) / 1_000 + contexts;
        println!("{per_call} octets per call with {suite} both ways");
        assert!(per_call <= 10 * 1024, "{suite}: {per_call}");
    }
}

#[test]
fn ten_thousand_calls_later_memory_is_where_it_was() {
    let (mut relay, mut now) = relay();
    let mut after_first = 0;
    for round in 0..10u64 {
        for id in 0..2_000 {
            open(&mut relay, now, id, Some(CryptoSuite::AesCm128HmacSha1_80));
            send(&mut relay, now, id, round as u16);
        }
        for id in 0..2_000 {
            relay.handle_command(now, Command::Close { id: StreamId(id) });
            while relay.poll_event().is_some() {}
        }
        for _ in 0..65 {
            now += Duration::from_secs(1);
            relay.handle_timeout(now);
        }
        if round == 0 {
            after_first = held();
        }
    }
    assert_eq!(relay.poll_timeout(), None);
    let grown = held() - after_first;
    assert!(grown <= 0, "{grown} octets more than after the first thousand calls");
}
