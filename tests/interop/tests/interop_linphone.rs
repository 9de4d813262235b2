//! linphone on the command line: registers, and calls another linphone through the running system; each
//! hears the other's tone.

use std::time::Duration;

use ringfort_interop::linphone::Linphone;
use ringfort_interop::process::wait_for;
use ringfort_interop::{Options, Place, Ringfort, need, wav};

fn call_between_linphones(transport: &'static str) -> anyhow::Result<()> {
    need!("linphonec");
    let place = Place::new()?;
    let options = Options { digest: vec!["SHA-256", "MD5"], ..Options::default() };
    let system = Ringfort::start(&place, options)?;
    let base = 30_000 + (std::process::id() % 2000) as u16 * 8;
    let phone = |name, number, port, tone, answers| Linphone {
        name,
        number,
        transport,
        sip_port: port,
        rtp_port: port + 2,
        tone,
        answers,
    };
    let mut bela = phone("bela", "102", base + 4, 1500, true).start(&place, &system)?;
    let mut anna = phone("anna", "101", base, 1000, false).start(&place, &system)?;
    anna.call("102")?;
    anna.process.wait_said("connected", Duration::from_secs(15))?;
    bela.process.wait_said("connected", Duration::from_secs(15))?;
    wait_for("three seconds of talk", Duration::from_secs(15), || {
        let calls = system.items(&["calls"])?;
        Ok(calls.first().is_some_and(|call| call["seconds"].as_u64() >= Some(3)).then_some(()))
    })?;
    anna.terminate()?;
    system.wait_idle()?;
    let records = system.records(1)?;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!((&records[0]["status"], &records[0]["cause"]), (&200.into(), &"normal".into()), "{records:?}");
    for phone in [&mut anna, &mut bela] {
        phone.process.say("quit")?;
    }
    for (mut phone, hertz) in [(anna, 1500), (bela, 1000)] {
        wait_for("linphonec to end and its recording to be whole", Duration::from_secs(15), || phone.process.ended())?;
        let (rate, samples) = phone.heard()?;
        let heard = wav::heard(rate, &samples, [1000, 1500]);
        assert_eq!(heard.hertz, Some(hertz), "{heard:?}\n{records:#?}");
    }
    system.stop()
}

#[test]
fn linphone_registers_and_calls_linphone_over_udp() -> anyhow::Result<()> {
    call_between_linphones("udp")
}

#[test]
fn linphone_registers_and_calls_linphone_over_tcp() -> anyhow::Result<()> {
    call_between_linphones("tcp")
}
