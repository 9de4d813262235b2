//! A site's rows: loading the present one, writing what changed with its history, and the site of an old revision.

use std::collections::BTreeMap;

use ringfort_switch::model::{
    Calling, Extension, ExtensionId, NumberPlan, Secret, SipCredentials, SrtpPolicy, Tenant, TenantId,
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::DEFAULT_TENANT;
use super::plan::{ObjectKind, Target};
use super::resolve::Counters;
use super::{Lines, line_rows};
use crate::cdr::{from_word, word};
use crate::db::DbError;
use crate::keys::{Keys, Purpose};

/// All objects at one revision, tenants by id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) revision: u64,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) extensions: BTreeMap<ExtensionId, Extension>,
    pub(crate) lines: Lines,
    pub(crate) counters: Counters,
}

/// Tenants by id, extensions, and lines to the world.
pub(crate) type Objects = (Vec<Tenant>, BTreeMap<ExtensionId, Extension>, Lines);

/// What the history keeps of a tenant, as JSON. Fields are only ever added, with a default.
#[derive(Serialize, Deserialize)]
struct TenantBody {
    name: String,
    domains: Vec<String>,
    #[serde(default)]
    numbers: NumberPlan,
}

/// What the history keeps of an extension, as JSON. Fields are only ever added, with a default.
#[derive(Serialize, Deserialize)]
struct ExtensionBody {
    tenant: u32,
    number: String,
    name: String,
    sip_user: String,
    sip_password: Secret,
    srtp: SrtpPolicy,
    max_calls: u32,
    max_contacts: u32,
    enabled: bool,
    #[serde(default)]
    calling: Calling,
}

/// The present site.
pub(crate) fn load(connection: &Connection, keys: &Keys) -> Result<Stored, DbError> {
    Ok(Stored {
        revision: revision(connection)?,
        tenants: load_tenants(connection)?,
        extensions: load_extensions(connection, keys)?,
        lines: line_rows::load(connection, keys)?,
        counters: Counters {
            next_tenant: counter(connection, "next_tenant")?,
            next_extension: counter(connection, "next_extension")?,
            next_trunk: counter(connection, "next_trunk")?,
        },
    })
}

/// The present revision's number; 0 before the first.
pub(crate) fn revision(connection: &Connection) -> Result<u64, DbError> {
    connection
        .query_row("SELECT max(id) FROM revision", [], |r| r.get::<_, Option<i64>>(0))
        .map(|id| id.unwrap_or(0).cast_unsigned())
        .map_err(DbError::sql("reading the revision"))
}

fn counter(connection: &Connection, name: &str) -> Result<u32, DbError> {
    connection
        .query_row("SELECT value FROM counter WHERE name = $1", [name], |r| r.get(0))
        .map_err(DbError::sql("reading a counter"))
}

fn load_tenants(connection: &Connection) -> Result<Vec<Tenant>, DbError> {
    let failed = DbError::sql("reading tenants");
    let mut statement =
        connection.prepare("SELECT id, name, domains, numbers FROM tenant ORDER BY id").map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    let mut tenants = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let id: u32 = row.get(0).map_err(&failed)?;
        let domains: String = row.get(2).map_err(&failed)?;
        let domains = serde_json::from_str(&domains)
            .map_err(|_| DbError::Damaged { place: format!("tenant/{id}"), expected: "a list of domains" })?;
        tenants.push(Tenant {
            id: TenantId(id),
            name: row.get(1).map_err(&failed)?,
            domains,
            numbers: from_json(row, 3, || format!("tenant/{id}"))?,
        });
    }
    Ok(tenants)
}

fn load_extensions(connection: &Connection, keys: &Keys) -> Result<BTreeMap<ExtensionId, Extension>, DbError> {
    let failed = DbError::sql("reading extensions");
    let mut statement = connection
        .prepare(
            "SELECT id, tenant_id, number, name, sip_user, sip_password, srtp, max_calls, max_contacts, enabled, \
             calling FROM extension ORDER BY id",
        )
        .map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    let mut extensions = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let extension = extension_row(row, keys)?;
        extensions.push((extension.id, extension));
    }
    Ok(extensions.into_iter().collect())
}

fn extension_row(row: &Row<'_>, keys: &Keys) -> Result<Extension, DbError> {
    let failed = DbError::sql("reading an extension");
    let id: u32 = row.get(0).map_err(&failed)?;
    let damaged = |expected| DbError::Damaged { place: password_place(id), expected };
    let sealed = row.get_ref(5).map_err(&failed)?.as_blob().map_err(|_| damaged("sealed bytes"))?;
    let password = keys
        .open(Purpose::Credential, &password_place(id), sealed)
        .ok()
        .and_then(|plain| String::from_utf8(plain).ok())
        .ok_or_else(|| damaged("a password sealed with this key"))?;
    let srtp = match row.get_ref(6).map_err(&failed)?.as_str() {
        Ok("offer") => SrtpPolicy::Offer,
        Ok(other) => from_word(other).ok_or_else(|| damaged("an SRTP policy"))?,
        Err(_) => return Err(damaged("an SRTP policy")),
    };
    let calling: Calling = from_json(row, 10, || format!("extension/{id}"))?;
    let read = || -> rusqlite::Result<Extension> {
        Ok(Extension {
            id: ExtensionId(id),
            tenant: TenantId(row.get(1)?),
            number: row.get(2)?,
            name: row.get(3)?,
            credentials: SipCredentials { user: row.get(4)?, password: Secret::new(password) },
            srtp,
            max_calls: row.get(7)?,
            max_contacts: row.get(8)?,
            enabled: row.get::<_, i64>(9)? != 0,
            calling: calling.clone(),
        })
    };
    read().map_err(failed)
}

