//! Codecs as SDP names them: the static payload types of RFC 3551 §6, `a=rtpmap`, the allow-list of a leg (CALL-4)
//! and the hint that the quality model needs.

use std::fmt;
use std::sync::Arc;

use crate::types::CodecHint;

/// Longest encoding name that is taken from a peer.
const MAX_NAME: usize = 32;

/// Formats that carry no codec of their own: they pass unless excluded.
const HELPERS: [&str; 9] =
    ["telephone-event", "CN", "tone", "red", "rtx", "ulpfec", "parityfec", "flexfec-03", "flexfec"];

/// A payload format: encoding name, clock rate and channels (RFC 8866 §6.6 `rtpmap`).
#[derive(Clone, Debug)]
pub struct Codec {
    name: Arc<str>,
    clock_rate: u32,
    channels: u8,
}

impl PartialEq for Codec {
    /// Encoding names have no case (RFC 4855 §3).
    fn eq(&self, other: &Self) -> bool {
        self.clock_rate == other.clock_rate
            && self.channels == other.channels
            && self.name.eq_ignore_ascii_case(&other.name)
    }
}

impl Eq for Codec {}

impl fmt::Display for Codec {
    /// As in the value of `a=rtpmap` behind the payload type.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.clock_rate)?;
        if self.channels > 1 { write!(f, "/{}", self.channels) } else { Ok(()) }
    }
}

impl Codec {
    /// A codec by its parts; `None` where the name is not a short token or the clock rate is 0.
    pub fn new(name: &str, clock_rate: u32, channels: u8) -> Option<Codec> {
        let is_token = !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_name_byte);
        (is_token && clock_rate > 0).then(|| Codec { name: name.into(), clock_rate, channels: channels.max(1) })
    }

    /// Parses `opus/48000/2`.
    pub fn parse(text: &str) -> Option<Codec> {
        let mut parts = text.trim().split('/');
        let name = parts.next()?;
        let clock_rate = parts.next()?.trim().parse().ok()?;
        let channels = match parts.next() {
            Some(channels) => channels.trim().parse().ok()?,
            None => 1,
        };
        Codec::new(name, clock_rate, channels)
    }

    /// The codec of a payload type that needs no rtpmap (RFC 3551 §6, tables 4 and 5).
    pub fn of_static(payload_type: u8) -> Option<Codec> {
        let (name, clock_rate, channels) = match payload_type {
            0 => ("PCMU", 8000, 1),
            3 => ("GSM", 8000, 1),
            4 => ("G723", 8000, 1),
            5 => ("DVI4", 8000, 1),
            6 => ("DVI4", 16000, 1),
            7 => ("LPC", 8000, 1),
            8 => ("PCMA", 8000, 1),
            9 => ("G722", 8000, 1),
            10 => ("L16", 44100, 2),
            11 => ("L16", 44100, 1),
            12 => ("QCELP", 8000, 1),
            13 => ("CN", 8000, 1),
            14 => ("MPA", 90000, 1),
            15 => ("G728", 8000, 1),
            16 => ("DVI4", 11025, 1),
            17 => ("DVI4", 22050, 1),
            18 => ("G729", 8000, 1),
            25 => ("CelB", 90000, 1),
            26 => ("JPEG", 90000, 1),
            28 => ("nv", 90000, 1),
            31 => ("H261", 90000, 1),
            32 => ("MPV", 90000, 1),
            33 => ("MP2T", 90000, 1),
            34 => ("H263", 90000, 1),
            _ => return None,
        };
        Codec::new(name, clock_rate, channels)
    }

    /// Encoding name as the peer wrote it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// RTP clock rate, Hz.
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// Audio channels; 1 where nothing was said.
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// Whether the encoding name is this one, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether this is signalling, comfort noise, redundancy or repair and no codec by itself.
    pub fn is_helper(&self) -> bool {
        HELPERS.iter().any(|helper| self.is(helper))
    }

    /// What the quality model needs to know, for an audio stream.
    pub fn hint(&self) -> CodecHint {
        const HINTS: [(&str, CodecHint); 17] = [
            ("PCMU", CodecHint::G711),
            ("PCMA", CodecHint::G711),
            ("G722", CodecHint::G722),
            ("G729", CodecHint::G729),
            ("opus", CodecHint::Opus),
            ("GSM", CodecHint::Gsm),
            ("GSM-EFR", CodecHint::Gsm),
            ("iLBC", CodecHint::Ilbc),
            ("G726-16", CodecHint::G726),
            ("G726-24", CodecHint::G726),
            ("G726-32", CodecHint::G726),
            ("G726-40", CodecHint::G726),
            ("AAL2-G726-32", CodecHint::G726),
            ("AMR", CodecHint::Amr),
            ("AMR-WB", CodecHint::Amr),
            ("speex", CodecHint::Speex),
            ("G729D", CodecHint::G729),
        ];
        HINTS.iter().find(|(name, _)| self.is(name)).map_or(CodecHint::OtherAudio, |(_, hint)| *hint)
    }
}

/// Bytes of a `token` (RFC 8866 §9) that encoding names are made of.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+')
}

/// One line of an allow-list: a name, with or without a clock rate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: Box<str>,
    clock_rate: Option<u32>,
}

