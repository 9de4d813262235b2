//! Reason phrases of status codes (RFC 3261 §21 and the IANA registry) and the Reason header field (RFC 3326).

use std::borrow::Cow;
use std::fmt;

use crate::lex::{self, Values};
use crate::params::Params;

/// The usual phrase for a status; for one without, that of its class.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        417 => "Unknown Resource-Priority",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        428 => "Use Identity Header",
        429 => "Provide Referrer Identity",
        430 => "Flow Failed",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity Info",
        437 => "Unsupported Credential",
        438 => "Invalid Identity Header",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        470 => "Consent Needed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        555 => "Push Notification Service Not Supported",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ => match status / 100 {
            1 => "Trying",
            2 => "OK",
            3 => "Redirected",
            4 => "Bad Request",
            5 => "Server Error",
            _ => "Declined",
        },
    }
}

/// One Reason value: `SIP;cause=200;text="Call completed elsewhere"`. Displays as it is written in a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// "SIP", "Q.850" and the like, as written.
    pub protocol: &'a str,
    pub cause: Option<u16>,
    pub text: Option<Cow<'a, str>>,
}

impl<'a> Reason<'a> {
    pub const fn sip(status: u16, text: &'a str) -> Reason<'a> {
        Reason { protocol: "SIP", cause: Some(status), text: Some(Cow::Borrowed(text)) }
    }

    /// Q.850 causes, 1 to 127.
    pub const fn q850(cause: u16, text: &'a str) -> Reason<'a> {
        Reason { protocol: "Q.850", cause: Some(cause), text: Some(Cow::Borrowed(text)) }
    }

    /// The readable values of one header field line.
    pub fn parse_all(line: &'a [u8]) -> impl Iterator<Item = Reason<'a>> {
        Values::new(line).filter_map(Reason::parse)
    }

    fn parse(value: &'a [u8]) -> Option<Reason<'a>> {
        let len = lex::span(value, lex::TOKEN);
        let protocol = std::str::from_utf8(&value[..len]).ok().filter(|p| !p.is_empty())?;
        let params = Params::parse(&value[len..]).ok()?;
        let cause = params.get("cause").and_then(|cause| cause.parse().ok());
        let text = params.find("text").and_then(|param| param.value).map(unquote);
        Some(Reason { protocol, cause, text })
    }
}

fn unquote(inner: &[u8]) -> Cow<'_, str> {
    if !inner.contains(&b'\\') {
        return lex::text(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&b) = bytes.next() {
        plain.push(if b == b'\\' { bytes.next().copied().unwrap_or(b) } else { b });
    }
    Cow::Owned(lex::text(&plain).into_owned())
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol)?;
        if let Some(cause) = self.cause {
            write!(f, ";cause={cause}")?;
        }
        if let Some(text) = &self.text {
            write!(f, ";text={}", crate::write::Quoted(text))?;
        }
        Ok(())
    }
}
