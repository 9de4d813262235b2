//! Hosts with networks of their own: a network namespace for each, all on one virtual switch, gone at the end of the test. What is
//! started inside one has its addresses and nobody else's.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The hosts of a test.
pub struct Network {
    switch: String,
    hosts: Vec<String>,
}

impl Network {
    /// Makes one host for each list of addresses (`203.0.113.1/24`, `2001:db8::1/64`). `None`: not as root, and it has been said.
    pub fn new(hosts: &[&[&str]]) -> anyhow::Result<Option<Network>> {
        if !rustix::process::geteuid().is_root() {
            let required = std::env::var("RINGFORT_TEST_PROGRAMS").is_ok_and(|value| value == "required");
            assert!(!required, "network namespaces need root, and RINGFORT_TEST_PROGRAMS=required");
            println!("skipped: network namespaces need root");
            return Ok(None);
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Each test is a process of its own under nextest; the counter keeps those of one process apart.
        let name = format!("rfi{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut network = Network { switch: format!("{name}s"), hosts: Vec::new() };
        let switch = network.switch.clone();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "hub", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "hub", "up"])?;
        for (index, addresses) in hosts.iter().enumerate() {
            let host = format!("{name}h{index}");
            ip(&["netns", "add", &host])?;
            network.hosts.push(host.clone());
            let port = format!("port{index}");
            ip(&["-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &host])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "hub", "up"])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
            for address in *addresses {
                let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
                ip(&[&["-n", &host, "address", "add", address, "dev", "eth0"], nodad].concat())?;
            }
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
        }
        Ok(Some(network))
    }

    /// Does something on a host: on a thread that has entered it, with all programs that it starts.
    pub fn on<T: Send>(&self, host: usize, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        let path = format!("/run/netns/{}", self.hosts[host]);
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let namespace = File::open(&path).with_context(|| format!("no namespace {path}"))?;
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot enter {path}"))?;
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What a program says on a host.
    pub fn output(&self, host: usize, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        self.on(host, || {
            let output =
                Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.hosts.iter().chain([&self.switch]) {
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("cannot run ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
