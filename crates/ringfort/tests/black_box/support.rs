//! A server process in a folder of its own, and a phone made of one UDP socket.

use std::ffi::OsString;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_phone::{Phone, PhoneConfig};
use ringfort_sip::digest::Credentials;
use ringfort_sip::endpoint::ListenerInfo;
use ringfort_sip::flow::{Flow, ListenerId, Target, Transport};
use ringfort_sip::message::{Limits, Message};
use serde_json::Value;
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ringfort");
/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a configuration on free ports; the server is killed with it.
pub struct Place {
    pub dir: TempDir,
    server: Option<Child>,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        // Tests run in processes of their own, several at once: each has a range of ports for itself.
        let first = 12_000 + std::process::id() % 400 * 50;
        let config = format!(
            "[[profile]]\nname = \"phones\"\nkind = \"internal\"\n\
             listen = [\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\", \"tls:127.0.0.1:0\"]\n\
             [media]\nports = \"{first}-{}\"\n[http]\nlisten = \"127.0.0.1:0\"\n[calls]\ndrain_for = \"1s\"\n",
            first + 39
        );
        std::fs::write(dir.path().join("ringfort.toml"), config).unwrap();
        Place { dir, server: None }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(line.split(' ')).current_dir(self.path()).env_remove("RINGFORT_DATA").stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Its standard output; it has to succeed.
    pub fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).unwrap()
    }

    /// Its standard error; it has to fail.
    pub fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(1), "{line}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// Starts the server and waits until it answers.
    pub fn start(&mut self) {
        let log = std::fs::File::create(self.path().join("log")).unwrap();
        let server = self.command("run").stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.server = Some(server);
        let end = now() + PATIENCE;
        while !self.run("ctl status").status.success() {
            let exited = self.server.as_mut().and_then(|server| server.try_wait().unwrap());
            assert!(exited.is_none() && now() < end, "the server does not start: {}", self.log());
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Sends a signal and waits for the exit status.
    pub fn stop_by(&mut self, signal: &str) -> Option<i32> {
        let mut server = self.server.take().unwrap();
        let sent = Command::new("kill").args([signal, &server.id().to_string()]).status().unwrap();
        assert!(sent.success());
        server.wait().unwrap().code()
    }

    pub fn signal(&self, signal: &str) {
        let id = self.server.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub fn wait(&mut self) -> Option<i32> {
        self.server.take().unwrap().wait().unwrap().code()
    }

    /// Where the server listens by UDP.
    pub fn udp(&self) -> SocketAddr {
        let status = self.json("ctl status --json");
        let listeners = status["listeners"].as_array().unwrap();
        listeners.iter().find(|listener| listener["transport"] == "udp").unwrap()["local"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// A page of the HTTP port: the whole answer.
    pub fn page(&self, path: &str) -> String {
        use std::io::{Read as _, Write as _};
        let address = self.json("ctl status --json")["http"].as_str().unwrap().to_owned();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It may have ended by itself.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Registers a phone for an extension and leaves it registered.
pub fn register(place: &Place, number: &str) {
    let shown = place.json(&format!("ctl extension show {number} --secrets --json"));
    let part = |key: &str| shown[key].as_str().unwrap().to_owned();
    let server = place.udp();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let local = socket.local_addr().unwrap();
    let listener =
        ListenerInfo { id: ListenerId(0), transport: Transport::Udp, local, advertised: local.into(), inside: None };
    let target =
        Target::Connect { transport: Transport::Udp, listener: ListenerId(0), remote: server, server_name: None };
    let config = PhoneConfig {
        credentials: Some(Credentials { realm: None, user: part("sip_user"), password: part("sip_password") }),
        ..PhoneConfig::new(&part("sip_user"), &part("domain"), target, listener)
    };
    let mut phone = Phone::new(config, 7);
    phone.register(now()).unwrap();
    let end = now() + PATIENCE;
    let mut buffer = vec![0; 65_536];
    while !phone.is_registered() {
        assert!(now() < end, "not registered: {:?}", phone.poll_event());
        while let Some(transmit) = phone.poll_transmit() {
            socket.send_to(&transmit.payload, server).unwrap();
        }
        if let Ok((len, remote)) = socket.recv_from(&mut buffer) {
            let flow = Flow { transport: Transport::Udp, listener: ListenerId(0), conn: None, local, remote };
            let message = Message::parse_datagram(Bytes::copy_from_slice(&buffer[..len]), &Limits::default()).unwrap();
            phone.handle_message(now(), message, flow);
        }
        phone.handle_timeout(now());
    }
}

#[allow(clippy::disallowed_methods, reason = "processes take real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The path with what `scripts/setup.sh` installs for tests before the rest; `None` where one of the programs is nowhere, which is said.
pub fn path_with(programs: &[&str]) -> Option<OsString> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let tools = cache.map(|cache| cache.join("ringfort/python/bin"));
    let inherited = std::env::var_os("PATH").unwrap();
    let folders: Vec<_> = tools.into_iter().chain(std::env::split_paths(&inherited)).collect();
    let missing = programs.iter().find(|name| !folders.iter().any(|folder| folder.join(name).is_file()));
    let Some(missing) = missing else { return Some(std::env::join_paths(folders).unwrap()) };
    let required = std::env::var("RINGFORT_TEST_PROGRAMS").is_ok_and(|value| value == "required");
    assert!(!required, "{missing} is not installed, and RINGFORT_TEST_PROGRAMS=required");
    println!("skipped: {missing} is not installed");
    None
}
