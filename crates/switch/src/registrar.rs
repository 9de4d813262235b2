//! The registrar (RFC 3261 §10): which contacts an extension has, and how each is reached. Bounded by extension;
//! what happens here is told to the journal, so that phones ring after a restart (RUN-1).

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use ringfort_sip::flow::{ConnId, Flow, ListenerId, Target, Transport};
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::name_addr::NameAddr;
use ringfort_sip::uri::{Scheme, Uri, uri_eq};
use ringfort_sip::write::Headers;
use rustc_hash::FxHashMap;

use crate::clock::Clock;
use crate::config::RegistrarConfig;
use crate::gruu::{Claim, Gruus};
use crate::model::{Extension, ExtensionId};
use crate::record::{Binding, JournalRecord};

/// Longest Contact URI that is kept, in bytes.
const LONGEST_CONTACT: usize = 512;
/// Path of one contact, in bytes of all its lines together.
const LONGEST_PATH: usize = 2_048;
/// Longest `+sip.instance` and Call-ID that are kept, in bytes.
const LONGEST_INSTANCE: usize = 128;
const LONGEST_CALL_ID: usize = 256;

/// One registered contact.
#[derive(Clone, Debug)]
pub struct Contact {
    /// The URI as the phone wrote it: the Request-URI of calls to it.
    pub uri: Box<str>,
    pub path: Box<[Box<str>]>,
    pub instance: Option<Box<str>>,
    /// RFC 5626 §4.2: from 1 on.
    pub reg_id: Option<NonZeroU32>,
    /// Thousandths.
    pub q: u16,
    pub call_id: Box<str>,
    pub cseq: u32,
    /// The same for all contacts of an instance: temporary GRUUs of another one are void (RFC 5627 §5.3).
    gruu_epoch: u32,
    pub user_agent: Box<str>,
    pub flow: Flow,
    /// Whether calls go back along `flow`; otherwise they go to the address in the URI.
    pub by_flow: bool,
    pub expires: Instant,
    /// When a keep-alive was last sent.
    kept_alive: Option<Instant>,
}

impl Contact {
    /// What makes it the same binding when it is registered again (RFC 5626 §6.2; else RFC 3261 §10.3).
    pub fn key(&self) -> String {
        match (&self.instance, self.reg_id) {
            (Some(instance), Some(reg_id)) => format!("{instance};reg-id={reg_id}"),
            _ => self.uri.to_string(),
        }
    }

    fn is_same_binding(&self, other: &Contact) -> bool {
        match (&self.instance, self.reg_id, &other.instance, other.reg_id) {
            (Some(a), Some(x), Some(b), Some(y)) => a == b && x == y,
            _ if self.uri == other.uri => true,
            _ => match (Uri::parse(&self.uri), Uri::parse(&other.uri)) {
                (Ok(a), Ok(b)) => uri_eq(&a, &b),
                _ => false,
            },
        }
    }

    /// Where a request to this contact is sent.
    pub fn target(&self) -> Target {
        if self.by_flow {
            return Target::Flow(self.flow);
        }
        Target::Connect {
            transport: self.flow.transport,
            listener: self.flow.listener,
            remote: address_in(&self.uri).unwrap_or(self.flow.remote),
            server_name: None,
        }
    }

    fn record(&self, extension: &Extension, clock: &Clock) -> Binding {
        Binding {
            tenant: extension.tenant,
            extension: extension.id,
            key: self.key(),
            contact: self.uri.to_string(),
            path: self.path.iter().map(|p| p.to_string()).collect(),
            instance: self.instance.as_ref().map(|i| i.to_string()),
            reg_id: self.reg_id.map(NonZeroU32::get),
            q: self.q,
            call_id: self.call_id.to_string(),
            cseq: self.cseq,
            user_agent: self.user_agent.to_string(),
            transport: self.flow.transport.as_str().to_owned(),
            listener: self.flow.listener.0,
            local: self.flow.local,
            remote: self.flow.remote,
            expires_at: clock.unix(self.expires),
            gruu_epoch: self.gruu_epoch,
            credentials: extension.credentials.fingerprint(),
        }
    }
}

