//! Domain names as they stand in questions and answers: lower case, without the final dot, within the limits of
//! RFC 1035 §2.3.4.

use std::fmt;
use std::sync::Arc;

/// A domain name. Cheap to clone. Compared without regard to case, because it is kept in lower case (RFC 4343).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is no domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("expected a domain name of at most 253 characters, got a longer one")]
    TooLong,
    #[error("expected parts of 1 to 63 characters between the dots")]
    BadLabel,
    #[error("expected letters, digits, hyphens and underscores (names in other scripts in their xn-- form)")]
    BadCharacter,
}

impl Name {
    /// The longest name without its final dot.
    const MAX: usize = 253;

    /// Reads a name with or without a final dot; `"."` and `""` are the root.
    ///
    /// # Errors
    /// A label or the whole is too long, or there are other characters than letters, digits, `-` and `_`.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Ok(Name::root());
        }
        if text.len() > Self::MAX {
            return Err(NameError::TooLong);
        }
        for label in text.split('.') {
            if !(1..=63).contains(&label.len()) {
                return Err(NameError::BadLabel);
            }
            if !label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
                return Err(NameError::BadCharacter);
            }
        }
        Ok(Name(text.to_ascii_lowercase().into()))
    }

    /// The root of the tree, written `.`: as the target of an SRV record it says that there is no such service
    /// (RFC 2782).
    pub fn root() -> Name {
        Name("".into())
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// `_service._protocol.name` (RFC 2782).
    ///
    /// # Errors
    /// The name is too long for a prefix.
    pub fn prefixed(&self, prefix: &str) -> Result<Name, NameError> {
        Name::parse(&format!("{prefix}.{}", self.0))
    }

    /// Without the final dot; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Whether it is `localhost` or below it (RFC 6761 §6.3).
    pub fn is_localhost(&self) -> bool {
        &*self.0 == "localhost" || self.0.ends_with(".localhost")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_without_the_final_dot() {
        let name = Name::parse("SIP.Example.ORG.").unwrap();
        assert_eq!(name.as_str(), "sip.example.org");
        assert_eq!(name, Name::parse("sip.example.org").unwrap());
        assert_eq!(name.prefixed("_sip._udp").unwrap().as_str(), "_sip._udp.sip.example.org");
        assert!(Name::parse(".").unwrap().is_root() && Name::root().to_string() == ".");
    }

    #[test]
    fn what_rfc_1035_does_not_allow_is_refused() {
        assert_eq!(Name::parse("a..b"), Err(NameError::BadLabel));
        assert_eq!(Name::parse(&"a".repeat(64)), Err(NameError::BadLabel));
        assert_eq!(Name::parse(&"abc.".repeat(70)), Err(NameError::TooLong));
        for wrong in ["a b", "a@b", "ä.example", "a/b", "a%41"] {
            assert_eq!(Name::parse(wrong), Err(NameError::BadCharacter), "{wrong}");
        }
        let nearly = Name::parse(&format!("{}de", "abc.".repeat(62))).unwrap();
        assert_eq!(nearly.prefixed("_sip._udp"), Err(NameError::TooLong));
    }

    #[test]
    fn localhost_is_known_with_what_is_below_it() {
        for (text, local) in
            [("localhost", true), ("a.LOCALHOST", true), ("notlocalhost", false), ("localhost.a", false)]
        {
            assert_eq!(Name::parse(text).unwrap().is_localhost(), local, "{text}");
        }
    }
}
