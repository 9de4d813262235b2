//! Call detail records in the database (CALL-10): taken over from the journal exactly once, searched by number through
//! the blind index, newest first. Numbers, names, addresses and the peers' words are sealed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ringfort_switch::model::{CallId, ExtensionId, Pii, TenantId, mask};
use ringfort_switch::money;
use ringfort_switch::record::{CallMore, CallTrunks, Cdr, EndCause, JournalRecord, MediaQuality, UnixMillis};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, Transaction, params, params_from_iter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::blacklist;
use crate::db::{Db, DbError};
use crate::journal::{Files, FrameKind, JournalError, SegmentReader, Step, segment_path};
use crate::keys::{Keys, Purpose};
use crate::spent;

/// Records taken into one transaction.
const BATCH: usize = 4096;

/// Entries of blacklists that are enough for one.
const ENTRIES: usize = 16_384;

/// Bytes without a call in them that are rather read again than written about: a write to the database costs a flush.
const STRIDE: u64 = 256 << 10;

/// Why records cannot be taken over or read.
#[derive(Debug, Error)]
pub enum CdrError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Where the database has read the journal up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub segment: u64,
    /// Bytes of it that have been read.
    pub offset: u64,
}

/// What one take-over did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Calls whose record is new in the database.
    pub calls: u64,
    /// Bytes of damage that were passed over.
    pub damaged: u64,
}

/// Which records to list. Default: the newest 100.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CdrFilter {
    pub tenant: Option<TenantId>,
    /// The whole number, in any spelling, of the caller or the called side.
    pub number: Option<String>,
    /// On either side.
    pub extension: Option<ExtensionId>,
    /// Started then or later.
    pub since: Option<UnixMillis>,
    /// Started before then.
    pub until: Option<UnixMillis>,
    /// At most so many.
    pub limit: u32,
}

impl Default for CdrFilter {
    fn default() -> Self {
        Self { tenant: None, number: None, extension: None, since: None, until: None, limit: 100 }
    }
}

/// A record as it is shown: for `--json` and the API. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CdrItem {
    pub call: CallId,
    pub tenant: TenantId,
    pub profile: String,
    pub context: String,
    pub caller: String,
    pub caller_name: String,
    pub callee: String,
    pub from_extension: Option<ExtensionId>,
    pub to_extension: Option<ExtensionId>,
    pub source: String,
    pub started: UnixMillis,
    pub ringing: Option<UnixMillis>,
    pub answered: Option<UnixMillis>,
    pub ended: Option<UnixMillis>,
    /// From answer to end; 0 for a call that was not answered.
    pub talk_ms: u64,
    pub status: u16,
    pub cause: Option<EndCause>,
    pub reason: String,
    pub rule: Option<String>,
    pub quality: Vec<MediaQuality>,
    pub trunks: CallTrunks,
    #[serde(flatten)]
    pub more: CallMore,
    /// An exact amount such as `0.35`, and its currency; `None`: it cost nothing that is known.
    #[serde(default)]
    pub cost: Option<String>,
    #[serde(default)]
    pub currency: Option<String>,
}

impl CdrItem {
    /// With numbers and names as they are: whoever asked may see them.
    pub fn plain(cdr: Cdr) -> Self {
        Self::with(cdr, |value| value.to_owned())
    }

    /// With numbers and names masked (GUARD-11), and without the peers' own words, which may repeat them.
    pub fn masked(cdr: Cdr) -> Self {
        Self { reason: String::new(), ..Self::with(cdr, mask) }
    }

    fn with(cdr: Cdr, show: impl Fn(&str) -> String) -> Self {
        let talk_ms = match (cdr.answered, cdr.ended) {
            (Some(answered), Some(ended)) => ended.0.saturating_sub(answered.0),
            (None, _) | (_, None) => 0,
        };
        Self {
            call: cdr.call,
            tenant: cdr.tenant,
            profile: cdr.profile,
            context: cdr.context,
            caller: show(cdr.caller.reveal()),
            caller_name: show(cdr.caller_name.reveal()),
            callee: show(cdr.callee.reveal()),
            from_extension: cdr.from_extension,
            to_extension: cdr.to_extension,
            source: cdr.source.to_string(),
            started: cdr.started,
            ringing: cdr.ringing,
            answered: cdr.answered,
            ended: cdr.ended,
            talk_ms,
            status: cdr.status,
            cause: cdr.cause,
            reason: cdr.reason,
            rule: cdr.rule,
            quality: cdr.quality,
            trunks: cdr.trunks,
            more: cdr.more.shown(&show),
            cost: cdr.cost.as_ref().map(|cost| money::text(cost.amount)),
            currency: cdr.cost.map(|cost| cost.currency),
        }
    }
}

