//! 10,000 real calls, and then the system holds what it held before: memory, descriptors, tables, ports.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ringfort_interop::process::{Running, wait_for};
use ringfort_interop::sipp::register;
use ringfort_interop::{Options, Place, Ringfort, need};
use serde_json::Value;

const CALLER: u16 = 5080;
const CALLEE: u16 = 5070;
/// Calls before the first look: as many as the 32 s of SIP's timers hold at that rate, so that the allocator has seen
/// the most that will be in use at once.
const BEFORE: u32 = 6_000;
const CALLS: u32 = 10_000;
/// A second: below what a debug build beside other tests can do.
const RATE: u32 = 150;
/// What may stay: the allocator keeps some pages of a busy time, and the database its cache.
const MAY_GROW_KIB: u64 = 12 * 1024;

/// One of SIPp's sides, without the message logs of the other tests: 10,000 calls would write gigabytes.
fn sipp(place: &Place, system: &Ringfort, scenario: &str, side: u32, port: u16, calls: u32) -> anyhow::Result<Running> {
    let extension = system.extension(if side == 1 { "101" } else { "102" });
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{scenario}.xml"));
    let mut command = Command::new("sipp");
    command
        .current_dir(place.dir())
        .arg(format!("{}:5060", system.ip()))
        .arg("-sf")
        .arg(file)
        .args(["-i", &place.ip(side).to_string(), "-p", &port.to_string()])
        .args(["-m", &calls.to_string(), "-r", &RATE.to_string(), "-l", "4000"])
        .args(["-nostdin", "-timeout", "240s", "-timeout_error", "-key", "domain", "pbx.example"])
        .args(["-s", &extension.number, "-au", &extension.user, "-ap", &extension.password])
        .args(["-key", "callee", "102", "-auth_uri", "102@pbx.example"]);
    Running::start(scenario, &mut command, &place.path(&format!("{scenario}-{calls}.log")))
}

fn run_calls(place: &Place, system: &Ringfort, calls: u32) -> anyhow::Result<()> {
    let called = sipp(place, system, "uas", 2, CALLEE, calls)?;
    let caller = sipp(place, system, "uac", 1, CALLER, calls)?;
    caller.finish(Duration::from_secs(280))?;
    called.finish(Duration::from_secs(40))?;
    // RFC 3261's timers keep transactions for 32 s after the last message.
    let gone = |status: &Value| {
        ["calls", "transactions", "dialogs", "media_streams", "media_ports"].iter().all(|key| status[key] == 0)
    };
    wait_for("tables to be empty", Duration::from_secs(60), || {
        let status = system.ctl(&["status"])?;
        Ok(gone(&status).then_some(()))
    })
}

/// Proportional set size in KiB, and open descriptors.
fn holds(pid: u32) -> anyhow::Result<(u64, usize)> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok());
    // The journal's maintenance has a file open now and then: the least of a few looks counts.
    let mut descriptors = usize::MAX;
    for _ in 0..5 {
        descriptors = descriptors.min(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count());
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok((pss.unwrap_or_default(), descriptors))
}

#[test]
fn ten_thousand_calls_leave_memory_descriptors_ports_and_tables_as_they_were() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    let options = Options { max_calls: Some(5_000), ..Options::default() };
    let system = Ringfort::start(&place, options)?;
    register(&place, &system, "102", place.ip(2), CALLEE)?;

    run_calls(&place, &system, BEFORE)?;
    let (memory, descriptors) = holds(system.pid())?;
    run_calls(&place, &system, CALLS)?;
    let (memory_after, descriptors_after) = holds(system.pid())?;

    let counters = &system.ctl(&["status"])?["counters"];
    assert_eq!(counters["calls_answered"], u64::from(BEFORE + CALLS), "{counters}");
    assert!(descriptors_after <= descriptors, "{descriptors} open descriptors before, {descriptors_after} after");
    assert!(
        memory_after <= memory + MAY_GROW_KIB,
        "{memory} KiB before and {memory_after} KiB after {CALLS} calls: {} KiB more than the {MAY_GROW_KIB} that may stay",
        memory_after - memory
    );
    println!("{memory} KiB before, {memory_after} KiB after; {descriptors} descriptors");
    system.stop()
}
