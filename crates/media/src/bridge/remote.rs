//! What a peer said of its media: one [`RemoteMedia`] per m-line, already through the leg's own policy.

use std::net::{IpAddr, SocketAddr};

use super::attributes::{Extras, Format, clean_fmtp, drop_dangling, has_codec};
use super::error::SdpReject;
use super::local::LocalMedia;
use super::policy::{LegPolicy, SrtpPolicy};
use crate::codec::Codec;
use crate::sdes::{self, Crypto};
use crate::sdp::{Direction, MediaLine, Proto, RtcpAttribute, Sdp, Section};

/// Kind of an m-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaKind {
    Audio,
    Video,
    Text,
    Application,
    Image,
    Other,
}

impl MediaKind {
    fn from_name(name: &[u8]) -> MediaKind {
        match name {
            b"audio" => MediaKind::Audio,
            b"video" => MediaKind::Video,
            b"text" => MediaKind::Text,
            b"application" => MediaKind::Application,
            b"image" => MediaKind::Image,
            _ => MediaKind::Other,
        }
    }

    /// The media field of an m-line of ours.
    pub fn name(self) -> &'static str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::Text => "text",
            MediaKind::Image => "image",
            MediaKind::Application | MediaKind::Other => "application",
        }
    }

    fn is_relayed(self) -> bool {
        matches!(self, MediaKind::Audio | MediaKind::Video | MediaKind::Text | MediaKind::Application)
    }
}

/// One m-line of a peer.
#[derive(Clone, Debug)]
pub(super) struct RemoteMedia {
    pub kind: MediaKind,
    /// The m-line as it came, with port 0: how an answer refuses it.
    pub refused_line: Box<[u8]>,
    /// The peer has it on (port not 0), and we can and may do it.
    pub active: bool,
    /// Why we do not do what the peer has on.
    pub refusal: Option<SdpReject>,
    /// RTP/SAVP or RTP/SAVPF.
    pub secure: bool,
    /// RTP/AVPF or RTP/SAVPF.
    pub feedback: bool,
    /// Where it wants RTP; `None` where it said nothing that can be used.
    pub address: Option<SocketAddr>,
    /// Where it wants RTCP that is not multiplexed (RFC 3605, or the next port).
    pub rtcp: Option<SocketAddr>,
    pub mux: bool,
    /// As the peer sees it; an address of 0.0.0.0 takes away receiving (RFC 3264 §8.4).
    pub direction: Direction,
    pub formats: Vec<Format>,
    pub extras: Extras,
    /// Its leg passes header extensions.
    pub pass_extensions: bool,
    /// The key line that was taken, of those that the peer sent.
    pub crypto: Option<Crypto>,
}

impl RemoteMedia {
    /// Whether the peer can take that codec, under whichever number.
    pub fn takes(&self, codec: &Codec) -> bool {
        self.formats.iter().any(|format| format.codec == *codec)
    }

    /// The description with the m-line turned off.
    pub fn turned_off(mut self) -> RemoteMedia {
        self.active = false;
        self
    }
}

/// Reads all m-lines of an offer or answer.
pub(super) fn read(sdp: &Sdp, policy: &LegPolicy) -> Vec<RemoteMedia> {
    sdp.media().map(|section| read_section(sdp.session(), section, policy)).collect()
}

/// Reads an offer: as `read`, and what is more than the leg may have at once is off.
pub(super) fn read_offer(sdp: &Sdp, policy: &LegPolicy) -> Vec<RemoteMedia> {
    let mut media = read(sdp, policy);
    let most = policy.max_lines;
    for index in too_many(media.iter().map(|line| line.active.then_some(line.kind)), most) {
        media[index].active = false;
        media[index].refusal = Some(SdpReject::TooManyLines { most });
    }
    media
}

/// Which of the lines that are on go beyond `most`: the first audio line stays, and the first others.
pub(super) fn too_many(lines: impl Iterator<Item = Option<MediaKind>> + Clone, most: usize) -> Vec<usize> {
    let audio = lines.clone().position(|kind| kind == Some(MediaKind::Audio));
    let others = lines.enumerate().filter(|(index, kind)| kind.is_some() && Some(*index) != audio);
    others.map(|(index, _)| index).skip(most.saturating_sub(usize::from(audio.is_some()))).collect()
}

