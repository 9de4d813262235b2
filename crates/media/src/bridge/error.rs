//! Why an offer or an answer is not taken, and what SIP says of it.

use crate::sdes::CryptoError;
use crate::sdp::SdpError;

/// An SDP that cannot be used. `Display` gives the words for a Warning field or a log line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpReject {
    #[error("bad session description: {0}")]
    Malformed(SdpError),
    #[error("no codec of the {media} stream is allowed here")]
    NoCodec { media: &'static str },
    #[error("none of the media streams can be relayed: expected RTP/AVP, RTP/AVPF, RTP/SAVP or RTP/SAVPF")]
    NoMedia,
    #[error("SRTP is turned off here: expected RTP/AVP")]
    SrtpOff,
    #[error("SRTP is required here: expected RTP/SAVP with a=crypto")]
    SrtpRequired,
    #[error("SRTP keys are taken over TLS only")]
    SrtpNeedsTls,
    #[error("no acceptable a=crypto line: {0}")]
    NoCrypto(CryptoError),
    #[error("the answer does not fit the offer: {0}")]
    AnswerMismatch(&'static str),
    #[error("another offer is not answered yet")]
    OfferPending,
    #[error("no offer is waiting for an answer")]
    NoOffer,
    #[error("the other side has not described its media yet")]
    NoSource,
    #[error("more than {most} media streams at once")]
    TooManyLines { most: usize },
    #[error("no media port is free")]
    NoPorts,
    #[error("the leg is not part of this call")]
    UnknownLeg,
}

impl SdpReject {
    /// The SIP status to answer with.
    pub fn status(&self) -> u16 {
        match self {
            SdpReject::Malformed(_) => 400,
            SdpReject::NoCodec { .. }
            | SdpReject::NoMedia
            | SdpReject::SrtpOff
            | SdpReject::SrtpRequired
            | SdpReject::SrtpNeedsTls
            | SdpReject::NoCrypto(_)
            | SdpReject::TooManyLines { .. }
            | SdpReject::AnswerMismatch(_) => 488,
            SdpReject::OfferPending => 491,
            SdpReject::NoPorts => 503,
            SdpReject::NoOffer | SdpReject::NoSource | SdpReject::UnknownLeg => 500,
        }
    }

    /// The Warning code that goes with it (RFC 3261 §20.43).
    pub fn warn_code(&self) -> u16 {
        match self {
            SdpReject::NoCodec { .. } => 305,
            SdpReject::NoMedia => 304,
            SdpReject::SrtpOff | SdpReject::SrtpRequired | SdpReject::SrtpNeedsTls => 302,
            SdpReject::NoCrypto(_) => 306,
            SdpReject::Malformed(_)
            | SdpReject::AnswerMismatch(_)
            | SdpReject::OfferPending
            | SdpReject::NoOffer
            | SdpReject::NoSource
            | SdpReject::NoPorts
            | SdpReject::TooManyLines { .. }
            | SdpReject::UnknownLeg => 399,
        }
    }
}
