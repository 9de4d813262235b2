//! What stands before the telephone of a carrier: a registrar, digest, and its way with each call. Stateless where it can
//! be, so that a repetition gets the same answer. Called by `world`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_phone::AnswerPolicy;
use ringfort_sip::digest::{AuthFailure, Challenger, Ha1Set};
use ringfort_sip::flow::{Flow, Target, Transmit};
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::write::Headers;

use crate::lines::{self, CarrierPlan, Manner};

const NONCE_LIFETIME: Duration = Duration::from_secs(120);
/// What a challenge of a stranger's names.
pub(crate) const STRANGE_REALM: &str = "stranger.example";

/// What becomes of a message.
pub(crate) enum Taken {
    /// It is for the telephone, which is to answer so from now on.
    Passed(Message, Flow, Option<AnswerPolicy>),
    Answered(Transmit),
    Swallowed,
}

/// The front of one carrier.
pub(crate) struct Front {
    plan: CarrierPlan,
    account: String,
    hashes: Ha1Set,
    challenger: Challenger,
    stranger: Challenger,
    /// The contact that is registered, and until when.
    binding: Option<(String, Instant)>,
    /// INVITEs that are looked at late, by Call-ID.
    held: BTreeMap<String, (Instant, Message, Flow)>,
    /// Wrong credentials were given: that is no accident.
    pub wronged: bool,
    /// Calls whose BYE was asked for credentials, and whether it has come with them.
    byes: BTreeMap<String, bool>,
}

impl Front {
    pub(crate) fn new(plan: CarrierPlan, index: usize, seed: u64) -> Self {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&seed.to_le_bytes());
        let challenger = |realm: String| Challenger::new(realm, vec![plan.algorithm], NONCE_LIFETIME, secret);
        Self {
            account: lines::account(index),
            hashes: Ha1Set::new(&lines::account(index), &lines::realm(index), &lines::password(index)),
            challenger: challenger(lines::realm(index)),
            stranger: challenger(STRANGE_REALM.to_owned()),
            binding: None,
            held: BTreeMap::new(),
            wronged: false,
            byes: BTreeMap::new(),
            plan,
        }
    }

    /// Where a customer's number is called.
    pub(crate) fn contact(&self, now: Instant) -> Option<&str> {
        self.binding.as_ref().filter(|(_, until)| *until > now).map(|(contact, _)| contact.as_str())
    }

    /// A call whose BYE was asked for credentials and never came with them.
    pub(crate) fn waits_for_bye(&self) -> Option<&str> {
        self.byes.iter().find(|(_, proven)| !**proven).map(|(call_id, _)| call_id.as_str())
    }

    /// When [`Self::due`] has something.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.held.values().map(|(at, ..)| *at).min()
    }

    /// INVITEs that were put aside and are looked at now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(Message, Flow)> {
        let due: Vec<String> = self.held.iter().filter(|(_, (at, ..))| *at <= now).map(|(id, _)| id.clone()).collect();
        due.iter().filter_map(|id| self.held.remove(id)).map(|(_, message, flow)| (message, flow)).collect()
    }

    pub(crate) fn take(&mut self, now: Instant, message: Message, flow: Flow) -> Taken {
        if !message.is_request() {
            return Taken::Passed(message, flow, None);
        }
        match (message.method(), message.to_tag().is_some()) {
            (Method::Register, _) => self.register(now, &message, &flow),
            (Method::Invite, false) => self.invite(now, message, flow),
            (Method::Bye | Method::Update | Method::Info | Method::Invite, true) if self.asks_within(&message) => {
                let is_bye = message.method() == Method::Bye;
                match self.challenge(now, &message, &flow) {
                    None => {
                        if is_bye {
                            self.byes.insert(message.call_id().to_owned(), true);
                        }
                        Taken::Passed(message, flow, None)
                    }
                    Some(challenge) => {
                        if is_bye {
                            // One without them may come again, and late.
                            self.byes.entry(message.call_id().to_owned()).or_insert(false);
                        }
                        Taken::Answered(challenge)
                    }
                }
            }
            _ => Taken::Passed(message, flow, None),
        }
    }

    fn register(&mut self, now: Instant, message: &Message, flow: &Flow) -> Taken {
        if let Some(challenge) = self.challenge(now, message, flow) {
            return Taken::Answered(challenge);
        }
        let Some(contact) = message.contacts().flatten().next() else { return Taken::Swallowed };
        let asked = contact.param("expires").and_then(|value| value.parse().ok()).unwrap_or(600);
        self.binding = (asked > 0).then(|| (contact.uri.to_string(), now + Duration::from_secs(asked)));
        let mut extra = Headers::new();
        extra.push("Contact", format_args!("<{}>;expires={asked}", contact.uri));
        Taken::Answered(answer(message, flow, 200, &extra))
    }

    fn invite(&mut self, now: Instant, message: Message, flow: Flow) -> Taken {
        if self.held.contains_key(message.call_id()) {
            return Taken::Swallowed;
        }
        let number = message.parsed_request_uri().ok().and_then(|uri| uri.user).unwrap_or_default().to_owned();
        let manner = self.plan.manner(&number);
        let asks = self.plan.challenges && matches!(manner, Manner::Takes(_) | Manner::Late { .. });
        if asks && let Some(challenge) = self.challenge(now, &message, &flow) {
            return Taken::Answered(challenge);
        }
        match manner {
            Manner::Silent => Taken::Swallowed,
            Manner::StrangeRealm => {
                let mut extra = Headers::new();
                self.stranger.challenge(now, flow.remote.ip(), false, &mut extra, true);
                Taken::Answered(answer(&message, &flow, 407, &extra))
            }
            Manner::Takes(policy) => Taken::Passed(message, flow, Some(policy)),
            Manner::Late { after } => {
                self.held.insert(message.call_id().to_owned(), (now + after, message, flow));
                Taken::Swallowed
            }
        }
    }

    /// Whether a request within a call is asked for credentials: in some calls all of them are.
    fn asks_within(&self, message: &Message) -> bool {
        self.plan.challenges && message.call_id().bytes().fold(0u8, u8::wrapping_add).is_multiple_of(2)
    }

    /// What is asked of whoever has not proven himself; `None`: he has.
    fn challenge(&mut self, now: Instant, message: &Message, flow: &Flow) -> Option<Transmit> {
        let registers = message.method() == Method::Register;
        let name = if registers { HeaderName::Authorization } else { HeaderName::ProxyAuthorization };
        let (method, uri) = (message.method(), message.request_uri());
        let source = flow.remote.ip();
        let mut stale = false;
        let repeated = message.header(name).map(<[u8]>::to_vec);
        if let Some(given) = repeated {
            let lookup = |user: &str| (user == self.account).then_some(&self.hashes);
            match self.challenger.verify(now, Some(source), &given, method.as_str(), uri, &lookup) {
                // A repetition of what was taken before has the same count.
                Ok(_) | Err(AuthFailure::Replay) => return None,
                Err(failure) if failure.is_stale() => stale = true,
                Err(_) => self.wronged = true,
            }
        }
        let mut extra = Headers::new();
        self.challenger.challenge(now, source, stale, &mut extra, !registers);
        Some(answer(message, flow, if registers { 401 } else { 407 }, &extra))
    }
}

