//! SIP (RFC 3261 and its companions) as pure code: messages, URIs, digest, transactions, dialogs.
//! No socket, no clock, no thread: callers pass `now` and bytes in and drain what is to be sent and told.
//! Called by `switch` (the system itself) and `phone` (its test telephones).

pub mod flow;