/// Writes what is different between `before` and `target` as `revision`, whose row exists already.
pub(crate) fn save(
    tx: &Transaction<'_>,
    keys: &Keys,
    before: (&[Tenant], &BTreeMap<ExtensionId, Extension>, &Lines),
    target: &Target,
    revision: u64,
) -> Result<(), DbError> {
    let failed = DbError::sql("writing the site");
    let old_tenants: BTreeMap<u32, &Tenant> = before.0.iter().map(|t| (t.id.0, t)).collect();
    let new_tenants: BTreeMap<u32, &Tenant> = target.tenants.iter().map(|t| (t.id.0, t)).collect();
    let touched_tenants: Vec<u32> = differing(&old_tenants, &new_tenants);
    let old: BTreeMap<u32, &Extension> = before.1.iter().map(|(id, e)| (id.0, e)).collect();
    let new: BTreeMap<u32, &Extension> = target.extensions.iter().map(|(id, e)| (id.0, e)).collect();
    let touched: Vec<u32> = differing(&old, &new);

    // Rows go out before others come in: numbers and user names may be exchanged among them.
    for id in touched.iter().filter(|id| old.contains_key(id)) {
        tx.prepare_cached("DELETE FROM extension WHERE id = $1").and_then(|mut s| s.execute([id])).map_err(&failed)?;
    }
    for &id in &touched_tenants {
        match new_tenants.get(&id) {
            Some(tenant) => put_tenant(tx, tenant).map_err(&failed)?,
            None => drop(tx.execute("DELETE FROM tenant WHERE id = $1", [id]).map_err(&failed)?),
        }
        let body = new_tenants.get(&id).map(|t| TenantBody {
            name: t.name.clone(),
            domains: t.domains.clone(),
            numbers: t.numbers.clone(),
        });
        put_history(tx, keys, ObjectKind::Tenant, id, revision, body).map_err(&failed)?;
    }
    for &id in &touched {
        let extension = new.get(&id).copied();
        if let Some(extension) = extension {
            put_extension(tx, keys, extension).map_err(&failed)?;
        }
        put_history(tx, keys, ObjectKind::Extension, id, revision, extension.map(extension_body)).map_err(&failed)?;
    }
    line_rows::save(tx, keys, before.2, &target.lines, revision)?;
    let counters = [
        ("next_tenant", target.next_tenant),
        ("next_extension", target.next_extension),
        ("next_trunk", target.next_trunk),
    ];
    for (name, value) in counters {
        tx.execute("UPDATE counter SET value = $1 WHERE name = $2 AND value < $1", params![value, name])
            .map_err(&failed)?;
    }
    Ok(())
}

/// Ids whose objects are not equal on both sides.
pub(super) fn differing<T: PartialEq>(old: &BTreeMap<u32, T>, new: &BTreeMap<u32, T>) -> Vec<u32> {
    let gone = old.keys().filter(|id| !new.contains_key(id));
    let here = new.iter().filter(|(id, value)| old.get(id) != Some(value)).map(|(id, _)| id);
    gone.chain(here).copied().collect()
}

fn put_tenant(tx: &Transaction<'_>, tenant: &Tenant) -> rusqlite::Result<()> {
    let domains = serde_json::to_string(&tenant.domains).expect("strings are JSON");
    tx.execute(
        "INSERT INTO tenant (id, name, domains, numbers) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE \
         SET name = excluded.name, domains = excluded.domains, numbers = excluded.numbers",
        params![tenant.id.0, tenant.name, domains, json(&tenant.numbers)],
    )
    .map(drop)
}

