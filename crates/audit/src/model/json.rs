//! JSON (RFC 8259) without recursion. Several values may follow one another, as `kubectl` and logs write them.

use super::build::{Builder, Limits, Scalar, mistake, too_many_documents};
use super::{Document, Mark, ModelError, Repr};

pub(super) fn read(text: &str, limits: &Limits, each: &mut dyn FnMut(Document)) -> Result<(), ModelError> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, seen: 0, mark: Mark { line: 1, column: 1 } };
    let mut builder = Builder::new(limits);
    let mut documents = 0;
    loop {
        reader.skip_space();
        if reader.peek().is_none() {
            return Ok(());
        }
        documents += 1;
        if documents > limits.documents {
            return Err(too_many_documents(reader.mark(), limits));
        }
        reader.value(&mut builder)?;
        each(builder.finish());
    }
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    /// How far `mark` has counted.
    seen: usize,
    mark: Mark,
}

impl Reader<'_> {
    /// One value with all that is in it. `open` holds which brackets are open: true for a mapping.
    fn value(&mut self, builder: &mut Builder<'_>) -> Result<(), ModelError> {
        let mut open: Vec<bool> = Vec::new();
        let mut expects_value = true;
        let mut just_opened = false;
        loop {
            self.skip_space();
            let at = self.mark();
            if expects_value {
                if just_opened && self.peek() == Some(if open.last() == Some(&true) { b'}' } else { b']' }) {
                    self.at += 1;
                    open.pop();
                    builder.close(self.mark(), true)?;
                    (expects_value, just_opened) = (false, false);
                    if open.is_empty() {
                        return Ok(());
                    }
                    continue;
                }
                if open.last() == Some(&true) {
                    self.key(builder)?;
                    self.skip_space();
                }
                just_opened = false;
                let at = self.mark();
                match self.peek() {
                    Some(byte @ (b'{' | b'[')) => {
                        self.at += 1;
                        open.push(byte == b'{');
                        builder.open(byte == b'{', 0, at)?;
                        just_opened = true;
                        continue;
                    }
                    _ => self.scalar(builder, at)?,
                }
                expects_value = false;
            } else {
                match (self.peek(), open.last()) {
                    (Some(b','), Some(_)) => {
                        self.at += 1;
                        expects_value = true;
                    }
                    (Some(b'}'), Some(true)) | (Some(b']'), Some(false)) => {
                        self.at += 1;
                        open.pop();
                        builder.close(self.mark(), true)?;
                    }
                    (_, Some(is_map)) => {
                        let end = if *is_map { '}' } else { ']' };
                        return Err(self.expected(at, &format!("`,` or `{end}`")));
                    }
                    (_, None) => return Ok(()),
                }
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    fn key(&mut self, builder: &mut Builder<'_>) -> Result<(), ModelError> {
        let at = self.mark();
        if self.peek() != Some(b'"') {
            return Err(self.expected(at, "a key in double quotes"));
        }
        let text = self.string()?;
        builder.scalar(&Scalar { text: &text, repr: Repr::Str, plain: false, anchor: 0 }, at, at.line)?;
        self.skip_space();
        let at = self.mark();
        if self.peek() != Some(b':') {
            return Err(self.expected(at, "`:` after a key"));
        }
        self.at += 1;
        Ok(())
    }

    fn scalar(&mut self, builder: &mut Builder<'_>, at: Mark) -> Result<(), ModelError> {
        if self.peek() == Some(b'"') {
            let text = self.string()?;
            return builder.scalar(&Scalar { text: &text, repr: Repr::Str, plain: false, anchor: 0 }, at, at.line);
        }
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        let repr = match word {
            "null" => Repr::Null,
            "true" => Repr::Bool(true),
            "false" => Repr::Bool(false),
            _ => number(word).ok_or_else(|| {
                self.at = start;
                self.expected(at, "a value")
            })?,
        };
        builder.scalar(&Scalar { text: word, repr, plain: false, anchor: 0 }, at, at.line)
    }

    fn string(&mut self) -> Result<String, ModelError> {
        let at = self.mark();
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| !matches!(byte, b'"' | b'\\') && byte >= 0x20) {
                self.at += 1;
            }
            out.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => {
                    return Err(mistake(self.mark(), "a control character within a string; it has to be escaped"));
                }
                None => return Err(mistake(at, "a string that does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ModelError> {
        let at = self.mark();
        let letter = self.bytes.get(self.at + 1).copied();
        self.at = (self.at + 2).min(self.bytes.len());
        Ok(match letter {
            Some(letter @ (b'"' | b'\\' | b'/')) => char::from(letter),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex(at)?;
                if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
                    let before = self.at;
                    self.at += 2;
                    let low = self.hex(at)?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = before;
                }
                char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(mistake(at, "an escape that JSON does not have")),
        })
    }

    fn hex(&mut self, at: Mark) -> Result<u32, ModelError> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| mistake(at, "`\\u` without four hexadecimal digits"))?;
        self.at += 4;
        Ok(value)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Where the reader stands; counts on from where it was asked before.
    fn mark(&mut self) -> Mark {
        for byte in &self.bytes[self.seen..self.at] {
            match byte {
                b'\n' => self.mark = Mark { line: self.mark.line + 1, column: 1 },
                0x80..=0xbf => {}
                _ => self.mark.column += 1,
            }
        }
        self.seen = self.at;
        self.mark
    }

    fn expected(&self, at: Mark, what: &str) -> ModelError {
        match self.text[self.at..].chars().next() {
            Some(found) => mistake(at, format!("expected {what}, found `{}`", found.escape_debug())),
            None => mistake(at, format!("expected {what}, found the end")),
        }
    }
}

fn number(word: &str) -> Option<Repr> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    if !digits.starts_with(|first: char| first.is_ascii_digit()) || leading_zero || digits.ends_with('.') {
        return None;
    }
    if let Ok(value) = word.parse() {
        return Some(Repr::Int(value));
    }
    word.parse().ok().filter(|value: &f64| !value.is_nan()).map(Repr::Float)
}
