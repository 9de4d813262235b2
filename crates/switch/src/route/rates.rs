//! What a call costs: the rate of the longest prefix, and the charge for a number of seconds. Least-cost routing asks
//! here, and so do spending limits.

use std::sync::Arc;

use smallvec::SmallVec;

use super::prefix::PrefixMap;
use crate::model::{Rate, RateTable, Rates, TrunkId};

/// A rate as the index keeps it.
#[derive(Clone, Copy)]
struct Entry {
    trunk: TrunkId,
    /// Place in that trunk's table.
    index: u32,
    /// The charge for one minute, by which trunks are compared.
    minute: u64,
}

/// The rates of all trunks under one index: one walk along a number meets those of every trunk.
pub struct RateBook {
    tables: Rates,
    by_prefix: PrefixMap<Entry>,
}

impl RateBook {
    pub fn new(tables: &Rates) -> Self {
        let entries = tables.iter().flat_map(|(&trunk, table)| {
            let rates = table.rates.iter().zip(0..);
            rates.map(move |(rate, index)| (rate.prefix.as_str(), Entry { trunk, index, minute: rate.charge(60) }))
        });
        Self { by_prefix: PrefixMap::new(entries), tables: tables.clone() }
    }

    /// Whether it was made from these very tables.
    pub(super) fn is_of(&self, tables: &Rates) -> bool {
        self.tables.len() == tables.len()
            && self.tables.iter().zip(tables).all(|((a, x), (b, y))| a == b && Arc::ptr_eq(x, y))
    }

    pub fn table(&self, trunk: TrunkId) -> Option<&Arc<RateTable>> {
        self.tables.get(&trunk)
    }

    /// A trunk's rate for a number in canonical form: that of the longest prefix.
    pub fn rate(&self, trunk: TrunkId, canonical: &str) -> Option<&Rate> {
        let mut found = None;
        self.by_prefix.prefixes(canonical, |entries| {
            found = entries.iter().find(|e| e.trunk == trunk).map(|e| e.index).or(found);
        });
        found.map(|index| &self.tables[&trunk].rates[index as usize])
    }

    /// What a minute costs by each trunk that has a rate for the number.
    pub(super) fn minutes(&self, canonical: &str) -> SmallVec<[(TrunkId, u64); 8]> {
        let mut found: SmallVec<[(TrunkId, u64); 8]> = SmallVec::new();
        self.by_prefix.prefixes(canonical, |entries| {
            for entry in entries {
                match found.iter_mut().find(|(trunk, _)| *trunk == entry.trunk) {
                    Some((_, minute)) => *minute = entry.minute,
                    None => found.push((entry.trunk, entry.minute)),
                }
            }
        });
        found
    }
}

impl RateTable {
    /// The rate for a number in canonical form, without an index: a handful of binary searches.
    pub fn rate(&self, canonical: &str) -> Option<&Rate> {
        let digits = canonical.strip_prefix('+').unwrap_or(canonical);
        let found = |prefix: &str| self.rates.binary_search_by(|rate| rate.prefix.as_str().cmp(prefix)).ok();
        (1..=digits.len()).rev().filter_map(|len| digits.get(..len)).find_map(found).map(|index| &self.rates[index])
    }
}

impl Rate {
    /// The charge for an answered call of `seconds`, in millionths of the currency unit; rounded up.
    pub fn charge(&self, seconds: u64) -> u64 {
        self.connection.saturating_add(self.time_charge(self.charged_seconds(seconds)))
    }

    /// Seconds that are paid for when `seconds` have gone by.
    pub fn charged_seconds(&self, seconds: u64) -> u64 {
        let (first, step) = (u64::from(self.first_s), u64::from(self.step_s.max(1)));
        if seconds <= first {
            first
        } else {
            first.saturating_add((seconds - first).div_ceil(step).saturating_mul(step))
        }
    }

    fn time_charge(&self, seconds: u64) -> u64 {
        let exact = u128::from(self.per_minute) * u128::from(seconds);
        u64::try_from(exact.div_ceil(60)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(prefix: &str, per_minute: u64) -> Rate {
        Rate { prefix: prefix.into(), per_minute, connection: 0, first_s: 1, step_s: 1 }
    }

    #[test]
    fn the_rate_is_that_of_the_longest_prefix() {
        let rates = vec![rate("44", 10), rate("447", 50), rate("4", 99)];
        let (one, other) = (TrunkId(1), TrunkId(2));
        let table = |rates| Arc::new(RateTable { currency: "EUR".into(), rates });
        let book = RateBook::new(&Rates::from([(one, table(rates)), (other, table(vec![rate("4477", 7)]))]));
        let of = |number: &str| book.rate(one, number).map(|r| r.per_minute);
        assert_eq!(of("+447700900123"), Some(50));
        assert_eq!(of("+442079460000"), Some(10));
        assert_eq!(of("+4930123456"), Some(99));
        assert_eq!(of("+12125550100"), None);
        assert_eq!(book.rate(other, "+442079460000"), None);
        let mut sorted =
            RateTable { currency: "EUR".into(), rates: vec![rate("44", 10), rate("447", 50), rate("4", 99)] };
        sorted.rates.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        for number in ["+447700900123", "+442079460000", "+4930123456", "+12125550100", "44", "", "+ä4"] {
            assert_eq!(sorted.rate(number), book.rate(one, number), "{number}");
        }
        assert_eq!(book.minutes("+447700900123").as_slice(), [(one, 50), (other, 7)]);
    }

    #[test]
    fn a_call_is_charged_in_steps() {
        let by_the_minute = Rate { first_s: 60, step_s: 60, connection: 5, ..rate("44", 120) };
        assert_eq!(by_the_minute.charge(1), 125);
        assert_eq!(by_the_minute.charge(60), 125);
        assert_eq!(by_the_minute.charge(61), 245);
        let by_six = Rate { first_s: 30, step_s: 6, ..rate("44", 100) };
        assert_eq!(by_six.charged_seconds(31), 36);
        assert_eq!(by_six.charge(36), 60);
        assert_eq!(rate("44", 100).charge(1), 2, "a fraction is rounded up");
        assert_eq!(Rate { step_s: 0, ..rate("44", 60) }.charge(7), 7, "a step of nothing is one of a second");
        assert_eq!(rate("44", u64::MAX).charge(u64::MAX), u64::MAX);
    }
}
