//! Blacklists on calls (BLACK-1 to BLACK-6): the entries in memory, changed by feature codes and operators and told to the
//! journal, and what is looked up in them when a trunk's call comes in. The lists themselves are `guard::blacklist`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringfort_guard::blacklist::{Blacklists, Expiry, ListId, Match};
use rustc_hash::FxHashMap;

use crate::Switch;
use crate::io::{BlacklistAsk, BlacklistHit, BlacklistReply, BlacklistWrong, CommandReply, Level, Output};
use crate::model::{BlacklistPlan, NumberForm, NumberPlan, Pii, TenantId, Trunk, mask};
use crate::record::{BlacklistChange, JournalRecord, Listed};

/// Entries that one command may bring.
pub(crate) const MOST_AT_ONCE: usize = 2000;
/// How often entries that have run out are looked for: it takes some milliseconds for a million.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// All tenants' entries.
#[derive(Debug, Default)]
pub(crate) struct Blocking {
    tenants: FxHashMap<TenantId, Blacklists>,
    /// When entries that have run out were looked for last.
    swept: Option<Instant>,
}

/// A caller is on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub list: u32,
    pub entry: String,
    pub number: String,
}

impl Blocking {
    pub fn of(&mut self, tenant: TenantId) -> &mut Blacklists {
        self.tenants.entry(tenant).or_default()
    }

    /// Now and then takes out what has run out: till then it stops nobody, and needs memory. How many there were.
    fn sweep(&mut self, now: Instant, unix_s: u64) -> usize {
        if self.swept.is_some_and(|at| now < at + SWEEP_EVERY) {
            return 0;
        }
        self.swept = Some(now);
        self.tenants.values_mut().map(|lists| lists.sweep(unix_s)).sum()
    }

    /// Entries of all lists, the allow-lists too.
    pub fn len(&self) -> usize {
        self.tenants.values().map(Blacklists::len).sum()
    }

    /// Makes a change. `true`: something is different now; a new end is.
    pub fn apply(&mut self, change: &BlacklistChange) -> bool {
        let Ok(entry) = Match::parse(change.entry.reveal()) else { return false };
        let lists = self.of(change.tenant);
        let list = match change.list {
            Some(id) => lists.list_mut(ListId(id)),
            None => lists.allow_mut(),
        };
        match change.listed {
            Listed::Until(end) => list.add(&entry, Expiry::At(end)),
            Listed::ForEver => list.add(&entry, Expiry::Never),
            Listed::Gone => list.remove(&entry),
        }
    }
}

impl Switch {
    /// After a restart: what the journal and the database kept.
    pub fn restore_blacklists(&mut self, changes: impl IntoIterator<Item = BlacklistChange>) {
        for change in changes {
            self.blocking.apply(&change);
        }
        let kept = self.blocking.len();
        if kept > 0 {
            self.notice(Level::Info, None, None, "blacklist", format!("{kept} entries restored"));
        }
    }

    pub(crate) fn sweep_blacklists(&mut self, now: Instant) {
        let unix_s = self.clock.unix_s(now);
        let gone = self.blocking.sweep(now, unix_s);
        if gone > 0 {
            self.notice(Level::Debug, None, None, "blacklist", format!("{gone} entries have run out"));
        }
    }

    fn change_blacklists(&mut self, changes: Vec<BlacklistChange>) -> usize {
        let changed = changes.iter().filter(|change| self.blocking.apply(change)).count();
        self.outputs.push_back(Output::Journal(JournalRecord::Blacklist(changes)));
        changed
    }

    /// Adds a number to lists, or takes it off them, as a phone asked.
    pub(crate) fn list_number(&mut self, tenant: TenantId, lists: &[u32], number: &str, listed: Listed) -> usize {
        let change =
            |&list: &u32| BlacklistChange { tenant, list: Some(list), entry: Pii::new(number.to_owned()), listed };
        self.change_blacklists(lists.iter().map(change).collect())
    }

    /// The entry that stops a call of a trunk: its numbers are the ones that the caller is shown with, and all that his
    /// provider tells beside it. What is allowed is looked at for the first one, which is the one that is believed.
    pub(crate) fn blocked(&mut self, now: Instant, trunk: &Trunk, numbers: &[String]) -> Option<Blocked> {
        if trunk.blacklists.is_empty() {
            return None;
        }
        let unix_s = self.clock.unix_s(now);
        let plan = self.router.plan(trunk.tenant)?;
        let form = form_of(trunk, plan);
        let numbers: Vec<String> = numbers.iter().map(|number| form.apply(plan, number)).collect();
        let lists: Vec<ListId> = trunk.blacklists.iter().map(|&id| ListId(id)).collect();
        let blacklists = self.blocking.of(trunk.tenant);
        if numbers.first().is_some_and(|number| blacklists.is_allowed(unix_s, number)) {
            return None;
        }
        numbers.into_iter().find_map(|number| {
            let hit = blacklists.check(unix_s, &lists, &number)?;
            Some(Blocked { list: hit.list.0, entry: hit.entry.to_string(), number })
        })
    }

    /// What an operator asks.
    pub(crate) fn blacklist_command(&mut self, now: Instant, tenant: Option<&str>, ask: BlacklistAsk) -> CommandReply {
        let tenants = &self.directory.site().tenants;
        let found = match tenant {
            Some(name) => tenants.iter().find(|t| t.name == name),
            None => tenants.first(),
        };
        let Some(tenant) = found else {
            let known: Vec<&str> = tenants.iter().map(|t| t.name.as_str()).collect();
            let got = tenant.unwrap_or_default();
            return refused(format!("expected one of the tenants {}, got {got:?}", known.join(", ")));
        };
        let (id, plan) = (tenant.id, tenant.numbers.clone());
        match self.blacklist_ask(now, id, &plan, ask) {
            Ok(reply) => CommandReply::Blacklist(reply),
            Err(words) => refused(words),
        }
    }