impl Entry {
    fn matches(&self, codec: &Codec) -> bool {
        codec.is(&self.name) && self.clock_rate.is_none_or(|rate| rate == codec.clock_rate)
    }
}

/// Which codecs pass a leg (CALL-4). `telephone-event`, `CN`, redundancy and repair formats pass unless excluded.
/// Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodecAllowList {
    /// `None`: every codec.
    allowed: Option<Arc<[Entry]>>,
    excluded: Arc<[Entry]>,
}

/// An entry of a codec list that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "codec {entry:?}: expected NAME, NAME/CLOCK-RATE or -NAME to exclude it, such as \"PCMA\", \"opus/48000\", \"-CN\""
)]
pub struct CodecListError {
    pub entry: String,
}

impl CodecAllowList {
    /// Every codec that has a name.
    pub fn all() -> CodecAllowList {
        CodecAllowList::default()
    }

    /// A list of `NAME`, `NAME/CLOCK-RATE` and, to exclude, `-NAME` or `-NAME/CLOCK-RATE`. Without any positive entry
    /// everything passes that is not excluded.
    ///
    /// # Errors
    /// The first entry that is none of these.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<CodecAllowList, CodecListError> {
        let (mut allowed, mut excluded) = (Vec::new(), Vec::new());
        for text in entries {
            let text = text.as_ref().trim();
            let (list, rest) = match text.strip_prefix('-') {
                Some(rest) => (&mut excluded, rest),
                None => (&mut allowed, text),
            };
            list.push(Self::entry(rest).ok_or_else(|| CodecListError { entry: text.to_owned() })?);
        }
        let allowed = (!allowed.is_empty()).then(|| allowed.into());
        Ok(CodecAllowList { allowed, excluded: excluded.into() })
    }

    fn entry(text: &str) -> Option<Entry> {
        let (name, clock_rate) = match text.split_once('/') {
            Some((name, rate)) => (name, Some(rate.parse().ok()?)),
            None => (text, None),
        };
        Codec::new(name, clock_rate.unwrap_or(1), 1)?;
        Some(Entry { name: name.into(), clock_rate })
    }

    /// Whether the codec passes.
    pub fn allows(&self, codec: &Codec) -> bool {
        if self.excluded.iter().any(|entry| entry.matches(codec)) {
            return false;
        }
        codec.is_helper()
            || self.allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|entry| entry.matches(codec)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(text: &str) -> Codec {
        Codec::parse(text).expect("a codec")
    }

    #[test]
    fn static_payload_types_are_those_of_rfc_3551_section_6() {
        assert_eq!(Codec::of_static(8).unwrap().to_string(), "PCMA/8000");
        assert_eq!(Codec::of_static(9).unwrap().to_string(), "G722/8000");
        assert_eq!(Codec::of_static(10).unwrap().to_string(), "L16/44100/2");
        assert_eq!(Codec::of_static(34).unwrap().to_string(), "H263/90000");
        assert!([1, 2, 19, 72, 76, 95, 96, 127, 255].into_iter().all(|pt| Codec::of_static(pt).is_none()));
    }

    #[test]
    fn rtpmap_values_are_compared_without_case_and_with_one_channel_by_default() {
        assert_eq!(codec("pcmu/8000"), codec("PCMU/8000/1"));
        assert_ne!(codec("opus/48000/2"), codec("opus/48000"));
        for bad in ["", "opus", "opus/", "opus/0", "opus/48000/x", "a b/8000", "opus/99999999999", "a\r\n/8000"] {
            assert!(Codec::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn allow_list_passes_names_and_clock_rates_that_are_listed() {
        let list = CodecAllowList::parse(&["PCMA", "speex/16000"]).unwrap();
        assert!(list.allows(&codec("pcma/8000")));
        assert!(list.allows(&codec("speex/16000")));
        assert!(!list.allows(&codec("speex/8000")));
        assert!(!list.allows(&codec("PCMU/8000")));
    }

    #[test]
    fn telephone_event_and_comfort_noise_pass_unless_excluded() {
        let list = CodecAllowList::parse(&["PCMA"]).unwrap();
        assert!(list.allows(&codec("telephone-event/8000")) && list.allows(&codec("CN/8000")));
        let list = CodecAllowList::parse(&["PCMA", "-telephone-event", "-cn"]).unwrap();
        assert!(!list.allows(&codec("telephone-event/48000")) && !list.allows(&codec("CN/8000")));
    }

    #[test]
    fn a_list_of_exclusions_alone_passes_the_rest() {
        let list = CodecAllowList::parse(&["-G729"]).unwrap();
        assert!(list.allows(&codec("PCMA/8000")) && !list.allows(&codec("G729/8000")));
        assert!(CodecAllowList::parse::<&str>(&[]).unwrap().allows(&codec("anything/8000")));
    }

    #[test]
    fn a_wrong_entry_is_named() {
        let error = CodecAllowList::parse(&["PCMA", "opus/fast"]).unwrap_err();
        assert!(error.to_string().contains("opus/fast"), "{error}");
        assert!(CodecAllowList::parse(&[""]).is_err() && CodecAllowList::parse(&["-"]).is_err());
    }
}
