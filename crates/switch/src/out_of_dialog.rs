//! Requests out of any dialog: REGISTER, OPTIONS, MESSAGE and those that are refused. INVITE goes to `call`.

use std::time::Instant;

use rand::Rng as _;
use ringfort_guard::{Offence, Reach};
use ringfort_sip::check::{Rejection, Supported, inspect_request};
use ringfort_sip::endpoint::{OutRequest, Response, ServerTx};
use ringfort_sip::flow::Flow;
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::uri::{Scheme, Uri, uri_eq};

use crate::Switch;
use crate::auth::Identity;
use crate::call::ClientUse;
use crate::crossing;
use crate::gruu::Claim;
use crate::io::{Level, Output};
use crate::model::{Extension, ExtensionId, TenantId};
use crate::registrar::{Contact, Registrant};
use crate::wall::Proof;

/// What a request may ask of us (RFC 3261 §8.2).
const SUPPORTED: Supported<'static> = Supported {
    methods: &[],
    schemes: &["sip", "sips", "tel"],
    option_tags: &["timer", "100rel", "path", "outbound", "gruu"],
    proxy_option_tags: None,
    body_types: &["application/sdp", "multipart/mixed", "multipart/alternative", "multipart/related"],
    forwards: true,
};

/// A MESSAGE on its way to the contacts of an extension: the first 2xx answers it, or the best refusal when all
/// have refused (RFC 3428 §7).
#[derive(Debug)]
pub(crate) struct Errand {
    pub open: usize,
    pub best: u16,
    pub answered: bool,
}

impl Switch {
    /// The order of RFC 3261 §8.2: who asks comes before everything that a request says, so that a stranger learns
    /// nothing but the challenge (GUARD-10; `docs/order-of-checks.md`). What needs no identity is looked at at once.
    pub(crate) fn on_request(&mut self, now: Instant, tx: ServerTx, request: Message, flow: Flow) {
        match request.method() {
            Method::Invite => self.on_invite(now, tx, &request, &flow),
            Method::Register => self.on_register(now, tx, &request, &flow),
            Method::Message => self.on_message(now, tx, &request, &flow),
            Method::Options => {
                // Everybody is answered, so nothing is kept of it (RFC 3261 §11.2).
                match self.inspect(&request, &flow) {
                    Ok(()) => self.on_options(&request, &flow),
                    Err(rejection) => self.endpoint.respond_stateless(&request, &flow, refusal(rejection)),
                }
            }
            // RFC 3261 §12.2.2 and RFC 6665 §4.1.3: these live in a dialog or follow a subscription.
            Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Notify => {
                self.on_homeless(now, tx, &request, &flow, 481);
            }
            // RFC 6665 §8.3.2: no event package is served yet.
            Method::Subscribe | Method::Publish => self.on_homeless(now, tx, &request, &flow, 489),
            Method::Refer => self.on_homeless(now, tx, &request, &flow, 405),
            Method::Other(_) => self.on_homeless(now, tx, &request, &flow, 501),
            Method::Ack | Method::Cancel => {}
        }
    }

    /// A request that nobody here takes: a phone is told so with `status` once it has proven itself (CALL-2), for a
    /// stranger on an external profile there is no more to hear.
    fn on_homeless(&mut self, now: Instant, tx: ServerTx, request: &Message, flow: &Flow, status: u16) {
        let from = request.from().uri.to_owned();
        if self.phone(now, tx, request, flow, &from, status).is_some() {
            self.answer(now, tx, status);
        }
    }

    /// What is wrong with a request by itself (RFC 3261 §8.2.1 to §8.2.3): 400, 415, 416, 420, 483 and the like.
    pub(crate) fn inspect(&mut self, request: &Message, flow: &Flow) -> Result<(), Rejection> {
        let supported = Supported { forwards: !request.method().ends_here(), ..SUPPORTED };
        let result = inspect_request(request, &supported);
        if let Err(rejection) = &result {
            self.counters.malformed += u64::from(rejection.status == 400);
            let text = format!("{} from {}: {}", request.method().as_str(), flow.remote, rejection.reason);
            self.notice(Level::Debug, None, None, "format", text);
        }
        result
    }

