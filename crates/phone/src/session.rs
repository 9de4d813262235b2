//! One call's media session by offer/answer (RFC 3264): what the phone offers, answers and has agreed on, with
//! SDES keys (RFC 4568) where SRTP is spoken. One audio stream, and as many of video as the settings say; any other m-line is
//! answered with port 0. An m-line keeps its place for the whole session (RFC 3264 §8).
//! Called by `calls`; `media` sends and receives what is agreed here.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use rand::Rng;
use ringfort_media::sdes::{self, Crypto};
use ringfort_media::sdp::Direction;
use ringfort_media::types::{CryptoSuite, SrtpKeys};

use crate::config::{MediaSettings, SrtpMode};
use crate::remote::{RemoteSession, SdpRefusal};
use crate::tone::Law;

/// What both sides have agreed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreed {
    /// Where to send. `None`: the peer has put us on hold by `c=0.0.0.0`.
    pub remote: Option<SocketAddr>,
    pub law: Law,
    /// Ours: whether we send and receive.
    pub direction: Direction,
    /// The peer's direction as it wrote it.
    pub remote_direction: Direction,
    /// Keys of what the peer sends, and of what we send.
    pub keys: Option<(SrtpKeys, SrtpKeys)>,
}

/// One m-line.
#[derive(Clone, Debug)]
enum Line {
    Audio,
    Video {
        port: u16,
        format: String,
    },
    /// With port 0.
    Off(String),
}

/// The session of one call.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    id: u64,
    version: u64,
    address: IpAddr,
    port: u16,
    laws: Vec<Law>,
    srtp: SrtpMode,
    suites: Vec<CryptoSuite>,
    /// Lines of video that it has at the most.
    video: usize,
    lines: Vec<Line>,
    /// What this side wants: `SendOnly` while it holds the peer.
    wanted: Direction,
    /// One local key per suite, made once.
    keys: Vec<SrtpKeys>,
    agreed: Option<Agreed>,
    /// Our last offer that has no answer yet: the state before it.
    before_offer: Option<Saved>,
    last: Bytes,
}

#[derive(Clone, Debug)]
struct Saved {
    laws: Vec<Law>,
    wanted: Direction,
    last: Bytes,
}

