//! Reads TOML tables key by key and gathers every mistake, instead of stopping at the first as a derived
//! deserialiser does. A key that was never asked for is unknown: what the code reads is what is allowed.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Problems, What};
use super::value;

/// A file while it is read.
pub struct Document<'s> {
    file: String,
    source: &'s str,
    problems: RefCell<Vec<(usize, Problem)>>,
    /// Every key that was asked for, with `[]` for the members of a list: the truth that the reference is checked against.
    asked: RefCell<Vec<String>>,
}

impl<'s> Document<'s> {
    pub fn new(file: impl Into<String>, source: &'s str) -> Self {
        Self { file: file.into(), source, problems: RefCell::default(), asked: RefCell::default() }
    }

    /// Parses the text and reads it by `read`. All mistakes together, sorted by place.
    pub fn read<T>(&self, read: impl FnOnce(&mut Table<'_, 's>) -> T) -> Result<T, Problems> {
        let (root, errors) = DeTable::parse_recoverable(self.source);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            self.report(span, String::new(), What::Syntax(format!("not valid TOML: {}", error.message().trim())));
        }
        if !errors.is_empty() {
            // What the parser made of a broken file would only give misleading mistakes on top.
            return Err(self.take_problems());
        }
        let mut table = Table {
            document: self,
            entries: Some(root.get_ref()),
            path: String::new(),
            pattern: String::new(),
            span: root.span(),
            known: Vec::new(),
        };
        let result = read(&mut table);
        table.finish();
        if self.problems.borrow().is_empty() { Ok(result) } else { Err(self.take_problems()) }
    }

    /// The keys that were asked for, in order, each once.
    #[cfg(test)]
    pub fn asked(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for key in self.asked.borrow().iter() {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }

    fn report(&self, span: Range<usize>, key: String, what: What) {
        let start = span.start;
        self.problems.borrow_mut().push((start, Problem::at(&self.file, self.source, span, key, what)));
    }

    fn take_problems(&self) -> Problems {
        let mut problems = self.problems.take();
        problems.sort_by_key(|(start, _)| *start);
        Problems(problems.into_iter().map(|(_, problem)| problem).collect())
    }
}

/// A place in the file, to complain about later when values turn out not to go together.
#[derive(Clone, Debug)]
pub struct Place {
    span: Range<usize>,
    key: String,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

/// One table. Absent tables read as empty ones, so that every default has one home.
pub struct Table<'d, 's> {
    document: &'d Document<'s>,
    entries: Option<&'d DeTable<'s>>,
    path: String,
    pattern: String,
    span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'d, 's> Table<'d, 's> {
    fn lookup(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'s>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.document.asked.borrow_mut().push(join(&self.pattern, key));
        self.entries?.get(key)
    }

    fn place(&self, key: &str, span: Range<usize>) -> Place {
        Place { span, key: join(&self.path, key) }
    }

    /// The table itself, for mistakes that belong to no key of it.
    pub fn here(&self) -> Place {
        Place { span: self.span.clone(), key: self.path.clone() }
    }

    /// Says that values which are right each do not go together.
    pub fn conflict(&self, place: &Place, message: impl Into<String>) {
        self.document.report(place.span.clone(), place.key.clone(), What::Conflict(message.into()));
    }

    fn wrong(&self, key: &str, found: &Spanned<DeValue<'_>>, expected: &str, why: Option<String>) {
        let what = What::Value { expected: expected.to_owned(), got: shown(found.get_ref()), why };
        self.document.report(found.span(), join(&self.path, key), what);
    }

    /// A string that `convert` understands. Its error says why not; an empty one says nothing beyond `expected`.
    pub fn text<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        convert: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        let found = self.lookup(key)?;
        let result = match found.get_ref() {
            DeValue::String(text) => convert(text),
            _ => Err(String::new()),
        };
        self.converted(key, found, expected, result)
    }

    fn converted<T>(
        &self,
        key: &str,
        found: &Spanned<DeValue<'s>>,
        expected: &str,
        result: Result<T, String>,
    ) -> Option<At<T>> {
        match result {
            Ok(value) => Some(At { value, place: self.place(key, found.span()) }),
            Err(why) => {
                self.wrong(key, found, expected, (!why.is_empty()).then_some(why));
                None
            }
        }
    }

    /// One of some words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = one_of(&words);
        let convert = |text: &str| {
            let known = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            known.ok_or_else(|| did_you_mean(text, &words))
        };
        self.text(key, &expected, convert).map(|found| found.value)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let found = self.lookup(key)?;
        let value = found.get_ref().as_bool();
        if value.is_none() {
            self.wrong(key, found, "true or false", None);
        }
        value
    }

