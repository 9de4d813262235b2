//! The state of one dialog (RFC 3261 §12): its names, its route set, where its requests go, what is under way in it.
//! Kept and changed by the endpoint, read by its users.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::advertise::is_inside;
use crate::endpoint::{ClientTx, ServerTx};
use crate::flow::{Flow, ListenerId, Target, Transport};
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::session_timer::Session;
use crate::uri::Uri;
use crate::write::Headers;

/// A dialog of an endpoint. Never reused within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialogId(pub u64);

/// How far a dialog has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialogState {
    /// Begun by a provisional answer.
    Early,
    /// Begun or confirmed by a 2xx.
    Confirmed,
    /// Our BYE is under way.
    Closing,
}

/// Which side sent the INVITE that began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Caller,
    Callee,
}

/// One half of a call's signalling as we see it.
#[derive(Debug)]
pub struct Dialog {
    pub(crate) key: u128,
    pub(crate) side: Side,
    pub(crate) state: DialogState,
    pub(crate) call_id: Box<str>,
    pub(crate) local_tag: Box<str>,
    pub(crate) remote_tag: Box<str>,
    /// The whole value with its tag, as it goes into From of our requests.
    pub(crate) local: Box<[u8]>,
    pub(crate) remote: Box<[u8]>,
    pub(crate) local_seq: u32,
    pub(crate) remote_seq: Option<u32>,
    pub(crate) remote_target: Box<str>,
    pub(crate) routes: Box<[Box<str>]>,
    /// Our Contact value.
    pub(crate) contact: Box<str>,
    pub(crate) target: Target,
    pub(crate) tcp_alternative: Option<ListenerId>,
    allow: Option<MethodSet>,
    /// Option tags of the peer's Supported, each between commas: ",100rel,timer,".
    supported: Box<str>,
    pub(crate) session: Option<Session>,
    pub(crate) refresh_at: Option<Instant>,
    pub(crate) expiry_at: Option<Instant>,
    /// Our INVITE without a final answer, and whether it carried an offer.
    pub(crate) invite_out: Option<(ClientTx, bool)>,
    /// The peer's latest INVITE; it may have had its final answer.
    pub(crate) invite_in: Option<ServerTx>,
    pub(crate) update_out: Option<(ClientTx, bool)>,
    pub(crate) update_in: Option<ServerTx>,
    /// The offer of the INVITE under way was answered in a reliable provisional answer, so UPDATE may make another.
    pub(crate) early_answered: bool,
    /// 2xx of ours without an ACK: CSeq of the INVITE, its transaction, whether an answer is due in the ACK.
    pub(crate) unacked: SmallVec<[(u32, ServerTx, bool); 1]>,
    /// CSeq of our INVITE whose 2xx waits for the user to acknowledge it.
    pub(crate) to_ack: Option<u32>,
    /// The latest ACK we sent, for repeated 2xx.
    pub(crate) ack: Option<(u32, Bytes)>,
    /// Authorization fields of the INVITE, repeated in the ACK (RFC 3261 §13.2.2.4).
    pub(crate) credentials: Headers,
    /// The latest RSeq heard (RFC 3262 §4).
    pub(crate) rseq: Option<u32>,
    /// A reliable provisional answer that the user has to acknowledge with an SDP answer.
    pub(crate) to_prack: Option<(u32, u32)>,
    /// A BYE that waits for the ACK of the 2xx before it (RFC 3261 §15).
    pub(crate) waiting_bye: Option<ClientTx>,
}

impl Dialog {
    pub fn state(&self) -> DialogState {
        self.state
    }

