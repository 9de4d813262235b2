//! CALL-1 on the wire: what tshark saw on one side of a call has nothing of the other side in it — no address, tag,
//! Call-ID, branch, session id, CNAME, SSRC or product name.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::time::Duration;

use ringfort_interop::baresip::Baresip;
use ringfort_interop::capture::{Capture, Captured};
use ringfort_interop::sipp::{Sipp, finish, register};
use ringfort_interop::{Options, Place, Ringfort, need};

/// The value of a header field or SDP line in messages, each as often as it stands there.
fn values<'a>(payloads: &'a [Vec<u8>], prefix: &'a str) -> impl Iterator<Item = String> + 'a {
    payloads.iter().flat_map(move |payload| {
        let text = String::from_utf8_lossy(payload).into_owned();
        text.lines().filter_map(|line| line.strip_prefix(prefix).map(str::to_owned)).collect::<Vec<_>>()
    })
}

/// Everything that names one side, taken from what that side itself sent.
fn secrets(sent: &[Vec<u8>], ip: IpAddr) -> Vec<String> {
    let mut secrets = vec![ip.to_string()];
    for value in values(sent, "Call-ID: ") {
        secrets.push(value);
    }
    for value in values(sent, "From: ").chain(values(sent, "To: ")) {
        secrets.extend(value.split(";tag=").nth(1).map(str::to_owned));
    }
    for value in values(sent, "Via: ") {
        secrets.extend(value.split("branch=").nth(1).and_then(|rest| rest.split(';').next()).map(str::to_owned));
    }
    for value in values(sent, "o=") {
        secrets.extend(value.split(' ').skip(1).take(2).map(str::to_owned));
    }
    secrets.extend(values(sent, "User-Agent: "));
    secrets.sort_unstable();
    secrets.dedup();
    secrets.retain(|secret| secret.len() > 3);
    secrets
}

fn payloads(captured: &Captured, filter: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    Ok(captured.datagrams(filter)?.into_iter().map(|datagram| datagram.payload).collect())
}

#[test]
fn neither_side_of_a_call_sees_anything_of_the_other() -> anyhow::Result<()> {
    need!("sipp", "tshark", "dumpcap");
    let place = Place::new()?;
    let system = Ringfort::start(&place, Options::default())?;
    let (a, b) = (place.ip(1), place.ip(2));
    let capture = Capture::start(&place, &[a, b], None)?;
    register(&place, &system, "102", b, 5070)?;
    let called = Sipp::new("uas", b, 5070, &system).user(system.extension("102")).start(&place)?;
    ringfort_interop::process::wait_for("SIPp to listen", Duration::from_secs(5), || {
        Ok(UdpSocket::bind((b, 5070)).is_err().then_some(()))
    })?;
    Sipp::new("uac", a, 5080, &system).user(system.extension("101")).calls("102").run(&place)?;
    finish(&place, "uas", 5070, called)?;
    system.wait_idle()?;
    let captured = capture.stop()?;
    for (own, other, product) in [(a, b, "Sipp-callee"), (b, a, "Sipp-caller")] {
        let seen = payloads(&captured, &format!("ip.dst == {own}"))?;
        assert!(seen.len() >= 5, "the capture has only {} packets of {own}", seen.len());
        let foreign: Vec<String> = secrets(&payloads(&captured, &format!("ip.src == {other}"))?, other);
        assert!(foreign.len() >= 6 && foreign.iter().any(|secret| secret.contains(product)), "{foreign:?}");
        for payload in &seen {
            let text = String::from_utf8_lossy(payload);
            for secret in &foreign {
                assert!(!text.contains(secret.as_str()), "{own} saw {secret:?} of {other} in\n{text}");
            }
        }
    }
    system.stop()
}

/// SSRCs of RTP and RTCP in these packets, and the CNAMEs of RTCP SDES (RFC 3550 §5.1, §6.5).
fn media_names(packets: &[Vec<u8>]) -> (BTreeSet<u32>, BTreeSet<Vec<u8>>) {
    let (mut sources, mut names) = (BTreeSet::new(), BTreeSet::new());
    let word = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(u32::from_be_bytes).ok();
    for packet in packets.iter().filter(|packet| packet.first().is_some_and(|first| first >> 6 == 2)) {
        if !matches!(packet.get(1), Some(192..=223)) {
            sources.extend(packet.get(8..12).and_then(word));
            continue;
        }
        let mut rest = &packet[..];
        while let [_, kind, high, low, ..] = *rest {
            let len = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
            let part = &rest[..len.min(rest.len())];
            sources.extend(part.get(4..8).and_then(word));
            // SDES: the first chunk's first item is its CNAME.
            if let (202, Some(&[1, len])) = (kind, part.get(8..10)) {
                names.extend(part.get(10..10 + usize::from(len)).map(<[u8]>::to_vec));
            }
            rest = &rest[part.len()..];
        }
    }
    (sources, names)
}

#[test]
fn neither_side_sees_the_ssrc_or_cname_of_the_other() -> anyhow::Result<()> {
    need!("baresip", "tshark", "dumpcap");
    let place = Place::new()?;
    let system = Ringfort::start(&place, Options::default())?;
    let phone = |name, number, index, tone, rtp_ports, answers| Baresip {
        name,
        number,
        ip: place.ip(index),
        transport: "udp",
        server_port: 5060,
        mediaenc: "",
        tone,
        seconds: 7,
        rtp_ports,
        answers,
    };
    let bela = phone("bela", "102", 2, 1500, 25_000, true).start(&place, &system)?;
    let mut anna = phone("anna", "101", 1, 1000, 24_000, false).start(&place, &system)?;
    let capture = Capture::start(&place, &[place.ip(1), place.ip(2)], Some((24_000, 25_100)))?;
    anna.dial("102")?;
    anna.process.wait_said("terminated (duration", Duration::from_secs(30))?;
    system.wait_idle()?;
    let captured = capture.stop()?;
    drop(bela);
    for (own, other) in [(24_000u16..=24_100, 25_000u16..=25_100), (25_000..=25_100, 24_000..=24_100)] {
        let range = |name: &str, ports: &RangeInclusive<u16>| {
            format!("udp.{name} >= {} && udp.{name} <= {}", ports.start(), ports.end())
        };
        let (seen, seen_names) = media_names(&payloads(&captured, &range("dstport", &own))?);
        let (foreign, foreign_names) = media_names(&payloads(&captured, &range("srcport", &other))?);
        assert!(!seen.is_empty() && !foreign.is_empty(), "no media in the capture: {seen:?} {foreign:?}");
        assert!(!foreign_names.is_empty(), "baresip sent no CNAME");
        assert!(seen.is_disjoint(&foreign), "SSRCs crossed: {seen:?} and {foreign:?}");
        assert!(seen_names.is_disjoint(&foreign_names), "CNAMEs crossed: {seen_names:?}");
    }
    system.stop()
}
