//! What of a media description crosses to the other leg, and in which form: the allow-list of docs/sdp-allow-list.md.
//! Every value is taken apart and written anew; what does not have the expected form, or holds an address, stays behind.

use crate::codec::Codec;
use crate::sdp::holds_address;

/// Longest `fmtp` or `imageattr` value that crosses.
const MAX_VALUE: usize = 1024;

/// Header extensions of one m-line that are looked at.
const MAX_EXTENSIONS: usize = 16;

/// `a=content` values (RFC 4796 §5).
const CONTENT: [&str; 5] = ["slides", "speaker", "sl", "main", "alt"];

/// Feedback messages that a relay of RTP without header extensions can pass (RFC 4585 §4.2, RFC 5104 §7.1).
const FEEDBACK: [&str; 8] = ["ack", "ack rpsi", "nack", "nack pli", "nack sli", "nack rpsi", "ccm fir", "ccm tmmbr"];

/// Bandwidth types that cross (RFC 8866 §5.8, RFC 3890, RFC 3556).
const BANDWIDTH: [&str; 4] = ["AS", "TIAS", "RS", "RR"];

/// One payload type with what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Format {
    pub payload_type: u8,
    pub codec: Codec,
    pub fmtp: Option<Box<str>>,
}

impl Format {
    /// The same codec under the same number.
    pub fn same(&self, other: &Format) -> bool {
        self.payload_type == other.payload_type && self.codec == other.codec
    }

    /// Payload types that this one carries or repairs: RED (RFC 2198 §5) and RTX (RFC 4588 §8.6).
    pub fn references(&self) -> impl Iterator<Item = u8> {
        let fmtp = self.fmtp.as_deref().unwrap_or("");
        let list = if self.codec.is("red") {
            fmtp.split(';').next()
        } else if self.codec.is("rtx") {
            fmtp.split(';').find_map(|param| param.strip_prefix("apt="))
        } else {
            None
        };
        list.unwrap_or("").split('/').filter_map(|number| number.parse().ok())
    }
}

/// Takes out RED and RTX whose payload types are gone, until nothing changes.
pub(super) fn drop_dangling(formats: &mut Vec<Format>) {
    loop {
        let known = |pt: u8, formats: &[Format]| formats.iter().any(|format| format.payload_type == pt);
        let Some(index) = formats.iter().position(|format| format.references().any(|pt| !known(pt, formats))) else {
            return;
        };
        formats.remove(index);
    }
}

/// Whether there is a codec among the formats, not only DTMF or comfort noise.
pub(super) fn has_codec(formats: &[Format]) -> bool {
    formats.iter().any(|format| !format.codec.is_helper())
}

/// The parameters of an `a=fmtp` value in canonical form; those that look odd are left out.
pub(super) fn clean_fmtp(params: &str) -> Option<Box<str>> {
    if params.len() > MAX_VALUE {
        return None;
    }
    let params: Vec<&str> = params.split(';').map(str::trim).filter(|param| is_plain_parameter(param)).collect();
    (!params.is_empty()).then(|| params.join(";").into())
}

fn is_plain_parameter(param: &str) -> bool {
    let is_extension = param.get(..2).is_some_and(|head| head.eq_ignore_ascii_case("x-"));
    let is_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | ',' | '.' | '_' | '-' | ' ');
    !param.is_empty() && !is_extension && param.chars().all(is_char) && !holds_address(param) && !holds_host_name(param)
}

/// Whether a dot stands before a letter, as in host names and in nothing that codecs say.
fn holds_host_name(text: &str) -> bool {
    text.as_bytes().windows(2).any(|pair| pair[0] == b'.' && pair[1].is_ascii_alphabetic())
}

/// The attributes of a media description, beside its formats, that cross.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Extras {
    /// Whole `b=` values.
    pub bandwidth: Vec<Box<str>>,
    /// Whole `a=` values that need no payload type.
    pub plain: Vec<Box<str>>,
    /// Values of `imageattr` behind the payload type; `None` is `*`.
    pub imageattr: Vec<(Option<u8>, Box<str>)>,
    /// Values of `rtcp-fb` behind the payload type; `None` is `*`.
    pub feedback: Vec<(Option<u8>, Box<str>)>,
    /// Values of `extmap`, for legs that pass header extensions.
    pub extmap: Vec<Box<str>>,
}

