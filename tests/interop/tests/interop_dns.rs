//! RFC 3263 against a real name server (Knot DNS) with zones of the test's own, and `ringfort dns` as its users run it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use ringfort_interop::knot::{Knot, zone_check};
use ringfort_interop::process::wait_for;
use ringfort_interop::{Place, need, ringfort};
use ringfort_net::dns::{DnsClient, DnsConfig};
use ringfort_sip::Uri;
use ringfort_sip::flow::Transport;
use ringfort_sip::locate::*;
use serde_json::Value;

#[allow(clippy::disallowed_methods, reason = "name servers and TTLs take real time")]
fn now() -> Instant {
    Instant::now()
}

/// A locator with the real resolver behind it.
struct Caller {
    locator: Locator,
    client: DnsClient,
}

impl Caller {
    fn new(knot: &Knot, settings: Settings, seed: u8) -> anyhow::Result<Caller> {
        let config = DnsConfig { servers: vec![knot.address()], ..DnsConfig::default() };
        Ok(Caller { locator: Locator::new(settings, [seed; 32]), client: DnsClient::new(&config)? })
    }

    fn locate(&mut self, uri: &str) -> anyhow::Result<Located> {
        let request = Request::of_uri(&Uri::parse(uri)?)?;
        Ok(self.client.locate(&mut self.locator, request))
    }

    /// `transport address` of each target.
    fn targets(&mut self, uri: &str) -> anyhow::Result<Vec<String>> {
        let located = self.locate(uri)?;
        let targets = located.result.with_context(|| format!("{uri}: {:?}", located.trace.notes))?;
        ensure!(targets.complete);
        Ok(targets.left().map(|target| format!("{} {}", target.transport, target.address)).collect())
    }

    /// Asks each target in turn, as a call does, until one answers.
    fn call(&mut self, uri: &str) -> anyhow::Result<(Option<SocketAddr>, usize)> {
        let located = self.locate(uri)?;
        let mut targets = located.result?;
        let mut attempts = 0;
        while let Some(target) = self.locator.next_target(now(), &mut targets) {
            attempts += 1;
            let attempt = attempt(&target)?;
            self.locator.report(now(), &target, attempt);
            if !attempt.is_failure() {
                return Ok((Some(target.address), attempts));
            }
        }
        Ok((None, attempts))
    }
}

/// A real datagram or connection. Whoever is there answers with a status line; 503 is a failure (RFC 3263 §4.3).
fn attempt(target: &Target) -> anyhow::Result<Attempt> {
    if target.transport == Transport::Tcp {
        let connected = TcpStream::connect_timeout(&target.address, Duration::from_secs(2)).is_ok();
        return Ok(if connected { Attempt::Answered } else { Attempt::TransportError });
    }
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(target.address)?;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    socket.send(b"OPTIONS sip:x SIP/2.0\r\n\r\n")?;
    let mut buffer = [0; 100];
    Ok(match socket.recv(&mut buffer) {
        Ok(len) => {
            let status = std::str::from_utf8(&buffer[..len])?.split(' ').nth(1).context("a status")?.parse()?;
            Attempt::of_status(status, None)
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Attempt::TimedOut,
        Err(_) => Attempt::TransportError,
    })
}

/// Answers every datagram so until the test ends.
fn answer_with(address: SocketAddr, status: Option<u16>) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(address)?;
    std::thread::spawn(move || {
        let mut buffer = [0; 2_000];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            if let Some(status) = status {
                let _ = socket.send_to(format!("SIP/2.0 {status} X\r\n\r\n").as_bytes(), from);
            }
        }
    });
    Ok(())
}

