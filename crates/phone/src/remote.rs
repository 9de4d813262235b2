//! The peer's session description, as far as a telephone with one audio stream needs to understand it.
//! Called by `session`.

use std::net::SocketAddr;

use ringfort_media::sdes::Crypto;
use ringfort_media::sdp::{Direction, MediaLine, Proto, Sdp, SdpError, Section};
use ringfort_media::types::SrtpKeys;
use thiserror::Error;

use crate::tone::Law;

/// Why an offer or answer is of no use to us; for a Warning header field and for logs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SdpRefusal {
    #[error("expected a session description, got one with an error in {0}")]
    Malformed(#[from] SdpError),
    #[error("expected an audio stream over RTP, got none")]
    NoAudio,
    #[error("expected PCMA or PCMU, got neither")]
    NoCommonCodec,
    #[error("SRTP policies do not agree")]
    Srtp,
}

/// One stream of the peer.
#[derive(Clone, Debug)]
pub(crate) struct RemoteAudio {
    /// Its place among the m-lines.
    pub index: usize,
    /// `None`: `c=0.0.0.0` or no address we can read.
    pub remote: Option<SocketAddr>,
    /// Codecs of ours in the peer's order.
    pub laws: Vec<Law>,
    pub telephone_event: bool,
    pub secure: bool,
    /// Tag and keys of the crypto lines that we can read, in the peer's order.
    pub crypto: Vec<(u32, SrtpKeys)>,
    pub direction: Direction,
}

/// One m-line of the peer, whatever it is for.
#[derive(Clone, Debug)]
pub(crate) struct RemoteLine {
    /// As an answer refuses it: with port 0.
    pub refused: String,
    /// The first format of video that is on and not encrypted.
    pub video: Option<String>,
}

/// What the peer said.
#[derive(Clone, Debug)]
pub(crate) struct RemoteSession {
    audio: Option<RemoteAudio>,
    /// All m-lines, in order.
    pub m_lines: Vec<RemoteLine>,
}

impl RemoteSession {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, SdpRefusal> {
        let sdp = Sdp::parse(text)?;
        let mut audio = None;
        let mut m_lines = Vec::new();
        for (index, section) in sdp.media().enumerate() {
            let Some(line) = section.media_line() else { continue };
            m_lines.push(RemoteLine { refused: refused(&line), video: plain_video(&line) });
            if audio.is_none() {
                audio = read_audio(index, sdp.session(), section, &line);
            }
        }
        Ok(Self { audio, m_lines })
    }

    pub(crate) fn audio(&self) -> Result<&RemoteAudio, SdpRefusal> {
        self.audio.as_ref().ok_or(SdpRefusal::NoAudio)
    }
}

fn refused(line: &MediaLine<'_>) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let first = line.formats().next().map(text).unwrap_or_else(|| "0".to_owned());
    format!("{} 0 {} {first}", text(line.media), text(line.proto_name))
}

fn plain_video(line: &MediaLine<'_>) -> Option<String> {
    let on = line.media == b"video" && line.port != 0 && matches!(line.proto(), Proto::Rtp { secure: false, .. });
    let format = line.formats().next().filter(|_| on)?;
    Some(String::from_utf8_lossy(format).into_owned())
}

fn read_audio(index: usize, session: Section<'_>, section: Section<'_>, line: &MediaLine<'_>) -> Option<RemoteAudio> {
    let Proto::Rtp { secure, .. } = line.proto() else { return None };
    if line.media != b"audio" || line.port == 0 {
        return None;
    }
    let address = section.connection().or_else(|| session.connection()).and_then(|connection| connection.ip());
    let formats = || line.formats().filter_map(|format| std::str::from_utf8(format).ok());
    let laws = formats().filter_map(|format| format.parse().ok()).filter_map(Law::from_payload_type).collect();
    let crypto = section
        .attributes()
        .filter(|(name, _)| *name == "crypto")
        .filter_map(|(_, value)| Crypto::parse(value).ok())
        .map(|crypto| (crypto.tag, crypto.keys))
        .collect();
    Some(RemoteAudio {
        index,
        remote: address.filter(|ip| !ip.is_unspecified()).map(|ip| SocketAddr::new(ip, line.port)),
        laws,
        telephone_event: formats().any(|format| format == "101"),
        secure,
        crypto,
        direction: section.direction().or_else(|| session.direction()).unwrap_or(Direction::SEND_RECV),
    })
}
