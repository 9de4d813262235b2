//! What a certificate is good for: the TN Authorization List (RFC 8226 §9) and the JWT claim constraints (§8, and the
//! enhanced ones of RFC 9118).

use serde_json::{Map, Value};

use crate::der::{self, IA5_STRING, Reader, SEQUENCE, UTF8_STRING, context};

/// A list with more entries is refused; carriers with more numbers have service provider codes.
const MAX_ENTRIES: usize = 20_000;
const MAX_CONSTRAINTS: usize = 64;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TnEntry {
    /// A service provider code: which numbers it stands for, no certificate says.
    Spc(String),
    /// Numbers from one on, as many as `count` says.
    Range {
        start: String,
        count: u64,
    },
    One(String),
}

/// `TNAuthorizationList`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TnAuthList(pub Vec<TnEntry>);

impl TnAuthList {
    /// The extension's value, DER. `None` for what is no such list, or an empty or longer one.
    pub fn parse(der: &[u8]) -> Option<TnAuthList> {
        let mut outer = Reader::new(der);
        let mut list = outer.inner(SEQUENCE)?;
        let mut entries = Vec::new();
        while !list.is_empty() {
            if entries.len() == MAX_ENTRIES {
                return None;
            }
            // The module's tags are explicit (RFC 8226 appendix A).
            let (tag, contents) = list.any()?;
            let mut entry = Reader::new(contents);
            entries.push(match tag {
                0xa0 => TnEntry::Spc(ia5(entry.read(IA5_STRING)?)?.to_owned()),
                0xa1 => {
                    let mut range = entry.inner(SEQUENCE)?;
                    let start = number(range.read(IA5_STRING)?)?;
                    let count = range.unsigned().filter(|count| *count >= 2)?;
                    TnEntry::Range { start, count }
                }
                0xa2 => TnEntry::One(number(entry.read(IA5_STRING)?)?),
                _ => return None,
            });
            if !entry.is_empty() {
                return None;
            }
        }
        (outer.is_empty() && !entries.is_empty()).then_some(TnAuthList(entries))
    }

    /// The extension's value, for tools that ask for certificates.
    pub fn to_der(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for entry in &self.0 {
            let mut contents = Vec::new();
            let tag = match entry {
                TnEntry::Spc(code) => {
                    der::write(IA5_STRING, code.as_bytes(), &mut contents);
                    0
                }
                TnEntry::Range { start, count } => {
                    let mut range = Vec::new();
                    der::write(IA5_STRING, start.as_bytes(), &mut range);
                    der::write_unsigned(*count, &mut range);
                    der::write(SEQUENCE, &range, &mut contents);
                    1
                }
                TnEntry::One(number) => {
                    der::write(IA5_STRING, number.as_bytes(), &mut contents);
                    2
                }
            };
            der::write(context(tag), &contents, &mut list);
        }
        let mut out = Vec::new();
        der::write(SEQUENCE, &list, &mut out);
        out
    }

    /// Whether a range or a single number has it.
    pub fn has_number(&self, number: &str) -> bool {
        self.0.iter().any(|entry| match entry {
            TnEntry::Spc(_) => false,
            TnEntry::One(one) => one == number,
            TnEntry::Range { start, count } => in_range(start, *count, number),
        })
    }

    pub fn spcs(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|entry| match entry {
            TnEntry::Spc(code) => Some(code.as_str()),
            TnEntry::Range { .. } | TnEntry::One(_) => None,
        })
    }
}

/// RFC 8226 §9: the numbers of a range are as long as its first.
fn in_range(start: &str, count: u64, number: &str) -> bool {
    if start.len() != number.len() {
        return false;
    }
    let (Ok(first), Ok(number)) = (start.parse::<u64>(), number.parse::<u64>()) else { return false };
    number >= first && number - first < count
}

fn ia5(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets)
        .ok()
        .filter(|text| !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' '))
}

fn number(octets: &[u8]) -> Option<String> {
    let text = ia5(octets)?;
    let is_number = text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'#' | b'*'));
    is_number.then(|| text.to_owned())
}

/// Which claims a certificate's PASSporTs must, may and must not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimConstraints {
    must_include: Vec<String>,
    permitted: Vec<(String, Vec<String>)>,
    /// RFC 9118 only.
    must_exclude: Vec<String>,
}

impl ClaimConstraints {
    /// The extension's value, DER.
    pub fn parse(der: &[u8]) -> Option<ClaimConstraints> {
        let mut outer = Reader::new(der);
        let mut fields = outer.inner(SEQUENCE)?;
        let mut constraints = ClaimConstraints::default();
        if let Some(mut field) = fields.inner(context(0)) {
            constraints.must_include = names(&mut field)?;
        }
        if let Some(mut field) = fields.inner(context(1)) {
            let mut list = field.inner(SEQUENCE)?;
            while !list.is_empty() {
                let mut entry = list.inner(SEQUENCE)?;
                let claim = ia5(entry.read(IA5_STRING)?)?.to_owned();
                let mut values = entry.inner(SEQUENCE)?;
                let mut permitted = Vec::new();
                while !values.is_empty() {
                    permitted.push(std::str::from_utf8(values.read(UTF8_STRING)?).ok()?.to_owned());
                }
                if constraints.permitted.len() == MAX_CONSTRAINTS || permitted.len() > MAX_CONSTRAINTS {
                    return None;
                }
                constraints.permitted.push((claim, permitted));
            }
        }
        if let Some(mut field) = fields.inner(context(2)) {
            constraints.must_exclude = names(&mut field)?;
        }
        (fields.is_empty() && outer.is_empty()).then_some(constraints)
    }