const ZONE: &str = "
@            IN NAPTR 20 50 \"s\" \"SIP+D2T\"  \"\" _sip._tcp
@            IN NAPTR 20 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp
@            IN NAPTR 10 51 \"s\" \"SIP+D2U\"  \"\" _sip._udp.two
@            IN NAPTR 10 50 \"s\" \"SIP+D2U\"  \"\" _sip._udp
_sip._udp     IN SRV 20 0 5060 late
_sip._udp     IN SRV 10 0 5060 early
_sip._udp.two IN SRV 10 0 5062 two
_sip._tcp     IN SRV 10 0 5060 early
_sips._tcp    IN SRV 10 0 5061 early
early IN A 192.0.2.1
early IN AAAA 2001:db8::1
late  IN A 192.0.2.2
two   IN CNAME real
real  IN A 192.0.2.3
plain IN A 192.0.2.4
none  IN TXT \"nothing for SIP\"
_sip._udp.refused IN SRV 0 0 0 .
refused IN A 192.0.2.5
_sip._udp.weights IN SRV 10 60 5060 w60
_sip._udp.weights IN SRV 10 30 5060 w30
_sip._udp.weights IN SRV 10 10 5060 w10
w60 IN A 192.0.2.60
w30 IN A 192.0.2.30
w10 IN A 192.0.2.10
_sip._udp.srvonly IN SRV 1 1 5070 plain
loop IN CNAME pool
pool IN CNAME loop
alias IN CNAME plain.other.test.
";

fn zones() -> [(&'static str, u32, &'static str); 2] {
    [("sip.test", 300, ZONE), ("other.test", 300, "plain IN A 192.0.2.77")]
}

#[test]
fn order_preference_priority_and_family_are_followed() -> anyhow::Result<()> {
    need!("knotd");
    let place = Place::new()?;
    let knot = Knot::start(&place, place.ip(0), &zones())?;
    let mut caller = Caller::new(&knot, Settings::default(), 1)?;
    assert_eq!(
        caller.targets("sip:alex@sip.test")?,
        ["UDP [2001:db8::1]:5060", "UDP 192.0.2.1:5060", "UDP 192.0.2.2:5060", "UDP 192.0.2.3:5062"]
    );
    assert_eq!(caller.targets("sips:alex@sip.test")?, ["TLS [2001:db8::1]:5061", "TLS 192.0.2.1:5061"]);
    assert_eq!(caller.targets("sip:a@sip.test;transport=tcp")?, ["TCP [2001:db8::1]:5060", "TCP 192.0.2.1:5060"]);
    assert_eq!(caller.targets("sip:a@plain.sip.test")?, ["UDP 192.0.2.4:5060"], "addresses alone");
    assert_eq!(caller.targets("sip:a@plain.sip.test:5080")?, ["UDP 192.0.2.4:5080"]);
    assert_eq!(caller.targets("sip:a@srvonly.sip.test")?, ["UDP 192.0.2.4:5070"], "SRV without NAPTR");
    assert_eq!(caller.targets("sip:a@192.0.2.9")?, ["UDP 192.0.2.9:5060"]);
    assert_eq!(caller.targets("sip:a@localhost:5060")?, ["UDP [::1]:5060", "UDP 127.0.0.1:5060"], "RFC 6761");
    Ok(())
}

#[test]
fn absences_refusals_aliases_and_loops_have_their_own_words() -> anyhow::Result<()> {
    need!("knotd");
    let place = Place::new()?;
    let knot = Knot::start(&place, place.ip(0), &zones())?;
    let mut caller = Caller::new(&knot, Settings::default(), 1)?;
    let mut error = |uri: &str| anyhow::Ok(caller.locate(uri)?.result.unwrap_err());
    assert_eq!(error("sip:a@nobody.sip.test")?, LocateError::NoSuchName);
    assert_eq!(error("sip:a@none.sip.test")?, LocateError::NoAddress);
    assert_eq!(error("sip:a@refused.sip.test")?, LocateError::NoService);
    assert_eq!(error("sip:a@loop.sip.test")?, LocateError::Unanswered(QueryFailure::AliasLoop));
    assert_eq!(error("sip:a@not-a-zone-here.example")?, LocateError::Unanswered(QueryFailure::Refused));
    let alias = caller.targets("sip:a@alias.sip.test:5060")?;
    assert_eq!(alias, ["UDP 192.0.2.77:5060"], "across zones");
    let located = caller.locate("sip:alex@sip.test")?;
    assert!(
        located.trace.notes.contains(&Note::TargetIsAlias(Name::parse("two.sip.test")?)),
        "{:?}",
        located.trace.notes
    );
    Ok(())
}

#[test]
fn naptr_turned_off_begins_with_srv() -> anyhow::Result<()> {
    need!("knotd");
    let place = Place::new()?;
    let knot = Knot::start(&place, place.ip(0), &zones())?;
    let settings = Settings { naptr: false, families: Families::V4Only, ..Settings::default() };
    let mut caller = Caller::new(&knot, settings, 1)?;
    let expected = ["UDP 192.0.2.1:5060", "UDP 192.0.2.2:5060", "TCP 192.0.2.1:5060", "TLS 192.0.2.1:5061"];
    assert_eq!(caller.targets("sip:alex@sip.test")?, expected);
    Ok(())
}

