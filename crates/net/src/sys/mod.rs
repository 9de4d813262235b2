//! The system calls that the standard library does not have, behind safe functions. The crate's only `unsafe` is here.

pub(crate) mod addr;
pub(crate) mod batch;
pub(crate) mod epoll;
pub(crate) mod errors;
pub(crate) mod socket;

use std::io;

/// A C return value: −1 is an error.
fn checked(value: libc::c_int) -> io::Result<libc::c_int> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Errors that mean "later".
pub(crate) fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Octets from the system's random generator, for keys of tables and seeds.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).expect("the system's random generator does not fail once the system is up");
    octets
}
