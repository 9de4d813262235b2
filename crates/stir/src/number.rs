//! Who calls and who is called, in canonical form (RFC 8224 §8): a telephone number as digits, or a SIP URI.

use std::borrow::Cow;
use std::fmt;

use ringfort_sip::{NameAddr, Scheme, Uri};
use serde_json::{Value, json};

/// ITU-T E.164: the most digits that a number has.
const MAX_DIGITS: usize = 15;
/// What a claim may hold at most.
pub(crate) const MAX_LENGTH: usize = 512;

/// One identity of a PASSporT (RFC 8225 §5.2.1). `Display` shows it whole, for use; `Debug`, for logs, masks it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// `tn`: digits, `#` and `*`, with the country code first and no `+`.
    Number(String),
    /// `uri`: normalized by RFC 8224 §8.5.
    Uri(String),
}

impl Party {
    /// A number as a claim has it; what separates digits is dropped. `None` where no digit is left or too many are.
    pub fn number(text: &str) -> Option<Party> {
        let digits = digits(text);
        (!digits.is_empty() && digits.len() <= MAX_DIGITS).then_some(Party::Number(digits))
    }

    /// The claim's name and value.
    pub fn as_claim(&self) -> (&'static str, &str) {
        match self {
            Party::Number(number) => ("tn", number),
            Party::Uri(uri) => ("uri", uri),
        }
    }

    /// `{"tn":"…"}` or `{"uri":"…"}`.
    pub(crate) fn to_json(&self) -> Value {
        let (name, value) = self.as_claim();
        json!({ name: value })
    }

    /// The domain of a URI.
    pub(crate) fn domain(&self) -> Option<&str> {
        match self {
            Party::Number(_) => None,
            Party::Uri(uri) => {
                uri.rsplit_once('@').map(|(_, host)| host).or_else(|| uri.split_once(':').map(|(_, host)| host))
            }
        }
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = self.as_claim();
        let shown: String = value.chars().take(if value.len() < 8 { 1 } else { 3 }).collect();
        write!(f, "{name}:{shown}****")
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Number(number) => f.write_str(number),
            Party::Uri(uri) => f.write_str(uri),
        }
    }
}

/// A header field names nobody whose identity could be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartyError {
    #[error("expected an address such as <sip:+12155551212@example.com>")]
    Address,
    #[error("expected a sip:, sips: or tel: URI, got {0:?}")]
    Scheme(String),
    #[error("expected at most 512 characters")]
    TooLong,
}

/// How numbers without `+` are completed where we are (RFC 8224 §8.3). The default takes them as they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberPlan {
    /// Such as "1" or "49"; empty: numbers are not completed.
    pub country_code: String,
    /// Before a number with a country code, such as "00" or "011".
    pub international_prefix: String,
    /// Before a number within the country, such as "0".
    pub national_prefix: String,
    /// Where every number of the country has as many digits and no prefix is needed: 10 in North America.
    pub national_length: Option<usize>,
    /// A user part of digits alone is a number from this many on; shorter ones are extensions. With `user=phone`, `tel:` or
    /// `+` it is one anyway.
    pub shortest: usize,
}

impl Default for NumberPlan {
    fn default() -> Self {
        NumberPlan {
            country_code: String::new(),
            international_prefix: String::new(),
            national_prefix: String::new(),
            national_length: None,
            shortest: 7,
        }
    }
}

impl NumberPlan {
    /// Country code 1.
    pub fn north_america() -> NumberPlan {
        NumberPlan {
            country_code: "1".into(),
            international_prefix: "011".into(),
            national_prefix: "1".into(),
            national_length: Some(10),
            ..NumberPlan::default()
        }
    }

    /// A header field's value (From, To, P-Asserted-Identity) or a URI. RFC 8224 §8.1.
    pub fn party(&self, value: &str) -> Result<Party, PartyError> {
        if value.len() > MAX_LENGTH {
            return Err(PartyError::TooLong);
        }
        let address = NameAddr::parse(value.as_bytes()).map_err(|_| PartyError::Address)?;
        self.party_of(&address.uri().map_err(|_| PartyError::Address)?)
    }

