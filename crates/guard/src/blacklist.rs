//! Independent blacklists (BLACK-1, 2, 5, 6): any number of lists, entries that leave by themselves, whole numbers, prefixes
//! and patterns, and an allow-list that wins over all of them. A million entries are a few megabytes and one hash away.
//! Numbers are brought to one form by the caller before they come here.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::pattern;

/// Seconds since 1970: entries outlive the process.
pub type UnixSeconds = u64;

/// A list by its number; 0 is the one that is meant where none is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId(pub u32);

/// What an entry says of numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Match {
    /// This number.
    Exact(String),
    /// Numbers that begin so; written with `*` at the end.
    Prefix(String),
    /// As in routes: `X` 0–9, `Z` 1–9, `N` 2–9, `[1-57]` one of these, `.` one or more of anything, `!` none or more.
    Pattern(String),
}

/// Something is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("expected a number, a prefix with * at its end, or a pattern, got nothing")]
    Empty,
    #[error("expected at most {LONGEST} characters, got {0}")]
    TooLong(usize),
    #[error(transparent)]
    Pattern(#[from] pattern::PatternError),
}

/// The longest entry.
const LONGEST: usize = 64;

impl Match {
    /// Reads `+442079460000`, `+4420*` or `+4420[1-3]XXXXXX`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Match, EntryError> {
        let text = text.trim();
        if text.is_empty() || text == "*" {
            return Err(EntryError::Empty);
        }
        if text.len() > LONGEST {
            return Err(EntryError::TooLong(text.len()));
        }
        if let Some(prefix) = text.strip_suffix('*').filter(|prefix| !prefix.contains(['*', '['])) {
            return Ok(Match::Prefix(prefix.to_owned()));
        }
        if text.contains(['X', 'Z', 'N', '[', '!']) || text.ends_with('.') {
            pattern::check(text)?;
            return Ok(Match::Pattern(text.to_owned()));
        }
        Ok(Match::Exact(text.to_owned()))
    }
}

impl std::fmt::Display for Match {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Match::Exact(text) | Match::Pattern(text) => f.write_str(text),
            Match::Prefix(text) => write!(f, "{text}*"),
        }
    }
}

/// When an entry leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expiry {
    /// It is listed while now is before this.
    At(UnixSeconds),
    Never,
}

impl Expiry {
    /// `hours` from now; `None`: never (BLACK-2).
    pub fn after(now: UnixSeconds, hours: Option<u32>) -> Expiry {
        hours.map_or(Expiry::Never, |hours| Expiry::At(now + u64::from(hours) * 3600))
    }

    fn holds(self, now: UnixSeconds) -> bool {
        match self {
            Expiry::At(end) => now < end,
            Expiry::Never => true,
        }
    }

    /// In 32 bits: a million entries are worth it. Good until 2106.
    fn pack(self) -> u32 {
        match self {
            Expiry::At(end) => u32::try_from(end).unwrap_or(u32::MAX - 1).min(u32::MAX - 1),
            Expiry::Never => u32::MAX,
        }
    }

    fn unpack(packed: u32) -> Expiry {
        if packed == u32::MAX { Expiry::Never } else { Expiry::At(u64::from(packed)) }
    }
}

/// A number of up to 16 symbols in one word: four bits each. `None` for what does not fit.
fn pack(number: &str) -> Option<u64> {
    if number.len() > 16 {
        return None;
    }
    let mut word = 0u64;
    for byte in number.bytes() {
        let symbol = match byte {
            b'0'..=b'9' => byte - b'0' + 1,
            b'*' => 11,
            b'#' => 12,
            b'+' => 13,
            _ => return None,
        };
        word = word << 4 | u64::from(symbol);
    }
    Some(word)
}

fn unpack(mut word: u64) -> String {
    let mut out = Vec::with_capacity(16);
    while word != 0 {
        out.push(b" 0123456789*#+"[(word & 15) as usize]);
        word >>= 4;
    }
    out.reverse();
    out.into_iter().map(char::from).collect()
}