    /// A whole number within bounds.
    pub fn integer<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        unit: &str,
        bounds: RangeInclusive<i64>,
    ) -> Option<At<T>> {
        let found = self.lookup(key)?;
        let number = match found.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let value = number.filter(|number| bounds.contains(number)).and_then(|number| T::try_from(number).ok());
        if value.is_none() {
            self.wrong(key, found, &format!("{unit} from {} to {}", bounds.start(), bounds.end()), None);
        }
        value.map(|value| At { value, place: self.place(key, found.span()) })
    }

    /// A duration such as `"30s"` within bounds; with `zero`, `"0s"` too (it turns something off).
    pub fn duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        zero: bool,
    ) -> Option<At<Duration>> {
        let off = if zero { ", or \"0s\" for never" } else { "" };
        let expected = format!(
            "a duration from \"{}\" to \"{}\"{off}",
            value::show_duration(*bounds.start()),
            value::show_duration(*bounds.end())
        );
        let fits = |duration: &Duration| (zero && duration.is_zero()) || bounds.contains(duration);
        let found = self.lookup(key)?;
        let result = match found.get_ref() {
            DeValue::String(text) => value::duration(text)
                .and_then(|duration| if fits(&duration) { Ok(duration) } else { Err(String::new()) }),
            DeValue::Integer(number) => match number.as_str().parse().map(Duration::from_secs) {
                Ok(seconds) if fits(&seconds) => {
                    Err(format!("in quotes and with its unit: \"{}s\"?", seconds.as_secs()))
                }
                Ok(_) | Err(_) => Err(String::new()),
            },
            _ => Err(String::new()),
        };
        self.converted(key, found, &expected, result)
    }

    /// A list of strings, each converted.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        convert: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<At<T>>> {
        let found = self.lookup(key)?;
        let Some(items) = found.get_ref().as_array() else {
            self.wrong(key, found, &format!("a list, each member {expected}"), None);
            return None;
        };
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let name = format!("{key}[{}]", index + 1);
            let result = match item.get_ref() {
                DeValue::String(text) => convert(text),
                _ => Err(String::new()),
            };
            match result {
                Ok(value) => values.push(At { value, place: self.place(&name, item.span()) }),
                Err(why) => self.wrong(&name, item, expected, (!why.is_empty()).then_some(why)),
            }
        }
        // What is left of a list with mistakes would only lead to misleading ones.
        (values.len() == items.len()).then_some(values)
    }

    /// Reads a sub-table; what `read` does not ask for is unknown.
    pub fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Table<'d, 's>) -> T) -> T {
        let found = self.lookup(key);
        let entries = found.and_then(|found| {
            let table = found.get_ref().as_table();
            if table.is_none() {
                self.wrong(key, found, &format!("a table: [{}]", join(&self.path, key)), None);
            }
            table
        });
        let span = found.map_or(self.span.clone(), |found| found.span());
        self.child(key.to_owned(), key.to_owned(), entries, span, read)
    }

    /// Reads a list of tables (`[[key]]`). Empty where there is none.
    pub fn tables<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Table<'d, 's>) -> T) -> Vec<T> {
        let pattern = format!("{key}[]");
        let Some(found) = self.lookup(key) else {
            return Vec::new();
        };
        let expected = format!("tables: [[{}]]", join(&self.path, key));
        let Some(items) = found.get_ref().as_array() else {
            self.wrong(key, found, &expected, None);
            return Vec::new();
        };
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let name = format!("{key}[{}]", index + 1);
            match item.get_ref().as_table() {
                Some(entries) => values.push(self.child(name, pattern.clone(), Some(entries), item.span(), &mut read)),
                None => self.wrong(&name, item, &expected, None),
            }
        }
        values
    }

    fn child<T>(
        &self,
        name: String,
        pattern: String,
        entries: Option<&'d DeTable<'s>>,
        span: Range<usize>,
        read: impl FnOnce(&mut Table<'d, 's>) -> T,
    ) -> T {
        let mut table = Table {
            document: self.document,
            entries,
            path: join(&self.path, &name),
            pattern: join(&self.pattern, &pattern),
            span,
            known: Vec::new(),
        };
        let result = read(&mut table);
        table.finish();
        result
    }

    /// A key that has to be there and is not: said once, at the table.
    pub fn missing(&self, key: &str, expected: &str) {
        let what = What::Missing { expected: expected.to_owned() };
        self.document.report(self.span.clone(), join(&self.path, key), what);
    }

    /// Whether the key stands in the file, right or wrong.
    pub fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    fn finish(self) {
        let Some(entries) = self.entries else { return };
        for key in entries.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let what = What::Unknown {
                name: name.to_owned(),
                nearest: nearest(name, &self.known).map(str::to_owned),
                known: self.known.iter().map(|known| (*known).to_owned()).collect(),
            };
            self.document.report(key.span(), self.path.clone(), what);
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A value as a person would point at it: short, and never a secret's whole table.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > 60 => {
            format!("{:?}…", text.chars().take(60).collect::<String>())
        }
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => format!("the time {time}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// `"a", "b" or "c"`
pub fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// For a reason: `did you mean "x"?`, or nothing.
pub fn did_you_mean(word: &str, words: &[&str]) -> String {
    nearest(word, words).map_or_else(String::new, |near| format!("did you mean {near:?}?"))
}

/// The known word that was most likely meant: at most a third of it mistyped.
fn nearest<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    let lower = word.to_ascii_lowercase().replace('-', "_");
    words
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_ascii_lowercase().replace('-', "_")), *known))
        .filter(|(distance, known)| *distance <= known.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
