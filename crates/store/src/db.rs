//! The embedded database: opening, migrations, transactions. Nothing outside this crate sees SQL, and no statement
//! here or in the modules above is SQLite's alone, so that PostgreSQL can take its place (docs/adr/0002).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use thiserror::Error;

use crate::keys::{Keys, hex};

/// Each file once, in order; its place in the list is the schema version it leads to.
pub(crate) const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_site", include_str!("../migrations/0001_site.sql")),
    ("0002_cdr", include_str!("../migrations/0002_cdr.sql")),
    ("0003_lines", include_str!("../migrations/0003_lines.sql")),
    ("0004_blacklist", include_str!("../migrations/0004_blacklist.sql")),
    ("0005_spending", include_str!("../migrations/0005_spending.sql")),
    ("0006_spent_by_currency", include_str!("../migrations/0006_spent_by_currency.sql")),
    ("0007_voicemail", include_str!("../migrations/0007_voicemail.sql")),
];

/// What went wrong in the database. All but `Newer` and `OtherKey` are the machine's (disk, permissions, damage).
#[derive(Debug, Error)]
pub enum DbError {
    #[error("database {path}: making or opening the file failed: {source}")]
    Create { path: PathBuf, source: io::Error },
    #[error("database {path}: opening it failed: {source}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error(
        "database {path}: expected schema version {known} or older, got {found}: it was written by a newer ringfort; \
         run that version, or restore the backup made before the upgrade"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("database {path}: migration {name} failed and was undone: {source}")]
    Migration { path: PathBuf, name: &'static str, source: rusqlite::Error },
    #[error(
        "database {path}: expected the key file it was made with (fingerprint {expected}), got another one ({got}); \
         put the right ringfort.key back from your backup"
    )]
    OtherKey { path: PathBuf, expected: String, got: String },
    #[error("database: {doing} failed: {source}")]
    Sql { doing: &'static str, source: rusqlite::Error },
    #[error("database: {place} does not hold what it should ({expected}); restore it from a backup")]
    Damaged { place: String, expected: &'static str },
}

impl DbError {
    /// For `map_err`: what was being done, in words that follow "database: " and precede " failed".
    pub(crate) fn sql(doing: &'static str) -> impl Fn(rusqlite::Error) -> DbError {
        move |source| DbError::Sql { doing, source }
    }
}

/// One writing connection and one for reading, so that a long search does not hold up a write.
///
/// WAL with `synchronous = FULL`: a transaction that was reported done survives a power cut. There are few of them
/// (an apply, a batch of call records a second), so the cost of a flush to disk each does not matter.
#[derive(Debug)]
pub struct Db {
    path: PathBuf,
    // Dropped in this order: only the last connection to close empties the write-ahead log, and only if it may write.
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
}

impl Db {
    /// Opens or makes the database and brings its schema up to date.
    ///
    /// # Errors
    /// [`DbError`]: a schema from a newer version, another key than the one it was made with, or SQLite's word.
    pub fn open(path: &Path, keys: &Keys) -> Result<Self, DbError> {
        let open = |source| DbError::Open { path: path.to_owned(), source };
        // SQLite gives its side files the mode of the database.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| DbError::Create { path: path.to_owned(), source })?;
        let mut writer = Connection::open(path).map_err(open)?;
        prepare(&writer).map_err(open)?;
        migrate(&mut writer, path, MIGRATIONS)?;
        check_key(&mut writer, path, keys)?;
        let reader =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(open)?;
        reader.busy_timeout(BUSY).map_err(open)?;
        Ok(Self { path: path.to_owned(), writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `f` in one transaction that is wholly done or not at all: an error of `f` undoes it.
    ///
    /// # Errors
    /// Those of `f`, and SQLite's on begin and commit.
    pub(crate) fn write<T, E: From<DbError>>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut connection = lock(&self.writer);
        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(DbError::sql("beginning a transaction"))?;
        let value = f(&tx)?;
        tx.commit().map_err(DbError::sql("committing a transaction"))?;
        Ok(value)
    }

    /// Moves the write-ahead log into the database and empties it, so that the next start need not read it.
    ///
    /// # Errors
    /// SQLite's word. Nothing is lost by it.
    pub(crate) fn checkpoint(&self) -> Result<(), DbError> {
        lock(&self.writer)
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(DbError::sql("emptying the write-ahead log"))
    }

    /// Runs `f` on the reading connection.
    ///
    /// # Errors
    /// Those of `f`.
    pub(crate) fn read<T, E: From<DbError>>(&self, f: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        f(&lock(&self.reader))
    }
}

/// Another process (a backup, `sqlite3`) may hold the database for a moment.
const BUSY: Duration = Duration::from_secs(5);

/// A transaction that panicked was undone by its drop, so that the connection is still good.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 16777216;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Takes the schema through those of the migrations that it has not had.
pub(crate) fn migrate(
    connection: &mut Connection,
    path: &Path,
    migrations: &[(&'static str, &'static str)],
) -> Result<(), DbError> {
    let sql = DbError::sql("reading the schema version");
    let known = migrations.len() as i64;
    let exists: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master WHERE name = 'schema_version'", [], |r| r.get(0))
        .map_err(&sql)?;
    let found: i64 = match exists {
        0 => 0,
        _ => connection.query_row("SELECT version FROM schema_version", [], |r| r.get(0)).map_err(&sql)?,
    };
    if found > known {
        return Err(DbError::Newer { path: path.to_owned(), found, known });
    }
    for (version, (name, text)) in (1..).zip(migrations).skip(usize::try_from(found).unwrap_or(0)) {
        let failed = |source| DbError::Migration { path: path.to_owned(), name, source };
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        if version == 1 {
            tx.execute_batch("CREATE TABLE schema_version (version BIGINT NOT NULL)").map_err(failed)?;
            tx.execute("INSERT INTO schema_version (version) VALUES (0)", []).map_err(failed)?;
        }
        tx.execute_batch(text).map_err(failed)?;
        tx.execute("UPDATE schema_version SET version = $1", [version]).map_err(failed)?;
        tx.commit().map_err(failed)?;
    }
    Ok(())
}

fn check_key(connection: &mut Connection, path: &Path, keys: &Keys) -> Result<(), DbError> {
    let sql = DbError::sql("reading the key's fingerprint");
    let got = hex(&keys.fingerprint());
    connection
        .execute("INSERT INTO meta (name, value) VALUES ('key_fingerprint', $1) ON CONFLICT (name) DO NOTHING", [&got])
        .map_err(&sql)?;
    let expected: String = connection
        .query_row("SELECT value FROM meta WHERE name = 'key_fingerprint'", [], |r| r.get(0))
        .map_err(&sql)?;
    if expected != got {
        return Err(DbError::OtherKey { path: path.to_owned(), expected, got });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::derive(&[7; 32])
    }

    #[test]
    fn a_schema_from_a_newer_version_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringfort.db");
        let db = Db::open(&path, &keys()).unwrap();
        db.write(|tx| -> Result<_, DbError> { Ok(tx.execute("UPDATE schema_version SET version = 99", []).unwrap()) })
            .unwrap();
        drop(db);
        let error = Db::open(&path, &keys()).unwrap_err();
        assert!(matches!(error, DbError::Newer { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("newer ringfort"), "{error}");
    }

    #[test]
    fn a_migration_that_fails_leaves_the_schema_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let mut connection = Connection::open(&path).unwrap();
        let good = ("one", "CREATE TABLE a (x BIGINT)");
        migrate(&mut connection, &path, &[good]).unwrap();
        let error = migrate(&mut connection, &path, &[good, ("two", "CREATE TABLE b (x BIGINT); nonsense")]);
        assert!(matches!(error, Err(DbError::Migration { name: "two", .. })));
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_master WHERE name = 'b'", [], |r| r.get(0)).unwrap();
        assert_eq!(tables, 0);
        migrate(&mut connection, &path, &[good, ("two", "CREATE TABLE b (x BIGINT)")]).unwrap();
        migrate(&mut connection, &path, &[good, ("two", "CREATE TABLE b (x BIGINT)")]).unwrap();
    }

    #[test]
    fn a_database_opens_only_with_the_key_file_it_was_made_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringfort.db");
        drop(Db::open(&path, &keys()).unwrap());
        drop(Db::open(&path, &keys()).unwrap());
        let error = Db::open(&path, &Keys::derive(&[8; 32])).unwrap_err();
        assert!(matches!(error, DbError::OtherKey { .. }), "{error}");
    }

    #[test]
    fn an_orderly_end_leaves_no_write_ahead_log_to_be_read_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringfort.db");
        let log = || std::fs::metadata(dir.path().join("ringfort.db-wal")).map_or(0, |m| m.len());
        let db = Db::open(&path, &keys()).unwrap();
        assert!(log() > 0);
        db.checkpoint().unwrap();
        assert_eq!(log(), 0);
        db.write(|tx| -> Result<_, DbError> {
            Ok(tx.execute("UPDATE schema_version SET version = version + 1", []).unwrap())
        })
        .unwrap();
        assert!(log() > 0);
        drop(db);
        assert_eq!(log(), 0);
    }

    #[test]
    fn the_database_is_in_wal_mode_and_checks_foreign_keys() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("ringfort.db"), &keys()).unwrap();
        let (mode, sync, foreign): (String, i64, i64) = db
            .write(|tx| -> Result<_, DbError> {
                let get = |p: &str| tx.query_row(&format!("PRAGMA {p}"), [], |r| r.get::<_, i64>(0)).unwrap();
                let mode = tx.query_row("PRAGMA journal_mode", [], |r| r.get(0)).unwrap();
                Ok((mode, get("synchronous"), get("foreign_keys")))
            })
            .unwrap();
        assert_eq!((mode.as_str(), sync, foreign), ("wal", 2, 1));
        let orphan = db.write(|tx| -> Result<_, DbError> {
            tx.execute("INSERT INTO history VALUES ('extension', 1, 5, NULL)", []).map_err(DbError::sql("x"))
        });
        assert!(orphan.is_err());
    }
}
