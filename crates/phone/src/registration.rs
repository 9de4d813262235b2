//! The phone's registration (RFC 3261 §10.2): one Call-ID for its life, CSeq rising, refreshed before it ends, longer
//! where the registrar says 423. A failure is told, and tried again later. Called by `events` and the owner.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};
use ringfort_sip::digest::{ClientAuth, Credentials};
use ringfort_sip::endpoint::{Contact, OutRequest};
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::write::Headers;

use crate::requests::Goal;
use crate::{Event, Phone, PhoneError, Timer};

/// How long after a failure the phone tries again.
const RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Registration {
    call_id: String,
    from_tag: String,
    cseq: u32,
    /// What the owner wants.
    wanted: bool,
    registered: bool,
    /// Counts the verbs: a timer of an older generation has no say.
    generation: u32,
    /// What the registrar's 423 asked for.
    min_expires: Duration,
    /// The nonce in use: refreshes carry credentials unasked.
    pub(crate) auth: Option<ClientAuth>,
}

impl Registration {
    pub(crate) fn new(credentials: Option<&Credentials>, rng: &mut impl Rng) -> Self {
        Self {
            auth: credentials.cloned().map(ClientAuth::new),
            call_id: format!("{:016x}{:08x}", rng.next_u64(), rng.next_u32()),
            from_tag: format!("{:08x}", rng.next_u32()),
            cseq: rng.next_u32() & 0xFFFF,
            wanted: false,
            registered: false,
            generation: 0,
            min_expires: Duration::ZERO,
        }
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.registered
    }
}

impl Phone {
    /// Registers, and keeps the registration refreshed until [`Self::unregister`].
    pub fn register(&mut self, now: Instant) -> Result<(), PhoneError> {
        self.registration.wanted = true;
        self.send_register(now)
    }

    /// Takes this phone's contact away from the registrar.
    pub fn unregister(&mut self, now: Instant) -> Result<(), PhoneError> {
        self.registration.wanted = false;
        self.send_register(now)
    }

    fn send_register(&mut self, now: Instant) -> Result<(), PhoneError> {
        self.registration.generation += 1;
        let expires = match self.registration.wanted {
            true => self.config.expires.max(self.registration.min_expires),
            false => Duration::ZERO,
        };
        let mut params = format!(";expires={}", expires.as_secs());
        if let Some(instance) = &self.config.instance {
            params.push_str(&format!(";+sip.instance=\"<{instance}>\""));
        }
        let mut headers = Headers::default();
        headers.push("Expires", expires.as_secs());
        let registrar = format!("sip:{}", self.config.domain);
        if let Some(auth) = &mut self.registration.auth {
            auth.accepted();
            if let Some(unasked) = auth.next("REGISTER", &registrar, &mut self.rng) {
                headers.append(&unasked);
            }
        }
        let own = format!("sip:{}@{}", self.config.user, self.config.domain);
        self.registration.cseq += 1;
        let request = OutRequest {
            to: self.own_address(),
            request_uri: registrar,
            contact: Some(Contact { user: Some(self.config.user.clone()), params, raw: None }),
            headers,
            call_id: Some(self.registration.call_id.clone()),
            cseq: Some(self.registration.cseq),
            from_tag: Some(self.registration.from_tag.clone()),
            ..self.new_request(Method::Register, &own)
        };
        self.send(now, Goal::Register, request).map(drop)
    }

    /// The REGISTER went again with credentials: its CSeq is one higher.
    pub(crate) fn register_challenged(&mut self) {
        self.registration.cseq += 1;
    }

    /// The final answer to a REGISTER.
    pub(crate) fn register_answered(&mut self, now: Instant, response: &Message) {
        match response.status() {
            200..=299 if self.registration.wanted => {
                let expires = self.granted(response);
                self.registration.registered = true;
                // Early enough for all retransmissions of a refresh, late enough not to be a nuisance.
                let refresh = (expires / 2).max(expires.saturating_sub(Duration::from_secs(40)));
                self.arm(now + refresh, Timer::Register { generation: self.registration.generation });
                self.events.push_back(Event::Registered { expires });
            }
            200..=299 => {
                self.registration.registered = false;
                self.events.push_back(Event::Unregistered);
            }
            423 => {
                let min = response
                    .header_str(HeaderName::MinExpires)
                    .and_then(|value| value.trim().parse().ok())
                    .map(Duration::from_secs);
                match min {
                    Some(min) if self.registration.wanted && min > self.registration.min_expires => {
                        self.registration.min_expires = min;
                        if self.send_register(now).is_err() {
                            self.register_failed(now, 503);
                        }
                    }
                    _ => self.register_failed(now, 423),
                }
            }
            status => self.register_failed(now, status),
        }
    }

    /// The connection that the registrar reaches us by is gone; another one is opened a little later, so that all
    /// phones do not come at once after a restart of the server.
    pub(crate) fn register_over_new_connection(&mut self, now: Instant) {
        if self.registration.wanted && self.config.listener.transport.is_reliable() {
            let wait = Duration::from_millis(self.rng.random_range(500..3000));
            self.registration.generation += 1;
            self.arm(now + wait, Timer::Register { generation: self.registration.generation });
        }
    }

    /// No registration for now: it is told, and tried again where the owner still wants it.
    pub(crate) fn register_failed(&mut self, now: Instant, status: u16) {
        self.registration.registered = false;
        self.events.push_back(Event::RegisterFailed { status });
        if self.registration.wanted && !matches!(status, 401 | 403 | 404 | 407 | 423) {
            self.arm(now + RETRY, Timer::Register { generation: self.registration.generation });
        }
    }

    pub(crate) fn register_timer(&mut self, now: Instant, generation: u32) {
        if generation == self.registration.generation && self.registration.wanted && self.send_register(now).is_err() {
            self.register_failed(now, 503);
        }
    }

    /// What the 200 gives our own contact: its `expires`, else the header field's (RFC 3261 §10.2.4).
    fn granted(&self, response: &Message) -> Duration {
        let own = &self.config.listener.advertised;
        let seconds = response
            .contacts()
            .flatten()
            .find(|contact| {
                contact.uri().is_ok_and(|uri| {
                    uri.user == Some(self.config.user.as_str())
                        && uri.host_str() == own.host
                        && uri.port.is_none_or(|port| Some(port) == own.port)
                })
            })
            .and_then(|contact| contact.param("expires").and_then(|value| value.parse().ok()))
            .or_else(|| response.expires().and_then(Result::ok));
        seconds.map_or(self.config.expires, |seconds| Duration::from_secs(u64::from(seconds)))
    }
}
