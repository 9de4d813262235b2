//! Offences and bans (GUARD-5, GUARD-6): who did what he should not, how often of late, and who is shut out for it until
//! when. Pure and bounded: sources whose offences are old make room, and of two bans the one that ends first.
//! What changes is drained by [`Watch::poll_change`]; `switch` owns one and tells the journal and the packet path.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::blacklist::UnixSeconds;
use crate::source::{Cidr, SourceKey, loopback_ranges, private_ranges};

/// What a source did (GUARD-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// A registration or call with wrong credentials.
    Authentication,
    /// No SIP message, or none that says what it must.
    Malformed,
    /// A callee against the rules (GUARD-4).
    Callee,
    /// A stranger's call for somebody who is not there for him.
    UnknownUser,
    /// The name of a program that looks for victims.
    Scanner,
    /// More than the rate limit on a connection.
    Flood,
}

impl Offence {
    pub const ALL: [Offence; 6] = [
        Offence::Authentication,
        Offence::Malformed,
        Offence::Callee,
        Offence::UnknownUser,
        Offence::Scanner,
        Offence::Flood,
    ];

    /// As it stands in logs, metrics and lists.
    pub const fn name(self) -> &'static str {
        match self {
            Offence::Authentication => "authentication",
            Offence::Malformed => "malformed",
            Offence::Callee => "callee",
            Offence::UnknownUser => "unknown-user",
            Offence::Scanner => "scanner",
            Offence::Flood => "flood",
        }
    }

    pub fn from_name(name: &str) -> Option<Offence> {
        Self::ALL.into_iter().find(|offence| offence.name() == name)
    }
}

/// When an offender is banned, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchConfig {
    /// So many offences …
    pub offences: u32,
    /// … within so long ban a source. Both at least one.
    pub within: Duration,
    /// The first ban.
    pub ban_for: Duration,
    /// Each further one is so many times as long, until `longest`.
    pub growth: u32,
    pub longest: Duration,
    /// A ban that is over counts for so long when the next one comes.
    pub remember: Duration,
    /// Never banned, beside the trunks and what an operator allows.
    pub never: Vec<Cidr>,
    /// Sources whose offences are counted at once.
    pub sources: usize,
    /// Bans at once, those included that are over and remembered.
    pub bans: usize,
}

impl Default for WatchConfig {
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        Self {
            offences: 5,
            within: Duration::from_secs(180),
            ban_for: day,
            growth: 2,
            longest: 30 * day,
            remember: 30 * day,
            never: loopback_ranges().into_iter().chain(private_ranges()).collect(),
            sources: 65_536,
            bans: 262_144,
        }
    }
}

/// When a ban ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BanEnd {
    At(UnixSeconds),
    /// When an operator lifts it.
    Never,
}

/// Why a source was banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanCause {
    /// The last of its offences.
    Offence(Offence),
    Operator,
}

impl BanCause {
    /// The offence's name, or `operator`.
    pub const fn name(self) -> &'static str {
        match self {
            BanCause::Offence(offence) => offence.name(),
            BanCause::Operator => "operator",
        }
    }

    pub fn from_name(name: &str) -> Option<BanCause> {
        if name == "operator" { Some(BanCause::Operator) } else { Offence::from_name(name).map(BanCause::Offence) }
    }
}

/// A source that is shut out, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    pub since: UnixSeconds,
    pub end: BanEnd,
    /// How often it has been banned, this time included, as far as that is remembered.
    pub times: u32,
    pub cause: BanCause,
}

impl Ban {
    pub fn is_over(&self, now: UnixSeconds) -> bool {
        matches!(self.end, BanEnd::At(end) if end <= now)
    }
}

/// Why a source cannot be banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exempt {
    /// The configuration names this range.
    Never(Cidr),
    /// An operator allowed it.
    Allowed(Cidr),
    /// It is one of a trunk's addresses.
    Trunk,
}

impl std::fmt::Display for Exempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exempt::Never(range) => write!(f, "{range} is never banned by the configuration"),
            Exempt::Allowed(range) => write!(f, "{range} was allowed by an operator"),
            Exempt::Trunk => f.write_str("it is an address of a trunk"),
        }
    }
}

/// What an offence led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// So many within the window.
    Offences(u32),
    /// This one was one too many.
    Banned(Ban),
    /// It is banned already; what comes now was under way.
    AlreadyBanned,
    Exempt(Exempt),
}

/// Something to be kept and enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Banned(SourceKey, Ban),
    /// Forgotten, with everything it did before.
    Lifted(SourceKey),
    Allowed(Cidr),
    Disallowed(Cidr),
}

/// What is known of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub source: SourceKey,
    /// One that is over is remembered for a while.
    pub ban: Option<Ban>,
    /// Within the window, the oldest first.
    pub offences: Vec<(UnixSeconds, Offence)>,
    pub exempt: Option<Exempt>,
}

/// Figures since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub offences: u64,
    pub bans: u64,
}

/// The offences of one source within the window.
type Record = VecDeque<(UnixSeconds, Offence)>;

