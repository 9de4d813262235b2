//! SDP (RFC 8866) as lossless lines: what was parsed is written back byte for byte, unknown lines and Latin-1 included.
//! Typed views (`o=`, `c=`, `m=`, attributes) are read on demand. Used by the bridge and by whoever looks into a body.

mod fields;
mod multipart;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

pub(crate) use self::fields::holds_address;
pub use self::fields::{Connection, Direction, MediaLine, Origin, Proto, RtcpAttribute};
pub use self::multipart::find_sdp;

/// Where and why a session description cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SdpError {
    /// Counted from 1; 0 for the whole.
    pub line: u32,
    /// Expected and got, in words.
    pub what: &'static str,
}

/// Bounds of what is read.
#[derive(Clone, Copy, Debug)]
pub struct SdpLimits {
    /// Octets in all.
    pub size: usize,
    pub lines: usize,
    /// Octets in one line.
    pub line: usize,
    /// `m=` lines.
    pub media: usize,
    /// Formats in one `m=` line.
    pub formats: usize,
}

impl Default for SdpLimits {
    fn default() -> Self {
        Self { size: 65_536, lines: 2_048, line: 8_192, media: 32, formats: 128 }
    }
}

#[derive(Clone, Debug)]
struct Span {
    kind: u8,
    value: Range<u32>,
}

/// A session description: the text as it came and where its lines are. `Debug` shows no text, for keys may be in it.
#[derive(Clone)]
pub struct Sdp {
    raw: Bytes,
    lines: Vec<Span>,
    /// Index into `lines` of every `m=`.
    media: Vec<u32>,
}

impl fmt::Debug for Sdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sdp {{ {} octets, {} lines, {} media }}", self.raw.len(), self.lines.len(), self.media.len())
    }
}

/// One line of a description. `Debug` shows no keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The letter before `=`.
    pub kind: u8,
    /// What stands behind it, without the line end.
    pub value: &'a [u8],
    /// Counted from 1.
    pub number: u32,
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_secret = self.kind == b'k' || self.kind == b'a' && self.value.starts_with(b"crypto:");
        let value = if is_secret { "***".into() } else { String::from_utf8_lossy(self.value) };
        write!(f, "{}: {}={value:?}", self.number, char::from(self.kind))
    }
}

/// The session part or one media description.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    sdp: &'a Sdp,
    first: usize,
    end: usize,
}

impl Sdp {
    /// Reads a description within the default limits.
    ///
    /// # Errors
    /// The line and what is wrong with it. Lines may end in LF alone, empty lines may follow the last one, `s=` and `t=`
    /// may be missing; everything else that RFC 8866 §9 wants of `v=`, `o=`, `c=` and `m=` must be there.
    pub fn parse(text: &[u8]) -> Result<Sdp, SdpError> {
        Sdp::parse_within(text, &SdpLimits::default())
    }

    /// Reads a description within these limits.
    ///
    /// # Errors
    /// As for [`Sdp::parse`], or a limit that is passed.
    pub fn parse_within(text: &[u8], limits: &SdpLimits) -> Result<Sdp, SdpError> {
        if text.len() > limits.size.min(u32::MAX as usize) {
            return Err(SdpError { line: 0, what: "longer than is allowed" });
        }
        let lines = split_lines(text, limits)?;
        let mut media = Vec::new();
        let mut has_origin = false;
        for (index, span) in lines.iter().enumerate() {
            let number = index as u32 + 1;
            let value = &text[span.value.start as usize..span.value.end as usize];
            let fail = |what| Err(SdpError { line: number, what });
            match span.kind {
                b'v' if index > 0 => return fail("a second v= line"),
                b'o' if has_origin || !media.is_empty() => return fail("a second o= line, or one behind m="),
                b'o' if Origin::parse(value).is_none() => {
                    return fail("expected o=USER SESSION VERSION IN IP4|IP6 ADDRESS");
                }
                b'o' => has_origin = true,
                b'c' if Connection::parse(value).is_none() => return fail("expected c=IN IP4|IP6 ADDRESS"),
                b'm' if media.len() == limits.media => return fail("more m= lines than are allowed"),
                b'm' => match MediaLine::parse(value) {
                    None => return fail("expected m=MEDIA PORT PROTOCOL FORMAT…"),
                    Some(line) if line.formats().count() > limits.formats => {
                        return fail("more formats than are allowed");
                    }
                    Some(_) => media.push(index as u32),
                },
                _ => {}
            }
        }
        if !has_origin {
            return Err(SdpError { line: 0, what: "expected an o= line, found none" });
        }
        Ok(Sdp { raw: Bytes::copy_from_slice(text), lines, media })
    }

    /// The description exactly as it was parsed.
    pub fn to_bytes(&self) -> Bytes {
        self.raw.clone()
    }

