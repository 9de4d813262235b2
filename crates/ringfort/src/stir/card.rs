//! The card of a 608 (RFC 8688): where callers may complain who were turned away by a list, signed as a JWS and served at
//! `/rejected/SECOND`, which Call-Info of the response points to. Nothing is kept: it is signed when it is asked for, with the second of
//! the response in it, and for a few minutes only.

use std::sync::{Mutex, PoisonError};

use ringfort_stir::rejection::{Contact, RejectionCard};
use ringfort_stir::{SigningKey, UnixTime};

use crate::http::Page;

/// Where cards stand in the page's path.
const PATH: &str = "/rejected/";
/// How long after a response its card is signed. Whoever asks for it later has lost its interest: a receiver takes cards of
/// about a minute (RFC 8688 §3.3).
const WITHIN: u64 = 300;

/// What cards are made of.
#[derive(Debug)]
pub struct Maker {
    pub card: RejectionCard,
    /// Where others fetch the certificate.
    pub x5u: String,
    pub key: SigningKey,
}

/// Serves cards; the key may be exchanged meanwhile.
#[derive(Debug, Default)]
pub struct CardDesk(Mutex<Option<Maker>>);

impl CardDesk {
    pub fn set(&self, maker: Option<Maker>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = maker;
    }

    /// The page of that path, `now` in seconds since 1970; `None`: it is no card's, or of another time.
    pub fn page(&self, path: &str, now: u64) -> Option<Page> {
        let second: u64 = path.strip_prefix(PATH)?.parse().ok()?;
        if second > now + 1 || now.saturating_sub(second) > WITHIN {
            return None;
        }
        let maker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Maker { card, x5u, key } = maker.as_ref()?;
        let body = card.sign(UnixTime(second), x5u, key).ok()?;
        Some(Page { status: 200, content_type: "application/jose", body })
    }
}

/// `https://…`, `mailto:…`, `tel:…`.
pub fn contact(text: &str) -> Result<Contact, String> {
    let plain = text.len() <= 256 && text.chars().all(|c| c.is_ascii_graphic());
    let found = match text.split_once(':') {
        Some(("https", _)) => Some(Contact::Url(text.to_owned())),
        Some(("mailto", email)) if email.contains('@') => Some(Contact::Email(email.to_owned())),
        Some(("tel", number)) if number.starts_with('+') => Some(Contact::Tel(text.to_owned())),
        _ => None,
    };
    found.filter(|_| plain).ok_or_else(|| "write https://…, mailto:…@… or tel:+…".to_owned())
}

#[cfg(test)]
mod tests {
    use ringfort_stir::rejection::SignedCard;

    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn desk() -> CardDesk {
        let key = rcgen::KeyPair::generate().expect("a key");
        let desk = CardDesk::default();
        desk.set(Some(Maker {
            card: RejectionCard { name: "Acme".into(), contacts: vec![contact("mailto:calls@acme.example").unwrap()] },
            x5u: "https://acme.example/cert.pem".into(),
            key: SigningKey::from_pem(&key.serialize_pem()).expect("P-256"),
        }));
        desk
    }

    #[test]
    fn a_card_is_signed_for_the_second_of_its_response_and_not_for_ever() {
        let desk = desk();
        let page = desk.page(&format!("/rejected/{NOW}"), NOW + 2).expect("a card");
        assert_eq!((page.status, page.content_type), (200, "application/jose"));
        let read = SignedCard::parse(&page.body).expect("it is one");
        assert_eq!(read.x5u, "https://acme.example/cert.pem");
        for (path, now) in [
            (format!("/rejected/{NOW}"), NOW + WITHIN + 1),
            (format!("/rejected/{}", NOW + 10), NOW),
            ("/rejected/x".to_owned(), NOW),
            ("/rejected/".to_owned(), NOW),
            ("/metrics".to_owned(), NOW),
        ] {
            assert!(desk.page(&path, now).is_none(), "{path}");
        }
        desk.set(None);
        assert!(desk.page(&format!("/rejected/{NOW}"), NOW).is_none());
    }

    #[test]
    fn contacts_are_addresses_of_three_kinds() {
        assert_eq!(contact("tel:+442079460000"), Ok(Contact::Tel("tel:+442079460000".into())));
        assert_eq!(contact("https://acme.example/calls"), Ok(Contact::Url("https://acme.example/calls".into())));
        for wrong in ["calls@acme.example", "http://acme.example", "tel:112", "mailto:nobody", "https://a b"] {
            assert!(contact(wrong).is_err(), "{wrong}");
        }
    }
}
