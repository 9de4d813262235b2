//! The real fail2ban reads what the log writes, by the filter and the jail that are shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringfort_switch::io::OffenceReport;
use ringfort_switch::model::Pii;

use super::OffenceLog;
use crate::time;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/fail2ban");
const PATIENCE: Duration = Duration::from_secs(40);

/// Whether the programs are there; where not, it is said, or fails.
fn installed() -> bool {
    let there = ["fail2ban-server", "fail2ban-regex"].iter().all(|name| Path::new("/usr/bin").join(name).is_file());
    let required = std::env::var("RINGFORT_TEST_PROGRAMS").is_ok_and(|value| value == "required");
    assert!(there || !required, "fail2ban is not installed, and RINGFORT_TEST_PROGRAMS=required");
    if !there {
        println!("skipped: fail2ban is not installed");
    }
    there
}

fn report(source: &str, user: &str, counted: &str) -> OffenceReport {
    OffenceReport {
        at: time::now(),
        source: source.parse().unwrap(),
        offence: "authentication".into(),
        rule: "authentication".into(),
        user: Pii::new(user.into()),
        callee: Pii::new(user.into()),
        counted: counted.into(),
    }
}

/// What peers write who want another address to be banned, or none.
const EVIL: [&str; 8] = [
    "100",
    "x\nip[198.51.100.1] time=2026-11-27T18:00:00.000Z reason=x",
    "\" led_to=\"never banned: x",
    "\\\" led_to=\"never banned: x\"\n",
    "ip[198.51.100.1]",
    "x\r\nip[198.51.100.1] ",
    "\u{2028}ip[198.51.100.1]\u{85}ip[198.51.100.2]",
    "2020-01-01T00:00:00.000Z time=2020-01-01T00:00:00.000Z",
];

/// Writes and closes.
fn write(path: &Path, reports: impl IntoIterator<Item = OffenceReport>) {
    let (log, thread) = OffenceLog::open(path).unwrap();
    reports.into_iter().for_each(|report| log.write(&report));
    drop(log);
    thread.join().unwrap();
}

