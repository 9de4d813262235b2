//! CALL-1 on the wire: what tshark saw on one side of a call has nothing of the other side in it — no address, tag,
//! Call-ID, branch, session id, CNAME, SSRC or product name.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

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
    let capture = Capture::start(&place, &[a, b])?;
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