/// Entries of one kind by their text: numbers in a word each, whatever else as it is.
#[derive(Clone, Debug, Default)]
struct Texts {
    numbers: FxHashMap<u64, u32>,
    others: FxHashMap<Box<str>, u32>,
}

impl Texts {
    fn insert(&mut self, text: &str, expiry: Expiry) -> bool {
        let before = match pack(text) {
            Some(word) => self.numbers.insert(word, expiry.pack()),
            None => self.others.insert(text.into(), expiry.pack()),
        };
        before.is_none()
    }

    fn remove(&mut self, text: &str) -> bool {
        match pack(text) {
            Some(word) => self.numbers.remove(&word).is_some(),
            None => self.others.remove(text).is_some(),
        }
    }

    /// Whether it is listed now; one that has run out goes.
    fn check(&mut self, now: UnixSeconds, text: &str) -> bool {
        let packed = match pack(text) {
            Some(word) => self.numbers.get(&word),
            None => self.others.get(text),
        };
        let Some(&packed) = packed else { return false };
        let holds = Expiry::unpack(packed).holds(now);
        if !holds {
            self.remove(text);
        }
        holds
    }

    fn len(&self) -> usize {
        self.numbers.len() + self.others.len()
    }

    fn iter(&self) -> impl Iterator<Item = (String, Expiry)> + '_ {
        let numbers = self.numbers.iter().map(|(word, packed)| (unpack(*word), Expiry::unpack(*packed)));
        numbers.chain(self.others.iter().map(|(text, packed)| (text.to_string(), Expiry::unpack(*packed))))
    }

    fn sweep(&mut self, now: UnixSeconds) -> usize {
        let before = self.len();
        self.numbers.retain(|_, packed| Expiry::unpack(*packed).holds(now));
        self.others.retain(|_, packed| Expiry::unpack(*packed).holds(now));
        before - self.len()
    }
}

/// One list.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// For people; may be empty.
    pub name: String,
    exact: Texts,
    prefixes: Texts,
    /// How many prefixes there are of each length in octets: only those are looked for.
    lengths: BTreeMap<usize, usize>,
    patterns: Vec<(String, Expiry)>,
}

impl List {
    /// Adds an entry, or gives the one that is there another end. `true`: it is new.
    pub fn add(&mut self, entry: &Match, expiry: Expiry) -> bool {
        match entry {
            Match::Exact(number) => self.exact.insert(number, expiry),
            Match::Prefix(prefix) => {
                let new = self.prefixes.insert(prefix, expiry);
                if new {
                    *self.lengths.entry(prefix.len()).or_default() += 1;
                }
                new
            }
            Match::Pattern(pattern) => match self.patterns.iter_mut().find(|(there, _)| there == pattern) {
                Some((_, there)) => {
                    *there = expiry;
                    false
                }
                None => {
                    self.patterns.push((pattern.clone(), expiry));
                    true
                }
            },
        }
    }

    /// `true`: it was there.
    pub fn remove(&mut self, entry: &Match) -> bool {
        match entry {
            Match::Exact(number) => self.exact.remove(number),
            Match::Prefix(prefix) => {
                let there = self.prefixes.remove(prefix);
                if there {
                    self.forget_length(prefix.len());
                }
                there
            }
            Match::Pattern(pattern) => {
                let before = self.patterns.len();
                self.patterns.retain(|(there, _)| there != pattern);
                self.patterns.len() < before
            }
        }
    }