/// Who registers, and what of the system the registrar needs for it.
#[derive(Clone, Copy)]
pub struct Registrant<'a> {
    pub extension: &'a Extension,
    pub clock: &'a Clock,
    /// No contact may name one of these: its calls would come back for ever.
    pub own_addresses: &'a [SocketAddr],
    /// Host part of the extension's own address.
    pub realm: &'a str,
    pub(crate) gruus: &'a Gruus,
    /// Drawn anew for each request.
    pub chance: u64,
}

/// A REGISTER that was refused: what the phone is told, and which rule did it.
#[derive(Debug)]
pub struct RegisterRefused {
    pub status: u16,
    pub rule: &'static str,
    pub text: String,
    pub headers: Headers,
}

impl RegisterRefused {
    fn new(status: u16, rule: &'static str, text: impl Into<String>) -> Box<Self> {
        Box::new(Self { status, rule, text: text.into(), headers: Headers::default() })
    }
}

/// A REGISTER that was accepted.
#[derive(Debug)]
pub struct Registered {
    /// Contact, Date and what else belongs into the 200.
    pub headers: Headers,
    pub records: Vec<JournalRecord>,
    pub added: usize,
    pub removed: usize,
    /// Contacts that are reached by this request's flow from now on, and were not before: bound anew or moved.
    pub moved: Vec<Moved>,
}

/// A contact that has another flow than before.
#[derive(Debug)]
pub struct Moved {
    pub uri: Box<str>,
    pub instance: Option<Box<str>>,
}

/// What the periodic look found.
#[derive(Debug, Default)]
pub struct Sweep {
    pub expired: usize,
    pub keep_alive: Vec<Flow>,
}

/// All bindings.
pub struct Registrar {
    config: RegistrarConfig,
    contacts: FxHashMap<ExtensionId, Vec<Contact>>,
    by_conn: FxHashMap<ConnId, Vec<ExtensionId>>,
    by_remote: FxHashMap<SocketAddr, u32>,
}

impl Registrar {
    pub fn new(config: RegistrarConfig) -> Self {
        Self { config, contacts: FxHashMap::default(), by_conn: FxHashMap::default(), by_remote: FxHashMap::default() }
    }

    /// Bindings, expired ones that were not swept yet included.
    pub fn len(&self) -> usize {
        self.contacts.values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.contacts.is_empty()
    }

    /// Whether a registered phone uses this source address.
    pub fn knows_remote(&self, remote: SocketAddr) -> bool {
        self.by_remote.contains_key(&remote)
    }

    /// The live contacts of an extension, best q first, latest registration first among equals.
    pub fn live(&self, now: Instant, extension: ExtensionId) -> Vec<&Contact> {
        let mut live: Vec<&Contact> =
            self.contacts.get(&extension).into_iter().flatten().filter(|c| c.expires > now).collect();
        live.sort_by(|a, b| b.q.cmp(&a.q).then(b.expires.cmp(&a.expires)));
        live
    }

    /// Whether a live contact of the extension came by that flow.
    pub fn has_flow(&self, now: Instant, extension: ExtensionId, flow: &Flow) -> bool {
        self.contacts.get(&extension).into_iter().flatten().any(|c| c.expires > now && c.flow == *flow)
    }

    /// The instance that a temporary GRUU was made for, while its registration lasts.
    pub(crate) fn instance_of_gruu(&self, now: Instant, gruus: &Gruus, claim: &Claim) -> Option<&str> {
        let contacts = self.contacts.get(&claim.extension)?.iter().filter(|c| c.expires > now);
        let mut instances = contacts.filter_map(|c| Some((c.instance.as_deref()?, c.gruu_epoch)));
        instances.find(|(instance, epoch)| gruus.fits(claim, instance, *epoch)).map(|(instance, _)| instance)
    }

