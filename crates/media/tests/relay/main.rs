//! The packet path in virtual time: what passes, as what, to whom, and what never does (CALL-5).

mod checks;
mod forward;
mod harness;
mod learning;
mod nat;
mod play;
mod record;
mod rtcp;
mod secure;
mod timers;