fn put_extension(tx: &Transaction<'_>, keys: &Keys, e: &Extension) -> rusqlite::Result<()> {
    let password = e.credentials.password.reveal().as_bytes();
    let sealed = keys.seal(Purpose::Credential, &password_place(e.id.0), password);
    tx.prepare_cached(
        "INSERT INTO extension (id, tenant_id, number, name, sip_user, sip_password, srtp, max_calls, max_contacts, \
         enabled, calling) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )?
    .execute(params![
        e.id.0,
        e.tenant.0,
        e.number,
        e.name,
        e.credentials.user,
        sealed,
        word(e.srtp),
        e.max_calls,
        e.max_contacts,
        i64::from(e.enabled),
        json(&e.calling),
    ])
    .map(drop)
}

pub(super) fn put_history<T: Serialize>(
    tx: &Transaction<'_>,
    keys: &Keys,
    kind: ObjectKind,
    id: u32,
    revision: u64,
    body: Option<T>,
) -> rusqlite::Result<()> {
    let body = body.map(|body| {
        let json = serde_json::to_vec(&body).expect("strings and numbers are JSON");
        keys.seal(Purpose::History, &history_place(kind, id, revision), &json)
    });
    tx.prepare_cached("INSERT INTO history (kind, object_id, revision, body) VALUES ($1, $2, $3, $4)")?
        .execute(params![kind.name(), id, revision.cast_signed(), body])
        .map(drop)
}

fn extension_body(e: &Extension) -> ExtensionBody {
    ExtensionBody {
        tenant: e.tenant.0,
        number: e.number.clone(),
        name: e.name.clone(),
        sip_user: e.credentials.user.clone(),
        sip_password: e.credentials.password.clone(),
        srtp: e.srtp,
        max_calls: e.max_calls,
        max_contacts: e.max_contacts,
        enabled: e.enabled,
        calling: e.calling.clone(),
    }
}

/// Tenants and extensions as they were after `revision`; `None` where there was no such revision.
pub(crate) fn at_revision(connection: &Connection, keys: &Keys, revision: u64) -> Result<Option<Objects>, DbError> {
    let exists = revision == 0
        || connection
            .query_row("SELECT 1 FROM revision WHERE id = $1", [revision.cast_signed()], |_| Ok(()))
            .optional()
            .map_err(DbError::sql("reading a revision"))?
            .is_some();
    if !exists {
        return Ok(None);
    }
    // The tenant that the first migration makes.
    let default = Tenant {
        id: TenantId(1),
        name: DEFAULT_TENANT.to_owned(),
        domains: Vec::new(),
        numbers: NumberPlan::default(),
    };
    let mut tenants = BTreeMap::from([(1, default)]);
    for (id, body) in bodies::<TenantBody>(connection, keys, ObjectKind::Tenant, revision)? {
        match body {
            Some(body) => tenants
                .insert(id, Tenant { id: TenantId(id), name: body.name, domains: body.domains, numbers: body.numbers }),
            None => tenants.remove(&id),
        };
    }
    let extensions = bodies::<ExtensionBody>(connection, keys, ObjectKind::Extension, revision)?
        .into_iter()
        .filter_map(|(id, body)| {
            let b = body?;
            let id = ExtensionId(id);
            let extension = Extension {
                id,
                tenant: TenantId(b.tenant),
                number: b.number,
                name: b.name,
                credentials: SipCredentials { user: b.sip_user, password: b.sip_password },
                srtp: b.srtp,
                max_calls: b.max_calls,
                max_contacts: b.max_contacts,
                enabled: b.enabled,
                calling: b.calling,
            };
            Some((id, extension))
        })
        .collect();
    let lines = line_rows::at_revision(connection, keys, revision)?;
    Ok(Some((tenants.into_values().collect(), extensions, lines)))
}

/// Each object's last state not after `revision`; `None` for one deleted by then.
pub(super) fn bodies<T: DeserializeOwned>(
    connection: &Connection,
    keys: &Keys,
    kind: ObjectKind,
    revision: u64,
) -> Result<Vec<(u32, Option<T>)>, DbError> {
    let failed = DbError::sql("reading an old revision");
    let mut statement = connection
        .prepare(
            "SELECT h.object_id, h.revision, h.body FROM history h JOIN (SELECT object_id, max(revision) AS revision \
             FROM history WHERE kind = $1 AND revision <= $2 GROUP BY object_id) latest \
             ON latest.object_id = h.object_id AND latest.revision = h.revision WHERE h.kind = $1 ORDER BY h.object_id",
        )
        .map_err(&failed)?;
    let mut rows = statement.query(params![kind.name(), revision.cast_signed()]).map_err(&failed)?;
    let mut bodies = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let id: u32 = row.get(0).map_err(&failed)?;
        let at: i64 = row.get(1).map_err(&failed)?;
        let sealed: Option<Vec<u8>> = row.get(2).map_err(&failed)?;
        let place = history_place(kind, id, at.cast_unsigned());
        let body = match sealed {
            None => None,
            Some(sealed) => Some(
                keys.open(Purpose::History, &place, &sealed)
                    .ok()
                    .and_then(|json| serde_json::from_slice(&json).ok())
                    .ok_or_else(|| DbError::Damaged { place, expected: "an object sealed with this key" })?,
            ),
        };
        bodies.push((id, body));
    }
    Ok(bodies)
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("strings, lists and flags are JSON")
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize, place: impl Fn() -> String) -> Result<T, DbError> {
    let text: String = row.get(column).map_err(DbError::sql("reading the site"))?;
    serde_json::from_str(&text).map_err(|_| DbError::Damaged { place: place(), expected: "JSON" })
}

fn password_place(id: u32) -> String {
    format!("extension/{id}/sip_password")
}

fn history_place(kind: ObjectKind, id: u32, revision: u64) -> String {
    format!("history/{}/{id}/{revision}", kind.name())
}
