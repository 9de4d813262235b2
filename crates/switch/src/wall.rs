//! Who did what he should not, and who is shut out for it (GUARD-3, GUARD-5, GUARD-6, GUARD-8): every offence of the switch
//! comes here, is told to the log and, where its source is proven, to the ledger. Changes of bans go to the journal, to the
//! packet path and to whoever enforces them in the kernel. Called by `auth`, `call` and `out_of_dialog`.

mod operator;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort_guard::watch::{Ban, BanCause, BanEnd, Change, Counted, Offence, Watch};
use ringfort_guard::{BanChange, BanSet, Cidr, SourceKey, Until};
use ringfort_sip::endpoint::Mark;
use ringfort_sip::flow::{Flow, ListenerId};
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;

use crate::Switch;
use crate::io::{Level, OffenceReport, Output};
use crate::model::Pii;
use crate::record::{GuardRecord, JournalRecord};

/// Offences that are kept for `ctl guard log`.
const LOGGED: usize = 256;

/// How a source has shown that it is where it says it is (GUARD-6). Only such a one is banned: a datagram's source can be
/// forged, and whoever forges one must not shut out its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A connection, our nonce that came back, an ACK with our To tag.
    Given,
    /// None: its rate is lowered, and that is all.
    Missing,
}

impl Proof {
    /// What a request shows by how it came.
    pub fn of(flow: &Flow) -> Proof {
        if flow.transport.is_reliable() { Proof::Given } else { Proof::Missing }
    }
}

/// The ledger and what is made of it.
pub(crate) struct Wall {
    pub watch: Watch,
    /// In force now.
    pub bans: Arc<BanSet>,
    /// What the snapshot spares: ranges that are never banned, allowed ones, trunks.
    spared: Vec<Cidr>,
    /// The newest last.
    log: VecDeque<OffenceReport>,
    /// Acknowledgements that were counted, the newest last: one that is repeated is no second offence.
    acknowledged: VecDeque<(IpAddr, u64)>,
}

impl Wall {
    pub fn new(config: ringfort_guard::WatchConfig, key: [u8; 16]) -> Self {
        Self {
            watch: Watch::new(config),
            bans: Arc::new(BanSet::new(key, &[], [])),
            spared: Vec::new(),
            log: VecDeque::new(),
            acknowledged: VecDeque::new(),
        }
    }
}

/// What a mark in the To tag of an answer can say: an offence and the rule that named it. No more than 15.
const MARKS: [(Offence, &str); 12] = [
    (Offence::Authentication, "authentication"),
    (Offence::Malformed, "malformed"),
    (Offence::Malformed, "format"),
    (Offence::Callee, "callee"),
    (Offence::Callee, "callee.disguised"),
    (Offence::Callee, "callee.length"),
    (Offence::Callee, "callee.denied_prefix"),
    (Offence::Callee, "callee.allowed_prefix"),
    (Offence::UnknownUser, "unknown-user"),
    (Offence::UnknownUser, "context.public"),
    (Offence::Scanner, "scanner"),
    (Offence::Flood, "flood"),
];

/// The mark of an offence, for the To tag of an answer.
pub(crate) fn mark_of(offence: Offence, rule: &str) -> Mark {
    let place = |rule: &str| MARKS.iter().position(|&(kind, name)| kind == offence && name == rule);
    let place = place(rule).or_else(|| place(offence.name())).expect("each offence has a mark by its name");
    Mark::new(place as u8 + 1).expect("there are fewer than 15 of them")
}

fn offence_of(mark: Mark) -> Option<(Offence, &'static str)> {
    MARKS.get(usize::from(mark.get()).checked_sub(1)?).copied()
}

impl Switch {
    /// After a restart: bans and allowed ranges that the journal kept. Call it before anything comes in.
    pub fn restore_guard(&mut self, now: Instant, records: Vec<GuardRecord>) {
        let (mut bans, mut allowed) = (Vec::new(), Vec::new());
        for record in records {
            match record {
                GuardRecord::Banned { source, since, end, times, cause } => {
                    let end = end.map_or(BanEnd::Never, BanEnd::At);
                    let cause = BanCause::from_name(&cause).unwrap_or(BanCause::Operator);
                    bans.push((SourceKey::from(source), Ban { since, end, times, cause }));
                }
                GuardRecord::Allowed { range } => allowed.extend(range.parse::<Cidr>()),
                GuardRecord::Lifted { .. } | GuardRecord::Disallowed { .. } => {}
            }
        }
        self.wall.watch.restore(bans, allowed);
        let unix_s = self.clock.unix_s(now);
        let held: Vec<_> = self.wall.watch.bans(unix_s).collect();
        let changes = held.iter().map(|(source, ban)| self.enforced(now, *source, ban)).collect();
        self.enforce(changes);
        self.spare(now);
        if !held.is_empty() {
            self.notice(Level::Info, None, None, "ban", format!("{} bans go on after the restart", held.len()));
        }
    }

