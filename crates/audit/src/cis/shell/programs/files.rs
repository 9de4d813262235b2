//! `stat`, `ls`, `xargs`.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use super::super::Unsupported;
use super::super::run::{Shell, Stop, Streams};
use super::builtin::unescape;
use super::complain;
use super::options::{Known, Options};
use crate::cis::host::Host;

const STAT: Known = Known {
    flags: "L",
    valued: "c",
    long: &[("format", 'c'), ("printf", 'c'), ("dereference", 'L')],
    operand_ends: false,
};

fn stat_options(arguments: &[String]) -> Result<Options, Unsupported> {
    let options = STAT.read(arguments)?;
    let Some(format) = options.value('c') else {
        return Err(Unsupported("`stat` without `-c`".to_owned()));
    };
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let directive = rest[at + 1..].chars().next();
        match directive {
            Some(letter) if "aAUGugnNsFf%".contains(letter) && letter != 'f' && letter != 'N' => rest = &rest[at + 2..],
            other => {
                return Err(Unsupported(format!(
                    "`%{}` in a format of `stat`",
                    other.map_or_else(String::new, String::from)
                )));
            }
        }
    }
    Ok(options)
}

pub fn check_stat(arguments: &[String]) -> Result<(), Unsupported> {
    stat_options(arguments).map(|_| ())
}

/// `stat -c FORMAT`
pub fn stat(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = stat_options(arguments)?;
    let name = &arguments[0];
    if options.operands.is_empty() {
        return complain(
            shell,
            streams,
            &format!("{name}: missing operand\nTry '{name} --help' for more information."),
            1,
        );
    }
    let format = options.value('c').unwrap_or_default();
    let mut status = 0;
    for path in &options.operands {
        match shell.host.metadata(path, options.has('L')) {
            Ok(found) => shell.write(&streams.out, format!("{}\n", described(shell.host, format, path, &found)))?,
            Err(why) => status = complain(shell, streams, &format!("{name}: cannot statx '{path}': {why}"), 1)?,
        }
    }
    Ok(status)
}

fn described(host: &Host, format: &str, path: &str, found: &Metadata) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&unescape(&rest[..at]));
        let value = match rest[at + 1..].chars().next() {
            Some('a') => format!("{:o}", found.mode() & 0o7777),
            Some('A') => letters(found),
            Some('U') => host.user(found.uid()).unwrap_or("UNKNOWN").to_owned(),
            Some('G') => host.group(found.gid()).unwrap_or("UNKNOWN").to_owned(),
            Some('u') => found.uid().to_string(),
            Some('g') => found.gid().to_string(),
            Some('n') => path.to_owned(),
            Some('s') => found.len().to_string(),
            Some('F') => kind(found).to_owned(),
            _ => "%".to_owned(),
        };
        out.push_str(&value);
        rest = &rest[at + 2..];
    }
    out + &unescape(rest)
}

fn kind(found: &Metadata) -> &'static str {
    match found {
        found if found.is_dir() => "directory",
        found if found.is_symlink() => "symbolic link",
        found if found.is_file() && found.len() == 0 => "regular empty file",
        found if found.is_file() => "regular file",
        _ => "special file",
    }
}

fn letters(found: &Metadata) -> String {
    let first = match found {
        found if found.is_dir() => 'd',
        found if found.is_symlink() => 'l',
        _ => '-',
    };
    let bit = |at: u32| if found.mode() >> at & 1 == 1 { ['x', 'w', 'r'][at as usize % 3] } else { '-' };
    std::iter::once(first).chain((0..9).rev().map(bit)).collect()
}

const LS: Known = Known { flags: "1ad", valued: "", long: &[], operand_ends: false };

pub fn check_ls(arguments: &[String]) -> Result<(), Unsupported> {
    LS.read(arguments).map(|_| ())
}

