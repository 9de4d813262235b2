//! Patterns: the shell's (`*.crt`), and POSIX regular expressions put into the words of the crate `regex-lite`.

use regex_lite::Regex;

use super::Unsupported;

/// Whether a pattern of the shell fits the whole text; a backslash takes a sign's meaning away.
pub fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<_>, Vec<_>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stood, and how far the text was taken by it.
    let mut star = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            None if t == text.len() => return true,
            None => None,
            Some(_) if t == text.len() => None,
            Some('?') => Some(p + 1),
            Some('[') => match class(&pattern[p + 1..], text[t]) {
                Some((fits, length)) => fits.then_some(p + 1 + length),
                None => (text[t] == '[').then_some(p + 1),
            },
            Some('\\') if p + 1 < pattern.len() => (pattern[p + 1] == text[t]).then_some(p + 2),
            Some(literal) => (*literal == text[t]).then_some(p + 1),
        };
        match (step, star) {
            (Some(next), _) => (p, t) = (next, t + 1),
            (None, Some((after, taken))) if taken < text.len() => {
                star = Some((after, taken + 1));
                (p, t) = (after, taken + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Whether a bracket expression (what follows its `[`) has the character, and how long it is; `None` where it does not end.
fn class(pattern: &[char], character: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.first(), Some('!' | '^'));
    let mut at = usize::from(negated);
    let (mut found, mut first) = (false, true);
    loop {
        let low = *pattern.get(at)?;
        if low == ']' && !first {
            return Some((found != negated, at + 1));
        }
        first = false;
        if pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|high| *high != ']') {
            found |= (low..=pattern[at + 2]).contains(&character);
            at += 3;
        } else {
            found |= low == character;
            at += 1;
        }
    }
}

/// A text as a pattern that fits nothing but it.
pub fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, character| {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            out.push('\\');
        }
        out.push(character);
        out
    })
}

/// How a regular expression is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `grep`, `sed`: groups and repetitions with a backslash.
    Basic,
    /// `grep -E`, `awk`.
    Extended,
    /// `grep -F`: no expression.
    Fixed,
}

/// Compiles a regular expression; `before` and `after` are put around it (`\b`, `^`).
///
/// # Errors
/// Back references, and what is no expression.
pub fn regex(text: &str, dialect: Dialect, ignore_case: bool, around: (&str, &str)) -> Result<Regex, Unsupported> {
    let body = match dialect {
        Dialect::Fixed => regex_lite::escape(text),
        Dialect::Basic | Dialect::Extended => translate(text, dialect == Dialect::Extended)?,
    };
    let flags = if ignore_case { "(?i)" } else { "" };
    let whole = format!("{flags}{}(?:{body}){}", around.0, around.1);
    Regex::new(&whole).map_err(|_| Unsupported(format!("the regular expression `{text}`")))
}

fn translate(text: &str, extended: bool) -> Result<String, Unsupported> {
    let text: Vec<_> = text.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    // Whether an expression begins here, so that `*` and `^` mean themselves or the beginning.
    let mut begins = true;
    while at < text.len() {
        let character = text[at];
        at += 1;
        let starts = std::mem::replace(&mut begins, false);
        match character {
            '\\' => {
                let Some(escaped) = text.get(at).copied() else {
                    return Err(Unsupported("a regular expression that ends in a backslash".to_owned()));
                };
                at += 1;
                match escaped {
                    '(' | ')' | '{' | '}' | '|' | '+' | '?' if !extended => {
                        out.push(escaped);
                        begins = matches!(escaped, '(' | '|');
                    }
                    '1'..='9' => return Err(Unsupported("back references in regular expressions".to_owned())),
                    'w' | 'W' | 's' | 'S' | 'b' | 'B' => out.extend(['\\', escaped]),
                    '<' | '>' => out.push_str("\\b"),
                    't' | 'n' => out.extend(['\\', escaped]),
                    _ => push_literal(&mut out, escaped),
                }
            }
            '[' => at += bracket(&text[at..], &mut out)?,
            '*' if starts => out.push_str("\\*"),
            '*' | '.' => out.push(character),
            '^' if starts || extended => {
                out.push('^');
                begins = true;
            }
            '$' if extended
                || at == text.len()
                || (text[at] == '\\' && matches!(text.get(at + 1), Some(')' | '|'))) =>
            {
                out.push('$');
            }
            '(' | ')' | '|' | '+' | '?' if extended => {
                out.push(character);
                begins = matches!(character, '(' | '|');
            }
            '{' if extended && interval(&text[at..]) => out.push('{'),
            '}' if extended
                && out.rfind('{').is_some_and(|open| !out[open..].contains('}') && !out[..open].ends_with('\\')) =>
            {
                out.push('}');
            }
            _ => push_literal(&mut out, character),
        }
    }
    Ok(out)
}

/// Whether `{` is followed by numbers and `}`.
fn interval(rest: &[char]) -> bool {
    let end = rest.iter().position(|character| *character == '}');
    end.is_some_and(|end| {
        end > 0 && rest[..end].iter().all(|character| character.is_ascii_digit() || *character == ',')
    })
}

fn push_literal(out: &mut String, character: char) {
    if "\\.+*?()|[]{}^$#&-~".contains(character) {
        out.push('\\');
    }
    out.push(character);
}

/// A bracket expression after its `[`: in POSIX a backslash means itself there. Answers its length.
fn bracket(rest: &[char], out: &mut String) -> Result<usize, Unsupported> {
    let unclosed = || Unsupported("a regular expression with a `[` that is not closed".to_owned());
    out.push('[');
    let mut at = 0;
    if rest.first() == Some(&'^') {
        out.push('^');
        at = 1;
    }
    let first = at;
    loop {
        match *rest.get(at).ok_or_else(unclosed)? {
            ']' if at > first => {
                out.push(']');
                return Ok(at + 1);
            }
            '[' if rest.get(at + 1) == Some(&':') => {
                let end = rest[at..].windows(2).position(|two| two == [':', ']']).ok_or_else(unclosed)?;
                out.extend(&rest[at..at + end + 2]);
                at += end + 2;
            }
            '-' if at > first && rest.get(at + 1).is_some_and(|next| *next != ']') => {
                out.push('-');
                at += 1;
            }
            character => {
                push_literal(out, character);
                at += 1;
            }
        }
    }
}
