//! Blocks and expressions, by recursive descent with a bound.

use super::{Attribute, Block, Body, Expr, For, Kind, Op, Step};
use crate::model::{Mark, ModelError};

/// How deep blocks and expressions may be nested.
pub(super) const MAX_DEPTH: u32 = 64;
/// How many operators may follow one another; they nest the tree too.
const MAX_OPERATORS: u32 = 256;

/// Expressions and blocks of a file.
const MAX_NODES: u32 = 2_000_000;

/// A file as far as it could be read.
#[derive(Debug, Default)]
pub struct Parsed {
    /// What was read.
    pub body: Body,
    /// The mistake that ended it.
    pub error: Option<ModelError>,
}

/// Reads a file.
pub fn parse(text: &str) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new(text);
    let mut parsed = Parsed::default();
    parsed.error = parser.body(&mut parsed.body, false).err();
    parsed
}

/// A text with what is to be filled in, all of it at one place.
pub(super) fn template(text: &str, at: Mark) -> Result<Kind> {
    let mut parser = Parser::new(text);
    (parser.seen, parser.seen_mark) = (usize::MAX, at);
    parser.whole_text()
}

pub(super) type Result<T> = std::result::Result<T, ModelError>;

pub(super) struct Parser<'t> {
    pub text: &'t str,
    pub bytes: &'t [u8],
    pub at: usize,
    /// Where what may be read ends: the file's end, or that of a heredoc.
    pub end: usize,
    depth: u32,
    nodes: u32,
    seen: usize,
    seen_mark: Mark,
}