/// An answer that needs no memory (RFC 3261 §8.2.6).
fn answer(request: &Message, flow: &Flow, status: u16, extra: &Headers) -> Transmit {
    let mut text = format!("SIP/2.0 {status} {}\r\n", ringfort_sip::reason::reason_phrase(status)).into_bytes();
    let mut field = |name: &str, value: &[u8], end: &str| {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(end.as_bytes());
        text.extend_from_slice(b"\r\n");
    };
    for via in request.headers(HeaderName::Via) {
        field("Via", via, "");
    }
    let to_end = if request.to_tag().is_some() { "" } else { ";tag=front" };
    for (name, header, end) in [
        ("From", HeaderName::From, ""),
        ("To", HeaderName::To, to_end),
        ("Call-ID", HeaderName::CallId, ""),
        ("CSeq", HeaderName::CSeq, ""),
    ] {
        field(name, request.header(header).unwrap_or_default(), end);
    }
    text.extend_from_slice(extra.as_bytes());
    text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    Transmit { target: Target::Flow(*flow), payload: text.into(), token: None }
}

/// The same answer as of another dialog; `None`: it is no 2xx to an INVITE.
pub(crate) fn twisted(payload: &Bytes, foreign: bool) -> Option<Bytes> {
    if !payload.starts_with(b"SIP/2.0 200") {
        return None;
    }
    let message = Message::parse_datagram(payload.clone(), &ringfort_sip::message::Limits::default()).ok()?;
    if message.cseq().method != Method::Invite {
        return None;
    }
    let text = std::str::from_utf8(payload).ok()?;
    let to = format!("tag={}", message.to_tag()?);
    let mut text = text.replacen(&to, &format!("{to}2nd"), 1);
    if foreign {
        let from = format!("tag={}", message.from_tag()?);
        text = text.replacen(&from, &format!("{from}other"), 1);
    }
    Some(text.into())
}

/// The address of a carrier's telephone.
pub(crate) fn own(carrier: usize) -> SocketAddr {
    SocketAddr::new(lines::address(carrier), 5060)
}