/// Why an offer is refused as a whole: it has audio (or anything) on, and none of that can be done.
pub(super) fn refusal(media: &[RemoteMedia]) -> Option<SdpReject> {
    let fails = |only: Option<MediaKind>| {
        let mut wanted = media.iter().filter(|line| only.is_none_or(|kind| line.kind == kind));
        let works = wanted.clone().any(|line| line.active);
        if works { None } else { wanted.find_map(|line| line.refusal.clone()) }
    };
    fails(Some(MediaKind::Audio)).or_else(|| fails(None))
}

/// Fits an answer to the offer it is for: as many lines, no more codecs, no more directions and the keys that were offered.
///
/// # Errors
/// There was audio (or anything) on both sides, and none of it can be used.
pub(super) fn fit_answer(
    offer: &[&LocalMedia],
    answer: Vec<RemoteMedia>,
    policy: &LegPolicy,
) -> Result<Vec<RemoteMedia>, SdpReject> {
    let mut answer = answer;
    answer.truncate(offer.len());
    for (line, local) in answer.iter_mut().zip(offer) {
        if !line.active {
            continue;
        }
        if let Err(reject) = fit_line(local, line, policy) {
            line.active = false;
            line.refusal = local.active.then_some(reject);
        }
    }
    match refusal(&answer) {
        Some(reject) => Err(reject),
        None => Ok(answer),
    }
}

fn fit_line(local: &LocalMedia, line: &mut RemoteMedia, policy: &LegPolicy) -> Result<(), SdpReject> {
    if !local.active || line.kind != local.kind {
        return Err(SdpReject::AnswerMismatch("it has an m-line on that was not offered, or in another order"));
    }
    line.formats.retain(|format| local.formats.iter().any(|offered| offered.codec == format.codec));
    drop_dangling(&mut line.formats);
    if !has_codec(&line.formats) {
        return Err(SdpReject::NoCodec { media: line.kind.name() });
    }
    if line.secure && !local.secure {
        return Err(SdpReject::AnswerMismatch("RTP/SAVP to an offer of RTP/AVP"));
    }
    if local.crypto.is_empty() {
        line.crypto = None;
    }
    let was_offered =
        |crypto: &Crypto| local.crypto.iter().any(|o| o.tag == crypto.tag && o.suite == crypto.keys.suite);
    match &line.crypto {
        Some(crypto) if !was_offered(crypto) => {
            return Err(SdpReject::AnswerMismatch("tag or suite of a=crypto was not offered"));
        }
        None if policy.srtp == SrtpPolicy::Require => return Err(SdpReject::SrtpRequired),
        Some(_) | None => {}
    }
    line.mux &= local.mux;
    line.direction = line.direction.and(local.direction.reversed());
    Ok(())
}

fn read_section(session: Section<'_>, section: Section<'_>, policy: &LegPolicy) -> RemoteMedia {
    let line = section.media_line().expect("a media section begins with an m-line that was checked");
    let (secure, feedback, is_rtp) = match line.proto() {
        Proto::Rtp { secure, feedback } => (secure, feedback, true),
        Proto::Other => (false, false, false),
    };
    let mut media = RemoteMedia {
        kind: MediaKind::from_name(line.media),
        refused_line: refused_line(&line),
        active: line.port != 0,
        refusal: None,
        secure,
        feedback,
        address: None,
        rtcp: None,
        mux: false,
        direction: section.direction().or_else(|| session.direction()).unwrap_or(Direction::SEND_RECV),
        formats: Vec::new(),
        extras: Extras::default(),
        pass_extensions: policy.pass_extensions,
        crypto: None,
    };
    if !media.active {
        return media;
    }
    let result = if is_rtp && media.kind.is_relayed() {
        read_addresses(&mut media, session, section, line.port, policy);
        read_formats(&mut media, section, &line, policy).and_then(|()| read_crypto(&mut media, section, policy))
    } else {
        Err(SdpReject::NoMedia)
    };
    if let Err(reject) = result {
        media.active = false;
        media.refusal = Some(reject);
    }
    media
}

/// RFC 3264 §6: a refused line repeats media, protocol and formats of the offer.
fn refused_line(line: &MediaLine<'_>) -> Box<[u8]> {
    let mut text = Vec::with_capacity(48);
    text.extend_from_slice(line.media);
    text.extend_from_slice(b" 0 ");
    text.extend_from_slice(line.proto_name);
    let mut formats = line.formats().peekable();
    if formats.peek().is_none() {
        text.extend_from_slice(b" 0");
    }
    for format in formats {
        text.push(b' ');
        text.extend_from_slice(format);
    }
    text.into()
}

