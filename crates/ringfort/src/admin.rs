//! What operators ask of the store, with or without a running server: the control socket and the command line both come
//! through here, and from here through `store::Service`, so that every change is planned, made and undone in one way.

mod rates;
mod voicemail;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringfort_net::Handle;
use ringfort_store::blacklist::Cursor;
use ringfort_store::service::Rotate;
use ringfort_store::site::edit::{LineChange, LineEdit};
use ringfort_store::site::export::Secrets;
use ringfort_store::{
    Applied, BlacklistStore, CdrFilter, CdrItem, CdrStore, Change, ChangeNote, ExtensionFields, MaintenanceHandle,
    Plan, Service, ServiceError, Store, StoreOptions, VoicemailStore, site,
};
use ringfort_switch::config::SwitchConfig;
use ringfort_switch::io::of_tenant;
use ringfort_switch::model::{
    Calling, Extension, ExtensionId, Secret, SipCredentials, Site, SrtpPolicy, TenantId, mask,
};
use ringfort_switch::record::{BlacklistChange, Listed};
use serde_json::{Value, json};

use crate::cli::DEFAULT_CONFIG;
use crate::config::Config;
use crate::control::{AdminRequest, Answer, Fields};
use crate::voicemail::Mailroom;
use crate::{node, random, reach_gate, time};

/// How long a question for call records waits for the newest ones to reach the database.
const CATCH_UP: Duration = Duration::from_secs(2);
/// The same where nothing may be missing: shorter than a client's own patience.
const CATCH_UP_WHOLE: Duration = Duration::from_secs(25);

/// Answers administrators.
pub struct Admin {
    service: Arc<Service>,
    cdrs: Arc<CdrStore>,
    blacklists: Arc<BlacklistStore>,
    voicemail: Arc<VoicemailStore>,
    place: Place,
    /// Of the node that serves the site: its profiles say who reaches what in it.
    config: SwitchConfig,
    /// Extensions that only the switch knows, while a self-test runs. The lock also keeps changes in order on their way
    /// to the switch.
    guests: Mutex<Vec<Extension>>,
}

/// Where the answers come from.
enum Place {
    /// A server runs in this process.
    Online { handle: Handle, maintenance: Arc<MaintenanceHandle>, mailroom: Arc<Mailroom>, process: Box<dyn Process> },
    /// The store alone, under its lock.
    Offline { store: Store },
}

/// What only the running process can do.
pub trait Process: Send + Sync {
    /// Listeners and what else a phone has to know.
    fn access(&self) -> Value;
    /// Reads again what can be read again.
    ///
    /// # Errors
    /// In words; what was in force stays.
    fn reload(&self) -> Result<Value, String>;
    /// Begins to stop.
    fn stop(&self);
}

impl Admin {
    pub fn online(
        store: &Store,
        handle: Handle,
        maintenance: Arc<MaintenanceHandle>,
        mailroom: Arc<Mailroom>,
        process: Box<dyn Process>,
        config: SwitchConfig,
    ) -> Self {
        let place = Place::Online { handle, maintenance, mailroom, process };
        Self {
            service: store.service.clone(),
            cdrs: store.cdrs.clone(),
            blacklists: store.blacklists.clone(),
            voicemail: store.voicemail.clone(),
            place,
            config,
            guests: Mutex::default(),
        }
    }

    /// Opens the store of a data folder that no server uses.
    ///
    /// # Errors
    /// Another process has it, or it cannot be read.
    pub fn offline(data_dir: &Path) -> anyhow::Result<Self> {
        let store = Store::open(data_dir, StoreOptions::default(), random::seed()?)?;
        // As this node would serve it. A configuration that cannot be read is named by whoever starts it.
        let config = Config::load(Path::new(DEFAULT_CONFIG)).unwrap_or_default();
        let config = node::switch_config(&config, [0; 32], |_| None);
        store.service.set_gate(reach_gate::gate(config.clone()));
        let (service, cdrs, blacklists) = (store.service.clone(), store.cdrs.clone(), store.blacklists.clone());
        let (voicemail, place) = (store.voicemail.clone(), Place::Offline { store });
        Ok(Self { service, cdrs, blacklists, voicemail, place, config, guests: Mutex::default() })
    }

