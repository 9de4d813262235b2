//! Look-ups over one `Site`: who is it that proves himself, who is it that is called. Built anew for each revision;
//! digest hashes are made at their first use and taken over from the revision before where nothing changed.

use std::cell::OnceCell;
use std::sync::Arc;

use ringfort_sip::digest::Ha1Set;
use rustc_hash::FxHashMap;

use crate::model::{Extension, ExtensionId, Site, Tenant, TenantId};

/// An immutable snapshot of the site with its indexes.
pub struct Directory {
    site: Arc<Site>,
    by_domain: FxHashMap<String, TenantId>,
    by_number: FxHashMap<TenantId, FxHashMap<Box<str>, ExtensionId>>,
    by_user: FxHashMap<TenantId, FxHashMap<Box<str>, ExtensionId>>,
    hashes: FxHashMap<ExtensionId, OnceCell<Box<Ha1Set>>>,
}

impl Directory {
    pub fn new(site: Arc<Site>) -> Self {
        Self::following(site, None)
    }

    /// The directory of the next revision; keeps the digest hashes of credentials that stayed as they were.
    pub fn following(site: Arc<Site>, before: Option<Directory>) -> Self {
        let mut by_domain = FxHashMap::default();
        for tenant in &site.tenants {
            for domain in &tenant.domains {
                by_domain.insert(domain.to_ascii_lowercase(), tenant.id);
            }
        }
        let n = site.extensions.len();
        let mut by_number: FxHashMap<TenantId, FxHashMap<Box<str>, ExtensionId>> = FxHashMap::default();
        let mut by_user: FxHashMap<TenantId, FxHashMap<Box<str>, ExtensionId>> = FxHashMap::default();
        // Ten thousand names put into a table that grows from nothing are moved a dozen times.
        let room = || FxHashMap::with_capacity_and_hasher(n / site.tenants.len().max(1), Default::default());
        let mut hashes = FxHashMap::with_capacity_and_hasher(n, Default::default());
        let mut old = before.map(|b| (b.site, b.hashes));
        for extension in site.extensions.values() {
            by_number
                .entry(extension.tenant)
                .or_insert_with(room)
                .insert(extension.number.as_str().into(), extension.id);
            let user = extension.credentials.user.as_str();
            by_user.entry(extension.tenant).or_insert_with(room).insert(user.into(), extension.id);
            let kept = old.as_mut().and_then(|(site_before, hashes_before)| {
                let earlier = site_before.extensions.get(&extension.id)?;
                let same = earlier.credentials == extension.credentials
                    && realm_of(site_before, earlier.tenant) == realm_of(&site, extension.tenant);
                if same { hashes_before.remove(&extension.id) } else { None }
            });
            hashes.insert(extension.id, kept.unwrap_or_default());
        }
        Self { site, by_domain, by_number, by_user, hashes }
    }

    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The tenant a host name belongs to; none for a stranger's domain.
    pub fn tenant_of_domain(&self, host: &str) -> Option<TenantId> {
        if let Some(id) = self.by_domain.get(host) {
            return Some(*id);
        }
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.by_domain.get(&host.to_ascii_lowercase()).copied();
        }
        None
    }

    /// The tenant of requests that name no domain of ours (phones that know an address only).
    pub fn default_tenant(&self) -> Option<TenantId> {
        self.site.tenants.first().map(|t| t.id)
    }

    pub fn tenant(&self, id: TenantId) -> Option<&Tenant> {
        self.site.tenants.iter().find(|t| t.id == id)
    }

    /// The first domain of the tenant: its digest realm, and the host part of the addresses that we write.
    pub fn realm(&self, id: TenantId) -> &str {
        realm_of(&self.site, id)
    }

    pub fn extension(&self, id: ExtensionId) -> Option<&Extension> {
        self.site.extensions.get(&id)
    }

    /// The extension with a number, as dialled.
    pub fn by_number(&self, tenant: TenantId, number: &str) -> Option<&Extension> {
        let id = self.by_number.get(&tenant)?.get(number)?;
        self.site.extensions.get(id)
    }

    /// The enabled extension that authenticates with a SIP user name.
    pub fn by_user(&self, tenant: TenantId, user: &str) -> Option<&Extension> {
        let id = self.by_user.get(&tenant)?.get(user)?;
        self.site.extensions.get(id).filter(|e| e.enabled)
    }

    /// The digest hashes of a SIP user, made at their first use.
    pub fn ha1(&self, tenant: TenantId, user: &str) -> Option<&Ha1Set> {
        let extension = self.by_user(tenant, user)?;
        let cell = self.hashes.get(&extension.id)?;
        let set = cell.get_or_init(|| {
            let credentials = &extension.credentials;
            Box::new(Ha1Set::new(&credentials.user, self.realm(tenant), credentials.password.reveal()))
        });
        Some(set)
    }
}

fn realm_of(site: &Site, id: TenantId) -> &str {
    site.tenants.iter().find(|t| t.id == id).and_then(|t| t.domains.first()).map_or("localhost", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Calling, NumberPlan, Secret, SipCredentials, SrtpPolicy};
    use std::collections::BTreeMap;

    fn site(password: &str) -> Arc<Site> {
        let tenant = Tenant {
            id: TenantId(1),
            name: "Acme".into(),
            domains: vec!["pbx.example".into()],
            numbers: NumberPlan::default(),
        };
        let extension = Extension {
            id: ExtensionId(7),
            tenant: TenantId(1),
            number: "101".into(),
            name: "Desk".into(),
            credentials: SipCredentials { user: "kqzv".into(), password: Secret::new(password) },
            srtp: SrtpPolicy::Offer,
            max_calls: 4,
            max_contacts: 10,
            enabled: true,
            calling: Calling::default(),
        };
        Arc::new(Site {
            revision: 1,
            tenants: vec![tenant],
            extensions: BTreeMap::from([(ExtensionId(7), extension)]),
            ..Site::default()
        })
    }

    #[test]
    fn domains_are_found_in_any_case() {
        let d = Directory::new(site("p1"));
        assert_eq!(d.tenant_of_domain("PBX.Example"), Some(TenantId(1)));
        assert_eq!(d.tenant_of_domain("elsewhere.example"), None);
    }

    #[test]
    fn hashes_follow_a_changed_password_and_stay_for_an_unchanged_one() {
        let d = Directory::new(site("p1"));
        let before: *const Ha1Set = d.ha1(TenantId(1), "kqzv").expect("the user exists");
        let d = Directory::following(site("p1"), Some(d));
        assert!(std::ptr::eq(before, d.ha1(TenantId(1), "kqzv").expect("the user exists")));
        let d = Directory::following(site("p2"), Some(d));
        assert!(d.hashes[&ExtensionId(7)].get().is_none(), "the old password's hash must not be kept");
    }
}
