//! Voicemail as a provider's caller and a phone meet it: a blocked caller leaves a tone as a message, `ctl` lists it and
//! writes it to a file, and its owner hears it by `*97`.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use ringfort_interop::baresip::Baresip;
use ringfort_interop::sipp::{Sipp, register};
use ringfort_interop::{Options, Place, Ringfort, need, wav};
use ringfort_phone::tone::{Law, Tone};
use serde_json::Value;

/// Where Ringfort listens for the world.
const OUTSIDE: u16 = 5080;
const CALLED: &str = "+442079460000";
const BLOCKED: &str = "+442079460009";
/// What the caller says.
const HERTZ: u16 = 700;

fn system(place: &Place, more: &str) -> anyhow::Result<Ringfort> {
    let site = format!(
        "[[tenant]]\nname = \"default\"\ncountry = \"44\"\nnational_prefix = \"0\"\n\n\
         [[trunk]]\nname = \"one\"\nserver = \"sip:{}\"\nhealth_every = \"0s\"\nblacklists = [\"0\"]\nblocked = \"voicemail\"\n\n\
         [[inbound]]\nname = \"main\"\ncalled = \"exact:{CALLED}\"\nto = \"extension 102\"\n",
        place.ip(3)
    );
    let extra = format!(
        "{more}[[profile]]\nname = \"world\"\nkind = \"external\"\nlisten = [\"udp:{}:{OUTSIDE}\"]\n",
        place.ip(0)
    );
    let system = Ringfort::start(place, Options { extra, site, ..Options::default() })?;
    register(place, &system, "102", place.ip(2), 5070)?;
    assert_eq!(system.ctl(&["blacklist", "add", BLOCKED])?["changed"], 1);
    Ok(system)
}

/// A blocked caller speaks for so many seconds from the ACK on, and hangs up 9 s after it.
fn leaves_a_message(system: &Ringfort, place: &Place, seconds: u32) -> anyhow::Result<()> {
    let mut tone = Tone::new(Law::A, HERTZ);
    let mut octets = Vec::new();
    (0..seconds * 50).for_each(|_| tone.write_frame(&mut octets));
    std::fs::write(place.path("message.alaw"), octets)?;
    Sipp::against("uac_message", place.ip(3), 5060, format!("{}:{OUTSIDE}", place.ip(0)))
        .with(["-s", BLOCKED])
        .key("callee", CALLED)
        .run(place)?;
    system.wait_idle()
}

fn messages(system: &Ringfort, count: usize) -> anyhow::Result<Vec<Value>> {
    ringfort_interop::process::wait_for("messages", Duration::from_secs(10), || {
        let items = system.items(&["voicemail", "list"])?;
        Ok((items.len() == count).then_some(items))
    })
}

/// 102 dials `*97` and gives what it heard of the caller's tone: its pitch, and frames of 20 ms.
fn hears(system: &Ringfort, place: &Place, name: &'static str) -> anyhow::Result<(Option<u16>, u32)> {
    let phone = Baresip {
        name,
        number: "102",
        ip: place.ip(1),
        transport: "udp",
        server_port: 5060,
        mediaenc: "",
        tone: 1500,
        seconds: 30,
        rtp_ports: 22_000,
        answers: false,
    };
    let mut phone = phone.start(place, system)?;
    phone.dial("*97")?;
    phone.process.wait_said("Call established", Duration::from_secs(15))?;
    phone.process.wait_said("session closed", Duration::from_secs(30))?;
    system.wait_idle()?;
    let (rate, samples) = phone.heard()?;
    let heard = wav::heard(rate, &samples, [HERTZ, 1500]);
    Ok((heard.hertz, heard.frames))
}

