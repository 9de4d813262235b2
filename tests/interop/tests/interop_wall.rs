//! Real attackers against the real system: SIPVicious' svmap, svwar and svcrack, from a loopback address that is banned
//! like any other here, and an honest SIPp beside them (GUARD-5 to GUARD-10).

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use ringfort_interop::process::{Running, wait_for};
use ringfort_interop::ringfort::DOMAIN;
use ringfort_interop::{Options, Place, Ringfort, need};

/// Loopback is not spared, and the limits on rates stay out of the way of what is tested here.
const GUARD: &str = "[guard]\nnever_banned = []\n";

fn guarded(place: &Place, extra: &str) -> anyhow::Result<Ringfort> {
    Ringfort::start(place, Options { extra: format!("{GUARD}{extra}"), ..Options::default() })
}

/// Where the tools send from: the one of Debian listens to no wish.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Runs one of the three tools against the system; what it said.
fn attack(place: &Place, tool: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(tool);
    command.env("HOME", place.dir()).args(["-p", "5060", "-t", "0.01"]).args(arguments);
    let log = place.path(&format!("{tool}-{}.log", arguments.len()));
    let mut running = Running::start(tool, &mut command, &log)?;
    // It gives up by itself when nothing answers any more, and its exit status says nothing.
    wait_for(tool, Duration::from_secs(60), || running.ended())?;
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

#[test]
fn svcrack_is_banned_at_the_fifth_guess_and_never_gets_to_the_right_password() -> anyhow::Result<()> {
    need!("svcrack");
    let place = Place::new()?;
    let system = guarded(&place, "")?;
    let (attacker, neighbour) = (ATTACKER, place.ip(2));
    let extension = system.extension("101").clone();
    let words = format!("a1\nb2\nc3\nd4\ne5\n{}\nf6\n", extension.password);
    let dictionary = place.write("words", &words)?;
    let said = attack(
        &place,
        "svcrack",
        &["-u", &extension.user, "-d", &dictionary.display().to_string(), &system.ip().to_string()],
    )?;
    assert!(!said.contains(&extension.password), "{said}");

    let bans = system.items(&["guard", "bans"])?;
    assert_eq!(bans.len(), 1, "{bans:?}");
    assert_eq!(bans[0]["source"], attacker.to_string());
    assert_eq!(bans[0]["cause"], "authentication");
    let left = bans[0]["left_s"].as_u64().context("a time")?;
    assert!((86_300..=86_400).contains(&left), "{left}");
    let log = system.items(&["guard", "log"])?;
    assert_eq!(log.len(), 5, "{log:?}");
    assert!(!is_answered(&system, attacker)? && is_answered(&system, neighbour)?);

    let file = std::fs::read_to_string(place.path("ringfort-data/log/offences.log"))?;
    assert_eq!(file.lines().count(), 5);
    assert!(file.lines().all(|line| line.starts_with(&format!("ip[{attacker}] time="))), "{file}");

    // Allowed, he may guess for as long as he likes.
    assert_eq!(system.ctl(&["guard", "allow", &attacker.to_string()])?["changed"], 1);
    let said = attack(
        &place,
        "svcrack",
        &["-u", &extension.user, "-d", &dictionary.display().to_string(), "--force", &system.ip().to_string()],
    );
    let said = said?;
    assert!(said.contains(&extension.password) || is_answered(&system, attacker)?, "{said}");
    assert!(system.items(&["guard", "bans"])?.is_empty());
    Ok(())
}

#[test]
fn svmap_and_svwar_find_neither_the_system_nor_an_extension() -> anyhow::Result<()> {
    need!("svmap", "svwar");
    let place = Place::new()?;
    let system = guarded(&place, "")?;
    let target = system.ip().to_string();
    let said = attack(&place, "svmap", &[&target])?;
    assert!(said.contains("found nothing"), "{said}");
    for method in ["REGISTER", "OPTIONS", "INVITE"] {
        let said = attack(&place, "svwar", &["-m", method, "-e", "99-110", "--force", &target])?;
        assert!(!said.contains("| 101") && said.contains("found nothing"), "{method}: {said}");
    }
    // Each of them told what it is, and none of them showed that it is where it says: its rate is all that suffers.
    let status = system.ctl(&["guard", "status"])?;
    assert!(status["unproven_total"].as_u64() > Some(3), "{status}");
    assert!(is_answered(&system, place.ip(2))?);
    Ok(())
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
