//! The one way by which what the administrator manages is read and changed, used by console, API and command line
//! alike: plan, apply, roll back, export, and single extensions. Each change is a revision.

mod rates;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use ringfort_switch::model::{Calling, Destination, Extension, Secret, Site, SrtpPolicy, Tenant};
use ringfort_switch::record::UnixMillis;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

pub use rates::RatesFile;

use crate::db::{Db, DbError};
use crate::keys::Keys;
use crate::site::edit::{self, LineChange, Pair};
use crate::site::export::{self, Secrets};
use crate::site::{
    Absent, Action, Change, Counters, DEFAULT_TENANT, Lines, Located, ObjectKind, Plan, RawExtension, RawSite,
    Resolver, SiteErrors, Target, compare, rows,
};

/// Why a change or question was refused. All but `Db` are the caller's to mend.
#[derive(Debug, Error)]
pub enum ServiceError {
    #[error("{0}")]
    Site(#[from] SiteErrors),
    /// The gate says no, in its words. Nothing was stored.
    #[error("{0}")]
    Gate(String),
    #[error(
        "the site was changed meanwhile: expected to apply onto revision {base}, got revision {current}; make the \
         plan anew, look at it, and apply that"
    )]
    Stale { base: u64, current: u64 },
    #[error("revision {asked}: expected one from 0 to {newest}, got none of that number; `revisions` lists them")]
    NoRevision { asked: u64, newest: u64 },
    #[error("expected a revision to go back to, got the first state (revision 0); there is nothing before it")]
    NothingBefore,
    #[error("extension {number:?}: expected one of tenant {tenant:?}, got no such number; `extension list` shows all")]
    NoExtension { tenant: String, number: String },
    #[error("extension {number:?}: expected a new number, got one that tenant {tenant:?} has; use `extension set`")]
    Exists { tenant: String, number: String },
    #[error("extension {number:?}: expected one that nothing leads to, got one that {by} leads to; change that first")]
    InUse { number: String, by: String },
    #[error("trunk {name:?}: expected {known}, got none of that name{hint}")]
    NoTrunk { name: String, known: String, hint: &'static str },
    #[error(
        "trunk {name:?}: expected a currency such as EUR the first time rates are imported, got none; add --currency EUR"
    )]
    NoCurrency { name: String },
    #[error(
        "trunk {name:?}: expected rates in {expected}, got {got}: {because}; limits of spending add up what calls by all \
         trunks of a tenant cost, so convert the prices to {expected} first"
    )]
    Currency { name: String, expected: String, got: String, because: String },
    #[error("currency: expected three capital letters such as EUR (ISO 4217), got {got:?}; write --currency EUR")]
    NoSuchCurrency { got: String },
    #[error(
        "trunk {name:?}: expected rates to delete, got a trunk without any; `ctl rates show` lists those that have some"
    )]
    NoRates { name: String },
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Who changes something, when and why: kept with the revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeNote {
    pub author: String,
    pub comment: String,
    pub at: UnixMillis,
}

/// A change that is done.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The new revision, or the present one where nothing was to do.
    pub revision: u64,
    /// For `Switch::apply_site`.
    pub site: Arc<Site>,
    pub changes: Vec<Change>,
    /// What the gate has to say of it.
    pub advice: Vec<String>,
}

/// One line of the list of revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionInfo {
    pub revision: u64,
    pub at: UnixMillis,
    pub author: String,
    pub comment: String,
    /// The revision whose state this one brought back.
    pub rollback_to: Option<u64>,
    pub created: u32,
    pub changed: u32,
    pub deleted: u32,
}

/// A new extension or a change to one; what is `None` is generated, takes its default, or stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExtensionFields {
    pub name: Option<String>,
    pub sip_user: Option<String>,
    pub sip_password: Option<Secret>,
    pub srtp: Option<SrtpPolicy>,
    pub max_calls: Option<u32>,
    pub max_contacts: Option<u32>,
    pub enabled: Option<bool>,
    /// What it may do beyond the house, by the keys of `site.toml`.
    pub keys: Vec<Pair>,
}

impl ExtensionFields {
    /// `present`: what it may do now.
    fn raw(self, tenant: &str, number: &str, present: &Calling) -> Result<RawExtension, SiteErrors> {
        let calling = if self.keys.is_empty() { None } else { Some(edit::calling(number, present, &self.keys)?) };
        Ok(RawExtension {
            number: Located::new(number.to_owned()),
            tenant: Some(Located::new(tenant.to_owned())),
            name: self.name.map(Located::new),
            sip_user: self.sip_user.map(Located::new),
            sip_password: self.sip_password.map(Located::new),
            srtp: self.srtp.map(Located::new),
            max_calls: self.max_calls.map(Located::new),
            max_contacts: self.max_contacts.map(Located::new),
            enabled: self.enabled.map(Located::new),
            calling,
        })
    }
}

