//! Words: quotes, backslashes, parameters and command substitution.

use super::{DEEPEST, Form, Parsed, Parser, Piece, Word, parse};

impl Parser {
    pub(super) fn word(&mut self) -> Parsed<Word> {
        let mut pieces = Vec::new();
        while let Some(next) = self.peek() {
            match next {
                _ if next.is_whitespace() || ";&|()<>".contains(next) => break,
                '\'' => {
                    self.at += 1;
                    let start = self.at;
                    while self.peek().is_some_and(|character| character != '\'') {
                        self.at += 1;
                    }
                    let text = self.text[start..self.at].iter().collect();
                    if !self.take("'") {
                        return Err(self.refuse("a `'` that is not closed"));
                    }
                    pieces.push(Piece::Text(text, true));
                }
                '"' => {
                    self.at += 1;
                    self.quoted(&mut pieces)?;
                }
                '\\' => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => {}
                        Some(character) => push_text(&mut pieces, character, true),
                        None => push_text(&mut pieces, '\\', true),
                    }
                    self.at += 1;
                }
                '$' => self.dollar(&mut pieces, false)?,
                '`' => self.backquoted(&mut pieces, false)?,
                _ => {
                    push_text(&mut pieces, next, false);
                    self.at += 1;
                }
            }
        }
        match self.peek() {
            Some('(') if !pieces.is_empty() => Err(self.refuse("`(` inside a word (functions, arrays, patterns)")),
            _ if pieces.is_empty() => Err(self.refuse("a word is missing")),
            _ => Ok(Word(pieces)),
        }
    }

    /// What stands in double quotes, the first of which is behind us.
    fn quoted(&mut self, pieces: &mut Vec<Piece>) -> Parsed<()> {
        pieces.push(Piece::Text(String::new(), true));
        loop {
            match self.peek() {
                None => return Err(self.refuse("a `\"` that is not closed")),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => self.at += 1,
                        Some(character @ ('$' | '`' | '"' | '\\')) => {
                            push_text(pieces, character, true);
                            self.at += 1;
                        }
                        _ => push_text(pieces, '\\', true),
                    }
                }
                Some('$') => self.dollar(pieces, true)?,
                Some('`') => self.backquoted(pieces, true)?,
                Some(character) => {
                    push_text(pieces, character, true);
                    self.at += 1;
                }
            }
        }
    }

    fn dollar(&mut self, pieces: &mut Vec<Piece>, quoted: bool) -> Parsed<()> {
        self.at += 1;
        match self.peek() {
            Some('(') if self.ahead(1) == Some('(') => return Err(self.refuse("arithmetic `$(( ))`")),
            Some('(') => {
                self.at += 1;
                let script = self.list()?;
                if !self.take(")") {
                    return Err(self.refuse("`)` is missing after `$(`"));
                }
                pieces.push(Piece::Output(script, quoted));
            }
            Some('{') => {
                self.at += 1;
                pieces.push(self.braced(quoted)?);
            }
            Some(special @ ('?' | '#' | '@' | '*' | '$' | '!' | '-')) => {
                self.at += 1;
                pieces.push(Piece::Parameter(special.to_string(), Form::Plain, quoted));
            }
            Some(digit) if digit.is_ascii_digit() => {
                self.at += 1;
                pieces.push(Piece::Parameter(digit.to_string(), Form::Plain, quoted));
            }
            _ => match self.name() {
                name if name.is_empty() => push_text(pieces, '$', true),
                name => pieces.push(Piece::Parameter(name, Form::Plain, quoted)),
            },
        }
        Ok(())
    }

    fn braced(&mut self, quoted: bool) -> Parsed<Piece> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.refuse("parameters nested too deep"));
        }
        let length = self.peek() == Some('#') && self.ahead(1).is_some_and(|next| next != '}');
        self.at += usize::from(length);
        let mut name = self.name();
        if name.is_empty()
            && let Some(special @ ('?' | '#' | '@' | '*')) = self.peek()
        {
            name.push(special);
            self.at += 1;
        }
        let form = match self.peek() {
            _ if length => Form::Length,
            Some('}') => Form::Plain,
            Some(':') if self.ahead(1) == Some('-') => {
                self.at += 2;
                Form::Default(self.operand()?, true)
            }
            Some('-') => {
                self.at += 1;
                Form::Default(self.operand()?, false)
            }
            Some(sign @ ('#' | '%')) => {
                self.at += 1;
                let longest = self.take(&sign.to_string());
                let operand = self.operand()?;
                if sign == '#' { Form::WithoutPrefix(operand, longest) } else { Form::WithoutSuffix(operand, longest) }
            }
            _ => return Err(self.refuse(&format!("this use of `${{{name}`"))),
        };
        if name.is_empty() || !self.take("}") {
            return Err(self.refuse("this use of `${ }`"));
        }
        self.depth -= 1;
        Ok(Piece::Parameter(name, form, quoted))
    }

    fn operand(&mut self) -> Parsed<Word> {
        let mut pieces = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.refuse("a `${` that is not closed")),
                Some('}') => return Ok(Word(pieces)),
                Some('$') => self.dollar(&mut pieces, false)?,
                Some('"') => {
                    self.at += 1;
                    self.quoted(&mut pieces)?;
                }
                Some('\\') if self.ahead(1).is_some() => {
                    push_text(&mut pieces, self.text[self.at + 1], true);
                    self.at += 2;
                }
                Some(character) => {
                    push_text(&mut pieces, character, false);
                    self.at += 1;
                }
            }
        }
    }

    fn backquoted(&mut self, pieces: &mut Vec<Piece>, quoted: bool) -> Parsed<()> {
        self.at += 1;
        let mut script = String::new();
        loop {
            match self.peek() {
                None => return Err(self.refuse("a backquote that is not closed")),
                Some('`') => break,
                Some('\\') if matches!(self.ahead(1), Some('`' | '\\' | '$')) => {
                    script.push(self.text[self.at + 1]);
                    self.at += 2;
                }
                Some(character) => {
                    script.push(character);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        pieces.push(Piece::Output(parse(&script)?, quoted));
        Ok(())
    }
}

fn push_text(pieces: &mut Vec<Piece>, character: char, quoted: bool) {
    match pieces.last_mut() {
        Some(Piece::Text(text, same)) if *same == quoted => text.push(character),
        _ => pieces.push(Piece::Text(character.to_string(), quoted)),
    }
}
