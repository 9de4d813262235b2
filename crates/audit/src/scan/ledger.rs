//! The coverage ledger: what became of every file. Nothing is left out silently.

use std::fmt;

use crate::model::Mark;

/// What became of one file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Read to its end.
    Scanned {
        /// Objects that policies were asked about.
        objects: usize,
        /// Documents that are not Kubernetes'.
        others: usize,
    },
    /// Not read, on purpose.
    Skipped {
        /// Why.
        reason: String,
    },
    /// Not read, or not to its end.
    Unparsed {
        /// Where the reader stopped, if it began.
        at: Option<Mark>,
        /// Why.
        reason: String,
        /// Objects before that place; they were scanned.
        objects: usize,
    },
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The file or folder, as it was given or found.
    pub path: String,
    /// What became of it.
    pub outcome: Outcome,
}

impl LedgerEntry {
    /// Whether something was not looked at that should have been; `--strict` fails on it.
    pub fn is_gap(&self) -> bool {
        matches!(self.outcome, Outcome::Unparsed { .. })
    }

    /// `scanned`, `skipped` or `unparsed`.
    pub fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Scanned { .. } => "scanned",
            Outcome::Skipped { .. } => "skipped",
            Outcome::Unparsed { .. } => "unparsed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scanned { objects: 1, others: 0 } => f.write_str("1 object"),
            Self::Scanned { objects, others: 0 } => write!(f, "{objects} objects"),
            Self::Scanned { objects, others } => write!(f, "{objects} objects, {others} other documents"),
            Self::Skipped { reason } => f.write_str(reason),
            Self::Unparsed { at, reason, objects } => {
                if let Some(at) = at {
                    write!(f, "{at}: ")?;
                }
                f.write_str(reason)?;
                if *objects > 0 { write!(f, " (the {objects} objects before it were scanned)") } else { Ok(()) }
            }
        }
    }
}

/// The ledger of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// In the order in which the inputs were found.
    pub entries: Vec<LedgerEntry>,
}

impl Ledger {
    /// How many files were scanned, skipped and not parsed.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |word| self.entries.iter().filter(|entry| entry.word() == word).count();
        (count("scanned"), count("skipped"), count("unparsed"))
    }

    /// What was not looked at that should have been.
    pub fn gaps(&self) -> impl Iterator<Item = &LedgerEntry> {
        self.entries.iter().filter(|entry| entry.is_gap())
    }
}
