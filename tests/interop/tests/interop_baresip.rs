//! baresip to baresip through the running system, with audio: a tone goes in at one end and is found in what the other
//! end recorded, both ways.

use std::time::Duration;

use ringfort_interop::baresip::Baresip;
use ringfort_interop::ringfort::Extension;
use ringfort_interop::{Options, Place, Ringfort, need, wav};

/// Two phones call each other; each hears the other's tone and not its own.
fn tones_both_ways(options: Options, a: impl FnOnce(&mut Baresip), b: impl FnOnce(&mut Baresip)) -> anyhow::Result<()> {
    need!("baresip");
    let place = Place::new()?;
    let system = Ringfort::start(&place, options)?;
    let phone = |name, number, index, tone, rtp_ports, answers| Baresip {
        name,
        number,
        ip: place.ip(index),
        transport: "udp",
        server_port: 5060,
        mediaenc: "",
        tone,
        seconds: 6,
        rtp_ports,
        answers,
    };
    let mut anna = phone("anna", "101", 1, 1000, 22_000, false);
    let mut bela = phone("bela", "102", 2, 1500, 23_000, true);
    a(&mut anna);
    b(&mut bela);
    let mut bela = bela.start(&place, &system)?;
    let mut anna = anna.start(&place, &system)?;
    anna.dial("102")?;
    let established = Duration::from_secs(15);
    anna.process.wait_said("Call established", established)?;
    bela.process.wait_said("Call established", established)?;
    // The tone ends after six seconds, and with it the call.
    anna.process.wait_said("terminated (duration", Duration::from_secs(20))?;
    system.wait_idle()?;
    let records = system.records(1)?;
    assert_eq!(records[0]["status"], 200, "{records:?}");
    for (phone, hertz) in [(&anna, 1500), (&bela, 1000)] {
        let (rate, samples) = phone.heard()?;
        let heard = wav::heard(rate, &samples, [1000, 1500]);
        assert_eq!(heard.hertz, Some(hertz), "{heard:?}\n{records:#?}\n{}", phone.process.said());
        assert!(heard.frames > 200 && heard.share() > 0.9, "{heard:?}");
    }
    system.stop()
}

#[test]
fn baresip_hears_baresip_over_udp() -> anyhow::Result<()> {
    tones_both_ways(Options::default(), |_| {}, |_| {})
}

#[test]
fn baresip_with_srtp_over_tls_hears_baresip_with_plain_rtp() -> anyhow::Result<()> {
    let mut options = Options::default();
    options.listen.push("tls:{}:5061".to_owned());
    options.extensions = vec![Extension { srtp: Some("require"), ..Extension::new("101") }, Extension::new("102")];
    let secure = |phone: &mut Baresip| {
        (phone.transport, phone.server_port, phone.mediaenc) = ("tls", 5061, "srtp-mand");
    };
    tones_both_ways(options, secure, |_| {})
}

#[test]
fn baresip_over_tcp_hears_baresip_with_srtp_over_tls() -> anyhow::Result<()> {
    let mut options = Options::default();
    options.listen.push("tls:{}:5061".to_owned());
    let tcp = |phone: &mut Baresip| phone.transport = "tcp";
    let secure = |phone: &mut Baresip| {
        (phone.transport, phone.server_port, phone.mediaenc) = ("tls", 5061, "srtp-mand");
    };
    tones_both_ways(options, tcp, secure)
}
