//! Media as pure code: SDP, offer/answer, RTP and RTCP, SRTP, the relay tables. No socket, no clock, no thread.

pub mod bridge;
pub mod codec;
pub mod emodel;
pub mod g711;
pub mod g722;
pub mod ports;
pub mod quality;
pub mod relay;
pub mod rtcp;
pub mod rtp;
pub mod sdes;
pub mod sdp;
pub mod sound;
pub mod srtp;
pub mod types;