    fn on_options(&mut self, request: &Message, flow: &Flow) {
        // RFC 3261 §11.2: what an INVITE would get, with what we can do. While stopping, it would get 503.
        let status = if self.draining { 503 } else { 200 };
        let response = Response::new(status).header("Accept", "application/sdp").header("Accept-Language", "en");
        self.endpoint.respond_stateless(request, flow, response);
    }

    /// Authenticates a request of a phone and looks at what it says; `None` when it has been answered. Strangers on an
    /// external profile get `refusal`: nothing of the kind is for them.
    pub(crate) fn phone(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Message,
        flow: &Flow,
        address: &str,
        refusal: u16,
    ) -> Option<(TenantId, ExtensionId)> {
        let Some(tenant) = self.tenant_of(address) else {
            self.answer(now, tx, 503);
            return None;
        };
        if !self.profile_of(flow).kind.authenticates() {
            let offence = match request.method() {
                Method::Register => Some(Offence::Authentication),
                Method::Message => Some(Offence::UnknownUser),
                _ => None,
            };
            if let Some(offence) = offence {
                self.offence(now, flow, offence, "context.public", Proof::of(flow), request);
            }
            self.endpoint.respond_stateless(request, flow, Response::new(refusal));
            return None;
        }
        match self.authenticate(now, request, flow, tenant) {
            Identity::Proven(extension) => match self.inspect(request, flow) {
                Ok(()) => match self.asker(flow, true).admit(now, &mut Reach::Local) {
                    Ok((_proof, ())) => Some((tenant, extension)),
                    Err(denied) => {
                        self.count_refusal(denied.rule);
                        self.answer(now, tx, denied.status.unwrap_or(403));
                        None
                    }
                },
                Err(rejection) => {
                    if rejection.status == 400 {
                        self.offence(now, flow, Offence::Malformed, "format", Proof::Given, request);
                    }
                    // In its transaction: repeated, the request would be challenged, for its nonce count is used up.
                    let _ = self.endpoint.respond(now, tx, self::refusal(rejection));
                    None
                }
            },
            Identity::Challenged { .. } => None,
        }
    }

    fn on_register(&mut self, now: Instant, tx: ServerTx, request: &Message, flow: &Flow) {
        let to = request.to();
        let address = to.uri.to_owned();
        let Some((tenant, extension)) = self.phone(now, tx, request, flow, &address, 403) else { return };
        let extension = self.directory.extension(extension).expect("it was just authenticated");
        if !names_extension(&address, extension) {
            let text = format!("extension {} tried to register another address", extension.number);
            self.counters.registrations_refused += 1;
            self.count_refusal("registrar.address");
            self.notice(Level::Warn, Some(tenant), None, "registrar.address", text);
            return self.answer(now, tx, 403);
        }
        let registrant = Registrant {
            extension,
            clock: &self.clock,
            own_addresses: &self.own_addresses,
            realm: self.directory.realm(tenant),
            gruus: &self.gruus,
            chance: self.rng.next_u64(),
        };
        match self.registrar.register(now, request, flow, &registrant) {
            Ok(registered) => {
                self.counters.registrations_accepted += 1;
                let (number, extension) = (extension.number.clone(), extension.id);
                for record in registered.records {
                    self.outputs.push_back(Output::Journal(record));
                }
                if registered.added + registered.removed > 0 {
                    let text = format!(
                        "extension {number}: {} added, {} removed, from {} by {}",
                        registered.added, registered.removed, flow.remote, flow.transport
                    );
                    self.notice(Level::Info, Some(tenant), None, "registrar", text);
                }
                self.answer_with(now, tx, 200, registered.headers);
                if !registered.moved.is_empty() && self.calls_of(extension) > 0 {
                    self.follow(now, extension, &registered.moved, flow);
                }
            }
            Err(refused) => {
                self.counters.registrations_refused += 1;
                let text = format!("extension {}: {}", extension.number, refused.text);
                self.count_refusal(refused.rule);
                self.notice(Level::Info, Some(tenant), None, refused.rule, text);
                self.answer_with(now, tx, refused.status, refused.headers);
            }
        }
    }