    pub fn answer(&self, request: AdminRequest) -> Answer {
        match self.carry_out(request) {
            Ok(value) => Answer::Ok(value),
            Err(words) => Answer::Error(words),
        }
    }

    fn carry_out(&self, request: AdminRequest) -> Result<Value, String> {
        let words = |error: ServiceError| error.to_string();
        match request {
            AdminRequest::Cdr { limit, number, tenant, unmasked } => self.call_records(limit, number, tenant, unmasked),
            AdminRequest::ExtensionList { tenant } => {
                let site = self.service.site();
                let found = self.service.extension_list(tenant.as_deref());
                let items: Vec<Value> = found.iter().map(|e| extension_value(&site, e, false)).collect();
                Ok(json!({ "items": items }))
            }
            AdminRequest::ExtensionShow { number, secrets } => {
                let (tenant, number) = of_tenant(&number);
                let extension = self.service.extension_show(tenant, number).map_err(words)?;
                Ok(extension_value(&self.service.site(), &extension, secrets))
            }
            AdminRequest::ExtensionAdd { number, fields } => {
                let note = note(format!("add extension {number}"));
                let (tenant, number) = of_tenant(&number);
                let add = || self.service.extension_add(tenant, number, store_fields(fields), &note);
                let extension = self.change(add, |(_, applied)| applied)?.0;
                Ok(extension_value(&self.service.site(), &extension, true))
            }
            AdminRequest::ExtensionSet { number, fields } => {
                let note = note(format!("change extension {number}"));
                let (tenant, number) = of_tenant(&number);
                let set = || self.service.extension_set(tenant, number, store_fields(fields), &note);
                self.change(set, |(_, applied)| applied).map(|(_, applied)| applied_value(&applied))
            }
            AdminRequest::ExtensionDelete { number } => {
                let note = note(format!("delete extension {number}"));
                let (tenant, number) = of_tenant(&number);
                let delete = || self.service.extension_delete(tenant, number, &note);
                self.change(delete, |applied| applied).map(|applied| applied_value(&applied))
            }
            AdminRequest::ExtensionRotate { number } => {
                let note = note(format!("new password for extension {number}"));
                let (tenant, number) = of_tenant(&number);
                let rotate = || self.service.extension_rotate(tenant, number, Rotate::Password, &note);
                let extension = self.change(rotate, |(_, applied)| applied)?.0;
                Ok(extension_value(&self.service.site(), &extension, true))
            }
            AdminRequest::LineShow { kind, tenant, name, secrets } => {
                let items = self.service.lines(kind, tenant.as_deref(), name.as_deref(), secrets);
                match &name {
                    Some(name) if items.is_empty() => {
                        Err(format!("{name:?}: expected a name that is there, got none; `show` lists them"))
                    }
                    Some(_) | None => Ok(json!({ "items": items })),
                }
            }
            AdminRequest::LineChange { change, dry_run, allow_reach } => {
                let mut plan = self.service.plan_line(&change).map_err(words)?;
                plan.allow = allow_reach;
                self.planned(plan, dry_run, &comment_of(&change))
            }
            AdminRequest::Apply { file, text, dry_run, prune, allow_reach } => {
                self.apply(&file, &text, dry_run, prune, allow_reach)
            }
            AdminRequest::Reach => {
                let site = self.service.site();
                let mut value = reach_gate::value(&self.config, &site);
                value["revision"] = json!(site.revision);
                Ok(value)
            }
            AdminRequest::Export { with_secrets } => {
                let secrets = if with_secrets { Secrets::Include } else { Secrets::Omit };
                Ok(json!({ "text": self.service.export(secrets) }))
            }
            AdminRequest::Rollback { revision } => {
                let plan = self.service.plan_rollback(revision).map_err(words)?;
                let comment = match revision {
                    Some(revision) => format!("roll back to revision {revision}"),
                    None => "roll back".to_owned(),
                };
                self.apply_plan(plan, &comment)
            }
            AdminRequest::RatesImport { trunk, file, text, currency, dry_run } => {
                self.rates_import(&trunk, Some((&file, &text)), currency.as_deref(), dry_run)
            }
            AdminRequest::RatesDelete { trunk } => self.rates_import(&trunk, None, None, false),
            AdminRequest::RatesExport { trunk } => self.rates_export(&trunk),
            AdminRequest::RatesShow { trunk, number } => self.rates_show(trunk.as_deref(), number.as_deref()),
            AdminRequest::Revisions => {
                let revisions = self.service.revisions(1000).map_err(words)?;
                serde_json::to_value(revisions).map(|items| json!({ "items": items })).map_err(|e| e.to_string())
            }
            AdminRequest::Blacklist { tenant, list, after, limit, unmasked } => {
                self.blacklists(tenant.as_deref(), list.as_deref(), after.as_ref(), limit, unmasked)
            }
            AdminRequest::VoicemailList { mailbox, from, unmasked } => {
                self.messages(mailbox.as_deref(), from, unmasked)
            }
            AdminRequest::VoicemailExport { id } => self.message_sound(id),
            AdminRequest::VoicemailDelete { id } => self.message_delete(id),
            AdminRequest::VoicemailHeard { id } => self.message_heard(id),
            AdminRequest::Access => self.process().map(Process::access),
            AdminRequest::Reload => {
                let mut value = self.process()?.reload()?;
                self.change(|| Ok(self.present()), |applied| applied)?;
                value["revision"] = json!(self.service.site().revision);
                Ok(value)
            }
            AdminRequest::SelftestBegin => {
                let site = self.service.site();
                let guests = selftest_extensions(&site).map_err(|error| error.to_string())?;
                let items: Vec<Value> = guests.iter().map(|guest| extension_value(&site, guest, true)).collect();
                self.replace_guests(guests)?;
                Ok(json!({ "items": items }))
            }
            AdminRequest::SelftestEnd => self.replace_guests(Vec::new()).map(|()| json!({})),
            AdminRequest::Stop => {
                self.process()?.stop();
                Ok(json!({ "stopping": true }))
            }
        }
    }

