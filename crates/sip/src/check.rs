//! The checks of a user agent server that a message decides by itself (RFC 3261 §8.2), called by the transaction's
//! user once it knows who asks (GUARD-10). A request that fails is answered as the `Rejection` says; an ACK is
//! dropped instead.

use std::fmt::{self, Display};

use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::uri::{Scheme, Uri, UriError};
use crate::write::Headers;

/// What the server supports.
#[derive(Clone, Copy, Debug)]
pub struct Supported<'a> {
    /// Methods; empty for all.
    pub methods: &'a [Method<'a>],
    /// Schemes of the Request-URI, lower case.
    pub schemes: &'a [&'a str],
    /// Option tags of Require.
    pub option_tags: &'a [&'a str],
    /// Option tags of Proxy-Require; `None` where the server is no hop to somewhere else and does not look at them.
    pub proxy_option_tags: Option<&'a [&'a str]>,
    /// Media types of bodies of INVITE, UPDATE and PRACK; empty for all.
    pub body_types: &'a [&'a str],
    /// Whether requests go on to another leg, so that Max-Forwards: 0 is the end (RFC 7332).
    pub forwards: bool,
}

impl Default for Supported<'_> {
    fn default() -> Self {
        Supported {
            methods: &[],
            schemes: &["sip", "sips", "tel"],
            option_tags: &[],
            proxy_option_tags: None,
            body_types: &[],
            forwards: false,
        }
    }
}

/// How to refuse a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub status: u16,
    /// For the reason phrase and the log: what was expected.
    pub reason: &'static str,
    /// Unsupported, Allow, Accept, Accept-Encoding as the status asks for.
    pub headers: Headers,
}

impl Rejection {
    fn new(status: u16, reason: &'static str) -> Rejection {
        Rejection { status, reason, headers: Headers::new() }
    }

    fn with(mut self, name: &str, value: impl Display) -> Rejection {
        self.headers.push(name, value);
        self
    }
}

/// Header fields of which a request may have one, beside those that the parser counts.
const SINGLE: [(HeaderName, &str); 11] = [
    (HeaderName::MaxForwards, "Expected one Max-Forwards"),
    (HeaderName::ContentType, "Expected one Content-Type"),
    (HeaderName::Expires, "Expected one Expires"),
    (HeaderName::SessionExpires, "Expected one Session-Expires"),
    (HeaderName::MinSe, "Expected one Min-SE"),
    (HeaderName::Rack, "Expected one RAck"),
    (HeaderName::Event, "Expected one Event"),
    (HeaderName::ReferTo, "Expected one Refer-To"),
    (HeaderName::Replaces, "Expected one Replaces"),
    (HeaderName::MaxBreadth, "Expected one Max-Breadth"),
    (HeaderName::SipIfMatch, "Expected one SIP-If-Match"),
];

/// Header fields that hold addresses and are looked at by everybody.
const ADDRESSES: [(HeaderName, &str); 3] = [
    (HeaderName::Route, "Expected addresses in Route"),
    (HeaderName::RecordRoute, "Expected addresses in Record-Route"),
    (HeaderName::Path, "Expected addresses in Path"),
];

/// Checks a request in the order of RFC 3261 §8.2: syntax, method, Request-URI, Require, body.
pub fn inspect_request(request: &Message, supported: &Supported<'_>) -> Result<(), Rejection> {
    for (name, reason) in SINGLE {
        if request.headers(name).nth(1).is_some() {
            return Err(Rejection::new(400, reason));
        }
    }
    if request.vias().any(|via| via.is_err()) {
        return Err(Rejection::new(400, "Expected host and parameters in Via"));
    }
    for (name, reason) in ADDRESSES {
        if request.name_addrs(name).any(|address| address.is_err()) {
            return Err(Rejection::new(400, reason));
        }
    }
    check_contacts(request)?;
    check_method(request, supported)?;
    check_max_forwards(request, supported)?;
    check_request_uri(request, supported)?;
    check_register(request)?;
    check_require(request, supported)?;
    check_body(request, supported)
}

/// Whether a response is to be dropped by the client that gets it, and why (RFC 3261 §8.1.3.3).
pub fn inspect_response(response: &Message) -> Result<(), &'static str> {
    if response.values(HeaderName::Via).nth(1).is_some() {
        return Err("expected one Via, ours: a response with more is somebody else's");
    }
    Ok(())
}

fn check_contacts(request: &Message) -> Result<(), Rejection> {
    let method = request.method();
    if request.is_wildcard_contact() {
        // RFC 3261 §10.2.2: `*` alone, in a REGISTER that expires all.
        let alone = request.values(HeaderName::Contact).nth(1).is_none();
        if method != Method::Register || !alone || !matches!(request.expires(), Some(Ok(0))) {
            return Err(Rejection::new(400, "Expected Contact: * alone, in a REGISTER with Expires: 0"));
        }
        return Ok(());
    }
    let valid = |contact: NameAddr<'_>| match contact.uri() {
        Ok(_) => true,
        // Characters were looked at already; what a scheme of somebody else's wants is not ours to say.
        Err(UriError::BadNumber) => true,
        Err(_) => false,
    };
    if !request.contacts().all(|contact| contact.is_ok_and(valid)) {
        return Err(Rejection::new(400, "Expected addresses in Contact"));
    }
    let one = matches!(method, Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer);
    if one && request.values(HeaderName::Contact).nth(1).is_some() {
        return Err(Rejection::new(400, "Expected one Contact"));
    }
    Ok(())
}