/// The ledger.
#[derive(Debug)]
pub struct Watch {
    config: WatchConfig,
    records: BTreeMap<SourceKey, Record>,
    /// The sources of `records` by their last offence.
    latest: BTreeSet<(UnixSeconds, SourceKey)>,
    bans: BTreeMap<SourceKey, Ban>,
    /// The sources of `bans` by when they are forgotten.
    forgotten: BTreeSet<(UnixSeconds, SourceKey)>,
    allowed: BTreeSet<Cidr>,
    totals: Totals,
    changes: VecDeque<Change>,
}

impl Watch {
    pub fn new(config: WatchConfig) -> Self {
        Self {
            config,
            records: BTreeMap::new(),
            latest: BTreeSet::new(),
            bans: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            allowed: BTreeSet::new(),
            totals: Totals::default(),
            changes: VecDeque::new(),
        }
    }

    /// A proven source did something. `is_trunk`: it is one of a trunk's addresses.
    pub fn offence(&mut self, now: UnixSeconds, address: IpAddr, offence: Offence, is_trunk: bool) -> Counted {
        self.totals.offences += 1;
        let source = SourceKey::from(address);
        if let Some(exempt) = self.exempt(address, is_trunk) {
            return Counted::Exempt(exempt);
        }
        if self.banned(now, source).is_some() {
            return Counted::AlreadyBanned;
        }
        let limit = self.config.offences.max(1) as usize;
        let window = self.config.within.as_secs().max(1);
        let record = self.records.entry(source).or_default();
        if let Some((last, _)) = record.back() {
            self.latest.remove(&(*last, source));
        }
        record.push_back((now, offence));
        while record.front().is_some_and(|(at, _)| at + window <= now) || record.len() > limit {
            record.pop_front();
        }
        let within = record.len();
        if within >= limit {
            self.records.remove(&source);
            return Counted::Banned(self.punish(now, source, None, BanCause::Offence(offence)));
        }
        self.latest.insert((now, source));
        while self.records.len() > self.config.sources.max(1) {
            let Some((_, oldest)) = self.latest.pop_first() else { break };
            self.records.remove(&oldest);
        }
        Counted::Offences(within as u32)
    }

    /// An operator shuts a source out: for so long, or until it is lifted.
    ///
    /// # Errors
    /// It is never banned.
    pub fn ban(
        &mut self,
        now: UnixSeconds,
        address: IpAddr,
        for_: Option<Duration>,
        is_trunk: bool,
    ) -> Result<Ban, Exempt> {
        if let Some(exempt) = self.exempt(address, is_trunk) {
            return Err(exempt);
        }
        let source = SourceKey::from(address);
        self.forget_offences(source);
        let end = for_.map_or(BanEnd::Never, |for_| BanEnd::At(now + for_.as_secs().max(1)));
        Ok(self.punish(now, source, Some(end), BanCause::Operator))
    }

    /// Lifts a ban, and forgets what its source did. `false`: there was nothing to lift.
    pub fn unban(&mut self, now: UnixSeconds, address: IpAddr) -> bool {
        let source = SourceKey::from(address);
        let had = self.forget_offences(source);
        let banned = self.banned(now, source).is_some();
        if self.drop_ban(source) {
            self.changes.push_back(Change::Lifted(source));
        }
        had || banned
    }

    /// From now on nobody in that range is banned, and bans in it are lifted. `false`: it was so before.
    pub fn allow(&mut self, range: Cidr) -> bool {
        if !self.allowed.insert(range) {
            return false;
        }
        self.changes.push_back(Change::Allowed(range));
        let within: Vec<SourceKey> = self.bans.keys().copied().filter(|source| range.covers(*source)).collect();
        for source in within {
            self.drop_ban(source);
            self.changes.push_back(Change::Lifted(source));
        }
        true
    }

    /// Takes back [`Watch::allow`]. `false`: that very range was not allowed.
    pub fn unallow(&mut self, range: Cidr) -> bool {
        let was = self.allowed.remove(&range);
        if was {
            self.changes.push_back(Change::Disallowed(range));
        }
        was
    }

    /// After a restart: what was kept. Nothing of it is told again by [`Watch::poll_change`].
    pub fn restore(
        &mut self,
        bans: impl IntoIterator<Item = (SourceKey, Ban)>,
        allowed: impl IntoIterator<Item = Cidr>,
    ) {
        self.allowed.extend(allowed);
        for (source, ban) in bans {
            self.put_ban(source, ban);
        }
        self.changes.clear();
    }

    /// Bans that hold although their source is never banned by today's configuration or trunks are lifted.
    pub fn pardon(&mut self, is_trunk: impl Fn(SourceKey) -> bool) {
        let exempt = |source: &SourceKey| {
            let ranges = self.config.never.iter().chain(&self.allowed);
            is_trunk(*source) || ranges.into_iter().any(|range| range.covers(*source))
        };
        let lifted: Vec<SourceKey> = self.bans.keys().copied().filter(exempt).collect();
        for source in lifted {
            self.drop_ban(source);
            self.changes.push_back(Change::Lifted(source));
        }
    }