/// The records in the database.
#[derive(Debug)]
pub struct CdrStore {
    db: Arc<Db>,
    keys: Arc<Keys>,
}

/// What of a record is sealed, as JSON.
#[derive(Serialize, Deserialize)]
struct Sealed {
    caller: String,
    caller_name: String,
    callee: String,
    source: SocketAddr,
    reason: String,
    #[serde(default, skip_serializing_if = "CallTrunks::is_empty")]
    trunks: CallTrunks,
    #[serde(default, skip_serializing_if = "CallMore::is_empty")]
    more: CallMore,
}

impl CdrStore {
    pub fn new(db: Arc<Db>, keys: Arc<Keys>) -> Self {
        Self { db, keys }
    }

    /// For the parts of this that stand in other modules.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&Connection) -> Result<T, DbError>) -> Result<T, CdrError> {
        self.db.read(f).map_err(CdrError::from)
    }

    /// Where the journal has been read up to.
    ///
    /// # Errors
    /// The database's word.
    pub fn position(&self) -> Result<Position, CdrError> {
        self.db.read(|c| {
            let row = |r: &Row<'_>| Ok(Position { segment: get_u64(r, 0)?, offset: get_u64(r, 1)? });
            c.query_row("SELECT segment, byte_offset FROM journal_position WHERE id = 1", [], row)
                .map_err(DbError::sql("reading the journal's position"))
                .map_err(CdrError::from)
        })
    }

    /// A number that no call in the database has or had.
    ///
    /// # Errors
    /// The database's word.
    pub fn next_call(&self) -> Result<CallId, CdrError> {
        self.db.read(|c| {
            c.query_row("SELECT value FROM counter WHERE name = 'next_call'", [], |r| get_u64(r, 0))
                .map(CallId)
                .map_err(DbError::sql("reading the next call's number"))
                .map_err(CdrError::from)
        })
    }

    /// Takes the ended calls of the journal in `dir` that are new since the last time into the database. The position
    /// moves in the same transaction, and a call that is there already is left alone: whenever the process dies, each
    /// record is there once.
    ///
    /// # Errors
    /// Files that cannot be read, or the database's word; what was taken until then stays taken.
    pub fn ingest(&self, dir: &Path) -> Result<Ingested, CdrError> {
        let mut done = Ingested::default();
        let mut stored = self.position()?;
        let mut position = stored;
        let stored_segment = stored.segment;
        let files = Files::list(dir)?;
        let live = files.segments.last().copied();
        for &number in files.segments.iter().filter(|&&n| n >= stored_segment) {
            if number > position.segment {
                position = Position { segment: number, offset: 0 };
            }
            let path = segment_path(dir, number);
            let size = std::fs::metadata(&path).map_err(JournalError::io(&path, "reading its size"))?.len();
            if size <= position.offset && Some(number) == live {
                continue;
            }
            let mut reader = SegmentReader::read(&path, &self.keys)?;
            reader.seek(position.offset);
            loop {
                let (batch, ended) = collect(&mut reader);
                position.offset = reader.position();
                let moved = stored.segment != number || position.offset - stored.offset > STRIDE;
                if moved || !batch.is_empty() {
                    done.calls += self.store(&batch, position)?;
                    stored = position;
                }
                if ended {
                    break;
                }
            }
            done.damaged += reader.damaged;
        }
        Ok(done)
    }

    /// Puts a batch of `CallEnded`, `CallQuality` and `Blacklist` records in, with the position behind them.
    fn store(&self, batch: &[JournalRecord], position: Position) -> Result<u64, CdrError> {
        self.db.write(|tx| {
            let mut calls = 0;
            for record in batch {
                match record {
                    JournalRecord::CallEnded(cdr) => calls += self.insert(tx, cdr)?,
                    JournalRecord::CallQuality { call, directions } => insert_quality(tx, *call, directions)?,
                    JournalRecord::Spent(spent) => spent::add(tx, spent)?,
                    JournalRecord::Blacklist(changes) => blacklist::put(tx, &self.keys, changes)?,
                    JournalRecord::Bound(_)
                    | JournalRecord::Unbound { .. }
                    | JournalRecord::CallStarted(_)
                    | JournalRecord::Guard(_) => {}
                }
            }
            let highest = batch.iter().filter_map(|r| match r {
                JournalRecord::CallEnded(cdr) => Some(cdr.call.0),
                _ => None,
            });
            if let Some(highest) = highest.max() {
                tx.prepare_cached("UPDATE counter SET value = $1 WHERE name = 'next_call' AND value < $1")
                    .and_then(|mut s| s.execute([put_u64(highest.saturating_add(1))]))
                    .map_err(DbError::sql("writing the next call's number"))?;
            }
            tx.prepare_cached("UPDATE journal_position SET segment = $1, byte_offset = $2 WHERE id = 1")
                .and_then(|mut s| s.execute([put_u64(position.segment), put_u64(position.offset)]))
                .map_err(DbError::sql("writing the journal's position"))?;
            Ok(calls)
        })
    }

    fn insert(&self, tx: &Transaction<'_>, cdr: &Cdr) -> Result<u64, DbError> {
        let sealed = Sealed {
            caller: cdr.caller.reveal().clone(),
            caller_name: cdr.caller_name.reveal().clone(),
            callee: cdr.callee.reveal().clone(),
            source: cdr.source,
            reason: cdr.reason.clone(),
            trunks: cdr.trunks.clone(),
            more: cdr.more.clone(),
        };
        let sealed = serde_json::to_vec(&sealed).expect("strings and an address are JSON");
        let inserted = tx
            .prepare_cached(
                "INSERT INTO cdr (call_id, tenant_id, profile, context, from_extension, to_extension, caller_index, \
                 callee_index, started_ms, ringing_ms, answered_ms, ended_ms, status, cause, rule, sealed) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
                 ON CONFLICT (call_id) DO NOTHING",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    put_u64(cdr.call.0),
                    cdr.tenant.0,
                    cdr.profile,
                    cdr.context,
                    cdr.from_extension.map(|e| e.0),
                    cdr.to_extension.map(|e| e.0),
                    self.keys.blind_index(cdr.tenant, cdr.caller.reveal()),
                    self.keys.blind_index(cdr.tenant, cdr.callee.reveal()),
                    put_u64(cdr.started.0),
                    cdr.ringing.map(|t| put_u64(t.0)),
                    cdr.answered.map(|t| put_u64(t.0)),
                    cdr.ended.map(|t| put_u64(t.0)),
                    cdr.status,
                    cdr.cause.map(word),
                    cdr.rule,
                    self.keys.seal(Purpose::Pii, &place(cdr.call), &sealed),
                ])
            })
            .map_err(DbError::sql("writing a call record"))?;
        if inserted > 0 && !cdr.quality.is_empty() {
            insert_quality(tx, cdr.call, &cdr.quality)?;
        }
        Ok(inserted as u64)
    }

    /// The records that match, newest first.
    ///
    /// # Errors
    /// The database's word, or a record that does not open with this key.
    pub fn list(&self, filter: &CdrFilter) -> Result<Vec<Cdr>, CdrError> {
        self.db.read(|c| {
            let (sql, values) = self.query(c, filter)?;
            let failed = DbError::sql("reading call records");
            let mut statement = c.prepare(&sql).map_err(&failed)?;
            let mut rows = statement.query(params_from_iter(values)).map_err(&failed)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next().map_err(&failed)? {
                found.push(self.read_row(row)?);
            }
            let mut quality = c
                .prepare(
                    "SELECT sender, kind, packets, bytes, lost, jitter_ms, rtt_ms, mos, drops FROM cdr_quality \
                     WHERE call_id = $1 ORDER BY position",
                )
                .map_err(&failed)?;
            for cdr in &mut found {
                let rows = quality.query_map([put_u64(cdr.call.0)], read_quality).map_err(&failed)?;
                cdr.quality = rows.collect::<Result<_, _>>().map_err(&failed)?;
                cdr.cost = spent::of_call(c, cdr.call)?;
            }
            Ok(found)
        })
    }

    /// The statement and its values, `$1` first.
    fn query(&self, connection: &Connection, filter: &CdrFilter) -> Result<(String, Vec<Value>), DbError> {
        let mut values: Vec<Value> = Vec::new();
        let mut wheres: Vec<String> = Vec::new();
        let mut put = |value: Value| {
            values.push(value);
            format!("${}", values.len())
        };
        if let Some(tenant) = filter.tenant {
            wheres.push(format!("tenant_id = {}", put(Value::Integer(tenant.0.into()))));
        }
        if let Some(number) = &filter.number {
            let mut places = Vec::new();
            for tenant in tenants(connection, filter.tenant)? {
                places.push(put(Value::Blob(self.keys.blind_index(tenant, number).to_vec())));
            }
            let places = places.join(", ");
            wheres.push(format!("(caller_index IN ({places}) OR callee_index IN ({places}))"));
        }
        if let Some(extension) = filter.extension {
            let place = put(Value::Integer(extension.0.into()));
            wheres.push(format!("(from_extension = {place} OR to_extension = {place})"));
        }
        if let Some(since) = filter.since {
            wheres.push(format!("started_ms >= {}", put(Value::Integer(put_u64(since.0)))));
        }
        if let Some(until) = filter.until {
            wheres.push(format!("started_ms < {}", put(Value::Integer(put_u64(until.0)))));
        }
        let wheres = if wheres.is_empty() { String::new() } else { format!("WHERE {} ", wheres.join(" AND ")) };
        let limit = put(Value::Integer(filter.limit.into()));
        let sql = format!(
            "SELECT call_id, tenant_id, profile, context, from_extension, to_extension, started_ms, ringing_ms, \
             answered_ms, ended_ms, status, cause, rule, sealed FROM cdr {wheres}\
             ORDER BY started_ms DESC, call_id DESC LIMIT {limit}"
        );
        Ok((sql, values))
    }

    fn read_row(&self, row: &Row<'_>) -> Result<Cdr, DbError> {
        let failed = DbError::sql("reading a call record");
        let call = CallId(get_u64(row, 0).map_err(&failed)?);
        let damaged = || DbError::Damaged { place: place(call), expected: "a call record sealed with this key" };
        let sealed = row.get_ref(13).map_err(&failed)?.as_blob().map_err(|_| damaged())?;
        let sealed = self.keys.open(Purpose::Pii, &place(call), sealed).map_err(|_| damaged())?;
        let sealed: Sealed = serde_json::from_slice(&sealed).map_err(|_| damaged())?;
        let cause: Option<String> = row.get(11).map_err(&failed)?;
        let time = |at: usize| -> rusqlite::Result<Option<UnixMillis>> {
            Ok(row.get::<_, Option<i64>>(at)?.map(|t| UnixMillis(t.cast_unsigned())))
        };
        let read = || -> rusqlite::Result<Cdr> {
            Ok(Cdr {
                call,
                tenant: TenantId(row.get(1)?),
                profile: row.get(2)?,
                context: row.get(3)?,
                caller: Pii::new(sealed.caller),
                caller_name: Pii::new(sealed.caller_name),
                callee: Pii::new(sealed.callee),
                from_extension: row.get::<_, Option<u32>>(4)?.map(ExtensionId),
                to_extension: row.get::<_, Option<u32>>(5)?.map(ExtensionId),
                source: sealed.source,
                started: time(6)?.unwrap_or_default(),
                ringing: time(7)?,
                answered: time(8)?,
                ended: time(9)?,
                status: row.get(10)?,
                cause: cause.as_deref().and_then(from_word),
                reason: sealed.reason,
                rule: row.get(12)?,
                quality: Vec::new(),
                trunks: sealed.trunks,
                more: sealed.more,
                cost: None,
            })
        };
        read().map_err(&failed)
    }
}

