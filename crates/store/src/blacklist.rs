//! Entries of blacklists in the database (BLACK-2): taken over from the journal in its order, each under a keyed hash of
//! its text, and read whole at start. The switch has them in memory; this is what outlives it.

use std::sync::Arc;

use aws_lc_rs::hmac;
use ringfort_switch::model::{Pii, TenantId};
use ringfort_switch::record::{BlacklistChange, Listed};
use rusqlite::{Row, Transaction, params};

use crate::db::{Db, DbError};
use crate::keys::{BLIND_INDEX_LEN, Keys, Purpose, hex};

/// How the allow-list is numbered.
const ALLOW: i64 = -1;

/// Where a page of entries begins: behind this list and index.
pub type Cursor = (Option<u32>, Vec<u8>);

/// How many entries a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListCount {
    /// `None`: the allow-list.
    pub list: Option<u32>,
    pub entries: u64,
}

/// The entries in the database.
#[derive(Debug)]
pub struct BlacklistStore {
    db: Arc<Db>,
    keys: Arc<Keys>,
}

/// Makes the keyed hashes.
struct Index(hmac::Key);

impl Index {
    fn new(keys: &Keys) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &keys.named("blacklist index")))
    }

    fn of(&self, tenant: TenantId, list: i64, entry: &str) -> [u8; BLIND_INDEX_LEN] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&tenant.0.to_be_bytes());
        context.update(&list.to_be_bytes());
        context.update(entry.as_bytes());
        let mut out = [0; BLIND_INDEX_LEN];
        out.copy_from_slice(&context.sign().as_ref()[..BLIND_INDEX_LEN]);
        out
    }
}

impl BlacklistStore {
    pub(crate) fn new(db: Arc<Db>, keys: Arc<Keys>) -> Self {
        Self { db, keys }
    }

    /// Every entry that has not run out by `now` (seconds since 1970); those that have are deleted.
    ///
    /// # Errors
    /// The database's word, or an entry that does not open with this key.
    pub fn load(&self, now: u64) -> Result<Vec<BlacklistChange>, DbError> {
        self.purge(now)?;
        let failed = DbError::sql("reading blacklists");
        self.db.read(|c| {
            let mut statement =
                c.prepare("SELECT tenant_id, list, entry_index, expires_s, sealed FROM blacklist").map_err(&failed)?;
            let mut rows = statement.query([]).map_err(&failed)?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next().map_err(&failed)? {
                entries.push(self.entry(row)?.1);
            }
            Ok(entries)
        })
    }

    /// Deletes what has run out.
    ///
    /// # Errors
    /// The database's word.
    pub fn purge(&self, now: u64) -> Result<(), DbError> {
        let failed = DbError::sql("deleting entries of blacklists that have run out");
        let due: bool = self.db.read(|c| {
            c.query_row("SELECT EXISTS (SELECT 1 FROM blacklist WHERE expires_s <= $1)", [now.cast_signed()], |r| {
                r.get(0)
            })
            .map_err(&failed)
        })?;
        if !due {
            return Ok(());
        }
        self.db.write(|tx| {
            tx.execute("DELETE FROM blacklist WHERE expires_s <= $1", [now.cast_signed()]).map(drop).map_err(&failed)
        })
    }

    /// At most `limit` entries of a tenant behind `after`, of one list or all, and where the next page begins (`None`: that
    /// was the last). In the order of lists, and within one of their hashes.
    ///
    /// # Errors
    /// As [`BlacklistStore::load`].
    pub fn page(
        &self,
        tenant: TenantId,
        list: Option<Option<u32>>,
        after: Option<&Cursor>,
        limit: u32,
        now: u64,
    ) -> Result<(Vec<BlacklistChange>, Option<Cursor>), DbError> {
        let failed = DbError::sql("reading blacklists");
        self.db.read(|c| {
            // List by list: so both the page and where it begins are found by the primary key.
            let mut next_list = c
                .prepare_cached("SELECT min(list) FROM blacklist WHERE tenant_id = $1 AND list >= $2")
                .map_err(&failed)?;
            let mut statement = c
                .prepare_cached(
                    "SELECT tenant_id, list, entry_index, expires_s, sealed FROM blacklist WHERE tenant_id = $1 \
                     AND list = $2 AND entry_index > $3 AND (expires_s IS NULL OR expires_s > $4) \
                     ORDER BY entry_index LIMIT $5",
                )
                .map_err(&failed)?;
            let (mut entries, mut next) = (Vec::new(), None);
            let (mut of, mut index) = match (after, list) {
                (Some((list, index)), _) => (number(*list), index.clone()),
                (None, Some(list)) => (number(list), Vec::new()),
                (None, None) => (ALLOW, Vec::new()),
            };
            loop {
                let left = limit as usize - entries.len();
                let values = params![tenant.0, of, index, now.cast_signed(), left as i64];
                let mut rows = statement.query(values).map_err(&failed)?;
                while let Some(row) = rows.next().map_err(&failed)? {
                    let (index, entry) = self.entry(row)?;
                    next = Some((entry.list, index));
                    entries.push(entry);
                }
                if entries.len() == limit as usize || list.is_some() {
                    break;
                }
                let found: Option<i64> =
                    next_list.query_row(params![tenant.0, of + 1], |row| row.get(0)).map_err(&failed)?;
                let Some(found) = found else { break };
                (of, index) = (found, Vec::new());
            }
            let is_last = entries.len() < limit as usize;
            Ok((entries, next.filter(|_| !is_last)))
        })
    }