impl Extras {
    /// Takes an attribute over if it is on the list. Those with a meaning for the bridge itself (rtpmap, fmtp, directions,
    /// crypto, rtcp, rtcp-mux) are not looked at here.
    pub fn take(&mut self, name: &str, value: &str) {
        match name {
            "ptime" | "maxptime" if is_number(value, 4) => self.plain(name, value),
            "framerate" if is_decimal(value) => self.plain(name, value),
            "content" if value.split(',').all(|item| CONTENT.contains(&item.trim())) => self.plain(name, value),
            "imageattr" => self.imageattr.extend(clean_imageattr(value)),
            "rtcp-fb" => self.feedback.extend(clean_feedback(value)),
            "extmap" if self.extmap.len() < MAX_EXTENSIONS => self.extmap.extend(clean_extmap(value)),
            _ => {}
        }
    }

    /// Takes a `b=` line over if it is on the list.
    pub fn take_bandwidth(&mut self, value: &[u8]) {
        let Ok(value) = std::str::from_utf8(value) else { return };
        let Some((kind, amount)) = value.trim().split_once(':') else { return };
        if BANDWIDTH.contains(&kind) && is_number(amount, 10) && self.bandwidth.len() < BANDWIDTH.len() {
            self.bandwidth.push(format!("{kind}:{amount}").into());
        }
    }

    fn plain(&mut self, name: &str, value: &str) {
        let is_new = !self.plain.iter().any(|line| line.split(':').next() == Some(name));
        if is_new {
            self.plain.push(format!("{name}:{value}").into());
        }
    }
}

fn is_number(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    is_number(whole, 4) && is_number(part, 4)
}

/// A payload type or `*`, and the rest.
fn target(value: &str) -> Option<(Option<u8>, &str)> {
    let (target, rest) = value.split_once([' ', '\t'])?;
    let target = if target == "*" { None } else { Some(target.parse().ok().filter(|&pt: &u8| pt < 128)?) };
    Some((target, rest.trim()))
}

/// RFC 6236 §3.1.1.
fn clean_imageattr(value: &str) -> Option<(Option<u8>, Box<str>)> {
    let (target, rest) = target(value)?;
    let is_char =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '=' | '[' | ']' | ',' | '.' | ':' | '*' | '-');
    let is_plain = !rest.is_empty() && rest.len() <= MAX_VALUE && rest.chars().all(is_char);
    (is_plain && !holds_address(rest) && !holds_host_name(rest)).then(|| (target, rest.into()))
}

/// RFC 8285 §8: a number, perhaps a direction, and a name; of names those that the IETF has registered (§10), which tell
/// nothing of who made the phone.
fn clean_extmap(value: &str) -> Option<Box<str>> {
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    let (id, uri) = (words.next()?, words.next()?);
    let (number, direction) = id.split_once('/').unwrap_or((id, "sendrecv"));
    let named = uri.strip_prefix("urn:ietf:params:rtp-hdrext:")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | ':');
    let known = ["sendrecv", "sendonly", "recvonly", "inactive"].contains(&direction);
    let good = is_number(number, 4) && known && (1..=64).contains(&named.len()) && named.chars().all(plain);
    good.then(|| format!("{id} {uri}").into())
}

