//! `ringfort ctl blacklist …`: single entries by the running switch, lists and files through its database.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueHint};
use ringfort_switch::io::{BlacklistAsk, BlacklistRow, Command as SwitchCommand};
use serde_json::{Value, json};

use super::numbering::is_somebodys;
use super::table::{Table, counted};
use super::{ask_store, print, print_answer};
use crate::control::{AdminRequest, Client, Request};
use crate::time::utc;
use ringfort_switch::record::UnixMillis;

/// Entries in one message to the switch, and in one page from the database.
const CHUNK: usize = 1000;
/// Wrong lines of a file that are told.
const MOST_TOLD: usize = 20;
/// Numbers of a file that are held against numbering plans: each costs some 10 µs.
const MOST_HELD_AGAINST_PLANS: usize = 50_000;

#[derive(Debug, Args)]
pub struct BlacklistArgs {
    #[command(subcommand)]
    pub command: BlacklistCommand,
    /// Whose lists [default: the first tenant's]
    #[arg(long, value_name = "NAME", global = true)]
    pub tenant: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum BlacklistCommand {
    /// How many entries each list has, and the entries of one
    List {
        /// A list by number or name, or allow
        list: Option<String>,
        /// How many entries at most
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Show numbers in full
        #[arg(long)]
        unmasked: bool,
    },
    /// Put a number on a list: in full, a prefix with * at its end, or a pattern as in routes
    Add {
        number: String,
        /// By number or name
        #[arg(long, value_name = "LIST", default_value = "0")]
        list: String,
        /// It leaves the list by itself then [default: never]
        #[arg(long, value_name = "N")]
        hours: Option<u32>,
    },
    /// Take a number off a list
    Delete {
        number: String,
        /// By number or name
        #[arg(long, value_name = "LIST", default_value = "0")]
        list: String,
    },
    /// Which lists have a number
    Check { number: String },
    /// No list stops this number
    Allow {
        number: String,
        /// For so long [default: for ever]
        #[arg(long, value_name = "N")]
        hours: Option<u32>,
    },
    /// Lists stop this number again
    Unallow { number: String },
    /// Take entries from a CSV file: list,entry,expires. One wrong line, and nothing is taken
    Import {
        /// `-`: standard input
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Write all entries as CSV, numbers in full
    Export {
        /// One list by number or name, or allow
        list: Option<String>,
    },
}

/// Does one verb.
pub fn blacklist(dir: &Path, json: bool, args: BlacklistArgs) -> anyhow::Result<()> {
    let tenant = args.tenant;
    let ask = |ask: BlacklistAsk| -> anyhow::Result<Value> {
        let command = SwitchCommand::Blacklist { tenant: tenant.clone(), ask };
        Ok(Client::connect(dir)?.ask(&Request::Switch(command))?)
    };
    let said = |value: &Value, done: &str, not: &str| {
        let words = if value["changed"] == 0 { not } else { done };
        format!("{} {words}\n", value["number"].as_str().unwrap_or_default())
    };
    match args.command {
        BlacklistCommand::List { list, limit, unmasked } => {
            let request = AdminRequest::Blacklist { tenant, list, after: None, limit, unmasked };
            print_answer(json, &ask_store(dir, request)?, show_list)
        }
        BlacklistCommand::Add { number, list, hours } => {
            let mut value = ask(BlacklistAsk::Add { list: Some(list.clone()), entry: number, hours })?;
            let entry = value["number"].as_str().unwrap_or_default();
            value["nobodys"] = json!(is_nobodys(entry));
            let until = hours.map_or(String::new(), |hours| format!(" for {}", counted(hours as usize, "hour")));
            let (done, not) =
                (format!("is on list {list}{until}."), format!("was on list {list} already; it stays{until}."));
            print_answer(json, &value, |value| said(value, &done, &not) + nobodys(value))
        }
        BlacklistCommand::Delete { number, list } => {
            let value = ask(BlacklistAsk::Delete { list: Some(list.clone()), entry: number })?;
            let (done, not) = (format!("is off list {list}."), format!("was not on list {list}."));
            print_answer(json, &value, |value| said(value, &done, &not))
        }
        BlacklistCommand::Allow { number, hours } => {
            let value = ask(BlacklistAsk::Add { list: Some("allow".to_owned()), entry: number, hours })?;
            print_answer(json, &value, |value| said(value, "is allowed: no list stops it.", "was allowed already."))
        }
        BlacklistCommand::Unallow { number } => {
            let value = ask(BlacklistAsk::Delete { list: Some("allow".to_owned()), entry: number })?;
            print_answer(json, &value, |value| said(value, "is not allowed any more.", "was not allowed."))
        }
        BlacklistCommand::Check { number } => print_answer(json, &ask(BlacklistAsk::Check { number })?, show_check),
        BlacklistCommand::Import { file } => import(dir, json, tenant.as_deref(), &file),
        BlacklistCommand::Export { list } => export(dir, json, tenant, list),
    }
}

/// Whether an entry is one whole number in E.164 form that no country's plan has.
fn is_nobodys(entry: &str) -> bool {
    let is_number = entry.strip_prefix('+').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    is_number && !is_somebodys(entry)
}

fn nobodys(value: &Value) -> &'static str {
    if value["nobodys"] == true {
        "By the numbering plan of its country it can be nobody's: mistyped, or forged by a caller. It is listed as it is.\n"
    } else {
        ""
    }
}

fn list_words(item: &Value) -> String {
    let name = item["name"].as_str().filter(|name| !name.is_empty());
    match (item["list"].as_u64(), name) {
        (None, _) => "allow".to_owned(),
        (Some(list), None) => list.to_string(),
        (Some(list), Some(name)) => format!("{list} {name}"),
    }
}

fn show_list(value: &Value) -> String {
    let mut lists = Table::new(&["list", ">entries"]);
    for item in value["lists"].as_array().into_iter().flatten() {
        lists.row([list_words(item), item["entries"].to_string()]);
    }
    let mut out = lists.render("No list has an entry.");
    let items = value["items"].as_array().map_or(&[][..], Vec::as_slice);
    if !items.is_empty() {
        let mut entries = Table::new(&["list", "entry", "until"]);
        for item in items {
            let until = item["expires"].as_u64().map(|end| utc(UnixMillis(end.saturating_mul(1000))));
            entries.row([
                list_words(item),
                item["entry"].as_str().unwrap_or_default().to_owned(),
                until.unwrap_or_else(|| "for ever".to_owned()),
            ]);
        }
        out.push('\n');
        out.push_str(&entries.render(""));
        if !value["next"].is_null() {
            out.push_str("There are more: --limit shows more of them, `export` all.\n");
        }
    }
    out
}

fn show_check(value: &Value) -> String {
    let number = value["number"].as_str().unwrap_or_default();
    let hits = value["hits"].as_array().map_or(&[][..], Vec::as_slice);
    let mut out = match (value["allowed"] == true, hits.is_empty()) {
        (true, _) => format!("{number} is allowed: no list stops it.\n"),
        (false, true) => format!("{number} is on no list.\n"),
        (false, false) => format!("{number} is on {}:\n", counted(hits.len(), "list")),
    };
    for hit in hits {
        out.push_str(&format!("  {} by the entry {}\n", list_words(hit), hit["entry"].as_str().unwrap_or_default()));
    }
    out
}

/// Where lines come from, twice: once to be looked at, once to be taken.
enum Source {
    File(PathBuf),
    Memory(Vec<u8>),
}

impl Source {
    fn open(path: &Path) -> anyhow::Result<Self> {
        if path != Path::new("-") {
            return Ok(Self::File(path.to_owned()));
        }
        let mut all = Vec::new();
        io::stdin().lock().read_to_end(&mut all).context("reading standard input")?;
        Ok(Self::Memory(all))
    }

