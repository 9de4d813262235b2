//! SRTP and SRTCP (RFC 3711) with the suites of RFC 4568, 6188 and 7714: one [`Context`] is one direction under one
//! master key. Works in place on the caller's buffer and never allocates per packet. Called by the packet path.

pub mod cm;
pub mod hmac;
pub mod window;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use thiserror::Error;
use zeroize::Zeroize;

use crate::rtp::{self, Header};
use crate::types::{CryptoSuite, Mki, SrtpKeys};
use cm::{Aes, Derivation, Label};
use hmac::HmacSha1;
use window::Window;

/// Octets that protecting can add at the end: a GCM tag, the SRTCP index and an MKI. Buffers need that much room behind.
pub const MAX_TRAILER: usize = GCM_TAG + RTCP_INDEX + Mki::LONGEST;

const GCM_TAG: usize = 16;
/// RFC 3711 §3.4: the E flag and the 31-bit SRTCP index.
const RTCP_INDEX: usize = 4;
/// Header and sender SSRC of the first RTCP packet, which stay in the clear (RFC 3711 §3.4).
const RTCP_CLEAR: usize = 8;
const E_FLAG: u32 = 1 << 31;
/// SSRCs whose state one direction keeps; the one longest unused makes room for another. A SIP stream has one SSRC at
/// a time, and the packet path limits how often it changes.
const SOURCES: usize = 4;
/// The longest SRTCP packet without encryption (E flag 0) that is checked under GCM.
const MAX_CLEAR_RTCP: usize = 1500;

/// Why a packet was not protected or not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SrtpError {
    #[error("no RTP or RTCP packet: {0}")]
    Malformed(&'static str),
    #[error("expected RTP or RTCP version 2, got {0}")]
    Version(u8),
    #[error("expected {expected} octets of room, got {got}")]
    NoRoom { expected: usize, got: usize },
    #[error("the packet's index was seen or is too old")]
    Replay,
    #[error("the authentication tag does not match")]
    Authentication,
    #[error("all indices of this key are used up (RFC 3711 §9.2)")]
    KeyExhausted,
}

/// One direction of one SRTP session: session keys, and index and replay list of each SSRC.
#[repr(C)]
pub struct Context {
    // What each packet needs lies together.
    rtp_sources: Sources,
    rtp: Cipher,
    rtcp: Cipher,
    rtcp_sources: Sources,
    suite: CryptoSuite,
    mki: Identifier,
}

impl Context {
    /// Derives the session keys (RFC 3711 §4.3). All roll-over counters start at 0 (RFC 4568 §6.4).
    pub fn new(keys: &SrtpKeys) -> Self {
        let derivation = Derivation::new(keys.master_key(), keys.master_salt());
        let rtp_labels = [Label::RtpEncryption, Label::RtpAuthentication, Label::RtpSalt];
        let rtcp_labels = [Label::RtcpEncryption, Label::RtcpAuthentication, Label::RtcpSalt];
        Context {
            suite: keys.suite,
            mki: Identifier::new(keys.mki),
            rtp: Cipher::derive(keys.suite, &derivation, rtp_labels, rtp_tag_len(keys.suite)),
            // RFC 4568 §6.2.2: the short tag is for SRTP alone; SRTCP keeps 80 bits.
            rtcp: Cipher::derive(keys.suite, &derivation, rtcp_labels, 10),
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
        }
    }

    /// The suite of the keys.
    pub fn suite(&self) -> CryptoSuite {
        self.suite
    }

    /// From now on each packet bears, or has to bear, that identifier; the indices go on.
    pub fn set_identifier(&mut self, mki: Option<Mki>) {
        self.mki = Identifier::new(mki);
    }

