//! A telephone as pure code.

pub mod tone;
