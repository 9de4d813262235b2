//! SIPp against the running system: registration, calls and their endings, on UDP, TCP and IPv6, and with loss.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use ringfort_interop::process::Running;
use ringfort_interop::sipp::{Sipp, finish, register};
use ringfort_interop::{Options, Place, Ringfort, need};

/// Port of the called phone; the caller has 5080.
const CALLEE: u16 = 5070;
const CALLER: u16 = 5080;

/// A place, the system in it, and 102's phone registered.
fn system() -> anyhow::Result<(Place, Ringfort)> {
    let place = Place::new()?;
    let system = Ringfort::start(&place, Options::default())?;
    register(&place, &system, "102", place.ip(2), CALLEE)?;
    Ok((place, system))
}

/// 102's phone with that scenario.
fn callee(place: &Place, system: &Ringfort, scenario: &'static str) -> anyhow::Result<Running> {
    let running = Sipp::new(scenario, place.ip(2), CALLEE, system).user(system.extension("102")).start(place)?;
    wait_bound(place.ip(2), CALLEE)?;
    Ok(running)
}

/// 101's phone with that scenario, calling `number`.
fn caller(place: &Place, system: &Ringfort, scenario: &'static str, number: &str) -> Sipp {
    Sipp::new(scenario, place.ip(1), CALLER, system).user(system.extension("101")).calls(number)
}

/// Waits until somebody has bound that UDP port.
fn wait_bound(ip: IpAddr, port: u16) -> anyhow::Result<()> {
    ringfort_interop::process::wait_for("SIPp to listen", Duration::from_secs(5), || {
        Ok(UdpSocket::bind((ip, port)).is_err().then_some(()))
    })
}

/// One call with that pair of scenarios; then the record has that status.
fn one_call(caller_scenario: &'static str, callee_scenario: &'static str, status: u64) -> anyhow::Result<()> {
    need!("sipp");
    let (place, system) = system()?;
    let called = callee(&place, &system, callee_scenario)?;
    caller(&place, &system, caller_scenario, "102").run(&place)?;
    finish(&place, callee_scenario, CALLEE, called)?;
    system.wait_idle()?;
    let records = system.records(1)?;
    assert_eq!(records.len(), 1, "one attempt, one record: {records:?}");
    assert_eq!(records[0]["status"], status, "{records:?}");
    system.stop()
}

#[test]
fn sipp_registers_with_digest() -> anyhow::Result<()> {
    need!("sipp");
    let (_place, system) = system()?;
    let items = system.items(&["registrations"])?;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["number"], "102");
    Ok(())
}

#[test]
fn sipp_with_a_wrong_password_stays_out() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = Ringfort::start(&place, Options::default())?;
    let mut wrong = system.extension("101").clone();
    wrong.password = "guess".to_owned();
    Sipp::new("register_wrong", place.ip(1), CALLER, &system)
        .user(&wrong)
        .with(["-auth_uri", "pbx.example"])
        .run(&place)?;
    assert!(system.items(&["registrations"])?.is_empty());
    Ok(())
}

#[test]
fn sipp_calls_and_the_caller_hangs_up() -> anyhow::Result<()> {
    one_call("uac", "uas", 200)
}

#[test]
fn sipp_calls_and_the_called_side_hangs_up() -> anyhow::Result<()> {
    one_call("uac_peer_ends", "uas_ends", 200)
}

#[test]
fn sipp_cancels_while_it_rings() -> anyhow::Result<()> {
    one_call("uac_cancel", "uas_cancelled", 487)
}

#[test]
fn sipp_is_busy() -> anyhow::Result<()> {
    one_call("uac_busy", "uas_busy", 486)
}

#[test]
fn sipp_holds_and_resumes() -> anyhow::Result<()> {
    one_call("uac_hold", "uas_hold", 200)
}

#[test]
fn sipp_refreshes_a_session_timer_by_update_rfc_4028() -> anyhow::Result<()> {
    one_call("uac_session_timer", "uas", 200)
}

#[test]
fn sipp_requires_reliable_provisional_answers_rfc_3262() -> anyhow::Result<()> {
    one_call("uac_100rel", "uas", 200)
}

#[test]
fn sipp_asks_for_too_small_a_session_interval_and_gets_422_rfc_4028() -> anyhow::Result<()> {
    need!("sipp");
    let (place, system) = system()?;
    caller(&place, &system, "uac_session_too_small", "102").run(&place)
}

#[test]
fn sipp_calls_a_number_that_does_not_exist() -> anyhow::Result<()> {
    need!("sipp");
    let (place, system) = system()?;
    caller(&place, &system, "uac_unknown", "999").run(&place)?;
    assert_eq!(system.records(1)?[0]["status"], 404);
    Ok(())
}

#[test]
fn sipp_rings_until_nobody_answers() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let options = Options { extra: "[calls]\nring_for = \"3s\"\n".to_owned(), ..Options::default() };
    let system = Ringfort::start(&place, options)?;
    register(&place, &system, "102", place.ip(2), CALLEE)?;
    let called = callee(&place, &system, "uas_cancelled")?;
    caller(&place, &system, "uac_no_answer", "102").run(&place)?;
    finish(&place, "uas_cancelled", CALLEE, called)?;
    let records = system.records(1)?;
    assert_eq!((&records[0]["status"], &records[0]["cause"]), (&480.into(), &"no_answer".into()), "{records:?}");
    Ok(())
}

