//! What a leg is allowed and how it is reached.

use std::net::IpAddr;
use std::sync::Arc;

use crate::codec::CodecAllowList;
use crate::types::CryptoSuite;

/// Whether a leg's media is encrypted with keys by SDES (CALL-6). Keys travel over secure signalling only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SrtpPolicy {
    /// Plain RTP only.
    Off,
    /// RTP/SAVP is offered where the signalling is secure; either is taken.
    #[default]
    Offer,
    /// RTP/SAVP or no media.
    Require,
}

/// How the SDP of one leg is made and checked.
#[derive(Clone, Debug)]
pub struct LegPolicy {
    /// Our advertised media address towards this peer: what stands in `o=` and `c=`.
    pub address: IpAddr,
    /// Where the peer's signalling comes from: learning of its media address prefers it.
    pub signalling: IpAddr,
    /// The signalling with this peer goes over TLS or WSS.
    pub secure_signalling: bool,
    pub srtp: SrtpPolicy,
    /// Suites that are offered, in this order, and those that are taken.
    pub suites: Arc<[CryptoSuite]>,
    pub codecs: CodecAllowList,
    /// The peer is proven (registered, a trunk): RTP may go to its SDP address before any came from it (CALL-5).
    pub trusted: bool,
    /// M-lines that may be on at once, each with a port: the first audio line and the first others. What is offered
    /// beyond is refused with port 0.
    pub max_lines: usize,
    /// RTP header extensions and padding pass between this leg and the other, and `a=extmap` with them; else both end
    /// here (CALL-5).
    pub pass_extensions: bool,
}

impl LegPolicy {
    /// Audio, video, slides and real-time text.
    pub const DEFAULT_MAX_LINES: usize = 4;

    /// An untrusted peer over signalling that is not secure, with every codec and all suites.
    pub fn new(address: IpAddr, signalling: IpAddr) -> LegPolicy {
        LegPolicy {
            address,
            signalling,
            secure_signalling: false,
            srtp: SrtpPolicy::default(),
            suites: CryptoSuite::ALL.into(),
            codecs: CodecAllowList::all(),
            trusted: false,
            max_lines: LegPolicy::DEFAULT_MAX_LINES,
            pass_extensions: false,
        }
    }
}