/// Weights 60, 30 and 10 among 101 numbers; see RFC 2782 and `crates/sip/tests/locate/rfc2782.rs`.
#[test]
fn ten_thousand_calls_are_shared_out_by_weight() -> anyhow::Result<()> {
    need!("knotd");
    let place = Place::new()?;
    let knot = Knot::start(&place, place.ip(0), &zones())?;
    let mut caller = Caller::new(&knot, Settings::default(), 7)?;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..10_000 {
        let first = caller.targets("sip:a@weights.sip.test")?.into_iter().next().context("a target")?;
        *counts.entry(first).or_default() += 1;
    }
    let expected = [("10", 11.0 / 101.0), ("30", 30.0 / 101.0), ("60", 60.0 / 101.0)];
    let chi: f64 = expected
        .iter()
        .map(|(host, p)| {
            let (expected, got) = (p * 10_000.0, f64::from(counts[&format!("UDP 192.0.2.{host}:5060")]));
            (got - expected).powi(2) / expected
        })
        .sum();
    // Two degrees of freedom: one draw in a thousand is above.
    ensure!(chi < 13.82, "chi-square {chi}: {counts:?}");
    ensure!(caller.locator.counters().queries < 12, "answers are remembered: {:?}", caller.locator.counters());
    Ok(())
}

#[test]
fn a_call_goes_through_dead_targets_to_the_one_that_lives_and_the_next_call_goes_there_at_once() -> anyhow::Result<()> {
    need!("knotd");
    let place = Place::new()?;
    let [silent, busy, alive] = [2, 3, 4].map(|index| place.ip(index));
    let zone = format!(
        "@ IN NAPTR 10 50 \"s\" \"SIP+D2U\" \"\" _sip._udp\n@ IN NAPTR 10 51 \"s\" \"SIP+D2T\" \"\" _sip._tcp\n\
         _sip._udp IN SRV 10 0 5060 closed\n_sip._udp IN SRV 20 0 5060 silent\n_sip._udp IN SRV 30 0 5060 busy\n\
         _sip._tcp IN SRV 10 0 5060 closed\n_sip._tcp IN SRV 20 0 5060 alive\n\
         closed IN A {}\nsilent IN A {silent}\nbusy IN A {busy}\nalive IN A {alive}\n",
        place.ip(1)
    );
    let knot = Knot::start(&place, place.ip(0), &[("dead.test", 300, &zone)])?;
    answer_with(SocketAddr::new(silent, 5060), None)?;
    answer_with(SocketAddr::new(busy, 5060), Some(503))?;
    let listener = std::net::TcpListener::bind((alive, 5060))?;
    let mut caller = Caller::new(&knot, Settings::default(), 1)?;
    let alive = Some(SocketAddr::new(alive, 5060));
    assert_eq!(caller.call("sip:a@dead.test")?, (alive, 5), "ICMP, silence, 503, a refused connection, and through");
    assert_eq!(caller.call("sip:a@dead.test")?, (alive, 1), "the dead stand back");
    drop(listener);
    assert_eq!(caller.call("sip:a@dead.test")?, (None, 5), "all are tried before it is given up");
    Ok(())
}

