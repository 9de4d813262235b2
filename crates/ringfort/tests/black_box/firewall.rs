//! `ringfort firewall` and bans in the kernel, in network namespaces with real packets.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use crate::namespace::{Pair, now, wait_for};
use crate::support::{Place, text};

const CONFIG: &str = "[[profile]]\nname = \"a\"\nlisten = [\"udp:0.0.0.0:5060\", \"udp:[::]:5060\", \"tcp:0.0.0.0:5060\"]\n\
    [media]\nports = \"20000-20100\"\n[firewall]\nssh = [\"22\", \"2222\"]\n";

/// A folder with that configuration, and a command line in it whose state is its own.
struct Desk {
    place: Place,
}

impl Desk {
    fn new(config: &str) -> Desk {
        let place = Place::new();
        std::fs::write(place.path().join("ringfort.toml"), config).unwrap();
        Desk { place }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.place.command(line);
        command.env_remove("SSH_CONNECTION").arg("--state").arg(self.place.path().join("state"));
        command
    }

    fn ok(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    fn fails(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {}", text(&output.stdout));
        text(&output.stderr)
    }
}

fn connects(pair: &Pair, port: u16) -> bool {
    let address = ([203, 0, 113, 1], port).into();
    pair.outside(|| TcpStream::connect_timeout(&address, Duration::from_millis(700)).is_ok())
}

fn pings(pair: &Pair, address: &str) -> bool {
    let ping = |address: &str| Command::new("ping").args(["-c", "1", "-W", "1", address]).output().unwrap();
    pair.outside(|| ping(address).status.success())
}

#[test]
fn the_rules_let_in_what_the_configuration_serves_and_nothing_else() {
    let Some(pair) = Pair::new() else { return };
    let desk = Desk::new(CONFIG);
    pair.inside(|| {
        pair.feed("table inet theirs {\n chain c { type filter hook input priority 10; counter; }\n}\n");
        let open: Vec<_> = [5060, 20_000, 20_100].map(|port| pair.listen_on(port)).into();
        let shut = [pair.listen_on(20_101), pair.listen_on(161)];
        let _tcp: Vec<_> = [22, 2222, 5060, 8080].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap()).into();
        assert!(connects(&pair, 8080) && pair.reaches(&shut[0], pair.good4), "before the rules everything is open");

        let said = desk.ok("firewall apply");
        assert!(said.contains("udp 20000-20100  voice") && said.contains("ringfort firewall confirm"), "{said}");
        for from in [pair.good4, pair.good6] {
            assert!(open.iter().all(|socket| pair.reaches(socket, from)), "{from}: {}", pair.nft("list ruleset"));
            assert!(!shut.iter().any(|socket| pair.reaches(socket, from)), "{from}: {}", pair.nft("list ruleset"));
        }
        assert!([22, 2222, 5060].iter().all(|port| connects(&pair, *port)) && !connects(&pair, 8080));
        assert!(pings(&pair, "203.0.113.1") && pings(&pair, "2001:db8:0:1::1"));
        // A packet of the other table's chain has gone through both.
        assert!(!pair.nft("list table inet theirs").contains("packets 0 "));

        // Our bans stand before all of it.
        pair.nft("add element inet ringfort banned4 { 203.0.113.66 timeout 1h }");
        assert!(!pair.reaches(&open[0], pair.attacker4) && pair.reaches(&open[0], pair.good4));

        desk.ok("firewall confirm");
        assert!(desk.fails("firewall confirm").contains("nothing waits to be confirmed"));
        assert_eq!(desk.ok("firewall remove"), "The rules are gone; bans stay.\n");
        assert!(connects(&pair, 8080) && !pair.reaches(&open[0], pair.attacker4));
        assert!(desk.ok("firewall remove-bans").contains("out of the kernel"));
        assert!(pair.reaches(&open[0], pair.attacker4));
        assert_eq!(desk.ok("firewall remove-bans --json").trim(), "{\n  \"removed\": false\n}");
        assert_eq!(pair.nft("list tables"), "table inet theirs\n");
    });
}