    /// The extensions that have contacts, in order.
    pub fn extensions(&self) -> Vec<ExtensionId> {
        let mut ids: Vec<ExtensionId> = self.contacts.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// RFC 3261 §10.3, steps 6 to 8: all of the request's contacts are taken, or none.
    pub fn register(
        &mut self,
        now: Instant,
        request: &Message,
        flow: &Flow,
        registrant: &Registrant<'_>,
    ) -> Result<Registered, Box<RegisterRefused>> {
        let Registrant { extension, clock, .. } = *registrant;
        let header_expires = self.header_expires(request)?;
        let wildcard = request.is_wildcard_contact();
        let parsed: Vec<NameAddr<'_>> = request
            .contacts()
            .filter(|_| !wildcard)
            .collect::<Result<_, _>>()
            .map_err(|e| RegisterRefused::new(400, "registrar.contact", format!("Contact cannot be read: {e}")))?;
        check_sizes(request, parsed.len(), extension)?;
        let path = path_of(request);
        let mut next = self.contacts.get(&extension.id).cloned().unwrap_or_default();
        next.retain(|c| c.expires > now);
        let mut outcome =
            Registered { headers: Headers::default(), records: Vec::new(), added: 0, removed: 0, moved: Vec::new() };

        if wildcard {
            if request.values(HeaderName::Contact).nth(1).is_some() || header_expires != Some(0) {
                return Err(RegisterRefused::new(
                    400,
                    "registrar.wildcard",
                    "Contact: * stands alone and with Expires: 0 (RFC 3261 §10.2.2)",
                ));
            }
            for contact in next.drain(..) {
                check_order(&contact, request)?;
                outcome.records.push(JournalRecord::Unbound { extension: extension.id, key: contact.key() });
                outcome.removed += 1;
            }
        } else {
            let mut refreshed: Vec<String> = Vec::with_capacity(parsed.len());
            for address in &parsed {
                let wanted = self.lifetime(address, header_expires)?;
                let mut contact = self.contact(now, request, flow, address, wanted, &path, registrant)?;
                let old = next.iter().position(|c| c.is_same_binding(&contact));
                let was_there = old.is_some();
                let before = old.map(|i| next[i].flow);
                let renewed = choose_epoch(&mut contact, &mut next, registrant.chance);
                if let Some(i) = old {
                    check_order(&next[i], request)?;
                    let key = next.remove(i).key();
                    // The journal knows the binding by its old key, should that have changed.
                    if wanted.is_zero() || key != contact.key() {
                        outcome.records.push(JournalRecord::Unbound { extension: extension.id, key });
                    }
                }
                if wanted.is_zero() {
                    outcome.removed += usize::from(was_there);
                    continue;
                }
                if renewed {
                    let others = next.iter().filter(|c| c.instance == contact.instance);
                    outcome.records.extend(others.map(|c| JournalRecord::Bound(c.record(extension, clock))));
                }
                outcome.added += usize::from(!was_there);
                if contact.by_flow && before != Some(contact.flow) {
                    outcome.moved.push(Moved { uri: contact.uri.clone(), instance: contact.instance.clone() });
                }
                refreshed.push(contact.key());
                outcome.records.push(JournalRecord::Bound(contact.record(extension, clock)));
                next.push(contact);
            }
            while next.len() > extension.max_contacts as usize {
                // A phone that restarts leaves its old contact behind: the one nearest to its end makes room.
                let others = (0..next.len()).filter(|&i| !refreshed.contains(&next[i].key()));
                let Some(oldest) = others.min_by_key(|&i| next[i].expires) else { break };
                let gone = next.remove(oldest);
                outcome.records.push(JournalRecord::Unbound { extension: extension.id, key: gone.key() });
                outcome.removed += 1;
            }
        }

        self.replace(extension.id, next);
        self.write_contacts(now, request, registrant, &mut outcome.headers);
        outcome.headers.push("Date", clock.date(now));
        Ok(outcome)
    }

    /// Takes bindings that the journal kept. Connections are gone after a restart: only what can be reached without
    /// one is taken.
    pub fn restore(&mut self, now: Instant, clock: &Clock, bindings: Vec<Binding>) -> usize {
        let mut taken = 0;
        self.contacts.reserve(bindings.len());
        self.by_remote.reserve(bindings.len());
        for b in bindings {
            let Some(transport) = transport_named(&b.transport) else { continue };
            let left = Duration::from_millis(b.expires_at.0.saturating_sub(clock.unix(now).0));
            if left.is_zero() {
                continue;
            }
            let flow =
                Flow { transport, listener: ListenerId(b.listener), conn: None, local: b.local, remote: b.remote };
            let contact = Contact {
                by_flow: transport == Transport::Udp && address_in(&b.contact).map(|a| a.ip()) != Some(b.remote.ip()),
                uri: b.contact.into(),
                path: b.path.into_iter().map(Into::into).collect(),
                instance: b.instance.map(Into::into),
                reg_id: b.reg_id.and_then(NonZeroU32::new),
                q: b.q,
                call_id: b.call_id.into(),
                cseq: b.cseq,
                gruu_epoch: b.gruu_epoch,
                user_agent: b.user_agent.into(),
                flow,
                expires: now + left,
                kept_alive: None,
            };
            if !contact.survives_its_connection() {
                continue;
            }
            let mut next = self.contacts.get(&b.extension).cloned().unwrap_or_default();
            next.retain(|c| !c.is_same_binding(&contact));
            next.push(contact);
            self.replace(b.extension, next);
            taken += 1;
        }
        taken
    }

    /// A connection has closed: phones that were reached by it only are gone until they come again
    /// (RFC 5626 §6); a TCP contact with an address of its own can be connected to.
    pub fn conn_closed(&mut self, conn: ConnId) -> Vec<JournalRecord> {
        let mut records = Vec::new();
        for extension in self.by_conn.remove(&conn).unwrap_or_default() {
            let Some(current) = self.contacts.get(&extension) else { continue };
            let mut next = Vec::with_capacity(current.len());
            for contact in current {
                let mut contact = contact.clone();
                if contact.flow.conn == Some(conn) {
                    if !contact.survives_its_connection() {
                        records.push(JournalRecord::Unbound { extension, key: contact.key() });
                        continue;
                    }
                    contact.by_flow = false;
                    contact.flow.conn = None;
                }
                next.push(contact);
            }
            self.replace(extension, next);
        }
        records
    }

    /// Removes bindings by an operator's word: all, or those with this contact URI.
    pub fn unregister(&mut self, extension: ExtensionId, contact: Option<&str>) -> Vec<JournalRecord> {
        let Some(current) = self.contacts.get(&extension) else { return Vec::new() };
        let (gone, kept): (Vec<Contact>, Vec<Contact>) =
            current.iter().cloned().partition(|c| contact.is_none_or(|wanted| wanted == &*c.uri));
        self.replace(extension, kept);
        gone.iter().map(|c| JournalRecord::Unbound { extension, key: c.key() }).collect()
    }

    /// Drops what has expired and lists the flows of phones behind NAT that need a keep-alive now.
    pub fn sweep(&mut self, now: Instant) -> Sweep {
        let mut sweep = Sweep::default();
        let every = self.config.nat_keepalive;
        for extension in self.extensions() {
            let contacts = self.contacts.get_mut(&extension).expect("the id was just listed");
            for contact in contacts.iter_mut() {
                let nat = contact.by_flow && contact.flow.transport == Transport::Udp;
                let due = contact.kept_alive.is_none_or(|at| now >= at + every);
                if nat && !every.is_zero() && due && contact.expires > now {
                    contact.kept_alive = Some(now);
                    sweep.keep_alive.push(contact.flow);
                }
            }
            if contacts.iter().any(|c| c.expires <= now) {
                let next: Vec<Contact> = contacts.iter().filter(|c| c.expires > now).cloned().collect();
                sweep.expired += contacts.len() - next.len();
                self.replace(extension, next);
            }
        }
        sweep
    }

    /// Puts an extension's contacts in place and keeps both indexes in step: the one writer of all three maps.
    fn replace(&mut self, extension: ExtensionId, mut next: Vec<Contact>) {
        next.shrink_to_fit();
        let before = if next.is_empty() {
            self.contacts.remove(&extension)
        } else {
            let conns: Vec<ConnId> = next.iter().filter_map(|c| c.flow.conn).collect();
            for c in &next {
                *self.by_remote.entry(c.flow.remote).or_default() += 1;
            }
            let before = self.contacts.insert(extension, next);
            for conn in conns {
                let list = self.by_conn.entry(conn).or_default();
                if !list.contains(&extension) {
                    list.push(extension);
                }
            }
            before
        };
        for old in before.unwrap_or_default() {
            if let Some(n) = self.by_remote.get_mut(&old.flow.remote) {
                *n -= 1;
                if *n == 0 {
                    self.by_remote.remove(&old.flow.remote);
                }
            }
            let Some(conn) = old.flow.conn else { continue };
            let still = self.contacts.get(&extension).is_some_and(|cs| cs.iter().any(|c| c.flow.conn == Some(conn)));
            if !still && let Some(list) = self.by_conn.get_mut(&conn) {
                list.retain(|e| *e != extension);
                if list.is_empty() {
                    self.by_conn.remove(&conn);
                }
            }
        }
    }

    fn header_expires(&self, request: &Message) -> Result<Option<u32>, Box<RegisterRefused>> {
        match request.header_str(HeaderName::Expires) {
            None => Ok(None),
            // RFC 3261 §20.19: a malformed value counts as 3600; one too large for 32 bits is the largest.
            Some(text) => Ok(Some(parse_seconds(&text).unwrap_or(3600))),
        }
    }

    fn lifetime(&self, address: &NameAddr<'_>, header: Option<u32>) -> Result<Duration, Box<RegisterRefused>> {
        let asked = match address.param("expires") {
            Some(text) => parse_seconds(text).unwrap_or(3600),
            None => header.unwrap_or(self.config.default_expires.as_secs() as u32),
        };
        let asked = Duration::from_secs(u64::from(asked));
        if !asked.is_zero() && asked < self.config.min_expires {
            let least = self.config.min_expires.as_secs();
            let mut refused = RegisterRefused::new(
                423,
                "registrar.min_expires",
                format!("expires of {} s is shorter than {least} s", asked.as_secs()),
            );
            refused.headers.push("Min-Expires", least);
            return Err(refused);
        }
        Ok(asked.min(self.config.max_expires))
    }

    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one contact")]
    fn contact(
        &self,
        now: Instant,
        request: &Message,
        flow: &Flow,
        address: &NameAddr<'_>,
        lifetime: Duration,
        path: &[Box<str>],
        registrant: &Registrant<'_>,
    ) -> Result<Contact, Box<RegisterRefused>> {
        let text = address.uri.trim();
        if text.len() > LONGEST_CONTACT {
            let words = format!("a Contact URI of {} bytes is longer than {LONGEST_CONTACT}", text.len());
            return Err(RegisterRefused::new(400, "registrar.contact", words));
        }
        let uri = Uri::parse(text)
            .map_err(|e| RegisterRefused::new(400, "registrar.contact", format!("Contact is no SIP URI: {e}")))?;
        if !uri.scheme.is_sip() {
            return Err(RegisterRefused::new(400, "registrar.contact", "a phone's Contact is a sip or sips URI"));
        }
        if address_in(text).is_some_and(|a| registrant.own_addresses.contains(&a)) {
            return Err(RegisterRefused::new(403, "registrar.loop", "the Contact is this system's own address"));
        }
        // RFC 5627 §5.1: nor is it the address of record or a GRUU of it.
        let user = uri.user_unescaped().unwrap_or_default();
        if uri.host_str().eq_ignore_ascii_case(registrant.realm)
            && uri.port.is_none()
            && (user == registrant.extension.number.as_str() || registrant.gruus.read(&user).is_some())
        {
            return Err(RegisterRefused::new(
                403,
                "registrar.loop",
                "the Contact is the address that it registers for",
            ));
        }
        let q = address
            .param("q")
            .and_then(|q| q.parse::<f32>().ok())
            .map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16);
        let address_is_source = address_in(text).is_some_and(|a| a.ip() == flow.remote.ip());
        let cseq = request.cseq();
        Ok(Contact {
            uri: text.into(),
            by_flow: flow.conn.is_some() || !path.is_empty() || !address_is_source,
            path: path.into(),
            instance: instance_of(address)?,
            reg_id: address.param("reg-id").and_then(|r| r.parse().ok()),
            q,
            call_id: request.call_id().into(),
            cseq: cseq.number,
            gruu_epoch: 0,
            user_agent: request
                .header_str(HeaderName::UserAgent)
                .unwrap_or_default()
                .chars()
                .take(64)
                .collect::<String>()
                .into(),
            flow: *flow,
            expires: now + lifetime,
            kept_alive: None,
        })
    }

