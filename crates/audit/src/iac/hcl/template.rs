//! Texts in quotes and heredocs, with what is to be filled in.

use super::parse::{Parser, Result};
use super::{Kind, Part};
use crate::iac::value::cleaned;

/// How a template ends: at a quote, at the parser's end, or at a directive that the caller looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Quote,
    End,
}

/// The word of a directive that ended a list of parts.
#[derive(PartialEq, Eq)]
enum Stop {
    End,
    Else,
    EndIf,
    EndFor,
}

impl Parser<'_> {
    pub fn quoted(&mut self) -> Result<Kind> {
        self.need("\"")?;
        let (parts, stop) = self.deeper(|parser| parser.parts(Until::Quote))?;
        if stop != Stop::End {
            return self.error("`\"`; a directive ends what did not begin");
        }
        self.need("\"")?;
        Ok(whole(parts))
    }

    /// All of the parser's text as a template.
    pub fn whole_text(&mut self) -> Result<Kind> {
        let (parts, stop) = self.parts(Until::End)?;
        if stop != Stop::End {
            return self.error("a directive that begins what it ends");
        }
        Ok(whole(parts))
    }

    pub fn heredoc(&mut self) -> Result<Kind> {
        self.need("<<")?;
        let indented = self.take("-");
        let Some(tag) = self.name() else { return self.error("a word after `<<`") };
        let rest = self.rest();
        let Some(line_end) = rest.find('\n').filter(|end| rest[..*end].trim().is_empty()) else {
            return self.error("the end of the line after a heredoc's word");
        };
        let start = self.at + line_end + 1;
        let mut offset = start;
        let end = loop {
            if offset >= self.end {
                return self.error(&format!("a line `{tag}` that ends the heredoc"));
            }
            let line_end = self.text[offset..self.end].find('\n').map_or(self.end, |end| offset + end);
            if self.text[offset..line_end].trim() == tag {
                break offset;
            }
            offset = line_end + 1;
        };
        let tag_end = end + self.text[end..self.end].find(tag).unwrap_or(0) + tag.len();
        let outer = std::mem::replace(&mut self.end, end);
        self.at = start;
        let parts = self.deeper(|parser| parser.parts(Until::End));
        self.end = outer;
        let (mut parts, stop) = parts?;
        if stop != Stop::End {
            return self.error("a directive that begins what it ends");
        }
        self.at = tag_end;
        if indented {
            unindent(&mut parts);
        }
        Ok(whole(parts))
    }

    fn parts(&mut self, until: Until) -> Result<(Vec<Part>, Stop)> {
        let mut parts = Vec::new();
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find(['"', '\\', '$', '%', '\n']).unwrap_or(rest.len());
            text.push_str(&cleaned(&rest[..end]));
            self.at += end;
            let Some(byte) = self.peek() else {
                return match until {
                    Until::End => Ok((with(parts, &mut text), Stop::End)),
                    Until::Quote => self.error("`\"` at the end of a text"),
                };
            };
            let rest = self.rest();
            if byte == b'"' && until == Until::Quote {
                return Ok((with(parts, &mut text), Stop::End));
            } else if byte == b'\n' && until == Until::Quote {
                return self.error("`\"` at the end of a text");
            } else if byte == b'\\' && until == Until::Quote {
                text.push(self.escape()?);
            } else if rest.starts_with("$${") || rest.starts_with("%%{") {
                text.push_str(&rest[1..3]);
                self.at += 3;
            } else if rest.starts_with("${") {
                self.at += 2;
                parts = with(parts, &mut text);
                self.take("~");
                self.skip(true);
                parts.push(Part::Fill(self.expression()?));
                self.end_fill()?;
            } else if rest.starts_with("%{") {
                self.at += 2;
                parts = with(parts, &mut text);
                self.take("~");
                self.skip(true);
                if let Some(stop) = self.deeper(|parser| parser.directive(until, &mut parts))? {
                    return Ok((parts, stop));
                }
            } else {
                text.push(char::from(byte));
                self.at += 1;
            }
        }
    }

    fn directive(&mut self, until: Until, parts: &mut Vec<Part>) -> Result<Option<Stop>> {
        if self.word("if") {
            self.skip(true);
            let condition = self.expression()?;
            self.end_fill()?;
            let (yes, stop) = self.parts(until)?;
            let (no, stop) = if stop == Stop::Else { self.parts(until)? } else { (Vec::new(), stop) };
            if stop != Stop::EndIf {
                return self.error("`%{ endif }`");
            }
            parts.push(Part::If(condition, yes, no));
            return Ok(None);
        }
        if self.word("for") {
            let (key, value, of) = self.for_head()?;
            self.end_fill()?;
            let (inner, stop) = self.parts(until)?;
            if stop != Stop::EndFor {
                return self.error("`%{ endfor }`");
            }
            parts.push(Part::For(value, key, of, inner));
            return Ok(None);
        }
        for (word, stop) in [("else", Stop::Else), ("endif", Stop::EndIf), ("endfor", Stop::EndFor)] {
            if self.word(word) {
                self.end_fill()?;
                return Ok(Some(stop));
            }
        }
        self.error("if, else, endif, for or endfor after `%{`")
    }

    fn end_fill(&mut self) -> Result<()> {
        self.skip(true);
        self.take("~");
        self.need("}")
    }

    fn escape(&mut self) -> Result<char> {
        let letter = self.bytes.get(self.at + 1).copied();
        let width = match letter {
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        if width > 0 {
            let digits = self.text.get(self.at + 2..self.at + 2 + width);
            let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
            let Some(code) = code else { return self.error("the digits of a character after `\\u`") };
            self.at += 2 + width;
            return Ok(if code < ' ' && !matches!(code, '\n' | '\t' | '\r') { '\u{fffd}' } else { code });
        }
        let character = match letter {
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            // Terraform refuses others; what people mean by them is the character itself.
            _ => {
                self.at += 1;
                return Ok('\\');
            }
        };
        self.at += 2;
        Ok(character)
    }
}

fn with(mut parts: Vec<Part>, text: &mut String) -> Vec<Part> {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text).into()));
    }
    parts
}

fn whole(mut parts: Vec<Part>) -> Kind {
    match parts.as_slice() {
        [] => Kind::Text("".into()),
        [Part::Text(_)] => match parts.remove(0) {
            Part::Text(text) => Kind::Text(text),
            other => Kind::Template(vec![other]),
        },
        _ => Kind::Template(parts),
    }
}

/// Takes the spaces off that all lines begin with (`<<-`).
fn unindent(parts: &mut [Part]) {
    let mut least = usize::MAX;
    let mut at_start = true;
    for part in parts.iter() {
        if let Part::Text(text) = part {
            for (index, line) in text.split('\n').enumerate() {
                if (index > 0 || at_start) && !line.trim().is_empty() {
                    least = least.min(line.len() - line.trim_start_matches([' ', '\t']).len());
                }
            }
        }
        at_start = false;
    }
    let mut at_start = true;
    for part in parts.iter_mut() {
        if let Part::Text(text) = part {
            let lines = text.split('\n').enumerate().map(|(index, line)| {
                let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
                if index > 0 || at_start { &line[least.min(blank)..] } else { line }
            });
            *text = lines.collect::<Vec<_>>().join("\n").into();
        }
        at_start = false;
    }
}
