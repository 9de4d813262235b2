//! An evaluated value with its place. What is only known when the configuration is applied stays in it as an unknown that says
//! what it depends on.

use std::rc::Rc;

use crate::model::Mark;

/// Stands before and after the name of an unknown within a text. Both are characters for private use; readers replace those of files.
pub const UNKNOWN_START: char = '\u{e000}';
/// See [`UNKNOWN_START`].
pub const UNKNOWN_END: char = '\u{e001}';

/// What a value is.
#[derive(Debug, Clone)]
pub enum V {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text; it may hold unknowns between [`UNKNOWN_START`] and [`UNKNOWN_END`].
    Text(Rc<str>),
    /// A list.
    List(Rc<[Val]>),
    /// A mapping.
    Map(Rc<[(Rc<str>, Val)]>),
    /// Not known before it is applied; what it is called (`var.name`, `aws_s3_bucket.b.arn`).
    Unknown(Rc<str>),
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Val {
    /// What it is.
    pub v: V,
    /// Where it begins.
    pub at: Mark,
    /// Its last line.
    pub last_line: u32,
    /// What is in it stands elsewhere (in a variable's default, perhaps in another file): `at` is the place for all of it.
    pub foreign: bool,
}

impl Val {
    /// A value at a place.
    pub fn new(v: V, at: Mark, last_line: u32) -> Self {
        Self { v, at, last_line, foreign: false }
    }

    /// A value of one line.
    pub fn at(v: V, at: Mark) -> Self {
        Self::new(v, at, at.line)
    }

    /// Text.
    pub fn text(text: &str, at: Mark) -> Self {
        Self::at(V::Text(Rc::from(text)), at)
    }

    /// An unknown of this name.
    pub fn unknown(name: &str, at: Mark) -> Self {
        Self::at(V::Unknown(Rc::from(name)), at)
    }

    /// The same value as used at another place.
    #[must_use]
    pub fn used_at(mut self, at: Mark) -> Self {
        self.at = at;
        self.last_line = at.line;
        self.foreign = true;
        self
    }

    /// Whether lists and mappings are nested deeper than this; `visited` counts what was looked at.
    pub fn is_deeper_than(&self, depth: u32, visited: &mut usize) -> bool {
        *visited += 1;
        match &self.v {
            V::List(items) => depth == 0 || items.iter().any(|item| item.is_deeper_than(depth - 1, visited)),
            V::Map(entries) => depth == 0 || entries.iter().any(|(_, value)| value.is_deeper_than(depth - 1, visited)),
            V::Null | V::Bool(_) | V::Number(_) | V::Text(_) | V::Unknown(_) => false,
        }
    }

    /// The entry of a mapping.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.v {
            V::Map(entries) => entries.iter().rev().find(|(name, _)| &**name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Text that is wholly known.
    pub fn known_text(&self) -> Option<&str> {
        match &self.v {
            V::Text(text) if !text.contains(UNKNOWN_START) => Some(text),
            _ => None,
        }
    }

    /// The name of the first unknown in it, if there is one (lists and mappings are looked through to a depth).
    pub fn first_unknown(&self) -> Option<Rc<str>> {
        self.unknown_within(24)
    }

    fn unknown_within(&self, depth: u32) -> Option<Rc<str>> {
        match &self.v {
            V::Unknown(name) => Some(name.clone()),
            V::Text(text) => unknowns(text).next().map(Rc::from),
            V::List(items) if depth > 0 => items.iter().find_map(|item| item.unknown_within(depth - 1)),
            V::Map(entries) if depth > 0 => entries.iter().find_map(|(_, value)| value.unknown_within(depth - 1)),
            V::Null | V::Bool(_) | V::Number(_) | V::List(_) | V::Map(_) => None,
        }
    }

    /// A scalar as text, unknowns marked; `None` for null, lists and mappings.
    pub fn to_text(&self) -> Option<Rc<str>> {
        Some(match &self.v {
            V::Text(text) => text.clone(),
            V::Bool(value) => Rc::from(if *value { "true" } else { "false" }),
            V::Number(number) => Rc::from(number_text(*number)),
            V::Unknown(name) => marked(name),
            V::Null | V::List(_) | V::Map(_) => return None,
        })
    }

    /// A boolean, also from text.
    pub fn to_bool(&self) -> Option<bool> {
        match &self.v {
            V::Bool(value) => Some(*value),
            V::Text(text) => match &**text {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            V::Null | V::Number(_) | V::List(_) | V::Map(_) | V::Unknown(_) => None,
        }
    }

    /// A number, also from text.
    pub fn to_number(&self) -> Option<f64> {
        match &self.v {
            V::Number(number) => Some(*number),
            V::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            V::Null | V::Bool(_) | V::List(_) | V::Map(_) | V::Unknown(_) => None,
        }
    }
}

/// A whole number without a fraction.
pub fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 9e15 { format!("{}", number as i64) } else { number.to_string() }
}

/// The name of an unknown as it stands within a text.
pub fn marked(name: &str) -> Rc<str> {
    Rc::from(format!("{UNKNOWN_START}{name}{UNKNOWN_END}"))
}

/// The names of the unknowns in a text.
pub fn unknowns(text: &str) -> impl Iterator<Item = &str> {
    text.split(UNKNOWN_START).skip(1).filter_map(|rest| rest.split(UNKNOWN_END).next())
}

/// Text of a file, with what could be taken for a mark of an unknown replaced.
pub fn cleaned(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains([UNKNOWN_START, UNKNOWN_END]) {
        std::borrow::Cow::Owned(text.replace([UNKNOWN_START, UNKNOWN_END], "\u{fffd}"))
    } else {
        std::borrow::Cow::Borrowed(text)
    }
}