#[test]
fn the_shipped_filter_finds_the_address_of_each_line_whatever_stands_in_it() {
    if !installed() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("offences.log");
    let spared = report("203.0.113.99", "100", "never banned: trunk acme");
    let sources = ["203.0.113.7", "2001:db8::7"];
    let evil = EVIL.iter().flat_map(|user| sources.map(|source| report(source, user, "3 of 5")));
    write(&path, evil.chain([spared]));
    let regex = |options: &[&str]| {
        let filter = format!("{SHIPPED}/filter.d/ringfort.conf");
        let output = Command::new("fail2ban-regex").args(options).arg(&path).arg(filter).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let found: Vec<String> = regex(&["-o", "<ip> <time>"]).lines().map(str::to_owned).collect();
    assert_eq!(found.len(), EVIL.len() * 2, "{found:?}");
    let now = time::now().0 / 1000;
    for (line, source) in found.iter().zip(sources.iter().cycle()) {
        let (ip, at) = line.trim().split_once(' ').unwrap();
        let at: f64 = at.parse().unwrap();
        assert!(ip == *source && (now as f64 - at).abs() < 30.0, "{line:?}: expected {source} at {now}");
    }
    let summary = regex(&[]);
    assert!(
        summary.contains(&format!("Lines: {} lines, 1 ignored, {} matched, 0 missed", found.len() + 1, found.len())),
        "{summary}"
    );
}

/// A server of our own; it ends with its value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The system's configuration with ours beside it, everything of it in a folder of its own.
fn configure(dir: &Path) -> PathBuf {
    let config = dir.join("fail2ban");
    let copied = Command::new("cp").args(["-r", "/etc/fail2ban"]).arg(&config).status().unwrap();
    assert!(copied.success());
    for file in ["filter.d/ringfort.conf", "jail.d/ringfort.conf"] {
        fs::copy(format!("{SHIPPED}/{file}"), config.join(file)).unwrap();
    }
    let at = |name: &str| dir.join(name).display().to_string();
    let local = format!(
        "[Definition]\nsocket = {}\npidfile = {}\ndbfile = None\nlogtarget = {}\n",
        at("socket"),
        at("pid"),
        at("fail2ban.log")
    );
    fs::write(config.join("fail2ban.local"), local).unwrap();
    let action = format!("[Definition]\nactionban = echo <ip> <bantime> >>{}\nactionunban =\n", at("banned"));
    fs::write(config.join("action.d/writes.conf"), action).unwrap();
    config
}

#[test]
fn the_shipped_jails_are_read_and_ban_as_ringfort_does() {
    if !installed() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path());
    let path = dir.path().join("offences.log");
    write(&path, []);
    // What the jails say without a word of ours. (An empty log of the test's is enough to be read.)
    fs::write(config.join("jail.local"), format!("[ringfort]\nlogpath = {}\n", path.display())).unwrap();
    let dump = Command::new("fail2ban-client").arg("-c").arg(&config).arg("-d").output().unwrap();
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    for words in ["'ringfort', 'maxretry', 5", "'ringfort', 'bantime', '86400'", "'add', 'sshd', 'systemd'", "nftables"]
    {
        assert!(dump.contains(words), "{words} in {dump}");
    }

    // The same jail with an action that only writes down whom it would ban.
    let local = format!(
        "[DEFAULT]\n[sshd]\nenabled = false\n[ringfort]\nlogpath = {}\nbackend = polling\naction = writes\n",
        path.display()
    );
    fs::write(config.join("jail.local"), local).unwrap();
    let server = Command::new("fail2ban-server")
        .arg("-c")
        .arg(&config)
        .args(["-f", "start"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = Server(server);
    let said = || fs::read_to_string(dir.path().join("fail2ban.log")).unwrap_or_default();
    wait_for("fail2ban to start", &said, || said().contains("Jail 'ringfort' started"));

    let start = now();
    let five = |source: &'static str| (0..5).map(move |n| report(source, EVIL[n + 1], "3 of 5"));
    let four = (0..4).map(|_| report("203.0.113.8", "100", "3 of 5"));
    let spared = (0..9).map(|_| report("203.0.113.99", "100", "never banned: trunk acme"));
    let house = (0..9).map(|_| report("192.168.1.7", "100", "3 of 5"));
    write(&path, four.chain(spared).chain(house).chain(five("203.0.113.7")).chain(five("2001:db8::7")));
    let banned = || fs::read_to_string(dir.path().join("banned")).unwrap_or_default();
    wait_for("both bans", &said, || banned().lines().count() >= 2);
    println!("from the log to fail2ban's ban: {:?}", now() - start);
    let mut all: Vec<String> = banned().lines().map(str::to_owned).collect();
    all.sort();
    assert_eq!(all, ["2001:db8::7 86400", "203.0.113.7 86400"], "{}", said());
}

#[allow(clippy::disallowed_methods, reason = "waits for another program, in real time")]
fn now() -> Instant {
    Instant::now()
}

fn wait_for(what: &str, said: &dyn Fn() -> String, mut done: impl FnMut() -> bool) {
    let start = now();
    while !done() {
        assert!(now() - start < PATIENCE, "waited in vain for {what}: {}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn logrotate_moves_the_log_away_and_the_next_line_begins_a_new_one() {
    let program = Path::new("/usr/sbin/logrotate");
    if !program.is_file() {
        assert!(std::env::var("RINGFORT_TEST_PROGRAMS").is_err(), "logrotate is not installed");
        println!("skipped: logrotate is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("offences.log");
    let shipped = fs::read_to_string(format!("{SHIPPED}/../logrotate.conf")).unwrap();
    // The folder is the test's, and so is who owns it.
    let ours = shipped.replace("/var/lib/ringfort/log/offences.log", &path.display().to_string());
    let ours: String = ours.lines().filter(|line| !line.trim().starts_with("su ")).map(|l| format!("{l}\n")).collect();
    assert_ne!(ours, shipped);
    let file = dir.path().join("logrotate.conf");
    fs::write(&file, ours).unwrap();
    let (log, thread) = OffenceLog::open(&path).unwrap();
    let lines = |path: &Path| fs::read_to_string(path).map_or(0, |text| text.lines().count());
    log.write(&report("203.0.113.7", "100", "1 of 5"));
    wait_for("the first line", &String::new, || lines(&path) == 1);
    let rotated = Command::new(program).arg("--force").arg("--state").arg(dir.path().join("state")).arg(&file).output();
    let rotated = rotated.unwrap();
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    assert!(!path.exists());
    log.write(&report("203.0.113.8", "100", "1 of 5"));
    wait_for("a new file", &String::new, || lines(&path) == 1);
    assert_eq!(lines(&dir.path().join("offences.log.1")), 1);
    drop(log);
    thread.join().unwrap();
}
