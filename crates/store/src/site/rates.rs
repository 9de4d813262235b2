//! A trunk's rates as CSV: what a provider's price list is turned into, and back. Read line by line, with a bound for
//! everything; each mistake is told with its place.

use std::borrow::Cow;
use std::fmt::Write as _;

use ringfort_switch::model::{Rate, RateTable};
use ringfort_switch::money;

use super::{Position, SiteError, SiteErrors};

/// Prefixes of one trunk. The longest price lists that are sold have a third of it.
pub const MAX_RATES: usize = 1_000_000;
/// Octets of a file: what the control socket takes in one request.
pub const MAX_FILE: usize = 48 << 20;
/// Octets of a line.
const MAX_LINE: usize = 1000;
/// More mistakes than this are not told: the first ones say what is wrong with the file.
const MAX_ERRORS: usize = 20;
/// ITU-T E.164 §6: digits of the longest number.
const MAX_PREFIX: usize = 15;
/// Seconds that a step may have: a day.
const MAX_SECONDS: u32 = 86_400;
/// What a file without the column has.
const DEFAULT_SECONDS: u32 = 1;

const HEADER: &str = "prefix,per_minute,connection,first_s,step_s";

/// A column of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Prefix,
    PerMinute,
    Connection,
    First,
    Step,
    /// Where the prefix is: for people, not kept.
    Name,
}

const COLUMNS: [(&str, Column); 6] = [
    ("prefix", Column::Prefix),
    ("per_minute", Column::PerMinute),
    ("connection", Column::Connection),
    ("first_s", Column::First),
    ("step_s", Column::Step),
    ("name", Column::Name),
];

/// Reads a file. `file` is its name, for messages.
///
/// # Errors
/// The mistakes (the first twenty) with line and column.
pub fn parse(file: &str, text: &str, currency: &str) -> Result<RateTable, SiteErrors> {
    let mut reader = Reader { errors: Vec::new(), more: false };
    let mut rates = reader.read(text);
    rates.sort_by(|(a, x), (b, y)| a.prefix.cmp(&b.prefix).then(x.cmp(y)));
    for pair in rates.windows(2).filter(|pair| pair[0].0.prefix == pair[1].0.prefix) {
        let [(rate, first), (_, again)] = pair else { unreachable!("windows of two have two") };
        let got = format!("{} a second time, first on line {}", rate.prefix, first.line);
        reader.error(*again, "prefix", "each prefix once", &got, "remove one of the two lines");
    }
    let mut errors = reader.errors;
    errors.sort_by_key(|error| error.at);
    if let (true, Some(last)) = (reader.more, errors.last_mut()) {
        last.help.push_str(" (there are more mistakes; these are the first)");
    }
    SiteErrors::check(file, errors)?;
    Ok(RateTable { currency: currency.to_owned(), rates: rates.into_iter().map(|(rate, _)| rate).collect() })
}

/// The rates as a file that [`parse`] reads back.
pub fn write(table: &RateTable) -> String {
    let mut out = String::with_capacity(64 + table.rates.len() * 28);
    out.push_str(HEADER);
    out.push('\n');
    for rate in &table.rates {
        let (minute, connection) = (money::text(rate.per_minute), money::text(rate.connection));
        let line = writeln!(out, "{},{minute},{connection},{},{}", rate.prefix, rate.first_s, rate.step_s);
        line.expect("a String takes everything");
    }
    out
}

struct Reader {
    errors: Vec<SiteError>,
    /// There were more than are told.
    more: bool,
}

