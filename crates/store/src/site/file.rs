//! `site.toml` text to `RawSite`. Walks the parsed document itself instead of deriving, so that one run finds every
//! wrong key and type of the file and can say where each stands.

use std::ops::Range;

use ringfort_switch::model::{Secret, SrtpPolicy};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::line::{self, Form, Key, RawLine, Val, Values};
use super::{Located, Position, RawExtension, RawSite, RawTenant, SiteError, SiteErrors};

const KINDS: &[&str] = &["tenant", "extension", "trunk", "route", "inbound", "alias"];
const TENANT_KEYS: &[&str] = &["name", "domains"];
const EXTENSION_KEYS: &[&str] =
    &["number", "tenant", "name", "sip_user", "sip_password", "srtp", "max_calls", "max_contacts", "enabled"];

/// Reads a site file. `file` is its name, for messages.
///
/// # Errors
/// Everything wrong with syntax, keys and types, with line and column.
pub fn parse(file: &str, text: &str) -> Result<RawSite, SiteErrors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { lines: Lines::new(text), errors: Vec::new() };
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in syntax {
        reader.errors.push(SiteError {
            at: error.span().map(|span| reader.lines.position(text, &span)),
            key: String::new(),
            expected: "TOML".to_owned(),
            got: format!("what does not parse: {}", error.message().trim()),
            help: "mend the line; strings stand in quotes, lists in brackets".to_owned(),
        });
    }
    let mut site = RawSite { file: file.to_owned(), ..RawSite::default() };
    if reader.errors.is_empty() {
        let table = Table { text, key: String::new(), entries: document.get_ref() };
        reader.unknown_keys(&table, KINDS);
        site.tenants = reader.objects(&table, "tenant", Reader::tenant);
        site.extensions = reader.objects(&table, "extension", Reader::extension);
        site.trunks = reader.objects(&table, "trunk", |r, t| r.line(t, "trunk", line::TRUNK));
        site.routes = reader.objects(&table, "route", |r, t| r.line(t, "route", line::ROUTE));
        site.inbound = reader.objects(&table, "inbound", |r, t| r.line(t, "inbound", line::INBOUND));
        site.aliases = reader.objects(&table, "alias", |r, t| r.line(t, "alias", line::ALIAS));
    }
    SiteErrors::check(file, reader.errors)?;
    Ok(site)
}

/// Byte offsets of line starts.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    fn position(&self, text: &str, span: &Range<usize>) -> Position {
        let line = self.0.partition_point(|&start| start <= span.start).max(1);
        let start = self.0[line - 1];
        let column = text.get(start..span.start).map_or(span.start - start, |s| s.chars().count());
        Position { line, column: column + 1 }
    }
}

/// A table of the file and how to name it in a message.
struct Table<'a, 'i> {
    text: &'i str,
    /// `extension "101"`, empty for the document.
    key: String,
    entries: &'a DeTable<'i>,
}

struct Reader {
    lines: Lines,
    errors: Vec<SiteError>,
}

impl Reader {
    fn tenant(&mut self, table: &mut Table<'_, '_>) -> Option<RawTenant> {
        let name = self.required_string(table, "name", "tenant");
        self.unknown_keys(table, &with(TENANT_KEYS, line::NUMBERS));
        let domains = self.strings(table, "domains");
        let values = self.values(table, line::NUMBERS);
        Some(RawTenant { name: name?, domains, values })
    }

    fn extension(&mut self, table: &mut Table<'_, '_>) -> Option<RawExtension> {
        let number = self.required_string(table, "number", "extension");
        self.unknown_keys(table, &with(EXTENSION_KEYS, line::CALLING));
        let mut raw = RawExtension {
            tenant: self.string(table, "tenant"),
            name: self.string(table, "name"),
            sip_user: self.string(table, "sip_user"),
            sip_password: self.secret(table, "sip_password"),
            srtp: self.srtp(table, "srtp"),
            max_calls: self.count(table, "max_calls"),
            max_contacts: self.count(table, "max_contacts"),
            enabled: self.flag(table, "enabled"),
            calling: Some(self.values(table, line::CALLING)),
            ..RawExtension::new("")
        };
        raw.number = number?;
        Some(raw)
    }

    fn line(&mut self, table: &mut Table<'_, '_>, kind: &str, keys: &[Key]) -> Option<RawLine> {
        let name = self.required_string(table, "name", kind);
        self.unknown_keys(table, &with(&["name"], keys));
        let values = self.values(table, keys);
        Some(RawLine { name: name?, values })
    }

