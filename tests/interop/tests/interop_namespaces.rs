//! Hosts with networks of their own: two systems that call each other by the DNS alone across a network (DOM-1, DOM-2), and
//! attackers with public addresses, IPv4 and IPv6, beside an honest caller (GUARD-6).

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};
use ringfort_interop::baresip::Baresip;
use ringfort_interop::knot::Knot;
use ringfort_interop::netns::Network;
use ringfort_interop::process::wait_for;
use ringfort_interop::ringfort::{DOMAIN, Extension, bracketed};
use ringfort_interop::tls::certificate;
use ringfort_interop::{Options, Place, Ringfort, need, wav};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a test writes good addresses")
}

fn phone(name: &'static str, number: &'static str, ip: IpAddr, tone: u16, answers: bool) -> Baresip {
    Baresip {
        name,
        number,
        ip,
        transport: "udp",
        server_port: 5060,
        mediaenc: "",
        tone,
        seconds: 6,
        rtp_ports: 22_000,
        answers,
    }
}

#[test]
fn two_systems_in_two_networks_call_each_other_by_dns_alone() -> anyhow::Result<()> {
    need!("baresip", "knotd", "openssl", "ip");
    let hosts: [&[&str]; 3] =
        [&["203.0.113.1/24", "203.0.113.11/24"], &["203.0.113.2/24", "203.0.113.12/24"], &["203.0.113.53/24"]];
    let Some(network) = Network::new(&hosts)? else { return Ok(()) };
    let place = Place::new()?;
    let zone = |address: &str| {
        format!(
            "@ IN NAPTR 10 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp\n_sips._tcp IN SRV 10 0 5081 pbx\npbx IN A {address}\n"
        )
    };
    let (alpha_zone, beta_zone) = (zone("203.0.113.1"), zone("203.0.113.2"));
    let zones = [("alpha.test", 60, alpha_zone.as_str()), ("beta.test", 60, beta_zone.as_str())];
    let knot = network.on(2, || Knot::start(&place, ip("203.0.113.53"), &zones))?;
    let files = [certificate(&place, "alpha.test")?, certificate(&place, "beta.test")?];
    let mut authorities = String::new();
    for (chain, _) in &files {
        authorities += &std::fs::read_to_string(chain)?;
    }
    let authorities = place.write("authorities.pem", &authorities)?;
    let system = |host: usize, address: &str, domain, extensions, site: &str| {
        let (chain, key) = &files[host];
        let extra = format!(
            "[dns]\nservers = [\"{}\"]\ninner = true\n[tls]\ncertificate = {chain:?}\nkey = {key:?}\nserver_ca = {authorities:?}\n\
             [[profile]]\nname = \"world\"\nlisten = [\"tls:{address}:5081\"]\n",
            knot.address()
        );
        let name = if host == 0 { "alpha" } else { "beta" };
        let ip = Some(ip(address));
        let options = Options { ip, extensions, extra, site: site.to_owned(), domain, name, ..Options::default() };
        network.on(host, || Ringfort::start(&place, options))
    };
    let caller = Extension { keys: "domains = true\n", ..Extension::new("101") };
    let alpha = system(0, "203.0.113.1", "alpha.test", vec![caller], "")?;
    let published = "[[alias]]\nname = \"director\"\nto = \"extension 102\"\npublished = true\n";
    let beta = system(1, "203.0.113.2", "beta.test", vec![Extension::new("102")], published)?;

    let mut bela = network.on(1, || phone("bela", "102", ip("203.0.113.12"), 1500, true).start(&place, &beta))?;
    let mut anna = network.on(0, || phone("anna", "101", ip("203.0.113.11"), 1000, false).start(&place, &alpha))?;
    network.on(0, || anna.dial_uri("sip:director@beta.test"))?;
    anna.process.wait_said("Call established", Duration::from_secs(15))?;
    bela.process.wait_said("Call established", Duration::from_secs(15))?;
    let srtp = wait_for("the call to be encrypted outside", Duration::from_secs(5), || {
        let calls = alpha.items(&["calls"])?;
        let srtp = calls.first().context("a call")?["srtp"].clone();
        Ok((srtp.as_array().map(Vec::len) == Some(2)).then_some(srtp))
    })?;
    assert_eq!(srtp, serde_json::json!(["rtp", "srtp"]));
    anna.process.wait_said("terminated (duration", Duration::from_secs(20))?;
    alpha.wait_idle()?;
    beta.wait_idle()?;
    for (phone, hertz) in [(&anna, 1500), (&bela, 1000)] {
        let (rate, samples) = phone.heard()?;
        let heard = wav::heard(rate, &samples, [1000, 1500]);
        ensure!(heard.hertz == Some(hertz), "{heard:?}\n{}", phone.process.said());
        ensure!(heard.frames > 200 && heard.share() > 0.9, "{heard:?}");
    }
    let log = beta.log();
    ensure!(log.contains("Good call IP=203.0.113.1 "), "{log}");
    Ok(())
}

