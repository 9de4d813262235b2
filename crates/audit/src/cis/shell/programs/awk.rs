//! `awk`, as far as audits use it: rules of a condition and a block with `print`, `if` and `else`; fields, `NR`, `NF`, comparisons.

use regex_lite::Regex;

use super::super::Unsupported;
use super::super::pattern::{self, Dialect};
use super::super::run::{Shell, Stop, Streams};
use super::builtin::unescape;
use super::options::Known;
use super::{complain, inputs};

const AWK: Known = Known { flags: "", valued: "F", long: &[("field-separator", 'F')], operand_ends: true };

enum Expression {
    Text(String),
    Number(f64),
    Field(Box<Expression>),
    Lines,
    Fields,
    Fitting(Regex),
    Not(Box<Expression>),
    Binary(&'static str, Box<Expression>, Box<Expression>),
}

enum Statement {
    Print(Vec<Expression>),
    If(Expression, Vec<Statement>, Vec<Statement>),
    Next,
}

struct Rule {
    condition: Option<Expression>,
    block: Option<Vec<Statement>>,
}

/// What `awk` was called with.
struct Program {
    /// `None` where the text is missing.
    rules: Option<Vec<Rule>>,
    separator: Separator,
    files: Vec<String>,
}

fn program(arguments: &[String]) -> Result<Program, Unsupported> {
    let mut options = AWK.read(arguments)?;
    let separator = match options.value('F') {
        None | Some(" ") => Separator::Blanks,
        Some("t") => Separator::Text("\t".to_owned()),
        Some(text) if text.chars().count() == 1 => Separator::Text(text.to_owned()),
        Some(text) => Separator::Fitting(pattern::regex(&unescape(text), Dialect::Extended, false, ("", ""))?),
    };
    if options.operands.is_empty() {
        return Ok(Program { rules: None, separator, files: Vec::new() });
    }
    let text = options.operands.remove(0);
    let mut reader = Reader { text: text.chars().collect(), at: 0, depth: 0 };
    let mut rules = Vec::new();
    loop {
        reader.skip(true);
        if reader.at == reader.text.len() {
            return Ok(Program { rules: Some(rules), separator, files: options.operands });
        }
        let condition = if reader.peek() == Some('{') { None } else { Some(reader.expression(0)?) };
        reader.skip(false);
        let block = if reader.peek() == Some('{') { Some(reader.block()?) } else { None };
        rules.push(Rule { condition, block });
    }
}

struct Reader {
    text: Vec<char>,
    at: usize,
    depth: usize,
}

/// Operators by how strongly they bind, the weakest first.
const LEVELS: [&[&str]; 4] = [&["||"], &["&&"], &["!~", "~"], &["==", "!=", "<=", ">=", "<", ">"]];

impl Reader {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, separators: bool) {
        while self.peek().is_some_and(|next| next == ' ' || next == '\t' || separators && (next == ';' || next == '\n'))
        {
            self.at += 1;
        }
    }

    fn refuse<T>(&self) -> Result<T, Unsupported> {
        let rest: String = self.text[self.at.min(self.text.len())..].iter().take(20).collect();
        Err(Unsupported(format!("`{rest}` in a program of `awk`")))
    }

    fn take(&mut self, what: &str) -> bool {
        self.skip(false);
        let there = self.text[self.at..].starts_with(&what.chars().collect::<Vec<_>>());
        if there {
            self.at += what.len();
        }
        there
    }

    fn deeper(&mut self) -> Result<(), Unsupported> {
        self.depth += 1;
        if self.depth > 50 { self.refuse() } else { Ok(()) }
    }

    fn word(&self) -> String {
        self.text[self.at..].iter().take_while(|next| next.is_ascii_alphabetic()).collect()
    }

    fn block(&mut self) -> Result<Vec<Statement>, Unsupported> {
        self.deeper()?;
        self.take("{");
        let mut statements = Vec::new();
        loop {
            self.skip(true);
            if self.take("}") {
                self.depth -= 1;
                return Ok(statements);
            }
            statements.push(self.statement()?);
        }
    }