#[test]
fn rules_that_nobody_confirms_go_although_the_session_that_brought_them_is_dead() {
    let Some(pair) = Pair::new() else { return };
    let desk = Desk::new(CONFIG);
    pair.inside(|| {
        let _tcp = TcpListener::bind(("0.0.0.0", 8080)).unwrap();
        // A shell in a process group of its own, as a session is; it is killed with all that is in the group.
        let mut inner = desk.command("firewall apply --within 2");
        let words: Vec<_> =
            std::iter::once(inner.get_program()).chain(inner.get_args()).map(|w| w.to_owned()).collect();
        inner = Command::new("/bin/sh");
        inner.args(["-c", "\"$@\" && sleep 60", "sh"]).args(words).current_dir(desk.place.path()).process_group(0);
        let start = now();
        let mut session = inner.spawn().unwrap();
        wait_for("the rules", || pair.nft("list tables").contains("ringfort_firewall"));
        wait_for("the watcher", || desk.place.path().join("state/watching").exists());
        // The system call: the program `kill` has versions that read the number of a group as "everybody".
        let group = i32::try_from(session.id()).unwrap();
        assert!(group > 1);
        // SAFETY: it takes two numbers; the group is the one made above, and its leader has not been waited for.
        assert_eq!(unsafe { libc::killpg(group, libc::SIGKILL) }, 0);
        session.wait().unwrap();
        assert!(!connects(&pair, 8080));
        wait_for("the rules to go", || !pair.nft("list tables").contains("ringfort_firewall"));
        let lived = now() - start;
        assert!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&lived), "{lived:?}");
        assert!(connects(&pair, 8080));
        assert!(desk.fails("firewall confirm").contains("nothing waits"));
    });
}

#[test]
fn what_is_confirmed_stays_and_a_later_change_falls_back_to_it() {
    let Some(pair) = Pair::new() else { return };
    let desk = Desk::new(CONFIG);
    pair.inside(|| {
        desk.ok("firewall apply --within 1");
        assert!(desk.fails("firewall apply").contains("an earlier change still waits"));
        desk.ok("firewall confirm");
        let first = || pair.nft("list table inet ringfort_firewall");
        assert!(first().contains("dport 5060"));
        let config = CONFIG.replace(":5060", ":5070");
        std::fs::write(desk.place.path().join("ringfort.toml"), config).unwrap();
        desk.ok("firewall apply --within 1");
        assert!(first().contains("dport 5070") && !first().contains("dport 5060"));
        wait_for("the way back", || first().contains("dport 5060"));
        assert!(!first().contains("dport 5070"));
        // Longer than the first one's time.
        let end = now() + Duration::from_millis(1500);
        wait_for("time to pass", || now() > end);
        assert!(first().contains("dport 5060") && first().contains("policy drop"));
    });
}

#[test]
fn rules_never_shut_out_the_ssh_connection_that_they_come_from_unless_forced() {
    let Some(pair) = Pair::new() else { return };
    let desk = Desk::new(CONFIG);
    pair.inside(|| {
        let by_ssh = |line: &str, port: u16| {
            let value = format!("203.0.113.10 51000 203.0.113.1 {port}");
            let output = desk.command(line).env("SSH_CONNECTION", value).output().unwrap();
            (output.status.success(), text(&output.stderr))
        };
        let (done, said) = by_ssh("firewall apply", 2200);
        assert!(!done && said.contains("203.0.113.10 to port 2200") && said.contains("--force"), "{said}");
        assert_eq!(pair.nft("list tables"), "", "nothing was changed");
        // As under sudo: the variable is gone, but the shell above still has it.
        let mut shell = Command::new("/bin/sh");
        let inner = desk.command("firewall apply");
        let words: Vec<_> =
            std::iter::once(inner.get_program()).chain(inner.get_args()).map(|w| w.to_owned()).collect();
        shell.args(["-c", "env -u SSH_CONNECTION \"$@\"; exit $?", "sh"]).args(words).current_dir(desk.place.path());
        let output = shell.env("SSH_CONNECTION", "203.0.113.10 51000 203.0.113.1 2200").output().unwrap();
        assert!(text(&output.stderr).contains("would shut out"), "{}", text(&output.stderr));
        assert!(by_ssh("firewall apply", 2222).0);
        desk.ok("firewall remove");
        assert!(by_ssh("firewall apply --force", 2200).0);
        desk.ok("firewall remove");
    });
}

