//! `Digest name=value, …`: one reader for challenges and credentials (RFC 3261 §25.1, RFC 7616 §3.3 and §3.4).

use std::borrow::Cow;

/// The text after a header name that is not one digest challenge or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadParams {
    #[error("expected the scheme Digest, got another")]
    OtherScheme,
    #[error("expected name=value pairs with commas between them")]
    Syntax,
    #[error("a parameter stands twice")]
    Duplicate,
    #[error("more than 32 parameters")]
    TooMany,
}

/// The parameters in order, names in whatever case they were written, values without their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthParams<'a>(Vec<(&'a str, Cow<'a, [u8]>)>);

impl<'a> AuthParams<'a> {
    /// Reads one header value. The scheme may be in any case (some carriers write `DIGEST`).
    pub fn parse(value: &'a [u8]) -> Result<AuthParams<'a>, BadParams> {
        let value = value.trim_ascii();
        let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
        if !value[..end].eq_ignore_ascii_case(b"Digest") {
            return Err(BadParams::OtherScheme);
        }
        let mut rest = &value[end..];
        let mut params: Vec<(&'a str, Cow<'a, [u8]>)> = Vec::with_capacity(10);
        loop {
            rest = rest.trim_ascii_start();
            // Empty list elements are allowed (RFC 9110 §5.6.1), and phones do write a comma at the end.
            if let Some(after) = rest.strip_prefix(b",") {
                rest = after;
                continue;
            }
            if rest.is_empty() {
                return Ok(AuthParams(params));
            }
            let (name, content, after) = pair(rest).ok_or(BadParams::Syntax)?;
            if params.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(BadParams::Duplicate);
            }
            if params.len() == 32 {
                return Err(BadParams::TooMany);
            }
            params.push((name, content));
            rest = after.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(b",") {
                return Err(BadParams::Syntax);
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The value where it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The user name: `username`, or `username*` (RFC 7616 §3.4, RFC 5987) decoded.
    pub fn username(&self) -> Option<Cow<'_, str>> {
        if let Some(name) = self.text("username") {
            return Some(Cow::Borrowed(name));
        }
        let extended = self.text("username*")?;
        let mut parts = extended.splitn(3, '\'');
        let (charset, _language, value) = (parts.next()?, parts.next()?, parts.next()?);
        if !charset.eq_ignore_ascii_case("UTF-8") {
            return None;
        }
        percent_decoded(value).map(Cow::Owned)
    }
}

/// Name, value without quotes, what follows.
type Pair<'a> = (&'a str, Cow<'a, [u8]>, &'a [u8]);

/// One `name=value` at the start.
fn pair(text: &[u8]) -> Option<Pair<'_>> {
    let end = text.iter().position(|b| *b == b'=' || b.is_ascii_whitespace())?;
    let name = std::str::from_utf8(&text[..end]).ok().filter(|name| !name.is_empty())?;
    let rest = text[end..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let end = rest.iter().position(|b| *b == b',' || b.is_ascii_whitespace()).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        return (!token.is_empty() && !token.contains(&b'"')).then_some((name, Cow::Borrowed(token), after));
    };
    let mut end = 0;
    let mut escaped = false;
    loop {
        match quoted.get(end)? {
            b'"' => break,
            b'\\' => {
                escaped = true;
                end += 2;
            }
            _ => end += 1,
        }
    }
    let (content, after) = (&quoted[..end], &quoted[end + 1..]);
    let content = if escaped { Cow::Owned(without_backslashes(content)) } else { Cow::Borrowed(content) };
    Some((name, content, after))
}

fn without_backslashes(content: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(content.len());
    let mut bytes = content.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => plain.extend(bytes.next()),
            byte => plain.push(byte),
        }
    }
    plain
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            bytes.push(super::hash::unhex::<1>(after.get(..2)?)?[0]);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_names_are_read_in_any_case_and_values_with_or_without_quotes() {
        let params = AuthParams::parse(b"DIGEST Realm=\"a, \\\"b\\\"\" ,ALGORITHM = MD5,qop=auth,").unwrap();
        assert_eq!(params.text("realm"), Some("a, \"b\""));
        assert_eq!(params.text("algorithm"), Some("MD5"));
        assert_eq!(params.text("QOP"), Some("auth"));
        assert_eq!(params.text("nonce"), None);
    }

    #[test]
    fn what_is_no_list_of_pairs_is_refused() {
        for (text, error) in [
            ("Basic abc", BadParams::OtherScheme),
            ("", BadParams::OtherScheme),
            ("Digest realm", BadParams::Syntax),
            ("Digest realm=", BadParams::Syntax),
            ("Digest realm=\"open", BadParams::Syntax),
            ("Digest realm=\"open\\", BadParams::Syntax),
            ("Digest realm=\"a\" nonce=\"b\"", BadParams::Syntax),
            ("Digest realm=\"a\",realm=\"b\"", BadParams::Duplicate),
        ] {
            assert_eq!(AuthParams::parse(text.as_bytes()), Err(error), "{text}");
        }
        let many: String = (0..33).map(|n| format!("p{n}=1,")).collect();
        assert_eq!(AuthParams::parse(format!("Digest {many}").as_bytes()), Err(BadParams::TooMany));
    }

    #[test]
    fn an_extended_user_name_is_decoded_rfc_7616_section_3_9_2() {
        let params = AuthParams::parse(b"Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe").unwrap();
        assert_eq!(params.username().as_deref(), Some("Jäsøn Doe"));
        for bad in ["Digest username*=UTF-8''J%C3", "Digest username*=latin1''x", "Digest username*=x"] {
            assert_eq!(AuthParams::parse(bad.as_bytes()).unwrap().username(), None, "{bad}");
        }
    }
}