    /// What is given of these keys.
    fn values(&mut self, table: &Table<'_, '_>, keys: &[Key]) -> Values {
        let mut values = Values::new();
        for &(key, form) in keys {
            let value = match form {
                Form::Text => self.string(table, key).map(|v| Located { value: Val::Text(v.value), at: v.at }),
                Form::Secret => self.secret(table, key).map(|v| Located { value: Val::Secret(v.value), at: v.at }),
                Form::Count => self.count(table, key).map(|v| Located { value: Val::Count(v.value), at: v.at }),
                Form::Flag => self.flag(table, key).map(|v| Located { value: Val::Flag(v.value), at: v.at }),
                Form::Duration => self.duration(table, key),
                Form::Texts => self.strings(table, key).map(|list| {
                    let at = entry(table.entries, key).map(|(_, v)| self.lines.position(table.text, &v.span()));
                    Located { value: Val::Texts(list), at }
                }),
            };
            values.extend(value.map(|value| (key, value)));
        }
        values
    }

    fn duration(&mut self, table: &Table<'_, '_>, key: &str) -> Option<Located<Val>> {
        let (_, value) = entry(table.entries, key)?;
        match value.get_ref().as_str().and_then(line::parse_duration) {
            Some(duration) => Some(self.located(table, value, Val::Duration(duration))),
            None => {
                self.wrong(
                    table,
                    key,
                    value,
                    "a duration in quotes",
                    "write it like \"500ms\", \"30s\", \"10m\" or \"1h30m\"",
                );
                None
            }
        }
    }

