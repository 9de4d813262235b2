//! `find`: tests by name, path, kind, depth, owner and permissions; `-print` and `-exec`.

use std::os::unix::fs::MetadataExt as _;

use super::super::Unsupported;
use super::super::pattern;
use super::super::run::{Shell, Stop, Streams};
use super::complain;

enum Test {
    Name(String, bool),
    Path(String),
    Kind(char),
    User(String),
    Group(String),
    Mode(Mode),
    Executable,
}

enum Mode {
    Exact(u32),
    All(u32),
    Any(u32),
}

/// Tests that all have to hold (each with whether it is turned round); alternatives of them.
type Alternatives = Vec<Vec<(bool, Test)>>;

enum Action {
    Print,
    Print0,
    /// The command, and whether all files are handed over at once.
    Execute(Vec<String>, bool),
}

struct Find {
    starts: Vec<String>,
    tests: Alternatives,
    action: Action,
    shallowest: usize,
    deepest: usize,
}

/// More folders within folders are not looked at.
const DEEPEST: usize = 64;

fn read(arguments: &[String]) -> Result<Find, Unsupported> {
    let refused = |what: String| Unsupported(format!("{what} of `find`"));
    let is_expression =
        |argument: &String| argument.starts_with('-') && argument.len() > 1 || ["!", "("].contains(&argument.as_str());
    let mut rest = arguments[1..].iter().peekable();
    let mut starts = Vec::new();
    while let Some(start) = rest.next_if(|argument| !is_expression(argument)) {
        starts.push(start.clone());
    }
    if starts.is_empty() {
        starts.push(".".to_owned());
    }
    let mut find = Find { starts, tests: vec![Vec::new()], action: Action::Print, shallowest: 0, deepest: DEEPEST };
    let mut negated = false;
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().cloned().ok_or_else(|| refused(format!("the value of `{argument}`")));
        let number = |text: String| text.parse().map_err(|_| refused(format!("the number `{text}`")));
        let test = match argument.as_str() {
            "!" | "-not" => {
                negated = !negated;
                continue;
            }
            "-a" | "-and" => continue,
            "-o" | "-or" => {
                find.tests.push(Vec::new());
                continue;
            }
            "-name" => Test::Name(value()?, false),
            "-iname" => Test::Name(value()?.to_lowercase(), true),
            "-path" | "-wholename" => Test::Path(value()?),
            "-type" => match value()?.as_str() {
                kind @ ("f" | "d" | "l") => Test::Kind(kind.chars().next().unwrap_or('f')),
                kind => return Err(refused(format!("`-type {kind}`"))),
            },
            "-user" => Test::User(value()?),
            "-group" => Test::Group(value()?),
            "-executable" => Test::Executable,
            "-perm" => {
                let text = value()?;
                let bits = u32::from_str_radix(text.trim_start_matches(['-', '/']), 8);
                let bits = bits.map_err(|_| refused(format!("`-perm {text}`")))?;
                Test::Mode(match text.chars().next() {
                    Some('-') => Mode::All(bits),
                    Some('/') => Mode::Any(bits),
                    _ => Mode::Exact(bits),
                })
            }
            "-mindepth" => {
                find.shallowest = number(value()?)?;
                continue;
            }
            "-maxdepth" => {
                find.deepest = number(value()?)?.min(DEEPEST);
                continue;
            }
            "-print" => continue,
            "-print0" => {
                find.action = Action::Print0;
                continue;
            }
            "-exec" => {
                let mut command = Vec::new();
                let together = loop {
                    match value()?.as_str() {
                        ";" => break false,
                        "+" if command.last().is_some_and(|last| last == "{}") => break true,
                        part => command.push(part.to_owned()),
                    }
                };
                if !matches!(find.action, Action::Print) {
                    return Err(refused("a second action".to_owned()));
                }
                super::check_called(&command, &["xargs", "find"])?;
                find.action = Action::Execute(command, together);
                continue;
            }
            other => return Err(refused(format!("`{other}`"))),
        };
        if let Some(all) = find.tests.last_mut() {
            all.push((negated, test));
        }
        negated = false;
    }
    if find.tests.len() > 1 && !matches!(find.action, Action::Print) {
        return Err(refused("`-o` beside an action".to_owned()));
    }
    Ok(find)
}

pub fn check(arguments: &[String]) -> Result<(), Unsupported> {
    read(arguments).map(|_| ())
}

/// `find`; names come sorted.
pub fn find(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let find = read(arguments)?;
    let mut found = Vec::new();
    let mut status = 0;
    for start in &find.starts {
        status |= find.walk(shell, start, 0, &mut found, streams)?;
    }
    match &find.action {
        Action::Print => found.iter().try_for_each(|path| shell.write(&streams.out, format!("{path}\n")))?,
        Action::Print0 => found.iter().try_for_each(|path| shell.write(&streams.out, format!("{path}\0")))?,
        Action::Execute(command, true) => {
            if !found.is_empty() {
                let call = [&command[..command.len() - 1], &found].concat();
                status |= i32::from(super::run(shell, &call, streams)? != 0);
            }
        }
        Action::Execute(command, false) => {
            for path in &found {
                let call: Vec<_> = command.iter().map(|part| part.replace("{}", path)).collect();
                super::run(shell, &call, streams)?;
            }
        }
    }
    Ok(status)
}

impl Find {
    fn walk(
        &self,
        shell: &Shell<'_>,
        path: &str,
        depth: usize,
        found: &mut Vec<String>,
        streams: &Streams,
    ) -> Result<i32, Stop> {
        shell.tick()?;
        let metadata = match shell.host.metadata(path, false) {
            Ok(metadata) => metadata,
            Err(why) => return complain(shell, streams, &format!("find: '{path}': {why}"), 1),
        };
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
        let fits = |test: &Test| match test {
            Test::Name(wanted, false) => pattern::fits(wanted, name),
            Test::Name(wanted, true) => pattern::fits(wanted, &name.to_lowercase()),
            Test::Path(wanted) => pattern::fits(wanted, path),
            Test::Kind('d') => metadata.is_dir(),
            Test::Kind('l') => metadata.is_symlink(),
            Test::Kind(_) => metadata.is_file(),
            Test::User(user) => shell.host.user(metadata.uid()) == Some(user) || metadata.uid().to_string() == *user,
            Test::Group(group) => {
                shell.host.group(metadata.gid()) == Some(group) || metadata.gid().to_string() == *group
            }
            Test::Mode(Mode::Exact(bits)) => metadata.mode() & 0o7777 == *bits,
            Test::Mode(Mode::All(bits)) => metadata.mode() & bits == *bits,
            Test::Mode(Mode::Any(bits)) => *bits == 0 || metadata.mode() & bits != 0,
            Test::Executable => metadata.mode() & 0o111 != 0,
        };
        if depth >= self.shallowest
            && self.tests.iter().any(|all| all.iter().all(|(negated, test)| fits(test) != *negated))
        {
            found.push(path.to_owned());
        }
        let mut status = 0;
        if metadata.is_dir() && depth < self.deepest {
            match shell.host.list(path) {
                Ok(names) => {
                    for name in names {
                        let slash = if path.ends_with('/') { "" } else { "/" };
                        status |= self.walk(shell, &format!("{path}{slash}{name}"), depth + 1, found, streams)?;
                    }
                }
                Err(why) => status = complain(shell, streams, &format!("find: '{path}': {why}"), 1)?,
            }
        }
        Ok(status)
    }
}