    fn branch(&mut self) -> Result<Vec<Statement>, Unsupported> {
        self.skip(true);
        if self.peek() == Some('{') { self.block() } else { Ok(vec![self.statement()?]) }
    }

    fn statement(&mut self) -> Result<Statement, Unsupported> {
        self.deeper()?;
        let word = self.word();
        self.at += word.len();
        let statement = match word.as_str() {
            "print" => {
                let mut shown = Vec::new();
                self.skip(false);
                while self.peek().is_some_and(|next| !"};\n".contains(next)) {
                    shown.push(self.joined()?);
                    if !self.take(",") {
                        break;
                    }
                }
                self.skip(false);
                if self.peek().is_some_and(|next| !"};\n".contains(next)) {
                    return self.refuse();
                }
                Statement::Print(shown)
            }
            "next" => Statement::Next,
            "if" => {
                if !self.take("(") {
                    return self.refuse();
                }
                let condition = self.expression(0)?;
                if !self.take(")") {
                    return self.refuse();
                }
                let then = self.branch()?;
                let before = self.at;
                self.skip(true);
                let otherwise = if self.word() == "else" {
                    self.at += "else".len();
                    self.branch()?
                } else {
                    self.at = before;
                    Vec::new()
                };
                Statement::If(condition, then, otherwise)
            }
            _ => {
                self.at -= word.len();
                return self.refuse();
            }
        };
        self.depth -= 1;
        Ok(statement)
    }

    /// Values side by side are one text.
    fn joined(&mut self) -> Result<Expression, Unsupported> {
        let mut left = self.value()?;
        loop {
            self.skip(false);
            if !self.peek().is_some_and(|next| next == '"' || next == '$' || next.is_ascii_alphanumeric()) {
                return Ok(left);
            }
            left = Expression::Binary("", Box::new(left), Box::new(self.value()?));
        }
    }

    fn expression(&mut self, level: usize) -> Result<Expression, Unsupported> {
        let Some(operators) = LEVELS.get(level) else { return self.joined() };
        let mut left = self.expression(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.take(operator)) {
            left = Expression::Binary(operator, Box::new(left), Box::new(self.expression(level + 1)?));
        }
        Ok(left)
    }

    fn value(&mut self) -> Result<Expression, Unsupported> {
        self.deeper()?;
        self.skip(false);
        let value = match self.peek() {
            Some('$') => {
                self.at += 1;
                Expression::Field(Box::new(self.value()?))
            }
            Some('!') => {
                self.at += 1;
                Expression::Not(Box::new(self.value()?))
            }
            Some('(') => {
                self.at += 1;
                let inner = self.expression(0)?;
                if !self.take(")") {
                    return self.refuse();
                }
                inner
            }
            Some(sign @ ('"' | '/')) => {
                self.at += 1;
                let mut text = String::new();
                loop {
                    match self.peek() {
                        None => return self.refuse(),
                        Some(end) if end == sign => break,
                        Some('\\') if self.text.get(self.at + 1) == Some(&sign) => {
                            text.push(sign);
                            self.at += 1;
                        }
                        Some(other) => text.push(other),
                    }
                    self.at += 1;
                }
                self.at += 1;
                match sign {
                    '/' => Expression::Fitting(pattern::regex(&text, Dialect::Extended, false, ("", ""))?),
                    _ => Expression::Text(unescape(&text)),
                }
            }
            Some(digit) if digit.is_ascii_digit() => {
                let digits: String =
                    self.text[self.at..].iter().take_while(|next| next.is_ascii_digit() || **next == '.').collect();
                self.at += digits.len();
                match digits.parse() {
                    Ok(number) => Expression::Number(number),
                    Err(_) => return self.refuse(),
                }
            }
            _ => match self.word().as_str() {
                "NR" => {
                    self.at += 2;
                    Expression::Lines
                }
                "NF" => {
                    self.at += 2;
                    Expression::Fields
                }
                _ => return self.refuse(),
            },
        };
        self.depth -= 1;
        Ok(value)
    }
}

enum Separator {
    Blanks,
    Text(String),
    Fitting(Regex),
}

struct Record<'r> {
    line: &'r str,
    fields: Vec<&'r str>,
    number: usize,
}

