//! Blacklists as a provider and a phone meet them: a blocked caller hears ringing and busy (BLACK-4), a phone changes lists
//! by codes and hears the beep (BLACK-3), files go in and out (BLACK-6), and a kill takes nothing away.

use std::fmt::Write as _;
use std::time::Duration;

use ringfort_interop::baresip::Baresip;
use ringfort_interop::capture::Capture;
use ringfort_interop::sipp::{Sipp, register};
use ringfort_interop::{Options, Place, Ringfort, need, wav};
use ringfort_phone::tone::Law;
use serde_json::Value;

/// Where Ringfort listens for the world.
const OUTSIDE: u16 = 5080;
const CALLED: &str = "+442079460000";
const BLOCKED: &str = "+442079460009";

fn system(place: &Place, more: Options) -> anyhow::Result<Ringfort> {
    let site = format!(
        "[[tenant]]\nname = \"default\"\ncountry = \"44\"\nnational_prefix = \"0\"\nblacklist_names = [\"1=salesmen\"]\n\n\
         [[trunk]]\nname = \"one\"\nserver = \"sip:{}\"\nhealth_every = \"0s\"\nblacklists = [\"0\", \"salesmen\"]\n\n\
         [[inbound]]\nname = \"main\"\ncalled = \"exact:{CALLED}\"\nto = \"extension 102\"\n",
        place.ip(3)
    );
    let extra =
        format!("[[profile]]\nname = \"world\"\nkind = \"external\"\nlisten = [\"udp:{}:{OUTSIDE}\"]\n", place.ip(0));
    Ringfort::start(place, Options { extra, site, ..more })
}

fn lists_of(system: &Ringfort, number: &str) -> anyhow::Result<Vec<u64>> {
    let value = system.ctl(&["blacklist", "check", number])?;
    Ok(value["hits"].as_array().into_iter().flatten().filter_map(|hit| hit["list"].as_u64()).collect())
}

#[test]
fn a_blocked_caller_hears_five_seconds_of_ringing_and_five_of_busy_and_then_486() -> anyhow::Result<()> {
    need!("sipp", "tshark", "dumpcap");
    let place = Place::new()?;
    let system = system(&place, Options::default())?;
    register(&place, &system, "102", place.ip(2), 5070)?;
    assert_eq!(system.ctl(&["blacklist", "add", "020 7946 0009", "--list", "salesmen"])?["changed"], 1);
    let capture = Capture::start(&place, &[place.ip(3)], None)?;
    Sipp::against("uac_blocked", place.ip(3), 5060, format!("{}:{OUTSIDE}", place.ip(0)))
        .with(["-s", BLOCKED])
        .key("callee", CALLED)
        .run(&place)?;
    let captured = capture.stop()?;
    let times = captured.fields("sip.Status-Code >= 180", &["frame.time_relative", "sip.Status-Code"])?;
    let mut times: Vec<(f64, u16)> = times
        .iter()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(time, status)| Some((time.parse().ok()?, status.parse().ok()?)))
        .collect();
    // On a busy machine an answer may be repeated before the other side has said that it came (RFC 3261 §17.2.1).
    times.dedup_by_key(|(_, status)| *status);
    let statuses: Vec<u16> = times.iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, [180, 183, 486], "{times:?}");
    for pair in times.windows(2) {
        let apart = pair[1].0 - pair[0].0;
        assert!((4.8..6.0).contains(&apart), "{apart} s between {pair:?}");
    }
    // What came by RTP is Britain's busy tone in the codec that the caller named first.
    let packets = captured.datagrams("udp.srcport >= 20000 && udp.srcport <= 20999 && rtp || udp.length == 180")?;
    let voice = packets.iter().filter(|packet| packet.payload.len() == 172 && packet.payload[1] & 0x7f == 8);
    let samples: Vec<i16> =
        voice.flat_map(|packet| packet.payload[12..].iter().map(|&octet| Law::A.decode(octet))).collect();
    assert!((38_000..=42_000).contains(&samples.len()), "about five seconds: {}", samples.len());
    let heard = wav::heard(8000, &samples, [400, 425, 480, 1000]);
    assert_eq!(heard.hertz, Some(400), "{heard:?}");
    let loud = samples.chunks(160).filter(|frame| frame.iter().any(|s| s.unsigned_abs() > 1000)).count();
    let share = loud as f32 / (samples.len() / 160) as f32;
    assert!((0.4..0.65).contains(&share), "on and off in equal parts: {share}");

    system.wait_idle()?;
    let records = system.records(1)?;
    assert_eq!((&records[0]["status"], &records[0]["rule"]), (&Value::from(486), &Value::from("blacklist")));
    assert_eq!(records[0]["cause"], "refused");
    assert!(system.log().contains("is on blacklist 1 (salesmen)"), "{}", system.log());
    assert!(!system.log().contains("79460009"), "numbers are masked");
    system.stop()
}