    fn on_message(&mut self, now: Instant, tx: ServerTx, request: &Message, flow: &Flow) {
        let from = request.from().uri.to_owned();
        let Some((tenant, sender)) = self.phone(now, tx, request, flow, &from, 404) else { return };
        self.counters.messages += 1;
        let Some(callee) = self.called(now, tenant, request.request_uri()) else { return self.answer(now, tx, 404) };
        if !crossing::body_crosses(request) {
            return self.refuse_body(now, tx);
        }
        let max_forwards = next_hop(request);
        let from = self.identity(tenant, sender);
        let to = format!("<sip:{}@{}>", callee.number, self.directory.realm(tenant));
        let contacts = self.reachable(now, callee.id, request.request_uri());
        if max_breadth(request) < contacts.len() {
            // RFC 7332 §6, RFC 5393 §5.3.3.2: as for a call.
            return self.answer(now, tx, 440);
        }
        let breadth = max_breadth(request) / contacts.len().max(1);
        let requests: Vec<OutRequest> = contacts
            .into_iter()
            .map(|contact| {
                let target = contact.target();
                let profile = self.config.listeners[usize::from(target.listener().0)].profile;
                let mut headers = crossing::cross(request, crossing::MESSAGE);
                headers.push("Max-Breadth", breadth);
                OutRequest {
                    routes: contact.path.iter().map(|p| p.to_string()).collect(),
                    from: from.clone(),
                    to: to.clone(),
                    max_forwards,
                    headers,
                    body: crossing::cross_body(request),
                    tcp_alternative: self.tcp_beside(profile, &target, &contact.uri),
                    ..OutRequest::new(Method::Message, &*contact.uri, target)
                }
            })
            .collect();
        let mut open = 0;
        for out in requests {
            if let Ok(client) = self.endpoint.send_request(now, out) {
                self.clients.insert(client, ClientUse::Errand(tx));
                open += 1;
            }
        }
        if open == 0 {
            return self.answer(now, tx, 480);
        }
        self.errands.insert(tx, Errand { open, best: 480, answered: false });
    }

    /// A body that does not cross (CALL-1).
    pub(crate) fn refuse_body(&mut self, now: Instant, tx: ServerTx) {
        let mut headers = ringfort_sip::write::Headers::default();
        headers.push("Accept", crossing::ACCEPT);
        self.answer_with(now, tx, 415, headers);
    }

    /// One contact answered a MESSAGE.
    pub(crate) fn on_errand_answer(&mut self, now: Instant, tx: ServerTx, status: u16) {
        let Some(errand) = self.errands.get_mut(&tx) else { return };
        if status < 200 {
            return;
        }
        errand.open -= 1;
        let (open, first_success) = (errand.open, status < 300 && !errand.answered);
        errand.answered |= status < 300;
        if status >= 300 && crate::call::outcome::better(status, errand.best) {
            errand.best = status;
        }
        let (answered, best) = (errand.answered, errand.best);
        if first_success {
            self.answer(now, tx, status);
        }
        if open == 0 {
            self.errands.remove(&tx);
            if !answered {
                self.answer(now, tx, crate::call::outcome::for_caller(best));
            }
        }
    }

    /// The number or name that a Request-URI asks for, where its host is this tenant's or an address of ours.
    pub(crate) fn dialled(&self, tenant: TenantId, request_uri: &str) -> Option<String> {
        let uri = Uri::parse(request_uri).ok()?;
        let here = uri.scheme == Scheme::Tel
            || match self.directory.tenant_of_domain(uri.host_str()) {
                Some(other) => other == tenant,
                None => uri.host.ip().is_some() || uri.host_str().eq_ignore_ascii_case("localhost"),
            };
        if !here {
            return None;
        }
        uri.user_unescaped().map(|u| u.into_owned()).filter(|u| !u.is_empty())
    }

    /// The enabled extension that a Request-URI means: by its number, or by a temporary GRUU of one of its phones
    /// (RFC 5627 §6.1) that is still valid.
    pub(crate) fn called(&self, now: Instant, tenant: TenantId, request_uri: &str) -> Option<&Extension> {
        let wanted = self.dialled(tenant, request_uri)?;
        let extension = match self.temporary_gruu(request_uri) {
            Some(claim) => {
                self.registrar.instance_of_gruu(now, &self.gruus, &claim)?;
                self.directory.extension(claim.extension).filter(|e| e.tenant == tenant)
            }
            None => self.directory.by_number(tenant, &wanted),
        };
        extension.filter(|e| e.enabled)
    }

    fn temporary_gruu(&self, request_uri: &str) -> Option<Claim> {
        let uri = Uri::parse(request_uri).ok().filter(|uri| uri.has_param("gr"))?;
        self.gruus.read(&uri.user_unescaped()?)
    }