    fn lines(&self) -> anyhow::Result<Box<dyn BufRead + '_>> {
        Ok(match self {
            Self::File(path) => Box::new(BufReader::new(File::open(path).with_context(|| path.display().to_string())?)),
            Self::Memory(bytes) => Box::new(Cursor::new(bytes)),
        })
    }
}

/// The entry of a line; `None` for a heading or an empty line.
fn read_line(number: usize, line: &str) -> Result<Option<BlacklistRow>, String> {
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.is_empty() || number == 1 && line.starts_with("list,") {
        return Ok(None);
    }
    let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"')).collect();
    let (list, entry, expires) = match fields[..] {
        [list, entry] => (list, entry, ""),
        [list, entry, expires] => (list, entry, expires),
        _ => return Err(format!("expected list,entry,expires, got {}", counted(fields.len(), "field"))),
    };
    let list = match list {
        "allow" => None,
        number => Some(number.parse().map_err(|_| format!("expected the number of a list, or allow, got {number:?}"))?),
    };
    let expires = match expires {
        "" => None,
        end => Some(end.parse().map_err(|_| format!("expected seconds since 1970, or nothing for ever, got {end:?}"))?),
    };
    Ok(Some(BlacklistRow { list, entry: entry.to_owned(), expires }))
}

/// The file twice: what is wrong anywhere in it stops it before anything is taken.
fn import(dir: &Path, json: bool, tenant: Option<&str>, path: &Path) -> anyhow::Result<()> {
    let source = Source::open(path)?;
    let mut client = Client::connect(dir)?;
    let mut put = |rows: Vec<BlacklistRow>, dry_run: bool| -> anyhow::Result<Value> {
        let ask = BlacklistAsk::Put { rows, dry_run };
        Ok(client.ask(&Request::Switch(SwitchCommand::Blacklist { tenant: tenant.map(str::to_owned), ask }))?)
    };
    let mut wrong: Vec<(usize, String)> = Vec::new();
    let (mut wrong_lines, mut taken, mut new) = (0usize, 0usize, 0u64);
    let (mut held_against_plans, mut of_nobody) = (0usize, 0usize);
    for dry_run in [true, false] {
        let mut reader = source.lines()?;
        let (mut line, mut number, mut at_end) = (String::new(), 0, false);
        while !at_end {
            let (mut rows, mut places) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
            while rows.len() < CHUNK {
                line.clear();
                if reader.read_line(&mut line).with_context(|| path.display().to_string())? == 0 {
                    at_end = true;
                    break;
                }
                number += 1;
                match read_line(number, &line) {
                    Ok(Some(row)) => {
                        if dry_run && held_against_plans < MOST_HELD_AGAINST_PLANS {
                            held_against_plans += 1;
                            of_nobody += usize::from(is_nobodys(&row.entry));
                        }
                        rows.push(row);
                        places.push(number);
                    }
                    Ok(None) => {}
                    Err(words) => {
                        wrong_lines += 1;
                        wrong.push((number, words));
                    }
                }
            }
            if rows.is_empty() {
                continue;
            }
            let count = rows.len();
            let answer = put(rows, dry_run)?;
            for item in answer["wrong"].as_array().into_iter().flatten() {
                let place = item["row"].as_u64().and_then(|row| places.get(row as usize)).copied().unwrap_or(number);
                wrong_lines += 1;
                wrong.push((place, item["words"].as_str().unwrap_or_default().to_owned()));
            }
            wrong.sort();
            wrong.truncate(MOST_TOLD);
            if !dry_run {
                taken += count;
                new += answer["changed"].as_u64().unwrap_or(0);
            }
        }
        if wrong_lines > 0 {
            for (number, words) in &wrong {
                eprintln!("{}:{number}: {words}", path.display());
            }
            if !dry_run {
                bail!("the file was changed meanwhile: {taken} of its entries were taken; import it again");
            }
            bail!(
                "{} no entry; nothing was imported",
                if wrong_lines == 1 { "1 line is".to_owned() } else { format!("{wrong_lines} lines are") }
            );
        }
    }
    let value = json!({ "entries": taken, "new": new, "nobodys": of_nobody });
    print_answer(json, &value, |_| {
        let mut out = format!("{} taken, {new} of them new.\n", counted(taken, "entry").replace("entrys", "entries"));
        if of_nobody > 0 {
            let of =
                if taken > held_against_plans { format!("the first {held_against_plans}") } else { "them".to_owned() };
            out.push_str(&format!(
                "{of_nobody} of {of} can be nobody's by the numbering plan of their country: mistyped, or forged by callers.\n"
            ));
        }
        out
    })
}