#[test]
fn a_blocked_caller_leaves_a_message_that_ctl_exports_and_its_owner_hears() -> anyhow::Result<()> {
    need!("sipp", "baresip");
    let place = Place::new()?;
    let system = system(&place, "")?;
    leaves_a_message(&system, &place, 9)?;
    let kept = messages(&system, 1)?;
    let (id, seconds) = (kept[0]["id"].to_string(), kept[0]["seconds"].as_f64().unwrap_or_default());
    assert_eq!((&kept[0]["mailbox"], &kept[0]["from"]), (&Value::from("102"), &Value::from("+44****0009")));
    // The prompt and the beep take some three seconds of the nine.
    assert!((4.0..7.0).contains(&seconds) && kept[0]["heard"] == false, "{kept:?}");

    let file = place.path("exported.wav");
    let name = file.display().to_string();
    system.ctl(&["voicemail", "export", &id, "--to", &name])?;
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let (rate, samples) = wav::read(&file)?;
    assert_eq!(rate, 8000);
    assert!((samples.len() as f64 / 8000.0 - seconds).abs() < 0.1);
    let heard = wav::heard(rate, &samples, [440, HERTZ, 1000]);
    assert_eq!(heard.hertz, Some(HERTZ), "{heard:?}");
    assert!(heard.frames >= 180 && heard.share() > 0.8, "{heard:?}");
    assert!(system.ctl(&["voicemail", "export", &id, "--to", &name]).is_err(), "a file that is there is not touched");

    let records = system.records(1)?;
    assert_eq!((&records[0]["status"], &records[0]["rule"]), (&Value::from(200), &Value::from("blacklist")));
    assert_eq!(records[0]["voicemail"], "102");
    assert!(system.log().contains("leaves a message for 102"), "{}", system.log());
    assert!(!system.log().contains("79460009"), "numbers are masked");

    // It is still there after a kill, sealed.
    let system = system.crash_and_restart(&place)?;
    assert_eq!(messages(&system, 1)?[0]["id"].to_string(), id);
    let (hertz, frames) = hears(&system, &place, "owner")?;
    assert_eq!(hertz, Some(HERTZ));
    assert!(frames >= 180, "{frames}");
    assert_eq!(messages(&system, 1)?[0]["heard"], true);
    system.ctl(&["voicemail", "delete", &id])?;
    messages(&system, 0)?;
    let error = system.ctl(&["voicemail", "export", &id, "--to", "x.wav"]).expect_err("it is gone").to_string();
    assert!(error.contains("expected one that is there"), "{error}");
    let (_, frames) = hears(&system, &place, "again")?;
    assert!(frames < 50, "a prompt, and no message: {frames}");
    system.stop()
}

#[test]
fn a_full_mailbox_is_busy_and_what_says_nothing_is_no_message() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = system(&place, "[voicemail]\nmessages = 1\nsilence = \"3s\"\n\n")?;
    // All that he says is over before the beep; he is hung up before he would.
    std::fs::write(place.path("message.alaw"), vec![Law::A.encode(0); 8000 * 9])?;
    let quiet = Sipp::against("uac_message", place.ip(3), 5060, format!("{}:{OUTSIDE}", place.ip(0)));
    assert!(quiet.with(["-s", BLOCKED]).key("callee", CALLED).run(&place).is_err(), "the system hangs up");
    system.wait_idle()?;
    assert_eq!(system.ctl(&["status"])?["counters"]["voicemail_short"], 1);
    messages(&system, 0)?;

    leaves_a_message(&system, &place, 9)?;
    messages(&system, 1)?;
    let busy = Sipp::against("uac_blocked", place.ip(3), 5060, format!("{}:{OUTSIDE}", place.ip(0)));
    busy.with(["-s", BLOCKED]).key("callee", CALLED).run(&place)?;
    let records = system.records(3)?;
    assert_eq!(records[0]["status"], 486);
    assert!(records[0]["reason"].as_str().is_some_and(|reason| reason.contains("no voicemail: the mailbox has 1")));
    assert_eq!(system.ctl(&["status"])?["counters"]["voicemail_full"], 1);
    system.stop()
}