    /// All lines in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        (0..self.lines.len()).map(|index| self.line(index))
    }

    /// The lines before the first `m=`.
    pub fn session(&self) -> Section<'_> {
        Section { sdp: self, first: 0, end: self.media.first().map_or(self.lines.len(), |&index| index as usize) }
    }

    /// The media descriptions, each from its `m=` line on.
    pub fn media(&self) -> impl ExactSizeIterator<Item = Section<'_>> {
        (0..self.media.len()).map(|index| Section {
            sdp: self,
            first: self.media[index] as usize,
            end: self.media.get(index + 1).map_or(self.lines.len(), |&next| next as usize),
        })
    }

    /// The `o=` line.
    pub fn origin(&self) -> Origin<'_> {
        self.session().value(b'o').and_then(Origin::parse).expect("o= was checked when the text was read")
    }

    fn line(&self, index: usize) -> Line<'_> {
        let span = &self.lines[index];
        let value = &self.raw[span.value.start as usize..span.value.end as usize];
        Line { kind: span.kind, value, number: index as u32 + 1 }
    }
}

impl<'a> Section<'a> {
    /// The lines of this part.
    pub fn lines(self) -> impl Iterator<Item = Line<'a>> {
        (self.first..self.end).map(move |index| self.sdp.line(index))
    }

    /// The value of the first line of that kind.
    pub fn value(self, kind: u8) -> Option<&'a [u8]> {
        self.lines().find(|line| line.kind == kind).map(|line| line.value)
    }

    /// The `m=` line; `None` for the session part.
    pub fn media_line(self) -> Option<MediaLine<'a>> {
        self.value(b'm').and_then(MediaLine::parse)
    }

    /// The first `c=` line of this part alone.
    pub fn connection(self) -> Option<Connection<'a>> {
        self.value(b'c').and_then(Connection::parse)
    }

    /// `a=` lines as name and value; the value is empty where there is no colon. Those that are not UTF-8 are left out
    /// (no attribute with a meaning here is).
    pub fn attributes(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.lines()
            .filter(|line| line.kind == b'a')
            .filter_map(|line| std::str::from_utf8(line.value).ok())
            .map(|value| value.split_once(':').unwrap_or((value, "")))
            .map(|(name, value)| (name.trim(), value.trim()))
    }

    /// The value of the first attribute of that name.
    pub fn attribute(self, name: &str) -> Option<&'a str> {
        self.attributes().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The direction attribute of this part, if there is one (RFC 8866 §6.7).
    pub fn direction(self) -> Option<Direction> {
        self.attributes().find_map(|(name, _)| Direction::from_name(name))
    }
}

/// Cuts the text into `letter=value` lines and checks what concerns all of them.
fn split_lines(text: &[u8], limits: &SdpLimits) -> Result<Vec<Span>, SdpError> {
    let mut lines = Vec::with_capacity(24);
    let mut at = 0;
    while at < text.len() {
        let number = lines.len() as u32 + 1;
        let fail = |what| Err(SdpError { line: number, what });
        let rest = &text[at..];
        let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let next = at + (length + 1).min(rest.len());
        let line = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]);
        if line.is_empty() && text[at..].iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            break;
        }
        if line.len() > limits.line {
            return fail("longer than is allowed");
        }
        if lines.len() == limits.lines {
            return fail("more lines than are allowed");
        }
        if line.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            return fail("NUL, or a carriage return within the line");
        }
        let [kind, b'=', ..] = *line else {
            return fail("expected LETTER=VALUE");
        };
        if !kind.is_ascii_alphabetic() {
            return fail("expected LETTER=VALUE");
        }
        if lines.is_empty() && line.trim_ascii_end() != b"v=0" {
            return fail("expected v=0");
        }
        lines.push(Span { kind, value: at as u32 + 2..(at + line.len()) as u32 });
        at = next;
    }
    if lines.is_empty() {
        return Err(SdpError { line: 1, what: "expected v=0, found nothing" });
    }
    Ok(lines)
}

