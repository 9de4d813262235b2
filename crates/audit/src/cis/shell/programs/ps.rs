//! `ps`: all processes or those of a name, in full or with chosen columns.

use super::super::Unsupported;
use super::super::run::{Shell, Stop, Streams};
use super::complain;
use crate::cis::processes::{Process, processes};

#[derive(Clone, Copy, PartialEq)]
enum Column {
    User,
    Uid,
    Pid,
    Ppid,
    Share,
    Started,
    Terminal,
    Time,
    Command,
    Name,
}

struct Ps {
    all: bool,
    names: Vec<String>,
    pids: Vec<String>,
    /// Columns with their headings.
    columns: Vec<(Column, String)>,
    headed: bool,
    /// What the arguments are not, in the words of `ps`.
    mistake: Option<String>,
}

const FULL: [(Column, &str); 8] = [
    (Column::User, "UID"),
    (Column::Pid, "PID"),
    (Column::Ppid, "PPID"),
    (Column::Share, "C"),
    (Column::Started, "STIME"),
    (Column::Terminal, "TTY"),
    (Column::Time, "TIME"),
    (Column::Command, "CMD"),
];
const SHORT: [(Column, &str); 4] =
    [(Column::Pid, "PID"), (Column::Terminal, "TTY"), (Column::Time, "TIME"), (Column::Name, "CMD")];

fn column(name: &str) -> Option<(Column, &'static str)> {
    Some(match name {
        "user" | "uname" | "euser" | "ruser" => (Column::User, "USER"),
        "uid" | "euid" => (Column::Uid, "UID"),
        "pid" => (Column::Pid, "PID"),
        "ppid" => (Column::Ppid, "PPID"),
        "c" => (Column::Share, "C"),
        "stime" | "start_time" => (Column::Started, "STIME"),
        "tty" | "tt" | "tname" => (Column::Terminal, "TT"),
        "time" | "cputime" => (Column::Time, "TIME"),
        "cmd" => (Column::Command, "CMD"),
        "args" | "command" => (Column::Command, "COMMAND"),
        "comm" | "ucmd" | "ucomm" => (Column::Name, "COMMAND"),
        _ => return None,
    })
}

fn read(arguments: &[String]) -> Result<Ps, Unsupported> {
    let mut ps =
        Ps { all: false, names: Vec::new(), pids: Vec::new(), columns: Vec::new(), headed: true, mistake: None };
    let mut full = false;
    let mut rest = arguments[1..].iter();
    while let Some(argument) = rest.next() {
        if argument == "--no-headers" || argument == "--no-heading" {
            ps.headed = false;
            continue;
        }
        // `ps aux` needs no dash.
        let letters = match argument.strip_prefix('-') {
            Some(letters) if !letters.starts_with('-') && !letters.is_empty() => letters,
            None if argument.chars().all(|letter| "auxwef".contains(letter)) => argument,
            Some(_) => return Err(Unsupported(format!("the option `{argument}` of `ps`"))),
            None => {
                ps.mistake = Some(format!("error: unsupported option `{argument}`"));
                continue;
            }
        };
        for (at, letter) in letters.char_indices() {
            match letter {
                'e' | 'A' | 'a' | 'x' => ps.all = true,
                'f' | 'F' | 'u' => full = true,
                'w' => {}
                'C' | 'o' | 'p' | 'O' => {
                    let beside = &letters[at + 1..];
                    let value = if beside.is_empty() { rest.next().map_or("", String::as_str) } else { beside };
                    let values = value.split([',', ' ']).filter(|value| !value.is_empty());
                    match letter {
                        'C' => ps.names.extend(values.map(str::to_owned)),
                        'p' => ps.pids.extend(values.map(str::to_owned)),
                        _ => {
                            for value in values {
                                let (name, heading) = value
                                    .split_once('=')
                                    .map_or((value, None), |(name, heading)| (name, Some(heading)));
                                let (column, usual) =
                                    column(name).ok_or_else(|| Unsupported(format!("the column `{name}` of `ps`")))?;
                                ps.columns.push((column, heading.unwrap_or(usual).to_owned()));
                            }
                        }
                    }
                    if value.is_empty() {
                        ps.mistake = Some(format!("error: a list must follow -{letter}"));
                    }
                    break;
                }
                _ => return Err(Unsupported(format!("the option `-{letter}` of `ps`"))),
            }
        }
    }
    if ps.columns.is_empty() {
        let usual: &[_] = if full { &FULL } else { &SHORT };
        ps.columns = usual.iter().map(|(column, heading)| (*column, (*heading).to_owned())).collect();
    }
    Ok(ps)
}

pub fn check(arguments: &[String]) -> Result<(), Unsupported> {
    read(arguments).map(|_| ())
}

/// `ps`: 1 where no process was found. Without a choice that is every process: an audit has no terminal of its own.
pub fn ps(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let ps = read(arguments)?;
    if let Some(mistake) = &ps.mistake {
        return complain(shell, streams, mistake, 1);
    }
    let wanted = |process: &Process| {
        let chosen = !ps.names.is_empty() || !ps.pids.is_empty();
        ps.all
            || !chosen
            || ps.names.iter().any(|name| process.is_called(name))
            || ps.pids.iter().any(|pid| *pid == process.pid.to_string())
    };
    let found: Vec<_> = processes(shell.host).into_iter().filter(wanted).collect();
    let mut rows = Vec::new();
    if ps.headed && ps.columns.iter().any(|(_, heading)| !heading.is_empty()) {
        rows.push(ps.columns.iter().map(|(_, heading)| heading.clone()).collect());
    }
    rows.extend(
        found
            .iter()
            .map(|process| ps.columns.iter().map(|(column, _)| cell(shell, process, *column)).collect::<Vec<_>>()),
    );
    let width = |at: usize| rows.iter().map(|row: &Vec<String>| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..ps.columns.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(&ps.columns).zip(&widths).enumerate().map(|(at, ((text, (column, _)), width))| {
            let last = at + 1 == row.len();
            match column {
                Column::Pid | Column::Ppid | Column::Uid | Column::Share | Column::Time => format!("{text:>width$}"),
                _ if last => text.clone(),
                _ => format!("{text:<width$}"),
            }
        });
        out.push_str(&cells.collect::<Vec<_>>().join(" "));
        out.push('\n');
    }
    shell.write(&streams.out, out)?;
    Ok(i32::from(found.is_empty()))
}

fn cell(shell: &Shell<'_>, process: &Process, column: Column) -> String {
    match column {
        Column::User => shell.host.user(process.uid).map_or_else(|| process.uid.to_string(), str::to_owned),
        Column::Uid => process.uid.to_string(),
        Column::Pid => process.pid.to_string(),
        Column::Ppid => process.parent.to_string(),
        Column::Share => process.share(shell.host.now).to_string(),
        Column::Started => process.started_text(shell.host.now),
        Column::Terminal => process.terminal.clone(),
        Column::Time => {
            let seconds = process.worked;
            format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        }
        Column::Command => process.command(),
        Column::Name => process.name.clone(),
    }
}