    /// What is stored, as a change that changes nothing.
    fn present(&self) -> Applied {
        let site = self.service.site();
        Applied { revision: site.revision, site, changes: Vec::new(), advice: Vec::new() }
    }

    fn process(&self) -> Result<&dyn Process, String> {
        match &self.place {
            Place::Online { process, .. } => Ok(&**process),
            Place::Offline { .. } => Err("no server runs".to_owned()),
        }
    }

    /// Makes a change and gives it to the switch.
    fn change<T>(
        &self,
        make: impl FnOnce() -> Result<T, ServiceError>,
        applied: impl FnOnce(&T) -> &Applied,
    ) -> Result<T, String> {
        let guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let made = make().map_err(|error| error.to_string())?;
        self.in_force(&applied(&made).site, &guests)?;
        Ok(made)
    }

    /// Lets these be the self-test's extensions from now on.
    fn replace_guests(&self, guests: Vec<Extension>) -> Result<(), String> {
        self.process()?;
        let mut present = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        *present = guests;
        self.in_force(&self.service.site(), &present)
    }

    fn in_force(&self, site: &Arc<Site>, guests: &[Extension]) -> Result<(), String> {
        let mut site = site.clone();
        if !guests.is_empty() {
            let with = Arc::make_mut(&mut site);
            with.extensions.extend(guests.iter().map(|guest| (guest.id, guest.clone())));
        }
        match &self.place {
            Place::Online { handle, .. } => {
                let failed =
                    |error| format!("revision {} is stored, but the switch did not take it: {error}", site.revision);
                handle.apply_site(site.clone()).map_err(failed)
            }
            Place::Offline { .. } => Ok(()),
        }
    }

