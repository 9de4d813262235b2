//! base64url without padding (RFC 7515 §2), strict: no white space, no padding, no bits left over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `None` for what is not base64url.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_alphabet_without_padding_is_taken() {
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
        assert_eq!(decode("-_8"), Some(vec![0xfb, 0xff]));
        for wrong in ["-_8=", "+/8", "-_ 8", "-_9", "A"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
