//! Runs what was read: one command after another, pipelines stage by stage, within the host's limits of time and output.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;
use std::time::Instant;

use super::syntax::{Node, Piece, Redirect, Simple, Word};
use super::{Unsupported, programs};
use crate::cis::host::Host;

/// How deep scripts may call scripts (`sh -c`, `xargs`, `find -exec`).
const DEEPEST: usize = 40;

/// What a script printed (both streams, as they came) and its exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Both streams.
    pub output: String,
    /// 0: success.
    pub status: i32,
}

/// Why a script was left before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Outside of the subset.
    Unsupported(Unsupported),
    /// Over a limit of time or output.
    Limit(String),
    /// `exit` or `return`.
    Exit(i32),
    /// `break`.
    Break,
    /// `continue`.
    Continue,
}

impl From<Unsupported> for Stop {
    fn from(unsupported: Unsupported) -> Self {
        Self::Unsupported(unsupported)
    }
}

/// Bytes that commands read, and how far they came.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    at: usize,
}

/// Where output goes; `None`: nowhere.
pub type Sink = Option<Rc<RefCell<Vec<u8>>>>;

/// The three streams of a command.
#[derive(Debug, Clone)]
pub struct Streams {
    pub(super) input: Rc<RefCell<Input>>,
    /// Whether the command itself stands behind a `|` or a `<`.
    pub piped: bool,
    /// Standard output.
    pub out: Sink,
    /// Standard error.
    pub err: Sink,
}

impl Streams {
    /// All that is left to read.
    pub fn rest(&self) -> Vec<u8> {
        let mut input = self.input.borrow_mut();
        let at = mem::take(&mut input.at);
        let mut bytes = mem::take(&mut input.bytes);
        bytes.split_off(at.min(bytes.len()))
    }

    /// The next line without its end; `None` at the end.
    pub fn line(&self) -> Option<String> {
        let mut input = self.input.borrow_mut();
        let rest = &input.bytes[input.at..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        input.at = (input.at + length + 1).min(input.bytes.len());
        Some(line)
    }

    fn with_input(&self, bytes: Vec<u8>) -> Self {
        Self { input: Rc::new(RefCell::new(Input { bytes, at: 0 })), piped: true, ..self.clone() }
    }
}

/// A running script.
pub struct Shell<'h> {
    /// What it looks at.
    pub host: &'h Host,
    variables: BTreeMap<String, String>,
    status: i32,
    deadline: Instant,
    depth: usize,
}

/// Reads, checks and runs a script.
///
/// # Errors
/// [`Stop::Unsupported`] before anything ran where that can be seen, or [`Stop::Limit`].
pub fn run(text: &str, host: &Host) -> Result<Outcome, Stop> {
    let node = super::check(text)?;
    let output = Rc::new(RefCell::new(Vec::new()));
    let sink = Some(output.clone());
    let streams = Streams { input: Rc::default(), piped: false, out: sink.clone(), err: sink };
    let mut shell = Shell { host, variables: BTreeMap::new(), status: 0, deadline: host.deadline(), depth: 0 };
    let status = shell.script(&node, &streams)?;
    let output = String::from_utf8_lossy(&output.borrow()).into_owned();
    Ok(Outcome { output, status })
}

