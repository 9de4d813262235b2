//! What the administrator manages as text and as change: the `site.toml` file, the plan of what it would change, and
//! the rows it is kept in. All of it is values in, values out; `service` does it in transactions.

pub mod edit;
pub mod export;
mod file;
mod line;
mod line_resolve;
mod line_rows;
mod plan;
pub mod rates;
mod resolve;
pub(crate) mod rows;
#[cfg(test)]
mod upgrade_tests;

use std::fmt;

use ringfort_switch::model::{Secret, SrtpPolicy};

pub use file::parse;
pub use line::{RawLine, Val, Values};
pub use plan::{Action, Change, FieldChange, ObjectKind, Plan};

pub(crate) use line::Lines;
pub(crate) use plan::{Target, compare};
pub(crate) use resolve::{Absent, Counters, Resolver};

/// The tenant that is always there and that an extension belongs to where nothing else is said.
pub const DEFAULT_TENANT: &str = "default";

/// A place in a file, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// A value and where it was written; nowhere for one that did not come from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    pub value: T,
    pub at: Option<Position>,
}

impl<T> Located<T> {
    pub fn new(value: T) -> Self {
        Self { value, at: None }
    }
}

/// A site file after its shape was checked: known keys, right types. `None` for a kind of object that the file does
/// not speak of at all: it is then left alone, with `--prune` too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawSite {
    /// For messages.
    pub file: String,
    pub tenants: Option<Vec<RawTenant>>,
    pub extensions: Option<Vec<RawExtension>>,
    pub trunks: Option<Vec<RawLine>>,
    /// Outbound, in their order.
    pub routes: Option<Vec<RawLine>>,
    /// In their order.
    pub inbound: Option<Vec<RawLine>>,
    pub aliases: Option<Vec<RawLine>>,
}

/// `[[tenant]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTenant {
    pub name: Located<String>,
    pub domains: Option<Vec<Located<String>>>,
    /// `country` and what else it says about numbers.
    pub values: Values,
}

/// `[[extension]]`. What is absent takes its default, but a user name or password that is absent is kept, or
/// generated for a new extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawExtension {
    pub number: Located<String>,
    pub tenant: Option<Located<String>>,
    pub name: Option<Located<String>>,
    pub sip_user: Option<Located<String>>,
    pub sip_password: Option<Located<Secret>>,
    pub srtp: Option<Located<SrtpPolicy>>,
    pub max_calls: Option<Located<u32>>,
    pub max_contacts: Option<Located<u32>>,
    pub enabled: Option<Located<bool>>,
    /// What it may do beyond the house; `None`: nothing is said, and what is there stays.
    pub calling: Option<Values>,
}

impl RawExtension {
    /// Nothing but its number.
    pub fn new(number: impl Into<String>) -> Self {
        Self {
            number: Located::new(number.into()),
            tenant: None,
            name: None,
            sip_user: None,
            sip_password: None,
            srtp: None,
            max_calls: None,
            max_contacts: None,
            enabled: None,
            calling: None,
        }
    }
}

/// One thing wrong with a site file or with a change asked for by hand. All of these are the administrator's to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteError {
    pub at: Option<Position>,
    /// The key as one would write it: `extension "101": sip_password`.
    pub key: String,
    pub expected: String,
    /// Never a secret.
    pub got: String,
    /// What to do.
    pub help: String,
}

/// Everything wrong that could be found at once, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteErrors {
    pub file: String,
    pub errors: Vec<SiteError>,
}

impl SiteErrors {
    pub(crate) fn check(file: &str, mut errors: Vec<SiteError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by_key(|e| e.at);
        Err(Self { file: file.to_owned(), errors })
    }
}

/// One line each: `site.toml:12:16: extension "101": sip_password: expected …, got …; …`.
impl fmt::Display for SiteErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            if let Some(at) = error.at {
                write!(f, "{}:{}:{}: ", self.file, at.line, at.column)?;
            }
            if !error.key.is_empty() {
                write!(f, "{}: ", error.key)?;
            }
            write!(f, "expected {}, got {}; {}", error.expected, error.got, error.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for SiteErrors {}
