//! SDP (RFC 8866) as lossless lines: what was parsed is written back byte for byte.
/// Where and why a session description cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SdpError {
    /// Counted from 1; 0 for the whole.
    pub line: u32,
    /// Expected and got, in words.
    pub what: &'static str,
}
