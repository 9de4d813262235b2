//! SIP (RFC 3261 and its companions) as pure code: messages, URIs, digest, transactions, dialogs.
//! No socket, no clock, no thread: callers pass `now` and bytes in and drain what is to be sent and told.
//! Called by `switch` (the system itself) and `phone` (its test telephones).

pub mod advertise;
pub mod check;
pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod flow;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
pub mod header;
mod lex;
pub mod locate;
pub mod message;
pub mod method;
pub mod name_addr;
pub mod params;
mod parse;
mod parse_error;
pub mod reason;
pub mod session_timer;
pub mod stun;
pub mod timer;
mod transaction;
pub mod uri;
mod uri_eq;
pub mod via;
pub mod write;
pub mod ws;

pub use header::HeaderName;
pub use lex::Values;
pub use message::{Limits, Message, ParseError, ParseErrorKind, ReplyHead};
pub use method::Method;
pub use name_addr::NameAddr;
pub use params::{HeaderError, Param, Params};
pub use uri::{Host, HostPort, Scheme, Uri, UriError, uri_eq};
pub use via::{CSeq, Via};
pub use write::{Body, Headers};