fn export(dir: &Path, json: bool, tenant: Option<String>, list: Option<String>) -> anyhow::Result<()> {
    let mut after = Value::Null;
    let mut all = Vec::new();
    if !json {
        print("list,entry,expires\n")?;
    }
    loop {
        let request = AdminRequest::Blacklist {
            tenant: tenant.clone(),
            list: list.clone(),
            after: serde_json::from_value(after).context("the place where the next page begins")?,
            limit: CHUNK as u32,
            unmasked: true,
        };
        let mut page = ask_store(dir, request)?;
        let items = page["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        if json {
            all.extend(items);
        } else {
            let mut out = Vec::with_capacity(items.len() * 24);
            for item in &items {
                let list = item["list"].as_u64().map_or("allow".to_owned(), |list| list.to_string());
                let end = item["expires"].as_u64().map(|end| end.to_string()).unwrap_or_default();
                writeln!(out, "{list},{},{end}", item["entry"].as_str().unwrap_or_default())?;
            }
            print(&String::from_utf8(out).context("entries are text")?)?;
        }
        after = page["next"].take();
        if after.is_null() {
            break;
        }
    }
    if json { print(&format!("{:#}\n", json!({ "items": all }))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_file_are_entries_headings_or_mistakes() {
        let row = |line: &str| read_line(2, line).map(|row| row.map(|r| (r.list, r.entry, r.expires)));
        assert_eq!(row("0,+442079460000,\n"), Ok(Some((Some(0), "+442079460000".into(), None))));
        assert_eq!(row("allow,\"+4420*\",1900000000\r\n"), Ok(Some((None, "+4420*".into(), Some(1_900_000_000)))));
        assert_eq!(row("7,101"), Ok(Some((Some(7), "101".into(), None))));
        assert_eq!(row("  \n"), Ok(None));
        assert_eq!(read_line(1, "\u{feff}list,entry,expires\n"), Ok(None));
        for (wrong, words) in [
            ("x,1", "number of a list"),
            ("1", "got 1 field"),
            ("1,2,soon", "seconds since 1970"),
            ("list,entry,expires", "number"),
        ] {
            let error = row(wrong).expect_err(wrong);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn answers_are_told_in_words() {
        let hit = json!({ "list": 1, "name": "salesmen", "entry": "+4420*" });
        let value = json!({ "number": "+442079460000", "allowed": false, "hits": [hit] });
        assert_eq!(show_check(&value), "+442079460000 is on 1 list:\n  1 salesmen by the entry +4420*\n");
        let none = json!({ "number": "101", "allowed": false, "hits": [] });
        assert_eq!(show_check(&none), "101 is on no list.\n");
        assert_eq!(show_list(&json!({ "lists": [], "items": [] })), "No list has an entry.\n");
    }
}
