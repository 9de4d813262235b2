//! What we say of our media: one [`LocalMedia`] per m-line, how it is made from the other side's and how it is written.

use std::fmt::Write;

use super::attributes::{Extras, Format, drop_dangling, has_codec};
use super::policy::LegPolicy;
use super::remote::{MediaKind, RemoteMedia};
use crate::sdes::{Crypto, CryptoSuite, Mki, SrtpKeys};
use crate::sdp::{Direction, Proto};
use crate::types::PortId;

/// One `a=crypto` line of ours; its key is the slot's key of that suite.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CryptoLine {
    pub tag: u32,
    pub name: Box<str>,
    pub suite: CryptoSuite,
    /// In an answer to a line that has one: our key gets the same, for a phone that looks for it in one direction does
    /// so in both.
    pub mki: Option<Mki>,
}

impl CryptoLine {
    /// The key that stands in the line, of those of its slot.
    pub fn keys_of(&self, keys: &[SrtpKeys]) -> Option<SrtpKeys> {
        let mut keys = keys.iter().find(|keys| keys.suite == self.suite)?.clone();
        keys.mki = self.mki;
        Some(keys)
    }
}

/// How the media of an offer is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    /// By RTP/SAVP.
    pub secure: bool,
    /// With keys; without `secure` this is opportunistic SRTP (RFC 8643), kept where it was agreed on.
    pub keys: bool,
}

/// One m-line of ours.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LocalMedia {
    pub kind: MediaKind,
    /// The m-line of a stream that is off.
    pub off_line: Box<[u8]>,
    pub active: bool,
    pub secure: bool,
    pub feedback: bool,
    pub mux: bool,
    pub direction: Direction,
    pub formats: Vec<Format>,
    pub extras: Extras,
    pub crypto: Vec<CryptoLine>,
}

impl LocalMedia {
    /// A line that is off, in an answer to `theirs`.
    pub fn refused(theirs: &RemoteMedia) -> LocalMedia {
        LocalMedia::off(theirs.kind, theirs.refused_line.clone())
    }

    /// A line that is off, in an offer. Nothing of the other side's line but its kind is told.
    pub fn unused(kind: MediaKind) -> LocalMedia {
        let line = match kind {
            MediaKind::Audio => "audio 0 RTP/AVP 0",
            MediaKind::Video => "video 0 RTP/AVP 31",
            MediaKind::Text => "text 0 RTP/AVP 98",
            MediaKind::Image => "image 0 udptl t38",
            MediaKind::Application | MediaKind::Other => "application 0 RTP/AVP 98",
        };
        LocalMedia::off(kind, line.as_bytes().into())
    }

    fn off(kind: MediaKind, off_line: Box<[u8]>) -> LocalMedia {
        LocalMedia {
            kind,
            off_line,
            active: false,
            secure: false,
            feedback: false,
            mux: false,
            direction: Direction::INACTIVE,
            formats: Vec::new(),
            extras: Extras::default(),
            crypto: Vec::new(),
        }
    }

    /// An offer of what `source` (the other leg's peer) has, as far as this leg may have it. `None`: nothing of it.
    pub fn offer(source: &RemoteMedia, policy: &LegPolicy, protection: Protection, mux: bool) -> Option<LocalMedia> {
        let Protection { secure, keys } = protection;
        let formats = allowed(source, |format| policy.codecs.allows(&format.codec))?;
        // Feedback profiles are for video: many phones refuse audio by AVPF, and nothing is lost without it.
        let feedback = source.feedback && source.kind != MediaKind::Audio;
        let suites = policy.suites.iter().enumerate();
        let line = |(index, &suite): (usize, &CryptoSuite)| CryptoLine {
            tag: index as u32 + 1,
            name: suite.name().into(),
            suite,
            mki: None,
        };
        let crypto = if keys { suites.map(line).collect() } else { Vec::new() };
        let direction = source.direction;
        Some(LocalMedia {
            active: true,
            secure,
            feedback,
            mux,
            direction,
            extras: extras_for(source, &formats, feedback, policy),
            formats,
            crypto,
            ..LocalMedia::unused(source.kind)
        })
    }

