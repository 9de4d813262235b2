//! Randomness from the operating system.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// 32 octets for seeds.
///
/// # Errors
/// The system gives none.
pub fn seed() -> std::io::Result<[u8; 32]> {
    use std::io::Read as _;
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

/// A number for names and test phones; not for secrets.
pub fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}
