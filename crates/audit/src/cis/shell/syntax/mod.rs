//! The subset of the shell's language that audits are written in, read into a tree: lists, pipelines, `if`, `for`, `while`, groups,
//! quoting, parameters, command substitution, redirections to nowhere. What is outside is refused by name, with its line.

mod words;

use super::Unsupported;

/// A command or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// One after another; the status is that of the last.
    Seq(Vec<Node>),
    /// The second runs if the first succeeded.
    And(Box<Node>, Box<Node>),
    /// The second runs if the first failed.
    Or(Box<Node>, Box<Node>),
    /// `! pipeline`
    Not(Box<Node>),
    /// `a | b | c`
    Pipeline(Vec<Node>),
    /// Assignments, a program and its arguments.
    Simple(Simple),
    /// `[[ … ]]`
    Condition(Vec<Word>),
    /// Conditions with what each leads to, and `else`.
    If(Vec<(Node, Node)>, Option<Box<Node>>),
    /// `for name in words; do …; done`
    For(String, Vec<Word>, Box<Node>),
    /// `while`, or `until` where the flag says so.
    While(bool, Box<Node>, Box<Node>),
    /// `{ …; }`
    Group(Box<Node>),
    /// `( … )`
    Subshell(Box<Node>),
    /// A compound command with redirections.
    Redirected(Box<Node>, Vec<Redirect>),
}

/// A simple command.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Simple {
    /// Name, value, and whether the value is appended (`+=`).
    pub assignments: Vec<(String, Word, bool)>,
    /// The program and its arguments.
    pub words: Vec<Word>,
    /// Where its streams go.
    pub redirects: Vec<Redirect>,
}

/// Where a stream goes or comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Redirect {
    /// A stream (1 or 2; 0: both) goes nowhere.
    Null(u8),
    /// The first stream goes where the second does.
    Copy(u8, u8),
    /// Standard input is a file.
    Input(Word),
}

/// Pieces side by side that make one word.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Word(pub Vec<Piece>);

/// A piece of a word; what was in quotes is neither split nor taken for a pattern.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text as it is, and whether it was quoted.
    Text(String, bool),
    /// A parameter, and whether it was in quotes.
    Parameter(String, Form, bool),
    /// The output of a script, and whether it was in quotes.
    Output(Node, bool),
}

/// What is made of a parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// The value.
    Plain,
    /// `${name:-word}`; the flag says whether empty counts as missing.
    Default(Word, bool),
    /// `${#name}`
    Length,
    /// `${name#word}`; twice the sign: the longest.
    WithoutPrefix(Word, bool),
    /// `${name%word}`; twice the sign: the longest.
    WithoutSuffix(Word, bool),
}

/// How deep commands may be nested.
const DEEPEST: usize = 60;
const CLOSING: [&str; 7] = ["then", "else", "elif", "fi", "do", "done", "}"];

