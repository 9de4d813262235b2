//! What an administrator says about blacklists (BLACK-3, BLACK-4, BLACK-5). The entries are no part of a revision: they come
//! and go while the system runs (`record::BlacklistChange`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use ringfort_guard::blacklist::normalize_russia;
use serde::{Deserialize, Serialize};

use super::NumberPlan;
use crate::number;

/// The one form that numbers are brought to before they are listed or looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberForm {
    /// `+442079460000`, by the tenant's number plan; what has no such form stays as it is.
    #[default]
    E164,
    /// `89161234567` (BLACK-5).
    Russia,
    /// As it came, without separators.
    Asis,
}

impl NumberForm {
    pub fn apply(self, plan: &NumberPlan, number: &str) -> String {
        let bare = number::without_separators(number);
        match self {
            NumberForm::E164 => number::canonical(plan, &bare).unwrap_or(bare),
            NumberForm::Russia => match normalize_russia(&bare) {
                Cow::Owned(normal) => normal,
                Cow::Borrowed(_) => bare,
            },
            NumberForm::Asis => bare,
        }
    }
}

/// What a blocked caller hears (BLACK-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Treatment {
    /// Ringing for 5 s (180), the busy tone for 5 s (183), 486.
    #[default]
    Busy,
    /// 603 at once.
    Reject,
    /// 608 at once (RFC 8688).
    #[serde(rename = "reject-608")]
    Reject608,
    /// A prompt that the call can not be put through (183), then 603.
    Prompt,
    /// The call is answered, and what he says is kept in the mailbox of the extension that he called; busy, where that is
    /// full.
    Voicemail,
}

/// A tenant's lists and the codes by which its phones change them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlacklistPlan {
    pub form: NumberForm,
    /// Names of lists, by number.
    pub names: BTreeMap<u32, String>,
    /// Dialled before a list digit and a number, it adds; empty: there is no such code.
    pub add_code: String,
    /// The same, it deletes.
    pub delete_code: String,
    /// Dialled before a number, it adds to lists 1, 2 and 3.
    pub add_all_code: String,
}

impl Default for BlacklistPlan {
    fn default() -> Self {
        Self {
            form: NumberForm::E164,
            names: BTreeMap::new(),
            add_code: "*30".to_owned(),
            delete_code: "*31".to_owned(),
            add_all_code: "*40".to_owned(),
        }
    }
}

/// What a code asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlacklistCode {
    /// The code itself.
    pub code: String,
    pub deletes: bool,
    pub lists: Vec<u32>,
    /// As dialled; `None`: there is none, or it is no number.
    pub number: Option<String>,
}

impl BlacklistPlan {
    /// What is dialled, where it begins with one of the codes; the longest one wins.
    pub fn code(&self, dialled: &str) -> Option<BlacklistCode> {
        let all = [(&self.add_code, false, false), (&self.delete_code, true, false), (&self.add_all_code, false, true)];
        let fits = all.into_iter().filter(|(code, ..)| !code.is_empty() && dialled.starts_with(code.as_str()));
        let (code, deletes, three) = fits.max_by_key(|(code, ..)| code.len())?;
        let rest = &dialled[code.len()..];
        let (lists, rest) = if three {
            (vec![1, 2, 3], rest)
        } else {
            let digit = rest.chars().next().and_then(|c| c.to_digit(10));
            (digit.into_iter().collect(), rest.get(1..).unwrap_or_default())
        };
        let digits = rest.strip_prefix('+').unwrap_or(rest);
        let is_number = (2..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let number = (is_number && !lists.is_empty()).then(|| rest.to_owned());
        Some(BlacklistCode { code: code.clone(), deletes, lists, number })
    }

    /// A list by its number or its name.
    pub fn list(&self, text: &str) -> Option<u32> {
        let by_name = || self.names.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(id, _)| *id);
        text.parse().ok().or_else(by_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_with_their_list_and_number() {
        let plan = BlacklistPlan::default();
        let read = |dialled: &str| plan.code(dialled).map(|c| (c.deletes, c.lists, c.number.unwrap_or_default()));
        assert_eq!(read("*30102079460000"), Some((false, vec![1], "02079460000".into())));
        assert_eq!(read("*310+442079460000"), Some((true, vec![0], "+442079460000".into())));
        assert_eq!(read("*4002079460000"), Some((false, vec![1, 2, 3], "02079460000".into())));
        for wrong in ["*30", "*301", "*3015", "*30x123", "*301abc", "*40", "*3012*34", "*30é1234"] {
            assert_eq!(plan.code(wrong).map(|c| c.number), Some(None), "{wrong}");
        }
        for other in ["30123", "*3", "*32123", "101", ""] {
            assert_eq!(plan.code(other), None, "{other}");
        }
        let moved = BlacklistPlan { add_code: "*3".into(), delete_code: String::new(), ..plan.clone() };
        assert_eq!(moved.code("*31555").map(|c| (c.deletes, c.lists)), Some((false, vec![1])));
        let within = BlacklistPlan { add_code: "*4".into(), ..plan };
        assert_eq!(within.code("*40555").map(|c| c.lists), Some(vec![1, 2, 3]), "the longest code wins");
    }

    #[test]
    fn numbers_come_into_the_tenants_form() {
        let britain = NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() };
        assert_eq!(NumberForm::E164.apply(&britain, "020 7946-0000"), "+442079460000");
        assert_eq!(NumberForm::E164.apply(&britain, "101"), "101");
        assert_eq!(NumberForm::Russia.apply(&britain, "+7 916 123-45-67"), "89161234567");
        assert_eq!(NumberForm::Russia.apply(&britain, "(020) 7946"), "0207946");
        assert_eq!(NumberForm::Asis.apply(&britain, "020-7946"), "0207946");
    }
}
