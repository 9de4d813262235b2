//! Policies of users: files like the built-in ones, with their examples, and `ValidatingAdmissionPolicy` objects, which may have
//! examples in a last document.

use super::read::PolicyError;
use super::{Examples, Policy};
use crate::model::{Limits, Mark, Syntax, read};
use crate::vap;

/// One file, read.
#[derive(Debug)]
pub struct UserFile {
    /// Its name, for words.
    pub file: String,
    /// One, or one for each validation of an admission policy.
    pub policies: Vec<Policy>,
    /// An admission policy need not have any.
    pub examples: Option<Examples>,
}

impl UserFile {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first mistake, with its line and what was expected.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        let head = text.split("\nexamples:").next().unwrap_or(text);
        let has_examples = head.len() < text.len();
        let mut documents = Vec::new();
        // What is no YAML at all is said by the reader of policies.
        let _ = read(head, Syntax::Yaml, &Limits::default(), &mut |document| documents.push(document));
        let examples = || Examples::parse(file, text);
        if !documents.iter().any(vap::is_admission_policy) {
            let policy = Policy::parse(file, text)?;
            return Ok(Self { file: file.to_owned(), policies: vec![policy], examples: Some(examples()?) });
        }
        let mut policies = Vec::new();
        for document in documents.iter().filter(|document| vap::is_admission_policy(document)) {
            policies.extend(vap::policies(file, document)?);
        }
        let examples = if has_examples { Some(examples()?) } else { None };
        Ok(Self { file: file.to_owned(), policies, examples })
    }
}

/// A policy that has the id of another one.
pub fn taken(file: &str, id: &str) -> PolicyError {
    let what = format!("there is a policy {id} already; choose another id");
    PolicyError { file: file.to_owned(), at: Mark { line: 1, column: 1 }, what }
}
