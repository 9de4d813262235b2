//! The system itself: built once, started with a configuration of its own, asked by `ctl`.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::place::Place;
use crate::process::{Running, wait_for};

/// The domain of all tests.
pub const DOMAIN: &str = "pbx.example";

/// An extension of a test.
#[derive(Clone, Debug)]
pub struct Extension {
    pub number: String,
    pub user: String,
    pub password: String,
    /// Value of `srtp`, where it is not the default.
    pub srtp: Option<&'static str>,
    /// More lines of it.
    pub keys: &'static str,
}

impl Extension {
    /// Extension `number` with credentials made of it.
    pub fn new(number: &str) -> Self {
        // Credentials may not contain the number (CALL-3): its digits become letters.
        let word: String = number.bytes().map(|digit| char::from(b'k' + digit % 10)).collect();
        Self {
            number: number.to_owned(),
            user: format!("line-{word}-vqz"),
            password: format!("Lantern-{word}-Orchard-57xW"),
            srtp: None,
            keys: "",
        }
    }
}

/// What a test wants of the system.
#[derive(Clone, Debug)]
pub struct Options {
    /// `udp:ADDRESS:PORT` and so on, with `{}` for the system's address.
    pub listen: Vec<String>,
    /// Address of SIP and media; the place's first one where `None`.
    pub ip: Option<IpAddr>,
    pub digest: Vec<&'static str>,
    pub extensions: Vec<Extension>,
    /// `max_calls` of every extension, where it is not the default.
    pub max_calls: Option<u32>,
    /// More lines of `ringfort.toml`.
    pub extra: String,
    /// More objects of `site.toml`.
    pub site: String,
    pub domain: &'static str,
    /// A program that starts it, with arguments.
    pub under: &'static [&'static str],
    /// Names its files, where a place has several systems.
    pub name: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: vec!["udp:{}:5060".to_owned(), "tcp:{}:5060".to_owned()],
            ip: None,
            digest: vec!["MD5"],
            extensions: ["101", "102", "103"].map(Extension::new).to_vec(),
            max_calls: None,
            extra: String::new(),
            site: String::new(),
            domain: DOMAIN,
            under: &[],
            name: "ringfort",
        }
    }
}

/// The running system.
pub struct Ringfort {
    process: Running,
    binary: PathBuf,
    data: PathBuf,
    ip: IpAddr,
    extensions: Vec<Extension>,
    config: PathBuf,
    listen: Vec<String>,
}

/// Builds the binary where it is not up to date and says where it is.
pub fn binary() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("RINGFORT_BIN") {
        return Ok(given.into());
    }
    let output = Command::new(env!("CARGO"))
        .args(["build", "--package", "ringfort", "--message-format=json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo build --package ringfort failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "ringfort")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo build named no executable")
}

fn spawn(under: &[&str], binary: &Path, config: &Path, data: &Path, log: &Path) -> anyhow::Result<Running> {
    let mut command = match under {
        [] => Command::new(binary),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
    };
    command.arg("run").arg("--config").arg(config).arg("--data").arg(data);
    Running::start("ringfort", &mut command, log)
}

impl Ringfort {
    /// Starts the system in a place and waits until it answers OPTIONS.
    pub fn start(place: &Place, options: Options) -> anyhow::Result<Self> {
        let binary = binary()?;
        let ip = options.ip.unwrap_or_else(|| place.ip(0));
        let data = place.path(&format!("{}-data", options.name));
        std::fs::create_dir_all(&data)?;
        let config = place.write(&format!("{}.toml", options.name), &config(&options, ip, &data))?;
        let text = site(&options.extensions, options.max_calls) + &options.site;
        let site = place.write(&format!("{}-site.toml", options.name), &text)?;
        let process = spawn(options.under, &binary, &config, &data, &place.path(&format!("{}.log", options.name)))?;
        let extensions = options.extensions;
        let mut system = Self { process, binary, data, ip, extensions, config, listen: options.listen };
        system.wait_ready()?;
        let applied = system.command().arg("apply").arg("-f").arg(&site).arg("--data").arg(&system.data).output()?;
        if !applied.status.success() {
            bail!(
                "apply failed: {}{}\n{}",
                String::from_utf8_lossy(&applied.stdout),
                String::from_utf8_lossy(&applied.stderr),
                system.process.said()
            );
        }
        Ok(system)
    }

    /// Kills it (SIGKILL) and starts it again on what it has left behind.
    pub fn crash_and_restart(mut self, place: &Place) -> anyhow::Result<Self> {
        self.process.kill()?;
        self.process = spawn(&[], &self.binary, &self.config, &self.data, &place.path("restarted.log"))?;
        self.wait_ready()?;
        Ok(self)
    }

    fn command(&self) -> Command {
        Command::new(&self.binary)
    }