/// What `extension_rotate` makes anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotate {
    Password,
    UserAndPassword,
}

/// Reads and changes the site. Share it by `Arc`; changes wait for each other.
#[derive(Debug)]
pub struct Service {
    db: Arc<Db>,
    keys: Arc<Keys>,
    /// Domains of the default tenant where the site names none: `domains` of the node's configuration.
    default_domains: Vec<String>,
    state: Mutex<State>,
    gate: Gatehouse,
}

#[derive(Default)]
struct Gatehouse(OnceLock<Gate>);

impl std::fmt::Debug for Gatehouse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.get().is_some() { "Gate" } else { "no gate" })
    }
}

/// Looks at a state of the site before it comes into force: the state, and what the operator allows by name. What it says of
/// one that it lets pass is for the operator to hear.
pub type Gate = Box<dyn Fn(&Site, &[String]) -> Result<Vec<String>, String> + Send + Sync>;

#[derive(Debug)]
struct State {
    /// As stored, the default tenant without the node's domains.
    tenants: Vec<Tenant>,
    counters: Counters,
    site: Arc<Site>,
    rng: ChaCha20Rng,
}

impl Service {
    /// Loads the present site. `seed` comes from the operating system's generator: credentials are made from it.
    ///
    /// # Errors
    /// The database's word, or a row that does not open with this key.
    pub fn open(
        db: Arc<Db>,
        keys: Arc<Keys>,
        default_domains: Vec<String>,
        seed: [u8; 32],
    ) -> Result<Self, ServiceError> {
        let stored = db.read(|c| rows::load(c, &keys))?;
        let default_domains: Vec<String> = default_domains.iter().map(|d| d.to_ascii_lowercase()).collect();
        let tenants = with_default_domains(&stored.tenants, &default_domains);
        let site = Site { revision: stored.revision, tenants, extensions: stored.extensions, ..Site::default() };
        let site = stored.lines.within(site);
        let state = State {
            tenants: stored.tenants,
            counters: stored.counters,
            site: Arc::new(site),
            rng: ChaCha20Rng::from_seed(seed),
        };
        Ok(Self { db, keys, default_domains, state: Mutex::new(state), gate: Gatehouse::default() })
    }

    /// The present site.
    pub fn site(&self) -> Arc<Site> {
        Arc::clone(&self.lock().site)
    }

    /// What applying the file would do. With `prune`, objects of a kind that the file manages and does not name are
    /// deleted. Generated credentials are in the plan (hidden), so that applying it does what it shows.
    ///
    /// # Errors
    /// [`ServiceError::Site`] with everything that is wrong.
    pub fn plan(&self, raw: &RawSite, prune: bool) -> Result<Plan, ServiceError> {
        self.lock().plan(raw, prune, Absent::Default)
    }

    /// What going back to revision `to` would do; `None` goes back to the one before the present.
    ///
    /// # Errors
    /// [`ServiceError::NoRevision`], [`ServiceError::NothingBefore`], the database's word.
    pub fn plan_rollback(&self, to: Option<u64>) -> Result<Plan, ServiceError> {
        let state = self.lock();
        let newest = state.site.revision;
        let to = match to {
            Some(to) => to,
            None => newest.checked_sub(1).ok_or(ServiceError::NothingBefore)?,
        };
        let (tenants, extensions, lines) = self.at_revision(to, newest)?;
        let target = Target { tenants, extensions, lines, ..state.target() };
        Ok(Plan { rollback_to: Some(to), ..state.plan_to(target, 0) })
    }

    /// Does what the plan says, in one transaction, as a new revision. An empty plan makes none.
    ///
    /// # Errors
    /// [`ServiceError::Stale`] where another change came between, the database's word. Nothing has changed then.
    pub fn apply(&self, plan: Plan, note: &ChangeNote) -> Result<Applied, ServiceError> {
        self.apply_locked(&mut self.lock(), plan, note)
    }

    /// Applies the state of revision `to` (`None`: the one before the present) as a new revision.
    ///
    /// # Errors
    /// As [`Service::plan_rollback`] and [`Service::apply`].
    pub fn rollback(&self, to: Option<u64>, note: &ChangeNote) -> Result<Applied, ServiceError> {
        let plan = self.plan_rollback(to)?;
        self.apply(plan, note)
    }