/// Reads a script.
///
/// # Errors
/// What is not in the subset, or not a script at all.
pub fn parse(text: &str) -> Result<Node, Unsupported> {
    let mut parser = Parser { text: text.chars().collect(), at: 0, depth: 0 };
    let node = parser.list()?;
    match parser.peek() {
        None => Ok(node),
        Some(other) => Err(parser.refuse(&format!("`{other}` where a command should begin"))),
    }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, Unsupported>;

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn ahead(&self, by: usize) -> Option<char> {
        self.text.get(self.at + by).copied()
    }

    fn looking_at(&self, what: &str) -> bool {
        what.chars().enumerate().all(|(by, character)| self.ahead(by) == Some(character))
    }

    fn take(&mut self, what: &str) -> bool {
        let there = self.looking_at(what);
        if there {
            self.at += what.chars().count();
        }
        there
    }

    fn refuse(&self, what: &str) -> Unsupported {
        let line = 1 + self.text[..self.at.min(self.text.len())].iter().filter(|character| **character == '\n').count();
        Unsupported(if line == 1 { what.to_owned() } else { format!("{what} (line {line})") })
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('\\') if self.ahead(1) == Some('\n') => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|character| character != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn skip_newlines(&mut self) {
        loop {
            self.skip_blanks();
            if self.peek() != Some('\n') {
                return;
            }
            self.at += 1;
        }
    }

    /// The word that stands here if it is a plain one, as keywords are.
    fn keyword(&self) -> Option<String> {
        // A backslash or quote that ends the text leads beyond it.
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word: String = rest
            .iter()
            .take_while(|character| !character.is_whitespace() && !";&|()<>\"'`$\\".contains(**character))
            .collect();
        let next = self.ahead(word.chars().count());
        let ends = next.is_none_or(|next| next.is_whitespace() || ";&|()<>".contains(next));
        (!word.is_empty() && ends).then_some(word)
    }

    fn take_keyword(&mut self, word: &str) -> bool {
        let there = self.keyword().as_deref() == Some(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn expect_keyword(&mut self, word: &str) -> Parsed<()> {
        self.skip_newlines();
        if self.take_keyword(word) { Ok(()) } else { Err(self.refuse(&format!("`{word}` is missing"))) }
    }

    fn list(&mut self) -> Parsed<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.refuse("commands nested too deep"));
        }
        let mut nodes = Vec::new();
        loop {
            self.skip_newlines();
            match self.peek() {
                None | Some(')') => break,
                Some(';') if self.ahead(1) != Some(';') && !nodes.is_empty() => {
                    self.at += 1;
                    continue;
                }
                _ if self.keyword().is_some_and(|word| CLOSING.contains(&word.as_str())) => break,
                _ => nodes.push(self.and_or()?),
            }
            self.skip_blanks();
            match self.peek() {
                None | Some(')' | '\n' | ';') => {}
                Some('&') => return Err(self.refuse("commands in the background (`&`)")),
                Some(other) => return Err(self.refuse(&format!("`{other}` after a command"))),
            }
        }
        self.depth -= 1;
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Seq(nodes) })
    }

    fn and_or(&mut self) -> Parsed<Node> {
        let mut left = self.pipeline()?;
        loop {
            self.skip_blanks();
            let and = self.take("&&");
            if !and && !self.take("||") {
                return Ok(left);
            }
            self.skip_newlines();
            let right = Box::new(self.pipeline()?);
            left = if and { Node::And(Box::new(left), right) } else { Node::Or(Box::new(left), right) };
        }
    }

    fn pipeline(&mut self) -> Parsed<Node> {
        self.skip_blanks();
        let negated = self.take_keyword("!");
        let mut stages = vec![self.command()?];
        loop {
            self.skip_blanks();
            if self.peek() != Some('|') || self.ahead(1) == Some('|') {
                break;
            }
            self.at += 1;
            if self.peek() == Some('&') {
                return Err(self.refuse("`|&`"));
            }
            self.skip_newlines();
            stages.push(self.command()?);
        }
        let node = if stages.len() == 1 { stages.remove(0) } else { Node::Pipeline(stages) };
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }

    fn command(&mut self) -> Parsed<Node> {
        self.skip_blanks();
        let node = if self.peek() == Some('(') {
            self.at += 1;
            if self.peek() == Some('(') {
                return Err(self.refuse("arithmetic `(( ))`"));
            }
            let body = self.list()?;
            if !self.take(")") {
                return Err(self.refuse("`)` is missing"));
            }
            Node::Subshell(Box::new(body))
        } else {
            match self.keyword().as_deref() {
                Some("if") => self.conditional()?,
                Some("for") => self.each()?,
                Some(word @ ("while" | "until")) => {
                    let until = word == "until";
                    self.at += word.len();
                    let condition = self.list()?;
                    Node::While(until, Box::new(condition), Box::new(self.body()?))
                }
                Some("{") => {
                    self.at += 1;
                    let body = self.list()?;
                    self.expect_keyword("}")?;
                    Node::Group(Box::new(body))
                }
                Some("[[") => self.condition()?,
                Some(word @ ("case" | "function" | "select" | "trap" | "set" | "eval" | "exec" | "source" | ".")) => {
                    return Err(self.refuse(&format!("`{word}`")));
                }
                _ => return self.simple(),
            }
        };
        let mut redirects = Vec::new();
        loop {
            self.skip_blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None if redirects.is_empty() => return Ok(node),
                None => return Ok(Node::Redirected(Box::new(node), redirects)),
            }
        }
    }

    fn conditional(&mut self) -> Parsed<Node> {
        let mut arms = Vec::new();
        self.at += "if".len();
        loop {
            let condition = self.list()?;
            self.expect_keyword("then")?;
            arms.push((condition, self.list()?));
            if !self.take_keyword("elif") {
                break;
            }
        }
        let otherwise = if self.take_keyword("else") { Some(Box::new(self.list()?)) } else { None };
        self.expect_keyword("fi")?;
        Ok(Node::If(arms, otherwise))
    }

    fn each(&mut self) -> Parsed<Node> {
        self.at += "for".len();
        self.skip_blanks();
        let name = self.name();
        if name.is_empty() {
            return Err(self.refuse("`for` without a name"));
        }
        self.expect_keyword("in")?;
        let mut words = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek().is_none_or(|next| ";\n&|()<>".contains(next)) {
                break;
            }
            words.push(self.word()?);
        }
        self.skip_blanks();
        self.take(";");
        Ok(Node::For(name, words, Box::new(self.body()?)))
    }

    fn body(&mut self) -> Parsed<Node> {
        self.expect_keyword("do")?;
        let body = self.list()?;
        self.expect_keyword("done")?;
        Ok(body)
    }

    fn condition(&mut self) -> Parsed<Node> {
        self.at += 2;
        let mut words = Vec::new();
        loop {
            self.skip_newlines();
            if self.take_keyword("]]") {
                return Ok(Node::Condition(words));
            }
            let sign = ["&&", "||", "(", ")", "<", ">"].into_iter().find(|sign| self.looking_at(sign));
            match (sign, self.peek()) {
                (_, None | Some(';' | '&' | '|')) if sign.is_none() => return Err(self.refuse("`]]` is missing")),
                (Some(sign), _) => {
                    self.at += sign.len();
                    words.push(Word(vec![Piece::Text(sign.to_owned(), false)]));
                }
                (None, _) => words.push(self.word()?),
            }
        }
    }

    fn simple(&mut self) -> Parsed<Node> {
        let mut command = Simple::default();
        loop {
            self.skip_blanks();
            if let Some(redirect) = self.redirect()? {
                command.redirects.push(redirect);
                continue;
            }
            match self.peek() {
                None | Some(';' | '\n' | '&' | '|' | ')') => break,
                Some('(') => return Err(self.refuse("`(` inside a command (functions and arrays)")),
                _ => {}
            }
            if command.words.is_empty()
                && let Some((name, append)) = self.assignment()
            {
                let value = if self.peek().is_none_or(|next| next.is_whitespace() || ";&|)".contains(next)) {
                    Word::default()
                } else {
                    self.word()?
                };
                command.assignments.push((name, value, append));
                continue;
            }
            command.words.push(self.word()?);
        }
        if command == Simple::default() {
            return Err(self.refuse("a command is missing"));
        }
        Ok(Node::Simple(command))
    }

    fn assignment(&mut self) -> Option<(String, bool)> {
        let start = self.at;
        let name = self.name();
        if !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()) {
            if self.take("+=") {
                return Some((name, true));
            }
            if self.take("=") {
                return Some((name, false));
            }
        }
        self.at = start;
        None
    }

    fn name(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|next| next.is_ascii_alphanumeric() || next == '_') {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default().iter().collect()
    }

    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        let digit = self.peek().filter(|next| next.is_ascii_digit() && matches!(self.ahead(1), Some('<' | '>')));
        let both = self.looking_at("&>");
        if digit.is_none() && !both && !matches!(self.peek(), Some('<' | '>')) {
            return Ok(None);
        }
        self.at += usize::from(digit.is_some() || both);
        if self.take("<") {
            if matches!(self.peek(), Some('<' | '&' | '>')) {
                return Err(self.refuse("here-documents and copies of input (`<<`, `<&`)"));
            }
            if self.peek() == Some('(') {
                return Err(self.refuse("process substitution `<( )`"));
            }
            self.skip_blanks();
            return Ok(Some(Redirect::Input(self.word()?)));
        }
        self.at += 1;
        let stream = match digit {
            _ if both => 0,
            None | Some('1') => 1,
            Some('2') => 2,
            Some(other) => return Err(self.refuse(&format!("redirection of stream {other}"))),
        };
        if self.take("&") {
            let target = self.name();
            return match target.as_str() {
                "1" => Ok(Some(Redirect::Copy(stream, 1))),
                "2" => Ok(Some(Redirect::Copy(stream, 2))),
                _ => Err(self.refuse(&format!("redirection to `&{target}`"))),
            };
        }
        self.take(">");
        self.skip_blanks();
        match self.word()?.0.as_slice() {
            [Piece::Text(path, _)] if path == "/dev/null" => Ok(Some(Redirect::Null(stream))),
            _ => Err(self.refuse("writing to a file")),
        }
    }
}
