//! What outlives the process: the administrator's revisions and the call records in SQLite, registrations and calls
//! in progress in an append-only journal, all secrets and numbers encrypted by a key file. The only crate that knows
//! SQL. Called by the `ringfort` command (start, console) and by the shard thread (`journal::JournalWriter`).

pub mod blacklist;
pub mod cdr;
pub mod credentials;
pub mod datadir;
pub mod db;
pub mod journal;
pub mod keys;
pub mod maintenance;
pub mod service;
pub mod site;
pub mod voicemail;

mod open;
mod spent;

pub use blacklist::BlacklistStore;
pub use cdr::{CdrFilter, CdrItem, CdrStore};
pub use datadir::DataDir;
pub use journal::{JournalOptions, JournalWriter, Recovered};
pub use maintenance::{Maintenance, MaintenanceHandle};
pub use open::{Store, StoreError, StoreOptions};
pub use service::{Applied, ChangeNote, ExtensionFields, Gate, RatesFile, RevisionInfo, Service, ServiceError};
pub use site::{Action, Change, FieldChange, ObjectKind, Plan};
pub use site::{RawSite, SiteErrors};
pub use voicemail::VoicemailStore;