    fn forget_length(&mut self, length: usize) {
        if let Some(count) = self.lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&length);
            }
        }
    }

    /// The entry that lists a number now. Those that have run out and are met go (BLACK-2).
    pub fn check(&mut self, now: UnixSeconds, number: &str) -> Option<Match> {
        if self.exact.check(now, number) {
            return Some(Match::Exact(number.to_owned()));
        }
        let lengths: smallvec::SmallVec<[usize; 16]> = self.lengths.keys().rev().copied().collect();
        for length in lengths {
            let Some(prefix) = number.get(..length) else { continue };
            let before = self.prefixes.len();
            if self.prefixes.check(now, prefix) {
                return Some(Match::Prefix(prefix.to_owned()));
            }
            if self.prefixes.len() < before {
                self.forget_length(length);
            }
        }
        self.patterns.retain(|(_, expiry)| expiry.holds(now));
        let fits = |(text, _): &&(String, Expiry)| pattern::matches(text, number);
        self.patterns.iter().find(fits).map(|(text, _)| Match::Pattern(text.clone()))
    }

    pub fn len(&self) -> usize {
        self.exact.len() + self.prefixes.len() + self.patterns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries, in order.
    pub fn entries(&self) -> Vec<(Match, Expiry)> {
        let exact = self.exact.iter().map(|(text, expiry)| (Match::Exact(text), expiry));
        let prefixes = self.prefixes.iter().map(|(text, expiry)| (Match::Prefix(text), expiry));
        let patterns = self.patterns.iter().map(|(text, expiry)| (Match::Pattern(text.clone()), *expiry));
        let mut entries: Vec<(Match, Expiry)> = exact.chain(prefixes).chain(patterns).collect();
        entries.sort();
        entries
    }

    /// Takes out what has run out; how many there were.
    pub fn sweep(&mut self, now: UnixSeconds) -> usize {
        let before = self.len();
        self.exact.sweep(now);
        self.prefixes.sweep(now);
        self.lengths.clear();
        for (prefix, _) in self.prefixes.iter() {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        self.patterns.retain(|(_, expiry)| expiry.holds(now));
        before - self.len()
    }
}

/// Which entry listed a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub list: ListId,
    pub entry: Match,
}

/// All lists of a tenant, and its allow-list.
#[derive(Clone, Debug, Default)]
pub struct Blacklists {
    lists: BTreeMap<ListId, List>,
    allow: List,
}

impl Blacklists {
    /// The list with that number, made where there is none.
    pub fn list_mut(&mut self, id: ListId) -> &mut List {
        self.lists.entry(id).or_default()
    }

    pub fn list(&self, id: ListId) -> Option<&List> {
        self.lists.get(&id)
    }

    pub fn lists(&self) -> impl Iterator<Item = (ListId, &List)> {
        self.lists.iter().map(|(id, list)| (*id, list))
    }

    /// Numbers that no list stops.
    pub fn allow_mut(&mut self) -> &mut List {
        &mut self.allow
    }

    /// Takes out what has run out; how many there were.
    pub fn sweep(&mut self, now: UnixSeconds) -> usize {
        self.allow.sweep(now) + self.lists.values_mut().map(|list| list.sweep(now)).sum::<usize>()
    }

    /// Entries of all lists, the allow-list too.
    pub fn len(&self) -> usize {
        self.allow.len() + self.lists.values().map(List::len).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no list stops the number.
    pub fn is_allowed(&mut self, now: UnixSeconds, number: &str) -> bool {
        self.allow.check(now, number).is_some()
    }

    /// The first of these lists that has the number, unless it is allowed.
    pub fn check(&mut self, now: UnixSeconds, lists: &[ListId], number: &str) -> Option<Hit> {
        let hit = lists.iter().find_map(|id| {
            let entry = self.lists.get_mut(id)?.check(now, number)?;
            Some(Hit { list: *id, entry })
        })?;
        if self.allow.check(now, number).is_some() { None } else { Some(hit) }
    }
}

/// A line of a CSV file that is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct CsvError {
    pub line: usize,
    pub what: String,
}