    fn write_contacts(&self, now: Instant, request: &Message, registrant: &Registrant<'_>, out: &mut Headers) {
        let Registrant { extension, realm, gruus, chance, .. } = *registrant;
        let gruu = request.option_tags(HeaderName::Supported).any(|t| t.eq_ignore_ascii_case("gruu"));
        let mut outbound = false;
        // One for each instance, however many flows it has.
        let mut made: Vec<(&str, String)> = Vec::new();
        for c in self.live(now, extension.id) {
            let left = c.expires.saturating_duration_since(now).as_secs().max(1);
            let mut value = format!("<{}>;expires={left}", c.uri);
            if c.q != 1000 {
                value.push_str(&format!(";q=0.{:03}", c.q));
            }
            if let Some(instance) = &c.instance {
                value.push_str(&format!(";+sip.instance=\"<{instance}>\""));
                if let Some(reg_id) = c.reg_id {
                    outbound = true;
                    value.push_str(&format!(";reg-id={reg_id}"));
                }
                if gruu {
                    // RFC 5627 §5.3: the public GRUU is the AOR with the instance as its gr parameter.
                    value.push_str(&format!(";pub-gruu=\"sip:{}@{realm};gr={instance}\"", extension.number));
                    let known = made.iter().position(|(of, _)| *of == &**instance);
                    let at = known.unwrap_or_else(|| {
                        let new = gruus.make(chance, made.len(), extension.id, instance, c.gruu_epoch);
                        made.push((instance, new));
                        made.len() - 1
                    });
                    value.push_str(&format!(";temp-gruu=\"sip:{}@{realm};gr\"", made[at].1));
                }
            }
            out.push("Contact", value);
        }
        let mut path_seen = false;
        for path in request.headers(HeaderName::Path) {
            path_seen = true;
            out.push("Path", String::from_utf8_lossy(path));
        }
        // RFC 5627 §5.2: `gruu` does not belong here.
        out.push("Supported", if path_seen { "path, outbound" } else { "outbound" });
        if outbound && request.option_tags(HeaderName::Supported).any(|t| t.eq_ignore_ascii_case("outbound")) {
            // RFC 5626 §6: tells the phone that its flow is bound, and how often to keep it alive.
            out.push("Require", "outbound");
            out.push("Flow-Timer", 120);
        }
    }
}

