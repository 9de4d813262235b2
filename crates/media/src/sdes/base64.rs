//! Base64 (RFC 4648 §4) without an allocation for the secret.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the text form, padded.
pub(super) fn encode(data: &[u8], out: &mut String) {
    for group in data.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for index in 0..4 {
            let is_data = index <= group.len();
            out.push(if is_data { ALPHABET[(bits >> (18 - 6 * index) & 63) as usize] as char } else { '=' });
        }
    }
}

/// Writes the octets into `out` and tells how many; missing padding is tolerated. `None`: no base64, or it does not fit.
pub(super) fn decode(text: &str, out: &mut [u8]) -> Option<usize> {
    let data = text.trim_end_matches('=');
    if text.len() - data.len() > 2 || data.len() % 4 == 1 {
        return None;
    }
    let (mut bits, mut held, mut length) = (0u32, 0, 0);
    for byte in data.bytes() {
        bits = bits << 6 | u32::from(sextet(byte)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            *out.get_mut(length)? = (bits >> held) as u8;
            length += 1;
        }
    }
    Some(length)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_vectors_of_rfc_4648_section_10() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            let mut text = String::new();
            encode(plain.as_bytes(), &mut text);
            assert_eq!(text, coded);
            let mut out = [0; 8];
            let length = decode(coded, &mut out).unwrap();
            assert_eq!(&out[..length], plain.as_bytes());
            assert_eq!(decode(coded.trim_end_matches('='), &mut out), Some(plain.len()));
        }
    }

    #[test]
    fn what_is_not_base64_or_too_long_is_refused() {
        let mut out = [0; 3];
        for bad in ["Zm9vYg==", "Z", "Zm9v=====", "Zm 9", "Zm=9", "-_-_"] {
            assert_eq!(decode(bad, &mut out), None, "{bad}");
        }
    }
}
