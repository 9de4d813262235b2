//! Names of transactions and dialogs: keyed hashes of 128 bits over the fields that identify them, so that a table
//! needs no strings and a stranger cannot make two collide; and the tags and branches that we choose.

use std::hash::Hasher;
use std::net::IpAddr;

use rand::Rng;
use rand::rngs::ChaCha12Rng;
use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use crate::message::Message;
use crate::method::Method;

/// The methods that the core treats each in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Invite,
    Ack,
    Cancel,
    Bye,
    Update,
    Prack,
    Register,
    Other,
}

impl Kind {
    pub(super) fn of(method: Method<'_>) -> Kind {
        match method {
            Method::Invite => Kind::Invite,
            Method::Ack => Kind::Ack,
            Method::Cancel => Kind::Cancel,
            Method::Bye => Kind::Bye,
            Method::Update => Kind::Update,
            Method::Prack => Kind::Prack,
            Method::Register => Kind::Register,
            Method::Options
            | Method::Info
            | Method::Message
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Publish
            | Method::Other(_) => Kind::Other,
        }
    }
}

/// What the user of the endpoint wants to hear of when the ACK for an answer without a transaction comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(u8);

impl Mark {
    /// Nothing is told.
    pub const NONE: Mark = Mark(0);

    /// 1 to 15; `None` for all else.
    pub const fn new(mark: u8) -> Option<Mark> {
        if mark == 0 || mark > 15 { None } else { Some(Mark(mark)) }
    }

    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag([u8; 16]);

impl Tag {
    pub(super) fn new(number: u64) -> Tag {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 16];
        for (n, digit) in text.iter_mut().enumerate() {
            *digit = DIGITS[(number >> (60 - 4 * n)) as usize & 15];
        }
        Tag(text)
    }

    /// The number that a tag was made of.
    fn read(text: &str) -> Option<u64> {
        let right = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16).ok().filter(|_| right)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

/// "z9hG4bK", the number of the transaction, and 64 random bits that nobody can guess who has not seen the request.
#[derive(Clone, Copy)]
pub(super) struct Branch([u8; Branch::LEN]);

impl Branch {
    const COOKIE: &[u8; 7] = b"z9hG4bK";
    /// Octets of one of ours.
    pub(super) const LEN: usize = 39;

    pub(super) fn new(tx: u64, nonce: u64) -> Branch {
        let mut text = [0; Branch::LEN];
        text[..7].copy_from_slice(Branch::COOKIE);
        text[7..23].copy_from_slice(&Tag::new(tx).0);
        text[23..].copy_from_slice(&Tag::new(nonce).0);
        Branch(text)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }

    /// Number and random part of a branch of ours.
    pub(super) fn read(branch: &str) -> Option<(u64, u64)> {
        let digits = branch.as_bytes().strip_prefix(Branch::COOKIE).filter(|digits| digits.len() == 32)?;
        let number = |part: &[u8]| {
            part.iter().try_fold(0u64, |number, &digit| {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
                Some(number << 4 | u64::from(value))
            })
        };
        Some((number(&digits[..16])?, number(&digits[16..])?))
    }
}

/// The key of all hashes.
pub(super) struct Secret(u64, u64);

impl Secret {
    pub(super) fn new(rng: &mut ChaCha12Rng) -> Secret {
        Secret(rng.next_u64(), rng.next_u64())
    }

    fn hash(&self, parts: &[&[u8]]) -> u128 {
        let mut bytes: SmallVec<[u8; 256]> = SmallVec::new();
        for part in parts {
            bytes.extend_from_slice(part);
            // Occurs in none of the parts, which are UTF-8 or numbers of fixed length.
            bytes.push(0xff);
        }
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write(&bytes);
        hasher.finish128().as_u128()
    }

    /// RFC 3261 §17.2.3: branch, sent-by and method, where ACK and CANCEL count as the INVITE they are for. Without the
    /// magic cookie the rules of RFC 2543: Request-URI, From tag, Call-ID, CSeq and Via as a whole.
    pub(super) fn server_key(&self, msg: &Message, kind: Kind) -> u128 {
        let via = msg.top_via();
        let method = match kind {
            Kind::Ack | Kind::Cancel => "INVITE",
            _ => msg.method().as_str(),
        };
        let port = via.port.unwrap_or(0).to_be_bytes();
        let host: SmallVec<[u8; 64]> = via.host_str().bytes().map(|b| b.to_ascii_lowercase()).collect();
        match via.transaction_branch() {
            Some(branch) => self.hash(&[b"t", branch.as_bytes(), &host, &port, method.as_bytes()]),
            None => self.hash(&[
                b"o",
                msg.request_uri().as_bytes(),
                msg.from_tag().unwrap_or("").as_bytes(),
                msg.call_id().as_bytes(),
                &msg.cseq().number.to_be_bytes(),
                method.as_bytes(),
                via.as_bytes(),
            ]),
        }
    }

    /// RFC 3261 §8.2.2.2: From tag, Call-ID and CSeq.
    pub(super) fn merge_key(&self, msg: &Message) -> u64 {
        let cseq = msg.cseq();
        let key = self.hash(&[
            b"m",
            msg.from_tag().unwrap_or("").as_bytes(),
            msg.call_id().as_bytes(),
            &cseq.number.to_be_bytes(),
            cseq.method.as_str().as_bytes(),
        ]);
        key as u64
    }

    pub(super) fn dialog_key(&self, call_id: &str, local_tag: &str, remote_tag: &str) -> u128 {
        self.hash(&[b"d", call_id.as_bytes(), local_tag.as_bytes(), remote_tag.as_bytes()])
    }

    /// A To tag that comes out the same for the same request from the same address (RFC 3261 §8.2.7). `mark` is hidden in
    /// its last digit, for [`Secret::mark_of`]. The branch is no part of it: some scanners acknowledge with another one than
    /// they called with, and whoever has our tag has heard our answer.
    pub(super) fn stateless_tag(&self, msg: &Message, source: IpAddr, mark: Mark) -> Tag {
        Tag::new(self.stateless(msg, source) ^ u64::from(mark.0))
    }

    fn stateless(&self, msg: &Message, source: IpAddr) -> u64 {
        let source = match source.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let from_tag = msg.from_tag().unwrap_or("");
        self.hash(&[b"s", msg.call_id().as_bytes(), from_tag.as_bytes(), &source.octets()]) as u64
    }

    /// The mark in the To tag of an ACK, where it is the tag of an answer that went to this source.
    pub(super) fn mark_of(&self, ack: &Message, source: IpAddr) -> Option<Mark> {
        let tag = Tag::read(ack.to_tag()?)?;
        let difference = tag ^ self.stateless(ack, source);
        (difference < 16).then_some(Mark(difference as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_of_ours_is_read_back_and_no_other_is() {
        let branch = Branch::new(0x1_0000_0002, 0xdead_beef_0000_0001);
        assert_eq!(Branch::read(branch.as_str()), Some((0x1_0000_0002, 0xdead_beef_0000_0001)));
        for other in ["", "z9hG4bK", "z9hG4bK-1", &branch.as_str()[..38], &branch.as_str().to_uppercase()] {
            assert_eq!(Branch::read(other), None, "{other}");
        }
    }
}
