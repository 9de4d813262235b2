//! A shell's script taken apart into its commands, as far as policies need it: words without quotes, operators between commands.
//! It is no shell: nothing is expanded, and what is odd stays one word.

/// One command of a script.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Command {
    /// Its words, quotes taken off; the first is the program.
    pub words: Vec<String>,
    /// Where its first word begins in the script, in bytes.
    pub start: usize,
    /// The program whose output it reads through a pipe.
    pub input: Option<String>,
}

/// Words that stand before a command without being its program.
const BEFORE: [&str; 13] =
    ["if", "then", "else", "elif", "do", "while", "until", "!", "{", "time", "exec", "command", "env"];

impl Command {
    /// The name of its program, without the folder.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word))
    }

    /// Takes off assignments and words that are not the program; false where nothing is left.
    fn trim(&mut self) -> bool {
        let is_assignment = |word: &str| {
            word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            })
        };
        let skip = self.words.iter().take_while(|word| BEFORE.contains(&word.as_str()) || is_assignment(word)).count();
        self.words.drain(..skip);
        !self.words.is_empty()
    }
}

/// The commands of a script in their order. What `sudo` runs is a command of its own, after it.
pub(crate) fn commands(script: &str) -> Vec<Command> {
    let mut found = Vec::new();
    let mut command = Command::default();
    let mut piped = false;
    let mut end = |command: &mut Command, pipe: bool| {
        let mut done = std::mem::take(command);
        let is_nothing = done.words.is_empty();
        if !done.trim() {
            // A pipe into a group goes on to its first command.
            piped = pipe || (piped && is_nothing);
            return;
        }
        if piped {
            done.input = found.last().map(|last: &Command| last.program().to_owned());
        }
        piped = pipe;
        let under = (done.program() == "sudo").then(|| {
            let skip = 1 + done.words[1..].iter().take_while(|word| word.starts_with('-')).count();
            Command { words: done.words[skip..].to_vec(), ..done.clone() }
        });
        found.push(done);
        found.extend(under.filter(|under| !under.words.is_empty()));
    };
    let mut word: Option<String> = None;
    let mut characters = script.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let begin = |command: &mut Command| {
            if command.words.is_empty() {
                command.start = at;
            }
        };
        match character {
            '\'' | '"' => {
                if word.is_none() {
                    begin(&mut command);
                }
                let word = word.get_or_insert_default();
                while let Some((_, inner)) = characters.next() {
                    match inner {
                        _ if inner == character => break,
                        '\\' if character == '"' => word.extend(characters.next().map(|(_, escaped)| escaped)),
                        _ => word.push(inner),
                    }
                }
            }
            '\\' => match characters.next() {
                Some((_, '\n')) | None => {}
                Some((_, escaped)) => {
                    if word.is_none() {
                        begin(&mut command);
                    }
                    word.get_or_insert_default().push(escaped);
                }
            },
            '#' if word.is_none() => while characters.next_if(|(_, next)| *next != '\n').is_some() {},
            // A redirection's `>&`, `&>` and `2>&1` are no operator between commands.
            '&' if word.as_ref().is_some_and(|word| word.ends_with('>'))
                || characters.peek().is_some_and(|(_, next)| *next == '>') =>
            {
                word.get_or_insert_default().push(character);
            }
            ';' | '\n' | '(' | ')' | '&' | '|' => {
                command.words.extend(word.take());
                let twice = characters.next_if(|(_, next)| *next == character).is_some();
                end(&mut command, character == '|' && !twice);
            }
            space if space.is_whitespace() => command.words.extend(word.take()),
            other => {
                if word.is_none() {
                    begin(&mut command);
                }
                word.get_or_insert_default().push(other);
            }
        }
    }
    command.words.extend(word.take());
    end(&mut command, false);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(script: &str) -> Vec<String> {
        let text = |command: &Command| match &command.input {
            Some(input) => format!("{input} > {}", command.words.join(" ")),
            None => command.words.join(" "),
        };
        commands(script).iter().map(text).collect()
    }

    #[test]
    fn a_script_comes_apart_at_operators_outside_of_quotes() {
        assert_eq!(short("a -x && b 'c; d' || e \"f && g\"; h & i\nj"), ["a -x", "b c; d", "e f && g", "h", "i", "j"]);
        assert_eq!(short("# nothing\n  \n;;"), Vec::<String>::new());
        assert_eq!(short("a 2>&1 &> f # b\nc"), ["a 2>&1 &> f", "c"]);
    }

    #[test]
    fn assignments_and_words_of_control_are_not_the_program() {
        assert_eq!(short("A=1 B='2 3' make all"), ["make all"]);
        assert_eq!(short("if ! apk add x; then exit 1; fi"), ["apk add x", "exit 1", "fi"]);
        assert_eq!(commands("/usr/bin/apt-get update")[0].program(), "apt-get");
    }

    #[test]
    fn a_pipe_names_the_program_before_it_and_sudo_what_it_runs() {
        assert_eq!(short("curl -s x | sh -s"), ["curl -s x", "curl > sh -s"]);
        assert_eq!(short("curl x | sudo -E bash"), ["curl x", "curl > sudo -E bash", "curl > bash"]);
        assert_eq!(short("a || sh"), ["a", "sh"]);
        assert_eq!(short("a | (sh; b)"), ["a", "a > sh", "b"]);
        assert_eq!(short("a | B=1; sh"), ["a", "sh"]);
    }

    #[test]
    fn the_start_of_a_command_is_that_of_its_first_word() {
        let starts: Vec<_> = commands("  ab && 'cd' e").iter().map(|command| command.start).collect();
        assert_eq!(starts, [2, 8]);
    }
}