    /// Whether a request is looked at at all: an external profile may be closed to all but some addresses (GUARD-3), and
    /// what a scanner asks for is not answered unless the answer can prove him. `false`: it was dropped.
    pub(crate) fn is_let_in(&mut self, now: Instant, message: &Message, flow: &Flow) -> bool {
        // A tag that belongs to no dialog opens nothing; an ACK gets no answer, and may prove who sent it.
        let within =
            || message.to_tag().is_some() && (message.method() == Method::Ack || self.endpoint.knows_dialog(message));
        if !message.is_request() || within() {
            return true;
        }
        if self.wall.bans.is_banned(now, flow.remote.ip()) {
            // It was read before the packet path knew of the ban.
            self.count_refusal("ban");
            return false;
        }
        if self.is_closed_to(flow.listener, flow.remote.ip()) {
            self.counters.refused_acl += 1;
            self.count_refusal("acl");
            let text = format!("{} from {}: not on the profile's list", message.method(), flow.remote);
            self.notice(Level::Debug, None, None, "acl", text);
            return false;
        }
        let proves_itself = matches!(message.method(), Method::Invite | Method::Register | Method::Ack);
        if !proves_itself && self.is_scanner(message) {
            self.offence(now, flow, Offence::Scanner, "scanner", Proof::of(flow), message);
            return false;
        }
        true
    }

    /// Whether the listener's profile has a list of who may enter, and this source is not on it (GUARD-3).
    pub fn is_closed_to(&self, listener: ListenerId, source: IpAddr) -> bool {
        let profile = self.config.listeners[usize::from(listener.0)].profile;
        let allow = self.config.profiles[usize::from(profile.0)].allow.as_ref();
        allow.is_some_and(|allow| !allow.iter().any(|range| range.contains(source))) && !self.is_trunk_address(source)
    }

    /// The bans in force.
    pub fn bans(&self) -> Arc<BanSet> {
        self.wall.bans.clone()
    }

    /// Whether a program names itself that looks for victims.
    pub(crate) fn is_scanner(&self, message: &Message) -> bool {
        let names = |header| message.header(header).into_iter();
        let mut given = names(HeaderName::UserAgent).chain(names(HeaderName::Server));
        given.any(|value| self.config.scanners.iter().any(|name| !name.is_empty() && contains(value, name.as_bytes())))
    }

    /// The mark for the answer to a stranger's INVITE: when he acknowledges it, he is proven, and it counts.
    pub(crate) fn mark_for(&self, message: &Message, offence: Option<(Offence, &str)>) -> Mark {
        let scanner = || self.is_scanner(message).then_some((Offence::Scanner, Offence::Scanner.name()));
        offence.or_else(scanner).map_or(Mark::NONE, |(offence, rule)| mark_of(offence, rule))
    }

    /// The answer to an INVITE that was an offence has been acknowledged from where it went.
    pub(crate) fn on_acknowledged(&mut self, now: Instant, mark: Mark, ack: &Message, flow: &Flow) {
        let Some((offence, rule)) = offence_of(mark) else { return };
        let key = (flow.remote.ip(), fingerprint(ack));
        // Over a connection it was counted at once; a repeated one was counted before.
        if flow.transport.is_reliable() || self.wall.acknowledged.contains(&key) {
            return;
        }
        self.wall.acknowledged.push_back(key);
        if self.wall.acknowledged.len() > LOGGED {
            self.wall.acknowledged.pop_front();
        }
        self.offence(now, flow, offence, rule, Proof::Given, ack);
    }