#[test]
fn the_printed_file_is_what_nft_takes_as_often_as_it_is_given() {
    let Some(pair) = Pair::new() else { return };
    let desk = Desk::new(&format!("{CONFIG}ssh_per_minute = 5\nweb = [\"80\"]\nopen = [\"udp:60000-60100\"]\n"));
    let file = desk.ok("firewall print");
    assert!(file.starts_with("#!/usr/sbin/nft -f\n# Made from ringfort.toml"), "{file}");
    pair.inside(|| {
        let path = desk.place.path().join("rules.nft");
        std::fs::write(&path, &file).unwrap();
        let checked = Command::new("nft").args(["-c", "-f"]).arg(&path).output().unwrap();
        assert!(checked.status.success(), "{}\n{file}", text(&checked.stderr));
        pair.feed(&file);
        pair.nft("add element inet ringfort banned4 { 203.0.113.66 }");
        let once = pair.nft("list ruleset");
        pair.feed(&file);
        assert_eq!(pair.nft("list ruleset"), once, "the second time changes nothing: bans are still there");

        // Five new connections a minute, and the sixth is dropped; another host is not counted with it.
        let _ssh = TcpListener::bind(("0.0.0.0", 22)).unwrap();
        let tries: Vec<bool> = (0..7).map(|_| connects(&pair, 22)).collect();
        assert_eq!(tries.iter().filter(|done| **done).count(), 5, "{tries:?}");
    });
    let value: serde_json::Value = serde_json::from_str(&desk.ok("firewall print --json")).unwrap();
    assert_eq!(value["text"], file.as_str());
    assert_eq!(value["items"][0]["what"], "secure shell");
}

#[test]
fn without_the_right_apply_says_what_is_missing() {
    let Some(pair) = Pair::new() else { return };
    let desk = Desk::new(CONFIG);
    pair.inside(|| {
        let inner = desk.command("firewall apply");
        let output = Command::new("setpriv")
            .args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(desk.place.path())
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert!(
            !output.status.success() && said.contains("lacks CAP_NET_ADMIN") && said.contains("run as root"),
            "{said}"
        );
    });
    std::fs::remove_file(desk.place.path().join("ringfort.toml")).unwrap();
    if !std::path::Path::new("/etc/ringfort/ringfort.toml").exists() {
        assert!(desk.fails("firewall print").contains("name the configuration with --config FILE"));
    }
}

