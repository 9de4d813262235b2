//! Messages of the endpoint as bytes: answers, requests within dialogs and out of them, ACK and CANCEL.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::Bytes;

use super::key::{Branch, Kind, Tag};
use super::{Contact, EndpointConfig, ListenerInfo, OutRequest, Response};
use crate::dialog::Dialog;
use crate::flow::{Flow, ListenerId, Target, Transport};
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::uri::Uri;
use crate::write::{self, Body, Headers, RequestHead, ResponseHead, ViaOut};

/// Header fields that are the same in every message, ready to be copied.
struct Lines {
    user_agent: Headers,
    server: Headers,
    allow: Headers,
    /// By whether `timer` and `100rel` are among the tags.
    supported: [[Headers; 2]; 2],
}

impl Lines {
    fn new(config: &EndpointConfig) -> Lines {
        let one = |name: &str, value: Option<&str>| {
            let mut headers = Headers::new();
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                headers.push(name, value);
            }
            headers
        };
        let supported = |timer: bool, reliable: bool| {
            let wanted = |tag: &&&str| match **tag {
                "timer" => timer,
                "100rel" => reliable,
                _ => true,
            };
            let tags: Vec<&str> = config.supported.iter().filter(wanted).copied().collect();
            one("Supported", Some(&tags.join(", ")))
        };
        Lines {
            user_agent: one("User-Agent", config.user_agent.as_deref()),
            server: one("Server", config.user_agent.as_deref()),
            allow: one("Allow", Some(&config.allow.join(", "))),
            supported: [
                [supported(false, false), supported(false, true)],
                [supported(true, false), supported(true, true)],
            ],
        }
    }

    fn supported(&self, timer: bool, reliable: bool) -> &Headers {
        &self.supported[usize::from(timer)][usize::from(reliable)]
    }
}

/// Writes messages. Apart from the endpoint's tables so that it can read from them while it writes.
pub(super) struct Writer {
    lines: Lines,
    listeners: Vec<ListenerInfo>,
    force_rport: bool,
    /// Messages are written here and copied out at their exact length.
    scratch: Vec<u8>,
}

/// What a request within a dialog says beyond the dialog itself.
pub(super) struct Within<'a> {
    pub(super) method: Method<'a>,
    pub(super) cseq: u32,
    pub(super) headers: &'a Headers,
    pub(super) body: Option<&'a Body>,
    /// Session timer fields.
    pub(super) session: Option<super::SessionTimer>,
    /// RSeq and CSeq that a PRACK is for.
    pub(super) rack: Option<(u32, u32)>,
}

/// Appends `name` from `lines` unless the user has set it.
fn default_lines(block: &mut Headers, lines: &Headers, name: &str, given: &Headers) {
    if given.is_empty() || !given.contains(name) {
        block.append(lines);
    }
}

fn methods_with_contact(method: Method<'_>) -> bool {
    matches!(
        method,
        Method::Invite | Method::Register | Method::Subscribe | Method::Refer | Method::Update | Method::Notify
    )
}

/// A Contact value of ours (RFC 3261 §8.1.1.8).
pub(super) fn contact_value(
    listener: &ListenerInfo,
    peer: IpAddr,
    user: Option<&str>,
    params: &str,
    secure: bool,
) -> String {
    let mut value = String::with_capacity(64);
    value.push_str(if secure { "<sips:" } else { "<sip:" });
    if let Some(user) = user {
        value.push_str(user);
        value.push('@');
    }
    write!(value, "{}", listener.told_to(peer)).expect("writing to a string does not fail");
    if listener.transport != Transport::Udp {
        value.push_str(";transport=");
        value.push_str(listener.transport.as_param());
    }
    value.push('>');
    value.push_str(params);
    value
}

impl Writer {
    pub(super) fn new(config: &EndpointConfig) -> Writer {
        Writer {
            lines: Lines::new(config),
            listeners: config.listeners.clone(),
            force_rport: config.force_rport,
            scratch: Vec::new(),
        }
    }

    pub(super) fn listener(&self, id: ListenerId) -> Option<&ListenerInfo> {
        // Ids are indexes as a rule.
        match self.listeners.get(usize::from(id.0)) {
            Some(listener) if listener.id == id => Some(listener),
            _ => self.listeners.iter().find(|listener| listener.id == id),
        }
    }

    fn take_scratch(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        out
    }

    /// Copies what was written out at its exact length and keeps the room for the next message.
    fn keep_scratch(&mut self, out: Vec<u8>) -> Bytes {
        let bytes = Bytes::copy_from_slice(&out);
        if out.capacity() <= 65_536 {
            self.scratch = out;
        }
        bytes
    }

    /// The flow that the answer to a request goes back on (RFC 3261 §18.2.2, RFC 3581 §4). `maddr` is not heeded: it
    /// would let a stranger aim our answers at somebody else.
    pub(super) fn reply_port(&self, request: &Message, flow: &Flow) -> u16 {
        if flow.transport != Transport::Udp || self.force_rport {
            return flow.remote.port();
        }
        let via = request.top_via();
        if via.rport().is_some() { flow.remote.port() } else { via.port.unwrap_or(5060) }
    }

