//! Two systems with domains of their own call each other by the DNS alone (DOM-1, DOM-2): located by NAPTR, SRV and A,
//! TLS checked for the domain, SRTP between them, tones heard both ways.

use std::time::Duration;

use anyhow::{Context, ensure};
use ringfort_interop::baresip::Baresip;
use ringfort_interop::knot::Knot;
use ringfort_interop::process::wait_for;
use ringfort_interop::ringfort::Extension;
use ringfort_interop::tls::certificate;
use ringfort_interop::{Options, Place, Ringfort, need, wav};

struct Two {
    alpha: Ringfort,
    beta: Ringfort,
    _knot: Knot,
}

/// `alpha.test` at the first address of the place, `beta.test` at the second, the DNS at the third. Both trust `trusted`.
fn two(place: &Place, trusted: &[&str]) -> anyhow::Result<Two> {
    let zone = |ip: std::net::IpAddr| {
        format!("@ IN NAPTR 10 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp\n_sips._tcp IN SRV 10 0 5081 pbx\npbx IN A {ip}\n")
    };
    let (alpha_zone, beta_zone) = (zone(place.ip(0)), zone(place.ip(1)));
    let zones = [("alpha.test", 60, alpha_zone.as_str()), ("beta.test", 60, beta_zone.as_str())];
    let knot = Knot::start(place, place.ip(2), &zones)?;
    let mut authorities = String::new();
    let mut files = Vec::new();
    for domain in ["alpha.test", "beta.test", "mallory.test"] {
        let (chain, key) = certificate(place, domain)?;
        if trusted.contains(&domain) {
            authorities += &std::fs::read_to_string(&chain)?;
        }
        files.push((chain, key));
    }
    let authorities = place.write("authorities.pem", &authorities)?;
    let system = |index: usize, name, domain, extensions, site: &str| {
        let ip = place.ip(index as u32);
        let (chain, key) = &files[index];
        let extra = format!(
            "[dns]\nservers = [\"{}\"]\ninner = true\n[tls]\ncertificate = {chain:?}\nkey = {key:?}\nserver_ca = {authorities:?}\n\
             [[profile]]\nname = \"world\"\nlisten = [\"tls:{ip}:5081\"]\n",
            knot.address()
        );
        let options =
            Options { ip: Some(ip), extensions, extra, site: site.to_owned(), domain, name, ..Options::default() };
        Ringfort::start(place, options)
    };
    let caller = Extension { keys: "domains = true\n", ..Extension::new("101") };
    let alpha = system(0, "alpha", "alpha.test", vec![caller], "")?;
    let published = "[[alias]]\nname = \"director\"\nto = \"extension 102\"\npublished = true\n";
    let beta = system(1, "beta", "beta.test", vec![Extension::new("102")], published)?;
    Ok(Two { alpha, beta, _knot: knot })
}

fn phone(
    name: &'static str,
    number: &'static str,
    ip: std::net::IpAddr,
    tone: u16,
    ports: u16,
    answers: bool,
) -> Baresip {
    Baresip {
        name,
        number,
        ip,
        transport: "udp",
        server_port: 5060,
        mediaenc: "",
        tone,
        seconds: 6,
        rtp_ports: ports,
        answers,
    }
}

#[test]
fn a_call_from_domain_to_domain_is_encrypted_and_heard_on_both_sides() -> anyhow::Result<()> {
    need!("baresip");
    need!("knotd");
    need!("openssl");
    let place = Place::new()?;
    let two = two(&place, &["alpha.test", "beta.test"])?;
    let mut bela = phone("bela", "102", place.ip(4), 1500, 23_000, true).start(&place, &two.beta)?;
    let mut anna = phone("anna", "101", place.ip(3), 1000, 22_000, false).start(&place, &two.alpha)?;
    anna.dial_uri("sip:director@beta.test")?;
    anna.process.wait_said("Call established", Duration::from_secs(15))?;
    bela.process.wait_said("Call established", Duration::from_secs(15))?;
    // In the middle of it: plain RTP to the phones, SRTP between the systems, TLS beneath.
    let sides = |system: &Ringfort| {
        wait_for("the call to be encrypted outside", Duration::from_secs(5), || {
            let calls = system.items(&["calls"])?;
            let call = calls.first().context("a call")?;
            let srtp: Vec<String> = serde_json::from_value(call["srtp"].clone())?;
            let tls: Vec<bool> = call["sides"].as_array().into_iter().flatten().map(|s| s["tls"] == true).collect();
            Ok((srtp.len() == 2).then_some((srtp, tls)))
        })
    };
    let plain_then_secure = |first: &str| {
        let second = if first == "rtp" { "srtp" } else { "rtp" };
        (vec![first.to_owned(), second.to_owned()], vec![first == "srtp", second == "srtp"])
    };
    assert_eq!(sides(&two.alpha)?, plain_then_secure("rtp"));
    assert_eq!(sides(&two.beta)?, plain_then_secure("srtp"));
    anna.process.wait_said("terminated (duration", Duration::from_secs(20))?;
    two.alpha.wait_idle()?;
    two.beta.wait_idle()?;
    for (system, context) in [(&two.alpha, "internal"), (&two.beta, "public")] {
        let record = &system.records(1)?[0];
        assert_eq!((&record["status"], &record["context"]), (&200.into(), &context.into()), "{record:#}");
    }
    for (phone, hertz) in [(&anna, 1500), (&bela, 1000)] {
        let (rate, samples) = phone.heard()?;
        let heard = wav::heard(rate, &samples, [1000, 1500]);
        ensure!(heard.hertz == Some(hertz), "{heard:?}\n{}", phone.process.said());
        ensure!(heard.frames > 200 && heard.share() > 0.9, "{heard:?}");
    }
    two.alpha.stop()?;
    two.beta.stop()
}

#[test]
fn strangers_reach_published_names_only_and_a_certificate_that_is_not_trusted_ends_the_call() -> anyhow::Result<()> {
    need!("baresip");
    need!("knotd");
    need!("openssl");
    let place = Place::new()?;
    let systems = two(&place, &["alpha.test", "beta.test"])?;
    let mut anna = phone("anna", "101", place.ip(3), 1000, 22_000, false).start(&place, &systems.alpha)?;
    anna.dial_uri("sip:102@beta.test")?;
    anna.process.wait_said("Call established", Duration::from_secs(15))?;
    anna.process.wait_said("terminated (duration", Duration::from_secs(20))?;
    systems.beta.wait_idle()?;
    let record = systems.beta.records(1)?.remove(0);
    assert_eq!(record["rule"], "context.public", "{record:#}");
    let log = systems.beta.log();
    ensure!(log.contains(&format!("Wrong call IP={}", place.ip(0))), "{log}");
    // He was told that there is nobody of that name (DOM-5): some seconds of a voice.
    let (rate, samples) = anna.heard()?;
    let loud = samples.iter().filter(|sample| sample.unsigned_abs() > 1000).count();
    ensure!(loud > rate as usize / 2, "{loud} loud samples of {}", samples.len());
    drop((anna, systems));

    let place = Place::new()?;
    let systems = two(&place, &["mallory.test"])?;
    let mut anna = phone("anna", "101", place.ip(3), 1000, 22_000, false).start(&place, &systems.alpha)?;
    anna.dial_uri("sip:director@beta.test")?;
    anna.process.wait_said("503", Duration::from_secs(20))?;
    assert_eq!(systems.beta.items(&["cdr", "--limit", "5"])?.len(), 0, "the other side has heard of no call");
    Ok(())
}