impl Reader {
    /// The rates with the places of their prefixes, in the order of the file.
    fn read(&mut self, text: &str) -> Vec<(Rate, Position)> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rates = Vec::new();
        let whole = Position { line: 1, column: 1 };
        if text.len() > MAX_FILE {
            let got = format!("{} octets", text.len());
            self.error(
                whole,
                "",
                &format!("a file of at most {MAX_FILE} octets"),
                &got,
                "leave out what is not called",
            );
            return rates;
        }
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let Some((number, header)) = lines.next() else {
            self.error(whole, "", "a line with the names of the columns", "nothing", &format!("begin with {HEADER}"));
            return rates;
        };
        let separator = if header.contains(';') { ';' } else { ',' };
        let Some(columns) = self.columns(number, header, separator) else { return rates };
        for (number, line) in lines {
            if rates.len() >= MAX_RATES {
                let expected = format!("at most {MAX_RATES} prefixes");
                let at = Position { line: number, column: 1 };
                self.error(at, "", &expected, "another one", "leave out what is not called");
                break;
            }
            rates.extend(self.line(number, line, separator, &columns));
            if self.more {
                break;
            }
        }
        rates
    }

    fn columns(&mut self, number: usize, header: &str, separator: char) -> Option<Vec<Column>> {
        let mut columns = Vec::new();
        for (column, name) in fields(header, separator) {
            let at = Position { line: number, column };
            let name = name.trim();
            match COLUMNS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                Some((_, found)) if columns.contains(found) => {
                    self.error(at, name, "each column once", "it a second time", "remove one of the two columns");
                }
                Some((_, found)) => columns.push(*found),
                None => {
                    let known: Vec<&str> = COLUMNS.iter().map(|(known, _)| *known).collect();
                    let help = "name the columns in the first line, and remove those that are not known";
                    self.error(at, "", &format!("one of {}", known.join(", ")), &format!("{name:?}"), help);
                }
            }
        }
        for (name, column) in [("prefix", Column::Prefix), ("per_minute", Column::PerMinute)] {
            if !columns.contains(&column) {
                let at = Position { line: number, column: 1 };
                self.error(at, "", &format!("a column {name}"), "none", &format!("begin with {HEADER}"));
            }
        }
        self.errors.is_empty().then_some(columns)
    }

    fn line(&mut self, number: usize, line: &str, separator: char, columns: &[Column]) -> Option<(Rate, Position)> {
        let before = self.errors.len();
        let mut rate = Rate {
            prefix: String::new(),
            per_minute: 0,
            connection: 0,
            first_s: DEFAULT_SECONDS,
            step_s: DEFAULT_SECONDS,
        };
        let mut place = Position { line: number, column: 1 };
        if line.len() > MAX_LINE {
            let got = format!("{} octets", line.len());
            self.error(place, "", &format!("a line of at most {MAX_LINE} octets"), &got, "a quote is not closed?");
            return None;
        }
        let mut count = 0;
        for (column, field) in fields(line, separator) {
            let at = Position { line: number, column };
            let text = field.trim();
            count += 1;
            match columns.get(count - 1) {
                None => {}
                Some(Column::Name) => {}
                Some(Column::Prefix) => (place, rate.prefix) = (at, self.prefix(at, text)),
                Some(Column::PerMinute) => rate.per_minute = self.money(at, "per_minute", text),
                Some(Column::Connection) => rate.connection = self.money(at, "connection", text),
                Some(Column::First) => rate.first_s = self.seconds(at, "first_s", text, 0),
                Some(Column::Step) => rate.step_s = self.seconds(at, "step_s", text, 1),
            }
        }
        if count != columns.len() {
            let expected = format!("{} fields, as in the first line", columns.len());
            let help = format!("separate fields by {separator:?}; one with {separator:?} in it stands in quotes");
            self.error(Position { line: number, column: 1 }, "", &expected, &count.to_string(), &help);
        }
        (self.errors.len() == before && !self.more).then_some((rate, place))
    }

    fn prefix(&mut self, at: Position, text: &str) -> String {
        let digits = text.strip_prefix('+').or_else(|| text.strip_prefix("00")).unwrap_or(text);
        let good = (1..=MAX_PREFIX).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if !good || digits.starts_with('0') {
            let expected = format!("1 to {MAX_PREFIX} digits that begin with a country code");
            self.error(at, "prefix", &expected, &format!("{text:?}"), "write it like 4420, +4420 or 004420");
        }
        digits.to_owned()
    }

    fn money(&mut self, at: Position, key: &str, text: &str) -> u64 {
        money::parse(text).unwrap_or_else(|error| {
            self.error(at, key, "an amount", &format!("{text:?}"), &error.to_string());
            0
        })
    }

    fn seconds(&mut self, at: Position, key: &str, text: &str, least: u32) -> u32 {
        let number = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        number.filter(|n| (least..=MAX_SECONDS).contains(n)).unwrap_or_else(|| {
            let expected = format!("seconds from {least} to {MAX_SECONDS}");
            self.error(at, key, &expected, &format!("{text:?}"), "write a whole number");
            DEFAULT_SECONDS
        })
    }

    fn error(&mut self, at: Position, key: &str, expected: &str, got: &str, help: &str) {
        if self.errors.len() >= MAX_ERRORS {
            self.more = true;
            return;
        }
        self.errors.push(SiteError {
            at: Some(at),
            key: key.to_owned(),
            expected: expected.to_owned(),
            got: got.to_owned(),
            help: help.to_owned(),
        });
    }
}

/// The fields of a line with the columns that they begin in (from 1, in characters). A field in quotes (RFC 4180) may
/// have separators in it, and quotes written twice.
fn fields(line: &str, separator: char) -> impl Iterator<Item = (usize, Cow<'_, str>)> {
    let mut rest = Some(line);
    let mut column = 1;
    std::iter::from_fn(move || {
        let text = rest?;
        let at = column;
        let (field, used) = match text.strip_prefix('"').and_then(quoted) {
            Some((field, len)) if text[len..].is_empty() || text[len..].starts_with(separator) => (field, len),
            _ => {
                let end = text.find(separator).unwrap_or(text.len());
                (Cow::Borrowed(&text[..end]), end)
            }
        };
        column += text[..used].chars().count() + 1;
        rest = text[used..].strip_prefix(separator);
        Some((at, field))
    })
}

