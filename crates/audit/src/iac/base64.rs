//! Base64 (RFC 4648 §4), as far as start scripts of machines are written in it.

use std::rc::Rc;

use super::value::{UNKNOWN_START, V, Val};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A text in base64.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len().div_ceil(3) * 4);
    for bytes in text.as_bytes().chunks(3) {
        let word = bytes.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - bytes.len()));
        for index in 0..4 {
            let six = (word >> (18 - 6 * index)) as usize & 63;
            out.push(if index <= bytes.len() { char::from(ALPHABET[six]) } else { '=' });
        }
    }
    out
}

/// What a text in base64 says; `None` where it is none, or says something else than UTF-8. White space is passed over.
pub fn decode(text: &str) -> Option<String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if digits.is_empty() || !digits.len().is_multiple_of(4) {
        return None;
    }
    let padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &digits[..digits.len() - padding.min(2)];
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for four in digits.chunks(4) {
        let mut word = 0_u32;
        for digit in four {
            word = word << 6 | ALPHABET.iter().position(|known| known == digit)? as u32;
        }
        let word = word << (6 * (4 - four.len()));
        out.extend_from_slice(&word.to_be_bytes()[1..four.len()]);
    }
    String::from_utf8(out).ok()
}

/// The attributes with a start script that is given in base64 as it reads.
pub fn opened(attributes: Val) -> Val {
    let V::Map(entries) = &attributes.v else { return attributes };
    let is_script = |key: &str| matches!(key, "user_data" | "user_data_base64");
    if !entries.iter().any(|(key, _)| is_script(key)) {
        return attributes;
    }
    let opened = entries.iter().map(|(key, value)| {
        let script = match &value.v {
            V::Text(text) if is_script(key) && !text.contains(UNKNOWN_START) => decode(text),
            _ => None,
        };
        match script {
            Some(script) => (Rc::from("user_data"), Val { v: V::Text(Rc::from(script)), ..value.clone() }),
            None => (key.clone(), value.clone()),
        }
    });
    Val { v: V::Map(opened.collect()), ..attributes.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 §10.
    #[test]
    fn texts_come_back_as_they_were() {
        for (text, encoded) in [
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("é…", "w6nigKY="),
        ] {
            assert_eq!(encode(text), encoded);
            assert_eq!(decode(encoded).as_deref(), Some(text));
        }
        assert_eq!(encode(""), "");
        assert_eq!(decode("Zm9v\n  YmFy\n").as_deref(), Some("foobar"));
        for other in ["", "abc", "Zm9v!mFy", "Zg=a", "====", "/w=="] {
            assert_eq!(decode(other), None, "{other}");
        }
    }
}
