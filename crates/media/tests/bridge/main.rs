//! Offer/answer of a back-to-back call, as the switch drives it.

mod basic;
mod changes;
mod forks;
mod ourselves;
mod random;
mod srtp;
mod support;
