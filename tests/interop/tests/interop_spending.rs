//! Limits of spending (DOM-8) with real programs: baresip calls, SIPp is the provider. A call whose money is gone is warned by
//! a beep and hung up on both sides; a kill forgets no money.

use std::net::UdpSocket;
use std::time::Duration;

use ringfort_interop::baresip::{Baresip, Phone};
use ringfort_interop::process::{Running, wait_for};
use ringfort_interop::sipp::{Sipp, finish};
use ringfort_interop::{Options, Place, Ringfort, need, wav};

const NUMBER: &str = "02079461234";
const PROVIDER: u16 = 5060;
/// Where Ringfort listens for the world.
const OUTSIDE: u16 = 5080;

/// The system with a provider at address 3, who takes a cent for each second, and that limit on its trunk.
fn system(place: &Place, limit: &str) -> anyhow::Result<Ringfort> {
    let site = format!(
        "[[tenant]]\nname = \"default\"\ncountry = \"44\"\nnational_prefix = \"0\"\n\n\
         [[trunk]]\nname = \"one\"\nserver = \"sip:{}\"\nhealth_every = \"0s\"\n{limit}\n\n\
         [[route]]\nname = \"out\"\npatterns = [\"prefix:0\"]\ntrunks = [\"one\"]\n",
        place.ip(3)
    );
    let extra =
        format!("[[profile]]\nname = \"world\"\nkind = \"external\"\nlisten = [\"udp:{}:{OUTSIDE}\"]\n", place.ip(0));
    let system = Ringfort::start(place, Options { extra, site, ..Options::default() })?;
    let prices = place.write("prices.csv", "prefix,per_minute,connection,first_s,step_s\n44,0.60,0,1,1\n")?;
    let prices = prices.display().to_string();
    let imported = system.ctl(&["rates", "import", "one", &prices, "--currency", "EUR"])?;
    assert_eq!(imported["changed"], true, "{imported}");
    Ok(system)
}

/// 101 has called the provider, and is talking.
fn talking(place: &Place, system: &Ringfort) -> anyhow::Result<(Phone, Running)> {
    let provider = Sipp::against("uas", place.ip(3), PROVIDER, format!("{}:{OUTSIDE}", place.ip(0))).start(place)?;
    wait_for("the provider to listen", Duration::from_secs(5), || {
        Ok(UdpSocket::bind((place.ip(3), PROVIDER)).is_err().then_some(()))
    })?;
    let anna = Baresip {
        name: "anna",
        number: "101",
        ip: place.ip(1),
        transport: "udp",
        server_port: 5060,
        mediaenc: "",
        tone: 1000,
        seconds: 40,
        rtp_ports: 22_000,
        answers: false,
    };
    let mut anna = anna.start(place, system)?;
    anna.dial(NUMBER)?;
    anna.process.wait_said("Call established", Duration::from_secs(15))?;
    Ok((anna, provider))
}

#[test]
fn a_call_is_warned_by_a_beep_and_ended_when_its_money_is_gone() -> anyhow::Result<()> {
    need!("sipp");
    need!("baresip");
    let place = Place::new()?;
    // Twelve seconds.
    let system = system(&place, "spend_per_call = \"0.12\"")?;
    let explained = system.ctl(&["route", "explain", "101", NUMBER])?;
    assert_eq!(explained["trunks"][0]["cost_per_minute"], "0.60", "{explained}");
    let (mut anna, provider) = talking(&place, &system)?;
    let paying = system.ctl(&["spending", "trunk:one"])?;
    assert_eq!(paying["items"][0]["calls"], 1, "{paying}");
    anna.process.wait_said("terminated (duration", Duration::from_secs(20))?;
    // It ends well only where it was hung up.
    finish(&place, "uas", PROVIDER, provider)?;
    system.wait_idle()?;

    let records = system.records(1)?;
    let record = &records[0];
    assert_eq!((&record["cause"], &record["rule"]), (&"spending".into(), &"spending.call".into()), "{record}");
    assert_eq!((&record["cost"], &record["currency"]), (&"0.12".into(), &"EUR".into()), "{record}");
    let talked = record["talk_ms"].as_u64().unwrap_or_default();
    assert!((11_000..=12_000).contains(&talked), "{talked} ms");
    let spending = system.ctl(&["spending", "101"])?;
    assert_eq!((&spending["items"][0]["spent_today"], &spending["counts"]["ended"]), (&"0.12".into(), &1.into()));
    let (rate, samples) = anna.heard()?;
    let heard = wav::heard(rate, &samples, [1000, 1400]);
    assert_eq!(heard.hertz, Some(1400), "{heard:?}\n{}", anna.process.said());
    system.stop()
}

#[test]
fn a_kill_in_a_call_forgets_none_of_its_money() -> anyhow::Result<()> {
    need!("sipp");
    need!("baresip");
    let place = Place::new()?;
    let system = system(&place, "spend_per_day = \"0.30\"")?;
    let (_anna, _provider) = talking(&place, &system)?;
    let before = system.ctl(&["spending", "trunk:one"])?["items"][0].clone();
    let system = system.crash_and_restart(&place)?;
    let after = system.ctl(&["spending", "trunk:one"])?["items"][0].clone();
    let cents = |item: &serde_json::Value| -> u64 {
        let spent = item["spent_today"].as_str().unwrap_or_default();
        spent.trim_start_matches("0.").parse().unwrap_or_default()
    };
    assert!(cents(&before) >= 1 && cents(&after) >= cents(&before), "{before}\n{after}");
    assert!(cents(&after) <= cents(&before) + 10, "{after}: a slice of ten seconds between");
    assert_eq!((&after["calls"], &after["reserved"]), (&0.into(), &"0.00".into()), "{after}");
    let left = format!("0.{:02}", 30 - cents(&after));
    assert_eq!(after["left_today"], left.as_str(), "{after}");
    let records = system.records(1)?;
    assert_eq!((&records[0]["cause"], &records[0]["cost"]), (&"crash".into(), &after["spent_today"]), "{records:?}");
    system.stop()
}