    pub fn side(&self) -> Side {
        self.side
    }

    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    pub fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// "" where the peer (of RFC 2543) has none.
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// The URI that the next request goes to (RFC 3261 §12.2.1.1).
    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// The peer's address in From or To, with its display name.
    pub fn remote(&self) -> NameAddr<'_> {
        NameAddr::parse(&self.remote).expect("read when the dialog began")
    }

    pub fn remote_uri(&self) -> &str {
        self.remote().uri
    }

    pub fn local_uri(&self) -> &str {
        NameAddr::parse(&self.local).expect("read when the dialog began").uri
    }

    /// Route values in the order in which requests carry them.
    pub fn routes(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| &**route)
    }

    /// Where our next request is sent.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The flow of the peer's messages, where requests follow it.
    pub fn flow(&self) -> Option<&Flow> {
        match &self.target {
            Target::Flow(flow) => Some(flow),
            Target::Connect { .. } => None,
        }
    }

    /// The URI whose host is the next hop: the first Route, or the remote target (RFC 3261 §8.1.2).
    pub fn next_hop_uri(&self) -> &str {
        match self.routes.first() {
            Some(route) => NameAddr::parse(route.as_bytes()).map_or(&*self.remote_target, |route| route.uri),
            None => &self.remote_target,
        }
    }

    /// By its Allow; a peer that sent none knows the methods of RFC 3261 that belong in a dialog.
    pub fn peer_allows(&self, method: Method<'_>) -> bool {
        match self.allow {
            Some(allow) => allow.has(method),
            None => matches!(method, Method::Invite | Method::Ack | Method::Bye | Method::Cancel | Method::Options),
        }
    }

    /// By its Supported, in any case.
    pub fn peer_supports(&self, tag: &str) -> bool {
        self.supported.split(',').any(|known| !known.is_empty() && known.eq_ignore_ascii_case(tag))
    }

    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Whether an INVITE of either side is unanswered.
    pub fn is_inviting(&self) -> bool {
        self.invite_out.is_some() || !self.unacked.is_empty()
    }

    /// Takes over what a message of the peer says about itself: Allow, Supported.
    pub(crate) fn learn(&mut self, message: &Message) {
        if message.has(HeaderName::Allow) {
            self.allow = Some(message.option_tags(HeaderName::Allow).map(Method::from_name).collect());
        }
        if message.has(HeaderName::Supported) {
            let mut tags = String::new();
            for tag in message.option_tags(HeaderName::Supported) {
                if !tags.is_empty() {
                    tags.push(',');
                }
                tags.push_str(tag);
            }
            if *self.supported != *tags {
                self.supported = tags.into_boxed_str();
            }
        }
    }

    /// Target refresh (RFC 3261 §12.2.1.2, §12.2.2).
    pub(crate) fn refresh_target(&mut self, message: &Message) {
        if let Some(contact) = contact_of(message)
            && contact != &*self.remote_target
        {
            self.remote_target = contact.into();
        }
    }
}

/// What a new dialog is made of.
pub(crate) struct NewDialog<'a> {
    pub(crate) key: u128,
    pub(crate) side: Side,
    pub(crate) message: &'a Message,
    pub(crate) local_tag: &'a str,
    pub(crate) remote_tag: &'a str,
    pub(crate) local: Box<[u8]>,
    pub(crate) remote: Box<[u8]>,
    pub(crate) local_seq: u32,
    pub(crate) remote_seq: Option<u32>,
    pub(crate) remote_target: &'a str,
    pub(crate) contact: Box<str>,
    pub(crate) target: Target,
    pub(crate) tcp_alternative: Option<ListenerId>,
}

impl NewDialog<'_> {
    /// RFC 3261 §12.1.1 and §12.1.2: the route set is the Record-Route list, reversed for the caller.
    pub(crate) fn build(self) -> Dialog {
        let mut routes: Vec<Box<str>> = self
            .message
            .values(HeaderName::RecordRoute)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .map(Box::from)
            .collect();
        if self.side == Side::Caller {
            routes.reverse();
        }
        let mut dialog = Dialog {
            key: self.key,
            side: self.side,
            state: DialogState::Early,
            call_id: self.message.call_id().into(),
            local_tag: self.local_tag.into(),
            remote_tag: self.remote_tag.into(),
            local: self.local,
            remote: self.remote,
            local_seq: self.local_seq,
            remote_seq: self.remote_seq,
            remote_target: self.remote_target.into(),
            routes: routes.into_boxed_slice(),
            contact: self.contact,
            target: self.target,
            tcp_alternative: self.tcp_alternative,
            allow: None,
            supported: "".into(),
            session: None,
            refresh_at: None,
            expiry_at: None,
            invite_out: None,
            invite_in: None,
            update_out: None,
            update_in: None,
            early_answered: false,
            unacked: SmallVec::new(),
            to_ack: None,
            ack: None,
            credentials: Headers::new(),
            rseq: None,
            to_prack: None,
            waiting_bye: None,
        };
        dialog.learn(self.message);
        dialog
    }
}

