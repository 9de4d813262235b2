//! What must hold whatever happens: checked on every message that the switch takes and gives, on every journal
//! record, and once more when all has come to rest. Called by `world`.

mod balance;
mod claims;
mod kept;
mod ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_switch::model::CallId;
use ringfort_switch::record::{Binding, Cdr, EndCause, GuardRecord, JournalRecord, SpentTotal, UnixMillis};
use rustc_hash::FxHashMap;

use self::claims::Claims;
use self::kept::Kept;
use self::ledger::Ledger;
use crate::net::Host;
use crate::plan::Plan;
use crate::world::Summary;

pub(crate) use self::kept::{MAY_LOSE, Told};

/// Messages of one Call-ID beyond which something goes round in circles. A call has some dozens, with all its
/// repetitions; a registration that is refreshed for hours some hundreds.
const MESSAGES_PER_CALL_ID: u32 = 600;

/// Pieces shorter than this are no secrets.
const SHORTEST_SECRET: usize = 8;

/// The first final answer to an INVITE: CSeq, status and To tag.
type Final = (u32, u16, String);

/// A call as its caller's INVITE makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    pub caller: String,
    pub callee: String,
    /// The last final answer that the switch sent for it.
    end: Option<Final>,
    /// It was answered, and a BYE went one way or the other.
    hung_up: bool,
}

impl Attempt {
    fn status(&self) -> Option<u16> {
        self.end.as_ref().map(|(_, status, _)| *status)
    }

    fn is_challenged(&self) -> bool {
        matches!(self.status(), Some(401 | 407))
    }
}

/// Who a message comes from.
pub(crate) struct Party {
    pub host: Host,
    /// As records name it.
    pub number: String,
    pub carrier: Option<usize>,
}

/// What a restart finds.
pub(crate) struct Restored {
    pub bindings: Vec<Binding>,
    pub bans: Vec<GuardRecord>,
    pub spent: Vec<SpentTotal>,
    pub next_call: CallId,
}

/// The memory of everything that was seen.
#[derive(Default)]
pub struct Audit {
    owners: FxHashMap<Box<[u8]>, Host>,
    public: Vec<Box<[u8]>>,
    /// Extension of each host: phones of one extension see each other in the answer to REGISTER (RFC 3261 §10.3).
    extensions: BTreeMap<Host, usize>,
    per_call_id: FxHashMap<Box<str>, u32>,
    /// By the life of the switch, and the caller's Call-ID.
    attempts: BTreeMap<(usize, String), Attempt>,
    /// The last call of each life that ended in a crash.
    lives: Vec<u64>,
    carriers: BTreeMap<Host, usize>,
    /// Who may be banned.
    thieves: BTreeSet<IpAddr>,
    /// Lines of media that a leg may have.
    most_lines: usize,
    /// RSeq of the reliable provisional answers to an INVITE, and those that a PRACK came for, by Call-ID.
    reliable: FxHashMap<String, (BTreeSet<u32>, BTreeSet<u32>)>,
    lines_on: usize,
    claims: Claims,
    ledger: Ledger,
    kept: Kept,
    /// Max-Forwards of the INVITE that the switch is working on.
    max_forwards: Option<u32>,
    started: BTreeMap<CallId, Box<Cdr>>,
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
    pub fn new(plan: &Plan, most_lines: usize) -> Self {
        Self { most_lines, ledger: Ledger::new(plan.lines.as_ref(), plan.mild), ..Self::default() }
    }

    /// A host is that of a carrier.
    pub fn is_carrier(&mut self, host: Host, carrier: usize) {
        self.carriers.insert(host, carrier);
    }

    /// Nobody spares a host at that address.
    pub fn may_be_banned(&mut self, address: IpAddr) {
        self.thieves.insert(address);
    }

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