    /// Our answer to `theirs`, from what `source` (the other leg's peer) has. Off where one of them is, or where they have
    /// no codec in common.
    pub fn answer(theirs: &RemoteMedia, source: Option<&RemoteMedia>, policy: &LegPolicy) -> LocalMedia {
        let refused = LocalMedia::refused(theirs);
        let Some(source) = source.filter(|source| source.active && theirs.active && source.kind == theirs.kind) else {
            return refused;
        };
        let fits = |format: &Format| policy.codecs.allows(&format.codec) && theirs.takes(&format.codec);
        let Some(formats) = allowed(source, fits) else { return refused };
        let feedback = theirs.feedback;
        let line = |crypto: &Crypto| CryptoLine {
            tag: crypto.tag,
            name: crypto.suite_name.clone(),
            suite: crypto.keys.suite,
            mki: crypto.keys.mki,
        };
        LocalMedia {
            active: true,
            secure: theirs.secure,
            feedback,
            mux: theirs.mux,
            // RFC 3264 §6.1: never more than the offer allows.
            direction: source.direction.and(theirs.direction.reversed()),
            extras: answered(theirs, extras_for(source, &formats, feedback && source.feedback, policy)),
            formats,
            crypto: theirs.crypto.iter().map(line).collect(),
            ..refused
        }
    }

    /// Suites whose keys are written.
    pub fn suites(&self) -> impl Iterator<Item = CryptoSuite> {
        self.crypto.iter().map(|line| line.suite)
    }

    /// Appends the m-section.
    pub fn write(&self, port: Option<PortId>, keys: &[SrtpKeys], out: &mut Vec<u8>) {
        let Some(port) = port.filter(|_| self.active) else {
            out.extend_from_slice(b"m=");
            out.extend_from_slice(&self.off_line);
            out.extend_from_slice(b"\r\n");
            return;
        };
        let mut text = String::with_capacity(512);
        self.write_active(port, keys, &mut text).expect("a String takes everything");
        out.extend_from_slice(text.as_bytes());
    }

    fn write_active(&self, port: PortId, keys: &[SrtpKeys], out: &mut String) -> std::fmt::Result {
        write!(out, "m={} {} {}", self.kind.name(), port.rtp(), Proto::rtp_name(self.secure, self.feedback))?;
        for format in &self.formats {
            write!(out, " {}", format.payload_type)?;
        }
        out.push_str("\r\n");
        for bandwidth in &self.extras.bandwidth {
            write!(out, "b={bandwidth}\r\n")?;
        }
        for Format { payload_type, codec, fmtp } in &self.formats {
            write!(out, "a=rtpmap:{payload_type} {codec}\r\n")?;
            if let Some(fmtp) = fmtp {
                write!(out, "a=fmtp:{payload_type} {fmtp}\r\n")?;
            }
        }
        for (name, list) in [("imageattr", &self.extras.imageattr), ("rtcp-fb", &self.extras.feedback)] {
            for (target, value) in list {
                match target {
                    Some(payload_type) => write!(out, "a={name}:{payload_type} {value}\r\n")?,
                    None => write!(out, "a={name}:* {value}\r\n")?,
                }
            }
        }
        for line in &self.extras.plain {
            write!(out, "a={line}\r\n")?;
        }
        for value in &self.extras.extmap {
            write!(out, "a=extmap:{value}\r\n")?;
        }
        for line in &self.crypto {
            let keys = line.keys_of(keys).expect("keys are made before they are written");
            out.push_str("a=crypto:");
            Crypto::write(line.tag, &line.name, &keys, out);
            out.push_str("\r\n");
        }
        if self.mux {
            out.push_str("a=rtcp-mux\r\n");
        }
        write!(out, "a={}\r\n", self.direction.name())
    }
}

/// The formats that pass, without those that refer to others that do not; `None` where no codec is left.
fn allowed(source: &RemoteMedia, passes: impl Fn(&Format) -> bool) -> Option<Vec<Format>> {
    let mut formats: Vec<Format> = source.formats.iter().filter(|format| passes(format)).cloned().collect();
    drop_dangling(&mut formats);
    (source.active && has_codec(&formats)).then_some(formats)
}

fn extras_for(source: &RemoteMedia, formats: &[Format], feedback: bool, policy: &LegPolicy) -> Extras {
    let mut extras = source.extras.clone();
    if !source.pass_extensions && !policy.pass_extensions {
        extras.extmap.clear();
    }
    let is_here = |target: &Option<u8>| target.is_none_or(|pt| formats.iter().any(|format| format.payload_type == pt));
    extras.imageattr.retain(|(target, _)| is_here(target));
    extras.feedback.retain(|(target, _)| feedback && is_here(target));
    extras
}

/// RFC 8285 §6: an answer has no header extensions that were not offered.
fn answered(theirs: &RemoteMedia, mut extras: Extras) -> Extras {
    let name =
        |value: &str| value.split(['/', ' ']).next().map(str::to_owned).zip(value.split(' ').nth(1).map(str::to_owned));
    extras.extmap.retain(|value| theirs.extras.extmap.iter().any(|offered| name(offered) == name(value)));
    extras
}