/// What a fuzzer feeds: parses, checks the round trip and walks through every view.
#[doc(hidden)]
pub fn fuzz_sdp(data: &[u8]) {
    let Ok(sdp) = Sdp::parse(data) else { return };
    assert_eq!(&sdp.to_bytes()[..], data, "the round trip is lossless");
    let again = Sdp::parse(&sdp.to_bytes()).expect("what was read once is read twice");
    assert_eq!(again.lines().count(), sdp.lines().count());
    let _ = (sdp.origin(), sdp.session().connection(), sdp.session().direction());
    for section in sdp.media() {
        let line = section.media_line().expect("a media section begins with m=");
        let _ = (line.proto(), line.formats().count(), section.connection(), section.attributes().count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n\
                         t=0 0\r\nm=audio 49170 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=sendonly\r\n\
                         m=video 51372/2 RTP/AVP 99\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:99 h263-1998/90000\r\n";

    #[test]
    fn sections_are_session_and_media_rfc_8866_section_5() {
        let sdp = Sdp::parse(PLAIN.as_bytes()).unwrap();
        assert_eq!(sdp.media().len(), 2);
        assert_eq!(sdp.session().lines().count(), 5);
        let audio = sdp.media().next().unwrap();
        assert_eq!(audio.direction(), Some(Direction::SEND_ONLY));
        assert_eq!(audio.attribute("rtpmap"), Some("0 PCMU/8000"));
        assert!(audio.connection().is_none());
        let video = sdp.media().nth(1).unwrap();
        assert_eq!(video.media_line().unwrap().port, 51372);
        assert_eq!(video.connection().unwrap().ip(), Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn latin_1_unknown_lines_big_versions_and_lone_line_feeds_are_kept_byte_exact() {
        let text = b"v=0\no=- 1 99999999999999999999999999 IN IP4 h\xf6st.example\ns=Caf\xe9\nX=?\nt=0 0\n\
                     m=image 5000 udptl t38\na=T38FaxVersion:0\na=\xff\n\n\r\n";
        let sdp = Sdp::parse(text).unwrap();
        assert_eq!(&sdp.to_bytes()[..], &text[..]);
        assert_eq!(sdp.origin().version, b"99999999999999999999999999");
        assert_eq!(sdp.media().next().unwrap().media_line().unwrap().proto(), Proto::Other);
    }

    #[test]
    fn errors_name_the_line() {
        let cases: [(&[u8], u32, &str); 15] = [
            (b"", 1, "v=0"),
            (b"\r\n", 1, "v=0"),
            (b"o=- 1 1 IN IP4 1.2.3.4\r\n", 1, "v=0"),
            (b"v=1\r\n", 1, "v=0"),
            (b"v=0\r\ns=-\r\n", 0, "o="),
            (b"v=0\r\no=- 1 1 IN IP4\r\n", 2, "o="),
            (b"v=0\r\no=- 1 1 IN IP4 h\r\no=- 1 1 IN IP4 h\r\n", 3, "second o="),
            (b"v=0\r\no=- 1 1 IN IP4 h\r\nc=IN IP4\r\n", 3, "c="),
            (b"v=0\r\no=- 1 1 IN IP4 h\r\nm=audio 70000 RTP/AVP 0\r\n", 3, "m="),
            (b"v=0\r\no=- 1 1 IN IP4 h\r\nm=audio 7000 RTP/AVP\r\n", 3, "m="),
            (b"v=0\r\no=- 1 1 IN IP4 h\r\nno line\r\n", 3, "LETTER=VALUE"),
            (b"v=0\r\no=- 1 1 IN IP4 h\r\n\r\ns=-\r\n", 3, "LETTER=VALUE"),
            (b"v=0\r\no=- 1 1 IN IP4 h\r\ns=a\0b\r\n", 3, "NUL"),
            (b"v=0\r\no=- 1 1 IN IP4 h\r\ns=a\rb\r\n", 3, "carriage return"),
            (b"v=0\r\no=- 1 1 IN IP4 h\r\n=\r\n", 3, "LETTER=VALUE"),
        ];
        for (text, line, word) in cases {
            let error = Sdp::parse(text).unwrap_err();
            let shown = String::from_utf8_lossy(text);
            assert!(error.line == line && error.what.contains(word), "{shown:?}: {error}");
        }
    }

    #[test]
    fn keys_never_show_in_debug() {
        let text = format!("{PLAIN}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET\r\nk=clear:SECRET\r\n");
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        let shown = format!("{sdp:?} {:?} {:?}", sdp.session(), sdp.lines().collect::<Vec<_>>());
        assert!(!shown.contains("SECRET") && shown.contains("PCMU/8000"), "{shown}");
    }

    #[test]
    fn limits_hold() {
        let head = "v=0\r\no=- 1 1 IN IP4 h\r\n";
        let media = |count: usize| format!("{head}{}", "m=audio 0 RTP/AVP 0\r\n".repeat(count));
        assert!(Sdp::parse(media(32).as_bytes()).is_ok());
        assert_eq!(Sdp::parse(media(33).as_bytes()).unwrap_err().line, 35);
        assert!(Sdp::parse(format!("{head}{}", "a=x\r\n".repeat(3000)).as_bytes()).is_err());
        assert!(Sdp::parse(format!("{head}a={}\r\n", "x".repeat(9000)).as_bytes()).is_err());
        assert!(Sdp::parse(format!("{head}m=audio 1 RTP/AVP{}\r\n", " 0".repeat(129)).as_bytes()).is_err());
        assert_eq!(Sdp::parse(&vec![b'v'; 70_000]).unwrap_err().line, 0);
    }
}
