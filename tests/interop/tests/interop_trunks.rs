//! Providers that are real programs: SIPp that answers with trouble, not at all, or too late, and Kamailio that asks for
//! digest and calls us (CALL-4, UC-12).

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use ringfort_interop::kamailio::Provider;
use ringfort_interop::knot::Knot;
use ringfort_interop::process::{Running, wait_for};
use ringfort_interop::ringfort::binary;
use ringfort_interop::sipp::{Sipp, finish, register};
use ringfort_interop::{Options, Place, Ringfort, need};

const PROVIDER: u16 = 5060;
/// Where Ringfort listens for the world.
const OUTSIDE: u16 = 5080;
const NUMBER: &str = "02079461234";
const CALLED: &str = "+442079460000";

/// The system with the trunks `one` and `two` at the addresses 3 and 4 of its place. Numbers with 0 go out by them, and
/// what they send comes to 102.
fn system(place: &Place, more_of_one: &str) -> anyhow::Result<Ringfort> {
    system_with(place, "", more_of_one)
}

/// The same with parameters of the first trunk's address.
fn system_with(place: &Place, parameters: &str, more_of_one: &str) -> anyhow::Result<Ringfort> {
    let trunk = |name: &str, ip: u32, parameters: &str, more: &str| {
        let within = if more.contains("answer_within") { "" } else { "answer_within = \"1s\"\n" };
        format!(
            "[[trunk]]\nname = \"{name}\"\nserver = \"sip:{}{parameters}\"\nhealth_every = \"0s\"\ncaller_id = \"{CALLED}\"\n\
             {within}{more}\n",
            place.ip(ip)
        )
    };
    let site = format!(
        "[[tenant]]\nname = \"default\"\ncountry = \"44\"\nnational_prefix = \"0\"\n\n{}{}\
         [[route]]\nname = \"out\"\npatterns = [\"prefix:0\"]\ntrunks = [\"one\", \"two\"]\n\n\
         [[inbound]]\nname = \"main\"\ncalled = \"exact:{CALLED}\"\nto = \"extension 102\"\n",
        trunk("one", 3, parameters, more_of_one),
        trunk("two", 4, "", "")
    );
    let extra =
        format!("[[profile]]\nname = \"world\"\nkind = \"external\"\nlisten = [\"udp:{}:{OUTSIDE}\"]\n", place.ip(0));
    Ringfort::start(place, Options { extra, site, ..Options::default() })
}

fn provider(place: &Place, ip: u32, scenario: &'static str) -> anyhow::Result<Running> {
    let running = Sipp::against(scenario, place.ip(ip), PROVIDER, format!("{}:{OUTSIDE}", place.ip(0))).start(place)?;
    wait_bound(place.ip(ip).to_string(), PROVIDER)?;
    Ok(running)
}

fn wait_bound(ip: String, port: u16) -> anyhow::Result<()> {
    wait_for("the program to listen", Duration::from_secs(5), || {
        Ok(UdpSocket::bind((ip.as_str(), port)).is_err().then_some(()))
    })
}

fn caller(place: &Place, system: &Ringfort, scenario: &'static str) -> Sipp {
    Sipp::new(scenario, place.ip(1), 5081, system).user(system.extension("101")).calls(NUMBER)
}

