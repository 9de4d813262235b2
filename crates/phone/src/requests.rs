//! What every request of the phone has in common: who it is from, what it was for, and the answer to a challenge
//! (RFC 3261 §22). Called by `registration` and `calls`.

use std::time::Instant;

use ringfort_sip::digest;
use ringfort_sip::endpoint::{ClientTx, OutRequest};
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::write::Body;

use crate::{CallRef, Event, Phone, PhoneError};

/// What a request of ours was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Register,
    Invite(CallRef),
    /// A re-INVITE, or an UPDATE with an offer.
    Change(CallRef),
    /// An UPDATE without an offer: it refreshes the session.
    Refresh(CallRef),
    Bye(CallRef),
    /// An INFO, MESSAGE or OPTIONS; its answer is told and nothing else.
    Other(&'static str),
}

/// A request of ours that has no final answer yet.
#[derive(Clone, Debug)]
pub(crate) struct Purpose {
    pub goal: Goal,
    pub method: Method<'static>,
    pub uri: String,
    /// How often it has been sent with credentials.
    pub tries: u32,
}

impl Phone {
    /// `"Name" <sip:user@domain>`
    pub(crate) fn own_address(&self) -> String {
        let (user, domain, name) = (&self.config.user, &self.config.domain, &self.config.display_name);
        if name.is_empty() { format!("<sip:{user}@{domain}>") } else { format!("\"{name}\" <sip:{user}@{domain}>") }
    }

    /// The address that is dialled: a number of our domain, or a whole `sip:` URI as it is.
    pub(crate) fn uri_of(&self, number: &str) -> String {
        if number.starts_with("sip:") || number.starts_with("sips:") || number.starts_with("tel:") {
            number.to_owned()
        } else {
            format!("sip:{number}@{}", self.config.domain)
        }
    }

    /// A request outside a dialog to `uri`.
    pub(crate) fn new_request(&self, method: Method<'static>, uri: &str) -> OutRequest {
        OutRequest {
            from: self.own_address(),
            to: format!("<{uri}>"),
            max_forwards: self.config.max_forwards,
            ..OutRequest::new(method, uri, self.config.server.clone())
        }
    }

    /// Sends a request and remembers what for.
    pub(crate) fn send(&mut self, now: Instant, goal: Goal, request: OutRequest) -> Result<ClientTx, PhoneError> {
        let purpose = Purpose { goal, method: request.method, uri: request.request_uri.clone(), tries: 0 };
        let tx = self.endpoint.send_request(now, request)?;
        self.pending.insert(tx, purpose);
        Ok(tx)
    }

    /// Answers a challenge: the request goes once more with credentials, under the id that is returned. `None`: there
    /// are no credentials for it or they were refused.
    pub(crate) fn answer_challenge(
        &mut self,
        now: Instant,
        tx: ClientTx,
        purpose: &Purpose,
        response: &Message,
    ) -> Option<ClientTx> {
        let credentials = self.config.credentials.as_ref()?;
        let stale = [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate]
            .into_iter()
            .flat_map(|name| response.headers(name))
            .any(|value| String::from_utf8_lossy(value).to_ascii_lowercase().contains("stale=true"));
        let limit = if stale { 2 } else { 1 };
        if purpose.tries >= limit {
            return None;
        }
        let headers = match (&mut self.registration.auth, purpose.goal) {
            (Some(auth), Goal::Register) => {
                auth.answer(response, purpose.method.as_str(), &purpose.uri, &mut self.rng).ok()?
            }
            _ => digest::authorize(response, credentials, purpose.method.as_str(), &purpose.uri, &mut self.rng, 1)?,
        };
        let again = self.endpoint.resend_with(now, tx, headers).ok()?;
        self.pending.insert(again, Purpose { tries: purpose.tries + 1, ..purpose.clone() });
        Some(again)
    }

    /// Sends a text (RFC 3428). Its end comes as [`Event::Done`].
    pub fn message(&mut self, now: Instant, number: &str, text: &str) -> Result<(), PhoneError> {
        let uri = self.uri_of(number);
        let body = Body { content_type: "text/plain".into(), data: text.as_bytes().to_vec().into() };
        let request = OutRequest { body: Some(body), ..self.new_request(Method::Message, &uri) };
        self.send(now, Goal::Other("MESSAGE"), request).map(drop)
    }

    /// Asks what a number or the server itself (empty `number`) can do (RFC 3261 §11). Its end comes as [`Event::Done`].
    pub fn options(&mut self, now: Instant, number: &str) -> Result<(), PhoneError> {
        let uri = if number.is_empty() { format!("sip:{}", self.config.domain) } else { self.uri_of(number) };
        let request = self.new_request(Method::Options, &uri);
        self.send(now, Goal::Other("OPTIONS"), request).map(drop)
    }

    /// Tells the end of a request that nothing else hangs on.
    pub(crate) fn done(&mut self, method: &'static str, status: u16) {
        self.events.push_back(Event::Done { method, status });
    }
}
