//! Voicemail: what is known of a message in the database, its sound in a file of its own beside it, both sealed by the key
//! file. A file is whole before its row is there, and its row is gone before the file is: what a kill leaves is a file
//! without a row, which the next start deletes.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringfort_switch::model::{CallId, ExtensionId, Pii, TenantId};
use ringfort_switch::record::UnixMillis;
use ringfort_switch::voicemail::{MailboxUse, MessageId};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use thiserror::Error;

use crate::db::{Db, DbError};
use crate::keys::{Keys, Purpose, sync_parent};

/// How the names of the files end.
const SEALED: &str = "sealed";

/// Why a message cannot be kept, read or deleted.
#[derive(Debug, Error)]
pub enum VoicemailError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("voicemail file {path}: {doing} failed: {source}")]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error(
        "voicemail file {path}: expected a sound that was sealed with this key, got something else; restore it from a backup"
    )]
    Damaged { path: PathBuf },
}

/// A message that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    pub tenant: TenantId,
    pub mailbox: ExtensionId,
    pub call: CallId,
    /// The caller's number; empty where he has none.
    pub from: Pii<String>,
    pub at: UnixMillis,
    pub length: Duration,
}

/// A message that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    pub id: MessageId,
    pub message: NewMessage,
    /// Of its file.
    pub octets: u64,
    pub heard: bool,
}

/// Which messages are listed. Default: all.
#[derive(Clone, Debug, Default)]
pub struct VoicemailFilter {
    pub mailbox: Option<ExtensionId>,
    /// The whole number of the caller, in any spelling.
    pub from: Option<String>,
}

/// All messages.
#[derive(Debug)]
pub struct VoicemailStore {
    db: Arc<Db>,
    keys: Arc<Keys>,
    dir: PathBuf,
}

impl VoicemailStore {
    pub(crate) fn new(db: Arc<Db>, keys: Arc<Keys>, dir: PathBuf) -> Self {
        Self { db, keys, dir }
    }

    /// Keeps a message; `sound` is a WAV file.
    ///
    /// # Errors
    /// The disk's or the database's word. Nothing of it is left then.
    pub fn add(&self, message: NewMessage, sound: &[u8]) -> Result<StoredMessage, VoicemailError> {
        let failed = DbError::sql("writing a message");
        let id: i64 = self.db.write(|tx| {
            tx.execute("UPDATE counter SET value = value + 1 WHERE name = 'next_voicemail'", []).map_err(&failed)?;
            tx.query_row("SELECT value - 1 FROM counter WHERE name = 'next_voicemail'", [], |r| r.get(0))
                .map_err(&failed)
        })?;
        let id = MessageId(id.cast_unsigned());
        let sealed = self.keys.seal(Purpose::Voicemail, &place(id, "sound"), sound);
        let stored = StoredMessage { id, message, octets: sealed.len() as u64, heard: false };
        let path = self.path(id);
        let written = self.write(&path, &sealed).and_then(|()| self.insert(&stored).map_err(VoicemailError::from));
        if let Err(error) = written {
            // What cannot be removed either is removed by the next start.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(stored)
    }

    fn write(&self, path: &Path, sealed: &[u8]) -> Result<(), VoicemailError> {
        let failed = |doing| move |source| VoicemailError::Io { path: path.to_owned(), doing, source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed("making its folder"))?;
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed("making it"))?;
        file.write_all(sealed).and_then(|()| file.sync_all()).map_err(failed("writing it"))?;
        sync_parent(path).map_err(failed("making it durable"))
    }

