//! What in the machine's settings should be mended before it serves many calls, with the command that does.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use crate::sys::socket;

/// Something that works, but not as well as it could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is, what it should be, and what comes of it.
    pub text: String,
    /// What to do: a command line, or a line of a unit file.
    pub mend: String,
}

/// All checks. `socket_buffer`: wanted octets of each UDP socket. `open_files`: wanted descriptors.
pub fn all(socket_buffer: usize, open_files: usize) -> Vec<Finding> {
    [socket_buffers(socket_buffer), self::open_files(open_files)].into_iter().flatten().collect()
}

/// Whether the kernel gives a UDP socket the buffer that is asked for.
pub fn socket_buffers(wanted: usize) -> Option<Finding> {
    let probe = socket::media((Ipv4Addr::LOCALHOST, 0).into(), 1).ok()?;
    // The kernel counts its own overhead and reports twice what was asked for.
    let given = socket::set_buffers(probe.as_fd(), wanted) / 2;
    let limit = |name: &str| fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?.trim().parse().ok();
    judge_buffers(wanted, given, limit("rmem_max"), limit("wmem_max"))
}

fn judge_buffers(wanted: usize, given: usize, rmem: Option<usize>, wmem: Option<usize>) -> Option<Finding> {
    if given >= wanted {
        return None;
    }
    let text = format!(
        "UDP socket buffers: wanted {wanted} octets, the kernel gives {given} (net.core.rmem_max = {}, wmem_max = {}); \
         a burst of registrations can be lost",
        rmem.map_or("unknown".to_owned(), |octets| octets.to_string()),
        wmem.map_or("unknown".to_owned(), |octets| octets.to_string()),
    );
    Some(Finding { text, mend: format!("sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}") })
}

/// Raises the limit of open files to the hard limit, and says where that is far too few.
pub fn open_files(wanted: usize) -> Option<Finding> {
    // What could not be raised shows in the limits read next.
    let _ = socket::raise_open_files();
    let (soft, _) = socket::open_file_limits().ok()?;
    judge_files(wanted as u64, soft)
}

/// What is wanted is for every connection that may ever be open; half of it is no fault to start with.
fn judge_files(wanted: u64, limit: u64) -> Option<Finding> {
    (limit < wanted / 2).then(|| Finding {
        text: format!(
            "open files: wanted {wanted}, the hard limit is {limit}; connections and media ports above it are refused"
        ),
        mend: format!(
            "as root, `ulimit -n {wanted}` before the start (under systemd: LimitNOFILE={wanted} in the unit)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_buffer_is_reported_with_the_command_that_mends_it() {
        let finding = judge_buffers(4 << 20, 212_992, Some(212_992), Some(212_992)).unwrap();
        assert_eq!(finding.mend, "sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304");
        assert!(finding.text.contains("212992"), "{}", finding.text);
        assert_eq!(judge_buffers(4 << 20, 4 << 20, None, None), None);
    }

    #[test]
    fn a_small_buffer_is_given_by_every_kernel() {
        assert_eq!(socket_buffers(65_536), None);
    }

    #[test]
    fn few_open_files_are_reported_with_the_limit_to_set() {
        assert!(judge_files(50_000, 1024).unwrap().mend.contains("LimitNOFILE=50000"));
        assert_eq!(judge_files(1024, 1024), None);
        assert_eq!(judge_files(21_024, 20_000), None, "a little below is enough for thousands of phones");
        assert!(judge_files(21_024, 4096).is_some());
        assert_eq!(open_files(16), None);
    }
}