    /// A URI by itself, such as a Request-URI.
    pub fn party_of_uri(&self, uri: &str) -> Result<Party, PartyError> {
        if uri.len() > MAX_LENGTH {
            return Err(PartyError::TooLong);
        }
        self.party_of(&Uri::parse(uri).map_err(|_| PartyError::Address)?)
    }

    /// # Errors
    /// Another scheme.
    pub fn party_of(&self, uri: &Uri<'_>) -> Result<Party, PartyError> {
        let user = uri.user_unescaped().unwrap_or(Cow::Borrowed(""));
        match uri.scheme {
            Scheme::Tel => {
                let number = user.split(';').next().unwrap_or_default();
                let context = uri.param("phone-context").or_else(|| context(&user));
                self.complete(number, context).ok_or(PartyError::Address)
            }
            Scheme::Sip | Scheme::Sips => {
                let number = user.split(';').next().unwrap_or_default();
                let is_phone = uri.param("user").is_some_and(|kind| kind.eq_ignore_ascii_case("phone"));
                let is_number = !number.is_empty() && number.bytes().all(is_phone_digit_or_separator);
                let is_long = number.bytes().filter(u8::is_ascii_digit).count() >= self.shortest;
                if is_number
                    && (is_phone || number.starts_with('+') || is_long)
                    && let Some(party) = self.complete(number, context(&user))
                {
                    return Ok(party);
                }
                Ok(Party::Uri(normalize(uri, &user)))
            }
            Scheme::Other(other) => Err(PartyError::Scheme(other.to_owned())),
        }
    }

    fn complete(&self, number: &str, context: Option<&str>) -> Option<Party> {
        if !number.bytes().all(is_phone_digit_or_separator) {
            return None;
        }
        if number.starts_with('+') {
            return Party::number(number);
        }
        if let Some(context) = context.filter(|context| context.starts_with('+')) {
            return Party::number(&format!("{context}{number}"));
        }
        let digits = digits(number);
        if self.country_code.is_empty() || digits.contains(['#', '*']) {
            return Party::number(&digits);
        }
        let after = |prefix: &str| digits.strip_prefix(prefix).filter(|rest| !prefix.is_empty() && !rest.is_empty());
        if let Some(rest) = after(&self.international_prefix) {
            return Party::number(rest);
        }
        if self.national_length == Some(digits.len()) {
            return Party::number(&format!("{}{digits}", self.country_code));
        }
        if let Some(rest) = after(&self.national_prefix)
            && digits.len() >= self.shortest
        {
            return Party::number(&format!("{}{rest}", self.country_code));
        }
        // A service number, or already complete: nothing says which.
        Party::number(&digits)
    }

    /// An identity of a claim, normalized for comparison.
    pub(crate) fn claimed(&self, party: &Party) -> Party {
        match party {
            Party::Number(_) => party.clone(),
            Party::Uri(uri) => match Uri::parse(uri) {
                Ok(parsed) if parsed.scheme.is_sip() => {
                    Party::Uri(normalize(&parsed, &parsed.user_unescaped().unwrap_or(Cow::Borrowed(""))))
                }
                Ok(_) | Err(_) => party.clone(),
            },
        }
    }
}

fn context(user: &str) -> Option<&str> {
    user.split(';').skip(1).find_map(|param| {
        let (name, value) = param.split_once('=')?;
        name.eq_ignore_ascii_case("phone-context").then_some(value)
    })
}

/// RFC 3966 §3 `phonedigit`, visual separators among them, and the service keys.
const fn is_phone_digit_or_separator(b: u8) -> bool {
    b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'(' | b')' | b'#' | b'*')
}

fn digits(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '#' | '*')).collect()
}

