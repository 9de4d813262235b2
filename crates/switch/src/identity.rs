//! Signed caller numbers on calls (GUARD-12): a trunk's call is held until its Identity header field is judged, as the trunk's
//! policy wants; what leaves by a trunk is signed. The judging itself is `ringfort_stir`'s, which asks for certificates.

use std::collections::BTreeMap;
use std::time::Instant;

use ringfort_sip::endpoint::ServerTx;
use ringfort_sip::flow::Flow;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::write::Headers;
use ringfort_stir::passport::Attestation;
use ringfort_stir::rejection;
use ringfort_stir::sign::{OrigId, Outgoing};
use ringfort_stir::{
    Event, Fetch, Fingerprint, Now, Outcome, Party, QueryId, Question, Signer, UnixTime, Verdict, VerificationId,
    Verifier,
};
use rustc_hash::FxHashMap;

use crate::io::{Level, Output};
use crate::model::{Attest, NumberForm, Trunk, TrunkId, Verified, VerifyIdentity};
use crate::record::IdentityNote;
use crate::{Switch, arrival, number};

/// What a node verifies and signs with. Without a verifier nothing is judged, without a signer nothing signed.
#[derive(Debug, Default)]
pub struct Stir {
    pub verifier: Option<Verifier>,
    pub signer: Option<Signer>,
    /// Beneath which the cards of 608 responses stand (RFC 8688), each by the second that it is of.
    pub card_url: Option<String>,
}

/// A trunk's call that waits for its verdict.
#[derive(Debug)]
pub(crate) struct Held {
    pub tx: ServerTx,
    pub trunk: TrunkId,
    pub by_contact: bool,
    pub proven: bool,
    pub request: Message,
    pub flow: Flow,
}

#[derive(Debug, Default)]
pub(crate) struct Identities {
    stir: Stir,
    held: BTreeMap<VerificationId, Held>,
    by_tx: FxHashMap<ServerTx, VerificationId>,
}

impl Identities {
    pub fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.stir.verifier.as_ref().and_then(Verifier::poll_timeout)
    }

    fn release(&mut self, id: VerificationId) -> Option<Held> {
        let held = self.held.remove(&id)?;
        self.by_tx.remove(&held.tx);
        Some(held)
    }
}

impl Switch {
    /// Call it before anything comes in.
    pub fn set_stir(&mut self, stir: Stir) {
        self.identities.stir = stir;
    }

    /// Keys and certificates were read again. A call whose certificate is still being fetched is judged by the new ones.
    pub fn follow_stir(&mut self, stir: Stir) {
        let before = std::mem::replace(&mut self.identities.stir, stir);
        if let Some(mut judge) = before.verifier {
            if let Some(now) = self.identities.stir.verifier.take() {
                judge.follow(now);
            }
            self.identities.stir.verifier = Some(judge);
        }
        self.notice(Level::Info, None, None, "stir.reload", "keys and certificates were read again".to_owned());
    }

    /// Where a caller may complain who is turned away with 608 (RFC 8688 §3.1): a card that is signed for this second.
    pub(crate) fn complaint(&self, now: Instant) -> Option<String> {
        let url = self.identities.stir.card_url.as_deref()?;
        rejection::call_info(&format!("{}/{}", url.trim_end_matches('/'), self.clock.unix_s(now)))
    }

    /// A certificate that was asked for by [`Output::Fetch`].
    pub fn handle_fetched(&mut self, now: Instant, query: QueryId, fetch: Fetch) {
        let moment = self.moment(now);
        if let Some(verifier) = &mut self.identities.stir.verifier {
            verifier.handle_fetched(moment, query, fetch);
        }
        self.pump_identities(now);
        self.handle_events(now);
    }

    fn moment(&self, now: Instant) -> Now {
        Now { instant: now, unix: UnixTime(self.clock.unix_s(now)) }
    }