fn read_addresses(media: &mut RemoteMedia, session: Section<'_>, section: Section<'_>, port: u16, policy: &LegPolicy) {
    let connection = section.connection().or_else(|| session.connection());
    let ip = connection.and_then(|connection| connection.ip());
    if ip.is_some_and(|ip| ip.is_unspecified()) {
        media.direction.recv = false;
    }
    let usable = |ip: IpAddr| {
        let is_one_host = !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast(ip);
        is_one_host && ip.is_ipv4() == policy.address.is_ipv4()
    };
    let ip = ip.filter(|&ip| usable(ip));
    media.address = ip.map(|ip| SocketAddr::new(ip, port));
    media.mux = section.attribute("rtcp-mux").is_some();
    let attribute = section.attribute("rtcp").and_then(RtcpAttribute::parse);
    let port = attribute.map_or(port.checked_add(1), |attribute| Some(attribute.port)).filter(|&port| port != 0);
    let ip = attribute.and_then(|attribute| attribute.address).filter(|&ip| usable(ip)).or(ip);
    media.rtcp = ip.zip(port).map(|(ip, port)| SocketAddr::new(ip, port));
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

fn read_formats(
    media: &mut RemoteMedia,
    section: Section<'_>,
    line: &MediaLine<'_>,
    policy: &LegPolicy,
) -> Result<(), SdpReject> {
    for name in line.formats() {
        let Some(payload_type) = std::str::from_utf8(name).ok().and_then(payload_type) else { continue };
        let is_new = media.formats.iter().all(|format| format.payload_type != payload_type);
        let codec = mapped(section, "rtpmap", payload_type).and_then(Codec::parse);
        if let Some(codec) = codec.or_else(|| Codec::of_static(payload_type))
            && is_new
            && policy.codecs.allows(&codec)
        {
            let fmtp = mapped(section, "fmtp", payload_type).and_then(clean_fmtp);
            media.formats.push(Format { payload_type, codec, fmtp });
        }
    }
    drop_dangling(&mut media.formats);
    if !has_codec(&media.formats) {
        return Err(SdpReject::NoCodec { media: media.kind.name() });
    }
    for line in section.lines().filter(|line| line.kind == b'b') {
        media.extras.take_bandwidth(line.value);
    }
    for (name, value) in section.attributes() {
        media.extras.take(name, value);
    }
    Ok(())
}

/// A payload type, 0–127, in digits alone.
fn payload_type(text: &str) -> Option<u8> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| is_number && number < 128)
}

/// The value of `a=rtpmap` or `a=fmtp` for a payload type, behind the number.
fn mapped<'a>(section: Section<'a>, name: &str, payload_type: u8) -> Option<&'a str> {
    section.attributes().filter(|(found, _)| *found == name).find_map(|(_, value)| {
        let (number, rest) = value.split_once([' ', '\t'])?;
        (self::payload_type(number) == Some(payload_type)).then(|| rest.trim())
    })
}

/// Which of the key lines is taken. RTP/AVP with keys is opportunistic SRTP (RFC 8643): taken where SRTP is on and the
/// signalling secure, and plain RTP otherwise.
fn read_crypto(media: &mut RemoteMedia, section: Section<'_>, policy: &LegPolicy) -> Result<(), SdpReject> {
    let lines = || section.attributes().filter(|(name, _)| *name == "crypto").map(|(_, value)| value);
    match policy.srtp {
        SrtpPolicy::Off if media.secure => return Err(SdpReject::SrtpOff),
        SrtpPolicy::Require if !media.secure => return Err(SdpReject::SrtpRequired),
        SrtpPolicy::Off => return Ok(()),
        SrtpPolicy::Offer | SrtpPolicy::Require => {}
    }
    if !media.secure && (!policy.secure_signalling || lines().next().is_none()) {
        return Ok(());
    }
    if !policy.secure_signalling {
        return Err(SdpReject::SrtpNeedsTls);
    }
    match sdes::select(lines(), &policy.suites) {
        Ok(crypto) => media.crypto = Some(crypto),
        Err(error) if media.secure => return Err(SdpReject::NoCrypto(error)),
        Err(_) => {}
    }
    Ok(())
}
