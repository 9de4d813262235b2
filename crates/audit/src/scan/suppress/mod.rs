//! Suppressions: somebody says that a finding is meant, why, who answers for it, and until when. They stand in comments, in
//! annotations of the object, or in a central file. A suppressed finding stays in the reports, marked as such.

mod central;
mod comments;
mod date;
mod marks;

pub use central::{CENTRAL_FILE, Suppressions, SuppressionsError};
pub use date::Date;

use crate::kube::Object;
use crate::policy::Policy;

/// Why a finding is suppressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// The reason that was given.
    pub reason: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// The last day on which it holds.
    pub expires: Option<Date>,
    /// Where it stands, for people.
    pub source: String,
}

/// What suppressions say about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    None,
    /// It is meant.
    Suppressed(Suppressed),
    /// It was meant until a day that has passed; words for the report.
    Expired(String),
}

impl Decision {
    /// The stronger of the two: what suppresses, else what has expired.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Suppressed(_), _) | (Self::Expired(_), Self::None | Self::Expired(_)) => self,
            (Self::None, _) | (Self::Expired(_), Self::Suppressed(_)) => other,
        }
    }
}

/// A finding, as far as suppressions need to know it.
#[derive(Debug)]
pub struct Target<'t> {
    /// The policy that failed.
    pub policy: &'t Policy,
    /// The file's name.
    pub file: &'t str,
    /// The object.
    pub object: &'t Object<'t>,
    /// Its label.
    pub resource: &'t str,
    /// The container.
    pub container: Option<&'t str>,
    /// The finding's line.
    pub line: u32,
    /// First and last line of the item.
    pub item_lines: (u32, u32),
}

/// What a waiver covers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cover {
    /// The container that this line is in, else the object that it is in.
    Around(u32),
    /// What is found in this very line.
    Line(u32),
    /// Everything: the object whose annotation it is, or the file.
    All,
    /// A container of this name.
    Container(String),
}

#[derive(Debug, Clone)]
struct Waiver {
    /// Ids and aliases; empty for every policy.
    ids: Vec<String>,
    cover: Cover,
    said: Suppressed,
}

/// The suppressions of one file's comments, or of one object's annotations and labels.
#[derive(Debug, Clone, Default)]
pub struct Waivers {
    all: Vec<Waiver>,
    /// Comments that mean to suppress and do not say how: line and what is missing.
    pub problems: Vec<(u32, String)>,
}

impl Waivers {
    /// Those in the comments of a text.
    pub fn in_comments(text: &str) -> Self {
        comments::read(text)
    }

    /// Those in the annotations and labels of an object.
    pub fn of_object(object: &Object<'_>) -> Self {
        Self { all: marks::read(object), problems: Vec::new() }
    }

    /// What they say about a finding.
    pub fn decide(&self, target: &Target<'_>, today: Date) -> Decision {
        self.all
            .iter()
            .filter(|waiver| waiver.ids.is_empty() || waiver.ids.iter().any(|id| target.policy.is_called(id)))
            .filter(|waiver| covers(&waiver.cover, target))
            .map(|waiver| decision(&waiver.said, today))
            .fold(Decision::None, Decision::or)
    }
}

fn decision(said: &Suppressed, today: Date) -> Decision {
    match said.expires {
        Some(expires) if expires < today => Decision::Expired(format!(
            "suppressed until {expires} ({}, {})",
            said.reason,
            said.owner.as_deref().unwrap_or("no owner")
        )),
        Some(_) | None => Decision::Suppressed(said.clone()),
    }
}

fn covers(cover: &Cover, target: &Target<'_>) -> bool {
    match cover {
        Cover::All => true,
        Cover::Container(name) => target.container == Some(name),
        Cover::Line(line) => target.line == *line,
        Cover::Around(line) => {
            let object = target.object;
            let within = |node| {
                let document = object.document;
                (document.at(node).line..=document.last_line(node)).contains(line)
            };
            let containers = object.pod.as_ref().map(|pod| pod.containers.as_slice()).unwrap_or_default();
            match containers.iter().find(|container| within(container.node)) {
                Some(_) => target.container.is_some() && (target.item_lines.0..=target.item_lines.1).contains(line),
                None => within(object.node),
            }
        }
    }
}

#[cfg(test)]
mod tests;