    /// An answer without anything that a dialog would add.
    pub(super) fn plain_answer(&mut self, request: &Message, flow: &Flow, tag: Option<Tag>, r: &Response) -> Bytes {
        let mut block = Headers::new();
        self.server_lines(&mut block, r);
        block.append(&r.headers);
        self.write_answer(request, flow, tag, r, &block)
    }

    /// What every answer says, and the Allow that a 405 must have (RFC 3261 §8.2.1).
    pub(super) fn server_lines(&self, block: &mut Headers, r: &Response) {
        if r.status == 405 {
            default_lines(block, &self.lines.allow, "Allow", &r.headers);
        }
        default_lines(block, &self.lines.server, "Server", &r.headers);
    }

    /// Allow and Supported as they stand in answers that say what we can do.
    pub(super) fn capability_lines(&self, block: &mut Headers, given: &Headers) {
        default_lines(block, &self.lines.allow, "Allow", given);
        default_lines(block, self.lines.supported(true, true), "Supported", given);
    }

    pub(super) fn write_answer(
        &mut self,
        request: &Message,
        flow: &Flow,
        tag: Option<Tag>,
        r: &Response,
        block: &Headers,
    ) -> Bytes {
        let mut out = self.take_scratch();
        let head = ResponseHead {
            status: r.status,
            reason: r.reason.as_deref(),
            to_tag: tag.as_ref().map(Tag::as_str),
            source: Some(flow.remote),
        };
        write::write_response(&mut out, request, &head, block, r.body.as_ref());
        self.keep_scratch(out)
    }

    /// The Contact of a request out of dialog.
    pub(super) fn contact_of_request(&self, r: &OutRequest) -> Option<String> {
        let (listener, peer) = (self.listener(r.target.listener())?, r.target.remote().ip());
        let secure = r.request_uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"));
        match &r.contact {
            Some(Contact { raw: Some(raw), .. }) => Some(raw.clone()),
            Some(contact) => Some(contact_value(listener, peer, contact.user.as_deref(), &contact.params, secure)),
            None if methods_with_contact(r.method) && !r.headers.contains("Contact") => {
                Some(contact_value(listener, peer, None, "", secure))
            }
            None => None,
        }
    }

    /// A request out of dialog whose Call-ID, From tag and CSeq are filled in.
    pub(super) fn write_new(
        &mut self,
        r: &OutRequest,
        contact: Option<&str>,
        target: &Target,
        branch: Branch,
    ) -> Bytes {
        let mut block = Headers::new();
        if matches!(r.method, Method::Invite | Method::Options | Method::Subscribe) {
            default_lines(&mut block, &self.lines.allow, "Allow", &r.headers);
            let lines = self.lines.supported(r.session.is_some(), r.reliable);
            default_lines(&mut block, lines, "Supported", &r.headers);
        }
        if let Some(session) = &r.session {
            session.write(&mut block);
        }
        default_lines(&mut block, &self.lines.user_agent, "User-Agent", &r.headers);
        block.append(&r.headers);
        let mut out = self.take_scratch();
        let listener = self.listener(target.listener()).expect("checked before a transaction was made");
        let routes: Vec<&str> = r.routes.iter().map(String::as_str).collect();
        let head = RequestHead {
            method: r.method,
            uri: &r.request_uri,
            via: ViaOut {
                transport: target.transport(),
                sent_by: listener.told_to(target.remote().ip()),
                branch: branch.as_str(),
                rport: true,
            },
            max_forwards: r.max_forwards,
            routes: &routes,
            from: &r.from,
            from_tag: r.from_tag.as_deref().unwrap_or(""),
            to: &r.to,
            to_tag: None,
            call_id: r.call_id.as_deref().unwrap_or(""),
            cseq: r.cseq.unwrap_or(1),
            contact,
        };
        write::write_request(&mut out, &head, &block, r.body.as_ref());
        self.keep_scratch(out)
    }

