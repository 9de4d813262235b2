//! ```text
//! or    = and { "or" and }            and  = not { "and" not }          not = "not" not | test
//! test  = "(" or ")" | "any" "(" path "," or ")" | "all" … | "none" … | "exists" "(" term ")" | "missing" …
//!       | "matches" "(" term "," text ")" | "starts"|"ends"|"contains" "(" term "," term ")" | "program" "(" text ")"
//!       | term ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" ) term
//! term  = literal | "[" literal { "," literal } "]" | function "(" term ")" | path
//! path  = ( "@" [ "item" | "object" | "pod" | "podmeta" | "users" | "uses" ] | name ) { "." name | "[" ( "*" | number | text ) "]" }
//! ```

use regex_lite::Regex;

use super::{Expr, Function, Literal, Op, Path, Root, Step, Term, TextTest};

/// A predicate that cannot be read, with the place in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {what}")]
pub struct ExprError {
    /// Where, from 1.
    pub at: usize,
    /// What was expected and what came.
    pub what: String,
}

/// How deep parentheses may go.
const MAX_DEPTH: usize = 64;

/// Reads a predicate.
///
/// # Errors
/// The first mistake with its place.
pub fn parse(text: &str) -> Result<Expr, ExprError> {
    let mut parser = Parser::new(text)?;
    let expr = parser.or()?;
    parser.end()?;
    Ok(expr)
}

/// Reads a path alone.
///
/// # Errors
/// The first mistake with its place.
pub fn parse_path(text: &str) -> Result<Path, ExprError> {
    let mut parser = Parser::new(text)?;
    let path = parser.path()?;
    parser.end()?;
    Ok(path)
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(f64),
    Sign(&'static str),
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    length: usize,
    depth: usize,
}

const SIGNS: [&str; 18] =
    ["==", "!=", "<=", ">=", "(", ")", "[", "]", ",", ".", "*", "<", ">", "@", "{", "}", ":", "="];

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ExprError> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len() + 1;
        let Some(first) = rest.chars().next() else { return Ok(out) };
        if first == '"' {
            let Some(end) = rest[1..].find('"') else {
                return Err(ExprError { at, what: "a text that does not end".to_owned() });
            };
            out.push((at, Token::Text(rest[1..=end].to_owned())));
            rest = &rest[end + 2..];
        } else if first.is_ascii_digit() || (first == '-' && rest[1..].starts_with(|next: char| next.is_ascii_digit()))
        {
            let end = rest[1..].find(|c: char| !(c.is_ascii_digit() || c == '.')).map_or(rest.len(), |end| end + 1);
            let number =
                rest[..end].parse().map_err(|_| ExprError { at, what: format!("`{}` is no number", &rest[..end]) })?;
            out.push((at, Token::Number(number)));
            rest = &rest[end..];
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))).unwrap_or(rest.len());
            out.push((at, Token::Name(rest[..end].to_owned())));
            rest = &rest[end..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            out.push((at, Token::Sign(sign)));
            rest = &rest[sign.len()..];
        } else {
            return Err(ExprError { at, what: format!("`{first}` has no meaning here") });
        }
    }
}

impl Parser {
    fn new(text: &str) -> Result<Self, ExprError> {
        Ok(Self { tokens: tokens(text)?, next: 0, length: text.len(), depth: 0 })
    }

