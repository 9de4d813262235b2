//! What must hold whatever happens: checked on every message that the switch takes and gives, on every journal
//! record, and once more when all has come to rest. Called by `world`.

use std::collections::BTreeMap;
use std::time::Instant;

use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_switch::model::{CallId, ExtensionId};
use ringfort_switch::record::{Binding, Cdr, JournalRecord};
use rustc_hash::FxHashMap;

use crate::net::Host;

/// Messages of one Call-ID beyond which something goes round in circles. A call has some dozens, with all its
/// repetitions; a registration that is refreshed for hours some hundreds.
const MESSAGES_PER_CALL_ID: u32 = 600;

/// Pieces shorter than this are no secrets.
const SHORTEST_SECRET: usize = 8;

/// A call as its caller's INVITE makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub caller: String,
    pub callee: String,
    /// The last final status that the switch sent for it.
    pub status: Option<u16>,
}

/// The memory of everything that was seen.
#[derive(Default)]
pub struct Audit {
    owners: FxHashMap<Box<[u8]>, Host>,
    public: Vec<Box<[u8]>>,
    /// Extension of each host: phones of one extension see each other in the answer to REGISTER (RFC 3261 §10.3).
    extensions: BTreeMap<Host, usize>,
    per_call_id: FxHashMap<Box<str>, u32>,
    pub attempts: BTreeMap<String, Attempt>,
    /// Max-Forwards of the INVITE that the switch is working on.
    max_forwards: Option<u32>,
    bindings: Vec<(Instant, JournalRecord)>,
    started: BTreeMap<CallId, (Instant, Box<Cdr>)>,
    pub ended: BTreeMap<CallId, Box<Cdr>>,
    pub violations: Vec<String>,
    pub messages: u64,
    pub last_call: u64,
}

fn is_piece(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+' | b'/' | b'=')
}

/// The pieces of a message that could be somebody's secret.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| !is_piece(byte)).filter(|piece| piece.len() >= SHORTEST_SECRET)
}

impl Audit {
    /// A word that every leg may carry (the switch's own addresses and names).
    pub fn allow(&mut self, word: &str) {
        self.public.push(word.as_bytes().into());
    }

    /// Which extension a host's phone belongs to.
    pub fn belongs(&mut self, host: Host, extension: usize) {
        self.extensions.insert(host, extension);
    }

    /// A word that only `host` may know.
    pub fn own(&mut self, host: Host, word: &str) {
        for piece in pieces(word.as_bytes()) {
            self.own_piece(host, piece);
        }
    }

    fn own_piece(&mut self, host: Host, piece: &[u8]) {
        if !self.owners.contains_key(piece) && !self.public.iter().any(|public| **public == *piece) {
            self.owners.insert(piece.into(), host);
        }
    }

    pub fn violate(&mut self, what: impl Into<String>) {
        if self.violations.len() < 20 {
            self.violations.push(what.into());
        }
    }

