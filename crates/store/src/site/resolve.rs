//! What is asked for (a file, or a change by hand) against what is there: checks every rule that holds for values and
//! between objects, generates what is left to us, and gives the objects as they are to be.

use std::collections::{BTreeSet, HashMap, HashSet};

use rand::rngs::ChaCha20Rng;
use ringfort_switch::model::{Extension, ExtensionId, Secret, SipCredentials, Site, Tenant, TenantId};

use super::plan::{Origin, Origins, Target};
use super::{DEFAULT_TENANT, Lines, Located, Position, RawExtension, RawSite, RawTenant, SiteError, SiteErrors};
use crate::credentials::{self, Owner};

const MAX_NUMBER: usize = 32;
const MAX_NAME: usize = 100;
pub(super) const MAX_TENANT: usize = 64;

/// The next ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) next_tenant: u32,
    pub(crate) next_extension: u32,
    pub(crate) next_trunk: u32,
}

/// What a key that is absent says about an extension that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// A file tells the whole: it takes its default (secrets are kept).
    Default,
    /// A change by hand: it stays.
    Keep,
}

pub(crate) struct Resolver<'a> {
    /// As stored: the default tenant without the domains of the node's configuration.
    tenants: &'a [Tenant],
    site: &'a Site,
    pub(super) rng: &'a mut ChaCha20Rng,
    absent: Absent,
    pub(super) target: Target,
    /// Extensions by what names them, as they are to be.
    pub(super) by_number: HashMap<(TenantId, String), ExtensionId>,
    users: HashMap<(TenantId, String), ExtensionId>,
    pub(super) errors: Vec<SiteError>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        tenants: &'a [Tenant],
        site: &'a Site,
        counters: Counters,
        rng: &'a mut ChaCha20Rng,
        absent: Absent,
    ) -> Self {
        let target = Target {
            tenants: tenants.to_vec(),
            extensions: site.extensions.clone(),
            next_tenant: counters.next_tenant,
            next_extension: counters.next_extension,
            next_trunk: counters.next_trunk,
            lines: Lines::of(site),
            ..Target::default()
        };
        let key = |e: &Extension, name: &str| (e.tenant, name.to_owned());
        let all = site.extensions.values();
        Self {
            by_number: all.clone().map(|e| (key(e, &e.number), e.id)).collect(),
            users: all.map(|e| (key(e, &e.credentials.user), e.id)).collect(),
            tenants,
            site,
            rng,
            absent,
            target,
            errors: Vec::new(),
        }
    }

    /// The objects as they are to be, and how many of a managed kind the file does not name but are kept.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn resolve(mut self, raw: &RawSite, prune: bool) -> Result<(Target, usize), SiteErrors> {
        let mut unnamed = 0;
        if let Some(tenants) = &raw.tenants {
            unnamed += self.all_tenants(tenants, prune);
        }
        if let Some(extensions) = &raw.extensions {
            unnamed += self.all_extensions(extensions, prune);
        }
        unnamed += self.lines(raw, prune);
        self.check_orphans();
        SiteErrors::check(&raw.file, self.errors)?;
        Ok((self.target, unnamed))
    }

    fn all_tenants(&mut self, raw: &[RawTenant], prune: bool) -> usize {
        let mut named = HashMap::new();
        for tenant in raw {
            let key = format!("tenant {:?}", tenant.name.value);
            if let Some(first) = named.insert(tenant.name.value.clone(), tenant.name.at) {
                self.duplicate(key, &tenant.name, first);
                continue;
            }
            self.tenant(&key, tenant);
        }
        let (kept, unnamed): (Vec<_>, Vec<_>) = std::mem::take(&mut self.target.tenants)
            .into_iter()
            .partition(|t| t.name == DEFAULT_TENANT || named.contains_key(&t.name));
        self.target.tenants = kept;
        let count = unnamed.len();
        if prune {
            return 0;
        }
        self.target.tenants.extend(unnamed);
        self.target.tenants.sort_by_key(|t| t.id);
        count
    }

    fn tenant(&mut self, key: &str, raw: &RawTenant) {
        if !is_name(&raw.name.value, MAX_TENANT) {
            let expected = format!("a name of at most {MAX_TENANT} characters of a-z 0-9 . _ -");
            self.error(raw.name.at, format!("{key}: name"), expected, &raw.name.value, "choose another name");
        }
        let mut domains = Vec::new();
        for domain in raw.domains.iter().flatten() {
            let value = domain.value.to_ascii_lowercase();
            if !is_domain(&value) {
                let expected = "a host name or an IP address";
                self.error(domain.at, format!("{key}: domains"), expected, &domain.value, "leave out sip: and ports");
            } else if let Some(other) = self.owner_of(&value, &raw.name.value) {
                let expected = "a domain of no other tenant".to_owned();
                let got = format!("{value:?}, which is tenant {other:?}'s");
                let help = "a domain tells whose a call is: give it to one of them".to_owned();
                let key = format!("{key}: domains");
                self.errors.push(SiteError { at: domain.at, key, expected, got, help });
            } else if !domains.contains(&value) {
                domains.push(value);
            }
        }
        let numbers = self.numbers(key, &raw.values);
        match self.target.tenants.iter_mut().find(|t| t.name == raw.name.value) {
            Some(tenant) => (tenant.domains, tenant.numbers) = (domains, numbers),
            None => {
                let id = TenantId(self.target.next_tenant);
                self.target.next_tenant += 1;
                self.target.tenants.push(Tenant { id, name: raw.name.value.clone(), domains, numbers });
            }
        }
    }

    /// The other tenant that has a domain; the default one has those of the node's configuration where the site gives
    /// it none.
    fn owner_of(&self, domain: &str, besides: &str) -> Option<String> {
        let has = |t: &&Tenant| {
            let configured = self.site.tenants.iter().filter(|c| t.domains.is_empty() && c.id == t.id);
            t.name != besides && configured.chain([*t]).any(|t| t.domains.iter().any(|d| d == domain))
        };
        self.target.tenants.iter().find(has).map(|t| t.name.clone())
    }

    fn all_extensions(&mut self, raw: &[RawExtension], prune: bool) -> usize {
        // User names that the file takes away from an extension are free for another one of the same file, so that
        // two can be exchanged: all given ones are taken out first, and clashes are looked for as they go in.
        let mut named: HashMap<ExtensionId, Option<Position>> = HashMap::new();
        let mut found = Vec::new();
        for extension in raw {
            let key = format!("extension {:?}", extension.number.value);
            let Some(tenant) = self.tenant_of(&key, extension) else { continue };
            let id = self.by_number.get(&(tenant, extension.number.value.clone())).copied();
            let id = id.unwrap_or_else(|| {
                let id = ExtensionId(self.target.next_extension);
                self.target.next_extension += 1;
                self.by_number.insert((tenant, extension.number.value.clone()), id);
                id
            });
            if let Some(first) = named.insert(id, extension.number.at) {
                self.duplicate(key, &extension.number, first);
                continue;
            }
            found.push((key, tenant, id, extension));
        }
        let unnamed: Vec<ExtensionId> =
            self.site.extensions.keys().copied().filter(|id| !named.contains_key(id)).collect();
        if prune {
            for id in &unnamed {
                if let Some(gone) = self.target.extensions.remove(id) {
                    self.users.remove(&(gone.tenant, gone.credentials.user));
                }
            }
        }
        for (_, tenant, id, extension) in &found {
            if extension.sip_user.is_some()
                && let Some(before) = self.site.extensions.get(id)
            {
                self.users.remove(&(*tenant, before.credentials.user.clone()));
            }
        }
        for (key, tenant, id, extension) in found {
            self.extension(&key, tenant, id, extension);
        }
        if prune { 0 } else { unnamed.len() }
    }

    fn tenant_of(&mut self, key: &str, raw: &RawExtension) -> Option<TenantId> {
        let name = raw.tenant.as_ref().map_or(DEFAULT_TENANT, |t| t.value.as_str());
        self.tenant_named(key, name, raw.tenant.as_ref().and_then(|t| t.at))
    }

    pub(super) fn tenant_named(&mut self, key: &str, name: &str, at: Option<Position>) -> Option<TenantId> {
        if let Some(tenant) = self.target.tenants.iter().find(|t| t.name == name) {
            return Some(tenant.id);
        }
        let known: Vec<&str> = self.target.tenants.iter().map(|t| t.name.as_str()).collect();
        let expected = format!("one of {}", known.join(", "));
        self.error(at, format!("{key}: tenant"), expected, name, "add a [[tenant]] of that name");
        None
    }

    fn extension(&mut self, key: &str, tenant: TenantId, id: ExtensionId, raw: &RawExtension) {
        let before = self.site.extensions.get(&id);
        // What an absent key says: by hand it stays, in a file it is the default.
        let kept = before.filter(|_| self.absent == Absent::Keep);
        let number = raw.number.value.clone();
        if !is_name(&number, MAX_NUMBER) {
            let expected = format!("digits, or a name of a-z 0-9 . _ -, of at most {MAX_NUMBER} characters");
            self.error(raw.number.at, format!("{key}: number"), expected, &number, "write letters in lower case");
        }
        let name = pick(&raw.name, kept.map(|e| &e.name)).unwrap_or_default();
        if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            let expected = format!("at most {MAX_NAME} characters and no control characters");
            self.error(raw.name.as_ref().and_then(|n| n.at), format!("{key}: name"), expected, &name, "shorten it");
        }
        let (user, user_origin) = self.user(key, tenant, id, raw, before);
        let (password, password_origin) = self.password(key, raw, before, &user, &name);
        self.target.origins.insert(id, Origins { user: user_origin, password: password_origin });
        let max_calls = pick(&raw.max_calls, kept.map(|e| &e.max_calls)).unwrap_or(Extension::DEFAULT_MAX_CALLS);
        let max_contacts =
            pick(&raw.max_contacts, kept.map(|e| &e.max_contacts)).unwrap_or(Extension::DEFAULT_MAX_CONTACTS);
        for (field, value, given) in
            [("max_calls", max_calls, &raw.max_calls), ("max_contacts", max_contacts, &raw.max_contacts)]
        {
            if value == 0 {
                let at = given.as_ref().and_then(|g| g.at);
                self.error(at, format!("{key}: {field}"), "1 or more", "0", "for none at all write enabled = false");
            }
        }
        let srtp = pick(&raw.srtp, kept.map(|e| &e.srtp)).unwrap_or_default();
        let enabled = pick(&raw.enabled, kept.map(|e| &e.enabled)).unwrap_or(true);
        let credentials = SipCredentials { user, password };
        let calling = match &raw.calling {
            Some(values) => self.calling(key, values),
            None => kept.map(|e| e.calling.clone()).unwrap_or_default(),
        };
        self.target.extensions.insert(
            id,
            Extension { id, tenant, number, name, credentials, srtp, max_calls, max_contacts, enabled, calling },
        );
    }

    fn user(
        &mut self,
        key: &str,
        tenant: TenantId,
        id: ExtensionId,
        raw: &RawExtension,
        before: Option<&Extension>,
    ) -> (String, Origin) {
        let Some(given) = &raw.sip_user else {
            if let Some(before) = before {
                return (before.credentials.user.clone(), Origin::Kept);
            }
            let users = &self.users;
            let taken = |user: &str| users.contains_key(&(tenant, user.to_owned()));
            let user = credentials::generate_user(self.rng, &raw.number.value, taken);
            self.users.insert((tenant, user.clone()), id);
            return (user, Origin::Generated);
        };
        let unchanged = before.is_some_and(|b| b.credentials.user == given.value);
        if !unchanged && let Err(bad) = credentials::check_user(&given.value, &raw.number.value) {
            let help = "leave it out: a good one is generated".to_owned();
            let (expected, got) = (bad.expected(), bad.to_string());
            self.errors.push(SiteError { at: given.at, key: format!("{key}: sip_user"), expected, got, help });
        }
        if let Some(other) = self.users.insert((tenant, given.value.clone()), id)
            && other != id
        {
            let number = self.number_of(other);
            let expected = "a SIP user name of no other extension of the tenant".to_owned();
            let got = format!("{:?}, which is extension {number:?}'s", given.value);
            let help = "choose another, or leave it out: one is generated".to_owned();
            self.errors.push(SiteError { at: given.at, key: format!("{key}: sip_user"), expected, got, help });
        }
        (given.value.clone(), if unchanged { Origin::Kept } else { Origin::Given })
    }

    fn password(
        &mut self,
        key: &str,
        raw: &RawExtension,
        before: Option<&Extension>,
        user: &str,
        name: &str,
    ) -> (Secret, Origin) {
        let owner = Owner { user, number: &raw.number.value, name };
        match (&raw.sip_password, before) {
            (Some(given), _) => {
                // One that is there already was checked when it came; its owner's name may have changed since.
                let unchanged = before.is_some_and(|b| b.credentials.password == given.value);
                if !unchanged && let Err(weak) = credentials::check_password(given.value.reveal(), &owner) {
                    let help = "leave it out: a good one is generated".to_owned();
                    let (expected, got) = (weak.expected(), weak.to_string());
                    let key = format!("{key}: sip_password");
                    self.errors.push(SiteError { at: given.at, key, expected, got, help });
                }
                (given.value.clone(), if unchanged { Origin::Kept } else { Origin::Given })
            }
            (None, Some(before)) => (before.credentials.password.clone(), Origin::Kept),
            (None, None) => (credentials::generate_password(self.rng, &owner), Origin::Generated),
        }
    }

    fn check_orphans(&mut self) {
        let tenants: HashSet<TenantId> = self.target.tenants.iter().map(|t| t.id).collect();
        let orphans: BTreeSet<TenantId> =
            self.target.extensions.values().map(|e| e.tenant).filter(|t| !tenants.contains(t)).collect();
        for id in orphans {
            let name = self.tenants.iter().find(|t| t.id == id).map_or("", |t| t.name.as_str());
            let count = self.target.extensions.values().filter(|e| e.tenant == id).count();
            let key = format!("tenant {name:?}");
            let expected = "no extensions in a tenant that is deleted";
            self.error(None, key, expected, &format!("{count} extensions"), "delete or move its extensions first");
        }
    }

    fn number_of(&self, id: ExtensionId) -> String {
        let by_id = self.by_number.iter().find(|(_, other)| **other == id);
        by_id.map(|((_, number), _)| number.clone()).unwrap_or_default()
    }

    pub(super) fn duplicate(&mut self, key: String, again: &Located<String>, first: Option<Position>) {
        let place = first.map_or_else(String::new, |p| format!(", first on line {}", p.line));
        self.errors.push(SiteError {
            at: again.at,
            key,
            expected: "each name once".to_owned(),
            got: format!("it a second time{place}"),
            help: "remove one of the two".to_owned(),
        });
    }

    pub(super) fn error(
        &mut self,
        at: Option<Position>,
        key: String,
        expected: impl Into<String>,
        got: &str,
        help: &str,
    ) {
        let got = format!("{got:?}");
        self.errors.push(SiteError { at, key, expected: expected.into(), got, help: help.to_owned() });
    }
}

fn pick<T: Clone>(given: &Option<Located<T>>, kept: Option<&T>) -> Option<T> {
    given.as_ref().map(|g| g.value.clone()).or_else(|| kept.cloned())
}

pub(super) fn is_name(name: &str, max: usize) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    (1..=max).contains(&name.len()) && name.bytes().all(allowed)
}

/// A host name of RFC 1123 labels, or an IP address (IPv6 with or without brackets).
pub(super) fn is_domain(domain: &str) -> bool {
    let bare = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')).unwrap_or(domain);
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    domain.len() <= 253 && domain.split('.').all(label)
}