    fn insert(&self, stored: &StoredMessage) -> Result<(), DbError> {
        let StoredMessage { id, message, octets, heard } = stored;
        let from = message.from.reveal();
        self.db.write(|tx| {
            tx.execute(
                "INSERT INTO voicemail (id, tenant_id, extension_id, call_id, from_index, received_ms, length_ms, \
                 octets, heard, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                params![
                    put(id.0),
                    message.tenant.0,
                    message.mailbox.0,
                    put(message.call.0),
                    self.keys.blind_index(message.tenant, from),
                    put(message.at.0),
                    put(u64::try_from(message.length.as_millis()).unwrap_or(u64::MAX)),
                    put(*octets),
                    i64::from(*heard),
                    self.keys.seal(Purpose::Pii, &place(*id, "from"), from.as_bytes()),
                ],
            )
            .map(drop)
            .map_err(DbError::sql("writing a message"))
        })
    }

    /// The messages that match, the newest first.
    ///
    /// # Errors
    /// The database's word, or a row that does not open with this key.
    pub fn list(&self, filter: &VoicemailFilter) -> Result<Vec<StoredMessage>, VoicemailError> {
        let failed = DbError::sql("reading messages");
        self.db.read(|c| {
            let (mut wheres, mut values) = (Vec::new(), Vec::new());
            if let Some(mailbox) = filter.mailbox {
                values.push(Value::Integer(mailbox.0.into()));
                wheres.push(format!("extension_id = ${}", values.len()));
            }
            if let Some(from) = &filter.from {
                let mut places = Vec::new();
                for tenant in tenants(c)? {
                    values.push(Value::Blob(self.keys.blind_index(tenant, from).to_vec()));
                    places.push(format!("${}", values.len()));
                }
                wheres.push(format!("from_index IN ({})", places.join(", ")));
            }
            let mut sql = format!("SELECT {COLUMNS} FROM voicemail");
            if !wheres.is_empty() {
                sql.push_str(" WHERE ");
                sql.push_str(&wheres.join(" AND "));
            }
            sql.push_str(" ORDER BY id DESC");
            let mut statement = c.prepare(&sql).map_err(&failed)?;
            let mut rows = statement.query(params_from_iter(values)).map_err(&failed)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next().map_err(&failed)? {
                found.push(self.read(row)?);
            }
            Ok(found)
        })
    }

    /// The message with this id.
    ///
    /// # Errors
    /// As [`VoicemailStore::list`].
    pub fn get(&self, id: MessageId) -> Result<Option<StoredMessage>, VoicemailError> {
        self.one("SELECT {} FROM voicemail WHERE id = $1", &[put(id.0)])
    }

    /// The newest message of a mailbox, or the newest that is older than `before`.
    ///
    /// # Errors
    /// As [`VoicemailStore::list`].
    pub fn newest(
        &self,
        mailbox: ExtensionId,
        before: Option<MessageId>,
    ) -> Result<Option<StoredMessage>, VoicemailError> {
        let before = before.map_or(i64::MAX, |id| put(id.0));
        let sql = "SELECT {} FROM voicemail WHERE extension_id = $1 AND id < $2 ORDER BY id DESC LIMIT 1";
        self.one(sql, &[mailbox.0.into(), before])
    }

    fn one(&self, sql: &str, values: &[i64]) -> Result<Option<StoredMessage>, VoicemailError> {
        let failed = DbError::sql("reading a message");
        self.db.read(|c| {
            let mut statement = c.prepare_cached(&sql.replace("{}", COLUMNS)).map_err(&failed)?;
            let mut rows = statement.query(params_from_iter(values)).map_err(&failed)?;
            match rows.next().map_err(&failed)? {
                Some(row) => Ok(Some(self.read(row)?)),
                None => Ok(None),
            }
        })
    }

    /// The WAV file of a message.
    ///
    /// # Errors
    /// There is none, or it does not open with this key.
    pub fn sound(&self, id: MessageId) -> Result<Vec<u8>, VoicemailError> {
        let path = self.path(id);
        let sealed = fs::read(&path);
        let sealed = sealed.map_err(|source| VoicemailError::Io { path: path.clone(), doing: "reading it", source })?;
        let opened = self.keys.open(Purpose::Voicemail, &place(id, "sound"), &sealed);
        opened.map_err(|_| VoicemailError::Damaged { path })
    }

    /// Marks a message as heard. `false`: there is none.
    ///
    /// # Errors
    /// The database's word.
    pub fn set_heard(&self, id: MessageId) -> Result<bool, VoicemailError> {
        self.db.write(|tx| {
            let changed = tx.execute("UPDATE voicemail SET heard = 1 WHERE id = $1", [put(id.0)]);
            Ok(changed.map_err(DbError::sql("marking a message"))? > 0)
        })
    }

    /// Deletes a message. `false`: there is none.
    ///
    /// # Errors
    /// The disk's or the database's word.
    pub fn delete(&self, id: MessageId) -> Result<bool, VoicemailError> {
        let failed = DbError::sql("deleting a message");
        let gone = self.db.write(|tx| -> Result<_, DbError> {
            Ok(tx.execute("DELETE FROM voicemail WHERE id = $1", [put(id.0)]).map_err(&failed)? > 0)
        })?;
        if gone {
            self.remove(&self.path(id))?;
        }
        Ok(gone)
    }

    /// Deletes what came before then. How many there were.
    ///
    /// # Errors
    /// As [`VoicemailStore::delete`]; what was deleted until then stays deleted.
    pub fn purge(&self, before: UnixMillis) -> Result<usize, VoicemailError> {
        let failed = DbError::sql("reading messages");
        let due: Vec<i64> = self.db.read(|c| -> Result<_, DbError> {
            let mut statement = c.prepare_cached("SELECT id FROM voicemail WHERE received_ms < $1").map_err(&failed)?;
            let rows = statement.query_map([put(before.0)], |row| row.get(0)).map_err(&failed)?;
            rows.collect::<Result<_, _>>().map_err(&failed)
        })?;
        for id in &due {
            self.delete(MessageId(id.cast_unsigned()))?;
        }
        Ok(due.len())
    }

    /// How full each mailbox is; empty ones are left out.
    ///
    /// # Errors
    /// The database's word.
    pub fn uses(&self) -> Result<Vec<MailboxUse>, VoicemailError> {
        let failed = DbError::sql("counting messages");
        self.db.read(|c| {
            let mut statement = c
                .prepare_cached(
                    "SELECT extension_id, count(*), sum(octets) FROM voicemail GROUP BY extension_id \
                     ORDER BY extension_id",
                )
                .map_err(&failed)?;
            let of = |row: &Row<'_>| {
                let (messages, octets): (i64, i64) = (row.get(1)?, row.get(2)?);
                let messages = u32::try_from(messages).unwrap_or(u32::MAX);
                Ok(MailboxUse { mailbox: ExtensionId(row.get(0)?), messages, octets: octets.cast_unsigned() })
            };
            let rows = statement.query_map([], of).map_err(&failed)?;
            Ok(rows.collect::<Result<_, _>>().map_err(&failed)?)
        })
    }

    /// Deletes files without a row: a process was killed between the two. To be called before anything is kept.
    ///
    /// # Errors
    /// The disk's or the database's word.
    pub fn sweep(&self) -> Result<usize, VoicemailError> {
        let failed = |source| VoicemailError::Io { path: self.dir.clone(), doing: "reading the folder", source };
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(failed(error)),
        };
        let mut swept = 0;
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let ours = path.extension().is_some_and(|end| end == SEALED);
            let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let Some(id) = id.filter(|_| ours)
                && !self.has_row(id)?
            {
                self.remove(&path)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn has_row(&self, id: u64) -> Result<bool, VoicemailError> {
        self.db.read(|c| {
            let found = c
                .query_row("SELECT 1 FROM voicemail WHERE id = $1", [put(id)], |_| Ok(()))
                .optional()
                .map_err(DbError::sql("reading a message"))?;
            Ok(found.is_some())
        })
    }

    fn remove(&self, path: &Path) -> Result<(), VoicemailError> {
        match fs::remove_file(path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(VoicemailError::Io { path: path.to_owned(), doing: "removing it", source }),
        }
    }

    fn path(&self, id: MessageId) -> PathBuf {
        self.dir.join(format!("{id}.{SEALED}"))
    }

    fn read(&self, row: &Row<'_>) -> Result<StoredMessage, DbError> {
        let failed = DbError::sql("reading a message");
        let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned).map_err(&failed);
        let id = MessageId(number(0)?);
        let place = place(id, "from");
        let damaged = || DbError::Damaged { place: place.clone(), expected: "a number sealed with this key" };
        let sealed: Vec<u8> = row.get(8).map_err(&failed)?;
        let from = self.keys.open(Purpose::Pii, &place, &sealed).map_err(|_| damaged())?;
        let from = String::from_utf8(from).map_err(|_| damaged())?;
        let message = NewMessage {
            tenant: TenantId(row.get(1).map_err(&failed)?),
            mailbox: ExtensionId(row.get(2).map_err(&failed)?),
            call: CallId(number(3)?),
            from: Pii::new(from),
            at: UnixMillis(number(4)?),
            length: Duration::from_millis(number(5)?),
        };
        Ok(StoredMessage { id, message, octets: number(6)?, heard: number(7)? != 0 })
    }
}

/// As [`VoicemailStore::read`] wants them.
const COLUMNS: &str = "id, tenant_id, extension_id, call_id, received_ms, length_ms, octets, heard, sealed";

fn tenants(connection: &Connection) -> Result<Vec<TenantId>, DbError> {
    let failed = DbError::sql("reading messages");
    let mut statement = connection.prepare_cached("SELECT DISTINCT tenant_id FROM voicemail").map_err(&failed)?;
    let rows = statement.query_map([], |row| row.get(0).map(TenantId)).map_err(&failed)?;
    rows.collect::<Result<_, _>>().map_err(&failed)
}

fn place(id: MessageId, what: &str) -> String {
    format!("voicemail/{id}/{what}")
}

fn put(value: u64) -> i64 {
    value.cast_signed()
}