    /// The tables of `[[kind]]`; `None` where the file has no such key.
    fn objects<T>(
        &mut self,
        document: &Table<'_, '_>,
        kind: &str,
        read: fn(&mut Self, &mut Table<'_, '_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (_, value) = entry(document.entries, kind)?;
        let help = format!("write each as a table headed [[{kind}]]");
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(document, kind, value, &format!("tables headed [[{kind}]]"), &help);
            return None;
        };
        let mut objects = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let key = format!("{kind} {}", index + 1);
            match item.get_ref().as_table() {
                Some(entries) => objects.extend(read(self, &mut Table { text: document.text, key, entries })),
                None => self.wrong(document, kind, item, "a table", &help),
            }
        }
        Some(objects)
    }

    fn unknown_keys(&mut self, table: &Table<'_, '_>, known: &[&str]) {
        for (key, _) in table.entries {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let help = match closest(name, known) {
                Some(close) => format!("did you mean {close}?"),
                None => "remove it".to_owned(),
            };
            self.errors.push(SiteError {
                at: Some(self.lines.position(table.text, &key.span())),
                key: path(table, name),
                expected: format!("one of {}", known.join(", ")),
                got: "a key that is not known".to_owned(),
                help,
            });
        }
    }

    fn required_string(&mut self, table: &mut Table<'_, '_>, key: &str, kind: &str) -> Option<Located<String>> {
        if entry(table.entries, key).is_none() {
            // The table's own place is not kept by the parser where it is headed: its first entry's is.
            let first = table.entries.keys().map(|k| k.span()).min_by_key(|s| s.start);
            self.errors.push(SiteError {
                at: first.map(|span| self.lines.position(table.text, &span)),
                key: table.key.clone(),
                expected: format!("a {key}"),
                got: "none".to_owned(),
                help: format!("every [[{kind}]] needs {key} = \"…\""),
            });
            return None;
        }
        let value = self.string(table, key)?;
        table.key = format!("{kind} {:?}", value.value);
        Some(value)
    }

    fn string(&mut self, table: &Table<'_, '_>, key: &str) -> Option<Located<String>> {
        let (_, value) = entry(table.entries, key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(self.located(table, value, text.to_owned())),
            None => {
                let help = match value.get_ref() {
                    DeValue::Integer(n) => format!("write {key} = \"{}\"", n.as_str()),
                    _ => format!("write {key} = \"…\""),
                };
                self.wrong(table, key, value, "text in quotes", &help);
                None
            }
        }
    }

    /// Like `string`, but what came is never repeated.
    fn secret(&mut self, table: &Table<'_, '_>, key: &str) -> Option<Located<Secret>> {
        let (_, value) = entry(table.entries, key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(self.located(table, value, Secret::new(text))),
            None => {
                self.errors.push(SiteError {
                    at: Some(self.lines.position(table.text, &value.span())),
                    key: path(table, key),
                    expected: "text in quotes".to_owned(),
                    got: with_article(value.get_ref().type_str()),
                    help: match key {
                        // Only the provider knows it.
                        "password" => format!("write {key} = \"…\""),
                        _ => format!("write {key} = \"…\", or leave it out: a good one is generated"),
                    },
                });
                None
            }
        }
    }

    fn strings(&mut self, table: &Table<'_, '_>, key: &str) -> Option<Vec<Located<String>>> {
        let (_, value) = entry(table.entries, key)?;
        let help = format!("write {key} = [\"…\", \"…\"]");
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(table, key, value, "a list of text in quotes", &help);
            return None;
        };
        let mut strings = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(text) => strings.push(self.located(table, item, text.to_owned())),
                None => self.wrong(table, key, item, "text in quotes", &help),
            }
        }
        Some(strings)
    }

    fn srtp(&mut self, table: &Table<'_, '_>, key: &str) -> Option<Located<SrtpPolicy>> {
        let (_, value) = entry(table.entries, key)?;
        let policy = match value.get_ref().as_str() {
            Some("off") => Some(SrtpPolicy::Off),
            Some("offer") => Some(SrtpPolicy::Offer),
            Some("require") => Some(SrtpPolicy::Require),
            _ => None,
        };
        if policy.is_none() {
            self.wrong(
                table,
                key,
                value,
                "\"off\", \"offer\" or \"require\"",
                "\"offer\" encrypts where the phone uses TLS, \"require\" always",
            );
        }
        policy.map(|policy| self.located(table, value, policy))
    }

    fn count(&mut self, table: &Table<'_, '_>, key: &str) -> Option<Located<u32>> {
        let (_, value) = entry(table.entries, key)?;
        let number = value.get_ref().as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        match number {
            Some(number) if number <= MAX_COUNT => Some(self.located(table, value, number)),
            _ => {
                self.wrong(
                    table,
                    key,
                    value,
                    &format!("a whole number from 0 to {MAX_COUNT}"),
                    "write it without quotes",
                );
                None
            }
        }
    }

    fn flag(&mut self, table: &Table<'_, '_>, key: &str) -> Option<Located<bool>> {
        let (_, value) = entry(table.entries, key)?;
        match value.get_ref().as_bool() {
            Some(flag) => Some(self.located(table, value, flag)),
            None => {
                self.wrong(table, key, value, "true or false", "write it without quotes");
                None
            }
        }
    }

    fn located<T>(&self, table: &Table<'_, '_>, at: &Spanned<DeValue<'_>>, value: T) -> Located<T> {
        Located { value, at: Some(self.lines.position(table.text, &at.span())) }
    }

    fn wrong(&mut self, table: &Table<'_, '_>, key: &str, value: &Spanned<DeValue<'_>>, expected: &str, help: &str) {
        let got = match value.get_ref() {
            DeValue::String(s) => format!("{s:?}"),
            DeValue::Integer(n) => format!("the number {}", n.as_str()),
            DeValue::Float(n) => format!("the number {}", n.as_str()),
            DeValue::Boolean(b) => b.to_string(),
            DeValue::Datetime(d) => format!("the date {d}"),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.errors.push(SiteError {
            at: Some(self.lines.position(table.text, &value.span())),
            key: path(table, key),
            expected: expected.to_owned(),
            got,
            help: help.to_owned(),
        });
    }
}

/// More calls or phones than one extension can sensibly have.
pub(super) const MAX_COUNT: u32 = 100_000;

fn with<'k>(known: &[&'k str], keys: &[Key]) -> Vec<&'k str> {
    known.iter().copied().chain(keys.iter().map(|(key, _)| *key)).collect()
}

fn entry<'a, 'i>(
    table: &'a DeTable<'i>,
    key: &str,
) -> Option<(&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>)> {
    table.get_key_value(key)
}

fn path(table: &Table<'_, '_>, key: &str) -> String {
    if table.key.is_empty() { key.to_owned() } else { format!("{}: {key}", table.key) }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// The known key that a mistyped one is nearest to, if it is near at all.
pub(super) fn closest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name: String = name.to_lowercase().replace('-', "_");
    // `pasword` is near to the end of `sip_password`.
    let ends = |key: &'k str| key.match_indices('_').map(|(at, _)| &key[at + 1..]).chain([key]);
    let near = |key: &'k str| ends(key).map(|end| distance(&name, end)).min();
    let (far, key) = known.iter().filter_map(|&key| Some((near(key)?, key))).min()?;
    (far <= 2 && far * 2 < name.len()).then_some(key)
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut left_above = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let change = left_above + usize::from(ca != cb);
            left_above = row[j + 1];
            row[j + 1] = change.min(left_above + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
