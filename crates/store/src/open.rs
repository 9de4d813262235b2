//! Everything of a data folder, opened in the right order.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use ringfort_switch::model::CallId;
use ringfort_switch::record::{SpentTotal, UnixMillis};
use ringfort_switch::route::hours;
use thiserror::Error;

use crate::blacklist::BlacklistStore;
use crate::cdr::{CdrError, CdrStore};
use crate::datadir::{DataDir, DataDirError};
use crate::db::{Db, DbError};
use crate::journal::{JournalError, JournalOptions, JournalRead, JournalWriter, Recovered};
use crate::keys::{KEY_LEN, KeyError, Keys};
use crate::maintenance::Maintenance;
use crate::service::{Service, ServiceError};
use crate::voicemail::VoicemailStore;

/// Why a data folder could not be opened.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Cdr(#[from] CdrError),
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// How a data folder is opened.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// `domains` of the node's configuration: the default tenant's where the site names none.
    pub default_domains: Vec<String>,
    pub journal: JournalOptions,
}

/// An open data folder, this process's until it is dropped.
#[derive(Debug)]
pub struct Store {
    pub service: Arc<Service>,
    pub cdrs: Arc<CdrStore>,
    pub blacklists: Arc<BlacklistStore>,
    pub voicemail: Arc<VoicemailStore>,
    keys: Arc<Keys>,
    options: StoreOptions,
    db: Arc<Db>,
    dir: DataDir,
}

impl Store {
    /// Opens the folder, its key file and database; makes what is not there yet. `seed` comes from the operating
    /// system's generator.
    ///
    /// # Errors
    /// [`StoreError`], in words for the operator.
    pub fn open(path: &Path, options: StoreOptions, seed: [u8; 32]) -> Result<Self, StoreError> {
        let (dir, keys) = enter(path)?;
        Self::open_database(dir, keys, options, seed)
    }

    /// What a process that runs begins with: [`Store::open`] and [`Store::open_journal`], the journal and the database
    /// read side by side.
    ///
    /// # Errors
    /// [`StoreError`], in words for the operator.
    pub fn open_to_run(
        path: &Path,
        options: StoreOptions,
        seed: [u8; 32],
        now: UnixMillis,
    ) -> Result<(Self, JournalWriter, Recovered, Maintenance), StoreError> {
        let (dir, keys) = enter(path)?;
        let journal = dir.journal();
        let (store, read) = thread::scope(|scope| {
            let read = || JournalRead::read(&journal, &keys);
            let reader = thread::Builder::new().name("journal".to_owned()).spawn_scoped(scope, read);
            let store = Self::open_database(dir, Arc::clone(&keys), options, seed);
            let read = match reader {
                Ok(reader) => reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // The system has no thread to give: one after the other.
                Err(_) => read(),
            };
            (store, read)
        });
        let store = store?;
        let (writer, recovered, maintenance) = store.begin_journal(read?, now)?;
        Ok((store, writer, recovered, maintenance))
    }

    fn open_database(dir: DataDir, keys: Arc<Keys>, options: StoreOptions, seed: [u8; 32]) -> Result<Self, StoreError> {
        let db = Arc::new(Db::open(&dir.database(), &keys)?);
        let cdrs = Arc::new(CdrStore::new(Arc::clone(&db), Arc::clone(&keys)));
        let blacklists = Arc::new(BlacklistStore::new(Arc::clone(&db), Arc::clone(&keys)));
        let voicemail = Arc::new(VoicemailStore::new(Arc::clone(&db), Arc::clone(&keys), dir.voicemail()));
        let service =
            Arc::new(Service::open(Arc::clone(&db), Arc::clone(&keys), options.default_domains.clone(), seed)?);
        Ok(Self { service, cdrs, blacklists, voicemail, keys, options, db, dir })
    }

    /// Opens the journal: what outlived the last process, the writer for the shard thread, and the background work to
    /// be spawned. Call it once. Calls that were cut off get their end written (`EndCause::Crash`, at `now`), and
    /// `Recovered::next_call` is higher than any call of journal and database.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_journal(&self, now: UnixMillis) -> Result<(JournalWriter, Recovered, Maintenance), StoreError> {
        let read = JournalRead::read(&self.dir.journal(), &self.keys)?;
        self.begin_journal(read, now)
    }

    fn begin_journal(
        &self,
        read: JournalRead,
        now: UnixMillis,
    ) -> Result<(JournalWriter, Recovered, Maintenance), StoreError> {
        let dir = self.dir.journal();
        let after = self.cdrs.position()?.segment;
        let keys = Arc::clone(&self.keys);
        let (writer, mut recovered) = JournalWriter::begin(&dir, keys, self.options.journal, read, after, now)?;
        let CallId(next) = self.cdrs.next_call()?;
        recovered.next_call = recovered.next_call.max(CallId(next));
        // What the journal says comes after: it may repeat what the database has, and its last word holds.
        let mut blacklist = self.blacklists.load(now.0 / 1000)?;
        blacklist.append(&mut recovered.blacklist);
        recovered.blacklist = blacklist;
        let maintenance = Maintenance::new(
            dir,
            Arc::clone(&self.keys),
            Arc::clone(&self.cdrs),
            Arc::clone(&self.blacklists),
            self.options.journal,
        );
        Ok((writer, recovered, maintenance))
    }

    /// What was spent before this process began, for the limits of spending: of this month and of the one before, wherever in
    /// the world a tenant's calendar stands.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn spent(&self, now: UnixMillis) -> Result<Vec<SpentTotal>, StoreError> {
        const FORTY_DAYS: u64 = 40 * 86_400;
        let day = hours::utc_day((now.0 / 1000).saturating_sub(FORTY_DAYS));
        Ok(self.cdrs.spent(&self.dir.journal(), day)?)
    }

    /// The last thing before the process ends: leaves the database so that the next start has little to read. Needed
    /// where other threads still hold parts of the store; where nobody does, dropping it is enough.
    pub fn finish(&self) {
        if let Err(error) = self.db.checkpoint() {
            tracing::warn!(%error, "the next start takes a little longer");
        }
    }

    /// A key for something outside the store, from the key file: the same for the same name at every start.
    pub fn derived_key(&self, name: &str) -> [u8; KEY_LEN] {
        self.keys.named(name)
    }

    pub fn dir(&self) -> &DataDir {
        &self.dir
    }
}

/// Takes the folder and reads its key file.
fn enter(path: &Path) -> Result<(DataDir, Arc<Keys>), StoreError> {
    let dir = DataDir::open(path)?;
    let database = dir.database();
    let has_data = database.exists() || dir.journal().exists();
    let because = has_data.then(|| format!("{} or journal", database.display()));
    let keys = Arc::new(Keys::load_or_create(&dir.key_file(), because.as_deref())?);
    Ok((dir, keys))
}