    /// The newest revisions first, at most `limit`.
    ///
    /// # Errors
    /// The database's word.
    pub fn revisions(&self, limit: u32) -> Result<Vec<RevisionInfo>, ServiceError> {
        self.db.read(|c| {
            let failed = DbError::sql("reading revisions");
            let mut statement = c
                .prepare(
                    "SELECT id, at_ms, author, comment, rollback_to, created, changed, deleted FROM revision \
                     ORDER BY id DESC LIMIT $1",
                )
                .map_err(&failed)?;
            let rows = statement.query_map([limit], |r| {
                Ok(RevisionInfo {
                    revision: r.get::<_, i64>(0)?.cast_unsigned(),
                    at: UnixMillis(r.get::<_, i64>(1)?.cast_unsigned()),
                    author: r.get(2)?,
                    comment: r.get(3)?,
                    rollback_to: r.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
                    created: r.get(5)?,
                    changed: r.get(6)?,
                    deleted: r.get(7)?,
                })
            });
            let found = rows.and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(&failed)?;
            Ok(found)
        })
    }

    /// What is different in revision `b` as against revision `a`.
    ///
    /// # Errors
    /// [`ServiceError::NoRevision`], the database's word.
    pub fn diff(&self, a: u64, b: u64) -> Result<Vec<Change>, ServiceError> {
        let newest = self.lock().site.revision;
        let (before, after) = (self.at_revision(a, newest)?, self.at_revision(b, newest)?);
        Ok(compare((&before.0, &after.0), (&before.1, &after.1), (&before.2, &after.2), &BTreeMap::new()).0)
    }

    /// The present site as the text of a `site.toml`. Applied to this system it changes nothing.
    pub fn export(&self, secrets: Secrets) -> String {
        let state = self.lock();
        export::export(&state.tenants, &state.site, secrets)
    }

    /// What changing one trunk, route or alias by hand would do.
    ///
    /// # Errors
    /// [`ServiceError::Site`] with everything that is wrong.
    pub fn plan_line(&self, change: &LineChange) -> Result<Plan, ServiceError> {
        let mut state = self.lock();
        let raw = edit::edited(&state.tenants, &state.site, change)?;
        state.plan(&raw, true, Absent::Default)
    }

    /// Trunks, routes, inbound routes or aliases as objects with the keys of `site.toml`, in their order; `None`: of all
    /// tenants, of all names.
    pub fn lines(&self, kind: ObjectKind, tenant: Option<&str>, name: Option<&str>, secrets: bool) -> Vec<Value> {
        let state = self.lock();
        edit::shown(&state.tenants, &state.site, kind, tenant, name, secrets)
    }

    /// What the gate says of a plan, were it applied.
    ///
    /// # Errors
    /// [`ServiceError::Gate`]: it would be refused.
    pub fn advice(&self, plan: &Plan) -> Result<Vec<String>, ServiceError> {
        self.judged(&self.site_of(plan), plan)
    }

    /// All extensions of a tenant (of all tenants for `None`), by number.
    pub fn extension_list(&self, tenant: Option<&str>) -> Vec<Extension> {
        let site = self.site();
        let wanted = |e: &&Extension| match tenant {
            None => true,
            Some(name) => site.tenants.iter().any(|t| t.id == e.tenant && t.name == name),
        };
        let mut extensions: Vec<Extension> = site.extensions.values().filter(wanted).cloned().collect();
        extensions.sort_by(|a, b| (a.tenant, a.number.len(), &a.number).cmp(&(b.tenant, b.number.len(), &b.number)));
        extensions
    }

    /// An extension with its credentials, by tenant (`None`: the default one) and number.
    ///
    /// # Errors
    /// [`ServiceError::NoExtension`].
    pub fn extension_show(&self, tenant: Option<&str>, number: &str) -> Result<Extension, ServiceError> {
        self.lock().find(tenant.unwrap_or(DEFAULT_TENANT), number).cloned()
    }

    /// A new extension; credentials are generated where none are given.
    ///
    /// # Errors
    /// [`ServiceError::Exists`], [`ServiceError::Site`] with the reasons, the database's word.
    pub fn extension_add(
        &self,
        tenant: Option<&str>,
        number: &str,
        fields: ExtensionFields,
        note: &ChangeNote,
    ) -> Result<(Extension, Applied), ServiceError> {
        let tenant = tenant.unwrap_or(DEFAULT_TENANT);
        let mut state = self.lock();
        if state.find(tenant, number).is_ok() {
            return Err(ServiceError::Exists { tenant: tenant.to_owned(), number: number.to_owned() });
        }
        self.put(&mut state, tenant, number, fields, note)
    }

