//! Two network namespaces with a cable between them, named after this process, and gone at the end of the test.

#![allow(dead_code, reason = "two test programs share this, and neither uses all of it")]

use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 5060;

#[allow(clippy::disallowed_methods, reason = "waits for the kernel, in real time")]
pub fn now() -> Instant {
    Instant::now()
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = now();
    while !done() {
        assert!(now() - start < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The host with the enforcer, and the network that others come from.
pub struct Pair {
    host: String,
    peer: String,
    pub attacker4: &'static str,
    pub good4: &'static str,
    pub attacker6: &'static str,
    pub good6: &'static str,
}

impl Pair {
    /// `None`: not as root, or a program is missing; it has been said.
    pub fn new() -> Option<Self> {
        let programs = ["ip", "nft", "setpriv"];
        let missing = programs.iter().find(|name| {
            !["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(name).is_file())
        });
        let root = run("id", &["-u"]).trim() == "0";
        let why = match missing {
            Some(name) => format!("{name} is not installed"),
            None if !root => "this is not root, and network namespaces are to be made".to_owned(),
            None => return Some(Self::make()),
        };
        let required = std::env::var("RINGFORT_TEST_PROGRAMS").is_ok_and(|value| value == "required");
        assert!(!required, "{why}, and RINGFORT_TEST_PROGRAMS=required");
        println!("skipped: {why}");
        None
    }

    fn make() -> Self {
        // What says nothing of its own address comes from the first.
        // Each test is a process of its own under nextest; a counter keeps those of one process apart.
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("rf{}-{count}", std::process::id());
        let pair = Pair {
            host: format!("{name}-h"),
            peer: format!("{name}-p"),
            attacker4: "203.0.113.66",
            good4: "203.0.113.10",
            attacker6: "2001:db8:0:1::66",
            good6: "2001:db8:0:1::10",
        };
        let (host, peer) = (pair.host.as_str(), pair.peer.as_str());
        let on = |name: &str, words: &str| {
            let words: Vec<&str> = ["-n", name].into_iter().chain(words.split(' ')).collect();
            run("ip", &words);
        };
        run("ip", &["netns", "add", host]);
        run("ip", &["netns", "add", peer]);
        on(host, "link set lo up");
        on(host, &format!("link add here type veth peer name there netns {peer}"));
        on(host, "address add 203.0.113.1/24 dev here");
        on(host, "address add 2001:db8:0:1::1/64 dev here nodad");
        on(host, "link set here up");
        for address in [pair.good4, pair.attacker4] {
            on(peer, &format!("address add {address}/24 dev there"));
        }
        for address in [pair.good6, pair.attacker6] {
            on(peer, &format!("address add {address}/64 dev there nodad"));
        }
        on(peer, "link set there up");
        pair
    }

    /// Runs it in the host's network: on a thread that has entered it, with all threads and programs that it starts.
    pub fn inside(&self, work: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&self.host);
                work();
            });
            if let Err(panic) = inside.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    /// A command of nft in the host's network; what it said, empty where it failed.
    pub fn nft(&self, words: &str) -> String {
        let words = ["netns", "exec", &self.host, "nft"].into_iter().chain(words.split(' '));
        let output = Command::new("ip").args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn feed(&self, script: &str) {
        let words = ["netns", "exec", &self.host, "nft", "-f", "-"];
        let mut nft = Command::new("ip").args(words).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success());
    }

    /// A program in the host's network under another one that takes rights away; what both said.
    pub fn run(&self, under: &str, options: &[&str], program: &Path, words: &[&str]) -> String {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.host, under])
            .args(options)
            .arg(program)
            .args(words)
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// To be called inside.
    pub fn listen(&self) -> UdpSocket {
        self.listen_on(PORT)
    }

    pub fn listen_on(&self, port: u16) -> UdpSocket {
        let socket = UdpSocket::bind(("::", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket
    }

    /// Whether a datagram from that address of the other network comes in.
    pub fn reaches(&self, socket: &UdpSocket, from: &str) -> bool {
        let to = if from.contains(':') { "2001:db8:0:1::1" } else { "203.0.113.1" };
        self.outside(|| {
            let sender = UdpSocket::bind((from, 0)).unwrap();
            let to = SocketAddr::new(to.parse().unwrap(), socket.local_addr().unwrap().port());
            sender.send_to(b"OPTIONS", to).unwrap();
        });
        socket.recv_from(&mut [0; 100]).is_ok()
    }
}

impl Pair {
    /// The same on a thread in the other network.
    pub fn outside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let outside = scope.spawn(|| {
                enter(&self.peer);
                work()
            });
            outside.join().unwrap()
        })
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in [&self.host, &self.peer] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

fn enter(name: &str) {
    use std::os::fd::AsRawFd as _;
    let file = std::fs::File::open(format!("/run/netns/{name}")).unwrap();
    // SAFETY: the descriptor is open for the time of the call, which keeps no memory of ours.
    let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
}

fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {complaint}", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}
