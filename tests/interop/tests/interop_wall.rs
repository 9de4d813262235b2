//! Real attackers against the real system: SIPVicious' svmap, svwar and svcrack, from a loopback address that is banned
//! like any other here, and an honest SIPp beside them (GUARD-5 to GUARD-10).

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use ringfort_interop::process::{Running, from_pip, is_installed, wait_for};
use ringfort_interop::ringfort::DOMAIN;
use ringfort_interop::{Options, Place, Ringfort, need};

/// Loopback is not spared, and the limits on rates stay out of the way of what is tested here.
const GUARD: &str = "[guard]\nnever_banned = []\n";
/// Where strangers come in.
const WORLD: &str = "[[profile]]\nname = \"world\"\nkind = \"external\"\nlisten = [\"udp:ADDRESS:5080\"]\n";

fn guarded(place: &Place, extra: &str) -> anyhow::Result<Ringfort> {
    Ringfort::start(place, Options { extra: format!("{GUARD}{extra}"), ..Options::default() })
}

/// One with a profile for phones and one for strangers.
fn open_to_strangers(place: &Place) -> anyhow::Result<Ringfort> {
    guarded(place, &WORLD.replace("ADDRESS", &place.ip(0).to_string()))
}

/// Where the tools send from: the one of Debian listens to no wish.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The three tools, of one release.
struct Sipvicious {
    svmap: PathBuf,
    svwar: PathBuf,
    svcrack: PathBuf,
}

impl Sipvicious {
    fn of_debian() -> Option<Self> {
        let all = ["svmap", "svwar", "svcrack"].map(|tool| is_installed(tool).then(|| PathBuf::from(tool)));
        let [Some(svmap), Some(svwar), Some(svcrack)] = all else { return None };
        Some(Self { svmap, svwar, svcrack })
    }

    fn of_pypi() -> Option<Self> {
        let [svmap, svwar, svcrack] = ["sipvicious_svmap", "sipvicious_svwar", "sipvicious_svcrack"].map(from_pip);
        Some(Self { svmap: svmap?, svwar: svwar?, svcrack: svcrack? })
    }
}

/// Runs one of the tools against the system at that port; what it said.
fn attack(place: &Place, tool: &Path, port: &str, arguments: &[&str]) -> anyhow::Result<String> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let mut command = Command::new(tool);
    command.env("HOME", place.dir()).args(["-p", port, "-t", "0.01"]).args(arguments);
    let log = place.path(&format!("attack-{}.log", RUNS.fetch_add(1, Ordering::Relaxed)));
    let mut running = Running::start("sipvicious", &mut command, &log)?;
    // It gives up by itself when nothing answers any more, and its exit status says nothing.
    wait_for("sipvicious to give up", Duration::from_secs(60), || running.ended())?;
    Ok(running.said())
}

/// A question that everybody is answered, unless he is banned.
fn is_answered(system: &Ringfort, from: IpAddr) -> anyhow::Result<bool> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(700)))?;
    let own = socket.local_addr()?;
    let request = format!(
        "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKq{0};rport\r\nFrom: <sip:q@{DOMAIN}>;tag=q\r\n\
         To: <sip:{DOMAIN}>\r\nCall-ID: q{0}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        own.port()
    );
    socket.send_to(request.as_bytes(), (system.ip(), 5060))?;
    Ok(socket.recv(&mut [0; 2048]).is_ok())
}

/// The attacker was shut out at the fifth offence of that kind, for a day; the neighbour was not.
fn is_banned_for_a_day(system: &Ringfort, cause: &str, neighbour: IpAddr) -> anyhow::Result<()> {
    let bans = system.items(&["guard", "bans"])?;
    assert_eq!(bans.len(), 1, "{bans:?}");
    assert_eq!(bans[0]["source"], ATTACKER.to_string());
    assert_eq!(bans[0]["cause"], cause);
    let left = bans[0]["left_s"].as_u64().context("a time")?;
    assert!((86_300..=86_400).contains(&left), "{left}");
    let log = system.items(&["guard", "log"])?;
    assert_eq!(log.len(), 5, "{log:?}");
    assert!(!is_answered(system, ATTACKER)? && is_answered(system, neighbour)?);
    Ok(())
}