/// Which temporary GRUUs of a contact's instance are good from now on: those of before, unless its registration (for a
/// flow, that of its reg-id) comes with another Call-ID, or the instance was not registered at all (RFC 5627 §5.3).
/// `true`: they are void, and the instance's other contacts know.
fn choose_epoch(contact: &mut Contact, others: &mut [Contact], chance: u64) -> bool {
    let Some(instance) = contact.instance.clone() else { return false };
    let of_instance = |c: &&Contact| c.instance.as_deref() == Some(&*instance);
    let Some(epoch) = others.iter().find(of_instance).map(|c| c.gruu_epoch) else {
        contact.gruu_epoch = new_epoch(chance, 0);
        return false;
    };
    let same = others.iter().filter(of_instance).filter(|c| contact.reg_id.is_none() || c.reg_id == contact.reg_id);
    let renewed = same.max_by_key(|c| c.expires).is_some_and(|c| c.call_id != contact.call_id);
    contact.gruu_epoch = if renewed { new_epoch(chance, epoch) } else { epoch };
    if renewed {
        for other in others.iter_mut().filter(|c| c.instance.as_deref() == Some(&*instance)) {
            other.gruu_epoch = contact.gruu_epoch;
        }
    }
    renewed
}

fn new_epoch(chance: u64, before: u32) -> u32 {
    let drawn = (chance >> 16) as u32;
    if drawn == 0 || drawn == before { before.wrapping_add(1).max(1) } else { drawn }
}

