//! What calls have cost, in the database: taken over from the journal with the call records, read at a start and for the
//! records.

use std::path::Path;

use ringfort_switch::model::{CallId, ExtensionId, TenantId, TrunkId};
use ringfort_switch::record::{Account, Cost, LocalDay, Spent, SpentTotal};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::cdr::{CdrError, CdrStore};
use crate::db::DbError;

impl CdrStore {
    /// What each account has spent on `since` and later, by the database and the journal in `dir`: whatever was journaled
    /// before the last process died is in it.
    ///
    /// # Errors
    /// Files that cannot be read, or the database's word.
    pub fn spent(&self, dir: &Path, since: LocalDay) -> Result<Vec<SpentTotal>, CdrError> {
        self.ingest(dir)?;
        self.read(|c| read(c, since))
    }
}

/// Adds what a call has cost to the call and to those who pay for it.
pub(crate) fn add(tx: &Transaction<'_>, spent: &Spent) -> Result<(), DbError> {
    let failed = DbError::sql("writing what was spent");
    let call = spent.call.0.cast_signed();
    tx.prepare_cached(
        "INSERT INTO cdr_cost (call_id, amount, currency) VALUES ($1, $2, $3) ON CONFLICT (call_id) DO UPDATE \
         SET amount = cdr_cost.amount + excluded.amount",
    )
    .and_then(|mut s| s.execute(params![call, spent.amount, spent.currency]))
    .map_err(&failed)?;
    for account in spent.accounts() {
        let (kind, id) = key(account);
        tx.prepare_cached(
            "INSERT INTO spent (account, account_id, day, currency, amount) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (account, account_id, day, currency) DO UPDATE SET amount = spent.amount + excluded.amount",
        )
        .and_then(|mut s| s.execute(params![kind, id, spent.day.0, spent.currency, spent.amount]))
        .map_err(&failed)?;
    }
    Ok(())
}

/// What a call has cost, where it has cost something.
pub(crate) fn of_call(connection: &Connection, call: CallId) -> Result<Option<Cost>, DbError> {
    connection
        .prepare_cached("SELECT amount, currency FROM cdr_cost WHERE call_id = $1")
        .and_then(|mut statement| {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?));
            statement.query_row([call.0.cast_signed()], row).optional()
        })
        .map(|found| found.map(|(amount, currency)| Cost { amount: amount.max(0).unsigned_abs(), currency }))
        .map_err(DbError::sql("reading what a call has cost"))
}

fn read(connection: &Connection, since: LocalDay) -> Result<Vec<SpentTotal>, DbError> {
    let failed = DbError::sql("reading what was spent");
    let mut statement = connection
        .prepare(
            "SELECT account, account_id, day, amount, currency FROM spent WHERE day >= $1 \
             ORDER BY day, account, account_id, currency",
        )
        .map_err(&failed)?;
    let mut rows = statement.query([since.0]).map_err(&failed)?;
    let mut totals = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let (kind, id): (String, u32) = (row.get(0).map_err(&failed)?, row.get(1).map_err(&failed)?);
        let (day, amount): (u32, i64) = (row.get(2).map_err(&failed)?, row.get(3).map_err(&failed)?);
        let account = account(&kind, id)
            .ok_or_else(|| DbError::Damaged { place: format!("spent/{kind}/{id}"), expected: "a kind of account" })?;
        let currency = row.get(4).map_err(&failed)?;
        totals.push(SpentTotal { account, day: LocalDay(day), amount: amount.max(0).unsigned_abs(), currency });
    }
    Ok(totals)
}

fn key(account: Account) -> (&'static str, u32) {
    match account {
        Account::Tenant(id) => ("tenant", id.0),
        Account::Extension(id) => ("extension", id.0),
        Account::Trunk(id) => ("trunk", id.0),
    }
}

fn account(kind: &str, id: u32) -> Option<Account> {
    match kind {
        "tenant" => Some(Account::Tenant(TenantId(id))),
        "extension" => Some(Account::Extension(ExtensionId(id))),
        "trunk" => Some(Account::Trunk(TrunkId(id))),
        _ => None,
    }
}
