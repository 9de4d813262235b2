//! Temporary GRUUs (RFC 5627 §3.1.2, §5): addresses of one phone that say nothing about whose they are. Nothing is kept
//! of them: each carries, masked and under a MAC, what finds it again. Made by the registrar, read by routing.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::config::SecretKey;
use crate::model::ExtensionId;

/// The user part begins with it.
const PREFIX: &str = "tgruu.";
const DISTINGUISHER: usize = 8;
const MASKED: usize = 4;
const TAG: usize = 12;
const LENGTH: usize = DISTINGUISHER + MASKED + TAG;

/// Makes temporary GRUUs and reads them. A user part is
///
/// ```text
/// tgruu. ‖ hex( distinguisher 8 ‖ extension 4, masked ‖ MAC 12 )
/// ```
/// The MAC is over the instance and the epoch of its registration as well: a GRUU ends with the instance's last contact, and
/// all of them end when the phone registers one with another Call-ID (§5.1), for then another epoch begins.
/// Whoever lacks the key cannot tell whether two belong together.
pub(crate) struct Gruus {
    mac: Hmac<Sha256>,
}

/// What a user part claims to be: it is true of a contact where [`Gruus::fits`] says so.
pub(crate) struct Claim {
    pub(crate) extension: ExtensionId,
    distinguisher: [u8; DISTINGUISHER],
    tag: [u8; TAG],
}

impl Gruus {
    pub(crate) fn new(key: &SecretKey) -> Self {
        Self { mac: Hmac::new_from_slice(key.reveal()).expect("HMAC takes a key of any length") }
    }

    /// A new user part for a contact. `chance` is drawn anew for each registration, `nth` tells its contacts apart.
    pub(crate) fn make(&self, chance: u64, nth: usize, extension: ExtensionId, instance: &str, epoch: u32) -> String {
        let drawn = self.prf(&[b"distinguisher", &chance.to_be_bytes(), &(nth as u64).to_be_bytes()]);
        let distinguisher: [u8; DISTINGUISHER] = *drawn.first_chunk().expect("a hash is longer");
        let mut token = [0; LENGTH];
        token[..DISTINGUISHER].copy_from_slice(&distinguisher);
        token[DISTINGUISHER..DISTINGUISHER + MASKED].copy_from_slice(&self.mask(&distinguisher, extension.0));
        token[DISTINGUISHER + MASKED..].copy_from_slice(&self.tag(&distinguisher, extension, instance, epoch));
        let mut user = String::with_capacity(PREFIX.len() + 2 * LENGTH);
        user.push_str(PREFIX);
        for byte in token {
            for nibble in [byte >> 4, byte & 15] {
                user.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        user
    }

    /// Reads a user part; `None` where it is no temporary GRUU by its form.
    pub(crate) fn read(&self, user: &str) -> Option<Claim> {
        let digits = user.strip_prefix(PREFIX).filter(|digits| digits.len() == 2 * LENGTH)?;
        let mut token = [0; LENGTH];
        for (byte, pair) in token.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        let distinguisher: [u8; DISTINGUISHER] = *token.first_chunk()?;
        let masked: [u8; MASKED] = *token[DISTINGUISHER..].first_chunk()?;
        let unmasked = self.mask(&distinguisher, u32::from_be_bytes(masked));
        Some(Claim {
            extension: ExtensionId(u32::from_be_bytes(unmasked)),
            distinguisher,
            tag: *token[DISTINGUISHER + MASKED..].first_chunk()?,
        })
    }

    /// Whether the GRUU was made for that instance in that epoch of the extension that it names.
    pub(crate) fn fits(&self, claim: &Claim, instance: &str, epoch: u32) -> bool {
        let tag = self.tag(&claim.distinguisher, claim.extension, instance, epoch);
        bool::from(tag.ct_eq(&claim.tag))
    }

    /// Masks a number, and unmasks it again.
    fn mask(&self, distinguisher: &[u8], number: u32) -> [u8; MASKED] {
        let pad: [u8; MASKED] = *self.prf(&[b"mask", distinguisher]).first_chunk().expect("a hash is longer");
        (number ^ u32::from_be_bytes(pad)).to_be_bytes()
    }

    fn tag(&self, distinguisher: &[u8], extension: ExtensionId, instance: &str, epoch: u32) -> [u8; TAG] {
        let parts: [&[u8]; 5] =
            [b"tag", distinguisher, &extension.0.to_be_bytes(), instance.as_bytes(), &epoch.to_be_bytes()];
        *self.prf(&parts).first_chunk().expect("a hash is longer")
    }

    fn prf(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        for part in parts {
            // With its length, so that no two lists of parts read alike.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANCE: &str = "urn:uuid:1";

    fn gruus(key: u8) -> Gruus {
        Gruus::new(&SecretKey::new([key; 32]))
    }

    #[test]
    fn a_temporary_gruu_leads_back_to_its_instance_and_epoch_alone_rfc_5627_section_5_4() {
        let gruus = gruus(1);
        let user = gruus.make(7, 0, ExtensionId(12), INSTANCE, 1);
        let claim = gruus.read(&user).expect("its form is ours");
        assert_eq!(claim.extension, ExtensionId(12));
        assert!(gruus.fits(&claim, INSTANCE, 1));
        assert!(!gruus.fits(&claim, INSTANCE, 2), "another epoch ends it (§5.1)");
        assert!(!gruus.fits(&claim, "urn:uuid:2", 1));
    }

    #[test]
    fn no_two_are_alike_and_none_says_whose_it_is_rfc_5627_section_5_1() {
        let gruus = gruus(1);
        let mut seen = std::collections::BTreeSet::new();
        for chance in 0..200 {
            for nth in 0..3 {
                let user = gruus.make(chance, nth, ExtensionId(12), INSTANCE, 1);
                let pieces = user.as_bytes()[PREFIX.len()..].chunks(8).map(<[u8]>::to_vec);
                assert!(pieces.into_iter().all(|piece| seen.insert(piece)), "a piece of it came before");
            }
        }
    }

    #[test]
    fn what_was_made_with_another_key_or_changed_fits_nothing() {
        let user = gruus(1).make(7, 0, ExtensionId(12), INSTANCE, 1);
        let other = gruus(2);
        assert!(!other.read(&user).is_some_and(|claim| other.fits(&claim, INSTANCE, 1)));
        for at in PREFIX.len()..user.len() {
            let mut bytes = user.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            let gruus = gruus(1);
            let claim = gruus.read(&changed).expect("its form is still ours");
            assert!(claim.extension != ExtensionId(12) || !gruus.fits(&claim, INSTANCE, 1), "{changed}");
        }
        for text in ["", "tgruu.", "101", "tgruu.zz", &user[..user.len() - 1], &user.replace("tgruu.", "tgruu-")] {
            assert!(gruus(1).read(text).is_none(), "{text}");
        }
    }
}