impl Contact {
    /// Whether the phone can be reached when the connection that it registered by is gone.
    fn survives_its_connection(&self) -> bool {
        match self.flow.transport {
            Transport::Udp => true,
            Transport::Tcp => {
                self.reg_id.is_none() && address_in(&self.uri).is_some_and(|a| a.ip() == self.flow.remote.ip())
            }
            Transport::Tls | Transport::Ws | Transport::Wss => false,
        }
    }
}

/// What one REGISTER may hold and what of it is kept, in bounds: a phone has a few contacts, and none needs kilobytes.
fn check_sizes(request: &Message, contacts: usize, extension: &Extension) -> Result<(), Box<RegisterRefused>> {
    if contacts > extension.max_contacts as usize {
        let words = format!("{contacts} contacts are more than the {} that it may have", extension.max_contacts);
        return Err(RegisterRefused::new(403, "registrar.max_contacts", words));
    }
    let path: usize = request.headers(HeaderName::Path).map(<[u8]>::len).sum();
    if path > LONGEST_PATH || request.call_id().len() > LONGEST_CALL_ID {
        let words = format!("a Path of {path} bytes or a Call-ID of {} is too long", request.call_id().len());
        return Err(RegisterRefused::new(400, "registrar.contact", words));
    }
    Ok(())
}