    /// Encrypts and authenticates the RTP packet in `buf[..len]`; returns its new length. `buf` must have
    /// [`MAX_TRAILER`] octets behind `len`. A sequence number is protected once (no two texts under one keystream).
    pub fn protect_rtp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let header = read_header(buf.get(..len).ok_or(SrtpError::NoRoom { expected: len, got: buf.len() })?)?;
        let (slot, window) = self.rtp_sources.find(header.ssrc);
        let index = window.estimate(header.sequence).ok_or(SrtpError::KeyExhausted)?;
        if !window.is_fresh(index) {
            return Err(SrtpError::Replay);
        }
        let total = len + self.rtp.tag_len() + self.mki.len;
        let (packet, trailer) = split_room(buf, len, total)?;
        let roc = ((index >> 16) as u32).to_be_bytes();
        match &self.rtp {
            Cipher::Cm(cm) => {
                cm.aes.apply(cm.iv(header.ssrc, index), &mut packet[header.len..]);
                // RFC 3711 §3.1: the MKI stands before the tag and is not authenticated.
                let (mki, tag) = trailer.split_at_mut(self.mki.len);
                mki.copy_from_slice(self.mki.octets());
                tag.copy_from_slice(&cm.mac.tag(packet, roc)[..cm.tag_len]);
            }
            Cipher::Gcm(gcm) => {
                let (head, payload) = packet.split_at_mut(header.len);
                // RFC 7714 §8.2: the tag belongs to the cipher text, the MKI stands behind it.
                let (tag, mki) = trailer.split_at_mut(GCM_TAG);
                gcm.seal(gcm.rtp_nonce(header.ssrc, index), head, payload, tag)?;
                mki.copy_from_slice(self.mki.octets());
            }
        }
        self.rtp_sources.accept(slot, header.ssrc, index);
        Ok(total)
    }

    /// Checks and decrypts an SRTP packet; returns its new length. Nothing changes unless it is authentic.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let header = read_header(packet)?;
        let trailer = self.rtp.tag_len() + self.mki.len;
        let len = packet.len().checked_sub(trailer).filter(|&len| len >= header.len);
        let len = len.ok_or(SrtpError::Malformed("shorter than header and authentication tag"))?;
        let (slot, window) = self.rtp_sources.find(header.ssrc);
        let index = window.estimate(header.sequence).ok_or(SrtpError::Replay)?;
        if !window.is_fresh(index) {
            return Err(SrtpError::Replay);
        }
        let roc = ((index >> 16) as u32).to_be_bytes();
        match &self.rtp {
            Cipher::Cm(cm) => {
                let (message, trailer) = packet.split_at_mut(len);
                let tag = self.mki.strip_front(trailer)?;
                if !hmac::equal(&cm.mac.tag(message, roc)[..cm.tag_len], tag) {
                    return Err(SrtpError::Authentication);
                }
                cm.aes.apply(cm.iv(header.ssrc, index), &mut message[header.len..]);
            }
            Cipher::Gcm(gcm) => {
                let packet = self.mki.strip_back(packet)?;
                let (head, payload) = packet.split_at_mut(header.len);
                gcm.open(gcm.rtp_nonce(header.ssrc, index), head, payload)?;
            }
        }
        self.rtp_sources.accept(slot, header.ssrc, index);
        Ok(len)
    }

    /// Encrypts and authenticates the compound RTCP packet in `buf[..len]`; returns its new length. `buf` must have
    /// [`MAX_TRAILER`] octets behind `len`.
    pub fn protect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let ssrc = read_rtcp(buf.get(..len).ok_or(SrtpError::NoRoom { expected: len, got: buf.len() })?)?;
        let (slot, window) = self.rtcp_sources.find(ssrc);
        let index = if window.is_new() { 0 } else { window.highest() + 1 };
        if index >= u64::from(E_FLAG) {
            return Err(SrtpError::KeyExhausted);
        }
        let total = len + RTCP_INDEX + self.rtcp.tag_len() + self.mki.len;
        let (packet, trailer) = split_room(buf, len, total)?;
        let word = (index as u32 | E_FLAG).to_be_bytes();
        match &self.rtcp {
            Cipher::Cm(cm) => {
                cm.aes.apply(cm.iv(ssrc, index), &mut packet[RTCP_CLEAR..]);
                trailer[..RTCP_INDEX].copy_from_slice(&word);
                let (mki, tag) = trailer[RTCP_INDEX..].split_at_mut(self.mki.len);
                mki.copy_from_slice(self.mki.octets());
                tag.copy_from_slice(&cm.mac.tag(packet, word)[..cm.tag_len]);
            }
            Cipher::Gcm(gcm) => {
                let (head, payload) = packet.split_at_mut(RTCP_CLEAR);
                let mut aad = [0; RTCP_CLEAR + RTCP_INDEX];
                aad[..RTCP_CLEAR].copy_from_slice(head);
                aad[RTCP_CLEAR..].copy_from_slice(&word);
                gcm.seal(gcm.rtcp_nonce(ssrc, index), &aad, payload, &mut trailer[..GCM_TAG])?;
                trailer[GCM_TAG..GCM_TAG + RTCP_INDEX].copy_from_slice(&word);
                trailer[GCM_TAG + RTCP_INDEX..].copy_from_slice(self.mki.octets());
            }
        }
        self.rtcp_sources.accept(slot, ssrc, index);
        Ok(total)
    }

    /// Checks and decrypts an SRTCP packet; returns its new length. Nothing changes unless it is authentic.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = read_rtcp(packet)?;
        let trailer = RTCP_INDEX + self.rtcp.tag_len() + self.mki.len;
        let len = packet.len().checked_sub(trailer).filter(|&len| len >= RTCP_CLEAR);
        let len = len.ok_or(SrtpError::Malformed("shorter than header, index and authentication tag"))?;
        let (slot, window) = self.rtcp_sources.find(ssrc);
        let index = match &self.rtcp {
            Cipher::Cm(cm) => {
                let (message, trailer) = packet.split_at_mut(len + RTCP_INDEX);
                let tag = self.mki.strip_front(trailer)?;
                let (index, encrypted) = fresh_rtcp_index(&message[len..], &window)?;
                if !hmac::equal(&cm.mac.tag(message, [])[..cm.tag_len], tag) {
                    return Err(SrtpError::Authentication);
                }
                if encrypted {
                    cm.aes.apply(cm.iv(ssrc, index), &mut message[RTCP_CLEAR..len]);
                }
                index
            }
            Cipher::Gcm(gcm) => {
                let packet = self.mki.strip_back(packet)?;
                let (message, word) = packet.split_at_mut(len + GCM_TAG);
                let (index, encrypted) = fresh_rtcp_index(word, &window)?;
                let clear = if encrypted { RTCP_CLEAR } else { len };
                let mut aad = [0; MAX_CLEAR_RTCP + RTCP_INDEX];
                if clear > MAX_CLEAR_RTCP {
                    return Err(SrtpError::Malformed("unencrypted SRTCP packet is too long"));
                }
                let (head, payload) = message.split_at_mut(clear);
                aad[..clear].copy_from_slice(head);
                aad[clear..clear + RTCP_INDEX].copy_from_slice(word);
                gcm.open(gcm.rtcp_nonce(ssrc, index), &aad[..clear + RTCP_INDEX], payload)?;
                index
            }
        };
        self.rtcp_sources.accept(slot, ssrc, index);
        Ok(len)
    }
}