fn check_method(request: &Message, supported: &Supported<'_>) -> Result<(), Rejection> {
    let method = request.method();
    if !supported.methods.is_empty() && !supported.methods.contains(&method) {
        let (status, reason) = match method {
            Method::Other(_) => (501, "Not Implemented"),
            _ => (405, "Method Not Allowed"),
        };
        let allow = List(supported.methods.iter().map(|method| method.as_str()));
        return Err(Rejection::new(status, reason).with("Allow", allow));
    }
    if request.cseq().method != method {
        return Err(Rejection::new(400, "Expected the same method in CSeq"));
    }
    Ok(())
}

fn check_max_forwards(request: &Message, supported: &Supported<'_>) -> Result<(), Rejection> {
    match request.max_forwards() {
        Some(Err(_)) => Err(Rejection::new(400, "Expected Max-Forwards from 0 to 255")),
        Some(Ok(0)) if supported.forwards && !matches!(request.method(), Method::Ack | Method::Cancel) => {
            Err(Rejection::new(483, "Too Many Hops"))
        }
        Some(Ok(_)) | None => Ok(()),
    }
}

fn check_request_uri(request: &Message, supported: &Supported<'_>) -> Result<(), Rejection> {
    let text = request.request_uri();
    let scheme = text.split(':').next().unwrap_or_default();
    if !supported.schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err(Rejection::new(416, "Unsupported URI Scheme"));
    }
    let Ok(uri) = Uri::parse(text) else {
        return Err(Rejection::new(400, "Expected user, host, port and parameters in the Request-URI"));
    };
    // RFC 3261 §19.1.1, table 1.
    if !uri.headers.is_empty() || uri.has_param("method") {
        return Err(Rejection::new(400, "Expected a Request-URI without header fields"));
    }
    Ok(())
}

/// RFC 3261 §10.3: the address of record is a SIP or SIPS URI, the Request-URI has no user.
fn check_register(request: &Message) -> Result<(), Rejection> {
    if request.method() != Method::Register {
        return Ok(());
    }
    match request.to().uri().map(|uri| uri.scheme) {
        Ok(Scheme::Sip | Scheme::Sips) => Ok(()),
        Ok(Scheme::Tel | Scheme::Other(_)) | Err(_) => Err(Rejection::new(400, "Expected a SIP or SIPS URI in To")),
    }
}

/// RFC 3261 §8.2.2.3, and §16.3 item 5 for Proxy-Require. Not for CANCEL and ACK, which cannot be refused so.
fn check_require(request: &Message, supported: &Supported<'_>) -> Result<(), Rejection> {
    if matches!(request.method(), Method::Ack | Method::Cancel) {
        return Ok(());
    }
    let unknown = |name: HeaderName, tags: &[&str]| {
        let tags = request.option_tags(name).filter(|tag| !tags.iter().any(|known| known.eq_ignore_ascii_case(tag)));
        let tags: Vec<&str> = tags.collect();
        if tags.is_empty() {
            return Ok(());
        }
        Err(Rejection::new(420, "Bad Extension").with("Unsupported", List(tags.into_iter())))
    };
    unknown(HeaderName::Require, supported.option_tags)?;
    match supported.proxy_option_tags {
        Some(tags) => unknown(HeaderName::ProxyRequire, tags),
        None => Ok(()),
    }
}

/// RFC 3261 §8.2.3. A body that need not be understood (`handling=optional`, §20.11) is let pass.
fn check_body(request: &Message, supported: &Supported<'_>) -> Result<(), Rejection> {
    let encoding = request.values(HeaderName::ContentEncoding).any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    if encoding && !request.body().is_empty() {
        return Err(Rejection::new(415, "Unsupported Media Type").with("Accept-Encoding", "identity"));
    }
    let offers = matches!(request.method(), Method::Invite | Method::Update | Method::Prack);
    if !offers || supported.body_types.is_empty() {
        return Ok(());
    }
    let optional = request
        .header_str(HeaderName::ContentDisposition)
        .is_some_and(|value| value.to_ascii_lowercase().replace(' ', "").contains("handling=optional"));
    let known = supported.body_types.iter().any(|known| request.has_content_type(known));
    if !request.body().is_empty() && !known && !optional {
        let accept = List(supported.body_types.iter().copied());
        return Err(Rejection::new(415, "Unsupported Media Type").with("Accept", accept));
    }
    let sdp = supported.body_types.contains(&"application/sdp");
    if sdp && request.method() == Method::Invite && request.has(HeaderName::Accept) && !accepts_sdp(request) {
        // RFC 4475 §3.3.15: the answer could not be read.
        return Err(Rejection::new(406, "Not Acceptable")
            .with("Warning", "399 - \"Accept leaves out application/sdp, which the answer would be\""));
    }
    Ok(())
}

fn accepts_sdp(request: &Message) -> bool {
    request.values(HeaderName::Accept).any(|range| {
        let bare = range.split(|b| matches!(b, b';' | b' ' | b'\t')).next().unwrap_or_default();
        [&b"application/sdp"[..], b"application/*", b"*/*"].iter().any(|known| bare.eq_ignore_ascii_case(known))
    })
}

/// Displays items with commas between them.
struct List<I>(I);

impl<'a, I: Iterator<Item = &'a str> + Clone> Display for List<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.clone().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            f.write_str(item)?;
        }
        Ok(())
    }
}
