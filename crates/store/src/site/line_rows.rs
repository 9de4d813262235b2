//! Rows and history of lines to the world. A trunk is an object of its own; routes, inbound routes and aliases are lists
//! whose order matters, kept whole; so are the rates of a trunk. All bodies are sealed JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringfort_switch::model::{
    Alias, Destination, InboundRoute, OutboundRoute, Pattern, RateTable, TenantId, Trunk, TrunkId, TrunkOrder,
};
use rusqlite::{Connection, Transaction, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::ObjectKind;
use super::rows::{bodies, differing, put_history};
use super::{Lines, rates};
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
    for kind in [ObjectKind::Trunk, ObjectKind::Route, ObjectKind::Inbound, ObjectKind::Alias, ObjectKind::Rates] {
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
    let tables = |lines: &Lines| -> BTreeMap<u32, Arc<RateTable>> {
        lines.rates.iter().map(|(id, table)| (id.0, Arc::clone(table))).collect()
    };
    let (old, new) = (tables(before), tables(after));
    for id in differing(&old, &new) {
        let body = new.get(&id).map(|t| RatesBody { currency: t.currency.clone(), csv: rates::write(t) });
        writer.put(ObjectKind::Rates, id, body.as_ref())?;
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

/// A trunk's rates as they are kept: the text that an export of them is, whose first line names its columns.
#[derive(Serialize, Deserialize)]
struct RatesBody {
    currency: String,
    csv: String,
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
    match kind {
        "trunk" => {
            let trunk = over(&Trunk::new(TrunkId(0), TenantId(0), "", ""), body)?;
            lines.trunks.insert(TrunkId(id), trunk);
        }
        "route" => lines.outbound = list(&plain_route(), body)?,
        "inbound" => lines.inbound = list(&plain_inbound(), body)?,
        "alias" => lines.aliases = list(&plain_alias(), body)?,
        "rates" => {
            let RatesBody { currency, csv } = serde_json::from_value(body).ok()?;
            let table = rates::parse("", &csv, &currency).ok()?;
            lines.rates.insert(TrunkId(id), Arc::new(table));
        }
        _ => return None,
    }
    Some(())
}

/// An object as it was written, over one that has everything: a field that came after it was written has its default.
fn over<T: Serialize + DeserializeOwned>(plain: &T, body: Value) -> Option<T> {
    let Value::Object(written) = body else { return None };
    let mut whole = serde_json::to_value(plain).ok()?;
    whole.as_object_mut()?.extend(written);
    serde_json::from_value(whole).ok()
}

fn list<T: Serialize + DeserializeOwned>(plain: &T, body: Value) -> Option<Vec<T>> {
    let Value::Array(items) = body else { return None };
    items.into_iter().map(|item| over(plain, item)).collect()
}

fn plain_route() -> OutboundRoute {
    OutboundRoute {
        tenant: TenantId(0),
        name: String::new(),
        patterns: Vec::new(),
        groups: Vec::new(),
        hours: Vec::new(),
        strip: 0,
        prepend: String::new(),
        enum_domain: None,
        trunks: Vec::new(),
        order: TrunkOrder::default(),
        attempts: None,
        ring_for: None,
    }
}

fn plain_inbound() -> InboundRoute {
    InboundRoute {
        tenant: TenantId(0),
        name: String::new(),
        trunk: None,
        called: Pattern::Any,
        identity: Vec::new(),
        hours: Vec::new(),
        to: Destination::Reject(404),
    }
}

fn plain_alias() -> Alias {
    Alias { tenant: TenantId(0), name: String::new(), to: Destination::Reject(404), published: false }
}

fn place(kind: &str, id: u32) -> String {
    format!("line/{kind}/{id}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_that_were_written_before_a_field_came_have_its_default() {
        let mut lines = Lines::default();
        let route = json!([{ "tenant": 1, "name": "out", "patterns": ["any", { "prefix": "00" }], "trunks": [1, 2] }]);
        put(&mut lines, "route", 0, route).unwrap();
        let [route] = lines.outbound.as_slice() else { panic!("{:?}", lines.outbound) };
        assert_eq!((route.trunks.as_slice(), route.patterns.len()), ([TrunkId(1), TrunkId(2)].as_slice(), 2));
        assert_eq!((route.order, route.strip, route.ring_for), (TrunkOrder::Listed, 0, None));
        assert!(route.groups.is_empty() && route.hours.is_empty() && route.prepend.is_empty());

        put(&mut lines, "inbound", 0, json!([{ "tenant": 1, "name": "in", "to": { "extension": "101" } }])).unwrap();
        assert_eq!(lines.inbound[0].to, Destination::Extension("101".to_owned()));
        assert_eq!((&lines.inbound[0].called, lines.inbound[0].trunk), (&Pattern::Any, None));

        put(&mut lines, "alias", 0, json!([{ "tenant": 1, "name": "alex", "to": { "extension": "101" } }])).unwrap();
        assert!(!lines.aliases[0].published, "strangers reach what is published alone");

        put(&mut lines, "trunk", 7, json!({ "id": 7, "tenant": 1, "name": "acme", "server": "sip:192.0.2.1" }))
            .unwrap();
        assert_eq!(lines.trunks[&TrunkId(7)].max_calls, Trunk::MAX_CALLS);
    }

    #[test]
    fn what_is_none_of_its_kind_is_refused() {
        let mut lines = Lines::default();
        for (kind, body) in [
            ("route", json!({ "name": "out" })),
            ("route", json!([7])),
            ("inbound", json!([{ "name": 7 }])),
            ("alias", json!("alex")),
            ("trunk", json!([])),
            ("brunk", json!({})),
        ] {
            assert!(put(&mut lines, kind, 0, body.clone()).is_none(), "{kind} {body}");
        }
    }
}