    /// Changes what is given of an extension; the rest stays.
    ///
    /// # Errors
    /// [`ServiceError::NoExtension`], [`ServiceError::Site`] with the reasons, the database's word.
    pub fn extension_set(
        &self,
        tenant: Option<&str>,
        number: &str,
        fields: ExtensionFields,
        note: &ChangeNote,
    ) -> Result<(Extension, Applied), ServiceError> {
        let tenant = tenant.unwrap_or(DEFAULT_TENANT);
        let mut state = self.lock();
        state.find(tenant, number)?;
        self.put(&mut state, tenant, number, fields, note)
    }

    /// Deletes an extension. Its id is never used again; a rollback brings it back under the same one.
    ///
    /// # Errors
    /// [`ServiceError::NoExtension`], the database's word.
    pub fn extension_delete(
        &self,
        tenant: Option<&str>,
        number: &str,
        note: &ChangeNote,
    ) -> Result<Applied, ServiceError> {
        let mut state = self.lock();
        let found = state.find(tenant.unwrap_or(DEFAULT_TENANT), number)?;
        if let Some(by) = state.leads_to(found) {
            return Err(ServiceError::InUse { number: number.to_owned(), by });
        }
        let id = found.id;
        let mut target = state.target();
        target.extensions.remove(&id);
        let plan = state.plan_to(target, 0);
        self.apply_locked(&mut state, plan, note)
    }

    /// Makes new credentials for an extension: its phones must be given them.
    ///
    /// # Errors
    /// [`ServiceError::NoExtension`], the database's word.
    pub fn extension_rotate(
        &self,
        tenant: Option<&str>,
        number: &str,
        what: Rotate,
        note: &ChangeNote,
    ) -> Result<(Extension, Applied), ServiceError> {
        let tenant = tenant.unwrap_or(DEFAULT_TENANT);
        let mut state = self.lock();
        let before = state.find(tenant, number)?.clone();
        let site = Arc::clone(&state.site);
        let taken =
            |user: &str| site.extensions.values().any(|e| e.tenant == before.tenant && e.credentials.user == user);
        let user = match what {
            Rotate::Password => before.credentials.user.clone(),
            Rotate::UserAndPassword => crate::credentials::generate_user(&mut state.rng, number, taken),
        };
        let owner = crate::credentials::Owner { user: &user, number, name: &before.name };
        let password = crate::credentials::generate_password(&mut state.rng, &owner);
        let fields =
            ExtensionFields { sip_user: Some(user), sip_password: Some(password), ..ExtensionFields::default() };
        self.put(&mut state, tenant, number, fields, note)
    }

    fn put(
        &self,
        state: &mut State,
        tenant: &str,
        number: &str,
        fields: ExtensionFields,
        note: &ChangeNote,
    ) -> Result<(Extension, Applied), ServiceError> {
        let present = state.find(tenant, number).map(|e| e.calling.clone()).unwrap_or_default();
        let raw = RawSite { extensions: Some(vec![fields.raw(tenant, number, &present)?]), ..RawSite::default() };
        let plan = state.plan(&raw, false, Absent::Keep)?;
        let applied = self.apply_locked(state, plan, note)?;
        Ok((state.find(tenant, number)?.clone(), applied))
    }

    /// From now on every change is looked at by `gate` before it is stored. Once; a second one is passed over.
    pub fn set_gate(&self, gate: Gate) {
        let _ = self.gate.0.set(gate);
    }

    fn apply_locked(&self, state: &mut State, plan: Plan, note: &ChangeNote) -> Result<Applied, ServiceError> {
        let base = state.site.revision;
        if plan.base != base {
            return Err(ServiceError::Stale { base: plan.base, current: base });
        }
        if plan.is_empty() {
            let advice = self.judged(&state.site, &plan).unwrap_or_default();
            return Ok(Applied { revision: base, site: Arc::clone(&state.site), changes: Vec::new(), advice });
        }
        let revision = base + 1;
        let site = self.site_of(&plan);
        let advice = self.judged(&site, &plan)?;
        self.db.write(|tx| -> Result<(), ServiceError> {
            // Somebody with a database tool may have been at it.
            let current = rows::revision(tx)?;
            if current != base {
                return Err(ServiceError::Stale { base, current });
            }
            insert_revision(tx, revision, &plan, note)?;
            let before = (&*state.tenants, &state.site.extensions, &Lines::of(&state.site));
            Ok(rows::save(tx, &self.keys, before, &plan.target, revision)?)
        })?;
        let Plan { target, changes, .. } = plan;
        state.site = Arc::new(site);
        state.tenants = target.tenants;
        state.counters = Counters {
            next_tenant: state.counters.next_tenant.max(target.next_tenant),
            next_extension: state.counters.next_extension.max(target.next_extension),
            next_trunk: state.counters.next_trunk.max(target.next_trunk),
        };
        Ok(Applied { revision, site: Arc::clone(&state.site), changes, advice })
    }