    /// The switch takes a message.
    pub(crate) fn taken(&mut self, now: Instant, from: &Party, message: &Message) {
        self.count(message);
        self.max_forwards = None;
        self.own_message(from.host, message);
        if !message.is_request() {
            if message.cseq().method == Method::Invite {
                self.claims.answer(now, message);
                if from.carrier.is_some() && message.status() >= 200 {
                    self.ledger.answered(message);
                }
            }
            return;
        }
        match message.method() {
            Method::Invite if message.to_tag().is_none() => {
                let user = |uri: &str| uri.trim_start_matches("sip:").split('@').next().unwrap_or_default().to_owned();
                let to = message.to().uri;
                let callee = user(if from.carrier.is_some() { to } else { message.request_uri() });
                self.max_forwards = message.max_forwards().and_then(Result::ok);
                match from.carrier {
                    Some(carrier) => self.ledger.arrives(now, message.call_id(), carrier),
                    None => self.ledger.dials(now, message.call_id(), &callee),
                }
                let attempt = Attempt { caller: from.number.clone(), callee, ..Attempt::default() };
                let key = (self.lives.len(), message.call_id().to_owned());
                let attempt = self.attempts.entry(key).or_insert(attempt);
                if attempt.is_challenged() && attempt.end.as_ref().is_some_and(|end| end.0 < message.cseq().number) {
                    // With credentials it is asked once more.
                    attempt.end = None;
                }
            }
            Method::Bye => {
                self.claims.bye(message, false);
                self.ledger.over(message.call_id());
            }
            Method::Prack => {
                let rack = message.header(HeaderName::Rack).and_then(|value| std::str::from_utf8(value).ok());
                let rseq = rack.and_then(|rack| rack.split_whitespace().next()?.parse::<u32>().ok());
                if let Some((_, acknowledged)) = self.reliable.get_mut(message.call_id()) {
                    acknowledged.extend(rseq);
                }
            }
            Method::Register => {
                let contact = message.contacts().flatten().next();
                let asked = contact.and_then(|contact| contact.param("expires").and_then(|value| value.parse().ok()));
                self.kept.asked(message.call_id(), message.cseq().number, asked.unwrap_or_default());
            }
            _ => {}
        }
    }

    /// What the switch does next is of its own accord.
    pub fn pause(&mut self) {
        self.max_forwards = None;
        let (wrong, fresh) = self.claims.pause();
        self.ledger.settle(&fresh, &self.claims);
        for what in wrong.into_iter().chain(self.ledger.complaints()) {
            self.violate(what);
        }
    }

    /// The switch gives a message.
    pub fn given(&mut self, now: Instant, to: Host, message: &Message) {
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
        self.given_lines(message);
        let carrier = self.carriers.get(&to).copied();
        self.ledger.credentials(carrier, message);
        if message.is_request() {
            match message.method() {
                Method::Ack => self.claims.ack(message),
                Method::Bye => {
                    self.claims.bye(message, true);
                    self.hangs_up(message.call_id());
                }
                Method::Invite if message.to_tag().is_none() => {
                    self.claims.invite(now, message);
                    if let Some(carrier) = carrier {
                        self.ledger.tries(now, carrier, message);
                    }
                    self.given_invite(message);
                }
                _ => {}
            }
        } else if let Some(Ok(rseq)) = message.rseq() {
            self.given_reliable(message.call_id(), rseq);
        } else if message.status() >= 200 {
            match message.cseq().method {
                Method::Invite => self.given_final(message),
                Method::Bye => self.hangs_up(message.call_id()),
                Method::Register if message.status() < 300 => {
                    self.kept.registered(now, to, message.call_id(), message.cseq().number);
                }
                _ => {}
            }
        }
    }

    /// A reliable provisional answer waits for the PRACK of the one before (RFC 3262 §3).
    fn given_reliable(&mut self, call_id: &str, rseq: u32) {
        let (given, acknowledged) = self.reliable.entry(call_id.to_owned()).or_default();
        given.insert(rseq);
        let open = given.difference(acknowledged).count();
        if open > 1 {
            self.violate(format!("{open} reliable provisional answers of {call_id} wait for their PRACK at once"));
        }
    }

    /// No leg has more lines of media than it may, whoever wants them.
    fn given_lines(&mut self, message: &Message) {
        if !message.body().starts_with(b"v=0") {
            return;
        }
        let lines = message.body().split(|&byte| byte == b'\n').filter_map(|line| line.strip_prefix(b"m="));
        let on = lines.filter(|line| line.split(|&byte| byte == b' ').nth(1).is_some_and(|port| port != b"0")).count();
        self.lines_on = self.lines_on.max(on);
        if on > self.most_lines {
            self.violate(format!("{on} lines of media are on, and {} may be", self.most_lines));
        }
    }

    fn hangs_up(&mut self, call_id: &str) {
        self.ledger.over(call_id);
        if let Some(attempt) = self.attempts.get_mut(&(self.lives.len(), call_id.to_owned())) {
            attempt.hung_up = true;
        }
    }

    fn given_final(&mut self, message: &Message) {
        let Some(attempt) = self.attempts.get_mut(&(self.lives.len(), message.call_id().to_owned())) else { return };
        let tag = message.to_tag().unwrap_or_default();
        let end = (message.cseq().number, message.status(), tag.to_owned());
        match &attempt.end {
            Some(before) if before.0 == end.0 && *before != end => {
                let what = format!("a caller heard two ends of one call: {before:?} and {end:?}");
                self.violate(what);
            }
            Some(_) if !attempt.is_challenged() => {}
            _ => {
                attempt.end = Some(end);
                if !matches!(message.status(), 200..=299 | 401 | 407) {
                    self.ledger.over(message.call_id());
                }
            }
        }
    }