    /// A request within a dialog (RFC 3261 §12.2.1.1).
    pub(super) fn write_within(&mut self, dialog: &Dialog, target: &Target, branch: Branch, w: &Within<'_>) -> Bytes {
        let mut out = self.take_scratch();
        let strict = dialog.routes.first().and_then(|first| strict_router(first));
        write::request_line(&mut out, w.method, request_uri(dialog));
        let listener = self.listener(target.listener()).expect("checked before a transaction was made");
        let via = ViaOut {
            transport: target.transport(),
            sent_by: listener.told_to(target.remote().ip()),
            branch: branch.as_str(),
            rport: true,
        };
        write::via(&mut out, &via);
        write::header(&mut out, "Max-Forwards", 70);
        for route in dialog.routes.iter().skip(usize::from(strict.is_some())) {
            write::header_bytes(&mut out, "Route", route.as_bytes());
        }
        if strict.is_some() {
            write::header(&mut out, "Route", format_args!("<{}>", dialog.remote_target));
        }
        write::header_bytes(&mut out, "From", &dialog.local);
        write::header_bytes(&mut out, "To", &dialog.remote);
        write::header_bytes(&mut out, "Call-ID", dialog.call_id.as_bytes());
        write::cseq(&mut out, w.cseq, w.method);
        if let Some((rseq, cseq)) = w.rack {
            write::header(&mut out, "RAck", format_args!("{rseq} {cseq} INVITE"));
        }
        let contact = methods_with_contact(w.method) || w.method == Method::Ack && !dialog.contact.is_empty();
        if contact && !w.headers.contains("Contact") {
            write::header_bytes(&mut out, "Contact", dialog.contact.as_bytes());
        }
        let mut block = Headers::new();
        if matches!(w.method, Method::Invite | Method::Update) {
            default_lines(&mut block, &self.lines.allow, "Allow", w.headers);
            default_lines(&mut block, self.lines.supported(w.session.is_some(), false), "Supported", w.headers);
        }
        if let Some(session) = &w.session {
            session.write(&mut block);
        }
        default_lines(&mut block, &self.lines.user_agent, "User-Agent", w.headers);
        out.extend_from_slice(block.as_bytes());
        out.extend_from_slice(w.headers.as_bytes());
        write::finish(&mut out, w.body);
        self.keep_scratch(out)
    }

    /// The ACK for a refusal (RFC 3261 §17.1.1.3) with `to` of the answer, or the CANCEL (§9.1), made of the INVITE as
    /// it was sent.
    pub(super) fn write_from_invite(
        &mut self,
        invite: &[u8],
        method: Method<'_>,
        to: Option<&[u8]>,
        extra: &Headers,
    ) -> Bytes {
        let mut out = self.take_scratch();
        let mut lines = invite.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = lines.next().unwrap_or_default();
        out.extend_from_slice(method.as_str().as_bytes());
        out.extend_from_slice(&start[start.iter().position(|&b| b == b' ').unwrap_or(0)..]);
        out.extend_from_slice(b"\r\n");
        let mut first_via = true;
        for line in lines.take_while(|line| !line.is_empty()) {
            let name = &line[..line.iter().position(|&b| b == b':').unwrap_or(0)];
            match name {
                b"Via" if !std::mem::take(&mut first_via) => {}
                b"CSeq" => {
                    let number = line.split(|&b| b == b' ').nth(1).unwrap_or_default();
                    out.extend_from_slice(b"CSeq: ");
                    out.extend_from_slice(number);
                    out.push(b' ');
                    out.extend_from_slice(method.as_str().as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
                b"To" if to.is_some() => write::header_bytes(&mut out, "To", to.unwrap_or_default()),
                b"Via" | b"Max-Forwards" | b"Route" | b"From" | b"To" | b"Call-ID" => {
                    out.extend_from_slice(line);
                    out.extend_from_slice(b"\r\n");
                }
                _ => {}
            }
        }
        out.extend_from_slice(extra.as_bytes());
        write::finish(&mut out, None);
        self.keep_scratch(out)
    }

    /// The same request with a Via for another transport.
    pub(super) fn with_other_via(&mut self, payload: &Bytes, target: &Target, branch: Branch) -> Option<Bytes> {
        let (sent_by, transport) =
            (self.listener(target.listener())?.told_to(target.remote().ip()).clone(), target.transport());
        let start = memchr::memmem::find(payload, b"\r\n")? + 2;
        let end = start + memchr::memmem::find(&payload[start..], b"\r\n")? + 2;
        let mut out = self.take_scratch();
        out.extend_from_slice(&payload[..start]);
        write::via(&mut out, &ViaOut { transport, sent_by: &sent_by, branch: branch.as_str(), rport: true });
        out.extend_from_slice(&payload[end..]);
        Some(self.keep_scratch(out))
    }
}

/// The Request-URI within a dialog: the remote target, or the first route of a strict router (RFC 3261 §12.2.1.1).
pub(super) fn request_uri(dialog: &Dialog) -> &str {
    dialog.routes.first().and_then(|first| strict_router(first)).unwrap_or(&dialog.remote_target)
}

/// The URI of a first Route that is a strict router's, that is without `lr` (RFC 3261 §12.2.1.1).
fn strict_router(route: &str) -> Option<&str> {
    let uri = NameAddr::parse(route.as_bytes()).ok()?.uri;
    let loose = Uri::parse(uri).map_or(true, |uri| uri.is_loose_router());
    (!loose).then_some(uri)
}

/// Whether a request of that kind has its reply's Contact written by us.
pub(super) fn answers_with_contact(kind: Kind, status: u16) -> bool {
    match kind {
        Kind::Invite => (101..300).contains(&status),
        Kind::Update => (200..300).contains(&status),
        Kind::Ack | Kind::Cancel | Kind::Bye | Kind::Prack | Kind::Register | Kind::Other => false,
    }
}

/// Appends the Record-Route fields of a request, as answers that begin a dialog repeat them (RFC 3261 §12.1.1).
pub(super) fn copy_record_routes(request: &Message, block: &mut Headers) {
    for line in request.headers(HeaderName::RecordRoute) {
        block.push_bytes("Record-Route", line);
    }
}