    /// Begins to judge a trunk's call, where its policy wants that. `false`: it goes on as it is.
    pub(crate) fn judges_identity(&mut self, now: Instant, trunk: &Trunk, held: Held) -> Result<(), Held> {
        let moment = self.moment(now);
        let wanted = trunk.verify_identity != VerifyIdentity::Off;
        let Some(verifier) = self.identities.stir.verifier.as_mut().filter(|_| wanted) else { return Err(held) };
        let request = &held.request;
        let text = |name| request.header_str(name).map(|value| value.into_owned()).unwrap_or_default();
        // Numbers are compared in the form that the trunk's and the tenant's rules give them, wherever they stand.
        let plan = self.router.plan(trunk.tenant);
        let number = |number: String| plan.and_then(|p| number::from_trunk(p, trunk.headers.number_format, &number));
        let caller = plan.and_then(|plan| arrival::of_trunk(plan, &trunk.headers, NumberForm::E164, request).address);
        let caller = caller.filter(|number| number.starts_with('+'));
        let called = arrival::called(&trunk.headers, request).and_then(number);
        let (from, to) = (caller.map(as_address), called.map(as_address));
        let date = text(HeaderName::Date);
        let values: Vec<&str> =
            request.headers(HeaderName::Identity).filter_map(|value| std::str::from_utf8(value).ok()).collect();
        let sdp = crate::call::session_description(request);
        let sdp = sdp.as_deref().and_then(|sdp| std::str::from_utf8(sdp).ok());
        let question = Question {
            method: "INVITE",
            from: &from.unwrap_or_else(|| text(HeaderName::From)),
            asserted: None,
            to: &text(HeaderName::To),
            request_uri: to.as_deref().unwrap_or(request.request_uri()),
            date: (!date.is_empty()).then_some(&date),
            identities: &values,
            fingerprints: &sdp.map(Fingerprint::of_sdp).unwrap_or_default(),
        };
        let id = verifier.handle_question(moment, &question);
        self.identities.by_tx.insert(held.tx, id);
        self.identities.held.insert(id, held);
        self.pump_identities(now);
        Ok(())
    }

    /// Verdicts that have come, and certificates that are wanted.
    pub(crate) fn pump_identities(&mut self, now: Instant) {
        let Some(verifier) = &mut self.identities.stir.verifier else { return };
        let queries: Vec<_> = std::iter::from_fn(|| verifier.poll_query()).collect();
        let events: Vec<_> = std::iter::from_fn(|| verifier.poll_event()).collect();
        self.outputs.extend(queries.into_iter().map(Output::Fetch));
        for event in events {
            match event {
                Event::Verdict { id, verdict } => {
                    if let Some(held) = self.identities.release(id) {
                        self.on_judged(now, held, &verdict);
                    }
                }
                // No card was asked about.
                Event::Card { .. } => {}
            }
        }
    }

    pub(crate) fn identities_timeout(&mut self, now: Instant) {
        let moment = self.moment(now);
        if let Some(verifier) = &mut self.identities.stir.verifier {
            verifier.handle_timeout(moment);
            self.pump_identities(now);
        }
    }

    /// The caller of a held call gave up. `None`: none of that transaction is held.
    pub(crate) fn give_up_held(&mut self, tx: ServerTx) -> Option<Held> {
        let id = *self.identities.by_tx.get(&tx)?;
        if let Some(verifier) = &mut self.identities.stir.verifier {
            verifier.handle_cancel(id);
        }
        self.identities.release(id)
    }

    /// Identity and Date for a call to a trunk (RFC 8224 §6.1), and what the record says of it; nothing where it is not signed.
    /// `caller` and `called`: in E.164 with `+`.
    pub(crate) fn signature(
        &mut self,
        now: Instant,
        trunk: &Trunk,
        caller: Option<&str>,
        called: Option<&str>,
    ) -> Option<(Headers, IdentityNote)> {
        let signer = self.identities.stir.signer.as_ref().filter(|_| trunk.sign_identity)?;
        let (orig, dest) = (Party::number(caller?)?, Party::number(called?)?);
        let unix = UnixTime(self.clock.unix_s(now));
        let attest = match trunk.attest {
            Attest::A => Attestation::A,
            Attest::B => Attestation::B,
            Attest::C => Attestation::C,
        };
        let origid = OrigId::from_chance(crate::draw16(&mut self.rng));
        let call = Outgoing { orig, dest, attest: Some((attest, origid)), date: None, fingerprints: &[] };
        match signer.sign(unix, &call) {
            Ok(identity) => {
                let mut headers = Headers::default();
                headers.push("Date", self.clock.date(now));
                headers.push("Identity", identity);
                let note = IdentityNote {
                    verstat: None,
                    rule: "stir.signed".to_owned(),
                    attest: Some(attest.as_str().to_owned()),
                };
                Some((headers, note))
            }
            Err(error) => {
                let text = format!("trunk {}: a call is not signed: {error}", trunk.name);
                self.notice(Level::Warn, Some(trunk.tenant), None, "stir.unsigned", text);
                None
            }
        }
    }
}

/// A verdict for the inbound routes.
pub(crate) fn worth(verdict: Option<&Verdict>) -> Verified {
    match verdict.map(|verdict| &verdict.outcome) {
        Some(Outcome::Passed(_)) => Verified::Passed,
        Some(Outcome::Failed(_)) => Verified::Failed,
        Some(Outcome::NotValidated(_)) | None => Verified::None,
    }
}

/// A verdict for the call record.
pub(crate) fn note(verdict: &Verdict) -> IdentityNote {
    IdentityNote {
        verstat: Some(verdict.verstat().to_owned()),
        rule: verdict.rule().to_owned(),
        attest: verdict.passed().and_then(|passed| passed.attestation).map(|attest| attest.as_str().to_owned()),
    }
}

/// A number as the verifier reads it.
fn as_address(number: String) -> String {
    format!("tel:{number}")
}