impl Record<'_> {
    fn text(&self, expression: &Expression) -> String {
        match expression {
            Expression::Text(text) => text.clone(),
            Expression::Number(number) => number.to_string(),
            Expression::Lines => self.number.to_string(),
            Expression::Fields => self.fields.len().to_string(),
            Expression::Field(which) => match self.text(which).parse::<usize>() {
                Ok(0) => self.line.to_owned(),
                Ok(which) => self.fields.get(which - 1).copied().unwrap_or_default().to_owned(),
                Err(_) => String::new(),
            },
            Expression::Fitting(pattern) => i32::from(pattern.is_match(self.line)).to_string(),
            Expression::Not(inner) => i32::from(!self.holds(inner)).to_string(),
            Expression::Binary("", left, right) => self.text(left) + &self.text(right),
            Expression::Binary(operator, left, right) => i32::from(self.compare(operator, left, right)).to_string(),
        }
    }

    fn holds(&self, expression: &Expression) -> bool {
        let text = self.text(expression);
        let is_text = matches!(expression, Expression::Text(_));
        if is_text { !text.is_empty() } else { !text.is_empty() && text.parse::<f64>() != Ok(0.0) }
    }

    fn compare(&self, operator: &str, left: &Expression, right: &Expression) -> bool {
        match operator {
            "||" => return self.holds(left) || self.holds(right),
            "&&" => return self.holds(left) && self.holds(right),
            "~" | "!~" => {
                let Expression::Fitting(pattern) = right else { return false };
                return pattern.is_match(&self.text(left)) == (operator == "~");
            }
            _ => {}
        }
        let (one, other) = (self.text(left), self.text(right));
        let quoted = matches!(left, Expression::Text(_)) || matches!(right, Expression::Text(_));
        let order = match (one.trim().parse::<f64>(), other.trim().parse::<f64>()) {
            (Ok(one), Ok(other)) if !quoted => one.partial_cmp(&other),
            _ => Some(one.cmp(&other)),
        };
        order.is_some_and(|order| crate::cis::path::holds(order, operator))
    }

    /// Answers whether the next rule may have the line.
    fn execute(&self, statements: &[Statement], out: &mut String) -> bool {
        statements.iter().all(|statement| match statement {
            Statement::Print(shown) if shown.is_empty() => {
                out.push_str(&format!("{}\n", self.line));
                true
            }
            Statement::Print(shown) => {
                let texts: Vec<_> = shown.iter().map(|shown| self.text(shown)).collect();
                out.push_str(&format!("{}\n", texts.join(" ")));
                true
            }
            Statement::If(condition, then, otherwise) => {
                self.execute(if self.holds(condition) { then } else { otherwise }, out)
            }
            Statement::Next => false,
        })
    }
}

pub fn check(arguments: &[String]) -> Result<(), Unsupported> {
    program(arguments).map(|_| ())
}

/// `awk`
pub fn awk(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let Program { rules: Some(rules), separator, files } = program(arguments)? else {
        return complain(shell, streams, "usage: awk [-F fs] 'prog' [file ...]", 2);
    };
    let (inputs, failed) = inputs(shell, &arguments[0], &files, streams)?;
    let lines: Vec<_> = inputs.iter().flat_map(|(_, bytes)| super::lines(bytes)).collect();
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at % 256 == 0 {
            shell.tick()?;
        }
        let fields = match &separator {
            _ if line.is_empty() => Vec::new(),
            Separator::Blanks => line.split_whitespace().collect(),
            Separator::Text(text) => line.split(text.as_str()).collect(),
            Separator::Fitting(pattern) => pattern.split(line).collect(),
        };
        let record = Record { line, fields, number: at + 1 };
        for rule in &rules {
            if rule.condition.as_ref().is_some_and(|condition| !record.holds(condition)) {
                continue;
            }
            let goes_on = match &rule.block {
                Some(block) => record.execute(block, &mut out),
                None => record.execute(&[Statement::Print(Vec::new())], &mut out),
            };
            if !goes_on {
                break;
            }
        }
    }
    shell.write(&streams.out, out)?;
    Ok(if failed { 2 } else { 0 })
}