    fn count(&mut self, message: &Message) {
        self.messages += 1;
        let call_id = message.call_id();
        let count = match self.per_call_id.get_mut(call_id) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => {
                self.per_call_id.insert(call_id.into(), 1);
                1
            }
        };
        if count == MESSAGES_PER_CALL_ID {
            self.violate(format!("{count} messages with Call-ID {call_id}: a loop?"));
        }
    }

    /// Everything in a message that names its leg and nothing else.
    fn own_message(&mut self, host: Host, message: &Message) {
        self.own(host, message.call_id());
        for tag in [message.from_tag(), message.to_tag()].into_iter().flatten() {
            self.own(host, tag);
        }
        if message.is_request()
            && let Some(branch) = message.top_via().branch()
        {
            self.own(host, branch);
        }
        let body = message.body();
        if body.starts_with(b"v=0") {
            for line in body.split(|&byte| byte == b'\n') {
                if let Some(origin) = line.strip_prefix(b"o=") {
                    let id = origin.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
                    if id.len() >= SHORTEST_SECRET {
                        self.own_piece(host, id);
                    }
                } else if let Some(crypto) = line.strip_prefix(b"a=crypto:") {
                    let key = crypto.split(|&byte| byte == b':').nth(1).unwrap_or_default();
                    for piece in pieces(key) {
                        self.own_piece(host, piece);
                    }
                }
            }
        }
    }

    /// The switch takes a message of a phone of extension `number`.
    pub fn taken(&mut self, from: Host, number: &str, message: &Message) {
        self.count(message);
        self.max_forwards = None;
        self.own_message(from, message);
        if message.is_request() && message.method() == Method::Invite && message.to_tag().is_none() {
            let user = |uri: &str| uri.trim_start_matches("sip:").split('@').next().unwrap_or_default().to_owned();
            let caller = number.to_owned();
            self.max_forwards = message.max_forwards().and_then(Result::ok);
            let attempt = Attempt { caller, callee: user(message.request_uri()), status: None };
            self.attempts.entry(message.call_id().to_owned()).or_insert(attempt);
        }
    }

    /// What the switch does next is of its own accord.
    pub fn pause(&mut self) {
        self.max_forwards = None;
    }

    /// The switch gives a message.
    pub fn given(&mut self, to: Host, message: &Message) {
        self.count(message);
        let registers = message.method() == Method::Register;
        let may_know = |owner| owner == to || (registers && self.extensions.get(&owner) == self.extensions.get(&to));
        let leaked = pieces(message.raw())
            .find_map(|piece| self.owners.get(piece).filter(|&&owner| !may_know(owner)).map(|&owner| (piece, owner)));
        if let Some((piece, owner)) = leaked {
            let piece = String::from_utf8_lossy(piece).into_owned();
            let text = String::from_utf8_lossy(message.raw()).into_owned();
            self.violate(format!("a message to host {} has {piece:?} of host {}:\n{text}", to.0, owner.0));
        }
        self.own_message(to, message);
        if message.is_request() {
            self.given_request(message);
        } else if message.method() == Method::Invite
            && message.status() >= 200
            && let Some(attempt) = self.attempts.get_mut(message.call_id())
            && attempt.status.is_none_or(|status| matches!(status, 401 | 407))
        {
            attempt.status = Some(message.status());
        }
    }

    fn given_request(&mut self, message: &Message) {
        if message.method() != Method::Invite || message.to_tag().is_some() {
            return;
        }
        let forwards = message.max_forwards().and_then(Result::ok);
        match (forwards, self.max_forwards) {
            (None, _) => self.violate("an INVITE of the switch has no Max-Forwards"),
            (Some(ours), Some(theirs)) if ours >= theirs => {
                self.violate(format!("Max-Forwards went from {theirs} to {ours} (RFC 7332 §4)"));
            }
            _ => {}
        }
        if message.header(HeaderName::Contact).is_none() {
            self.violate("an INVITE of the switch has no Contact");
        }
    }

    /// The switch writes to its journal.
    pub fn journal(&mut self, now: Instant, record: JournalRecord) {
        match record {
            JournalRecord::Bound(_) | JournalRecord::Unbound { .. } => self.bindings.push((now, record)),
            JournalRecord::CallStarted(cdr) => {
                self.last_call = self.last_call.max(cdr.call.0);
                let (call, answered) = (cdr.call, cdr.answered);
                // Once more with the answer, so that a crash does not forget it.
                let before = self.started.insert(call, (now, cdr)).map(|(_, before)| before.answered);
                match (before, answered) {
                    (None, None) | (Some(None), Some(_)) => {}
                    (before, _) => {
                        self.violate(format!("call {call} began twice, or answered: {before:?}, {answered:?}"))
                    }
                }
            }
            JournalRecord::CallEnded(cdr) => {
                self.last_call = self.last_call.max(cdr.call.0);
                self.check_cdr(&cdr);
                let call = cdr.call;
                if self.ended.insert(call, cdr).is_some() {
                    self.violate(format!("call {call} ended twice"));
                }
            }
            JournalRecord::Blacklist(_) => {}
            JournalRecord::CallQuality { call, .. } => {
                if !self.ended.contains_key(&call) && !self.started.contains_key(&call) {
                    self.violate(format!("quality of call {call}, which never was"));
                }
            }
            // Everybody in these systems is in a private range, and those are never banned.
            JournalRecord::Guard(record) => self.violate(format!("a ban of one of ours: {record:?}")),
            JournalRecord::Spent(spent) => {
                let call = spent.call;
                if !self.started.contains_key(&call) {
                    self.violate(format!("call {call}, which never was, has cost something"));
                }
            }
        }
    }

    fn check_cdr(&mut self, cdr: &Cdr) {
        let call = cdr.call;
        let mut wrong = Vec::new();
        match cdr.ended {
            None => wrong.push("no end"),
            Some(ended) if ended < cdr.started => wrong.push("end before start"),
            Some(ended) if cdr.answered.is_some_and(|at| at > ended) => wrong.push("answer after end"),
            Some(_) => {}
        }
        if cdr.cause.is_none() {
            wrong.push("no cause");
        }
        if cdr.answered.is_some_and(|at| at < cdr.started) {
            wrong.push("answer before start");
        }
        if cdr.ringing.is_some_and(|at| at < cdr.started) {
            wrong.push("ringing before start");
        }
        if cdr.answered.is_some() != (cdr.status == 200) {
            wrong.push("status and answer time do not agree");
        }
        if cdr.status < 200 || cdr.status > 699 {
            wrong.push("no final status");
        }
        if cdr.callee.reveal().is_empty() {
            wrong.push("no callee");
        }
        if !wrong.is_empty() {
            self.violate(format!("record of call {call}: {}: {cdr:?}", wrong.join(", ")));
        }
    }

    /// What a restart finds: the bindings that were in force, less what the last moments wrote.
    pub fn restore(&mut self, until: Instant) -> Vec<Binding> {
        self.bindings.retain(|(at, _)| *at <= until);
        let mut live: BTreeMap<(ExtensionId, String), Binding> = BTreeMap::new();
        for (_, record) in &self.bindings {
            match record {
                JournalRecord::Bound(binding) => {
                    live.insert((binding.extension, binding.key.clone()), binding.clone());
                }
                JournalRecord::Unbound { extension, key } => {
                    live.remove(&(*extension, key.clone()));
                }
                JournalRecord::CallStarted(_)
                | JournalRecord::CallEnded(_)
                | JournalRecord::CallQuality { .. }
                | JournalRecord::Guard(_)
                | JournalRecord::Spent(_)
                | JournalRecord::Blacklist(_) => {}
            }
        }
        live.into_values().collect()
    }

    /// The switch died: calls that ran are closed by the next start.
    pub fn crashed(&mut self) {
        self.started.retain(|call, _| self.ended.contains_key(call));
    }

    /// When all has come to rest: every attempt has its record. `exact`: nothing was lost by a crash.
    pub fn settle(&mut self, exact: bool) {
        let open: Vec<CallId> = self.started.keys().filter(|call| !self.ended.contains_key(call)).copied().collect();
        if !open.is_empty() {
            self.violate(format!("calls that never ended in the journal: {open:?}"));
        }
        if !exact {
            return;
        }
        let key = |caller: &str, callee: &str, status: u16| format!("{caller} to {callee}: {status}");
        let mut balance: BTreeMap<String, i64> = BTreeMap::new();
        for attempt in self.attempts.values() {
            match attempt.status {
                // Refused before it was an attempt: no credentials, a loop, or merged with another.
                Some(401 | 407 | 482 | 483) | None => {}
                Some(status) => *balance.entry(key(&attempt.caller, &attempt.callee, status)).or_default() += 1,
            }
        }
        // An attempt with wrong credentials has a record too.
        for cdr in self.ended.values().filter(|cdr| !matches!(cdr.status, 401 | 407)) {
            *balance.entry(key(cdr.caller.reveal(), cdr.callee.reveal(), cdr.status)).or_default() -= 1;
        }
        // A called phone that answered makes a record with 200, also where its caller had gone without a PRACK.
        let unheard: Vec<(String, i64)> = balance
            .iter()
            .filter(|(what, count)| what.ends_with(": 504") && **count > 0)
            .map(|(what, count)| (what.replace(": 504", ": 200"), *count))
            .collect();
        for (what, count) in unheard {
            if let Some(answered) = balance.get_mut(&what).filter(|answered| **answered < 0) {
                let same = count.min(-*answered);
                *answered += same;
                *balance.entry(what.replace(": 200", ": 504")).or_default() -= same;
            }
        }
        let wrong: Vec<String> = balance
            .into_iter()
            .filter(|(_, count)| *count != 0)
            .map(|(what, count)| format!("{what}: {} {}", count.abs(), if count > 0 { "missing" } else { "too many" }))
            .collect();
        if !wrong.is_empty() {
            self.violate(format!("records do not match the attempts: {}", wrong.join("; ")));
        }
    }
}
