//! Cost of one packet: through the relay, and of SRTP alone beside an independent implementation.
//! `cargo bench -p ringfort-media --bench relay`

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use ringfort_media::relay::{PacketBuf, Relay, RelayConfig, Verdict};
use ringfort_media::srtp::{Context, MAX_TRAILER};
use ringfort_media::types::*;
use rtc_srtp::context::Context as Other;
use rtc_srtp::protection_profile::ProtectionProfile;

fn main() {
    divan::main();
}

/// G.711, 20 ms.
const PACKET: usize = 172;

fn keys(suite: CryptoSuite, fill: u8) -> SrtpKeys {
    let mut keys = SrtpKeys { suite, key: [0; 32], salt: [0; 14], mki: None };
    keys.key[..suite.key_len()].fill(fill);
    keys
}

fn packet(buf: &mut [u8], ssrc: u32, sequence: u16) {
    buf[..12].copy_from_slice(&[0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    buf[2..4].copy_from_slice(&sequence.to_be_bytes());
    buf[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    buf[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

/// Streams that are all learned and connected in pairs, 50 on a port, and the next sequence number of each.
struct Calls {
    relay: Relay,
    now: Instant,
    sequences: Vec<u16>,
    /// A shuffled order, so that neighbours in memory are not neighbours in time.
    order: Vec<u32>,
    at: usize,
    phones: Vec<Option<Context>>,
}

impl Calls {
    fn new(streams: u64, rx: Option<CryptoSuite>, tx: Option<CryptoSuite>) -> Self {
        #[allow(clippy::disallowed_methods)] // an arbitrary start; time in the relay is virtual
        let now = Instant::now();
        let config = RelayConfig { audio_rate: u32::MAX, ..RelayConfig::default() };
        let mut relay = Relay::new(config, [3; 32], now, 0);
        for id in 0..streams {
            let config = StreamConfig {
                remote: Some(remote(id)),
                remote_rtcp: None,
                rtcp_mux: false,
                signalling: None,
                payload_types: [0, 8].into_iter().collect(),
                clock_rate: 8000,
                codec: CodecHint::G711,
                rx_keys: rx.map(|suite| keys(suite, 1)),
                tx_keys: tx.map(|suite| keys(suite, 2)),
                sends: true,
                receives: true,
                send_unproven: true,
                pass_extensions: false,
            };
            relay.handle_command(now, Command::Open { id: StreamId(id), port: port(id) });
            let config = Box::new(config);
            relay.handle_command(now, Command::Configure { id: StreamId(id), config, relearn: false });
            if id % 2 == 1 {
                relay.handle_command(now, Command::Connect { a: StreamId(id - 1), b: StreamId(id) });
            }
        }
        let order = (0..streams as u32).map(|i| (u64::from(i) * 7919 % streams) as u32).collect();
        let phones = (0..streams).map(|_| rx.map(|suite| Context::new(&keys(suite, 1)))).collect();
        let mut calls = Calls { relay, now, sequences: vec![1; streams as usize], order, at: 0, phones };
        let mut buf = [0; 512];
        for _ in 0..2 * streams {
            let (id, len) = calls.next(&mut buf);
            calls.handle(id, &mut buf, len);
        }
        while calls.relay.poll_event().is_some() {}
        calls
    }

    /// The next packet, as its phone sends it.
    fn next(&mut self, buf: &mut [u8; 512]) -> (u64, usize) {
        self.at = (self.at + 1) % self.order.len();
        let id = self.order[self.at] as usize;
        let sequence = self.sequences[id];
        self.sequences[id] = sequence.wrapping_add(1);
        packet(buf, id as u32, sequence);
        let len = match &mut self.phones[id] {
            Some(phone) => phone.protect_rtp(buf, PACKET).unwrap(),
            None => PACKET,
        };
        (id as u64, len)
    }

    #[inline]
    fn handle(&mut self, id: u64, buf: &mut [u8; 512], len: usize) -> bool {
        self.now += Duration::from_micros(2);
        let verdict = self.relay.handle_packet(self.now, port(id), false, remote(id), &mut PacketBuf::new(buf, len));
        matches!(verdict, Verdict::Forward { .. })
    }
}

fn remote(id: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, (id >> 8) as u8, id as u8], 4000))
}

fn port(id: u64) -> PortId {
    PortId(10_000 + 2 * (id / 50) as u16)
}

/// Packets that are made before the time is taken: of many streams in turn, as a thread meets them.
const BATCH: usize = 256;

/// Time for [`BATCH`] packets; divan's items per second are packets.
fn relay_batch(bencher: Bencher<'_, '_>, streams: u64, rx: Option<CryptoSuite>, tx: Option<CryptoSuite>) {
    let calls = std::cell::RefCell::new(Calls::new(streams, rx, tx));
    bencher
        .counter(BATCH)
        .with_inputs(|| {
            let mut calls = calls.borrow_mut();
            let mut batch = Vec::with_capacity(BATCH);
            for _ in 0..BATCH {
                let mut buf = [0; 512];
                let (id, len) = calls.next(&mut buf);
                batch.push((id, buf, len));
            }
            batch
        })
        .bench_local_refs(|batch| {
            let mut calls = calls.borrow_mut();
            let mut passed = 0;
            for (id, buf, len) in batch.iter_mut() {
                passed += usize::from(calls.handle(*id, buf, *len));
            }
            assert_eq!(passed, BATCH);
        });
}

#[divan::bench(args = [1_000, 10_000])]
fn relay_256_plain_to_plain(bencher: Bencher<'_, '_>, streams: u64) {
    relay_batch(bencher, streams, None, None);
}

#[divan::bench(args = CryptoSuite::ALL)]
fn relay_256_srtp_to_plain(bencher: Bencher<'_, '_>, suite: CryptoSuite) {
    relay_batch(bencher, 1_000, Some(suite), None);
}

#[divan::bench(args = CryptoSuite::ALL)]
fn relay_256_srtp_to_srtp(bencher: Bencher<'_, '_>, suite: CryptoSuite) {
    relay_batch(bencher, 1_000, Some(suite), Some(suite));
}

#[divan::bench(args = CryptoSuite::ALL)]
fn srtp_protect_172(bencher: Bencher<'_, '_>, suite: CryptoSuite) {
    let mut context = Context::new(&keys(suite, 1));
    let mut sequence = 0u16;
    let mut buf = [0; PACKET + MAX_TRAILER];
    bencher.bench_local(|| {
        packet(&mut buf, 7, sequence);
        sequence = sequence.wrapping_add(1);
        context.protect_rtp(black_box(&mut buf), PACKET).unwrap()
    });
}

#[divan::bench(args = CryptoSuite::ALL)]
fn srtp_unprotect_172(bencher: Bencher<'_, '_>, suite: CryptoSuite) {
    let mut phone = Context::new(&keys(suite, 1));
    let mut context = Context::new(&keys(suite, 1));
    let mut sequence = 0u16;
    bencher
        .with_inputs(|| {
            let mut buf = [0; PACKET + MAX_TRAILER];
            packet(&mut buf, 7, sequence);
            sequence = sequence.wrapping_add(1);
            let len = phone.protect_rtp(&mut buf, PACKET).unwrap();
            (buf, len)
        })
        .bench_local_refs(|(buf, len)| context.unprotect_rtp(black_box(&mut buf[..*len])).unwrap());
}

fn other(suite: CryptoSuite) -> Other {
    let profile = match suite {
        CryptoSuite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        CryptoSuite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        CryptoSuite::Aes256CmHmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        CryptoSuite::Aes256CmHmacSha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
        CryptoSuite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        CryptoSuite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
    };
    let keys = keys(suite, 1);
    let provider = rtc_crypto::default_provider().unwrap();
    Other::new(keys.master_key(), keys.master_salt(), profile, None, None, provider.crypto()).unwrap()
}

#[divan::bench(args = CryptoSuite::ALL)]
fn rtc_srtp_protect_172(bencher: Bencher<'_, '_>, suite: CryptoSuite) {
    let mut context = other(suite);
    let mut sequence = 0u16;
    let mut buf = [0; PACKET];
    bencher.bench_local(|| {
        packet(&mut buf, 7, sequence);
        sequence = sequence.wrapping_add(1);
        context.encrypt_rtp(black_box(&buf)).unwrap()
    });
}

#[divan::bench(args = CryptoSuite::ALL)]
fn rtc_srtp_unprotect_172(bencher: Bencher<'_, '_>, suite: CryptoSuite) {
    let mut phone = other(suite);
    let mut context = other(suite);
    let mut sequence = 0u16;
    bencher
        .with_inputs(|| {
            let mut buf = [0; PACKET];
            packet(&mut buf, 7, sequence);
            sequence = sequence.wrapping_add(1);
            phone.encrypt_rtp(&buf).unwrap()
        })
        .bench_local_refs(|buf| context.decrypt_rtp(black_box(buf)).unwrap());
}