    fn given_invite(&mut self, message: &Message) {
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
            JournalRecord::Bound(_) | JournalRecord::Unbound { .. } => self.kept.binding(now, record),
            JournalRecord::CallStarted(cdr) => {
                self.last_call = self.last_call.max(cdr.call.0);
                let (call, answered) = (cdr.call, cdr.answered);
                // Once more with the answer, so that a crash does not forget it.
                let before = self.started.insert(call, cdr).map(|before| before.answered);
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
                self.ledger.ended(now, &cdr);
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
            JournalRecord::Guard(record) => {
                if let GuardRecord::Banned { source, .. } = &record
                    && !self.thieves.contains(source)
                {
                    self.violate(format!("a ban of one of ours: {record:?}"));
                }
                self.kept.guard(record);
            }
            JournalRecord::Spent(spent) => {
                let call = spent.call;
                self.ledger.spent(&spent);
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

    /// A carrier loses power or gets it back.
    pub fn carrier_power(&mut self, now: Instant, host: Host, up: bool) {
        if let Some(&carrier) = self.carriers.get(&host) {
            self.ledger.power(now, carrier, up);
        }
    }

    /// An operator has had his hand in the registrations of an extension.
    pub fn operated_on(&mut self, extension: usize) {
        let hosts: Vec<Host> =
            self.extensions.iter().filter(|(_, of)| **of == extension).map(|(host, _)| *host).collect();
        hosts.into_iter().for_each(|host| self.kept.forget(host));
    }

    /// Bans are in force as the journal has them.
    pub fn bans_in_force(&mut self) {
        self.kept.unsettled_ban = false;
    }

    pub fn are_bans_settled(&self) -> bool {
        !self.kept.unsettled_ban
    }

    /// What phones were told of their registrations last.
    pub(crate) fn told(&self) -> Vec<(Host, Told)> {
        self.kept.told().collect()
    }

    /// The switch died. Of the registrations those after `until` are lost, and nothing else; calls that ran are closed by the
    /// next start, as `store` does.
    pub fn crashed(&mut self, now: Instant, until: Instant, noticed: UnixMillis) {
        self.max_forwards = None;
        self.kept.crashed(now, until);
        self.claims.crashed();
        self.ledger.crashed();
        for (&call, cdr) in &self.started {
            self.ended.entry(call).or_insert_with(|| {
                let reason = "the system stopped while the call ran".to_owned();
                Box::new(Cdr { ended: Some(noticed), cause: Some(EndCause::Crash), reason, ..(**cdr).clone() })
            });
        }
        self.lives.push(self.last_call);
    }

    /// What the next start finds.
    pub(crate) fn restore(&self) -> Restored {
        Restored {
            bindings: self.kept.bindings(),
            bans: self.kept.bans(),
            spent: self.ledger.totals(),
            next_call: CallId(self.last_call + 1),
        }
    }

    /// What there was of this and that.
    pub(crate) fn sum_up(&self, summary: &mut Summary) {
        for cdr in self.ended.values().filter(|cdr| cdr.answered.is_some()) {
            summary.left += usize::from(cdr.trunks.to.is_some());
            summary.failed_over += usize::from(cdr.trunks.to.is_some() && cdr.trunks.tried.len() > 1);
            summary.arrived += usize::from(cdr.trunks.from.is_some());
        }
        (summary.proven, summary.strays, summary.bans) = (self.ledger.proven, self.claims.strays, self.kept.banned);
        summary.most_lines = self.lines_on;
        summary.most_reliable = self.reliable.values().map(|(given, _)| given.len()).max().unwrap_or_default();
    }

    /// When all has come to rest: every attempt has its record.
    pub fn settle(&mut self) {
        let open: Vec<CallId> = self.started.keys().filter(|call| !self.ended.contains_key(call)).copied().collect();
        if !open.is_empty() {
            self.violate(format!("calls that never ended in the journal: {open:?}"));
        }
        let mut wrong = Vec::new();
        for life in 0..=self.lives.len() {
            let first = life.checked_sub(1).map_or(0, |before| self.lives[before]);
            let last = self.lives.get(life).copied();
            let attempts = self.attempts.range((life, String::new())..(life + 1, String::new())).map(|(_, a)| a);
            let of_life = |call: &CallId| call.0 > first && last.is_none_or(|last| call.0 <= last);
            let records = self.ended.iter().filter(|(call, _)| of_life(call)).map(|(_, cdr)| &**cdr);
            wrong.extend(balance::compare(attempts, records, last.is_none()));
        }
        if !wrong.is_empty() {
            self.violate(format!("records do not match the attempts: {}", wrong.join("; ")));
        }
        self.ledger.judge(self.ended.values().map(|cdr| &**cdr));
        for what in self.ledger.complaints() {
            self.violate(what);
        }
    }
}