fn svcrack_is_banned_at_the_fifth_guess(tools: &Sipvicious) -> anyhow::Result<()> {
    let place = Place::new()?;
    let system = guarded(&place, "")?;
    let extension = system.extension("101").clone();
    let words = format!("a1\nb2\nc3\nd4\ne5\n{}\nf6\n", extension.password);
    let dictionary = place.write("words", &words)?.display().to_string();
    // Its Contact has the domain; with the system's own address in it, it would be refused after the right password too.
    let (target, domain) = (system.ip().to_string(), format!("--domain={DOMAIN}"));
    let guess = ["-u", &extension.user, "-d", &dictionary, &domain, "--maximumtime=2", &target];
    let said = attack(&place, &tools.svcrack, "5060", &guess)?;
    assert!(!said.contains(&extension.password), "{said}");
    is_banned_for_a_day(&system, "authentication", place.ip(2))?;
    let file = std::fs::read_to_string(place.path("ringfort-data/log/offences.log"))?;
    assert_eq!(file.lines().count(), 5);
    assert!(file.lines().all(|line| line.starts_with(&format!("ip[{ATTACKER}] time="))), "{file}");
    // Once more, with the right one alone: nobody hears it.
    let right = place.write("right", &extension.password)?.display().to_string();
    let said = attack(
        &place,
        &tools.svcrack,
        "5060",
        &["-u", &extension.user, "-d", &right, &domain, "--maximumtime=2", &target],
    )?;
    assert!(!said.contains(&extension.password), "{said}");

    // Allowed, he may guess for as long as he likes, and finds it.
    assert_eq!(system.ctl(&["guard", "allow", &ATTACKER.to_string()])?["changed"], 1);
    let said = attack(&place, &tools.svcrack, "5060", &guess)?;
    assert!(said.contains(&extension.password), "{said}");
    assert!(system.items(&["guard", "bans"])?.is_empty());
    let log = system.items(&["guard", "log"])?;
    let spared = log.iter().filter(|entry| entry["counted"].as_str().is_some_and(|c| c.starts_with("never banned")));
    assert!(spared.count() >= 5, "{log:?}");
    Ok(())
}

#[test]
fn svcrack_is_banned_at_the_fifth_guess_and_never_gets_to_the_right_password() -> anyhow::Result<()> {
    Sipvicious::of_debian().map_or(Ok(()), |tools| svcrack_is_banned_at_the_fifth_guess(&tools))
}

#[test]
fn svcrack_of_pypi_is_banned_at_the_fifth_guess_and_never_gets_to_the_right_password() -> anyhow::Result<()> {
    Sipvicious::of_pypi().map_or(Ok(()), |tools| svcrack_is_banned_at_the_fifth_guess(&tools))
}

fn svwar_is_banned_at_the_fifth_call(tools: &Sipvicious) -> anyhow::Result<()> {
    let place = Place::new()?;
    let system = open_to_strangers(&place)?;
    let target = system.ip().to_string();
    let war = ["-m", "INVITE", "-e", "99-110", "--force", "--maximumtime=2", &target];
    let said = attack(&place, &tools.svwar, "5080", &war)?;
    assert!(!said.contains("| 101") && said.contains("found nothing"), "{said}");
    is_banned_for_a_day(&system, "unknown-user", place.ip(2))?;

    // Allowed, it may go through all numbers, and finds none of them.
    assert_eq!(system.ctl(&["guard", "allow", &ATTACKER.to_string()])?["changed"], 1);
    let said = attack(&place, &tools.svwar, "5080", &war)?;
    assert!(!said.contains("| 101") && said.contains("found nothing"), "{said}");
    assert!(system.items(&["guard", "bans"])?.is_empty());
    assert!(system.items(&["guard", "log"])?.len() > 10, "all of its calls were counted");
    assert!(is_answered(&system, ATTACKER)?);
    Ok(())
}

#[test]
fn svwar_that_calls_is_banned_at_the_fifth_call_and_finds_no_extension() -> anyhow::Result<()> {
    Sipvicious::of_debian().map_or(Ok(()), |tools| svwar_is_banned_at_the_fifth_call(&tools))
}

#[test]
fn svwar_of_pypi_that_calls_is_banned_at_the_fifth_call_and_finds_no_extension() -> anyhow::Result<()> {
    Sipvicious::of_pypi().map_or(Ok(()), |tools| svwar_is_banned_at_the_fifth_call(&tools))
}

