//! Runs audits without a shell: a script of the subset in [`syntax`] is interpreted here, text tools are ours (`programs`), and the few
//! programs that ask a cluster or a service manager are started one by one with their arguments. Nothing is handed to `sh`.

mod expand;
mod pattern;
mod programs;
mod run;
pub mod syntax;

#[cfg(test)]
mod tests;

pub use pattern::fits;
pub use run::{Outcome, Stop, run};

/// What the subset does not have, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// Reads a script and looks at every command in it, without running any.
///
/// # Errors
/// What is outside the subset: of the language, the programs, or their options.
pub fn check(text: &str) -> Result<syntax::Node, Unsupported> {
    let node = syntax::parse(text)?;
    run::check(&node)?;
    Ok(node)
}