/// `ls`, names only
pub fn ls(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = LS.read(arguments)?;
    let operands = if options.operands.is_empty() { vec!["/".to_owned()] } else { options.operands.clone() };
    let mut status = 0;
    let (mut names, mut folders) = (Vec::new(), Vec::new());
    for path in operands {
        match shell.host.metadata(&path, true) {
            Ok(found) if found.is_dir() && !options.has('d') => folders.push(path),
            Ok(_) => names.push(path),
            Err(why) => status = complain(shell, streams, &format!("ls: cannot access '{path}': {why}"), 2)?,
        }
    }
    let headed = folders.len() + names.len() > 1;
    for name in &names {
        shell.write(&streams.out, format!("{name}\n"))?;
    }
    for (at, folder) in folders.iter().enumerate() {
        if headed {
            let gap = if at > 0 || !names.is_empty() { "\n" } else { "" };
            shell.write(&streams.out, format!("{gap}{folder}:\n"))?;
        }
        match shell.host.list(folder) {
            Ok(entries) => {
                for entry in entries.iter().filter(|entry| options.has('a') || !entry.starts_with('.')) {
                    shell.write(&streams.out, format!("{entry}\n"))?;
                }
            }
            Err(why) => status = complain(shell, streams, &format!("ls: cannot open directory '{folder}': {why}"), 2)?,
        }
    }
    Ok(status)
}

const XARGS: Known = Known {
    flags: "r0t",
    valued: "InL",
    long: &[("no-run-if-empty", 'r'), ("null", '0'), ("replace", 'I'), ("max-args", 'n'), ("max-lines", 'L')],
    operand_ends: true,
};

fn xargs_options(arguments: &[String]) -> Result<Options, Unsupported> {
    let options = XARGS.read(arguments)?;
    if options.has('t') {
        return Err(Unsupported("the option `-t` of `xargs`".to_owned()));
    }
    options.number('n')?;
    options.number('L')?;
    Ok(options)
}

pub fn check_xargs(arguments: &[String]) -> Result<(), Unsupported> {
    let options = xargs_options(arguments)?;
    let mut command = options.operands.clone();
    if command.is_empty() {
        return Ok(());
    }
    // What comes out of the input is only known when it runs.
    match options.value('I') {
        Some(sign) => command.iter_mut().for_each(|part| *part = part.replace(sign, "x")),
        None => command.push("x".to_owned()),
    }
    super::check_called(&command, &["xargs"])
}

/// `xargs`: 123 where a command failed.
pub fn xargs(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = xargs_options(arguments)?;
    let mut command = options.operands.clone();
    if command.is_empty() {
        command.push("echo".to_owned());
    }
    let bytes = streams.rest();
    let text = String::from_utf8_lossy(&bytes);
    let inner = Streams { piped: false, ..streams.clone() };
    let mut calls = Vec::new();
    if let Some(sign) = options.value('I') {
        for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
            calls.push(command.iter().map(|part| part.replace(sign, line)).collect::<Vec<_>>());
        }
    } else {
        let groups: Vec<Vec<String>> = if options.has('0') {
            vec![text.split('\0').filter(|item| !item.is_empty()).map(str::to_owned).collect()]
        } else if let Some(count) = options.number('L')? {
            let lines: Vec<_> = text.lines().map(items).filter(|items| !items.is_empty()).collect();
            lines.chunks(count.max(1)).map(<[_]>::concat).collect()
        } else {
            vec![items(&text)]
        };
        let most = options.number('n')?.unwrap_or(usize::MAX).max(1);
        calls.extend(
            groups.iter().flat_map(|group| group.chunks(most)).map(|items| [command.as_slice(), items].concat()),
        );
        if calls.is_empty() && !options.has('r') {
            calls.push(command);
        }
    }
    let mut failed = false;
    for call in calls {
        failed |= super::run(shell, &call, &inner)? != 0;
    }
    Ok(if failed { 123 } else { 0 })
}

/// Words of the input; quotes and backslashes take the meaning from blanks.
fn items(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, open @ ('\'' | '"')) => {
                quote = Some(open);
                current.get_or_insert_default();
            }
            (None, '\\') => current.get_or_insert_default().extend(characters.next()),
            (None, blank) if blank.is_whitespace() => items.extend(current.take()),
            (_, other) => current.get_or_insert_default().push(other),
        }
    }
    items.extend(current);
    items
}
