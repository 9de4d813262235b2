//! The Identity header field (RFC 8224 §4), compact form `y`: a PASSporT, where its certificate is, and its type.

use std::fmt;

use crate::passport::{MAX_TOKEN, Passport, Ppt};

/// More parameters than that nobody sends.
const MAX_PARAMS: usize = 16;
const MAX_URL: usize = 512;

/// Why an Identity header field cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("expected an Identity header field of at most {MAX_TOKEN} characters")]
    TooLong,
    #[error("expected base64url and periods before the first semicolon")]
    Digest,
    #[error("expected ;name=value after the PASSporT, at most {MAX_PARAMS} of them, each once")]
    Params,
    #[error("expected info=<URL of the certificate>")]
    Info,
}

/// One value, its PASSporT not yet read.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub token: String,
    /// Where the certificate is.
    pub info: String,
    /// ES256 where it is absent.
    pub alg: Option<String>,
    pub ppt: Option<String>,
}

impl Identity {
    /// One value of an Identity header field, without its name.
    pub fn parse(value: &str) -> Result<Identity, IdentityError> {
        let value = value.trim();
        if value.len() > MAX_TOKEN + MAX_URL {
            return Err(IdentityError::TooLong);
        }
        let (token, mut rest) = value.split_at(value.find(';').unwrap_or(value.len()));
        let token = token.trim_end();
        // Folded lines leave white space within the token (RFC 3261 §7.3.1, the examples of RFC 8224).
        let token: String = token.split_ascii_whitespace().collect();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+/=".contains(&b)) {
            return Err(IdentityError::Digest);
        }
        let mut identity = Identity { token, info: String::new(), alg: None, ppt: None };
        let mut seen = Vec::new();
        while let Some(after) = rest.trim_start().strip_prefix(';') {
            let (param, after) = next_param(after)?;
            rest = after;
            let (name, value) = match param.split_once('=') {
                Some((name, value)) => (name.trim().to_ascii_lowercase(), value.trim()),
                None => (param.trim().to_ascii_lowercase(), ""),
            };
            if name.is_empty() || seen.len() == MAX_PARAMS || seen.contains(&name) {
                return Err(IdentityError::Params);
            }
            match name.as_str() {
                "info" => {
                    let url = value.strip_prefix('<').and_then(|value| value.strip_suffix('>'));
                    identity.info = url.filter(|url| is_url(url)).ok_or(IdentityError::Info)?.to_owned();
                }
                "alg" => identity.alg = Some(unquoted(value).ok_or(IdentityError::Params)?.to_owned()),
                "ppt" => identity.ppt = Some(unquoted(value).ok_or(IdentityError::Params)?.to_owned()),
                _ => {}
            }
            seen.push(name);
        }
        if !rest.trim().is_empty() {
            return Err(IdentityError::Params);
        }
        if identity.info.is_empty() { Err(IdentityError::Info) } else { Ok(identity) }
    }

    /// For a PASSporT in full form.
    pub fn full(passport: &Passport) -> Identity {
        Identity {
            token: passport.to_full(),
            info: passport.x5u.clone().unwrap_or_default(),
            alg: Some("ES256".into()),
            ppt: passport.ppt_name.clone(),
        }
    }

    /// For the compact form; `None` where the type needs the full one.
    pub fn compact(passport: &Passport) -> Option<Identity> {
        Some(Identity { token: passport.to_compact()?, ..Identity::full(passport) })
    }

    /// `None` for a type that we do not know.
    pub fn known_ppt(&self) -> Option<Ppt> {
        Ppt::parse(self.ppt.as_deref())
    }
}

/// An absolute URI of printable ASCII without what would end it.
pub(crate) fn is_url(url: &str) -> bool {
    url.len() <= MAX_URL
        && url.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&b))
        && url.split_once(':').is_some_and(|(scheme, rest)| {
            !rest.is_empty()
                && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        })
}

/// A token, with or without quotes (both are seen).
fn unquoted(value: &str) -> Option<&str> {
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    (!value.is_empty() && value.len() <= 64 && value.bytes().all(is_token)).then_some(value)
}

/// Up to the next semicolon that is neither quoted nor in angle brackets.
fn next_param(text: &str) -> Result<(&str, &str), IdentityError> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    for (at, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !bracketed => quoted = !quoted,
            b'<' if !quoted => bracketed = true,
            b'>' if !quoted => bracketed = false,
            b';' if !quoted && !bracketed => return Ok(text.split_at(at)),
            _ => {}
        }
    }
    if quoted || bracketed { Err(IdentityError::Params) } else { Ok((text, "")) }
}

/// Without the PASSporT: numbers can be read in it.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("info", &self.info).field("ppt", &self.ppt).finish_non_exhaustive()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};info=<{}>", self.token, self.info)?;
        if let Some(alg) = &self.alg {
            write!(f, ";alg={alg}")?;
        }
        if let Some(ppt) = &self.ppt {
            write!(f, ";ppt={ppt}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_and_written() {
        let text = "eyJ.eyK.sig_-;info=<https://biloxi.example.org/biloxi.cert;v=1,2>;alg=ES256;ppt=shaken";
        let identity = Identity::parse(text).unwrap();
        assert_eq!(identity.info, "https://biloxi.example.org/biloxi.cert;v=1,2");
        assert_eq!(identity.known_ppt(), Some(Ppt::Shaken));
        assert_eq!(identity.to_string(), text);
        let other = Identity::parse("  a.b.\r\n c ; x=\"a;\\\"b\" ; PPT = \"div\" ;info=<https://a/>").unwrap();
        assert_eq!((other.token.as_str(), other.ppt.as_deref(), other.alg), ("a.b.c", Some("div"), None));
        assert_eq!(Identity::parse("..s;info=<https://a>;ppt=rph").unwrap().known_ppt(), None);
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for (text, error) in [
            ("", IdentityError::Digest),
            (";info=<https://a>", IdentityError::Digest),
            ("a\"b;info=<https://a>", IdentityError::Digest),
            ("a.b.c", IdentityError::Info),
            ("a.b.c;info=https://a", IdentityError::Info),
            ("a.b.c;info=<nothing>", IdentityError::Info),
            ("a.b.c;info=<https://a b>", IdentityError::Info),
            ("a.b.c;info=<https://a", IdentityError::Params),
            ("a.b.c;info=<https://a>;info=<https://b>", IdentityError::Params),
            ("a.b.c;info=<https://a>;ppt=\"a b\"", IdentityError::Params),
            ("a.b.c;;info=<https://a>", IdentityError::Params),
        ] {
            assert_eq!(Identity::parse(text), Err(error), "{text}");
        }
        assert_eq!(Identity::parse(&"a".repeat(20_000)), Err(IdentityError::TooLong));
    }
}
