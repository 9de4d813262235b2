//! The allow-list by which header fields cross from one leg to the other (CALL-1; `docs/header-allow-list.md` says
//! why for each). Everything that is not named here ends at Ringfort.

use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::reason::Reason;
use ringfort_sip::write::{Body, Headers};
use ringfort_stir::rejection;

use HeaderName as H;

/// INVITE and re-INVITE. What a person reads or hears, never where it came from.
pub const INVITE: &[HeaderName] = &[H::Subject, H::Priority, H::AcceptLanguage, H::UserToUser];
/// 1xx and 2xx to INVITE.
pub const PROGRESS: &[HeaderName] = &[H::Reason, H::UserToUser];
/// Final refusals.
pub const REFUSAL: &[HeaderName] = &[H::Reason, H::RetryAfter, H::UserToUser];
/// BYE and CANCEL.
pub const ENDING: &[HeaderName] = &[H::Reason, H::UserToUser];
/// MESSAGE (RFC 3428 §5).
pub const MESSAGE: &[HeaderName] = &[H::Subject, H::Date, H::Expires, H::ContentLanguage];
/// INFO (RFC 6086 §6).
pub const INFO: &[HeaderName] = &[H::InfoPackage, H::ContentDisposition];

/// Longest value that crosses, in bytes: these are texts for people.
const LONGEST: usize = 512;

/// The header fields of `message` that `allowed` names, ready to be written to the other leg.
pub fn cross(message: &Message, allowed: &[HeaderName]) -> Headers {
    let mut headers = Headers::default();
    for name in allowed {
        for value in message.headers(*name).filter(|v| v.len() <= LONGEST) {
            match name {
                H::Reason => cross_reason(value, &mut headers),
                // RFC 3261 §20.33 allows a comment behind the seconds: it stays here.
                H::RetryAfter => {
                    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
                    if digits > 0 {
                        headers.push("Retry-After", String::from_utf8_lossy(&value[..digits]));
                    }
                }
                _ => {
                    headers.push(name.as_str(), String::from_utf8_lossy(value));
                }
            }
        }
    }
    headers
}

/// RFC 3326: protocol and cause cross; a text crosses where nothing in it looks like an address or a host name, for
/// gateways write those into it.
fn cross_reason(line: &[u8], headers: &mut Headers) {
    for said in Reason::parse_all(line) {
        let Some(cause) = said.cause else { continue };
        let harmless = |text: &str| !text.contains(['.', ':', '@', '"', '\\']) && !text.contains(char::is_control);
        match said.text.filter(|text| harmless(text)) {
            Some(text) => headers.push("Reason", format_args!("{};cause={cause};text=\"{text}\"", said.protocol)),
            None => headers.push("Reason", format_args!("{};cause={cause}", said.protocol)),
        };
    }
}

/// Call-Info of a 608, where it is a card to complain by (RFC 8688 §3.1): it is meant for the caller.
pub fn complaint(response: &Message) -> Headers {
    let mut headers = Headers::default();
    let values = response.headers(HeaderName::CallInfo).filter(|value| value.len() <= LONGEST);
    let mut cards = values.filter_map(|value| rejection::card_url(std::str::from_utf8(value).ok()?));
    if let Some(url) = cards.find(|url| url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))) {
        headers.push("Call-Info", format_args!("<{url}>;purpose=jwscard"));
    }
    headers
}

/// What a refused body could have been.
pub const ACCEPT: &str = "text/*, application/*, image/*, audio/*, video/*";

/// Whether the body of a MESSAGE or INFO may cross: it is the parties' own word, unless it is a message itself or has parts
/// (`message/sipfrag`, `message/cpim`, `multipart/mixed`), in which addresses of the other side stand.
pub fn body_crosses(message: &Message) -> bool {
    let kind = message.content_type().unwrap_or_default().split('/').next().unwrap_or_default().trim();
    message.body().is_empty() || !["message", "multipart"].iter().any(|own| kind.eq_ignore_ascii_case(own))
}

/// The body as it is, with its type; of the type's parameters the character set alone. None where it may not cross.
pub fn cross_body(message: &Message) -> Option<Body> {
    if message.body().is_empty() || !body_crosses(message) {
        return None;
    }
    let given = message.content_type().unwrap_or("application/octet-stream");
    let mut parts = given.split(';').map(str::trim);
    let mut content_type = parts.next().unwrap_or_default().to_owned();
    let charset = parts.find(|part| part.get(..8).is_some_and(|name| name.eq_ignore_ascii_case("charset=")));
    if let Some(charset) = charset {
        content_type.push(';');
        content_type.push_str(charset);
    }
    Some(Body { content_type: content_type.into(), data: bytes::Bytes::copy_from_slice(message.body()) })
}

/// A Reason header field (RFC 3326).
pub fn reason(protocol: &str, cause: u16, text: &str) -> Headers {
    let mut headers = Headers::default();
    headers.push("Reason", format_args!("{protocol};cause={cause};text=\"{text}\""));
    headers
}