/// A provider at which nobody is at home, but whose machine does not say so.
fn silent(place: &Place, ip: u32) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((place.ip(ip), PROVIDER))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What came to a silent provider, first lines.
fn heard(socket: &UdpSocket) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match socket.recv(&mut buffer) {
            Ok(len) => {
                let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
                lines.push(text.lines().next().unwrap_or_default().to_owned());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(lines),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The one record of a call with that status.
fn one_record(system: &Ringfort, status: u64) -> anyhow::Result<()> {
    system.wait_idle()?;
    let records = system.records(1)?;
    assert_eq!(records.len(), 1, "one attempt, one record: {records:?}");
    assert_eq!(records[0]["status"], status, "{records:?}");
    Ok(())
}

#[test]
fn a_provider_that_answers_503_is_left_for_the_next_one() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = system(&place, "")?;
    let one = provider(&place, 3, "uas_trouble")?;
    let two = provider(&place, 4, "uas")?;
    caller(&place, &system, "uac").run(&place)?;
    finish(&place, "uas_trouble", PROVIDER, one)?;
    one_record(&system, 200)?;
    drop(two);
    system.stop()
}

#[test]
fn a_published_number_is_called_where_it_is_published_and_any_other_by_the_trunk() -> anyhow::Result<()> {
    need!("sipp");
    need!("knotd");
    let place = Place::new()?;
    let digits = |number: &str| {
        number.chars().rev().filter(char::is_ascii_digit).map(String::from).collect::<Vec<_>>().join(".")
    };
    let numbers = format!(
        "{} IN NAPTR 10 1 \"\" \"\" \"\" carrier\n\
         carrier IN NAPTR 10 1 \"u\" \"E2U+sip\" \"!^\\\\+44(.*)$!sip:\\\\1@far.test:{PROVIDER}!\" .\n",
        digits("442079461234")
    );
    let far = format!("@ IN A {}\n", place.ip(4));
    let knot = Knot::start(&place, place.ip(6), &[("e164.test", 60, &numbers), ("far.test", 60, &far)])?;
    let site = format!(
        "[[tenant]]\nname = \"default\"\ncountry = \"44\"\nnational_prefix = \"0\"\n\n\
         [[trunk]]\nname = \"one\"\nserver = \"sip:{}\"\nhealth_every = \"0s\"\n\n\
         [[route]]\nname = \"published\"\npatterns = [\"prefix:0\"]\nenum = \"e164.test\"\n\n\
         [[route]]\nname = \"out\"\npatterns = [\"prefix:0\"]\ntrunks = [\"one\"]\n\n",
        place.ip(3)
    );
    let extra = format!(
        "[dns]\nservers = [\"{}\"]\ninner = true\n\
         [[profile]]\nname = \"world\"\nkind = \"external\"\nlisten = [\"udp:{}:{OUTSIDE}\"]\n",
        knot.address(),
        place.ip(0)
    );
    let system = Ringfort::start(&place, Options { extra, site, ..Options::default() })?;
    for (number, ip, to) in [(NUMBER, 4, "enum:far.test"), ("02079465678", 3, "one")] {
        let answers = provider(&place, ip, "uas")?;
        let phone = Sipp::new("uac", place.ip(1), 5081, &system).user(system.extension("101"));
        phone.calls(number).run(&place)?;
        finish(&place, "uas", PROVIDER, answers)?;
        system.wait_idle()?;
        let record = system.records(1)?.remove(0);
        assert_eq!((&record["status"], &record["trunks"]["to"]), (&200.into(), &to.into()), "{record:#}");
    }
    let mut command = Command::new(binary()?);
    command.args(["dns", "locate", "+44 20 7946 1234", "--enum", "e164.test", "--server"]);
    let said = command.arg(knot.address().to_string()).current_dir(place.path("")).output()?;
    let said = String::from_utf8(said.stdout)?;
    assert!(said.contains("sip:2079461234@far.test:5060"), "{said}");
    system.stop()
}

#[test]
fn a_provider_that_says_nothing_is_left_after_a_second_for_the_next_one() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = system(&place, "")?;
    let one = silent(&place, 3)?;
    let two = provider(&place, 4, "uas")?;
    caller(&place, &system, "uac").run(&place)?;
    finish(&place, "uas", PROVIDER, two)?;
    let heard = heard(&one)?;
    assert!(heard.iter().all(|line| line.starts_with("INVITE ")) && !heard.is_empty(), "{heard:?}");
    one_record(&system, 200)?;
    system.stop()
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how long real programs take")]
fn a_provider_that_refuses_the_connection_is_left_at_once() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = system_with(&place, ";transport=tcp", "answer_within = \"18s\"")?;
    let two = provider(&place, 4, "uas")?;
    let begun = std::time::Instant::now();
    caller(&place, &system, "uac").run(&place)?;
    // `answer_within` is not waited for.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    finish(&place, "uas", PROVIDER, two)?;
    one_record(&system, 200)?;
    system.stop()
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how long real programs take")]
fn a_provider_whose_udp_port_is_closed_is_left_at_once() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = system(&place, "answer_within = \"18s\"")?;
    let two = provider(&place, 4, "uas")?;
    let begun = std::time::Instant::now();
    caller(&place, &system, "uac").run(&place)?;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    finish(&place, "uas", PROVIDER, two)?;
    one_record(&system, 200)?;
    let log = system.log();
    assert!(log.contains("connection refused"), "{log}");
    system.stop()
}

#[test]
fn a_provider_that_answers_after_it_was_given_up_is_hung_up_and_the_call_is_not_doubled() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = system(&place, "")?;
    let one = provider(&place, 3, "uas_late")?;
    let two = provider(&place, 4, "uas")?;
    caller(&place, &system, "uac").run(&place)?;
    // It ends well only where its 200 was acknowledged and its call hung up.
    finish(&place, "uas_late", PROVIDER, one)?;
    one_record(&system, 200)?;
    drop(two);
    system.stop()
}