    fn blacklist_ask(
        &mut self,
        now: Instant,
        tenant: TenantId,
        plan: &NumberPlan,
        ask: BlacklistAsk,
    ) -> Result<BlacklistReply, String> {
        let unix_s = self.clock.unix_s(now);
        let mut reply = BlacklistReply::default();
        match ask {
            BlacklistAsk::Add { list, entry, hours } => {
                let entry = entry_of(plan, &entry)?;
                let listed = match Expiry::after(unix_s, hours) {
                    Expiry::At(end) => Listed::Until(end),
                    Expiry::Never => Listed::ForEver,
                };
                let list = list_of(&plan.blacklists, list.as_deref())?;
                reply.number = entry.clone();
                let change = BlacklistChange { tenant, list, entry: Pii::new(entry), listed };
                reply.changed = self.change_blacklists(vec![change]);
            }
            BlacklistAsk::Delete { list, entry } => {
                let entry = entry_of(plan, &entry)?;
                let list = list_of(&plan.blacklists, list.as_deref())?;
                reply.number = entry.clone();
                let change = BlacklistChange { tenant, list, entry: Pii::new(entry), listed: Listed::Gone };
                reply.changed = self.change_blacklists(vec![change]);
            }
            BlacklistAsk::Check { number } => {
                reply.number = plan.blacklists.form.apply(plan, &number);
                let blacklists = self.blocking.of(tenant);
                reply.allowed = blacklists.is_allowed(unix_s, &reply.number);
                let ids: Vec<ListId> = blacklists.lists().map(|(id, _)| id).collect();
                for id in ids {
                    if let Some(entry) = blacklists.list_mut(id).check(unix_s, &reply.number) {
                        let name = plan.blacklists.names.get(&id.0).cloned().unwrap_or_default();
                        reply.hits.push(BlacklistHit { list: id.0, name, entry: entry.to_string() });
                    }
                }
            }
            BlacklistAsk::Put { rows, dry_run } => {
                if rows.len() > MOST_AT_ONCE {
                    return Err(format!("expected at most {MOST_AT_ONCE} entries at once, got {}", rows.len()));
                }
                let mut changes = Vec::with_capacity(rows.len());
                for (index, row) in rows.into_iter().enumerate() {
                    let listed = row.expires.map_or(Listed::ForEver, Listed::Until);
                    match entry_of(plan, &row.entry) {
                        Ok(entry) => {
                            changes.push(BlacklistChange { tenant, list: row.list, entry: Pii::new(entry), listed });
                        }
                        Err(words) => reply.wrong.push(BlacklistWrong { row: index, words }),
                    }
                }
                if !dry_run && reply.wrong.is_empty() {
                    reply.changed = self.change_blacklists(changes);
                }
            }
        }
        self.note_change(tenant, &reply);
        Ok(reply)
    }

    fn note_change(&mut self, tenant: TenantId, reply: &BlacklistReply) {
        if reply.changed > 0 {
            // A file comes in many pieces.
            let (level, text) = if reply.number.is_empty() {
                (Level::Debug, format!("{} entries imported", reply.changed))
            } else {
                (Level::Info, format!("{} changed by the operator", mask(&reply.number)))
            };
            self.notice(level, Some(tenant), None, "blacklist", text);
        }
    }
}

/// The one form of the numbers of a trunk's callers (BLACK-5): they are shown and looked up in it.
pub(crate) fn form_of(trunk: &Trunk, plan: &NumberPlan) -> NumberForm {
    trunk.blacklist_form.unwrap_or(plan.blacklists.form)
}

/// An entry in the tenant's form. Prefixes and patterns are taken as they are written.
fn entry_of(plan: &NumberPlan, text: &str) -> Result<String, String> {
    let entry = Match::parse(text).map_err(|error| format!("entry {text:?}: {error}"))?;
    match entry {
        Match::Exact(number) => {
            let number = plan.blacklists.form.apply(plan, &number);
            let digits = number.strip_prefix('+');
            let is_e164 = digits.is_none_or(|d| (7..=15).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()));
            if plan.blacklists.form == NumberForm::E164 && !is_e164 {
                return Err(format!("entry {text:?}: expected + and 7 to 15 digits, got {number}"));
            }
            if plan.blacklists.form == NumberForm::E164 && has_no_full_form(&number) {
                return Err(format!(
                    "entry {text:?}: expected a number with its country, got one that callers never have in full; write it \
                     with + and the country code, or set `country` of the tenant"
                ));
            }
            Ok(number)
        }
        Match::Prefix(_) | Match::Pattern(_) => Ok(entry.to_string()),
    }
}

/// Whether a number in E.164 form, where it has one, is still one of a subscriber without his country: callers have the
/// whole, and it would fit none. Short codes and extensions are left as they are.
pub(crate) fn has_no_full_form(number: &str) -> bool {
    number.len() >= 7 && number.bytes().all(|b| b.is_ascii_digit())
}

/// A list by number or name; `allow` is the allow-list (`None`).
fn list_of(plan: &BlacklistPlan, text: Option<&str>) -> Result<Option<u32>, String> {
    let Some(text) = text else { return Ok(Some(0)) };
    if text == "allow" {
        return Ok(None);
    }
    plan.list(text).map(Some).ok_or_else(|| {
        let names = named(&plan.names);
        format!("list {text:?}: expected the number of a list, a name, or allow; got none of these (names: {names})")
    })
}

fn named(names: &BTreeMap<u32, String>) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|(id, name)| format!("{id}={name}")).collect::<Vec<_>>().join(", ")
}

fn refused(error: String) -> CommandReply {
    CommandReply::Refused { error }
}