    /// How many entries each list of a tenant has.
    ///
    /// # Errors
    /// The database's word.
    pub fn counts(&self, tenant: TenantId, now: u64) -> Result<Vec<ListCount>, DbError> {
        let failed = DbError::sql("counting blacklists");
        self.db.read(|c| {
            let mut statement = c
                .prepare_cached(
                    "SELECT list, count(*) FROM blacklist WHERE tenant_id = $1 AND (expires_s IS NULL OR expires_s > $2) \
                     GROUP BY list ORDER BY list",
                )
                .map_err(&failed)?;
            let rows = statement.query_map(params![tenant.0, now.cast_signed()], |row| {
                Ok(ListCount { list: list(row.get(0)?), entries: row.get::<_, i64>(1)?.cast_unsigned() })
            });
            rows.and_then(Iterator::collect).map_err(&failed)
        })
    }

    fn entry(&self, row: &Row<'_>) -> Result<(Vec<u8>, BlacklistChange), DbError> {
        let failed = DbError::sql("reading blacklists");
        let read = || -> rusqlite::Result<(u32, i64, Vec<u8>, Option<i64>)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let (tenant, of, index, expires) = read().map_err(&failed)?;
        let place = place(TenantId(tenant), of, &index);
        let damaged = || DbError::Damaged { place: place.clone(), expected: "an entry sealed with this key" };
        let sealed = row.get_ref(4).map_err(&failed)?.as_blob().map_err(|_| damaged())?;
        let plain = self.keys.open(Purpose::Pii, &place, sealed).map_err(|_| damaged())?;
        let entry = String::from_utf8(plain).map_err(|_| damaged())?;
        let listed = expires.map_or(Listed::ForEver, |end| Listed::Until(end.cast_unsigned()));
        Ok((index, BlacklistChange { tenant: TenantId(tenant), list: list(of), entry: Pii::new(entry), listed }))
    }
}

/// Makes changes in their order.
pub(crate) fn put(tx: &Transaction<'_>, keys: &Keys, changes: &[BlacklistChange]) -> Result<(), DbError> {
    let failed = DbError::sql("writing blacklists");
    let index = Index::new(keys);
    for change in changes {
        let (tenant, of, entry) = (change.tenant, number(change.list), change.entry.reveal());
        let hash = index.of(tenant, of, entry);
        let expires = match change.listed {
            Listed::Until(end) => Some(end.cast_signed()),
            Listed::ForEver => None,
            Listed::Gone => {
                tx.prepare_cached("DELETE FROM blacklist WHERE tenant_id = $1 AND list = $2 AND entry_index = $3")
                    .and_then(|mut s| s.execute(params![tenant.0, of, hash]))
                    .map_err(&failed)?;
                continue;
            }
        };
        let sealed = keys.seal(Purpose::Pii, &place(tenant, of, &hash), entry.as_bytes());
        tx.prepare_cached(
            "INSERT INTO blacklist (tenant_id, list, entry_index, expires_s, sealed) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant_id, list, entry_index) DO UPDATE SET expires_s = excluded.expires_s",
        )
        .and_then(|mut s| s.execute(params![tenant.0, of, hash, expires, sealed]))
        .map_err(&failed)?;
    }
    Ok(())
}

fn number(list: Option<u32>) -> i64 {
    list.map_or(ALLOW, i64::from)
}

fn list(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

fn place(tenant: TenantId, list: i64, index: &[u8]) -> String {
    format!("blacklist/{tenant}/{list}/{}", hex(index))
}