    fn apply(
        &self,
        file: &str,
        text: &str,
        dry_run: bool,
        prune: bool,
        allow_reach: Vec<String>,
    ) -> Result<Value, String> {
        let raw = site::parse(file, text).map_err(|errors| errors.to_string())?;
        let mut plan = self.service.plan(&raw, prune).map_err(|error| error.to_string())?;
        plan.allow = allow_reach;
        self.planned(plan, dry_run, &format!("apply {file}"))
    }

    /// What a plan says, and unless it is for looking at alone, what came of it.
    fn planned(&self, plan: Plan, dry_run: bool, comment: &str) -> Result<Value, String> {
        if dry_run {
            // A plan that would be refused is shown as well, with the reason.
            let advice = self.service.advice(&plan).unwrap_or_else(|refusal| vec![refusal.to_string()]);
            return Ok(json!({
                "dry_run": true,
                "changed": false,
                "revision": plan.base,
                "changes": plan.changes,
                "unchanged": plan.unchanged,
                "text": plan.to_string(),
                "advice": advice,
            }));
        }
        self.apply_plan(plan, comment)
    }

    fn apply_plan(&self, plan: Plan, comment: &str) -> Result<Value, String> {
        let (text, unchanged) = (plan.to_string(), plan.unchanged);
        let note = note(comment.to_owned());
        let applied = self.change(|| self.service.apply(plan, &note), |applied| applied)?;
        let mut value = applied_value(&applied);
        value["text"] = json!(text);
        value["advice"] = json!(applied.advice);
        value["unchanged"] = json!(unchanged);
        Ok(value)
    }

    /// What the journal has goes into the database. `false`: it takes longer.
    fn catch_up(&self, patience: Duration) -> Result<bool, String> {
        match &self.place {
            Place::Online { maintenance, .. } => Ok(maintenance.catch_up(patience)),
            Place::Offline { store } => {
                let taken = self.cdrs.ingest(&store.dir().journal());
                taken.map(|_| true).map_err(|error| error.to_string())
            }
        }
    }

    fn blacklists(
        &self,
        tenant: Option<&str>,
        list: Option<&str>,
        after: Option<&Cursor>,
        limit: u32,
        unmasked: bool,
    ) -> Result<Value, String> {
        // Half of a file that was imported just now would be taken for all of it.
        if after.is_none() && !self.catch_up(CATCH_UP_WHOLE)? {
            return Err("the latest entries are still on their way into the database; ask again in a moment".to_owned());
        }
        let site = self.service.site();
        let found = match tenant {
            Some(name) => site.tenants.iter().find(|t| t.name == name),
            None => site.tenants.first(),
        };
        let known = || site.tenants.iter().map(|t| t.name.as_str()).collect::<Vec<_>>().join(", ");
        let tenant = found
            .ok_or_else(|| format!("expected one of the tenants {}, got {:?}", known(), tenant.unwrap_or_default()))?;
        let plan = &tenant.numbers.blacklists;
        let wanted = match list {
            None => None,
            Some("allow") => Some(None),
            Some(text) => Some(Some(plan.list(text).ok_or_else(|| {
                format!("list {text:?}: expected the number of a list, a name, or allow; got none of these")
            })?)),
        };
        let (now, words) = (time::now().0 / 1000, |error: ringfort_store::db::DbError| error.to_string());
        let name = |list: Option<u32>| list.and_then(|list| plan.names.get(&list)).cloned().unwrap_or_default();
        // Counting a million entries for each page of an export would take longer than the pages.
        let counts = if after.is_none() { self.blacklists.counts(tenant.id, now).map_err(words)? } else { Vec::new() };
        let lists: Vec<Value> =
            counts.into_iter().map(|c| json!({ "list": c.list, "name": name(c.list), "entries": c.entries })).collect();
        let (page, next) = self.blacklists.page(tenant.id, wanted, after, limit, now).map_err(words)?;
        let item = |change: BlacklistChange| {
            let entry = change.entry.reveal();
            let expires = match change.listed {
                Listed::Until(end) => Some(end),
                Listed::ForEver | Listed::Gone => None,
            };
            json!({
                "list": change.list,
                "name": name(change.list),
                "entry": if unmasked { entry.clone() } else { mask(entry) },
                "expires": expires,
            })
        };
        let items: Vec<Value> = page.into_iter().map(item).collect();
        Ok(json!({ "lists": lists, "items": items, "next": next }))
    }