impl Shell<'_> {
    /// Runs a script of its own: `exit` ends it, not its caller.
    pub(super) fn script(&mut self, node: &Node, streams: &Streams) -> Result<i32, Stop> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Stop::Limit("scripts that call scripts too deep".to_owned()));
        }
        let variables = self.variables.clone();
        let result = match self.node(node, streams) {
            Err(Stop::Exit(status)) => Ok(status),
            Err(Stop::Break | Stop::Continue) => Ok(0),
            other => other,
        };
        self.variables = variables;
        self.depth -= 1;
        result
    }

    /// What a script prints, without the line ends at its end.
    pub(super) fn output_of(&mut self, node: &Node, streams: &Streams) -> Result<String, Stop> {
        let output = Rc::new(RefCell::new(Vec::new()));
        let inner = Streams { out: Some(output.clone()), ..streams.clone() };
        self.status = self.script(node, &inner)?;
        let text = String::from_utf8_lossy(&output.borrow()).replace('\0', "");
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// The value of a parameter, or of the environment.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "#" => Some("0".to_owned()),
            _ => self.variables.get(name).cloned().or_else(|| self.host.environment(name)),
        }
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, name: &str, value: String) {
        self.variables.insert(name.to_owned(), value);
    }

    /// Takes a variable away.
    pub(super) fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// When everything has to be over.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Writes to a stream.
    pub(super) fn write(&self, sink: &Sink, bytes: impl AsRef<[u8]>) -> Result<(), Stop> {
        let Some(sink) = sink else { return Ok(()) };
        let (bytes, mut written) = (bytes.as_ref(), sink.borrow_mut());
        if written.len() + bytes.len() > self.host.limits.output {
            return Err(Stop::Limit(format!("more than {} MiB of output", self.host.limits.output >> 20)));
        }
        written.extend_from_slice(bytes);
        Ok(())
    }

    /// Looks at the clock.
    pub(super) fn tick(&self) -> Result<(), Stop> {
        if self.host.is_over(self.deadline) {
            return Err(Stop::Limit(format!("it took longer than {} s", self.host.limits.time.as_secs())));
        }
        Ok(())
    }

    fn node(&mut self, node: &Node, streams: &Streams) -> Result<i32, Stop> {
        self.tick()?;
        let status = match node {
            Node::Seq(nodes) => {
                let mut status = 0;
                for node in nodes {
                    status = self.node(node, streams)?;
                }
                status
            }
            Node::And(left, right) => match self.node(left, streams)? {
                0 => self.node(right, streams)?,
                failed => failed,
            },
            Node::Or(left, right) => match self.node(left, streams)? {
                0 => 0,
                _ => self.node(right, streams)?,
            },
            Node::Not(inner) => i32::from(self.node(inner, streams)? == 0),
            Node::Pipeline(stages) => self.pipeline(stages, streams)?,
            Node::Simple(command) => self.simple(command, streams)?,
            Node::Condition(words) => {
                let fields = words.iter().map(|word| self.unsplit(word, streams)).collect::<Result<Vec<_>, _>>()?;
                let terms = fields.into_iter().map(|field| (field.text, Some(field.pattern))).collect::<Vec<_>>();
                programs::condition(self, "[[", &terms, streams)?
            }
            Node::If(arms, otherwise) => {
                for (condition, body) in arms {
                    if self.node(condition, streams)? == 0 {
                        let status = self.node(body, streams)?;
                        self.status = status;
                        return Ok(status);
                    }
                }
                otherwise.as_ref().map_or(Ok(0), |body| self.node(body, streams))?
            }
            Node::For(name, words, body) => {
                let mut status = 0;
                for value in self.arguments(words, streams)? {
                    self.set(name, value);
                    match self.node(body, streams) {
                        Err(Stop::Break) => break,
                        Err(Stop::Continue) => {}
                        other => status = other?,
                    }
                }
                status
            }
            Node::While(until, condition, body) => {
                let mut status = 0;
                while (self.node(condition, streams)? == 0) != *until {
                    match self.node(body, streams) {
                        Err(Stop::Break) => break,
                        Err(Stop::Continue) => {}
                        other => status = other?,
                    }
                }
                status
            }
            Node::Group(body) => self.node(body, streams)?,
            Node::Subshell(body) => self.script(body, streams)?,
            Node::Redirected(inner, redirects) => match self.redirected(redirects, streams)? {
                Ok(streams) => self.node(inner, &Streams { piped: false, ..streams })?,
                Err(status) => status,
            },
        };
        self.status = status;
        Ok(status)
    }

    /// Each stage is a script of its own, and reads what the one before it wrote.
    fn pipeline(&mut self, stages: &[Node], streams: &Streams) -> Result<i32, Stop> {
        let mut inner = streams.clone();
        let mut status = 0;
        for (at, stage) in stages.iter().enumerate() {
            let last = at + 1 == stages.len();
            // What stands deeper in a stage is not itself behind the `|`.
            inner.piped &= matches!(stage, Node::Simple(_));
            let output = Rc::new(RefCell::new(Vec::new()));
            inner.out = if last { streams.out.clone() } else { Some(output.clone()) };
            status = self.script(stage, &inner)?;
            inner = inner.with_input(output.take());
        }
        Ok(status)
    }

    fn simple(&mut self, command: &Simple, streams: &Streams) -> Result<i32, Stop> {
        self.status = if command.words.is_empty() { 0 } else { self.status };
        let arguments = self.arguments(&command.words, streams)?;
        for (name, word, append) in &command.assignments {
            let value = self.text(word, streams)?;
            let before = if *append { self.parameter(name).unwrap_or_default() } else { String::new() };
            if before.len() + value.len() > self.host.limits.output {
                return Err(Stop::Limit("a variable that grows without end".to_owned()));
            }
            self.set(name, before + &value);
        }
        let streams = match self.redirected(&command.redirects, streams)? {
            Ok(streams) => streams,
            Err(status) => return Ok(status),
        };
        if arguments.is_empty() {
            return Ok(self.status);
        }
        programs::run(self, &arguments, &streams)
    }

    /// The streams after redirections, or the status where a file is not there.
    fn redirected(&mut self, redirects: &[Redirect], streams: &Streams) -> Result<Result<Streams, i32>, Stop> {
        let mut streams = streams.clone();
        for redirect in redirects {
            match redirect {
                Redirect::Null(stream) => {
                    streams.out = if *stream == 2 { streams.out } else { None };
                    streams.err = if *stream == 1 { streams.err } else { None };
                }
                Redirect::Copy(1, 2) => streams.out = streams.err.clone(),
                Redirect::Copy(2, 1) => streams.err = streams.out.clone(),
                Redirect::Copy(..) => {}
                Redirect::Input(word) => {
                    let path = self.text(word, &streams)?;
                    match self.host.read(&path) {
                        Ok(bytes) => streams = streams.with_input(bytes),
                        Err(why) => {
                            self.write(&streams.err, format!("/bin/sh: 1: cannot open {path}: {why}\n"))?;
                            return Ok(Err(2));
                        }
                    }
                }
            }
        }
        Ok(Ok(streams))
    }
}

