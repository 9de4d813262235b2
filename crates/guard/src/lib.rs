//! Who may ask for what: rate limits before a message is parsed, bans, and the rules that refuse a call (GUARD-1 to
//! GUARD-10). Pure code: `net` asks [`rate`] and [`ban`] for every datagram, `switch` asks [`admit`] for every call, registration and message.

pub mod admit;
pub mod ban;
pub mod blacklist;
pub mod callee;
mod keyed;
pub mod pattern;
pub mod rate;
pub mod source;
pub mod watch;

pub use admit::{Admitted, Authentication, Context, Entry, Facts, Format, Reach, Refusal, Wish, admit};
pub use ban::{BanChange, BanSet, Until};
pub use rate::{Rate, RateConfig, RateLimiter, Verdict};
pub use source::{Cidr, CidrError, SourceKey};
pub use watch::{Offence, Watch, WatchConfig};
