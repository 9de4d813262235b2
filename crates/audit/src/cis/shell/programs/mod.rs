//! The programs that audits may call: those of the shell, text tools, what looks at files and processes, and some that ask others.

mod awk;
mod builtin;
mod condition;
mod external;
mod files;
mod find;
mod grep;
mod options;
mod ps;
mod sed;
mod text;

pub use condition::condition;

use super::Unsupported;
use super::run::{Shell, Stop, Streams};

/// A program: how its arguments are looked at before anything runs, and what it does. The first argument is its name.
struct Program {
    names: &'static [&'static str],
    check: fn(&[String]) -> Result<(), Unsupported>,
    run: fn(&mut Shell<'_>, &[String], &Streams) -> Result<i32, Stop>,
}

const fn program(
    names: &'static [&'static str],
    check: fn(&[String]) -> Result<(), Unsupported>,
    run: fn(&mut Shell<'_>, &[String], &Streams) -> Result<i32, Stop>,
) -> Program {
    Program { names, check, run }
}

fn any(_: &[String]) -> Result<(), Unsupported> {
    Ok(())
}

const PROGRAMS: &[Program] = &[
    program(&["true", ":", "export"], any, builtin::nothing),
    program(&["false"], any, |_, _, _| Ok(1)),
    program(&["echo"], any, builtin::echo),
    program(&["printf"], any, builtin::printf),
    program(&["read"], any, builtin::read),
    program(&["unset"], any, builtin::unset),
    program(&["exit", "return", "break", "continue"], any, builtin::leave),
    program(&["sh", "bash", "ash", "dash"], builtin::check_script, builtin::script),
    program(&["test", "["], any, condition::test),
    program(&["cat", "more"], text::check_cat, text::cat),
    program(&["head", "tail"], text::check_ends, text::ends),
    program(&["wc"], text::check_count, text::count),
    program(&["tr"], text::check_translate, text::translate),
    program(&["cut"], text::check_cut, text::cut),
    program(&["sort"], text::check_sort, text::sort),
    program(&["uniq"], text::check_unique, text::unique),
    program(&["paste"], text::check_paste, text::paste),
    program(&["grep", "egrep", "fgrep"], grep::check, grep::grep),
    program(&["sed"], sed::check, sed::sed),
    program(&["awk", "gawk", "mawk"], awk::check, awk::awk),
    program(&["stat"], files::check_stat, files::stat),
    program(&["ls"], files::check_ls, files::ls),
    program(&["xargs"], files::check_xargs, files::xargs),
    program(&["find"], find::check, find::find),
    program(&["ps"], ps::check, ps::ps),
    program(external::PROGRAMS, external::check, external::run),
];

/// How much of a program's name is told.
const LONGEST_NAME: usize = 60;

fn find(name: &str) -> Result<&'static Program, Unsupported> {
    let folders = ["/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/", "/usr/local/bin/"];
    let short = folders.iter().find_map(|folder| name.strip_prefix(folder)).unwrap_or(name);
    PROGRAMS.iter().find(|program| program.names.contains(&short)).ok_or_else(|| {
        let start: String = name.chars().take(LONGEST_NAME).map(|next| if next == '\n' { ' ' } else { next }).collect();
        Unsupported(format!("the program `{start}`"))
    })
}

/// Whether a program and its arguments are in the subset.
///
/// # Errors
/// What is not.
pub fn check(arguments: &[String]) -> Result<(), Unsupported> {
    let Some(name) = arguments.first() else { return Ok(()) };
    (find(name)?.check)(arguments)
}

/// The same of a program that another one calls; some may not, so that calls do not go ever deeper.
fn check_called(arguments: &[String], refused: &[&str]) -> Result<(), Unsupported> {
    let name = arguments.first().map_or("", String::as_str);
    if refused.iter().any(|refused| name.rsplit('/').next() == Some(refused)) {
        return Err(Unsupported(format!("`{name}` that is called by a program")));
    }
    check(arguments)
}

/// Runs a program.
pub fn run(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    shell.tick()?;
    let Some(name) = arguments.first() else { return Ok(0) };
    let program = find(name)?;
    (program.check)(arguments)?;
    (program.run)(shell, arguments, streams)
}

/// A complaint on standard error; answers the status.
fn complain(shell: &Shell<'_>, streams: &Streams, words: &str, status: i32) -> Result<i32, Stop> {
    shell.write(&streams.err, format!("{words}\n"))?;
    Ok(status)
}

/// What was read, by name.
type Inputs = Vec<(String, Vec<u8>)>;

/// What a program reads: its files (`-` is standard input), or standard input. Files that cannot be read are complained of; the flag
/// says whether there was one.
fn inputs(shell: &Shell<'_>, name: &str, files: &[String], streams: &Streams) -> Result<(Inputs, bool), Stop> {
    if files.is_empty() {
        return Ok((vec![("(standard input)".to_owned(), streams.rest())], false));
    }
    let (mut inputs, mut failed) = (Vec::new(), false);
    for file in files {
        if file == "-" {
            inputs.push(("(standard input)".to_owned(), streams.rest()));
            continue;
        }
        match shell.host.read(file) {
            Ok(bytes) => inputs.push((file.clone(), bytes)),
            Err(why) => {
                complain(shell, streams, &format!("{name}: {file}: {why}"), 1)?;
                failed = true;
            }
        }
    }
    Ok((inputs, failed))
}

/// The lines of a text, without their ends.
fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}