/// What needs no answer never shows where it comes from (GUARD-6): it is muted, and not banned. `calls`: by svwar, to these
/// ports.
fn nothing_is_found_by_questions(tools: &Sipvicious, calls: &[&str]) -> anyhow::Result<()> {
    let place = Place::new()?;
    let system = open_to_strangers(&place)?;
    let target = system.ip().to_string();
    for (port, method) in [("5060", "OPTIONS"), ("5080", "OPTIONS"), ("5060", "REGISTER")] {
        let said = attack(&place, &tools.svmap, port, &["-m", method, &target])?;
        let silent = method == "OPTIONS";
        assert_eq!(said.contains("found nothing"), silent, "{method}: {said}");
    }
    let questions = [("5060", "REGISTER"), ("5060", "OPTIONS"), ("5080", "OPTIONS")];
    for (port, method) in questions.into_iter().chain(calls.iter().map(|port| (*port, "INVITE"))) {
        let war = ["-m", method, "-e", "99-110", "--force", "--maximumtime=2", &target];
        let said = attack(&place, &tools.svwar, port, &war)?;
        assert!(!said.contains("| 101") && said.contains("found nothing"), "{method}: {said}");
    }
    // Each of them told what it is, and none of them showed that it is where it says: its rate is all that suffers.
    let status = system.ctl(&["guard", "status"])?;
    assert!(status["unproven_total"].as_u64() > Some(3), "{status}");
    assert_eq!(status["banned_now"], 0, "{status}");
    assert!(is_answered(&system, place.ip(2))?);
    // Banned for something else, it hears nothing at all.
    system.ctl(&["guard", "ban", &ATTACKER.to_string(), "--for", "1h"])?;
    let said = attack(&place, &tools.svmap, "5060", &["-m", "REGISTER", &target])?;
    assert!(said.contains("found nothing"), "{said}");
    Ok(())
}

#[test]
fn svmap_and_svwar_find_no_extension_by_questions() -> anyhow::Result<()> {
    Sipvicious::of_debian().map_or(Ok(()), |tools| nothing_is_found_by_questions(&tools, &["5060"]))
}

#[test]
fn svmap_and_svwar_of_pypi_find_no_extension_by_questions() -> anyhow::Result<()> {
    Sipvicious::of_pypi().map_or(Ok(()), |tools| nothing_is_found_by_questions(&tools, &["5060"]))
}

#[test]
fn bans_hold_through_a_kill_from_the_first_packet_on() -> anyhow::Result<()> {
    let place = Place::new()?;
    let system = guarded(&place, "")?;
    let (banned, allowed) = (place.ip(1), place.ip(2));
    system.ctl(&["guard", "ban", &banned.to_string(), "--for", "1h"])?;
    system.ctl(&["guard", "allow", &allowed.to_string()])?;
    assert!(!is_answered(&system, banned)?);
    std::thread::sleep(Duration::from_millis(300));
    let system = system.crash_and_restart(&place)?;
    assert!(!is_answered(&system, banned)?);
    let bans = system.items(&["guard", "bans"])?;
    assert_eq!((bans.len(), &bans[0]["cause"]), (1, &"operator".into()));
    let refused = system.ctl(&["guard", "ban", &allowed.to_string()]).unwrap_err().to_string();
    assert!(refused.contains("was allowed by an operator"), "{refused}");
    system.ctl(&["guard", "unban", &banned.to_string()])?;
    assert!(is_answered(&system, banned)?);
    let words = system.ctl_text(&["guard", "why", &banned.to_string()])?;
    assert!(words.contains("is not banned"), "{words}");
    Ok(())
}

#[test]
fn honest_calls_go_on_while_thousands_of_sources_that_are_forged_send_rubbish() -> anyhow::Result<()> {
    need!("sipp");
    let place = Place::new()?;
    // The limits that strangers of the whole world have hold for loopback here.
    let system = guarded(&place, "loopback = \"60/s burst 120\"\n")?;
    let honest = place.ip(1);
    let flood = std::thread::spawn({
        let target = (system.ip(), 5060);
        move || -> anyhow::Result<u32> {
            let mut sent = 0;
            for n in 0..2_000u32 {
                // Any address of 127.0.0.0/8 can be sent from: to the system these are 2,000 hosts.
                let from = std::net::Ipv4Addr::from_bits(0x7F10_0000 + n * 13);
                let socket = UdpSocket::bind((from, 0))?;
                for kind in 0..6 {
                    let request = format!(
                        "INVITE sip:{n}@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{n}x{kind}\r\n\
                         From: <sip:a@b>;tag=1\r\nTo: <sip:{n}@{DOMAIN}>\r\nCall-ID: {n}x{kind}\r\nCSeq: 1 INVITE\r\n\
                         User-Agent: friendly-scanner\r\nContact: <sip:a@{from}>\r\nContent-Length: 0\r\n\r\n"
                    );
                    socket.send_to(request.as_bytes(), target)?;
                    sent += 1;
                }
                if n % 20 == 0 {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Ok(sent)
        }
    });
    let mut answered = 0;
    for _ in 0..20 {
        answered += u32::from(is_answered(&system, honest)?);
        std::thread::sleep(Duration::from_millis(50));
    }
    let sent = flood.join().expect("no panic")?;
    assert_eq!((answered, sent), (20, 12_000));
    let status = system.ctl(&["guard", "status"])?;
    assert_eq!(status["banned_now"], 0, "nobody acknowledged, nobody is proven: {status}");
    assert!(status["unproven_total"].as_u64() > Some(1_000), "{status}");
    Ok(())
}