/// The octets of the key's MKI; none where it has none.
struct Identifier {
    /// The identifier in the last places.
    octets: [u8; Mki::LONGEST],
    len: usize,
}

impl Identifier {
    fn new(mki: Option<Mki>) -> Self {
        let octets = mki.map_or([0; Mki::LONGEST], |mki| mki.octets());
        Identifier { octets, len: mki.map_or(0, |mki| mki.len()) }
    }

    #[inline]
    fn octets(&self) -> &[u8] {
        &self.octets[Mki::LONGEST - self.len..]
    }

    /// What follows the identifier. A packet with another one was protected with a key that we do not have.
    #[inline]
    fn strip_front<'a>(&self, trailer: &'a [u8]) -> Result<&'a [u8], SrtpError> {
        trailer.strip_prefix(self.octets()).ok_or(SrtpError::Authentication)
    }

    /// What stands before the identifier.
    #[inline]
    fn strip_back<'a>(&self, packet: &'a mut [u8]) -> Result<&'a mut [u8], SrtpError> {
        let (before, mki) = packet.split_at_mut(packet.len() - self.len);
        if mki == self.octets() { Ok(before) } else { Err(SrtpError::Authentication) }
    }
}

/// Octets of the authentication tag behind an SRTP packet of that suite (RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §12).
pub fn rtp_tag_len(suite: CryptoSuite) -> usize {
    match suite {
        CryptoSuite::AeadAes256Gcm | CryptoSuite::AeadAes128Gcm => GCM_TAG,
        CryptoSuite::Aes256CmHmacSha1_80 | CryptoSuite::AesCm128HmacSha1_80 => 10,
        CryptoSuite::Aes256CmHmacSha1_32 | CryptoSuite::AesCm128HmacSha1_32 => 4,
    }
}