    /// The name of the first claim that is not as it must be.
    pub(crate) fn broken_by<'a>(&'a self, claims: &Map<String, Value>) -> Option<&'a str> {
        let absent = self.must_include.iter().find(|name| !claims.contains_key(*name));
        let present = || self.must_exclude.iter().find(|name| claims.contains_key(*name));
        let other = || {
            let wrong = self.permitted.iter().find(|(name, values)| {
                claims.get(name).is_some_and(|claim| !values.iter().any(|value| is_value(claim, value)))
            });
            wrong.map(|(name, _)| name)
        };
        absent.or_else(present).or_else(other).map(String::as_str)
    }
}

/// Text as it is; what is no text by its JSON.
fn is_value(claim: &Value, value: &str) -> bool {
    claim.as_str().is_some_and(|claim| claim == value) || crate::json::canonical(claim) == value
}

fn names(field: &mut Reader<'_>) -> Option<Vec<String>> {
    let mut list = field.inner(SEQUENCE)?;
    let mut names = Vec::new();
    while !list.is_empty() {
        if names.len() == MAX_CONSTRAINTS {
            return None;
        }
        names.push(ia5(list.read(IA5_STRING)?)?.to_owned());
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list() -> TnAuthList {
        TnAuthList(vec![
            TnEntry::Spc("709J".into()),
            TnEntry::Range { start: "12155551000".into(), count: 1000 },
            TnEntry::One("12025550100".into()),
        ])
    }

    #[test]
    fn a_list_is_written_and_read() {
        let der = list().to_der();
        assert_eq!(&der[..12], b"\x30\x2c\xa0\x06\x16\x04709J\xa1\x13");
        assert_eq!(TnAuthList::parse(&der), Some(list()));
    }

    #[test]
    fn a_number_is_in_the_list_by_itself_or_by_its_range() {
        let list = list();
        for number in ["12155551000", "12155551999", "12025550100"] {
            assert!(list.has_number(number), "{number}");
        }
        for number in ["12155550999", "12155552000", "12025550101", "2155551000", "121555510000", "12155551#00", ""] {
            assert!(!list.has_number(number), "{number}");
        }
        assert_eq!(list.spcs().collect::<Vec<_>>(), ["709J"]);
        assert!(TnAuthList(vec![TnEntry::Range { start: "9".into(), count: u64::MAX }]).has_number("9"));
    }

    #[test]
    fn other_bytes_are_no_list() {
        let good = list().to_der();
        for cut in 0..good.len() {
            assert_eq!(TnAuthList::parse(&good[..cut]), None, "{cut}");
        }
        let mut longer = good;
        longer.push(0);
        assert_eq!(TnAuthList::parse(&longer), None);
        for bytes in [
            &b"\x30\x00"[..],                                 // empty
            b"\x30\x05\xa2\x03\x16\x01A",                     // a letter
            b"\x30\x05\xa3\x03\x16\x011",                     // an unknown choice
            b"\x30\x0a\xa1\x08\x30\x06\x16\x011\x02\x01\x01", // a count of 1
            b"\x30\x07\xa2\x05\x16\x011\x05\x00",             // something behind it
        ] {
            assert_eq!(TnAuthList::parse(bytes), None, "{bytes:x?}");
        }
    }

    #[test]
    fn claims_are_held_against_the_constraints() {
        // mustInclude attest; permittedValues attest = A, B; mustExclude rph.
        let der = b"\x30\x2c\xa0\x0a\x30\x08\x16\x06attest\xa1\x15\x30\x13\x30\x11\x16\x06attest\x30\x07\x0c\x01A\x0c\x02BB\xa2\x07\x30\x05\x16\x03rph";
        let constraints = ClaimConstraints::parse(der).unwrap();
        let broken = |claims: Value| constraints.broken_by(claims.as_object().unwrap()).map(str::to_owned);
        assert_eq!(broken(json!({ "attest": "A" })), None);
        assert_eq!(broken(json!({ "attest": "C" })).as_deref(), Some("attest"));
        assert_eq!(broken(json!({ "orig": {} })).as_deref(), Some("attest"));
        assert_eq!(broken(json!({ "attest": "BB", "rph": 1 })).as_deref(), Some("rph"));
        assert_eq!(ClaimConstraints::parse(b"\x30\x03\xa0\x01\x30"), None);
    }
}
