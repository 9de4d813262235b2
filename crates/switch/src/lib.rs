//! Call control as pure code: registrations, calls, routing and one file a feature. A shard owns one `Switch`,
//! feeds it messages, media events, commands and the time, and drains what is to be done.
//! Called by `net` (the running system) and `tests/sim` (whole systems in virtual time).

pub mod config;
pub mod io;
pub mod model;
pub mod record;