#[test]
fn answers_and_absences_are_remembered_for_their_ttl_and_then_asked_anew() -> anyhow::Result<()> {
    need!("knotd", "knotc");
    let place = Place::new()?;
    let mut knot = Knot::start(&place, place.ip(0), &[("ttl.test", 3, "moving 3 IN A 192.0.2.1")])?;
    let mut caller = Caller::new(&knot, Settings::default(), 1)?;
    let begun = now();
    assert_eq!(caller.targets("sip:a@moving.ttl.test:5060")?, ["UDP 192.0.2.1:5060"]);
    assert_eq!(caller.locate("sip:a@coming.ttl.test:5060")?.result.unwrap_err(), LocateError::NoSuchName);
    knot.change("ttl.test", 3, "moving 3 IN A 192.0.2.2\ncoming 3 IN A 192.0.2.3")?;
    let mut fresh = Caller::new(&knot, Settings::default(), 1)?;
    assert_eq!(fresh.targets("sip:a@coming.ttl.test:5060")?, ["UDP 192.0.2.3:5060"], "the change is in force");
    let moving = caller.targets("sip:a@moving.ttl.test:5060")?;
    let coming = caller.locate("sip:a@coming.ttl.test:5060")?.result;
    if begun.elapsed() < Duration::from_millis(2_900) {
        assert_eq!(moving, ["UDP 192.0.2.1:5060"], "still remembered");
        assert_eq!(coming, Err(LocateError::NoSuchName), "still remembered (RFC 2308)");
    }
    wait_for("the new address after the TTL", Duration::from_secs(10), || {
        Ok((caller.targets("sip:a@moving.ttl.test:5060")? == ["UDP 192.0.2.2:5060"]).then_some(()))
    })?;
    wait_for("the new name after the SOA's minimum", Duration::from_secs(10), || {
        Ok(caller.locate("sip:a@coming.ttl.test:5060")?.result.is_ok().then_some(()))
    })?;
    ensure!(begun.elapsed() >= Duration::from_millis(2_900), "asked anew before the TTL was over");
    // What is known does not need the name server.
    caller.targets("sip:a@moving.ttl.test:5060")?;
    knot.stop();
    assert_eq!(caller.targets("sip:a@moving.ttl.test:5060")?, ["UDP 192.0.2.2:5060"]);
    let gone = caller.locate("sip:a@other.ttl.test:5060")?.result.unwrap_err();
    ensure!(gone.is_temporary(), "{gone}");
    Ok(())
}

#[test]
fn an_answer_that_does_not_fit_a_datagram_comes_by_tcp() -> anyhow::Result<()> {
    need!("knotd");
    let place = Place::new()?;
    let name = |n: usize| format!("a-host-with-quite-a-long-name-number-{n}");
    let zone: String = (0..60)
        .map(|n| format!("_sip._udp IN SRV {n} 0 5060 {}\n{} IN A 192.0.2.{}\n", name(n), name(n), n + 1))
        .collect();
    let knot = Knot::start(&place, place.ip(0), &[("big.test", 300, &zone)])?;
    let mut caller = Caller::new(&knot, Settings::default(), 1)?;
    let targets = caller.targets("sip:a@big.test")?;
    assert_eq!(targets.len(), 16);
    assert_eq!(targets[0], "UDP 192.0.2.1:5060");
    Ok(())
}