    fn tenant_named(&self, name: &str) -> Result<TenantId, String> {
        let site = self.service.site();
        let found = site.tenants.iter().find(|tenant| tenant.name == name).map(|tenant| tenant.id);
        found.ok_or_else(|| {
            let known: Vec<&str> = site.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
            format!("{name:?}: expected a tenant that is there, got none; there are {}", known.join(", "))
        })
    }

    fn call_records(
        &self,
        limit: u32,
        number: Option<String>,
        tenant: Option<String>,
        unmasked: bool,
    ) -> Result<Value, String> {
        // Whatever is late comes with the next question.
        self.catch_up(CATCH_UP)?;
        let tenant = tenant.map(|name| self.tenant_named(&name)).transpose()?;
        let filter = CdrFilter { tenant, number, limit, ..CdrFilter::default() };
        let found = self.cdrs.list(&filter).map_err(|error| error.to_string())?;
        let items: Vec<CdrItem> =
            found.into_iter().map(CdrItem::plain).map(|item| if unmasked { item } else { masked(item) }).collect();
        serde_json::to_value(items).map(|items| json!({ "items": items })).map_err(|error| error.to_string())
    }
}

/// Masks numbers, those in the peers' words too, and keeps the rest of the words.
fn masked(item: CdrItem) -> CdrItem {
    CdrItem {
        caller: mask(&item.caller),
        caller_name: mask(&item.caller_name),
        callee: mask(&item.callee),
        reason: mask_numbers(&item.reason),
        ..item
    }
}

fn mask_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        out.push_str(before);
        out.push_str(&mask(&number[..end]));
        rest = &number[end..];
    }
    out + rest
}

/// The site that a file makes of an empty system, and how many objects it names.
///
/// # Errors
/// Every mistake, in words.
pub fn check_site(file: &str, text: &str) -> Result<(Arc<Site>, usize), String> {
    let raw = site::parse(file, text).map_err(|errors| errors.to_string())?;
    let scratch = std::env::temp_dir().join(format!("ringfort-check-{}-{:x}", std::process::id(), random::number()));
    let applied = random::seed().map_err(|error| error.to_string()).and_then(|seed| {
        let store = Store::open(&scratch, StoreOptions::default(), seed).map_err(|error| error.to_string())?;
        let plan = store.service.plan(&raw, false).map_err(|error| error.to_string())?;
        let named = plan.changes.len();
        let applied = store.service.apply(plan, &note("check".to_owned())).map_err(|error| error.to_string())?;
        Ok((applied.site, named))
    });
    // It is ours alone, and empty but for what was just made.
    let _ = std::fs::remove_dir_all(&scratch);
    applied
}

/// Two extensions with random logins and ids that no stored one has.
fn selftest_extensions(site: &Site) -> std::io::Result<Vec<Extension>> {
    let tenant = site.tenants.first().map(|tenant| tenant.id).unwrap_or(TenantId(1));
    let extension = |index: u32| -> std::io::Result<Extension> {
        let hex: String = random::seed()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let (user, password) = hex.split_at(16);
        Ok(Extension {
            id: ExtensionId(u32::MAX - index),
            tenant,
            number: format!("selftest-{index}-{}", &hex[56..]),
            name: "Self-test".to_owned(),
            credentials: SipCredentials { user: format!("st{user}"), password: Secret::new(password) },
            srtp: SrtpPolicy::default(),
            max_calls: 1,
            max_contacts: 1,
            enabled: true,
            calling: Calling::default(),
        })
    };
    [1, 2].into_iter().map(extension).collect()
}