    fn or(&mut self) -> Result<Expr, ExprError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(&format!("at most {MAX_DEPTH} levels of parentheses")));
        }
        let first = self.and()?;
        let mut all = vec![first];
        while self.take_name("or") {
            all.push(self.and()?);
        }
        self.depth -= 1;
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Or(all) })
    }

    fn and(&mut self) -> Result<Expr, ExprError> {
        let mut all = vec![self.not()?];
        while self.take_name("and") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::And(all) })
    }

    fn not(&mut self) -> Result<Expr, ExprError> {
        let mut negated = false;
        while self.take_name("not") {
            negated = !negated;
        }
        let inner = self.test()?;
        Ok(if negated { Expr::Not(Box::new(inner)) } else { inner })
    }

    fn test(&mut self) -> Result<Expr, ExprError> {
        if self.take("(") {
            let inner = self.or()?;
            self.need(")")?;
            return Ok(inner);
        }
        if let Some(name) = self.call() {
            match name.as_str() {
                "any" | "all" | "none" => {
                    self.skip_call();
                    let path = self.path()?;
                    self.need(",")?;
                    let inner = Box::new(self.or()?);
                    self.need(")")?;
                    return Ok(match name.as_str() {
                        "any" => Expr::Any(path, inner),
                        "all" => Expr::All(path, inner),
                        _ => Expr::Not(Box::new(Expr::Any(path, inner))),
                    });
                }
                "exists" | "missing" => {
                    self.skip_call();
                    let exists = Expr::Exists(self.term()?);
                    self.need(")")?;
                    return Ok(if name == "exists" { exists } else { Expr::Not(Box::new(exists)) });
                }
                "matches" => {
                    self.skip_call();
                    let term = self.term()?;
                    self.need(",")?;
                    let pattern = self.text()?;
                    let regex =
                        Regex::new(&pattern).map_err(|error| self.error(&format!("a regular expression: {error}")))?;
                    self.need(")")?;
                    return Ok(Expr::Matches(term, Box::new(regex)));
                }
                "starts" | "ends" | "contains" => {
                    self.skip_call();
                    let left = self.term()?;
                    self.need(",")?;
                    let right = self.term()?;
                    self.need(")")?;
                    let test = match name.as_str() {
                        "starts" => TextTest::Starts,
                        "ends" => TextTest::Ends,
                        _ => TextTest::Contains,
                    };
                    return Ok(Expr::Text(test, left, right));
                }
                "program" => {
                    self.skip_call();
                    let program = self.text()?;
                    self.need(")")?;
                    return Ok(Expr::Program(program));
                }
                _ => {}
            }
        }
        let left = self.term()?;
        if self.take_name("in") {
            return Ok(Expr::Compare(Op::Eq, left, self.term()?));
        }
        for (sign, op) in [("==", Op::Eq), ("!=", Op::Eq), ("<=", Op::Le), (">=", Op::Ge), ("<", Op::Lt), (">", Op::Gt)]
        {
            if self.take(sign) {
                let compare = Expr::Compare(op, left, self.term()?);
                return Ok(if sign == "!=" { Expr::Not(Box::new(compare)) } else { compare });
            }
        }
        Err(self.error("a comparison (==, !=, <, <=, >, >=, in)"))
    }

    fn term(&mut self) -> Result<Term, ExprError> {
        if self.take("[") {
            let mut literals = Vec::new();
            while !self.take("]") {
                literals.push(self.literal()?);
                if !self.take(",") {
                    self.need("]")?;
                    break;
                }
            }
            return Ok(Term::Literals(literals));
        }
        if let Some(name) = self.call() {
            self.skip_call();
            let term = match name.as_str() {
                "flag" => Term::Flag(self.text()?),
                "words" => Term::Words,
                "effective" => Term::Effective(self.path()?),
                "count" => Term::Count(Box::new(self.term()?)),
                "split" => {
                    let term = self.term()?;
                    self.need(",")?;
                    Term::Split(Box::new(term), self.text()?)
                }
                "without" => {
                    let term = self.term()?;
                    self.need(",")?;
                    let Term::Literals(literals) = self.term()? else { return Err(self.error("a list of literals")) };
                    Term::Without(Box::new(term), literals)
                }
                _ => {
                    let Some(function) = function(&name) else {
                        self.next -= 2;
                        return Err(self.error("a function"));
                    };
                    Term::Map(function, Box::new(self.term()?))
                }
            };
            self.need(")")?;
            return Ok(term);
        }
        let literal = match self.peek() {
            Some(Token::Text(_) | Token::Number(_)) => true,
            Some(Token::Name(name)) => name == "true" || name == "false",
            _ => false,
        };
        if literal { Ok(Term::Literals(vec![self.literal()?])) } else { self.path().map(Term::Path) }
    }

    fn literal(&mut self) -> Result<Literal, ExprError> {
        let literal = match self.peek() {
            Some(Token::Text(text)) => Literal::Text(text.clone()),
            Some(Token::Number(number)) => Literal::Number(*number),
            Some(Token::Name(name)) if name == "true" => Literal::Bool(true),
            Some(Token::Name(name)) if name == "false" => Literal::Bool(false),
            _ => return Err(self.error("a text, a number, true or false")),
        };
        self.next += 1;
        Ok(literal)
    }

    fn path(&mut self) -> Result<Path, ExprError> {
        let mut path = Path { root: Root::Here, steps: Vec::new() };
        if self.take("@") {
            for (name, root) in [
                ("item", Root::Item),
                ("outer", Root::Outer),
                ("object", Root::Object),
                ("podmeta", Root::PodMeta),
                ("pod", Root::Pod),
                ("users", Root::Users),
                ("uses", Root::Uses),
            ] {
                if self.take_name(name) {
                    path.root = root;
                    break;
                }
            }
        } else {
            path.steps.push(Step::Key(self.name("a path")?));
        }
        loop {
            if self.take(".") {
                path.steps.push(Step::Key(self.name("a name after `.`")?));
            } else if self.take("[") {
                let step = match self.peek() {
                    Some(Token::Sign("*")) => Step::Each,
                    Some(Token::Text(key)) => Step::Key(key.clone()),
                    Some(Token::Number(index)) if *index >= 0.0 && index.fract() == 0.0 => Step::Index(*index as usize),
                    _ => return Err(self.error("`*`, an index or a key in quotes")),
                };
                self.next += 1;
                self.need("]")?;
                path.steps.push(step);
            } else {
                return Ok(path);
            }
        }
    }

    /// The name of a function that is called next.
    fn call(&self) -> Option<String> {
        match (self.tokens.get(self.next), self.tokens.get(self.next + 1)) {
            (Some((_, Token::Name(name))), Some((_, Token::Sign("(")))) => Some(name.clone()),
            _ => None,
        }
    }

    fn skip_call(&mut self) {
        self.next += 2;
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.next += usize::from(found);
        found
    }

    fn take_name(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Name(next)) if next == name);
        self.next += usize::from(found);
        found
    }

    fn need(&mut self, sign: &str) -> Result<(), ExprError> {
        if self.take(sign) { Ok(()) } else { Err(self.error(&format!("`{sign}`"))) }
    }

    fn name(&mut self, what: &str) -> Result<String, ExprError> {
        let Some(Token::Name(name)) = self.peek() else { return Err(self.error(what)) };
        let name = name.clone();
        self.next += 1;
        Ok(name)
    }

    fn text(&mut self) -> Result<String, ExprError> {
        let Some(Token::Text(text)) = self.peek() else { return Err(self.error("a text in double quotes")) };
        let text = text.clone();
        self.next += 1;
        Ok(text)
    }

    fn end(&self) -> Result<(), ExprError> {
        if self.next == self.tokens.len() { Ok(()) } else { Err(self.error("`and`, `or` or the end")) }
    }

    fn error(&self, expected: &str) -> ExprError {
        let at = self.tokens.get(self.next).map_or(self.length + 1, |(at, _)| *at);
        let found = match self.peek() {
            Some(Token::Name(name)) => format!("`{name}`"),
            Some(Token::Text(text)) => format!("\"{text}\""),
            Some(Token::Number(number)) => format!("`{number}`"),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
            None => "the end".to_owned(),
        };
        ExprError { at, what: format!("expected {expected}, found {found}") }
    }
}

fn function(name: &str) -> Option<Function> {
    Some(match name {
        "lower" => Function::Lower,
        "cap" => Function::Cap,
        "quantity" => Function::Quantity,
        "number" => Function::Number,
        "keys" => Function::Keys,
        "length" => Function::Length,
        "tag" => Function::Tag,
        "digest" => Function::Digest,
        "registry" => Function::Registry,
        "repository" => Function::Repository,
        "text" => Function::Text,
        _ => return None,
    })
}