impl Session {
    pub(crate) fn new(settings: &MediaSettings, port: u16, rng: &mut impl Rng) -> Self {
        let video = if settings.srtp == SrtpMode::Off { settings.video } else { 0 };
        let videos = (0..video).map(|n| video_line(port, n, "96"));
        Self {
            id: rng.next_u64() >> 2,
            version: 0,
            address: settings.address,
            port,
            laws: settings.laws.clone(),
            srtp: settings.srtp,
            suites: settings.suites.clone(),
            video,
            lines: std::iter::once(Line::Audio).chain(videos).collect(),
            wanted: Direction::SEND_RECV,
            keys: Vec::new(),
            agreed: None,
            before_offer: None,
            last: Bytes::new(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// The session description as it was sent last.
    pub(crate) fn last(&self) -> Bytes {
        self.last.clone()
    }

    /// Whether an offer of ours waits for its answer.
    pub(crate) fn is_offering(&self) -> bool {
        self.before_offer.is_some()
    }

    /// Our offer. `wanted` and `laws` are what changes by it, where they are given.
    pub(crate) fn offer(&mut self, wanted: Option<Direction>, laws: Option<Vec<Law>>, rng: &mut impl Rng) -> Bytes {
        let saved = Saved { laws: self.laws.clone(), wanted: self.wanted, last: self.last.clone() };
        self.before_offer.get_or_insert(saved);
        self.wanted = wanted.unwrap_or(self.wanted);
        self.laws = laws.unwrap_or_else(|| self.laws.clone());
        let secure = match &self.agreed {
            Some(agreed) => agreed.keys.is_some(),
            None => self.srtp != SrtpMode::Off,
        };
        let keys = if secure { self.offered_keys(rng) } else { Vec::new() };
        let media = self.all_lines(&self.laws, &keys, self.wanted, true);
        self.describe(&media)
    }

    /// The keys to offer: those agreed on stay, so that nothing needs to be keyed anew.
    fn offered_keys(&mut self, rng: &mut impl Rng) -> Vec<(u32, SrtpKeys)> {
        if let Some(keys) = self.agreed.as_ref().and_then(|agreed| agreed.keys.as_ref()) {
            return vec![(1, keys.1.clone())];
        }
        let suites = self.suites.clone();
        (1..).zip(suites.into_iter().map(|suite| self.local_key(suite, rng))).collect()
    }

    fn local_key(&mut self, suite: CryptoSuite, rng: &mut impl Rng) -> SrtpKeys {
        if let Some(keys) = self.keys.iter().find(|keys| keys.suite == suite) {
            return keys.clone();
        }
        let keys = sdes::generate_keys(suite, rng);
        self.keys.push(keys.clone());
        keys
    }

    /// The peer's offer, and our answer to it. On an error nothing has changed.
    pub(crate) fn answer(&mut self, offer: &[u8], rng: &mut impl Rng) -> Result<Bytes, SdpRefusal> {
        let offer = RemoteSession::parse(offer)?;
        let audio = offer.audio()?;
        let law = *self.laws.iter().find(|law| audio.laws.contains(law)).ok_or(SdpRefusal::NoCommonCodec)?;
        let keys = match (audio.secure, self.srtp) {
            (false, SrtpMode::Require) | (true, SrtpMode::Off) => return Err(SdpRefusal::Srtp),
            (false, SrtpMode::Off | SrtpMode::Offer) => None,
            (true, SrtpMode::Offer | SrtpMode::Require) => {
                let (tag, theirs) = audio
                    .crypto
                    .iter()
                    .find(|(_, keys)| self.suites.contains(&keys.suite))
                    .cloned()
                    .ok_or(SdpRefusal::Srtp)?;
                let ours = self.local_key(theirs.suite, rng);
                Some((tag, theirs, ours))
            }
        };
        let direction = audio.direction.reversed().and(self.wanted);
        let ours: Vec<(u32, SrtpKeys)> = keys.iter().map(|(tag, _, ours)| (*tag, ours.clone())).collect();
        let mut lines = Vec::with_capacity(offer.m_lines.len());
        let mut taken = 0;
        for (index, line) in offer.m_lines.iter().enumerate() {
            lines.push(match &line.video {
                _ if index == audio.index => Line::Audio,
                Some(format) if taken < self.video => {
                    taken += 1;
                    video_line(self.port, taken - 1, format)
                }
                Some(_) | None => Line::Off(line.refused.clone()),
            });
        }
        self.lines = lines;
        let media = self.all_lines(&[law], &ours, direction, audio.telephone_event);
        self.agreed = Some(Agreed {
            remote: audio.remote,
            law,
            direction,
            remote_direction: audio.direction,
            keys: keys.map(|(_, theirs, ours)| (theirs, ours)),
        });
        Ok(self.describe(&media))
    }

    /// The answer to our offer. On an error the offer is still open: roll it back or end the call.
    pub(crate) fn accept(&mut self, answer: &[u8]) -> Result<(), SdpRefusal> {
        let answer = RemoteSession::parse(answer)?;
        let audio = answer.audio()?;
        let law = *audio.laws.iter().find(|law| self.laws.contains(law)).ok_or(SdpRefusal::NoCommonCodec)?;
        let offered_secure = match &self.agreed {
            Some(agreed) => agreed.keys.is_some(),
            None => self.srtp != SrtpMode::Off,
        };
        if audio.secure != offered_secure {
            return Err(SdpRefusal::Srtp);
        }
        let keys = match audio.crypto.first() {
            Some((_, theirs)) if audio.secure => {
                let agreed = self.agreed.as_ref().and_then(|agreed| agreed.keys.as_ref()).map(|(_, ours)| ours);
                let ours = agreed
                    .into_iter()
                    .chain(self.keys.iter())
                    .find(|ours| ours.suite == theirs.suite)
                    .cloned()
                    .ok_or(SdpRefusal::Srtp)?;
                Some((theirs.clone(), ours))
            }
            _ if audio.secure => return Err(SdpRefusal::Srtp),
            _ => None,
        };
        self.before_offer = None;
        self.agreed = Some(Agreed {
            remote: audio.remote,
            law,
            // The answerer's view turned round, bounded by what we offered.
            direction: audio.direction.reversed().and(self.wanted),
            remote_direction: audio.direction,
            keys,
        });
        Ok(())
    }

    /// Our offer was refused: all is as it was before it (RFC 3261 §14.1).
    pub(crate) fn roll_back(&mut self) {
        if let Some(saved) = self.before_offer.take() {
            (self.laws, self.wanted, self.last) = (saved.laws, saved.wanted, saved.last);
        }
    }

    fn describe(&mut self, media: &str) -> Bytes {
        self.version += 1;
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        let (id, version, address) = (self.id, self.version, self.address);
        let text = format!(
            "v=0\r\no=- {id} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n{media}"
        );
        self.last = Bytes::from(text);
        self.last.clone()
    }

    fn all_lines(&self, laws: &[Law], keys: &[(u32, SrtpKeys)], direction: Direction, events: bool) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let _ = match line {
                Line::Audio => write!(text, "{}", self.audio_line(laws, keys, direction, events)),
                Line::Video { port, format } => {
                    write!(text, "m=video {port} RTP/AVP {format}\r\na=rtpmap:{format} VP8/90000\r\n")
                }
                Line::Off(refused) => write!(text, "m={refused}\r\n"),
            };
        }
        text
    }

    fn audio_line(&self, laws: &[Law], keys: &[(u32, SrtpKeys)], direction: Direction, events: bool) -> String {
        let profile = if keys.is_empty() { "RTP/AVP" } else { "RTP/SAVP" };
        let mut text = String::with_capacity(320);
        let _ = write!(text, "m=audio {} {profile}", self.port);
        for law in laws {
            let _ = write!(text, " {}", law.payload_type());
        }
        text.push_str(if events { " 101\r\n" } else { "\r\n" });
        for law in laws {
            let _ = write!(text, "a=rtpmap:{} {}/8000\r\n", law.payload_type(), law.name());
        }
        if events {
            text.push_str("a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n");
        }
        for (tag, keys) in keys {
            text.push_str("a=crypto:");
            Crypto::write(*tag, keys.suite.name(), keys, &mut text);
            text.push_str("\r\n");
        }
        let _ = write!(text, "a=ptime:20\r\na={}\r\n", direction.name());
        text
    }
}

/// A line of video of a phone with that port for audio. No packets go there: the port needs to be even and nothing else.
fn video_line(audio: u16, n: usize, format: &str) -> Line {
    Line::Video { port: audio.wrapping_add(2000 + 2 * n as u16), format: format.to_owned() }
}