fn note(comment: String) -> ChangeNote {
    let author =
        std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "operator".to_owned());
    ChangeNote { author, comment, at: time::now() }
}

fn comment_of(change: &LineChange) -> String {
    let verb = match change.edit {
        LineEdit::Add(_) => "add",
        LineEdit::Set(_) => "change",
        LineEdit::Remove => "remove",
    };
    format!("{verb} {} {}", change.kind.name(), change.name)
}

fn store_fields(fields: Fields) -> ExtensionFields {
    ExtensionFields {
        name: fields.name,
        sip_user: fields.sip_user,
        sip_password: fields.sip_password.map(Secret::new),
        srtp: fields.srtp,
        max_calls: fields.max_calls,
        max_contacts: fields.max_contacts,
        enabled: fields.enabled,
        keys: fields.keys,
    }
}

fn extension_value(site: &Site, extension: &Extension, secrets: bool) -> Value {
    let tenant = site.tenants.iter().find(|tenant| tenant.id == extension.tenant);
    let mut value = json!({
        "number": extension.number,
        "name": extension.name,
        "tenant": tenant.map(|tenant| &tenant.name),
        "domain": tenant.and_then(|tenant| tenant.domains.first()),
        "sip_user": extension.credentials.user,
        "srtp": extension.srtp,
        "max_calls": extension.max_calls,
        "max_contacts": extension.max_contacts,
        "enabled": extension.enabled,
    });
    if secrets {
        value["sip_password"] = json!(extension.credentials.password.reveal());
    }
    value
}

fn applied_value(applied: &Applied) -> Value {
    json!({
        "dry_run": false,
        "changed": !applied.changes.is_empty(),
        "revision": applied.revision,
        "changes": applied.changes,
        "text": changes_text(&applied.changes),
    })
}

