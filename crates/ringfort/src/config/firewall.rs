//! What the packet filter of this machine is told: bans in the kernel (`[guard] nftables`), and the rule set that
//! `ringfort firewall` makes (`[firewall]`).

use std::fmt;

use super::reader::{At, Table};
use super::{of, unique};

/// How bans reach the kernel (GUARD-7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelBans {
    pub mode: KernelMode,
    /// Whether they go when the server stops; otherwise they stay there until they end.
    pub remove_at_stop: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelMode {
    /// Where the process may, and something outside this machine can reach a listener.
    Auto,
    /// No start without it.
    On,
    Off,
}

/// What is accepted beside the listeners (DOM-7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// Ports of secure shell.
    pub ssh: Vec<u16>,
    /// New connections to them, per source and minute. 0: any number.
    pub ssh_per_minute: u32,
    /// TCP ports of web servers on this machine.
    pub web: Vec<u16>,
    /// STUN and TURN, UDP and TCP.
    pub stun: Vec<u16>,
    pub open: Vec<Opening>,
}

/// Anything else that is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub tcp: bool,
    pub first: u16,
    pub last: u16,
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.tcp { "tcp" } else { "udp" };
        write!(f, "{protocol}:{}", self.first)?;
        if self.last > self.first { write!(f, "-{}", self.last) } else { Ok(()) }
    }
}

pub(super) fn kernel_bans(guard: &mut Table<'_, '_>) -> KernelBans {
    let modes = [("auto", KernelMode::Auto), ("on", KernelMode::On), ("off", KernelMode::Off)];
    KernelBans {
        mode: guard.choice("nftables", &modes).unwrap_or(KernelMode::Auto),
        remove_at_stop: guard.choice("nftables_at_stop", &[("keep", false), ("remove", true)]).unwrap_or(false),
    }
}

pub(super) fn firewall(table: &mut Table<'_, '_>) -> Firewall {
    let mut ports = |key: &'static str, default: &[u16]| {
        let found = table.list(key, "a port such as \"22\"", port);
        found.map_or_else(|| default.to_vec(), |ports| ports.into_iter().map(of).collect())
    };
    let (ssh, web, stun) = (ports("ssh", &[22]), ports("web", &[80, 443]), ports("stun", &[3478, 5349]));
    let open: Vec<At<Opening>> =
        table.list("open", "\"tcp:PORT\", \"udp:PORT\" or \"udp:FIRST-LAST\"", opening).unwrap_or_default();
    unique(table, &open, ToString::to_string, "is named twice");
    Firewall {
        ssh,
        ssh_per_minute: table.integer("ssh_per_minute", "a number", 0..=1000).map_or(0, of),
        web,
        stun,
        open: open.into_iter().map(of).collect(),
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        Ok(0) | Err(_) => Err(String::new()),
    }
}

fn opening(text: &str) -> Result<Opening, String> {
    let (protocol, ports) = text.split_once(':').ok_or_else(String::new)?;
    let tcp = match protocol {
        "tcp" => true,
        "udp" => false,
        _ => return Err(format!("{protocol:?} is neither tcp nor udp")),
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (port(first)?, port(last)?);
    if first > last { Err("the first port is above the last".into()) } else { Ok(Opening { tcp, first, last }) }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn what_is_opened_is_read_with_its_mistakes() {
        let read = |text: &str| Config::parse("t", &format!("[firewall]\n{text}")).map(|config| config.firewall);
        let firewall =
            read("ssh = [\"22\", \"2222\"]\nopen = [\"udp:500\", \"tcp:8000-8010\"]\nweb = [\"443\"]").unwrap();
        assert_eq!((firewall.ssh, firewall.web, firewall.stun), (vec![22, 2222], vec![443], vec![3478, 5349]));
        assert_eq!(firewall.open.iter().map(ToString::to_string).collect::<Vec<_>>(), ["udp:500", "tcp:8000-8010"]);
        for (text, says) in [
            ("ssh = [\"0\"]", "expected a port such as \"22\""),
            ("ssh = [22]", "expected a port such as \"22\""),
            ("open = [\"500\"]", "expected \"tcp:PORT\""),
            ("open = [\"sctp:5\"]", "\"sctp\" is neither tcp nor udp"),
            ("open = [\"udp:9-8\"]", "the first port is above the last"),
            ("open = [\"udp:9\", \"udp:9\"]", "\"udp:9\" is named twice"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{says} in {error}");
        }
    }

    #[test]
    fn bans_are_in_the_kernel_where_that_is_possible_unless_something_else_is_said() {
        let read = |text: &str| Config::parse("t", &format!("[guard]\n{text}")).unwrap().guard.kernel;
        assert_eq!(read(""), KernelBans { mode: KernelMode::Auto, remove_at_stop: false });
        let said = read("nftables = \"on\"\nnftables_at_stop = \"remove\"");
        assert_eq!(said, KernelBans { mode: KernelMode::On, remove_at_stop: true });
    }
}