#[test]
fn sipp_rings_at_three_contacts_and_one_answers() -> anyhow::Result<()> {
    need!("sipp");
    let (place, system) = system()?;
    for index in [3, 4] {
        register(&place, &system, "102", place.ip(index), CALLEE)?;
    }
    system.wait_registered("102", 3)?;
    let answering = callee(&place, &system, "uas")?;
    let mut others = Vec::new();
    for (index, port) in [(3, CALLEE), (4, CALLEE)] {
        let user = system.extension("102");
        // One log file a phone: the port is the same, so the folder tells them apart.
        let folder = Place::new()?;
        let running = Sipp::new("uas_elsewhere", place.ip(index), port, &system).user(user).start(&folder)?;
        wait_bound(place.ip(index), port)?;
        others.push((folder, running));
    }
    caller(&place, &system, "uac", "102").run(&place)?;
    finish(&place, "uas", CALLEE, answering)?;
    for (folder, running) in others {
        finish(&folder, "uas_elsewhere", CALLEE, running)?;
    }
    assert_eq!(system.records(1)?.len(), 1, "three phones, one attempt, one record");
    Ok(())
}

#[test]
fn sipp_calls_over_tcp() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let system = Ringfort::start(&place, Options::default())?;
    let tcp = |sipp: Sipp| sipp.with(["-t", "t1"]);
    tcp(Sipp::new("register", place.ip(2), CALLEE, &system)
        .user(system.extension("102"))
        .with(["-auth_uri", "pbx.example"]))
    .run(&place)?;
    let called = tcp(Sipp::new("uas", place.ip(2), CALLEE, &system).user(system.extension("102"))).start(&place)?;
    ringfort_interop::process::wait_for("SIPp to listen", Duration::from_secs(5), || {
        Ok(std::net::TcpListener::bind((place.ip(2), CALLEE)).is_err().then_some(()))
    })?;
    tcp(caller(&place, &system, "uac", "102")).run(&place)?;
    finish(&place, "uas", CALLEE, called)?;
    system.wait_idle()
}

#[test]
fn sipp_calls_over_ipv6() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let Ok(probe) = UdpSocket::bind((ip, 0)) else {
        println!("skipped: this machine has no IPv6 loopback");
        return Ok(());
    };
    drop(probe);
    // There is one address only, so all take ports that nobody has.
    let port = || -> anyhow::Result<u16> { Ok(UdpSocket::bind((ip, 0))?.local_addr()?.port()) };
    let (server, callee, caller) = (port()?, port()?, port()?);
    let options = Options { listen: vec![format!("udp:{{}}:{server}")], ip: Some(ip), ..Options::default() };
    let system = Ringfort::start(&place, options)?;
    let at = |scenario, port| Sipp::against(scenario, ip, port, format!("[::1]:{server}"));
    at("register", callee).user(system.extension("102")).with(["-auth_uri", "pbx.example"]).run(&place)?;
    let called = at("uas", callee).user(system.extension("102")).start(&place)?;
    wait_bound(ip, callee)?;
    at("uac", caller).user(system.extension("101")).calls("102").run(&place)?;
    finish(&place, "uas", callee, called)?;
    system.wait_idle()
}

#[test]
fn sipp_gets_a_bye_on_both_sides_when_the_system_is_stopped_and_the_record_says_why() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let extra = "[calls]\ndrain_for = \"1s\"\n".to_owned();
    let system = Ringfort::start(&place, Options { extra: extra.clone(), ..Options::default() })?;
    register(&place, &system, "102", place.ip(2), CALLEE)?;
    let called = callee(&place, &system, "uas")?;
    let calling = caller(&place, &system, "uac_peer_ends", "102").start(&place)?;
    ringfort_interop::process::wait_for("the call", Duration::from_secs(10), || {
        Ok((system.ctl(&["status"])?["calls_answered"] == 1).then_some(()))
    })?;
    system.stop()?;
    finish(&place, "uac_peer_ends", CALLER, calling)?;
    finish(&place, "uas", CALLEE, called)?;
    // Its record was written before it ended.
    let system = Ringfort::start(&place, Options { extra, ..Options::default() })?;
    let records = system.records(1)?;
    assert_eq!((&records[0]["cause"], &records[0]["status"]), (&"shutdown".into(), &200.into()), "{records:?}");
    Ok(())
}

#[test]
fn sipp_loses_messages_and_calls_succeed_by_retransmission_rfc_3261_section_17() -> anyhow::Result<()> {
    need!("sipp");
    let (place, system) = system()?;
    // The caller loses a third of its requests and of the answers. (A called SIPp cannot: the INVITE that it drops first
    // begins a call that it then never answers. Loss on that leg is the simulation's.)
    let called = Sipp::new("uas", place.ip(2), CALLEE, &system)
        .user(system.extension("102"))
        .with(["-m", "1000"])
        .start(&place)?;
    wait_bound(place.ip(2), CALLEE)?;
    caller(&place, &system, "uac_lossy", "102").with(["-m", "10", "-l", "3", "-r", "2"]).run(&place)?;
    drop(called);
    let idle = system.wait_idle();
    assert!(idle.is_ok(), "{idle:?}: {:?}\n{}", system.items(&["calls"]), system.log());
    let records = system.records(10)?;
    assert_eq!(records.len(), 10, "{records:?}");
    assert!(records.iter().all(|record| record["status"] == 200), "{records:?}");
    Ok(())
}

#[test]
fn sipsak_gets_an_answer_to_options() -> anyhow::Result<()> {
    need!("sipsak");
    let place = Place::new()?;
    let system = Ringfort::start(&place, Options::default())?;
    let mut command = std::process::Command::new("sipsak");
    command.args(["-vv", "-s", &format!("sip:{}:5060", system.ip())]);
    let said = Running::start("sipsak", &mut command, &place.path("sipsak.log"))?.finish(Duration::from_secs(20))?;
    assert!(said.contains("SIP/2.0 200"), "{said}");
    Ok(())
}