fn changes_text(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "Nothing to do.".to_owned();
    }
    changes.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(admin: &Admin, request: AdminRequest) -> Value {
        match admin.answer(request) {
            Answer::Ok(value) => value,
            Answer::Error(words) => panic!("{words}"),
        }
    }

    fn apply(text: &str, dry_run: bool) -> AdminRequest {
        AdminRequest::Apply { file: "site.toml".into(), text: text.into(), dry_run, prune: false, allow_reach: vec![] }
    }

    #[test]
    fn a_site_is_planned_applied_changed_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let admin = Admin::offline(dir.path()).unwrap();
        let text = "[[extension]]\nnumber = \"101\"\nname = \"A\"\n";
        let plan = ok(&admin, apply(text, true));
        assert_eq!((&plan["dry_run"], &plan["revision"]), (&json!(true), &json!(0)));
        assert!(plan["text"].as_str().unwrap().contains("+ extension 101"), "{plan}");
        assert_eq!(ok(&admin, AdminRequest::ExtensionList { tenant: None })["items"], json!([]));

        assert_eq!(ok(&admin, apply(text, false))["revision"], 1);
        assert_eq!(ok(&admin, apply(text, false))["changed"], false);
        let shown = ok(&admin, AdminRequest::ExtensionShow { number: "101".into(), secrets: false });
        assert_eq!(shown.get("sip_password"), None);
        let added = ok(&admin, AdminRequest::ExtensionAdd { number: "102".into(), fields: Fields::default() });
        assert!(added["sip_password"].as_str().unwrap().len() >= 20, "CALL-3");
        let fields = Fields { enabled: Some(false), ..Fields::default() };
        let set = ok(&admin, AdminRequest::ExtensionSet { number: "102".into(), fields });
        assert!(set["text"].as_str().unwrap().contains("enabled: true -> false"), "{set}");
        assert_eq!(ok(&admin, AdminRequest::Rollback { revision: Some(1) })["revision"], 4);
        let list = ok(&admin, AdminRequest::ExtensionList { tenant: None });
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        let revisions = ok(&admin, AdminRequest::Revisions);
        assert_eq!(revisions["items"][0]["rollback_to"], 1);
    }

    /// CALL-11: the same number in two tenants is two extensions, also for an operator.
    #[test]
    fn an_extension_of_another_tenant_is_named_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let admin = Admin::offline(dir.path()).unwrap();
        let text = "[[extension]]\nnumber = \"101\"\nname = \"Ours\"\n\n[[tenant]]\nname = \"acme\"\ndomains = [\"acme.example\"]\n\n\
                    [[extension]]\ntenant = \"acme\"\nnumber = \"101\"\nname = \"Theirs\"\n";
        ok(&admin, apply(text, false));
        let name = |number: &str| {
            ok(&admin, AdminRequest::ExtensionShow { number: number.into(), secrets: false })["name"].clone()
        };
        assert_eq!((name("101"), name("acme/101")), (json!("Ours"), json!("Theirs")));
        ok(&admin, AdminRequest::ExtensionAdd { number: "acme/102".into(), fields: Fields::default() });
        ok(&admin, AdminRequest::ExtensionDelete { number: "acme/101".into() });
        let numbers = |tenant: Option<&str>| -> Vec<Value> {
            let list = ok(&admin, AdminRequest::ExtensionList { tenant: tenant.map(str::to_owned) });
            list["items"].as_array().unwrap().iter().map(|item| item["number"].clone()).collect()
        };
        assert_eq!((numbers(Some("default")), numbers(Some("acme"))), (vec![json!("101")], vec![json!("102")]));
        assert_eq!(numbers(None).len(), 2);
        let records = AdminRequest::Cdr { limit: 1, number: None, tenant: Some("amce".into()), unmasked: false };
        match admin.answer(records) {
            Answer::Error(words) => assert!(words.contains("there are default, acme"), "{words}"),
            Answer::Ok(value) => panic!("{value}"),
        }
    }

    #[test]
    fn an_export_applied_again_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let admin = Admin::offline(dir.path()).unwrap();
        ok(&admin, AdminRequest::ExtensionAdd { number: "101".into(), fields: Fields::default() });
        for with_secrets in [false, true] {
            let text = ok(&admin, AdminRequest::Export { with_secrets })["text"].as_str().unwrap().to_owned();
            assert_eq!(text.contains("sip_password"), with_secrets, "{text}");
            assert_eq!(ok(&admin, apply(&text, false))["changed"], false, "{text}");
        }
    }

    #[test]
    fn what_needs_a_server_says_so_without_one() {
        let dir = tempfile::tempdir().unwrap();
        let admin = Admin::offline(dir.path()).unwrap();
        assert_eq!(admin.answer(AdminRequest::Stop), Answer::Error("no server runs".into()));
    }

    #[test]
    fn a_checked_site_is_judged_as_a_whole_and_leaves_nothing_behind() {
        assert_eq!(check_site("s", "[[extension]]\nnumber = \"101\"\n").unwrap().1, 1);
        let weak = check_site("s", "[[extension]]\nnumber = \"101\"\nsip_password = \"1234\"\n").unwrap_err();
        assert!(
            weak.starts_with("s:3:16: extension \"101\": sip_password: expected ") && !weak.contains("1234"),
            "{weak}"
        );
        assert!(check_site("s", "[[extension]]\nnumber = \"101\"\n[[extension]]\nnumber = \"101\"\n").is_err());
        assert!(check_site("s", "[[extention]]\n").unwrap_err().contains("did you mean extension"));
    }

    #[test]
    fn numbers_within_words_are_masked_and_the_words_stay() {
        assert_eq!(mask_numbers("Q.850;cause=16"), "Q.850;cause=16");
        assert_eq!(mask_numbers("moved to 13812345678 by 101"), "moved to 138****5678 by 101");
    }
}
