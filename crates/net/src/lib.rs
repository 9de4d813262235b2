//! The edge of the system: sockets, clock, the shard's thread and the media thread. It decides nothing about calls:
//! it moves bytes between the network and a [`core::Core`], which for the running system is the switch.
//! Called by the `ringfort` command: [`bind`], then [`Bound::start`], then [`Handle`].

pub mod advertise;
pub mod checks;
pub mod config;
mod conn;
pub mod core;
pub mod dns;
pub mod enforce;
mod error;
mod flood;
pub mod guard;
mod handle;
pub mod journal;
mod link;
pub mod mail;
mod media;
mod notice;
mod published;
mod shard;
mod stats;
pub mod stir;
mod streams;
mod switch_core;
mod sys;
mod tls;

pub use config::NetConfig;
pub use error::{HandleError, StartError, TlsError};
pub use guard::GuardSink;
pub use handle::{Bound, Handle, StopReason, bind};
pub use journal::{JournalSink, NoJournal};
pub use stats::{MediaStats, NetStats};
pub use tls::certificate_problems;
