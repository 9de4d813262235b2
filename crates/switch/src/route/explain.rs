//! What a routing decision looked at, rule by rule. The decision itself runs with a log that costs nothing.

use serde::{Deserialize, Serialize};

/// One rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `emergency`, `extension`, `alias`, `route outside`, `trunk acme`, …
    pub rule: String,
    pub fits: bool,
    /// Why, in words.
    pub why: String,
}

/// Everything that was looked at, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub steps: Vec<Step>,
}

pub(super) trait Log {
    /// Look at rules that an index would leave out as well.
    const ALL: bool;

    fn step(&mut self, rule: &str, why: impl FnOnce() -> (bool, String));

    fn route(&mut self, name: &str, why: impl FnOnce() -> (bool, String));

    fn trunk(&mut self, name: &str, why: impl FnOnce() -> (bool, String));
}

impl Log for () {
    const ALL: bool = false;

    fn step(&mut self, _: &str, _: impl FnOnce() -> (bool, String)) {}

    fn route(&mut self, _: &str, _: impl FnOnce() -> (bool, String)) {}

    fn trunk(&mut self, _: &str, _: impl FnOnce() -> (bool, String)) {}
}

impl Log for Explanation {
    const ALL: bool = true;

    fn step(&mut self, rule: &str, why: impl FnOnce() -> (bool, String)) {
        let (fits, why) = why();
        self.steps.push(Step { rule: rule.to_owned(), fits, why });
    }

    fn route(&mut self, name: &str, why: impl FnOnce() -> (bool, String)) {
        self.step(&format!("route {name}"), why);
    }

    fn trunk(&mut self, name: &str, why: impl FnOnce() -> (bool, String)) {
        self.step(&format!("trunk {name}"), why);
    }
}