/// Ended calls, quality and entries of blacklists up to a batch; `true` where the file has no more.
fn collect(reader: &mut SegmentReader) -> (Vec<JournalRecord>, bool) {
    let (mut batch, mut entries) = (Vec::new(), 0);
    while batch.len() < BATCH && entries < ENTRIES {
        match reader.step() {
            Step::Frame(
                kind @ (FrameKind::CallEnded
                | FrameKind::CallEndedOutside
                | FrameKind::CallEndedMore
                | FrameKind::CallQuality
                | FrameKind::Spent),
            ) => batch.extend(reader.open_record(kind)),
            Step::Frame(kind @ FrameKind::Blacklist) => {
                if let Some(JournalRecord::Blacklist(changes)) = reader.open_record(kind) {
                    entries += changes.len();
                    batch.push(JournalRecord::Blacklist(changes));
                }
            }
            Step::Frame(
                FrameKind::Bound
                | FrameKind::BoundInstance
                | FrameKind::BoundProven
                | FrameKind::Unbound
                | FrameKind::CallStarted
                | FrameKind::CallStartedMore
                | FrameKind::NextCall
                | FrameKind::Guard,
            )
            | Step::Unknown => {}
            Step::End => return (batch, true),
        }
    }
    (batch, false)
}

/// Replaces what an earlier report of the call said.
fn insert_quality(tx: &Transaction<'_>, call: CallId, directions: &[MediaQuality]) -> Result<(), DbError> {
    let failed = DbError::sql("writing call quality");
    for (position, quality) in (0i64..).zip(directions) {
        let drops = serde_json::to_string(&quality.drops).expect("pairs of strings and numbers are JSON");
        tx.prepare_cached(
            "INSERT INTO cdr_quality (call_id, position, sender, kind, packets, bytes, lost, jitter_ms, rtt_ms, mos, \
             drops) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (call_id, position) DO UPDATE \
             SET sender = excluded.sender, kind = excluded.kind, packets = excluded.packets, bytes = excluded.bytes, \
             lost = excluded.lost, jitter_ms = excluded.jitter_ms, rtt_ms = excluded.rtt_ms, mos = excluded.mos, \
             drops = excluded.drops",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                put_u64(call.0),
                position,
                quality.from,
                quality.kind,
                put_u64(quality.packets),
                put_u64(quality.bytes),
                put_u64(quality.lost),
                f64::from(quality.jitter_ms),
                quality.rtt_ms.map(f64::from),
                quality.mos.map(f64::from),
                drops,
            ])
        })
        .map_err(&failed)?;
    }
    Ok(())
}