/// `ringfort run` in the host's network, until it has said that it is ready.
fn run(desk: &Desk, before: &[&str]) -> (std::process::Child, String) {
    let inner = desk.place.command("run");
    let words = before.iter().map(std::ffi::OsStr::new).chain([inner.get_program()]).chain(inner.get_args());
    let words: Vec<_> = words.collect();
    let log = desk.place.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(desk.place.path()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut server = command.spawn().unwrap();
    wait_for("the start", || {
        std::fs::read_to_string(&log).unwrap().contains("ready") || server.try_wait().unwrap().is_some()
    });
    (server, std::fs::read_to_string(log).unwrap())
}

#[test]
fn a_server_has_its_table_from_the_start_and_goes_on_without_the_right() {
    let Some(pair) = Pair::new() else { return };
    let desk = Desk::new(
        "[[profile]]\nname = \"a\"\nlisten = [\"udp:203.0.113.1:5060\"]\n[http]\nlisten = \"127.0.0.1:9099\"\n",
    );
    let stop = |mut server: std::process::Child| {
        server.kill().unwrap();
        server.wait().unwrap();
    };
    pair.inside(|| {
        let (server, log) = run(&desk, &[]);
        assert!(
            pair.nft("list tables").contains("inet ringfort") && log.contains("bans are in the kernel too"),
            "{log}"
        );
        assert!(desk.place.page("/metrics").contains("\nringfort_kernel_bans_active 1\n"));
        stop(server);
        pair.nft("delete table inet ringfort");

        let without = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
        let (server, log) = run(&desk, &without);
        for words in [
            "bans are not in the kernel",
            "lacks CAP_NET_ADMIN",
            "go on in this process",
            "AmbientCapabilities=CAP_NET_ADMIN",
            "ready",
        ] {
            assert!(log.contains(words), "{words} in {log}");
        }
        assert!(desk.place.page("/metrics").contains("\nringfort_kernel_bans_active 0\n"));
        stop(server);

        let config = std::fs::read_to_string(desk.place.path().join("ringfort.toml")).unwrap();
        std::fs::write(desk.place.path().join("ringfort.toml"), format!("{config}[guard]\nnftables = \"on\"\n"))
            .unwrap();
        let (mut server, log) = run(&desk, &without);
        assert!(!server.wait().unwrap().success(), "it must not start");
        assert!(log.contains("nftables = \"on\"") && !log.contains("ready"), "{log}");
        assert_eq!(pair.nft("list ruleset"), "");
    });
}

#[test]
fn an_attackers_ban_goes_to_the_kernel_and_comes_back_with_the_server() {
    let Some(pair) = Pair::new() else { return };
    let mut config = String::from(
        "[[profile]]\nname = \"a\"\nkind = \"internal\"\nlisten = [\"udp:203.0.113.1:5060\", \"udp:[2001:db8:0:1::1]:5060\", \"tcp:203.0.113.1:5060\"]\n",
    );
    config.push_str("[http]\nlisten = \"127.0.0.1:9099\"\n[guard]\nnftables = \"on\"\n");
    let desk = Desk::new(&config);
    let stop = |mut server: std::process::Child| {
        server.kill().unwrap();
        server.wait().unwrap();
    };
    let banned = || pair.nft("list table inet ringfort");
    pair.inside(|| {
        let other = pair.listen_on(7000);
        let (server, log) = run(&desk, &[]);
        assert!(log.contains("ready"), "{log}");

        // Five requests that cannot be read, by TCP, which proves where they come from.
        let start = now();
        pair.outside(|| {
            use std::io::{Read as _, Write as _};
            for _ in 0..5 {
                let from: std::net::SocketAddr = (pair.attacker4.parse::<std::net::IpAddr>().unwrap(), 0).into();
                let mut stream = connect_from(from, ([203, 0, 113, 1], 5060).into());
                stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let _ = stream.write_all(b"INVITE nonsense\r\nContent-Length: 0\r\n\r\n");
                // Closed, answered or silent: whatever comes of it.
                let _ = stream.read(&mut [0; 500]);
            }
        });
        wait_for("the attacker's ban in the kernel", || banned().contains(pair.attacker4));
        println!("five offences and the ban in the kernel: {:?}", now() - start);
        assert!(!pair.reaches(&other, pair.attacker4), "dropped for every port, not for ours alone");
        assert!(pair.reaches(&other, pair.good4));

        // An operator's ban, and the time from the command to the kernel.
        let start = now();
        desk.place.ok(&format!("ctl guard ban {} --for 1h", pair.attacker6));
        wait_for("the ban by hand", || banned().contains("2001:db8:0:1::"));
        println!("ctl to kernel, the command's start included: {:?}", now() - start);
        assert!(!pair.reaches(&other, pair.good6), "the whole /64");
        desk.place.ok(&format!("ctl guard allow {}/128", pair.good6));
        wait_for("the exception", || banned().contains(pair.good6));
        assert!(pair.reaches(&other, pair.good6) && !pair.reaches(&other, pair.attacker6));

        // Killed: the kernel keeps them. Started: the server tells them again, also after somebody took them away.
        stop(server);
        assert!(!pair.reaches(&other, pair.attacker4));
        desk.ok("firewall remove-bans");
        assert!(pair.reaches(&other, pair.attacker4));
        let (server, _) = run(&desk, &[]);
        wait_for("the bans after the restart", || banned().contains(pair.attacker4) && banned().contains(pair.good6));
        assert!(!pair.reaches(&other, pair.attacker4) && !pair.reaches(&other, pair.attacker6));
        assert!(pair.reaches(&other, pair.good6));

        desk.place.ok(&format!("ctl guard unban {}", pair.attacker4));
        wait_for("the pardon", || !banned().contains(pair.attacker4));
        assert!(pair.reaches(&other, pair.attacker4));
        // The figure follows the kernel's change: the enforcer counts what it has done.
        wait_for("the figure of it", || desk.place.page("/metrics").contains("\nringfort_kernel_bans 1\n"));
        stop(server);
    });
}

/// A connection from that address: the standard library has no such call.
fn connect_from(from: std::net::SocketAddr, to: std::net::SocketAddr) -> TcpStream {
    use std::os::fd::FromRawFd as _;
    let (std::net::SocketAddr::V4(from), std::net::SocketAddr::V4(to)) = (from, to) else { panic!("IPv4") };
    let raw = |address: &std::net::SocketAddrV4| libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    };
    let (from, to) = (raw(&from), raw(&to));
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: both structures live through their calls, and the descriptor has no other owner.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0);
        let stream = TcpStream::from_raw_fd(socket);
        assert_eq!(libc::bind(socket, (&raw const from).cast(), length), 0);
        assert_eq!(libc::connect(socket, (&raw const to).cast(), length), 0);
        stream
    }
}