const OPERATORS: [(&str, Op, u8); 13] = [
    ("||", Op::Or, 1),
    ("&&", Op::And, 2),
    ("==", Op::Eq, 3),
    ("!=", Op::Ne, 3),
    ("<=", Op::Le, 4),
    (">=", Op::Ge, 4),
    ("<", Op::Lt, 4),
    (">", Op::Gt, 4),
    ("+", Op::Add, 5),
    ("-", Op::Sub, 5),
    ("*", Op::Mul, 6),
    ("/", Op::Div, 6),
    ("%", Op::Rem, 6),
];

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        let seen_mark = Mark { line: 1, column: 1 };
        Self { text, bytes: text.as_bytes(), at: 0, end: text.len(), depth: 0, nodes: 0, seen: 0, seen_mark }
    }

    /// Line and column of a place that is not before one that was asked for earlier.
    pub fn mark(&mut self) -> Mark {
        if self.at < self.seen {
            return self.seen_mark;
        }
        for character in self.text[self.seen..self.at].chars() {
            if character == '\n' {
                self.seen_mark.line += 1;
                self.seen_mark.column = 1;
            } else {
                self.seen_mark.column += 1;
            }
        }
        self.seen = self.at;
        self.seen_mark
    }

    pub fn peek(&self) -> Option<u8> {
        if self.at < self.end { Some(self.bytes[self.at]) } else { None }
    }

    pub fn rest(&self) -> &'t str {
        &self.text[self.at..self.end]
    }

    pub fn error<T>(&mut self, expected: &str) -> Result<T> {
        let found = match self.rest().chars().next() {
            None => "the end".to_owned(),
            Some('\n' | '\r') => "the end of the line".to_owned(),
            Some(character) => format!("`{character}`"),
        };
        Err(ModelError { at: self.mark(), what: format!("expected {expected}, found {found}"), over_limit: false })
    }

    pub fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            let what = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(ModelError { at: self.mark(), what, over_limit: true });
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let what = format!("more than {MAX_NODES} expressions and blocks in one file");
            return Err(ModelError { at: self.mark(), what, over_limit: true });
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Spaces and comments; line ends too where `lines`.
    pub fn skip(&mut self, lines: bool) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'\n') if lines => self.at += 1,
                Some(b'#') => self.skip_line(),
                Some(b'/') if self.rest().starts_with("//") => self.skip_line(),
                Some(b'/') if self.rest().starts_with("/*") => {
                    self.at += self.rest()[2..].find("*/").map_or(self.rest().len(), |end| end + 4);
                }
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    pub fn take(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    pub fn need(&mut self, sign: &str) -> Result<()> {
        if self.take(sign) { Ok(()) } else { self.error(&format!("`{sign}`")) }
    }

    /// A name, if one comes next.
    pub fn name(&mut self) -> Option<&'t str> {
        let rest = self.rest();
        if !rest.starts_with(|first: char| first.is_alphabetic() || first == '_') {
            return None;
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
        self.at += end;
        Some(&rest[..end])
    }

    /// A word that is not the beginning of a longer one.
    pub fn word(&mut self, word: &str) -> bool {
        let start = self.at;
        if self.name() == Some(word) {
            return true;
        }
        self.at = start;
        false
    }

    fn body(&mut self, body: &mut Body, in_braces: bool) -> Result<()> {
        loop {
            self.skip(true);
            match self.peek() {
                None if !in_braces => return Ok(()),
                Some(b'}') if in_braces => return Ok(()),
                _ => {}
            }
            let at = self.mark();
            let name = match self.name() {
                Some(name) => name.to_owned(),
                None if self.peek() == Some(b'"') => self.label()?,
                None => return self.error("an attribute or a block"),
            };
            self.skip(false);
            if self.peek() == Some(b'=') {
                self.at += 1;
                self.skip(false);
                let value = self.expression()?;
                body.attributes.push(Attribute { name: name.into(), value });
                self.skip(false);
                if !matches!(self.peek(), None | Some(b'\n' | b'}' | b',')) {
                    return self.error("the end of the line");
                }
                self.take(",");
            } else {
                let block = self.deeper(|parser| parser.block(name, at))?;
                body.blocks.push(block);
            }
        }
    }

    fn block(&mut self, kind: String, at: Mark) -> Result<Block> {
        let mut labels = Vec::new();
        loop {
            self.skip(false);
            match self.peek() {
                Some(b'{') => break,
                Some(b'"') => labels.push(self.label()?.into()),
                _ => match self.name() {
                    Some(name) => labels.push(name.into()),
                    None => return self.error("`=` or `{`"),
                },
            }
        }
        self.need("{")?;
        let mut body = Body::default();
        self.body(&mut body, true)?;
        let last_line = self.mark().line;
        self.need("}")?;
        Ok(Block { kind: kind.into(), labels, body, at, last_line })
    }

    /// A text in quotes without anything to fill in.
    fn label(&mut self) -> Result<String> {
        self.need("\"")?;
        let rest = self.rest();
        let Some(end) = rest.find(['"', '\n']).filter(|end| rest.as_bytes()[*end] == b'"') else {
            return self.error("a text that ends in its line");
        };
        self.at += end + 1;
        Ok(rest[..end].to_owned())
    }

    pub fn expression(&mut self) -> Result<Expr> {
        self.deeper(Self::conditional)
    }

    fn conditional(&mut self) -> Result<Expr> {
        let condition = self.binary(1)?;
        let start = self.at;
        self.skip_in_conditional("?");
        if !self.take("?") {
            self.at = start;
            return Ok(condition);
        }
        self.skip(true);
        let yes = self.expression()?;
        self.skip(true);
        self.need(":")?;
        self.skip(true);
        let no = self.expression()?;
        let (at, last_line) = (condition.at, no.last_line);
        Ok(Expr { kind: Kind::Conditional(Box::new(condition), Box::new(yes), Box::new(no)), at, last_line })
    }

    /// Over line ends too where an operator follows them: within brackets that is how long expressions are written.
    fn skip_in_conditional(&mut self, sign: &str) {
        let start = self.at;
        self.skip(true);
        if !self.rest().starts_with(sign) {
            self.at = start;
            self.skip(false);
        }
    }

    fn binary(&mut self, least: u8) -> Result<Expr> {
        let mut left = self.unary()?;
        let mut operators = 0;
        loop {
            operators += 1;
            if operators > MAX_OPERATORS {
                let what = format!("more than {MAX_OPERATORS} operators in a row");
                return Err(ModelError { at: self.mark(), what, over_limit: true });
            }
            let start = self.at;
            self.skip(true);
            let operator = OPERATORS.iter().find(|(sign, _, level)| *level >= least && self.rest().starts_with(sign));
            let Some((sign, op, level)) = operator else {
                self.at = start;
                return Ok(left);
            };
            self.at += sign.len();
            self.skip(true);
            let right = self.deeper(|parser| parser.binary(level + 1))?;
            let (at, last_line) = (left.at, right.last_line);
            left = Expr { kind: Kind::Binary(*op, Box::new(left), Box::new(right)), at, last_line };
        }
    }

    fn unary(&mut self) -> Result<Expr> {
        let at = self.mark();
        let negate = self.peek() == Some(b'-');
        if !negate && self.peek() != Some(b'!') {
            return self.postfix();
        }
        self.at += 1;
        self.skip(false);
        let inner = Box::new(self.deeper(Self::unary)?);
        let last_line = inner.last_line;
        Ok(Expr { kind: if negate { Kind::Negate(inner) } else { Kind::Not(inner) }, at, last_line })
    }

    fn postfix(&mut self) -> Result<Expr> {
        let mut expr = self.primary()?;
        let mut steps = 0;
        loop {
            // A long row of steps nests the tree as brackets do.
            steps += 1;
            if steps > MAX_DEPTH {
                let what = format!("more than {MAX_DEPTH} steps in one expression");
                return Err(ModelError { at: self.mark(), what, over_limit: true });
            }
            let at = expr.at;
            if self.rest().starts_with("...") {
                return Ok(expr);
            }
            let kind = if self.peek() == Some(b'.') {
                self.at += 1;
                if self.take("*") {
                    Kind::Splat(Box::new(expr), self.steps(false)?)
                } else {
                    Kind::Get(Box::new(expr), self.step_name()?)
                }
            } else if self.peek() == Some(b'[') {
                self.at += 1;
                self.skip(true);
                if self.rest().starts_with('*') && self.rest()[1..].trim_start().starts_with(']') {
                    self.at += 1;
                    self.skip(true);
                    self.need("]")?;
                    Kind::Splat(Box::new(expr), self.steps(true)?)
                } else {
                    let index = self.expression()?;
                    self.skip(true);
                    self.need("]")?;
                    Kind::Index(Box::new(expr), Box::new(index))
                }
            } else {
                return Ok(expr);
            };
            let last_line = self.mark().line;
            expr = Expr { kind, at, last_line };
        }
    }

    fn step_name(&mut self) -> Result<Box<str>> {
        if let Some(name) = self.name() {
            return Ok(name.into());
        }
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if end == 0 {
            return self.error("a name after `.`");
        }
        self.at += end;
        Ok(rest[..end].into())
    }

    fn steps(&mut self, with_index: bool) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.peek() == Some(b'.') && !self.rest().starts_with("...") {
                self.at += 1;
                steps.push(Step::Get(if self.take("*") { "*".into() } else { self.step_name()? }));
            } else if with_index && self.peek() == Some(b'[') && !self.rest().starts_with("[*") {
                self.at += 1;
                self.skip(true);
                steps.push(Step::Index(self.expression()?));
                self.skip(true);
                self.need("]")?;
            } else {
                return Ok(steps);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr> {
        let at = self.mark();
        let kind = match self.peek() {
            Some(b'"') => self.quoted()?,
            Some(b'<') if self.rest().starts_with("<<") => self.heredoc()?,
            Some(b'(') => {
                self.at += 1;
                self.skip(true);
                let inner = self.expression()?;
                self.skip(true);
                self.need(")")?;
                inner.kind
            }
            Some(b'[') => self.list()?,
            Some(b'{') => self.object()?,
            Some(byte) if byte.is_ascii_digit() => self.number()?,
            _ => match self.name() {
                Some("null") => Kind::Null,
                Some("true") => Kind::Bool(true),
                Some("false") => Kind::Bool(false),
                Some(name) => self.named(name)?,
                None => return self.error("a value"),
            },
        };
        let last_line = self.mark().line;
        Ok(Expr { kind, at, last_line })
    }

    fn number(&mut self) -> Result<Kind> {
        let rest = self.rest();
        let mut before = ' ';
        let end = rest
            .find(|c: char| {
                let signed = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
                before = c;
                !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || signed)
            })
            .unwrap_or(rest.len());
        match rest[..end].parse::<f64>() {
            Ok(number) if number.is_finite() => {
                self.at += end;
                Ok(Kind::Number(number))
            }
            _ => self.error("a number"),
        }
    }

    fn named(&mut self, name: &str) -> Result<Kind> {
        let mut name = name.to_owned();
        // `provider::aws::arn_parse(…)`
        while self.rest().starts_with("::") {
            self.at += 2;
            name.push_str("::");
            match self.name() {
                Some(next) => name.push_str(next),
                None => return self.error("a name after `::`"),
            }
        }
        if self.peek() != Some(b'(') {
            return Ok(Kind::Name(name.into()));
        }
        self.at += 1;
        let mut arguments = Vec::new();
        let mut spread = false;
        loop {
            self.skip(true);
            if self.take(")") {
                return Ok(Kind::Call(name.into(), arguments, spread));
            }
            arguments.push(self.expression()?);
            self.skip(true);
            spread = self.take("...");
            self.skip(true);
            if !self.take(",") && self.peek() != Some(b')') {
                return self.error("`,` or `)`");
            }
        }
    }

    fn list(&mut self) -> Result<Kind> {
        self.need("[")?;
        self.skip(true);
        if self.word("for") {
            let each = self.for_expression(false)?;
            self.need("]")?;
            return Ok(Kind::For(Box::new(each)));
        }
        let mut items = Vec::new();
        loop {
            self.skip(true);
            if self.take("]") {
                return Ok(Kind::List(items));
            }
            items.push(self.expression()?);
            self.skip(true);
            if !self.take(",") && self.peek() != Some(b']') {
                return self.error("`,` or `]`");
            }
        }
    }

    fn object(&mut self) -> Result<Kind> {
        self.need("{")?;
        self.skip(true);
        if self.word("for") {
            let each = self.for_expression(true)?;
            self.need("}")?;
            return Ok(Kind::For(Box::new(each)));
        }
        let mut entries = Vec::new();
        loop {
            self.skip(true);
            if self.take("}") {
                return Ok(Kind::Object(entries));
            }
            let at = self.mark();
            let start = self.at;
            let plain = self.name().map(str::to_owned);
            self.skip(false);
            let key = match plain {
                Some(name) if matches!(self.peek(), Some(b'=' | b':')) && !self.rest().starts_with("==") => {
                    Expr { kind: Kind::Text(name.into()), at, last_line: at.line }
                }
                _ => {
                    self.at = start;
                    self.expression()?
                }
            };
            self.skip(true);
            if !self.take("=") && !self.take(":") {
                return self.error("`=` or `:` after a key");
            }
            self.skip(true);
            entries.push((key, self.expression()?));
            self.skip(true);
            self.take(",");
        }
    }

    fn for_expression(&mut self, is_object: bool) -> Result<For> {
        let (key, value, of) = self.for_head()?;
        self.skip(true);
        self.need(":")?;
        self.skip(true);
        let mut result = self.expression()?;
        self.skip(true);
        let mut entry_key = None;
        if is_object {
            self.need("=>")?;
            self.skip(true);
            entry_key = Some(std::mem::replace(&mut result, self.expression()?));
            self.skip(true);
        }
        let grouped = self.take("...");
        self.skip(true);
        let only_if = if self.word("if") {
            self.skip(true);
            Some(self.expression()?)
        } else {
            None
        };
        self.skip(true);
        Ok(For { key, value, of, entry_key, result, only_if, grouped })
    }

    /// `k, v in expression`
    pub fn for_head(&mut self) -> Result<(Option<Box<str>>, Box<str>, Expr)> {
        self.skip(true);
        let Some(first) = self.name() else { return self.error("a name after `for`") };
        self.skip(true);
        let (key, value) = if self.take(",") {
            self.skip(true);
            match self.name() {
                Some(second) => (Some(first.into()), second),
                None => return self.error("a name after `,`"),
            }
        } else {
            (None, first)
        };
        self.skip(true);
        if !self.word("in") {
            return self.error("`in`");
        }
        self.skip(true);
        Ok((key, value.into(), self.expression()?))
    }
}