fn read_quality(row: &Row<'_>) -> rusqlite::Result<MediaQuality> {
    let drops: String = row.get(8)?;
    Ok(MediaQuality {
        from: row.get(0)?,
        kind: row.get(1)?,
        packets: get_u64(row, 2)?,
        bytes: get_u64(row, 3)?,
        lost: get_u64(row, 4)?,
        jitter_ms: row.get::<_, f64>(5)? as f32,
        rtt_ms: row.get::<_, Option<f64>>(6)?.map(|v| v as f32),
        mos: row.get::<_, Option<f64>>(7)?.map(|v| v as f32),
        drops: serde_json::from_str(&drops).unwrap_or_default(),
    })
}

/// The tenants that a number may belong to: the one asked for, or all that there are or were.
fn tenants(connection: &Connection, asked: Option<TenantId>) -> Result<Vec<TenantId>, DbError> {
    if let Some(tenant) = asked {
        return Ok(vec![tenant]);
    }
    let failed = DbError::sql("reading the tenants");
    let mut statement = connection
        .prepare("SELECT id FROM tenant UNION SELECT object_id FROM history WHERE kind = 'tenant'")
        .map_err(&failed)?;
    let rows = statement.query_map([], |r| Ok(TenantId(r.get(0)?))).map_err(&failed)?;
    rows.collect::<Result<_, _>>().map_err(&failed)
}

fn place(call: CallId) -> String {
    format!("cdr/{call}")
}

/// Databases have signed integers: the bits are kept, and real values are far below the sign.
fn put_u64(value: u64) -> i64 {
    value.cast_signed()
}

fn get_u64(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(i64::cast_unsigned)
}

/// The serde name of a unit variant.
pub(crate) fn word<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => unreachable!("only enums of unit variants are stored as words"),
    }
}

pub(crate) fn from_word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}