fn read_header(packet: &[u8]) -> Result<Header, SrtpError> {
    Header::parse(packet).map_err(|error| match error {
        rtp::RtpError::Version(version) => SrtpError::Version(version),
        rtp::RtpError::TooShort { .. } => SrtpError::Malformed("shorter than an RTP header"),
        rtp::RtpError::Header { .. } | rtp::RtpError::Padding { .. } => SrtpError::Malformed("header past the end"),
    })
}

/// The sender's SSRC of an RTCP packet.
fn read_rtcp(packet: &[u8]) -> Result<u32, SrtpError> {
    let &[first, _, _, _, a, b, c, d, ..] = packet else {
        return Err(SrtpError::Malformed("shorter than an RTCP header"));
    };
    if first >> 6 != 2 {
        return Err(SrtpError::Version(first >> 6));
    }
    Ok(u32::from_be_bytes([a, b, c, d]))
}

/// The index of an SRTCP packet and whether it is encrypted; refused if it was seen.
fn fresh_rtcp_index(word: &[u8], window: &Window) -> Result<(u64, bool), SrtpError> {
    let word = word.first_chunk().map_or(0, |&word| u32::from_be_bytes(word));
    let index = u64::from(word & !E_FLAG);
    if window.is_fresh(index) { Ok((index, word & E_FLAG != 0)) } else { Err(SrtpError::Replay) }
}

/// The packet and the room for its trailer.
fn split_room(buf: &mut [u8], len: usize, total: usize) -> Result<(&mut [u8], &mut [u8]), SrtpError> {
    let got = buf.len();
    let whole = buf.get_mut(..total).ok_or(SrtpError::NoRoom { expected: total, got })?;
    Ok(whole.split_at_mut(len))
}

enum Cipher {
    Cm(Cm),
    Gcm(Gcm),
}

impl Cipher {
    fn derive(suite: CryptoSuite, derivation: &Derivation, labels: [Label; 3], tag_len: usize) -> Self {
        let [encryption, authentication, salting] = labels;
        let mut key = [0; 32];
        let key = &mut key[..suite.key_len()];
        derivation.derive(encryption, key);
        let mut salt = [0; 14];
        derivation.derive(salting, &mut salt[..suite.salt_len()]);
        let cipher = match suite {
            CryptoSuite::AeadAes256Gcm | CryptoSuite::AeadAes128Gcm => Cipher::Gcm(Gcm::new(key, &salt)),
            CryptoSuite::Aes256CmHmacSha1_80
            | CryptoSuite::Aes256CmHmacSha1_32
            | CryptoSuite::AesCm128HmacSha1_80
            | CryptoSuite::AesCm128HmacSha1_32 => {
                let mut mac_key = [0; 20];
                derivation.derive(authentication, &mut mac_key);
                let cm = Cm { aes: Aes::new(key), salt, mac: HmacSha1::new(&mac_key), tag_len };
                mac_key.zeroize();
                Cipher::Cm(cm)
            }
        };
        key.zeroize();
        salt.zeroize();
        cipher
    }

