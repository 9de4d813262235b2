//! Media as pure code: SDP, offer/answer, RTP and RTCP, SRTP, the relay tables. No socket, no clock, no thread.

pub mod types;
