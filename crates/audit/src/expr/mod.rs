//! The predicate language of policies. `docs/audit.md` has its description for those who write policies; `parse.rs` its
//! grammar, `eval.rs` its meaning. A predicate is parsed once and evaluated on nodes of a document without copying them.

mod blame;
mod eval;
mod parse;
mod words;

use std::sync::Arc;

use regex_lite::Regex;

use crate::vap::cel::Rule;

pub use blame::{Place, blame, place};
pub use eval::{Budget, CloudScope, Scope, Val, holds, values};
pub use parse::{ExprError, parse, parse_path};
pub(crate) use words::quantity;

/// Something that holds or does not.
#[derive(Debug, Clone)]
pub enum Expr {
    /// All of them hold.
    And(Vec<Expr>),
    /// One of them holds.
    Or(Vec<Expr>),
    /// It does not hold.
    Not(Box<Expr>),
    /// One of the left values stands in this relation to one of the right.
    Compare(Op, Term, Term),
    /// There is at least one value.
    Exists(Term),
    /// The predicate holds for one of the values.
    Any(Path, Box<Expr>),
    /// The predicate holds for every value; true where there is none.
    All(Path, Box<Expr>),
    /// One of the values matches the regular expression somewhere.
    Matches(Term, Box<Regex>),
    /// One of the texts begins with, ends in or contains one of the others.
    Text(TextTest, Term, Term),
    /// The container runs a program of this name.
    Program(String),
    /// What an admission policy of Kubernetes says about the whole object.
    Cel(Arc<Rule>),
}

/// Relations. Different types are never equal and never ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `==`
    Eq,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// Tests of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextTest {
    /// `starts(a, b)`
    Starts,
    /// `ends(a, b)`
    Ends,
    /// `contains(a, b)`
    Contains,
}

/// Something with any number of values.
#[derive(Debug, Clone)]
pub enum Term {
    /// What a path leads to.
    Path(Path),
    /// A field of the container's security context, of the pod's where the container is silent.
    Effective(Path),
    /// Literals.
    Literals(Vec<Literal>),
    /// How many values there are.
    Count(Box<Term>),
    /// A function of each value.
    Map(Function, Box<Term>),
    /// The pieces of each text.
    Split(Box<Term>, String),
    /// The values that are none of these.
    Without(Box<Term>, Vec<Literal>),
    /// The values of a command line flag of the container.
    Flag(String),
    /// Every word of the container's command and arguments.
    Words,
}

/// A literal value.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(f64),
    /// `"text"`
    Text(String),
}

/// Functions of one value; those that make no sense for a value have no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// In small letters.
    Lower,
    /// A capability by its short name: `CAP_SYS_ADMIN` and `sys_admin` are `SYS_ADMIN`.
    Cap,
    /// A Kubernetes quantity or plain number as a number.
    Quantity,
    /// A number, also from text.
    Number,
    /// The keys of a mapping.
    Keys,
    /// The length of a text in characters.
    Length,
    /// The tag of an image reference.
    Tag,
    /// The digest of an image reference.
    Digest,
    /// The registry host of an image reference, `docker.io` where it has none.
    Registry,
    /// An image reference without registry, tag and digest.
    Repository,
    /// A scalar as it is written.
    Text,
}

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// The value under consideration: the item of the policy, or of the innermost `any`, `all`.
    Here,
    /// The value that was under consideration outside of the innermost `any`, `all` or `none`.
    Outer,
    /// The item that the policy looks at.
    Item,
    /// The whole object.
    Object,
    /// The pod's spec.
    Pod,
    /// The pod's (template's) metadata.
    PodMeta,
    /// The resources that refer to the one under consideration, by their kind.
    Users,
    /// The resources that the one under consideration refers to, by their kind.
    Uses,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A key.
    Key(String),
    /// An index.
    Index(usize),
    /// Every item of a list or value of a mapping.
    Each,
}

/// A way through a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it begins.
    pub root: Root,
    /// Where it goes.
    pub steps: Vec<Step>,
}

impl Expr {
    /// The first path that is named, to say where a finding is.
    pub fn first_path(&self) -> Option<&Path> {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().find_map(Self::first_path),
            Self::Not(inner) => inner.first_path(),
            Self::Compare(_, left, right) | Self::Text(_, left, right) => {
                left.first_path().or_else(|| right.first_path())
            }
            Self::Exists(term) | Self::Matches(term, _) => term.first_path(),
            Self::Any(path, _) | Self::All(path, _) => Some(path),
            Self::Program(_) | Self::Cel(_) => None,
        }
    }
}

impl Term {
    fn first_path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) | Self::Effective(path) => Some(path),
            Self::Count(term) | Self::Map(_, term) | Self::Split(term, _) | Self::Without(term, _) => term.first_path(),
            Self::Literals(_) | Self::Flag(_) | Self::Words => None,
        }
    }
}

#[cfg(test)]
mod tests;
