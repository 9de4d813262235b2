//! Rows and history of lines to the world. A trunk is an object of its own; routes, inbound routes and aliases are lists
//! whose order matters, kept whole. All bodies are sealed JSON of the model's types.

use std::collections::BTreeMap;

use ringfort_switch::model::{TenantId, Trunk, TrunkId};
use rusqlite::{Connection, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Lines;
use super::plan::ObjectKind;
use super::rows::{bodies, differing, put_history};
use crate::db::DbError;
use crate::keys::{Keys, Purpose};

/// The present lines.
pub(super) fn load(connection: &Connection, keys: &Keys) -> Result<Lines, DbError> {
    let failed = DbError::sql("reading lines");
    let mut statement = connection.prepare("SELECT kind, id, sealed FROM line ORDER BY kind, id").map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    let mut lines = Lines::default();
    while let Some(row) = rows.next().map_err(&failed)? {
        let (kind, id): (String, u32) = (row.get(0).map_err(&failed)?, row.get(1).map_err(&failed)?);
        let sealed: Vec<u8> = row.get(2).map_err(&failed)?;
        let place = place(&kind, id);
        let damaged = || DbError::Damaged { place: place.clone(), expected: "a line sealed with this key" };
        let plain = keys.open(Purpose::Credential, &place, &sealed).map_err(|_| damaged())?;
        let body = serde_json::from_slice(&plain).map_err(|_| damaged())?;
        put(&mut lines, &kind, id, body).ok_or_else(damaged)?;
    }
    Ok(lines)
}

/// The lines as they were after `revision`.
pub(super) fn at_revision(connection: &Connection, keys: &Keys, revision: u64) -> Result<Lines, DbError> {
    let mut lines = Lines::default();
    for kind in [ObjectKind::Trunk, ObjectKind::Route, ObjectKind::Inbound, ObjectKind::Alias] {
        for (id, body) in bodies::<Value>(connection, keys, kind, revision)? {
            let Some(body) = body else { continue };
            let damaged = || DbError::Damaged { place: place(kind.name(), id), expected: "a line" };
            put(&mut lines, kind.name(), id, body).ok_or_else(damaged)?;
        }
    }
    Ok(lines)
}

/// Writes what is different, with its history.
pub(super) fn save(
    tx: &Transaction<'_>,
    keys: &Keys,
    before: &Lines,
    after: &Lines,
    revision: u64,
) -> Result<(), DbError> {
    let by_id =
        |lines: &Lines| -> BTreeMap<u32, Trunk> { lines.trunks.iter().map(|(id, t)| (id.0, t.clone())).collect() };
    let (old, new) = (by_id(before), by_id(after));
    let writer = Writer { tx, keys, revision };
    for id in differing(&old, &new) {
        writer.put(ObjectKind::Trunk, id, new.get(&id))?;
    }
    if before.outbound != after.outbound {
        writer.put(ObjectKind::Route, 0, Some(&after.outbound))?;
    }
    if before.inbound != after.inbound {
        writer.put(ObjectKind::Inbound, 0, Some(&after.inbound))?;
    }
    if before.aliases != after.aliases {
        writer.put(ObjectKind::Alias, 0, Some(&after.aliases))?;
    }
    Ok(())
}

struct Writer<'w> {
    tx: &'w Transaction<'w>,
    keys: &'w Keys,
    revision: u64,
}

impl Writer<'_> {
    fn put<T: Serialize>(&self, kind: ObjectKind, id: u32, body: Option<&T>) -> Result<(), DbError> {
        let failed = DbError::sql("writing lines");
        let name = kind.name();
        let done = match body {
            None => self.tx.execute("DELETE FROM line WHERE kind = $1 AND id = $2", params![name, id]),
            Some(body) => {
                let plain = serde_json::to_vec(body).expect("the model is JSON");
                let sealed = self.keys.seal(Purpose::Credential, &place(name, id), &plain);
                self.tx.execute(
                    "INSERT INTO line (kind, id, sealed) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO UPDATE \
                     SET sealed = excluded.sealed",
                    params![name, id, sealed],
                )
            }
        };
        done.map_err(&failed)?;
        put_history(self.tx, self.keys, kind, id, self.revision, body).map_err(failed)
    }
}

/// Puts a body where it belongs; `None` where it is none of its kind.
fn put(lines: &mut Lines, kind: &str, id: u32, body: Value) -> Option<()> {
    fn read<T: DeserializeOwned>(body: Value) -> Option<T> {
        serde_json::from_value(body).ok()
    }
    match kind {
        "trunk" => {
            let trunk = read_trunk(body)?;
            lines.trunks.insert(TrunkId(id), trunk);
        }
        "route" => lines.outbound = read(body)?,
        "inbound" => lines.inbound = read(body)?,
        "alias" => lines.aliases = read(body)?,
        _ => return None,
    }
    Some(())
}

/// A trunk that was written before a field came has that field's default.
fn read_trunk(body: Value) -> Option<Trunk> {
    let mut whole = serde_json::to_value(Trunk::new(TrunkId(0), TenantId(0), "", "")).ok()?;
    let fields = whole.as_object_mut()?;
    fields.extend(body.as_object()?.clone());
    serde_json::from_value(whole).ok()
}

fn place(kind: &str, id: u32) -> String {
    format!("line/{kind}/{id}")
}
