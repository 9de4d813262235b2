//! Tools for text: `cat`, `head`, `tail`, `wc`, `tr`, `cut`, `sort`, `uniq`, `paste`.

use super::super::Unsupported;
use super::super::run::{Shell, Stop, Streams};
use super::builtin::unescape;
use super::options::{Known, Options};
use super::{complain, inputs, lines};

const CAT: Known = Known { flags: "su", valued: "", long: &[], operand_ends: false };

pub fn check_cat(arguments: &[String]) -> Result<(), Unsupported> {
    CAT.read(arguments).map(|_| ())
}

/// `cat`
pub fn cat(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = CAT.read(arguments)?;
    let (inputs, failed) = inputs(shell, &arguments[0], &options.operands, streams)?;
    for (_, bytes) in inputs {
        shell.write(&streams.out, bytes)?;
    }
    Ok(i32::from(failed))
}

const ENDS: Known = Known { flags: "q", valued: "n", long: &[("lines", 'n')], operand_ends: false };

/// `-5` and `-n 5` mean the same.
fn ends_options(arguments: &[String]) -> Result<(Options, usize, bool), Unsupported> {
    let short = |argument: &String| {
        argument.len() > 1 && argument.starts_with('-') && argument[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    let arguments: Vec<_> = arguments
        .iter()
        .map(|argument| if short(argument) { format!("-n{}", &argument[1..]) } else { argument.clone() })
        .collect();
    let options = ENDS.read(&arguments)?;
    let count = options.value('n').unwrap_or("10").to_owned();
    let from_start = count.starts_with('+');
    match count.trim_start_matches('+').parse() {
        Ok(number) => Ok((options, number, from_start)),
        Err(_) => Err(Unsupported(format!("`-n {count}`: a number is expected"))),
    }
}

pub fn check_ends(arguments: &[String]) -> Result<(), Unsupported> {
    ends_options(arguments).map(|_| ())
}

/// `head` and `tail`
pub fn ends(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let (options, count, from_start) = ends_options(arguments)?;
    let head = arguments[0].ends_with("head");
    let (inputs, failed) = inputs(shell, &arguments[0], &options.operands, streams)?;
    for (_, bytes) in inputs {
        let all: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let chosen = match (head, from_start) {
            (true, _) => &all[..count.min(all.len())],
            (false, true) => &all[count.saturating_sub(1).min(all.len())..],
            (false, false) => &all[all.len() - count.min(all.len())..],
        };
        for line in chosen {
            shell.write(&streams.out, line)?;
        }
    }
    Ok(i32::from(failed))
}

const COUNT: Known =
    Known { flags: "lwc", valued: "", long: &[("lines", 'l'), ("words", 'w'), ("bytes", 'c')], operand_ends: false };

pub fn check_count(arguments: &[String]) -> Result<(), Unsupported> {
    COUNT.read(arguments).map(|_| ())
}

/// `wc`
pub fn count(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = COUNT.read(arguments)?;
    let (inputs, failed) = inputs(shell, &arguments[0], &options.operands, streams)?;
    for (name, bytes) in inputs {
        let figures = [
            ('l', bytes.iter().filter(|byte| **byte == b'\n').count()),
            ('w', String::from_utf8_lossy(&bytes).split_whitespace().count()),
            ('c', bytes.len()),
        ];
        let wanted = |letter: &char| options.given.is_empty() || options.has(*letter);
        let shown: Vec<_> =
            figures.iter().filter(|(letter, _)| wanted(letter)).map(|(_, figure)| figure.to_string()).collect();
        let name = if options.operands.is_empty() { String::new() } else { format!(" {name}") };
        shell.write(&streams.out, format!("{}{name}\n", shown.join(" ")))?;
    }
    Ok(i32::from(failed))
}

const TRANSLATE: Known = Known { flags: "ds", valued: "", long: &[("delete", 'd')], operand_ends: false };

/// The characters of a set: ranges, classes and escapes written out.
fn set(text: &str) -> Result<Vec<char>, Unsupported> {
    let text = text
        .replace("[:space:]", " \t\n\u{b}\u{c}\r")
        .replace("[:lower:]", "a-z")
        .replace("[:upper:]", "A-Z")
        .replace("[:digit:]", "0-9");
    if text.contains("[:") {
        return Err(Unsupported(format!("the set `{text}` of `tr`")));
    }
    let characters: Vec<_> = unescape(&text).chars().collect();
    let mut set = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        if characters.get(at + 1) == Some(&'-') && at + 2 < characters.len() {
            set.extend(characters[at]..=characters[at + 2]);
            at += 3;
        } else {
            set.push(characters[at]);
            at += 1;
        }
    }
    Ok(set)
}

pub fn check_translate(arguments: &[String]) -> Result<(), Unsupported> {
    TRANSLATE.read(arguments)?.operands.iter().try_for_each(|operand| set(operand).map(|_| ()))
}

/// `tr`, with `-d` and `-s`
pub fn translate(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = TRANSLATE.read(arguments)?;
    let Some(from) = options.operands.first() else {
        return complain(shell, streams, "tr: missing operand", 1);
    };
    let from = set(from)?;
    let to = options.operands.get(1).map(|to| set(to)).transpose()?;
    let bytes = streams.rest();
    let mut out = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(&bytes).chars() {
        let found = from.iter().position(|candidate| *candidate == character);
        let written = match (found, &to) {
            (Some(_), _) if options.has('d') => continue,
            (Some(at), Some(to)) => to.get(at).or(to.last()).copied().unwrap_or(character),
            _ => character,
        };
        let squeezed = options.has('s') && found.is_some() && out.ends_with(written);
        if !squeezed {
            out.push(written);
        }
    }
    shell.write(&streams.out, out)?;
    Ok(0)
}

const CUT: Known =
    Known { flags: "s", valued: "dfc", long: &[("delimiter", 'd'), ("fields", 'f')], operand_ends: false };

/// `1`, `2-`, `-3`, `1,4-5` as ranges from one.
fn ranges(text: &str) -> Result<Vec<(usize, usize)>, Unsupported> {
    let bad = || Unsupported(format!("the list `{text}` of `cut`"));
    let number = |text: &str, missing| if text.is_empty() { Ok(missing) } else { text.parse().map_err(|_| bad()) };
    text.split(',')
        .map(|part| match part.split_once('-') {
            Some((first, last)) => Ok((number(first, 1)?, number(last, usize::MAX)?)),
            None => number(part, 0).map(|only| (only, only)),
        })
        .collect()
}

pub fn check_cut(arguments: &[String]) -> Result<(), Unsupported> {
    let options = CUT.read(arguments)?;
    match options.value('f').or_else(|| options.value('c')) {
        Some(list) => ranges(list).map(|_| ()),
        None => Err(Unsupported("`cut` without `-f` or `-c`".to_owned())),
    }
}

/// `cut`
pub fn cut(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = CUT.read(arguments)?;
    let ranges = ranges(options.value('f').or_else(|| options.value('c')).unwrap_or_default())?;
    let chosen = |at: &usize| ranges.iter().any(|(first, last)| (*first..=*last).contains(&(at + 1)));
    let delimiter = options.value('d').unwrap_or("\t").to_owned();
    let (inputs, failed) = inputs(shell, &arguments[0], &options.operands, streams)?;
    for line in inputs.iter().flat_map(|(_, bytes)| lines(bytes)) {
        let text = if options.value('f').is_none() {
            line.chars().enumerate().filter(|(at, _)| chosen(at)).map(|(_, character)| character).collect()
        } else if line.contains(&delimiter) && !delimiter.is_empty() {
            let fields: Vec<_> =
                line.split(&delimiter).enumerate().filter(|(at, _)| chosen(at)).map(|(_, field)| field).collect();
            fields.join(&delimiter)
        } else if options.has('s') {
            continue;
        } else {
            line
        };
        shell.write(&streams.out, format!("{text}\n"))?;
    }
    Ok(i32::from(failed))
}

const SORT: Known = Known { flags: "urn", valued: "", long: &[("unique", 'u'), ("reverse", 'r')], operand_ends: false };

pub fn check_sort(arguments: &[String]) -> Result<(), Unsupported> {
    SORT.read(arguments).map(|_| ())
}

/// `sort` by bytes, with `-u`, `-r`, `-n`
pub fn sort(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = SORT.read(arguments)?;
    let (inputs, failed) = inputs(shell, &arguments[0], &options.operands, streams)?;
    let mut all: Vec<_> = inputs.iter().flat_map(|(_, bytes)| lines(bytes)).collect();
    all.sort();
    if options.has('n') {
        let number = |line: &String| {
            let text = line.trim_start();
            let end = text.find(|next: char| !next.is_ascii_digit() && next != '-').unwrap_or(text.len());
            text[..end].parse::<i64>().unwrap_or(0)
        };
        all.sort_by_key(number);
    }
    if options.has('r') {
        all.reverse();
    }
    if options.has('u') {
        all.dedup();
    }
    for line in all {
        shell.write(&streams.out, format!("{line}\n"))?;
    }
    Ok(i32::from(failed))
}

const UNIQUE: Known = Known { flags: "cdu", valued: "", long: &[("count", 'c')], operand_ends: false };

pub fn check_unique(arguments: &[String]) -> Result<(), Unsupported> {
    UNIQUE.read(arguments).map(|_| ())
}

/// `uniq`, with `-c`, `-d`, `-u`
pub fn unique(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = UNIQUE.read(arguments)?;
    let (inputs, failed) = inputs(shell, &arguments[0], &options.operands, streams)?;
    let all: Vec<_> = inputs.iter().flat_map(|(_, bytes)| lines(bytes)).collect();
    for same in all.chunk_by(|left, right| left == right) {
        let shown = !(options.has('d') && same.len() == 1 || options.has('u') && same.len() > 1);
        let count = if options.has('c') { format!("{:7} ", same.len()) } else { String::new() };
        if shown {
            shell.write(&streams.out, format!("{count}{}\n", same[0]))?;
        }
    }
    Ok(i32::from(failed))
}

const PASTE: Known =
    Known { flags: "s", valued: "d", long: &[("serial", 's'), ("delimiters", 'd')], operand_ends: false };

pub fn check_paste(arguments: &[String]) -> Result<(), Unsupported> {
    let options = PASTE.read(arguments)?;
    if options.has('s') { Ok(()) } else { Err(Unsupported("`paste` without `-s`".to_owned())) }
}

/// `paste -s`: the lines of each file as one
pub fn paste(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = PASTE.read(arguments)?;
    let delimiter = unescape(options.value('d').unwrap_or("\t"));
    let (inputs, failed) = inputs(shell, &arguments[0], &options.operands, streams)?;
    for (_, bytes) in inputs {
        shell.write(&streams.out, format!("{}\n", lines(&bytes).join(&delimiter)))?;
    }
    Ok(i32::from(failed))
}