fn clean_feedback(value: &str) -> Option<(Option<u8>, Box<str>)> {
    let (target, rest) = target(value)?;
    if let Some(interval) = rest.strip_prefix("trr-int ").map(str::trim) {
        return is_number(interval, 6).then(|| (target, format!("trr-int {interval}").into()));
    }
    let known = |id: &&&str| rest == **id || (**id == "ccm tmmbr" && rest.starts_with("ccm tmmbr "));
    FEEDBACK.iter().find(known).map(|&id| (target, id.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(payload_type: u8, codec: &str, fmtp: Option<&str>) -> Format {
        Format { payload_type, codec: Codec::parse(codec).unwrap(), fmtp: fmtp.map(Into::into) }
    }

    #[test]
    fn fmtp_keeps_what_codecs_say() {
        for value in [
            "0-16",
            "0/8/0",
            "useinbandfec=1;maxplaybackrate=16000",
            "profile-level-id=42e01f;sprop-parameter-sets=Z0LAHtkDxWhA,aMuMsg==",
            "br=5.9-24.4;bw=nb-swb",
            "CIF=1;QCIF=2",
            "mode-set=0,2,4,7",
        ] {
            assert_eq!(clean_fmtp(value).as_deref(), Some(value));
        }
        assert_eq!(clean_fmtp(" annexb=no ; ").as_deref(), Some("annexb=no"));
    }

    #[test]
    fn fmtp_loses_addresses_host_names_extensions_and_odd_characters() {
        for value in
            ["a=192.0.2.1", "x-google-min-bitrate=1", "h=pbx.example.com", "a=\"b\"", "u=a@b", "", ";;", "a=b:c"]
        {
            assert_eq!(clean_fmtp(value), None, "{value}");
        }
        assert_eq!(clean_fmtp("a=1;b=10.0.0.1;c=2").as_deref(), Some("a=1;c=2"));
        assert_eq!(clean_fmtp(&"a".repeat(2000)), None);
    }

    #[test]
    fn red_and_rtx_go_with_what_they_refer_to_rfc_2198_rfc_4588() {
        let mut formats = vec![
            format(0, "PCMU/8000", None),
            format(96, "red/8000", Some("0/8")),
            format(97, "VP8/90000", None),
            format(98, "rtx/90000", Some("apt=97;rtx-time=3000")),
            format(99, "rtx/90000", Some("apt=96")),
        ];
        drop_dangling(&mut formats);
        let left: Vec<u8> = formats.iter().map(|format| format.payload_type).collect();
        assert_eq!(left, [0, 97, 98]);
    }

    #[test]
    fn feedback_is_limited_to_what_a_relay_can_pass() {
        let mut extras = Extras::default();
        for value in [
            "* nack pli",
            "96 ccm fir",
            "96 ccm tmmbr smaxpr=120",
            "96 goog-remb",
            "96 transport-cc",
            "200 nack",
            "* trr-int 100",
        ] {
            extras.take("rtcp-fb", value);
        }
        let taken: Vec<(Option<u8>, &str)> = extras.feedback.iter().map(|(pt, id)| (*pt, &**id)).collect();
        assert_eq!(taken, [(None, "nack pli"), (Some(96), "ccm fir"), (Some(96), "ccm tmmbr"), (None, "trr-int 100")]);
    }

    #[test]
    fn header_extensions_are_those_that_are_registered_rfc_8285() {
        let mut extras = Extras::default();
        for value in [
            "1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            "2/sendonly urn:ietf:params:rtp-hdrext:toffset more",
            "3 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            "4 urn:ietf:params:rtp-hdrext:pbx.example.org",
            "x urn:ietf:params:rtp-hdrext:toffset",
            "5/both urn:ietf:params:rtp-hdrext:toffset",
        ] {
            extras.take("extmap", value);
        }
        let taken: Vec<&str> = extras.extmap.iter().map(|value| &**value).collect();
        assert_eq!(
            taken,
            ["1 urn:ietf:params:rtp-hdrext:ssrc-audio-level", "2/sendonly urn:ietf:params:rtp-hdrext:toffset"]
        );
    }

    #[test]
    fn everything_else_is_checked_by_form() {
        let mut extras = Extras::default();
        for (name, value) in [
            ("ptime", "20"),
            ("ptime", "30"),
            ("maxptime", "x"),
            ("framerate", "29.97"),
            ("content", "slides"),
            ("content", "secret"),
            ("imageattr", "97 send [x=[480:16:800],y=[320:16:640],par=[1.2-1.3]] recv *"),
            ("imageattr", "97 send [x=192.0.2.1]"),
            ("candidate", "1 1 UDP 1 192.0.2.1 1 typ host"),
            ("tool", "phone"),
        ] {
            extras.take(name, value);
        }
        assert_eq!(extras.plain.len(), 3, "{:?}", extras.plain);
        assert_eq!(extras.imageattr.len(), 1);
        for value in ["AS:64", "TIAS:64000", "X-PRODUCT:1", "CT:1", "AS:1 2"] {
            extras.take_bandwidth(value.as_bytes());
        }
        assert_eq!(extras.bandwidth.len(), 2);
    }
}
