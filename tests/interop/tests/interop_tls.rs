//! SIPp over TLS: a client that checks the certificate stands in front of it.

use std::time::Duration;

use ringfort_interop::process::wait_for;
use ringfort_interop::sipp::Sipp;
use ringfort_interop::tls::{Tunnel, fingerprint_shown};
use ringfort_interop::{Options, Place, Ringfort, need};

const CALLEE: u16 = 5070;
const CALLER: u16 = 5080;

fn system(place: &Place) -> anyhow::Result<Ringfort> {
    let mut options = Options::default();
    options.listen.push("tls:{}:5061".to_owned());
    Ringfort::start(place, options)
}

#[test]
fn sipp_registers_and_calls_over_tls() -> anyhow::Result<()> {
    need!("sipp", "socat");
    let place = Place::new()?;
    let system = system(&place)?;
    let tunnel = Tunnel::start(&place, &system, place.ip(3))?;
    // The called phone keeps the connection by which it registered: the call comes in by it.
    let mut called = Sipp::new("register_and_stay", place.ip(2), CALLEE, &system)
        .over_tls(&tunnel)
        .user(system.extension("102"))
        .with(["-auth_uri", "pbx.example"])
        .answers_with("uas")
        .start(&place)?;
    system.wait_registered("102", 1)?;
    let registrations = system.items(&["registrations"])?;
    assert_eq!(registrations[0]["transport"], "TLS", "{registrations:?}");
    Sipp::new("uac", place.ip(1), CALLER, &system)
        .over_tls(&tunnel)
        .user(system.extension("101"))
        .calls("102")
        .run(&place)?;
    system.wait_idle()?;
    let records = system.records(1)?;
    assert_eq!((records.len(), &records[0]["status"]), (1, &200.into()), "{records:?}");
    let messages = place.path(&format!("sipp-register_and_stay-{CALLEE}.messages"));
    let heard = wait_for("the called phone to write down the end", Duration::from_secs(5), || {
        let text = std::fs::read_to_string(&messages).unwrap_or_default();
        Ok(text.contains("\nBYE sip:").then_some(text))
    })?;
    let invite = heard.split("\nINVITE sip:").nth(1).unwrap_or_default();
    assert!(invite.contains("Via: SIP/2.0/TLS ") && invite.contains("transport=tls"), "{invite}");
    called.terminate(Duration::from_secs(10))?;
    system.stop()
}

#[test]
fn the_certificate_that_a_client_sees_has_the_fingerprint_that_ringfort_prints() -> anyhow::Result<()> {
    need!("openssl");
    let place = Place::new()?;
    let system = system(&place)?;
    let shown = fingerprint_shown(&system)?;
    assert_eq!(shown.len(), 95, "32 octets: {shown}");
    assert_eq!(system.ctl(&["status"])?["fingerprint"], shown.as_str());
    let text = system.ctl_text(&["status"])?;
    assert!(text.contains(&shown), "{shown} is not in:\n{text}");
    system.stop()
}
