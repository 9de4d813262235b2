//! What a shell does itself: `echo`, `printf`, `read`, leaving, and scripts within scripts.

use super::super::Unsupported;
use super::super::run::{self, Shell, Stop, Streams};
use super::super::syntax;
use super::complain;

/// `true`, and `export` without effect: variables are set when they are read; `export NAME=value` sets one.
pub fn nothing(shell: &mut Shell<'_>, arguments: &[String], _: &Streams) -> Result<i32, Stop> {
    if arguments[0] == "export" {
        for (name, value) in arguments[1..].iter().filter_map(|argument| argument.split_once('=')) {
            shell.set(name, value.to_owned());
        }
    }
    Ok(0)
}

/// `unset`
pub fn unset(shell: &mut Shell<'_>, arguments: &[String], _: &Streams) -> Result<i32, Stop> {
    arguments[1..].iter().for_each(|name| shell.unset(name));
    Ok(0)
}

/// `exit`, `return`, `break`, `continue`
pub fn leave(shell: &mut Shell<'_>, arguments: &[String], _: &Streams) -> Result<i32, Stop> {
    match arguments[0].as_str() {
        "break" => Err(Stop::Break),
        "continue" => Err(Stop::Continue),
        _ => {
            let status = arguments.get(1).cloned().or_else(|| shell.parameter("?"));
            Err(Stop::Exit(status.and_then(|status| status.parse().ok()).unwrap_or(2)))
        }
    }
}

/// `echo`: `-n` and `-e` are options, backslashes mean something only with `-e`.
pub fn echo(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let options = arguments[1..].iter().take_while(|argument| {
        argument.len() > 1 && argument.starts_with('-') && argument[1..].chars().all(|letter| "neE".contains(letter))
    });
    let options: Vec<_> = options.cloned().collect();
    let has = |letter| options.iter().any(|option| option.contains(letter));
    let mut text = arguments[1 + options.len()..].join(" ");
    if has('e') {
        text = unescape(&text);
    }
    if !has('n') {
        text.push('\n');
    }
    shell.write(&streams.out, text)?;
    Ok(0)
}

/// `\n`, `\t`, `\0`, `\\` and their like; others stay.
pub fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('0') => out.push('\0'),
            Some('\\') => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// `printf` with `%s`, `%d`, `%c`, `%%`, widths and precisions; the format is used again while arguments are left.
pub fn printf(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let Some(format) = arguments.get(1) else {
        return complain(shell, streams, "printf: usage: printf format [arguments]", 2);
    };
    let mut values = arguments[2..].iter().peekable();
    loop {
        let before = values.len();
        let text = formatted(format, &mut values)?;
        shell.write(&streams.out, text)?;
        if values.peek().is_none() || values.len() == before {
            return Ok(0);
        }
    }
}

/// The widest field that is filled up.
const WIDEST: usize = 4096;

fn formatted<'v>(format: &str, values: &mut impl Iterator<Item = &'v String>) -> Result<String, Unsupported> {
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&unescape(&rest[..at]));
        rest = &rest[at + 1..];
        let end = rest.find(|next: char| !next.is_ascii_digit() && next != '-' && next != '.').unwrap_or(rest.len());
        let (shape, directive) = (&rest[..end], rest[end..].chars().next());
        let left = shape.starts_with('-');
        let (width, precision) =
            shape.trim_start_matches('-').split_once('.').unwrap_or((shape.trim_start_matches('-'), ""));
        let width = width.parse().unwrap_or(0).min(WIDEST);
        let mut value = match directive {
            Some('%') => "%".to_owned(),
            Some('s' | 'd' | 'i' | 'c') => values.next().cloned().unwrap_or_default(),
            other => {
                let directive = other.map_or_else(String::new, String::from);
                return Err(Unsupported(format!("`%{shape}{directive}` in a format of `printf`")));
            }
        };
        if matches!(directive, Some('d' | 'i')) {
            value = value.trim().parse::<i64>().unwrap_or(0).to_string();
        }
        let most = if directive == Some('c') { Some(1) } else { precision.parse().ok() };
        if let Some(most) = most {
            value = value.chars().take(most).collect();
        }
        let fill = " ".repeat(width.saturating_sub(value.chars().count()));
        out.push_str(&if left { value + &fill } else { fill + &value });
        rest = &rest[end + 1..];
    }
    out.push_str(&unescape(rest));
    Ok(out)
}

/// `read [-r] NAME …`: a line into variables, the last takes what is left.
pub fn read(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let names: Vec<_> = arguments[1..].iter().filter(|argument| *argument != "-r").cloned().collect();
    if names.iter().any(|name| name.starts_with('-')) {
        return Err(Unsupported("options of `read` but `-r`".to_owned()).into());
    }
    let line = streams.line();
    let status = i32::from(line.is_none());
    let line = line.unwrap_or_default();
    if names.is_empty() {
        shell.set("REPLY", line);
        return Ok(status);
    }
    let mut rest = line.trim();
    for (at, name) in names.iter().enumerate() {
        let end = if at + 1 == names.len() { rest.len() } else { rest.find([' ', '\t']).unwrap_or(rest.len()) };
        shell.set(name, rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Ok(status)
}

/// The script of `sh -c SCRIPT`.
fn inner(arguments: &[String]) -> Result<syntax::Node, Unsupported> {
    match arguments {
        [_, option, script, ..] if option == "-c" => syntax::parse(script),
        _ => Err(Unsupported(format!("`{}` without `-c`", arguments[0]))),
    }
}

/// A script in quotes is looked at like the one around it.
pub fn check_script(arguments: &[String]) -> Result<(), Unsupported> {
    run::check(&inner(arguments)?)
}

/// `sh -c SCRIPT`, read and run here.
pub fn script(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    shell.script(&inner(arguments)?, streams)
}