/// Asks for a challenge and answers it wrongly; whether there was an answer at all.
fn guess(from: IpAddr, server: SocketAddr, n: u32) -> anyhow::Result<bool> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(700)))?;
    let own = socket.local_addr()?;
    let mut answer = [0; 4096];
    let mut auth = String::new();
    for cseq in 1..=2 {
        let request = format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKg{n}x{cseq};rport\r\n\
             From: <sip:101@{DOMAIN}>;tag=g{n}\r\nTo: <sip:101@{DOMAIN}>\r\nCall-ID: g{n}@{}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:101@{own}>\r\nMax-Forwards: 70\r\n{auth}Content-Length: 0\r\n\r\n",
            bracketed(from)
        );
        socket.send_to(request.as_bytes(), server)?;
        let Ok(len) = socket.recv(&mut answer) else { return Ok(false) };
        let said = String::from_utf8_lossy(&answer[..len]).into_owned();
        let nonce = said.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).context("a challenge")?;
        let response = "0".repeat(32);
        auth = format!(
            "Authorization: Digest username=\"line\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"sip:{DOMAIN}\", \
             response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"x\"\r\n"
        );
    }
    Ok(true)
}

/// A system with public addresses; attackers and honest people beside it. `under`: what starts it.
fn under_attack(under: &'static [&'static str]) -> anyhow::Result<Option<(Network, Place, Ringfort)>> {
    let server: &[&str] = &["203.0.113.1/24", "2001:db8:0:1::1/64"];
    let attackers: &[&str] = &["203.0.113.66/24", "2001:db8:0:1::66/64", "2001:db8:0:1::67/64"];
    let honest: &[&str] = &["203.0.113.10/24", "203.0.113.11/24"];
    let Some(network) = Network::new(&[server, attackers, honest])? else { return Ok(None) };
    let place = Place::new()?;
    let options = Options {
        ip: Some(ip("203.0.113.1")),
        listen: vec!["udp:203.0.113.1:5060".into(), "udp:[2001:db8:0:1::1]:5060".into()],
        under,
        ..Options::default()
    };
    let system = network.on(0, || Ringfort::start(&place, options))?;
    Ok(Some((network, place, system)))
}

/// Guesses until nobody answers any more, from an IPv4 address and from two of one /64.
fn attack(network: &Network) -> anyhow::Result<()> {
    let four: SocketAddr = "203.0.113.1:5060".parse()?;
    let six: SocketAddr = "[2001:db8:0:1::1]:5060".parse()?;
    network.on(1, || {
        for n in 0..5 {
            ensure!(guess(ip("203.0.113.66"), four, n)?, "guess {n} is answered");
        }
        ensure!(!guess(ip("203.0.113.66"), four, 9)?, "and no sixth");
        // Two addresses of one /64: their guesses add up, and the ban is for both.
        for n in 10..15 {
            let from = if n % 2 == 0 { "2001:db8:0:1::66" } else { "2001:db8:0:1::67" };
            ensure!(guess(ip(from), six, n)?, "guess {n} is answered");
        }
        ensure!(!guess(ip("2001:db8:0:1::66"), six, 20)? && !guess(ip("2001:db8:0:1::67"), six, 21)?);
        Ok(())
    })
}