/// The URI of the first Contact.
pub(crate) fn contact_of(message: &Message) -> Option<&str> {
    Some(message.contacts().next()?.ok()?.uri)
}

/// Where requests of a dialog go that began with a request sent to `sent_to` (we called) or that came by `flow`.
///
/// A flow we were told to use, or a stream the peer opened, is used again: the peer may be behind a NAT. Otherwise the
/// next hop's URI decides where it names an address; names are left to the user, who knows DNS (`set_target`).
pub(crate) fn dialog_target(base: Target, next_hop: &str) -> Target {
    let Target::Connect { transport, listener, remote, server_name: None } = &base else {
        return base;
    };
    match literal_address(next_hop, *transport) {
        Some(address) if !hidden_from(address.ip(), remote.ip()) => {
            Target::Connect { transport: *transport, listener: *listener, remote: address, server_name: None }
        }
        _ => base,
    }
}

/// The same for a callee: behind a NAT what the peer writes differs from where its packets come from.
pub(crate) fn callee_target(flow: Flow, request: &Message, next_hop: &str) -> Target {
    let via = request.top_via();
    let as_written = via.host.ip().is_some_and(|ip| ip.to_canonical() == flow.remote.ip().to_canonical())
        && via.port.unwrap_or(flow.transport.default_port()) == flow.remote.port();
    let single_hop = request.values(HeaderName::Via).nth(1).is_none();
    if flow.transport != Transport::Udp || !as_written && single_hop {
        return Target::Flow(flow);
    }
    match literal_address(next_hop, Transport::Udp) {
        Some(address) if address != flow.remote && !hidden_from(address.ip(), flow.remote.ip()) => {
            Target::Connect { transport: Transport::Udp, listener: flow.listener, remote: address, server_name: None }
        }
        _ => Target::Flow(flow),
    }
}

fn literal_address(uri: &str, transport: Transport) -> Option<SocketAddr> {
    let uri = Uri::parse(uri).ok().filter(|uri| uri.scheme.is_sip())?;
    let ip = uri.host.ip()?;
    let written = uri.param("transport").unwrap_or(if transport.is_secure() { transport.as_param() } else { "udp" });
    if !written.eq_ignore_ascii_case(transport.as_param()) {
        return None;
    }
    Some(SocketAddr::new(ip, uri.port.unwrap_or(transport.default_port())))
}

/// A private address that somebody writes who is not reached at one (RFC 1918, RFC 4193).
fn hidden_from(written: IpAddr, seen: IpAddr) -> bool {
    let private = |ip: IpAddr| is_inside(ip) || ip.to_canonical().is_unspecified();
    private(written) && (!private(seen) || written.is_unspecified())
}

/// The known methods as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MethodSet(u16);

impl MethodSet {
    fn bit(method: Method<'_>) -> Option<u16> {
        Method::KNOWN.iter().position(|known| *known == method).map(|at| 1 << at)
    }

    fn has(self, method: Method<'_>) -> bool {
        MethodSet::bit(method).is_some_and(|bit| self.0 & bit != 0)
    }
}

impl<'a> FromIterator<Method<'a>> for MethodSet {
    fn from_iter<I: IntoIterator<Item = Method<'a>>>(methods: I) -> Self {
        MethodSet(methods.into_iter().filter_map(MethodSet::bit).fold(0, |set, bit| set | bit))
    }
}
