//! Options in the manner of GNU: short ones together, values beside or behind, long ones, `--`, operands anywhere between.

use super::super::Unsupported;

/// What a program was called with.
#[derive(Debug, Default, PartialEq)]
pub struct Options {
    /// Letters in their order, with values where they have one.
    pub given: Vec<(char, Option<String>)>,
    /// What is no option.
    pub operands: Vec<String>,
}

impl Options {
    /// Whether a letter was given.
    pub fn has(&self, letter: char) -> bool {
        self.given.iter().any(|(given, _)| *given == letter)
    }

    /// The last value of a letter.
    pub fn value(&self, letter: char) -> Option<&str> {
        self.given.iter().rev().find(|(given, _)| *given == letter).and_then(|(_, value)| value.as_deref())
    }

    /// The last value of a letter as a number.
    ///
    /// # Errors
    /// Where it is none.
    pub fn number(&self, letter: char) -> Result<Option<usize>, Unsupported> {
        self.value(letter)
            .map(|value| value.parse().map_err(|_| Unsupported(format!("`-{letter} {value}`: a number is expected"))))
            .transpose()
    }
}

/// What a program understands.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Letters without a value.
    pub flags: &'static str,
    /// Letters with a value.
    pub valued: &'static str,
    /// Long names and the letter that means the same.
    pub long: &'static [(&'static str, char)],
    /// Whether the first operand ends the options (`xargs`).
    pub operand_ends: bool,
}

impl Known {
    /// Takes arguments apart; the first is the program's name.
    ///
    /// # Errors
    /// An option that is not understood here.
    pub fn read(&self, arguments: &[String]) -> Result<Options, Unsupported> {
        let name = arguments.first().map_or("", String::as_str);
        let unknown = |option: &str| Unsupported(format!("the option `{option}` of `{name}`"));
        let mut options = Options::default();
        let mut rest = arguments.iter().skip(1);
        while let Some(argument) = rest.next() {
            if argument == "--" {
                options.operands.extend(rest.cloned());
                break;
            }
            if let Some(long) = argument.strip_prefix("--") {
                let (long, value) =
                    long.split_once('=').map_or((long, None), |(long, value)| (long, Some(value.to_owned())));
                let (_, letter) = self.long.iter().find(|(name, _)| *name == long).ok_or_else(|| unknown(argument))?;
                let needs = self.valued.contains(*letter);
                let value = if needs && value.is_none() { rest.next().cloned() } else { value };
                if needs && value.is_none() {
                    return Err(unknown(argument));
                }
                options.given.push((*letter, value));
                continue;
            }
            let letters = argument.strip_prefix('-').filter(|letters| !letters.is_empty());
            let Some(letters) = letters else {
                options.operands.push(argument.clone());
                if self.operand_ends {
                    options.operands.extend(rest.cloned());
                    break;
                }
                continue;
            };
            for (at, letter) in letters.char_indices() {
                if self.valued.contains(letter) {
                    let beside = &letters[at + letter.len_utf8()..];
                    let value = if beside.is_empty() { rest.next().cloned() } else { Some(beside.to_owned()) };
                    options.given.push((letter, Some(value.ok_or_else(|| unknown(argument))?)));
                    break;
                }
                if !self.flags.contains(letter) {
                    return Err(unknown(&format!("-{letter}")));
                }
                options.given.push((letter, None));
            }
        }
        Ok(options)
    }
}