    #[inline]
    fn tag_len(&self) -> usize {
        match self {
            Cipher::Cm(cm) => cm.tag_len,
            Cipher::Gcm(_) => GCM_TAG,
        }
    }
}

/// AES-CM with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1).
struct Cm {
    aes: Aes,
    salt: [u8; 14],
    mac: HmacSha1,
    tag_len: usize,
}

impl Cm {
    /// RFC 3711 §4.1.1: (salt * 2^16) XOR (SSRC * 2^64) XOR (index * 2^16).
    #[inline]
    fn iv(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let mut salt = [0; 16];
        salt[..14].copy_from_slice(&self.salt);
        (u128::from_be_bytes(salt) ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16).to_be_bytes()
    }
}

impl Drop for Cm {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

/// AES-GCM (RFC 7714). The key lives in the library's own memory, which clears it.
struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    fn new(key: &[u8], salt: &[u8; 14]) -> Self {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("the key has the length of the algorithm"));
        Gcm { key, salt: salt[..12].try_into().expect("12 of 14 octets") }
    }

    /// RFC 7714 §8.1: 00 00 ‖ SSRC ‖ ROC ‖ SEQ, XOR salt.
    #[inline]
    fn rtp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        self.nonce(u128::from(ssrc) << 48 | u128::from(index))
    }

    /// RFC 7714 §9.1: 00 00 ‖ SSRC ‖ 00 00 ‖ SRTCP index, XOR salt.
    #[inline]
    fn rtcp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        self.nonce(u128::from(ssrc) << 48 | u128::from(index))
    }

    #[inline]
    fn nonce(&self, value: u128) -> Nonce {
        let mut salt = [0; 16];
        salt[4..].copy_from_slice(&self.salt);
        let [_, _, _, _, nonce @ ..] = (u128::from_be_bytes(salt) ^ value).to_be_bytes();
        Nonce::assume_unique_for_key(nonce)
    }

    #[inline]
    fn seal(&self, nonce: Nonce, aad: &[u8], payload: &mut [u8], tag: &mut [u8]) -> Result<(), SrtpError> {
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), payload);
        tag.copy_from_slice(sealed.map_err(|_| SrtpError::Malformed("packet too long for the cipher"))?.as_ref());
        Ok(())
    }

    #[inline]
    fn open(&self, nonce: Nonce, aad: &[u8], payload_and_tag: &mut [u8]) -> Result<(), SrtpError> {
        let opened = self.key.open_in_place(nonce, Aad::from(aad), payload_and_tag);
        opened.map(|_| ()).map_err(|_| SrtpError::Authentication)
    }
}

impl Drop for Gcm {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

#[derive(Clone, Copy, Default)]
struct Source {
    ssrc: u32,
    used: u32,
    window: Window,
}

/// State of the SSRCs seen last.
#[derive(Default)]
struct Sources {
    slots: [Source; SOURCES],
    clock: u32,
}

impl Sources {
    /// The state of an SSRC, and where to keep it: its own place, a free one, or that of the one longest unused.
    #[inline]
    fn find(&self, ssrc: u32) -> (usize, Window) {
        match self.slots.iter().position(|slot| slot.ssrc == ssrc && !slot.window.is_new()) {
            Some(index) => (index, self.slots[index].window),
            None => {
                let oldest = (0..SOURCES).min_by_key(|&index| self.slots[index].used).unwrap_or(0);
                (oldest, Window::default())
            }
        }
    }

    #[inline]
    fn accept(&mut self, slot: usize, ssrc: u32, index: u64) {
        let source = &mut self.slots[slot];
        if source.ssrc != ssrc || source.window.is_new() {
            self.clock = self.clock.wrapping_add(1);
            *source = Source { ssrc, used: self.clock, window: Window::default() };
        }
        source.window.accept(index);
    }
}

#[cfg(test)]
pub(crate) mod tests;