/// Reads `list,entry,expires` (a heading line may be there; `expires` in seconds since 1970, empty or left out: never).
///
/// # Errors
/// Every line that cannot be read; nothing has to be taken from such a file.
pub fn read_csv(text: &str) -> Result<Vec<(ListId, Match, Expiry)>, Vec<CsvError>> {
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || index == 0 && line.starts_with("list,") {
            continue;
        }
        match read_line(line) {
            Ok(entry) => entries.push(entry),
            Err(what) => errors.push(CsvError { line: index + 1, what }),
        }
    }
    if errors.is_empty() { Ok(entries) } else { Err(errors) }
}

fn read_line(line: &str) -> Result<(ListId, Match, Expiry), String> {
    let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"')).collect();
    let (list, entry, expires) = match fields[..] {
        [list, entry] => (list, entry, ""),
        [list, entry, expires] => (list, entry, expires),
        _ => return Err(format!("expected list,entry,expires, got {} fields", fields.len())),
    };
    let list = list.parse().map_err(|_| format!("expected the number of a list, got {list:?}"))?;
    let entry = Match::parse(entry).map_err(|error| error.to_string())?;
    let expiry = match expires {
        "" => Expiry::Never,
        seconds => Expiry::At(
            seconds
                .parse()
                .map_err(|_| format!("expected seconds since 1970 or nothing as the end, got {seconds:?}"))?,
        ),
    };
    Ok((ListId(list), entry, expiry))
}

/// The lines for [`read_csv`].
pub fn write_csv<'l>(lists: impl IntoIterator<Item = (ListId, &'l List)>) -> String {
    let mut out = String::from("list,entry,expires\n");
    for (id, list) in lists {
        for (entry, expiry) in list.entries() {
            let end = match expiry {
                Expiry::At(end) => end.to_string(),
                Expiry::Never => String::new(),
            };
            out.push_str(&format!("{},{entry},{end}\n", id.0));
        }
    }
    out
}