#[test]
fn a_busy_line_is_the_last_word_and_the_next_provider_hears_nothing() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = system(&place, "")?;
    let one = provider(&place, 3, "uas_busy")?;
    let two = silent(&place, 4)?;
    caller(&place, &system, "uac_busy").run(&place)?;
    finish(&place, "uas_busy", PROVIDER, one)?;
    one_record(&system, 486)?;
    assert_eq!(heard(&two)?, Vec::<String>::new());
    system.stop()
}

#[test]
fn a_call_for_help_goes_on_where_the_first_provider_bars_it() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = system(&place, "")?;
    let one = provider(&place, 3, "uas_barred")?;
    let two = provider(&place, 4, "uas")?;
    Sipp::new("uac", place.ip(1), 5081, &system).user(system.extension("101")).calls("112").run(&place)?;
    finish(&place, "uas_barred", PROVIDER, one)?;
    finish(&place, "uas", PROVIDER, two)?;
    one_record(&system, 200)?;
    let trunks = system.items(&["trunks"])?;
    let one = trunks.iter().find(|trunk| trunk["name"] == "one");
    let said = one.and_then(|trunk| trunk["last_error"].as_str());
    assert_eq!(said, Some("a call was answered 403 Calls Barred"), "{trunks:?}");
    system.stop()
}

#[test]
fn a_provider_calls_the_extension_of_its_number() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = system(&place, "")?;
    register(&place, &system, "102", place.ip(2), 5070)?;
    let called = Sipp::new("uas", place.ip(2), 5070, &system).user(system.extension("102")).start(&place)?;
    wait_bound(place.ip(2).to_string(), 5070)?;
    let outside = format!("{}:{OUTSIDE}", place.ip(0));
    let calls = |ip: u32| {
        let sipp = Sipp::against("uac_provider", place.ip(ip), PROVIDER, outside.clone());
        sipp.with(["-s", "+442079460009"]).key("callee", CALLED)
    };
    calls(3).run(&place)?;
    finish(&place, "uas", 5070, called)?;
    one_record(&system, 200)?;
    // From an address of nobody's the same call reaches nobody: it is answered, told so, and that is all (DOM-5).
    calls(5).run(&place)?;
    let records = system.records(2)?;
    let refused: Vec<_> = records.iter().filter(|record| record["rule"] == "callee.denied_prefix").collect();
    assert_eq!((refused.len(), &refused[0]["to_extension"]), (1, &serde_json::Value::Null), "{records:?}");
    // CALL-1: the phone saw the caller's number, and nothing of his provider.
    let seen = std::fs::read_to_string(place.path("sipp-uas-5070.messages"))?;
    assert!(seen.contains("sip:+442079460009@pbx.example"), "{seen}");
    assert!(!seen.contains(&place.ip(3).to_string()) && !seen.contains("Sipp-caller"), "{seen}");
    system.stop()
}

#[test]
fn kamailio_takes_calls_by_digest_and_sees_nothing_of_the_phone() -> anyhow::Result<()> {
    need!("sipp", "kamailio");
    let place = Place::new()?;
    let system = system(&place, "user = \"cust7\"\npassword = \"Line-secret-94zz\"\nrealm = \"provider.example\"")?;
    let gateway = SocketAddr::new(place.ip(5), PROVIDER);
    let provider = Provider {
        ip: place.ip(3),
        digest: Some(("provider.example", "cust7", "Line-secret-94zz")),
        gateway,
        customer: SocketAddr::new(place.ip(0), OUTSIDE),
        registrar: false,
    };
    let mut kamailio = provider.start(&place)?;
    let behind = Sipp::against("uas", place.ip(5), PROVIDER, format!("{}:{PROVIDER}", place.ip(3))).start(&place)?;
    wait_bound(place.ip(5).to_string(), PROVIDER)?;
    caller(&place, &system, "uac").run(&place)?;
    finish(&place, "uas", PROVIDER, behind)?;
    one_record(&system, 200)?;
    let seen = std::fs::read_to_string(place.path(&format!("sipp-uas-{PROVIDER}.messages")))?;
    assert!(seen.contains(&format!("INVITE sip:+442079461234@{}", place.ip(3))), "{seen}");
    for secret in [place.ip(1).to_string(), "Sipp-caller".to_owned(), system.extension("101").user.clone()] {
        assert!(!seen.contains(&secret), "{secret} is nobody's business outside (CALL-1):\n{seen}");
    }
    kamailio.terminate(Duration::from_secs(10))?;
    system.stop()
}