/// Dials a code and gives the tone that was heard, and for how many frames of 20 ms.
fn code_heard(system: &Ringfort, place: &Place, phone: &Baresip, code: &str) -> anyhow::Result<(Option<u16>, usize)> {
    let mut phone = phone.start(place, system)?;
    phone.dial(code)?;
    phone.process.wait_said("Call established", Duration::from_secs(15))?;
    phone.process.wait_said("session closed", Duration::from_secs(15))?;
    system.wait_idle()?;
    let (rate, samples) = phone.heard()?;
    let heard = wav::heard(rate, &samples, [400, 1000, 1500]);
    Ok((heard.hertz, heard.frames as usize))
}

fn phone(place: &Place, name: &'static str) -> Baresip {
    Baresip {
        name,
        number: "101",
        ip: place.ip(1),
        transport: "udp",
        server_port: 5060,
        mediaenc: "",
        tone: 1500,
        seconds: 20,
        rtp_ports: 22_000,
        answers: false,
    }
}

#[test]
fn a_phone_lists_a_number_hears_the_beep_and_the_entry_outlives_a_kill() -> anyhow::Result<()> {
    need!("baresip");
    let place = Place::new()?;
    let system = system(&place, Options::default())?;
    let (hertz, frames) = code_heard(&system, &place, &phone(&place, "anna"), "*30102079460009")?;
    assert_eq!(hertz, Some(1000));
    assert!(frames >= 10, "a beep of 300 ms: {frames} frames");
    assert_eq!(lists_of(&system, BLOCKED)?, [1]);
    let records = system.records(1)?;
    assert_eq!((&records[0]["status"], &records[0]["rule"]), (&Value::from(200), &Value::from("feature.blacklist")));

    let system = system.crash_and_restart(&place)?;
    assert_eq!(lists_of(&system, "02079460009")?, [1]);
    let (hertz, _) = code_heard(&system, &place, &phone(&place, "bela"), "*30")?;
    assert_eq!(hertz, Some(400), "a wrong number has a tone of its own");
    let (hertz, _) = code_heard(&system, &place, &phone(&place, "cora"), "*31102079460009")?;
    assert_eq!(hertz, Some(1000));
    assert!(lists_of(&system, BLOCKED)?.is_empty());
    system.stop()
}

#[test]
fn a_phone_with_srtp_over_tls_hears_the_beep_too() -> anyhow::Result<()> {
    need!("baresip");
    let place = Place::new()?;
    let mut options = Options::default();
    options.listen.push("tls:{}:5061".to_owned());
    let system = system(&place, options)?;
    let secure = Baresip { transport: "tls", server_port: 5061, mediaenc: "srtp-mand", ..phone(&place, "anna") };
    assert_eq!(code_heard(&system, &place, &secure, "*4002079460009")?.0, Some(1000));
    assert_eq!(lists_of(&system, BLOCKED)?, [1, 2, 3]);
    system.stop()
}

#[test]
fn files_of_entries_go_in_whole_or_not_at_all_and_come_out_the_same() -> anyhow::Result<()> {
    let place = Place::new()?;
    let system = system(&place, Options::default())?;
    let mut text = String::from("list,entry,expires\n");
    for n in 0..5000 {
        writeln!(text, "{},+4420{:08},", n % 3, 70_000_000 + n)?;
    }
    text.push_str("1,+4930*,4000000000\nallow,+442079460000,\n");
    let wrong = place.write("wrong.csv", &format!("{text}7,12,soon\n0,+44[,\n"))?;
    let error = system.ctl(&["blacklist", "import", &wrong.display().to_string()]).expect_err("two lines are wrong");
    let error = error.to_string();
    assert!(error.contains("wrong.csv:5004: expected seconds since 1970"), "{error}");
    assert!(
        error.contains("wrong.csv:5005: ") && error.contains("2 lines are no entry; nothing was imported"),
        "{error}"
    );
    assert_eq!(system.ctl(&["status"])?["blacklist_entries"], 0);

    let good = place.write("good.csv", &text)?;
    let imported = system.ctl(&["blacklist", "import", &good.display().to_string()])?;
    assert_eq!((&imported["entries"], &imported["new"]), (&Value::from(5002), &Value::from(5002)));
    let exported = system.ctl_text(&["blacklist", "export"])?;
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&exported), sorted(&text));
    let again = system.ctl(&["blacklist", "import", &good.display().to_string()])?;
    assert_eq!(again["new"], 0);

    let system = system.crash_and_restart(&place)?;
    assert_eq!(system.ctl(&["status"])?["blacklist_entries"], 5002);
    assert_eq!(lists_of(&system, "+49301234567")?, [1]);
    let shown = system.ctl(&["blacklist", "list", "salesmen", "--limit", "10"])?;
    assert_eq!((shown["items"].as_array().map(Vec::len), &shown["next"].is_null()), (Some(10), &false));
    assert!(!shown.to_string().contains("+44207000"), "masked: {shown}");
    system.stop()
}
