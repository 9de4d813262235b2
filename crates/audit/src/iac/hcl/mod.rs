//! HashiCorp's configuration language (native syntax and JSON): text to a tree that keeps places. Nesting is bounded, a mistake ends the
//! file there and what stood before it is kept.

mod json;
mod parse;
mod template;

use crate::model::Mark;

pub use json::{parse_json, parse_json_values};
pub use parse::{Parsed, parse};

/// What is between braces, or the whole file.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// `name = value`, in order.
    pub attributes: Vec<Attribute>,
    /// Blocks, in order.
    pub blocks: Vec<Block>,
}

/// `name = value`
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Its name.
    pub name: Box<str>,
    /// Its value.
    pub value: Expr,
}

/// `kind "label" { … }`
#[derive(Debug, Clone)]
pub struct Block {
    /// `resource`, `variable`, `ingress`, …
    pub kind: Box<str>,
    /// Its labels.
    pub labels: Vec<Box<str>>,
    /// What is in it.
    pub body: Body,
    /// Where it begins.
    pub at: Mark,
    /// The line of its closing brace.
    pub last_line: u32,
}

/// An expression and where it stands.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub at: Mark,
    /// Its last line.
    pub last_line: u32,
}

/// What an expression is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text without anything to fill in.
    Text(Box<str>),
    /// A text with parts to fill in.
    Template(Vec<Part>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{ a = b }`
    Object(Vec<(Expr, Expr)>),
    /// A name alone.
    Name(Box<str>),
    /// `a.b`
    Get(Box<Expr>, Box<str>),
    /// `a[b]`
    Index(Box<Expr>, Box<Expr>),
    /// `a[*].b.c`: what follows is taken of each.
    Splat(Box<Expr>, Vec<Step>),
    /// `f(a, b)`; whether the last argument is spread by `...`.
    Call(Box<str>, Vec<Expr>, bool),
    /// `!a`
    Not(Box<Expr>),
    /// `-a`
    Negate(Box<Expr>),
    /// `a + b`
    Binary(Op, Box<Expr>, Box<Expr>),
    /// `a ? b : c`
    Conditional(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `[for …]`, `{for …}`
    For(Box<For>),
}

/// A part of a template.
#[derive(Debug, Clone)]
pub enum Part {
    /// As it is.
    Text(Box<str>),
    /// `${ … }`
    Fill(Expr),
    /// `%{ if a }b%{ else }c%{ endif }`
    If(Expr, Vec<Part>, Vec<Part>),
    /// `%{ for x in a }b%{ endfor }`
    For(Box<str>, Option<Box<str>>, Expr, Vec<Part>),
}

/// A step behind a splat.
#[derive(Debug, Clone)]
pub enum Step {
    /// `.name`
    Get(Box<str>),
    /// `[i]`
    Index(Expr),
}

/// A `for` expression.
#[derive(Debug, Clone)]
pub struct For {
    /// The name of the key or index, where two are given.
    pub key: Option<Box<str>>,
    /// The name of the value.
    pub value: Box<str>,
    /// What it goes over.
    pub of: Expr,
    /// For a mapping: the key of each entry.
    pub entry_key: Option<Expr>,
    /// Each result.
    pub result: Expr,
    /// Which are kept.
    pub only_if: Option<Expr>,
    /// `...`: results of one key are gathered in a list.
    pub grouped: bool,
}

/// Binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

impl Body {
    /// An attribute by its name.
    pub fn attribute(&self, name: &str) -> Option<&Expr> {
        self.attributes.iter().find(|attribute| &*attribute.name == name).map(|attribute| &attribute.value)
    }

    /// The blocks of a kind.
    pub fn of_kind<'b>(&'b self, kind: &'b str) -> impl Iterator<Item = &'b Block> {
        self.blocks.iter().filter(move |block| &*block.kind == kind)
    }
}

#[cfg(test)]
mod tests;