    /// Somebody did what he should not. `rule`: which one of ours says so.
    pub(crate) fn offence(
        &mut self,
        now: Instant,
        flow: &Flow,
        offence: Offence,
        rule: &'static str,
        proof: Proof,
        request: &Message,
    ) {
        let user = |uri: Option<ringfort_sip::uri::Uri<'_>>| {
            uri.and_then(|uri| uri.user_unescaped().map(|user| user.into_owned())).unwrap_or_default()
        };
        let from = user(request.from().uri().ok());
        let callee = user(request.parsed_request_uri().ok());
        self.offence_of(now, flow.remote.ip(), offence, rule, proof, (from, callee));
    }

    /// The same of what could not be read.
    pub(crate) fn offence_of(
        &mut self,
        now: Instant,
        source: IpAddr,
        offence: Offence,
        rule: &'static str,
        proof: Proof,
        (user, callee): (String, String),
    ) {
        if proof == Proof::Missing {
            self.counters.offences_unproven += 1;
            // Whoever is never banned is not to be muted by packets in his name either.
            if !self.sources.knows_well(source) && !self.wall.watch.is_spared(source) {
                self.outputs.push_back(Output::Penalise(source));
            }
            return;
        }
        self.counters.offences[offence as usize] += 1;
        let is_trunk = self.sources.knows_well(source);
        let counted = self.wall.watch.offence(self.clock.unix_s(now), source, offence, is_trunk);
        let report = OffenceReport {
            at: self.clock.unix(now),
            source: source.to_canonical(),
            offence: offence.name().to_owned(),
            rule: rule.to_owned(),
            user: Pii::new(crate::call::shorten(user)),
            callee: Pii::new(crate::call::shorten(callee)),
            counted: match counted {
                Counted::Offences(n) => format!("{n} of {}", self.config.watch.offences),
                Counted::Banned(_) => "banned".to_owned(),
                Counted::AlreadyBanned => "banned before".to_owned(),
                Counted::Exempt(exempt) => format!("never banned: {exempt}"),
            },
        };
        if self.wall.log.len() == LOGGED {
            self.wall.log.pop_front();
        }
        self.wall.log.push_back(report.clone());
        self.outputs.push_back(Output::Offence(Box::new(report)));
        if let Counted::Banned(ban) = counted {
            let end = match ban.end {
                BanEnd::At(end) => format!("for {} s", end.saturating_sub(ban.since)),
                BanEnd::Never => "for ever".to_owned(),
            };
            let text = format!(
                "{} banned {end}: {} offences within {} s, the last: {rule}; ban number {} of this source",
                SourceKey::from(source),
                self.config.watch.offences,
                self.config.watch.within.as_secs(),
                ban.times
            );
            self.notice(Level::Warn, None, None, "ban", text);
        }
        self.settle_wall(now);
    }

    /// What the ledger has changed goes to the journal and into force.
    pub(crate) fn settle_wall(&mut self, now: Instant) {
        let mut changes = Vec::new();
        let mut ranges_changed = false;
        while let Some(change) = self.wall.watch.poll_change() {
            self.outputs.push_back(Output::Journal(JournalRecord::Guard(recorded(&change))));
            match change {
                Change::Banned(source, ban) => {
                    self.counters.bans += 1;
                    changes.push(self.enforced(now, source, &ban));
                }
                Change::Lifted(source) => changes.push(BanChange::Lifted { source }),
                Change::Allowed(_) | Change::Disallowed(_) => ranges_changed = true,
            }
        }
        if !changes.is_empty() {
            self.enforce(changes);
        }
        if ranges_changed {
            self.spare(now);
        }
    }

    /// Changes of bans come into force: the list before what has changed in it.
    fn enforce(&mut self, changes: Vec<BanChange>) {
        self.wall.bans = Arc::new(self.wall.bans.following(changes.iter().copied()));
        self.outputs.push_back(Output::Bans(self.wall.bans.clone()));
        self.outputs.extend(changes.into_iter().map(Output::Ban));
    }

    /// Trunks, or what operators allow, are others than before: nobody of them stays banned.
    pub(crate) fn spare(&mut self, now: Instant) {
        let trunks = self.sources.ranges();
        let mut spared = self.wall.watch.config().never.clone();
        spared.extend(self.wall.watch.allowed());
        spared.extend(trunks.iter().copied());
        spared.sort_unstable();
        spared.dedup();
        if spared == self.wall.spared {
            return;
        }
        self.wall.bans = Arc::new(self.wall.bans.sparing(&spared));
        self.wall.spared = spared;
        self.outputs.push_back(Output::Bans(self.wall.bans.clone()));
        self.wall.watch.pardon(|source| trunks.iter().any(|range| range.covers(source)));
        self.settle_wall(now);
    }

    pub(crate) fn sweep_wall(&mut self, now: Instant) {
        let unix_s = self.clock.unix_s(now);
        self.wall.watch.sweep(unix_s);
        self.settle_wall(now);
    }

    /// Whether a trunk's calls come from there, as far as access lists are concerned.
    pub(crate) fn is_trunk_address(&self, source: IpAddr) -> bool {
        self.sources.knows(source)
    }

    /// A connection sent more than its rate.
    pub fn handle_flood(&mut self, now: Instant, source: IpAddr) {
        self.offence_of(now, source, Offence::Flood, "rate.connection", Proof::Given, Default::default());
        self.handle_events(now);
    }

    fn enforced(&self, now: Instant, source: SourceKey, ban: &Ban) -> BanChange {
        let until = match ban.end {
            BanEnd::At(end) => Until::Time(now + Duration::from_secs(end.saturating_sub(self.clock.unix_s(now)))),
            BanEnd::Never => Until::Revoked,
        };
        BanChange::Banned { source, until }
    }
}

/// As it is kept.
fn recorded(change: &Change) -> GuardRecord {
    match change {
        Change::Banned(source, ban) => GuardRecord::Banned {
            source: source.address(),
            since: ban.since,
            end: match ban.end {
                BanEnd::At(end) => Some(end),
                BanEnd::Never => None,
            },
            times: ban.times,
            cause: ban.cause.name().to_owned(),
        },
        Change::Lifted(source) => GuardRecord::Lifted { source: source.address() },
        Change::Allowed(range) => GuardRecord::Allowed { range: range.to_string() },
        Change::Disallowed(range) => GuardRecord::Disallowed { range: range.to_string() },
    }
}

/// What makes an acknowledgement the same as another one.
fn fingerprint(ack: &Message) -> u64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = rustc_hash::FxHasher::default();
    (ack.call_id(), ack.to_tag(), ack.cseq().number).hash(&mut hasher);
    hasher.finish()
}

/// In any case of its letters.
fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window.eq_ignore_ascii_case(what))
}