/// What stands in the quotes that were opened before `text`, and the octets of all of it with both quotes.
fn quoted(text: &str) -> Option<(Cow<'_, str>, usize)> {
    let mut from = 0;
    loop {
        let quote = from + text[from..].find('"')?;
        if text[quote + 1..].starts_with('"') {
            from = quote + 2;
            continue;
        }
        let inside = &text[..quote];
        let field = if inside.contains('"') { inside.replace("\"\"", "\"").into() } else { inside.into() };
        return Some((field, quote + 2));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn good(text: &str) -> RateTable {
        parse("acme.csv", text, "EUR").unwrap()
    }

    fn refused(text: &str) -> String {
        parse("acme.csv", text, "EUR").unwrap_err().to_string()
    }

    #[test]
    fn a_price_list_is_read_with_its_columns_in_any_order() {
        let table = good(
            "\u{feff}name;step_s;prefix;per_minute;first_s;connection\r\n# mobile\r\n\
             \"UK; \"\"mobile\"\"\";6;+447;0.0123;30;0.05\r\n\r\nUK;60;0044;0.01;60;0\r\n",
        );
        assert_eq!(table.currency, "EUR");
        let uk = Rate { prefix: "44".into(), per_minute: 10_000, connection: 0, first_s: 60, step_s: 60 };
        let mobile = Rate { prefix: "447".into(), per_minute: 12_300, connection: 50_000, first_s: 30, step_s: 6 };
        assert_eq!(table.rates, [uk, mobile]);
        assert_eq!(write(&table), format!("{HEADER}\n44,0.01,0.00,60,60\n447,0.0123,0.05,30,6\n"));
        assert_eq!(good(&write(&table)), table);
        let short = good("prefix,per_minute\n1,0.5\n");
        assert_eq!((short.rates[0].first_s, short.rates[0].step_s), (1, 1));
    }

    #[test]
    fn each_mistake_is_told_with_its_line_and_column() {
        let text = "prefix,per_minute,connection,first_s,step_s\n44,0.01,0,60,60\nmobile,0.01,0,60,60\n\
                    447,\"0,02\",0,60,60\n448,0.0000001,0,60,0\n449,0.1,0,60\n0044,0.1,-1,60.5,60\n";
        let told = refused(text);
        for line in [
            "acme.csv:3:1: prefix: expected 1 to 15 digits that begin with a country code, got \"mobile\"; write it like",
            "acme.csv:4:5: per_minute: expected an amount, got \"0,02\"; write a point instead of the comma",
            "acme.csv:5:5: per_minute: expected an amount, got \"0.0000001\"; leave out",
            "acme.csv:5:20: step_s: expected seconds from 1 to 86400, got \"0\"; write a whole number",
            "acme.csv:6:1: expected 5 fields, as in the first line, got 4; separate fields by ','",
            "acme.csv:7:10: connection: expected an amount, got \"-1\"",
            "acme.csv:7:13: first_s: expected seconds from 0 to 86400, got \"60.5\"",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
        assert_eq!(told.lines().count(), 7, "{told}");
        let twice = refused("prefix,per_minute\n44,1\n1,1\n+44,2\n0044,3\n");
        assert!(
            twice.contains("acme.csv:4:1: prefix: expected each prefix once, got 44 a second time, first on line 2")
        );
        assert!(
            twice.contains("acme.csv:5:1: prefix: expected each prefix once, got 44 a second time, first on line 4")
        );
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_its_first_line() {
        assert!(refused("").contains("acme.csv:1:1: expected a line with the names of the columns, got nothing"));
        let told = refused("Destination,Price\nUK,1\n");
        assert!(told.contains("acme.csv:1:13: expected one of prefix, per_minute, connection"), "{told}");
        assert!(told.contains("got \"Price\"") && told.contains("expected a column prefix, got none"), "{told}");
        assert!(refused("prefix,per_minute,prefix\n").contains("acme.csv:1:19: prefix: expected each column once"));
        let many = refused(&format!("prefix,per_minute\n{}", "x,y\n".repeat(1000)));
        assert_eq!(many.lines().count(), MAX_ERRORS);
        assert!(many.ends_with("(there are more mistakes; these are the first)"), "{many}");
        assert!(refused(&format!("prefix,per_minute\n44,\"{}\n", "9".repeat(2000))).contains("at most 1000 octets"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_comes_back(
            text in "(prefix,per_minute(,first_s|,name)?\n)?([0-9+\",;.\r\n a#é-]{0,12}[\n,]){0,12}",
        ) {
            if let Ok(table) = parse("x", &text, "EUR") {
                proptest::prop_assert_eq!(parse("x", &write(&table), "EUR"), Ok(table));
            }
        }
    }

    #[test]
    fn a_hundred_thousand_rows_are_read_in_well_under_a_second() {
        let mut text = format!("{HEADER}\n");
        for n in 0..100_000 {
            text.push_str(&format!("{},0.{:04},0.01,1,1\n", 100_000 + n, n % 10_000));
        }
        #[allow(clippy::disallowed_methods, reason = "a test of speed")]
        let begin = Instant::now();
        let table = good(&text);
        let took = begin.elapsed();
        assert_eq!(table.rates.len(), 100_000);
        assert!(took.as_millis() < 700, "{took:?}");
        eprintln!("100,000 rows in {took:?}");
    }
}