    /// Waits for an answer to OPTIONS on the first UDP listener, and for the control socket.
    fn wait_ready(&mut self) -> anyhow::Result<()> {
        let udp = self.listen.iter().find_map(|listener| listener.strip_prefix("udp:")).context("no UDP listener")?;
        let port: u16 = udp.rsplit(':').next().unwrap_or_default().parse().context("no port")?;
        let server = SocketAddr::new(self.ip, port);
        let socket = UdpSocket::bind(SocketAddr::new(self.ip, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let own = socket.local_addr()?;
        let mut tries = 0;
        wait_for("ringfort to answer OPTIONS", Duration::from_secs(20), || {
            tries += 1;
            let request = format!(
                "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKready{tries};rport\r\n\
                 From: <sip:ready@{DOMAIN}>;tag=ready{tries}\r\nTo: <sip:{DOMAIN}>\r\nCall-ID: ready{tries}\r\n\
                 CSeq: {tries} OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            );
            // Refused while nobody listens yet.
            let _ = socket.send_to(request.as_bytes(), server);
            let mut answer = [0; 2048];
            if socket.recv(&mut answer).is_ok_and(|len| answer[..len].starts_with(b"SIP/2.0 200")) {
                return Ok(Some(()));
            }
            match self.process.ended()? {
                Some(status) => bail!("ringfort ended ({status}):\n{}", self.process.said()),
                None => Ok(None),
            }
        })
        .with_context(|| format!("ringfort said:\n{}", self.process.said()))?;
        wait_for("the control socket", Duration::from_secs(10), || Ok(self.ctl(&["status"]).ok()))?;
        Ok(())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The extension with that number.
    pub fn extension(&self, number: &str) -> &Extension {
        self.extensions.iter().find(|extension| extension.number == number).expect("the test made the extension")
    }

    /// `ctl … --json`
    pub fn ctl(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.command().arg("ctl").args(arguments).arg("--json").arg("--data").arg(&self.data).output()?;
        if !output.status.success() {
            bail!("ctl {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("ctl {arguments:?} wrote no JSON: {}", String::from_utf8_lossy(&output.stdout)))
    }

    /// The items of a list that `ctl` prints.
    pub fn items(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let value = self.ctl(arguments)?;
        value["items"].as_array().cloned().with_context(|| format!("ctl {arguments:?} has no items: {value}"))
    }

    /// Waits until that many call detail records are written, and gives the latest ones.
    pub fn records(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        wait_for("call detail records", Duration::from_secs(5), || {
            let items = self.items(&["cdr", "--limit", "50"])?;
            Ok((items.len() >= count).then_some(items))
        })
    }

    /// Waits until no call is left.
    pub fn wait_idle(&self) -> anyhow::Result<()> {
        wait_for("no call to be left", Duration::from_secs(10), || Ok(self.items(&["calls"])?.is_empty().then_some(())))
    }

    /// Waits until an extension has that many contacts.
    pub fn wait_registered(&self, number: &str, contacts: usize) -> anyhow::Result<()> {
        wait_for(&format!("{contacts} contacts of {number}"), Duration::from_secs(15), || {
            let items = self.items(&["registrations"])?;
            let found = items.iter().filter(|item| item["number"] == number).count();
            Ok((found >= contacts).then_some(()))
        })
    }

    /// The certificate that it made for itself.
    pub fn certificate(&self) -> PathBuf {
        self.data.join("self-signed.crt")
    }

    /// What `ctl` prints for people.
    pub fn ctl_text(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command().arg("ctl").args(arguments).arg("--data").arg(&self.data).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.said()
    }

    /// Stops it in order.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let status = self.process.terminate(Duration::from_secs(15))?;
        if !status.success() {
            bail!("ringfort ended with {status}:\n{}", self.process.said());
        }
        Ok(())
    }
}

impl Drop for Ringfort {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("RINGFORT_KEEP").is_some() {
            println!("--- ringfort said:\n{}", crate::process::tail(&self.process.said()));
        }
    }
}

/// An address as it stands before a port.
pub fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn config(options: &Options, ip: IpAddr, data: &Path) -> String {
    let listen: Vec<String> =
        options.listen.iter().map(|listener| format!("{:?}", listener.replace("{}", &bracketed(ip)))).collect();
    let media = if ip.is_ipv4() { "address" } else { "address_v6" };
    let digest: Vec<String> = options.digest.iter().map(|algorithm| format!("{algorithm:?}")).collect();
    format!(
        "domains = [{:?}]\ndata_dir = {:?}\n{}\n\n[[profile]]\nname = \"phones\"\nkind = \"internal\"\n\
         listen = [{}]\ndigest = [{}]\n\n[media]\n{media} = \"{ip}\"\nports = \"20000-20999\"\n",
        options.domain,
        data.display().to_string(),
        options.extra,
        listen.join(", "),
        digest.join(", ")
    )
}

fn site(extensions: &[Extension], max_calls: Option<u32>) -> String {
    let mut text = String::new();
    for extension in extensions {
        let Extension { number, user, password, srtp, keys } = extension;
        let _ = write!(
            text,
            "[[extension]]\nnumber = {number:?}\nname = \"Desk {number}\"\nsip_user = {user:?}\n\
             sip_password = {password:?}\n"
        );
        if let Some(max_calls) = max_calls {
            let _ = writeln!(text, "max_calls = {max_calls}");
        }
        if let Some(srtp) = srtp {
            let _ = writeln!(text, "srtp = {srtp:?}");
        }
        text.push_str(keys);
        text.push('\n');
    }
    text
}