/// Looks at every command of a script without running it. What only running can tell counts as fitting.
///
/// # Errors
/// A program or an option that is not in the subset.
pub fn check(node: &Node) -> Result<(), Unsupported> {
    match node {
        Node::Seq(nodes) | Node::Pipeline(nodes) => nodes.iter().try_for_each(check),
        Node::And(left, right) | Node::Or(left, right) | Node::While(_, left, right) => {
            check(left)?;
            check(right)
        }
        Node::Not(inner) | Node::Group(inner) | Node::Subshell(inner) => check(inner),
        Node::Redirected(inner, redirects) => {
            check_redirects(redirects)?;
            check(inner)
        }
        Node::Condition(words) => words.iter().try_for_each(check_word),
        Node::If(arms, otherwise) => {
            for (condition, body) in arms {
                check(condition)?;
                check(body)?;
            }
            otherwise.as_ref().map_or(Ok(()), |body| check(body))
        }
        Node::For(_, words, body) => {
            words.iter().try_for_each(check_word)?;
            check(body)
        }
        Node::Simple(command) => {
            command.assignments.iter().try_for_each(|(_, word, _)| check_word(word))?;
            command.words.iter().try_for_each(check_word)?;
            check_redirects(&command.redirects)?;
            let words: Vec<_> = command.words.iter().map(likely).collect();
            match command.words.first() {
                None => Ok(()),
                Some(Word(pieces)) if pieces.iter().all(|piece| matches!(piece, Piece::Text(..))) => {
                    programs::check(&words)
                }
                Some(_) => {
                    Err(Unsupported("a program whose name comes out of a variable or another program".to_owned()))
                }
            }
        }
    }
}

fn check_redirects(redirects: &[Redirect]) -> Result<(), Unsupported> {
    redirects.iter().try_for_each(|redirect| match redirect {
        Redirect::Input(word) => check_word(word),
        Redirect::Null(_) | Redirect::Copy(..) => Ok(()),
    })
}

fn check_word(word: &Word) -> Result<(), Unsupported> {
    word.0.iter().try_for_each(|piece| match piece {
        Piece::Output(script, _) => check(script),
        Piece::Text(..) | Piece::Parameter(..) => Ok(()),
    })
}

/// A word with a stand-in for what only running can tell.
fn likely(word: &Word) -> String {
    word.0.iter().map(|piece| if let Piece::Text(text, _) = piece { text.as_str() } else { "x" }).collect()
}