/// `ringfort dns …` in a place with a configuration. Standard output, and the exit status.
fn dns(place: &Place, knot: Option<&Knot>, line: &str) -> anyhow::Result<(String, i32)> {
    let mut command = Command::new(ringfort::binary()?);
    command.current_dir(place.dir()).arg("dns").args(line.split(' '));
    if let Some(knot) = knot {
        command.args(["--server", &knot.address().to_string()]);
    }
    let output = command.output()?;
    let said = String::from_utf8(output.stdout)?;
    let code = output.status.code().context("no exit status")?;
    ensure!(output.stderr.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok((said, code))
}

fn configure(place: &Place) -> anyhow::Result<()> {
    let listen = ["udp", "tcp", "tls"].map(|transport| {
        let port = if transport == "tls" { 5061 } else { 5060 };
        format!("\"{transport}:192.0.2.1:{port}\", \"{transport}:[2001:db8::1]:{port}\"")
    });
    let config = format!("[[profile]]\nname = \"world\"\nlisten = [{}]\n", listen.join(", "));
    place.write("ringfort.toml", &config)?;
    Ok(())
}

const HOSTS: &str = "--host sip1.office.test --host sip2.office.test=192.0.2.2";

#[test]
fn the_printed_records_load_without_complaint_and_are_found_clean() -> anyhow::Result<()> {
    need!("knotd", "kzonecheck");
    let place = Place::new()?;
    configure(&place)?;
    for hosts in ["", " --host sip.office.test", &format!(" {HOSTS}")] {
        let (fragment, code) = dns(&place, None, &format!("records office.test{hosts}"))?;
        assert_eq!(code, 0);
        let knot = Knot::start(&place, place.ip(0), &[("office.test", 300, &fragment)])?;
        zone_check("office.test", &knot.zone_file("office.test"))?;
        let (said, code) = dns(&place, Some(&knot), &format!("check office.test{hosts}"))?;
        ensure!(code == 0 && said.starts_with("office.test: as it should be; "), "{said}");
        let (json, _) = dns(&place, Some(&knot), &format!("check office.test{hosts} --json"))?;
        let json: Value = serde_json::from_str(&json)?;
        ensure!(json["ok"] == true && json["items"].as_array().is_some_and(Vec::is_empty), "{json:#}");
    }
    Ok(())
}

/// Each kind of fault: what is replaced in the zone by what, the fault's name, words about it, and the exit status.
const FAULTS: &[(&str, &str, &str, &str, i32)] = &[
    (
        "office.test. 3600 IN NAPTR 20 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.office.test.",
        "",
        "missing",
        "no rule for SIPS+D2T",
        1,
    ),
    (
        "_sip._tcp.office.test. 3600 IN SRV 20 0 5060 sip2.office.test.",
        "",
        "missing",
        "sip2.office.test is not named",
        1,
    ),
    ("sip1.office.test. 3600 IN AAAA 2001:db8::1", "", "missing", "its address 2001:db8::1 is not published", 1),
    ("IN NAPTR 10 51", "IN NAPTR 10 90", "differing", "has order 10 and preference 90, not 10 and 51", 1),
    (
        "_sip._udp.office.test. 3600 IN SRV 10 0 5060",
        "_sip._udp.office.test. 3600 IN SRV 15 0 5060",
        "differing",
        "priority 15",
        1,
    ),
    (
        "_sips._tcp.office.test. 3600 IN SRV 10 0 5061",
        "_sips._tcp.office.test. 3600 IN SRV 10 0 5060",
        "wrong-port",
        "has port 5060, but Ringfort listens on 5061",
        1,
    ),
    (
        "sip2.office.test. 3600 IN A 192.0.2.2",
        "sip2.office.test. 3600 IN A 192.0.2.99",
        "wrong-address",
        "192.0.2.99 is published, where Ringfort does not listen",
        1,
    ),
    (
        "; The hosts",
        "_sip._udp.office.test. 3600 IN SRV 5 0 5060 evil\nevil IN A 203.0.113.6",
        "extra",
        "5 0 5060 evil.office.test leads to a host that is not ours",
        1,
    ),
    (
        "; The hosts",
        "@ 3600 IN NAPTR 5 50 \"s\" \"SIP+D2S\" \"\" _sip._sctp",
        "not-offered",
        "promises what no listener of Ringfort offers",
        1,
    ),
    ("\"s\" \"SIP+D2T\"", "\"a\" \"SIP+D2T\"", "unusable", "its flags are not \"s\"", 1),
    (
        "_sip._udp.sip2.office.test. 3600 IN SRV 10 0 5060 sip2.office.test.",
        "",
        "dangling",
        "where there is no SRV record",
        1,
    ),
    (
        "_sips._tcp.office.test. 3600 IN SRV 10 0 5061 sip1.office.test.\n_sips._tcp.office.test. 3600 IN SRV 20 0 5061 sip2.office.test.",
        "_sips._tcp.office.test. 3600 IN SRV 0 0 0 .",
        "refused",
        "though Ringfort offers it",
        1,
    ),
    (
        "sip2.office.test. 3600 IN A 192.0.2.2",
        "sip2 IN CNAME real\nreal IN A 192.0.2.2",
        "alias-at-target",
        "an alias (CNAME) of real.office.test",
        1,
    ),
    ("sip2.office.test. 3600 IN A 192.0.2.2", "sip2 IN TXT \"x\"", "host-without-address", "has no address", 1),
    ("3600 IN NAPTR", "20 IN NAPTR", "ttl-too-short", "for 20 s only", 0),
    ("3600 IN AAAA", "700000 IN AAAA", "ttl-too-long", "a change takes more than a day", 0),
];

#[test]
fn each_fault_in_a_zone_is_found_and_named() -> anyhow::Result<()> {
    need!("knotd", "knotc");
    let place = Place::new()?;
    configure(&place)?;
    let (good, _) = dns(&place, None, &format!("records office.test {HOSTS}"))?;
    let mut knot = Knot::start(&place, place.ip(0), &[("office.test", 300, &good)])?;
    for (right, wrong, fault, words, code) in FAULTS {
        ensure!(good.contains(right), "{right:?} is not in\n{good}");
        knot.change("office.test", 300, &good.replace(right, wrong))?;
        let (json, found) = dns(&place, Some(&knot), &format!("check office.test {HOSTS} --json"))?;
        let json: Value = serde_json::from_str(&json)?;
        let items = json["items"].as_array().context("no items")?;
        let named = items
            .iter()
            .any(|item| item["fault"] == **fault && item["text"].as_str().is_some_and(|text| text.contains(words)));
        ensure!(named && found == *code, "{fault}, {words:?}: exit {found}\n{json:#}");
        let (said, _) = dns(&place, Some(&knot), &format!("check office.test {HOSTS}"))?;
        ensure!(said.contains(&format!("  {fault}: ")) && said.contains(words), "{said}");
    }
    knot.change("office.test", 300, &good)?;
    assert_eq!(dns(&place, Some(&knot), &format!("check office.test {HOSTS}"))?.1, 0, "mended");
    let (said, code) = dns(&place, Some(&knot), "check nowhere.office.test")?;
    ensure!(code == 1 && said.contains("the domain does not exist in the DNS"), "{said}");
    let (said, code) = dns(&place, Some(&knot), "check another.example")?;
    ensure!(code == 2 && said.contains("unanswered: ") && said.contains("REFUSED"), "{said}");
    knot.stop();
    let (said, code) = dns(&place, Some(&knot), "check office.test")?;
    ensure!(code == 2 && said.contains("unanswered: "), "{said}");
    Ok(())
}

#[test]
fn locate_shows_the_targets_with_their_reasons_and_what_was_asked() -> anyhow::Result<()> {
    need!("knotd");
    let place = Place::new()?;
    let knot = Knot::start(&place, place.ip(0), &zones())?;
    let (said, code) = dns(&place, Some(&knot), "locate alex@sip.test")?;
    for part in [
        "TRY  TRANSPORT  ADDRESS",
        "  2  udp        192.0.2.1:5060",
        "NAPTR 10 50 SIP+D2U → SRV _sip._udp.sip.test 10 0 5060 → address of early.sip.test",
        "two.sip.test",
        "alias of real.sip.test",
        "Note: NAPTR 20 50 \"SIP+D2T\" is left out: a rule of a lower order was taken",
        "Note: the SRV target two.sip.test is an alias (CNAME), which RFC 2782 forbids; followed all the same.",
    ] {
        ensure!(code == 0 && said.contains(part), "{part:?} is not in\n{said}");
    }
    let (json, code) = dns(&place, Some(&knot), "locate sips:alex@sip.test --json")?;
    let json: Value = serde_json::from_str(&json)?;
    let first = &json["items"][0];
    ensure!(code == 0 && first["transport"] == "tls" && first["certificate_for"] == "sip.test", "{json:#}");
    ensure!(first["ttl_s"] == 3600 && json["asked"].as_array().is_some_and(|asked| asked.len() == 4), "{json:#}");
    let (said, code) = dns(&place, Some(&knot), "locate sip:a@nobody.sip.test")?;
    ensure!(code == 1 && said.contains("the name does not exist") && said.contains("no such name"), "{said}");
    let (said, code) = dns(&place, Some(&knot), "locate sip:a@elsewhere.example")?;
    ensure!(code == 2 && said.contains("REFUSED"), "{said}");
    place.write("ringfort.toml", &format!("[dns]\nservers = [\"{}\"]\nnaptr = false\n", knot.address()))?;
    let (said, code) = dns(&place, None, "locate alex@sip.test")?;
    ensure!(code == 0 && !said.contains("NAPTR") && said.contains("SRV _sip._tcp.sip.test"), "{said}");
    Ok(())
}

#[test]
fn a_wrong_address_or_configuration_is_named() -> anyhow::Result<()> {
    let place = Place::new()?;
    for (line, words) in [
        ("locate sips:a@x.test;transport=udp --server 127.0.0.1", "does not encrypt"),
        ("locate a@b@c --server 127.0.0.1", "is no SIP address"),
        ("records x..test", "is no domain"),
    ] {
        let mut command = Command::new(ringfort::binary()?);
        let output = command.current_dir(place.dir()).arg("dns").args(line.split(' ')).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() != Some(1) || !said.contains(words) {
            bail!("{line}: {:?}\n{said}", output.status);
        }
    }
    Ok(())
}