    /// The site of the next revision.
    fn site_of(&self, plan: &Plan) -> Site {
        let tenants = with_default_domains(&plan.target.tenants, &self.default_domains);
        let (revision, extensions) = (plan.base + 1, plan.target.extensions.clone());
        plan.target.lines.clone().within(Site { revision, tenants, extensions, ..Site::default() })
    }

    fn judged(&self, site: &Site, plan: &Plan) -> Result<Vec<String>, ServiceError> {
        match self.gate.0.get() {
            Some(gate) => gate(site, &plan.allow).map_err(ServiceError::Gate),
            None => Ok(Vec::new()),
        }
    }

    fn at_revision(&self, asked: u64, newest: u64) -> Result<rows::Objects, ServiceError> {
        let found = self.db.read(|c| rows::at_revision(c, &self.keys, asked))?;
        found.ok_or(ServiceError::NoRevision { asked, newest })
    }

    /// A change that panicked has changed nothing here: the state is swapped after the commit.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The present objects, as a target to be changed.
    fn target(&self) -> Target {
        Target {
            tenants: self.tenants.clone(),
            extensions: self.site.extensions.clone(),
            next_tenant: self.counters.next_tenant,
            next_extension: self.counters.next_extension,
            next_trunk: self.counters.next_trunk,
            lines: Lines::of(&self.site),
            ..Target::default()
        }
    }

    fn plan(&mut self, raw: &RawSite, prune: bool, absent: Absent) -> Result<Plan, ServiceError> {
        let resolver = Resolver::new(&self.tenants, &self.site, self.counters, &mut self.rng, absent);
        let (target, unnamed) = resolver.resolve(raw, prune)?;
        Ok(self.plan_to(target, unnamed))
    }

    fn plan_to(&self, target: Target, unnamed: usize) -> Plan {
        let (changes, unchanged) = compare(
            (&self.tenants, &target.tenants),
            (&self.site.extensions, &target.extensions),
            (&Lines::of(&self.site), &target.lines),
            &target.origins,
        );
        Plan { base: self.site.revision, changes, unchanged, unnamed, allow: Vec::new(), target, rollback_to: None }
    }

    /// The alias or inbound route that leads to an extension.
    fn leads_to(&self, extension: &Extension) -> Option<String> {
        let to = Destination::Extension(extension.number.clone());
        let alias = self.site.aliases.iter().find(|a| a.tenant == extension.tenant && a.to == to);
        let inbound = || self.site.inbound.iter().find(|r| r.tenant == extension.tenant && r.to == to);
        let alias = alias.map(|a| format!("alias {:?}", a.name));
        alias.or_else(|| inbound().map(|r| format!("inbound {:?}", r.name)))
    }

    fn find(&self, tenant: &str, number: &str) -> Result<&Extension, ServiceError> {
        let id = self.tenants.iter().find(|t| t.name == tenant).map(|t| t.id);
        self.site
            .extensions
            .values()
            .find(|e| Some(e.tenant) == id && e.number == number)
            .ok_or_else(|| ServiceError::NoExtension { tenant: tenant.to_owned(), number: number.to_owned() })
    }
}

fn insert_revision(tx: &Transaction<'_>, revision: u64, plan: &Plan, note: &ChangeNote) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO revision (id, at_ms, author, comment, rollback_to, created, changed, deleted) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        params![
            revision.cast_signed(),
            note.at.0.cast_signed(),
            note.author,
            note.comment,
            plan.rollback_to.map(u64::cast_signed),
            plan.count(Action::Create) as i64,
            plan.count(Action::Change) as i64,
            plan.count(Action::Delete) as i64,
        ],
    )
    .map(drop)
    .map_err(DbError::sql("writing the revision"))
}

fn with_default_domains(tenants: &[Tenant], domains: &[String]) -> Vec<Tenant> {
    let mut tenants = tenants.to_vec();
    for tenant in tenants.iter_mut().filter(|t| t.name == DEFAULT_TENANT && t.domains.is_empty()) {
        tenant.domains = domains.to_vec();
    }
    tenants
}