    /// The contacts that a Request-URI means: all of the extension's, or the one instance of a GRUU (RFC 5627 §6.1);
    /// for a `sips` URI those that are reached by TLS alone (RFC 3261 §26.2.2).
    pub(crate) fn reachable(&self, now: Instant, callee: ExtensionId, request_uri: &str) -> Vec<&Contact> {
        let mut contacts = self.registrar.live(now, callee);
        let Ok(uri) = Uri::parse(request_uri) else { return contacts };
        if let Some(claim) = self.temporary_gruu(request_uri) {
            let instance = self.registrar.instance_of_gruu(now, &self.gruus, &claim);
            contacts.retain(|c| c.instance.as_deref() == instance && instance.is_some());
        } else if let Some(instance) = uri.param("gr") {
            contacts.retain(|c| c.instance.as_deref() == Some(instance));
        }
        if uri.scheme == Scheme::Sips {
            contacts.retain(|c| c.target().transport().is_secure());
        }
        contacts
    }

    /// The instance of the phone that sent a request: the one whose GRUU is its Contact (RFC 5627 §4.4), else the one that
    /// is registered by the flow and with the Contact of it.
    pub(crate) fn instance_of(
        &self,
        now: Instant,
        extension: ExtensionId,
        request: &Message,
        flow: &Flow,
    ) -> Option<Box<str>> {
        let contact = request.contacts().next()?.ok()?;
        let live = self.registrar.live(now, extension);
        if let Some(claim) = self.temporary_gruu(contact.uri).filter(|claim| claim.extension == extension) {
            return self.registrar.instance_of_gruu(now, &self.gruus, &claim).map(Box::from);
        }
        let uri = Uri::parse(contact.uri).ok()?;
        let is_its = |c: &&Contact| match uri.param("gr").filter(|gr| !gr.is_empty()) {
            Some(instance) => c.instance.as_deref() == Some(instance),
            None => c.flow == *flow && is_same_uri(&c.uri, contact.uri),
        };
        live.into_iter().find(is_its)?.instance.clone()
    }

    /// The From that the other side sees: number and name of the extension, never what the phone wrote.
    pub(crate) fn identity(&self, tenant: TenantId, extension: ExtensionId) -> String {
        let realm = self.directory.realm(tenant);
        let Some(extension) = self.directory.extension(extension) else { return format!("<sip:anonymous@{realm}>") };
        named(&extension.name, &format!("sip:{}@{realm}", extension.number))
    }
}

/// A name-addr (RFC 3261 §25.1): `"Ann" <sip:101@pbx.example>`.
pub(crate) fn named(name: &str, uri: &str) -> String {
    if name.is_empty() {
        return format!("<{uri}>");
    }
    let mut quoted = String::with_capacity(name.len());
    for c in name.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    format!("\"{quoted}\" <{uri}>")
}

/// The answer to a request that is refused for what it says.
pub(crate) fn refusal(rejection: Rejection) -> Response {
    let mut response = Response::new(rejection.status).reason(rejection.reason);
    response.headers = rejection.headers;
    response
}

pub(crate) fn is_same_uri(a: &str, b: &str) -> bool {
    let equal = || Some(uri_eq(&Uri::parse(a).ok()?, &Uri::parse(b).ok()?));
    a == b || equal().unwrap_or(false)
}

/// Max-Forwards goes down across the legs (RFC 7332 §4).
pub(crate) fn next_hop(request: &Message) -> u8 {
    let given = request.max_forwards().and_then(Result::ok).unwrap_or(70);
    given.min(70).saturating_sub(1) as u8
}

/// How many branches a request may still make at once (RFC 5393 §5.3.3.1): what it says, but no more than the default.
pub(crate) fn max_breadth(request: &Message) -> usize {
    const DEFAULT: usize = 60;
    request.max_breadth().and_then(Result::ok).map_or(DEFAULT, |n| (n as usize).min(DEFAULT))
}

/// Whether an address-of-record is this extension's own: its number or its SIP user name.
fn names_extension(address: &str, extension: &Extension) -> bool {
    let Ok(uri) = Uri::parse(address) else { return false };
    let Some(user) = uri.user_unescaped() else { return false };
    user == extension.number.as_str() || user == extension.credentials.user.as_str()
}
