//! The SSH connection that a command is given on. `sudo` takes `SSH_CONNECTION` out of the environment, so that the
//! processes above are asked as well.

use std::fs;

const VARIABLE: &str = "SSH_CONNECTION";
/// From the command up to the session's first process.
const MOST_PARENTS: usize = 64;

/// Where the other end is, and the port of ours that it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub from: String,
    pub port: u16,
}

/// `None`: there is none, as far as can be seen.
pub fn connection() -> Option<Connection> {
    if let Ok(value) = std::env::var(VARIABLE) {
        return parse(&value);
    }
    let mut process = std::process::id();
    for _ in 0..MOST_PARENTS {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        process = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
        if process <= 1 {
            return None;
        }
        // One that may not be read is passed by: the one above it may be.
        let Ok(environment) = fs::read(format!("/proc/{process}/environ")) else { continue };
        if let Some(connection) = in_environment(&environment) {
            return Some(connection);
        }
    }
    None
}

fn in_environment(octets: &[u8]) -> Option<Connection> {
    let mut variables = octets.split(|octet| *octet == 0).filter_map(|variable| std::str::from_utf8(variable).ok());
    variables.find_map(|variable| parse(variable.strip_prefix(VARIABLE)?.strip_prefix('=')?))
}

/// `198.51.100.7 51234 192.0.2.1 22`
fn parse(value: &str) -> Option<Connection> {
    let [from, _, _, port] = value.split(' ').collect::<Vec<_>>()[..] else { return None };
    Some(Connection { from: from.parse::<std::net::IpAddr>().ok()?.to_string(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_is_found_in_an_environment() {
        let found = in_environment(b"HOME=/root\0SSH_CONNECTION=198.51.100.7 51234 192.0.2.1 2222\0X=\xff\0");
        assert_eq!(found, Some(Connection { from: "198.51.100.7".into(), port: 2222 }));
        for other in ["SSH_CONNECTION=", "SSH_CONNECTION=a b c d", "OLD_SSH_CONNECTION=198.51.100.7 1 192.0.2.1 22"] {
            assert_eq!(in_environment(other.as_bytes()), None, "{other}");
        }
    }
}
