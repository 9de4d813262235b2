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

/// The suppressions of one file's comments, in the order of the lines that they are about.
#[derive(Debug, Clone, Default)]
pub struct Waivers {
    all: Vec<Waiver>,
    /// Comments that mean to suppress and do not say how: line and what is missing.
    pub problems: Vec<(u32, String)>,
}

/// The suppressions that can be about one object: of its annotations and labels, and of comments within its lines.
#[derive(Debug, Default)]
pub struct ObjectWaivers<'w> {
    own: Vec<Waiver>,
    /// With whether the line that it is about lies in a container.
    comments: Vec<(&'w Waiver, bool)>,
}

impl Waivers {
    /// Those in the comments of a text.
    pub fn in_comments(text: &str) -> Self {
        comments::read(text)
    }

    /// Those that can be about this object.
    pub fn of_object(&self, object: &Object<'_>) -> ObjectWaivers<'_> {
        let document = object.document;
        let lines = (document.at(object.node).line, document.last_line(object.node));
        let whole_file = self.all.iter().take_while(|waiver| waiver.line() == 0);
        let start = self.all.partition_point(|waiver| waiver.line() < lines.0.max(1));
        let within = self.all[start..].iter().take_while(|waiver| waiver.line() <= lines.1);
        let containers = object.pod.as_ref().map(|pod| pod.containers.as_slice()).unwrap_or_default();
        let in_container = |line: u32| {
            let holds = |node| (document.at(node).line..=document.last_line(node)).contains(&line);
            containers.iter().any(|container| holds(container.node))
        };
        let comments = whole_file.chain(within).map(|waiver| (waiver, in_container(waiver.line()))).collect();
        ObjectWaivers { own: marks::read(object), comments }
    }
}

impl Waiver {
    /// The line that it is about; 0 for the whole file or object.
    fn line(&self) -> u32 {
        match self.cover {
            Cover::Around(line) | Cover::Line(line) => line,
            Cover::All | Cover::Container(_) => 0,
        }
    }

    fn covers(&self, target: &Target<'_>, in_container: bool) -> bool {
        let about = match &self.cover {
            Cover::All => true,
            Cover::Container(name) => target.container == Some(name),
            Cover::Line(line) => target.line == *line,
            Cover::Around(line) if in_container => {
                target.container.is_some() && (target.item_lines.0..=target.item_lines.1).contains(line)
            }
            Cover::Around(_) => true,
        };
        about && (self.ids.is_empty() || self.ids.iter().any(|id| target.policy.is_called(id)))
    }
}

impl ObjectWaivers<'_> {
    /// What they say about a finding of the object.
    pub fn decide(&self, target: &Target<'_>, today: Date) -> Decision {
        let own = self.own.iter().map(|waiver| (waiver, false));
        own.chain(self.comments.iter().copied())
            .filter(|(waiver, in_container)| waiver.covers(target, *in_container))
            .map(|(waiver, _)| decision(&waiver.said, today))
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

#[cfg(test)]
mod tests;
