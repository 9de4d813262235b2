//! Drives the real `ringfort` binary and real SIP programs on loopback addresses, each test on addresses and in a
//! folder of its own. A program that is not installed makes its test say so and pass, unless
//! `RINGFORT_TEST_PROGRAMS=required` is set: then it fails.

pub mod baresip;
pub mod capture;
pub mod kamailio;
pub mod knot;
pub mod linphone;
pub mod netns;
pub mod place;
pub mod process;
pub mod ringfort;
pub mod sipp;
pub mod stir;
pub mod tls;
pub mod wav;

pub use crate::place::Place;
pub use crate::ringfort::{Options, Ringfort};

/// Skips the rest of a test where one of these programs is missing.
#[macro_export]
macro_rules! need {
    ($($program:literal),+) => {
        $(
            if !$crate::process::is_installed($program) {
                return Ok(());
            }
        )+
    };
}