/// RFC 8224 §8.5: scheme, user and host, in lower case.
fn normalize(uri: &Uri<'_>, user: &str) -> String {
    let scheme = uri.scheme.as_str().to_ascii_lowercase();
    let host = uri.host_str().to_ascii_lowercase();
    if user.is_empty() {
        return format!("{scheme}:{host}");
    }
    let mut out = format!("{scheme}:");
    for b in user.to_lowercase().bytes() {
        // RFC 3261 §25.1 `user` without escapes.
        if b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out.push('@');
    out.push_str(&host);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tn(number: &str) -> Party {
        Party::Number(number.to_owned())
    }

    fn uri(uri: &str) -> Party {
        Party::Uri(uri.to_owned())
    }

    #[test]
    fn numbers_are_found_and_completed_by_rfc_8224_section_8() {
        let plain = NumberPlan::default();
        let america = NumberPlan::north_america();
        let germany = NumberPlan {
            country_code: "49".into(),
            international_prefix: "00".into(),
            national_prefix: "0".into(),
            ..NumberPlan::default()
        };
        let cases = [
            (&plain, "\"Bob\" <sip:+17005551008@chicago.example.com;user=phone>;tag=1", tn("17005551008")),
            (&plain, "<sip:+1-700-555-1008@chicago.example.com>", tn("17005551008")),
            (&plain, "tel:+1(700)555.1008", tn("17005551008")),
            (&plain, "<tel:5551008;phone-context=+1700>", tn("17005551008")),
            (&plain, "<sip:12155551212@example.com>", tn("12155551212")),
            (&plain, "<sip:12155551212;verstat=TN-Validation-Passed@example.com;user=phone>", tn("12155551212")),
            (&plain, "<sip:101@Example.com:5070;transport=tcp>", uri("sip:101@example.com")),
            (&plain, "<sip:911@example.com;user=phone>", tn("911")),
            (&plain, "<sip:*67@example.com;user=phone>", tn("*67")),
            (&america, "<sip:2155551212@example.com>", tn("12155551212")),
            (&america, "<sip:12155551212@example.com>", tn("12155551212")),
            (&america, "<sip:011493012345678@example.com>", tn("493012345678")),
            (&america, "<sip:911@example.com;user=phone>", tn("911")),
            (&germany, "<sip:03012345678@example.de>", tn("493012345678")),
            (&germany, "<sip:00493012345678@example.de>", tn("493012345678")),
            (&germany, "<sip:0012155551212@example.de>", tn("12155551212")),
            (&germany, "<sip:112@example.de;user=phone>", tn("112")),
        ];
        for (plan, value, expected) in cases {
            assert_eq!(plan.party(value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn uris_are_normalized_by_rfc_8224_section_8_5() {
        let plan = NumberPlan::default();
        for (value, expected) in [
            ("<SIP:Alice:secret@Example.COM:5061;transport=tls?Subject=x>", "sip:alice@example.com"),
            ("<sips:%61lice@example.com>", "sips:alice@example.com"),
            ("<sip:a%40b@example.com>", "sip:a%40b@example.com"),
            ("<sip:example.com>", "sip:example.com"),
            ("<sip:123456789012345678@example.com>", "sip:123456789012345678@example.com"),
        ] {
            assert_eq!(plan.party(value), Ok(uri(expected)), "{value}");
        }
        assert_eq!(plan.claimed(&uri("sip:Alice@EXAMPLE.com")), uri("sip:alice@example.com"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let plan = NumberPlan::default();
        assert_eq!(plan.party("<"), Err(PartyError::Address));
        assert_eq!(plan.party("<http://example.com>"), Err(PartyError::Scheme("http".into())));
        assert_eq!(plan.party(&format!("<sip:{}@x>", "a".repeat(600))), Err(PartyError::TooLong));
        assert_eq!(plan.party("tel:+++"), Err(PartyError::Address));
    }
}
