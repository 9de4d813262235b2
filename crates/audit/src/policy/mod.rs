//! A policy is data: one YAML file, read into this. The built-in ones are embedded in the program; `docs/audit.md` says how
//! to write one.

mod catalogue;
mod examples;
mod read;
pub mod users;

use std::fmt;
use std::str::FromStr;

use crate::expr::{Expr, Path};

pub use catalogue::{Catalogue, PolicyIndex};
pub use examples::{Example, Examples, Want};
pub use read::PolicyError;

/// How bad a failed policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Hardening.
    Low,
    /// Helps an attacker who is already in.
    Medium,
    /// One more mistake away from losing the workload or its data.
    High,
    /// The node, the cluster or all secrets are at hand.
    Critical,
}

impl Severity {
    /// From the mildest on.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its name in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|severity| severity.name() == wanted)
            .ok_or_else(|| format!("`{text}` is no severity; there are info, low, medium, high and critical"))
    }
}

/// What a policy looks at, one verdict each.
#[derive(Debug, Clone)]
pub enum Each {
    /// The object as a whole.
    Object,
    /// Every container of the pod: main, init and ephemeral.
    Containers,
    /// The main containers only.
    MainContainers,
    /// The init containers only.
    InitContainers,
    /// Whatever a path leads to.
    Path(Path),
}

/// One change that mends what the policy found, relative to the item that it looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Fix {
    /// Where.
    pub path: Path,
    /// What has to stand there; `None`: it has to go.
    pub value: Option<serde_json::Value>,
}

/// One policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `RF-K8S-0001`
    pub id: String,
    /// What it asks for, in a few words.
    pub name: String,
    /// What other tools call it: `CKV_K8S_16`, `kubesec:Privileged`, `kubeaudit:PrivilegedTrue`, `CIS-5.2.2`, …
    pub aliases: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `workload`, `rbac`, `network`, …
    pub category: String,
    /// Kinds of objects; `workload` stands for whatever holds a pod, `*` for every kind.
    pub kinds: Vec<String>,
    /// What is looked at.
    pub each: Each,
    /// Where this does not hold, the policy has nothing to say.
    pub when: Option<Expr>,
    /// Where this holds, the policy failed.
    pub fails: Expr,
    /// Where a finding is placed, if not at what made `fails` hold.
    pub at: Option<Path>,
    /// What is wrong and why it matters.
    pub message: String,
    /// What to do.
    pub remediation: String,
    /// The same as changes, where they can be said without knowing the workload.
    pub fix: Vec<Fix>,
    /// The predicate as it is written.
    pub source: PolicySource,
}

/// A policy's own words, for `explain`.
#[derive(Debug, Clone, Default)]
pub struct PolicySource {
    /// `when:`
    pub when: String,
    /// `fails:`
    pub fails: String,
    /// `each:`
    pub each: String,
}

impl Policy {
    /// Whether `name` is this policy's id or one of its aliases, capitals or not. An alias `tool:Name` is also known as `Name`.
    pub fn is_called(&self, name: &str) -> bool {
        self.id.eq_ignore_ascii_case(name)
            || self.aliases.iter().any(|alias| {
                alias.eq_ignore_ascii_case(name)
                    || alias.split_once(':').is_some_and(|(_, short)| short.eq_ignore_ascii_case(name))
            })
    }
}