    /// Lets go of what is old. Call it now and then.
    pub fn sweep(&mut self, now: UnixSeconds) {
        let window = self.config.within.as_secs().max(1);
        while let Some(&(at, source)) = self.latest.first()
            && at + window <= now
        {
            self.latest.pop_first();
            self.records.remove(&source);
        }
        while let Some(&(at, source)) = self.forgotten.first()
            && at <= now
        {
            self.forgotten.pop_first();
            self.bans.remove(&source);
            self.changes.push_back(Change::Lifted(source));
        }
    }

    /// The next thing to keep and enforce.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// What is known of an address.
    pub fn why(&self, now: UnixSeconds, address: IpAddr, is_trunk: bool) -> Known {
        let source = SourceKey::from(address);
        let window = self.config.within.as_secs().max(1);
        let offences = self.records.get(&source).into_iter().flatten().copied();
        Known {
            source,
            ban: self.bans.get(&source).copied(),
            offences: offences.filter(|(at, _)| at + window > now).collect(),
            exempt: self.exempt(address, is_trunk),
        }
    }

    /// The bans that hold, in the order of their sources.
    pub fn bans(&self, now: UnixSeconds) -> impl Iterator<Item = (SourceKey, Ban)> + '_ {
        self.bans.iter().filter(move |(_, ban)| !ban.is_over(now)).map(|(source, ban)| (*source, *ban))
    }

    /// What operators allowed, in order.
    pub fn allowed(&self) -> impl Iterator<Item = Cidr> + '_ {
        self.allowed.iter().copied()
    }

    /// Sources with offences within the window, and their number: those that failed and are not banned yet.
    pub fn offenders(&self, now: UnixSeconds) -> impl Iterator<Item = (SourceKey, &Record)> + '_ {
        let window = self.config.within.as_secs().max(1);
        let recent = move |record: &&Record| record.back().is_some_and(|(at, _)| at + window > now);
        self.records.iter().filter(move |(_, record)| recent(record)).map(|(source, record)| (*source, record))
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    pub fn config(&self) -> &WatchConfig {
        &self.config
    }

    /// Whether an address is never banned, whatever it does, trunks left aside.
    pub fn is_spared(&self, address: IpAddr) -> bool {
        self.exempt(address, false).is_some()
    }

    fn exempt(&self, address: IpAddr, is_trunk: bool) -> Option<Exempt> {
        let within = |range: &&Cidr| range.contains(address);
        if let Some(range) = self.config.never.iter().find(within) {
            return Some(Exempt::Never(*range));
        }
        if is_trunk {
            return Some(Exempt::Trunk);
        }
        self.allowed.iter().find(within).map(|range| Exempt::Allowed(*range))
    }

    fn banned(&self, now: UnixSeconds, source: SourceKey) -> Option<Ban> {
        self.bans.get(&source).copied().filter(|ban| !ban.is_over(now))
    }

    /// Bans a source: until `end`, or for as long as its past asks for.
    fn punish(&mut self, now: UnixSeconds, source: SourceKey, end: Option<BanEnd>, cause: BanCause) -> Ban {
        let times = self.bans.get(&source).map_or(0, |ban| ban.times).saturating_add(1);
        let end = end.unwrap_or_else(|| {
            let growth = u64::from(self.config.growth.max(1));
            let longest = self.config.longest.max(self.config.ban_for).as_secs();
            let length = (1..times).try_fold(self.config.ban_for.as_secs(), |length, _| length.checked_mul(growth));
            BanEnd::At(now + length.unwrap_or(longest).min(longest).max(1))
        });
        let ban = Ban { since: now, end, times, cause };
        self.totals.bans += 1;
        self.put_ban(source, ban);
        self.changes.push_back(Change::Banned(source, ban));
        ban
    }

    fn put_ban(&mut self, source: SourceKey, ban: Ban) {
        self.drop_ban(source);
        while self.bans.len() >= self.config.bans.max(1) {
            let Some((_, first)) = self.forgotten.pop_first() else { break };
            self.bans.remove(&first);
            self.changes.push_back(Change::Lifted(first));
        }
        self.forgotten.insert((self.forget_at(&ban), source));
        self.bans.insert(source, ban);
    }

    fn drop_ban(&mut self, source: SourceKey) -> bool {
        let Some(ban) = self.bans.remove(&source) else { return false };
        self.forgotten.remove(&(self.forget_at(&ban), source));
        true
    }

    fn forget_at(&self, ban: &Ban) -> UnixSeconds {
        match ban.end {
            BanEnd::At(end) => end.saturating_add(self.config.remember.as_secs()),
            BanEnd::Never => UnixSeconds::MAX,
        }
    }

    fn forget_offences(&mut self, source: SourceKey) -> bool {
        let Some(record) = self.records.remove(&source) else { return false };
        if let Some((last, _)) = record.back() {
            self.latest.remove(&(*last, source));
        }
        true
    }
}

#[cfg(test)]
mod tests;