/// Russia's form (BLACK-5): `8…`, `7…`, `+7…` or nothing, then ten digits the first of which is 2–9, become `8` and the ten
/// digits; all else is left alone.
pub fn normalize_russia(number: &str) -> std::borrow::Cow<'_, str> {
    let ten = |rest: &str| {
        let first = rest.as_bytes().first().is_some_and(|b| matches!(b, b'2'..=b'9'));
        rest.len() == 10 && first && rest.bytes().all(|b| b.is_ascii_digit())
    };
    let stripped = [Some(number), number.strip_prefix("+7"), number.strip_prefix('8'), number.strip_prefix('7')];
    match stripped.into_iter().flatten().find(|rest| ten(rest)) {
        Some(rest) => format!("8{rest}").into(),
        None => number.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Match {
        Match::parse(text).expect(text)
    }

    #[test]
    fn an_entry_is_listed_to_the_second_and_goes_when_it_is_met_after_that() {
        let mut lists = Blacklists::default();
        lists.list_mut(ListId(0)).add(&entry("+442079460000"), Expiry::after(1_000, Some(2)));
        let zero = [ListId(0)];
        assert!(lists.check(1_000 + 7_199, &zero, "+442079460000").is_some());
        assert_eq!(lists.check(1_000 + 7_200, &zero, "+442079460000"), None);
        assert_eq!(lists.list(ListId(0)).map(List::len), Some(0), "the check has deleted it");
        assert_eq!(lists.check(1_000, &zero, "+442079460000"), None, "deleted is deleted");
    }

    #[test]
    fn adding_again_replaces_the_end_also_from_a_limited_one_to_for_ever() {
        let mut list = List::default();
        assert!(list.add(&entry("101"), Expiry::after(0, Some(1))));
        assert!(!list.add(&entry("101"), Expiry::after(0, None)));
        assert!(list.check(1_000_000_000, "101").is_some());
        assert!(!list.add(&entry("101"), Expiry::after(0, Some(1))));
        assert!(list.check(3_600, "101").is_none());
        assert!(list.add(&entry("0"), Expiry::after(0, Some(0))));
        assert!(list.check(0, "0").is_none(), "no hours are no time");
    }

    #[test]
    fn lists_are_each_on_their_own_and_the_allow_list_wins_over_all() {
        let mut lists = Blacklists::default();
        lists.list_mut(ListId(1)).add(&entry("+4420*"), Expiry::Never);
        lists.list_mut(ListId(7)).add(&entry("+44.".replace('.', "[1-3]X.").as_str()), Expiry::Never);
        let hit = |lists: &mut Blacklists, of: &[u32], number: &str| {
            let of: Vec<ListId> = of.iter().map(|&id| ListId(id)).collect();
            lists.check(0, &of, number).map(|hit| (hit.list.0, hit.entry.to_string()))
        };
        assert_eq!(hit(&mut lists, &[0], "+442079460000"), None);
        assert_eq!(hit(&mut lists, &[0, 1], "+442079460000"), Some((1, "+4420*".into())));
        assert_eq!(hit(&mut lists, &[7, 1], "+442079460000"), Some((7, "+44[1-3]X.".into())));
        lists.allow_mut().add(&entry("+442079460000"), Expiry::Never);
        assert_eq!(hit(&mut lists, &[7, 1], "+442079460000"), None);
        assert!(hit(&mut lists, &[1], "+442079460001").is_some());
    }

    #[test]
    fn deleting_says_whether_it_was_there() {
        let mut list = List::default();
        for text in ["101", "+44*", "0[1-5]X.", "a name that is no number"] {
            assert!(list.add(&entry(text), Expiry::Never), "{text}");
            assert!(list.remove(&entry(text)), "{text}");
            assert!(!list.remove(&entry(text)), "{text}");
        }
        assert!(list.is_empty());
        assert!(list.check(0, "+4420").is_none());
    }

    #[test]
    fn what_is_exported_is_imported_again() {
        let mut lists = Blacklists::default();
        for (id, text, expiry) in [
            (0, "+442079460000", Expiry::Never),
            (0, "*31#", Expiry::At(77)),
            (3, "+4930*", Expiry::At(1_900_000_000)),
            (3, "0[1-5]XX!", Expiry::Never),
            (3, "anonymous", Expiry::Never),
            (3, "12345678901234567890", Expiry::Never),
        ] {
            lists.list_mut(ListId(id)).add(&entry(text), expiry);
        }
        let csv = write_csv(lists.lists());
        let mut again = Blacklists::default();
        for (id, entry, expiry) in read_csv(&csv).expect("it is ours") {
            again.list_mut(id).add(&entry, expiry);
        }
        assert_eq!(write_csv(again.lists()), csv);
        assert_eq!(csv.lines().count(), 7);
    }

    #[test]
    fn every_wrong_line_of_a_file_is_named() {
        let errors =
            read_csv("list,entry,expires\n0,+44\nx,1\n1,\n2,0[,\n3,1,soon\n4,5,6,7\n").expect_err("five are wrong");
        let lines: Vec<usize> = errors.iter().map(|e| e.line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7]);
        assert!(errors[0].to_string().contains("number of a list"), "{}", errors[0]);
    }

    #[test]
    fn russias_numbers_have_one_form() {
        for number in ["89161234567", "79161234567", "+79161234567", "9161234567"] {
            assert_eq!(normalize_russia(number), "89161234567", "{number}");
        }
        for number in ["81161234567", "+7916123456", "891612345678", "101", "+4479161234567", "8916123456x", ""] {
            assert_eq!(normalize_russia(number), number);
        }
    }

    #[test]
    fn numbers_fit_into_a_word_and_come_out_of_it() {
        for number in ["0", "+442079460000", "*31#5", "1234567890123456", "0000"] {
            assert_eq!(unpack(pack(number).expect(number)), number);
        }
        assert_eq!(pack("12345678901234567"), None);
        assert_eq!(pack("anna"), None);
    }
}