fn path_of(request: &Message) -> Box<[Box<str>]> {
    request.headers(HeaderName::Path).map(|p| String::from_utf8_lossy(p).into_owned().into_boxed_str()).collect()
}

/// `+sip.instance` without its quotes and brackets (RFC 5626 §4.1).
fn instance_of(address: &NameAddr<'_>) -> Result<Option<Box<str>>, Box<RegisterRefused>> {
    let Some(instance) = address.param("+sip.instance") else { return Ok(None) };
    let instance = instance.trim_matches(['"', '<', '>']);
    if instance.len() > LONGEST_INSTANCE || instance.contains(['"', '<', '>', '\\', ';']) {
        let words = "expected +sip.instance to be a URN in quotes and angle brackets";
        return Err(RegisterRefused::new(400, "registrar.contact", words));
    }
    Ok(Some(instance.into()))
}

/// RFC 3261 §10.3 step 7: within one Call-ID, an older or equal CSeq must not undo a later one.
fn check_order(existing: &Contact, request: &Message) -> Result<(), Box<RegisterRefused>> {
    if &*existing.call_id == request.call_id() && request.cseq().number <= existing.cseq {
        return Err(RegisterRefused::new(500, "registrar.order", "CSeq is not above that of the registration before"));
    }
    Ok(())
}

/// The address in a SIP URI whose host is an IP address; the port defaults to the transport's.
fn address_in(uri: &str) -> Option<SocketAddr> {
    let uri = Uri::parse(uri).ok()?;
    let secure = uri.scheme == Scheme::Sips || uri.param("transport").is_some_and(|t| t.eq_ignore_ascii_case("tls"));
    Some(SocketAddr::new(uri.host.ip()?, uri.port.unwrap_or(if secure { 5061 } else { 5060 })))
}

fn parse_seconds(text: &str) -> Option<u32> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u32::MAX))
}

fn transport_named(name: &str) -> Option<Transport> {
    [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss]
        .into_iter()
        .find(|t| t.as_str().eq_ignore_ascii_case(name))
}

/// The end of a binding, for those who list them.
pub fn seconds_left(contact: &Contact, now: Instant) -> u64 {
    contact.expires.saturating_duration_since(now).as_secs()
}