fn banned(system: &Ringfort) -> anyhow::Result<Vec<String>> {
    let items = system.items(&["guard", "bans"])?;
    let mut sources: Vec<String> = items.iter().map(|ban| ban["source"].as_str().unwrap_or("").to_owned()).collect();
    // The newest ban stands first, and which that is depends on the second.
    sources.sort();
    Ok(sources)
}

const BANNED: [&str; 2] = ["2001:db8:0:1::/64", "203.0.113.66"];

#[test]
fn public_attackers_are_dropped_by_the_kernel_while_a_call_of_honest_people_goes_on() -> anyhow::Result<()> {
    need!("ip", "nft", "baresip");
    let Some((network, place, system)) = under_attack(&[])? else { return Ok(()) };
    let mut bela = network.on(2, || phone("bela", "102", ip("203.0.113.11"), 1500, true).start(&place, &system))?;
    let mut anna = network.on(2, || phone("anna", "101", ip("203.0.113.10"), 1000, false).start(&place, &system))?;
    network.on(2, || anna.dial_uri(&format!("sip:102@{DOMAIN}")))?;
    anna.process.wait_said("Call established", Duration::from_secs(15))?;
    bela.process.wait_said("Call established", Duration::from_secs(15))?;
    attack(&network)?;
    assert_eq!(banned(&system)?, BANNED);
    let nft = |words: &str| network.output(0, "nft", &words.split(' ').collect::<Vec<_>>());
    let table = nft("list table inet ringfort")?;
    ensure!(table.contains("203.0.113.66") && table.contains("2001:db8:0:1::"), "{table}");
    // By now both are in the kernel: what comes is dropped there and never gets here.
    let here = || anyhow::Ok(system.ctl(&["status"])?["network"]["dropped_ban"].as_u64());
    let before = here()?;
    network.on(1, || {
        ensure!(!guess(ip("203.0.113.66"), "203.0.113.1:5060".parse()?, 30)?);
        ensure!(!guess(ip("2001:db8:0:1::67"), "[2001:db8:0:1::1]:5060".parse()?, 31)?);
        Ok(())
    })?;
    for counter in ["dropped4", "dropped6"] {
        let counted = nft(&format!("list counter inet ringfort {counter}"))?;
        ensure!(!counted.contains("packets 0 ") && counted.contains("packets"), "{counted}");
    }
    assert_eq!(here()?, before);
    anna.process.wait_said("terminated (duration", Duration::from_secs(20))?;
    system.wait_idle()?;
    for (phone, hertz) in [(&anna, 1500), (&bela, 1000)] {
        let (rate, samples) = phone.heard()?;
        let heard = wav::heard(rate, &samples, [1000, 1500]);
        ensure!(heard.hertz == Some(hertz) && heard.frames > 200 && heard.share() > 0.9, "{heard:?}");
    }
    // Lifted, they are let in by both.
    system.ctl(&["guard", "unban", "203.0.113.66"])?;
    let mut n = 40;
    wait_for("him to be let in again", Duration::from_secs(5), || {
        n += 1;
        let heard = network.on(1, || guess(ip("203.0.113.66"), "203.0.113.1:5060".parse()?, n))?;
        Ok(heard.then_some(()))
    })
}

#[test]
fn without_the_right_to_the_packet_filter_the_ban_of_the_process_alone_does_it() -> anyhow::Result<()> {
    need!("ip", "nft", "setpriv");
    let without: &[&str] = &["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
    let Some((network, _place, system)) = under_attack(without)? else { return Ok(()) };
    attack(&network)?;
    assert_eq!(banned(&system)?, BANNED);
    let log = system.log();
    ensure!(log.contains("bans are not in the kernel") && log.contains("CAP_NET_ADMIN"), "{log}");
    let dropped = system.ctl(&["status"])?["network"]["dropped_ban"].as_u64();
    ensure!(dropped >= Some(3), "{dropped:?}");
    Ok(())
}