#[test]
fn kamailio_as_a_peer_calls_in_and_its_route_set_is_followed() -> anyhow::Result<()> {
    need!("sipp", "kamailio");
    let place = Place::new()?;
    let system = system(&place, "")?;
    register(&place, &system, "102", place.ip(2), 5070)?;
    let customer = SocketAddr::new(place.ip(0), OUTSIDE);
    let gateway = SocketAddr::new(place.ip(5), PROVIDER);
    let mut kamailio = Provider { ip: place.ip(3), digest: None, gateway, customer, registrar: false }.start(&place)?;
    let called = Sipp::new("uas", place.ip(2), 5070, &system).user(system.extension("102")).start(&place)?;
    wait_bound(place.ip(2).to_string(), 5070)?;
    let sipp = Sipp::against("uac_provider", place.ip(5), PROVIDER, format!("{}:{PROVIDER}", place.ip(3)));
    sipp.with(["-s", "+442079460009"]).key("callee", CALLED).run(&place)?;
    finish(&place, "uas", 5070, called)?;
    one_record(&system, 200)?;
    kamailio.terminate(Duration::from_secs(10))?;
    system.stop()
}

/// Registered by digest, called at the Contact of it, and registered again as soon as the provider is back.
#[test]
fn kamailio_as_a_registrar_is_registered_with_calls_in_and_is_found_again_after_its_restart() -> anyhow::Result<()> {
    need!("sipp", "kamailio");
    let place = Place::new()?;
    let server = place.ip(3);
    let customer = SocketAddr::new(place.ip(0), OUTSIDE);
    let gateway = SocketAddr::new(place.ip(5), PROVIDER);
    let digest = Some(("provider.example", "cust7", "Lantern-Orchard-91"));
    let provider = Provider { ip: server, digest, gateway, customer, registrar: true };
    let mut kamailio = provider.start(&place)?;
    let site = format!(
        "[[tenant]]\nname = \"default\"\ncountry = \"44\"\nnational_prefix = \"0\"\n\n\
         [[trunk]]\nname = \"one\"\nkind = \"register\"\nserver = \"sip:{server}\"\nuser = \"cust7\"\npassword = \"Lantern-Orchard-91\"\n\
         health_every = \"1s\"\n\n\
         [[route]]\nname = \"out\"\npatterns = [\"prefix:0\"]\ntrunks = [\"one\"]\n\n\
         [[inbound]]\nname = \"main\"\ncalled = \"exact:{CALLED}\"\nto = \"extension 102\"\n"
    );
    let extra =
        format!("[[profile]]\nname = \"world\"\nkind = \"external\"\nlisten = [\"udp:{}:{OUTSIDE}\"]\n", place.ip(0));
    let system = Ringfort::start(&place, Options { extra, site, ..Options::default() })?;
    kamailio.wait_said("customer registered", Duration::from_secs(10))?;
    let state = |wanted: &str| {
        wait_for(&format!("the trunk to be {wanted}"), Duration::from_secs(15), || {
            let trunks = system.items(&["trunks"])?;
            Ok((trunks[0]["state"] == wanted).then_some(trunks[0].clone()))
        })
    };
    let item = state("registered")?;
    assert!(item["up"] == true && item["registered_for_s"].as_u64().is_some_and(|left| left > 60), "{item:#}");
    register(&place, &system, "102", place.ip(2), 5070)?;
    let call_in = || -> anyhow::Result<()> {
        let called = Sipp::new("uas", place.ip(2), 5070, &system).user(system.extension("102")).start(&place)?;
        wait_bound(place.ip(2).to_string(), 5070)?;
        let sipp = Sipp::against("uac_provider", place.ip(5), PROVIDER, format!("{server}:{PROVIDER}"));
        sipp.with(["-s", "+442079460009"]).key("callee", CALLED).run(&place)?;
        finish(&place, "uas", 5070, called)
    };
    call_in()?;
    one_record(&system, 200)?;
    assert_eq!(system.records(1)?[0]["trunks"]["from"], "one");

    // It forgets its registrations when it ends.
    kamailio.terminate(Duration::from_secs(10))?;
    let item = state("unreachable")?;
    assert!(item["last_error"].as_str().is_some_and(|words| !words.is_empty()), "{item:#}");
    let mut kamailio = provider.start(&place)?;
    kamailio.wait_said("customer registered", Duration::from_secs(15))?;
    state("registered")?;
    call_in()?;
    system.wait_idle()?;
    assert_eq!(system.records(2)?.len(), 2);
    kamailio.terminate(Duration::from_secs(10))?;
    system.stop()
}
