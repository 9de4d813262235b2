//! The arithmetic of KCCSS: what an item and a workload score.

use std::str::FromStr;

/// Damage to confidentiality, integrity or availability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// 0
    None,
    /// 0.22
    Low,
    /// 0.56
    High,
}

impl Damage {
    fn value(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Low => 0.22,
            Self::High => 0.56,
        }
    }

    /// What a remediation leaves: High takes all, Low takes a step.
    #[must_use]
    pub fn reduced(self, by: Self) -> Self {
        match (self, by) {
            (left, Self::None) => left,
            (Self::High, Self::Low) => Self::Low,
            (_, Self::Low | Self::High) => Self::None,
        }
    }
}

/// From where it is attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    /// 0.85
    Remote,
    /// 0.55
    Local,
}

/// How far the damage goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The container itself, 0.25.
    None,
    /// The node, 1.
    Host,
    /// The cluster, 1.
    Cluster,
}

/// How easily it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ease {
    /// 0.54
    High,
    /// 0.4
    Moderate,
    /// 0.1
    Low,
    /// 0.05
    VeryLow,
}

/// A vector: `H L N Remote None High`; remediations have no ease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector {
    /// Confidentiality, integrity, availability.
    pub damage: [Damage; 3],
    /// From where.
    pub attack: Attack,
    /// How far.
    pub scope: Scope,
    /// How easily.
    pub ease: Option<Ease>,
}

impl FromStr for Vector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let error = |word: &str| format!("`{word}` has no meaning in the vector `{text}`");
        let [c, i, a, attack, scope, ease @ ..] = words.as_slice() else {
            return Err(format!("expected a vector like `H L N Remote None High`, found `{text}`"));
        };
        let damage = |word: &str| match word {
            "H" => Ok(Damage::High),
            "L" => Ok(Damage::Low),
            "N" => Ok(Damage::None),
            word => Err(error(word)),
        };
        Ok(Self {
            damage: [damage(c)?, damage(i)?, damage(a)?],
            attack: match *attack {
                "Remote" => Attack::Remote,
                "Local" => Attack::Local,
                word => return Err(error(word)),
            },
            scope: match *scope {
                "None" => Scope::None,
                "Host" => Scope::Host,
                "Cluster" => Scope::Cluster,
                word => return Err(error(word)),
            },
            ease: match ease {
                [] => None,
                ["High"] => Some(Ease::High),
                ["Moderate"] => Some(Ease::Moderate),
                ["Low"] => Some(Ease::Low),
                ["VeryLow"] => Some(Ease::VeryLow),
                [word, ..] => return Err(error(word)),
            },
        })
    }
}

impl Vector {
    /// Less what remediations of the same scope take, the greatest of them on each axis.
    #[must_use]
    pub fn less(mut self, remediations: &[Self]) -> Self {
        for (axis, damage) in self.damage.iter_mut().enumerate() {
            let same = remediations.iter().filter(|remediation| remediation.scope == self.scope);
            *damage = damage.reduced(same.map(|remediation| remediation.damage[axis]).max().unwrap_or(Damage::None));
        }
        self
    }

    /// The score of an item, 0 to 10 with one place.
    pub fn score(&self) -> f64 {
        let scope = if self.scope == Scope::None { 0.25 } else { 1.0 };
        let kept: f64 = self.damage.iter().map(|damage| 1.0 - damage.value()).product();
        let attack = match self.attack {
            Attack::Remote => 0.85,
            Attack::Local => 0.55,
        };
        let ease = match self.ease {
            Some(Ease::High) => 0.54,
            Some(Ease::Moderate) => 0.4,
            Some(Ease::Low) => 0.1,
            Some(Ease::VeryLow) => 0.05,
            None => 0.0,
        };
        let sum = scope * 4.0 * (1.0 - kept) + 9.0 * attack * ease;
        ((sum * 10.0).round() / 10.0).clamp(0.0, 10.0)
    }
}

/// The score of a workload by those of its items: the greatest of each way and scope, as the sides of a box; what goes no further
/// than the container joins the others of its way.
pub fn workload(items: &[(Vector, f64)]) -> u8 {
    let mut buckets: Vec<(Attack, Scope, f64)> = Vec::new();
    let (contained, far): (Vec<_>, Vec<_>) = items.iter().partition(|(vector, _)| vector.scope == Scope::None);
    for (vector, score) in far {
        match buckets.iter_mut().find(|(attack, scope, _)| (*attack, *scope) == (vector.attack, vector.scope)) {
            Some((_, _, most)) => *most = most.max(score),
            None => buckets.push((vector.attack, vector.scope, score)),
        }
    }
    for (vector, score) in contained {
        let far = buckets.iter().any(|(attack, scope, _)| *attack == vector.attack && *scope != Scope::None);
        let mut joined = false;
        for (attack, scope, most) in &mut buckets {
            if *attack == vector.attack && (*scope != Scope::None) == far {
                *most = most.max(score);
                joined = true;
            }
        }
        if !joined {
            buckets.push((vector.attack, Scope::None, score));
        }
    }
    let sum: f64 = buckets.iter().map(|(_, _, most)| most * most).sum();
    sum.sqrt().clamp(0.0, 10.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(text: &str) -> Vector {
        text.parse().expect(text)
    }

    #[test]
    fn items_score_as_published() {
        // Scores that the rule files of KCCSS name beside their vectors.
        for (text, score) in [
            ("H L L Local Host High", 5.6),
            ("H N N Local Host Low", 2.7),
            ("N N H Local Host High", 4.9),
            ("H L L Local Host Moderate", 4.9),
            ("L L L Local Host VeryLow", 2.3),
            ("N H H Local Cluster High", 5.9),
        ] {
            assert_eq!(vector(text).score(), score, "{text}");
        }
    }

    #[test]
    fn remediations_of_the_same_scope_reduce_by_the_greatest_on_each_axis() {
        let risk = vector("H H L Local Host Low");
        let left = risk.less(&[vector("L L L Local Host"), vector("N H N Remote Host"), vector("H H H Remote None")]);
        assert_eq!(left.damage, [Damage::Low, Damage::None, Damage::None]);
    }

    #[test]
    fn contained_items_join_the_others_of_their_way() {
        let item = |text: &str, score| (vector(text), score);
        let (host, cluster) = (item("H N N Local Host Low", 3.0), item("H N N Local Cluster Low", 4.0));
        assert_eq!(workload(&[host, cluster]), 5);
        assert_eq!(workload(&[item("H N N Local None Low", 8.0), host]), 8);
        assert_eq!(workload(&[item("H N N Remote None Low", 4.0), host]), 5);
        assert_eq!(workload(&[item("H N N Remote None Low", 4.0), item("H N N Remote None Low", 5.0)]), 5);
        assert_eq!(workload(&[item("H N N Local Host Low", 9.0), item("H N N Remote Host Low", 9.0)]), 10);
        assert_eq!(workload(&[]), 0);
    }
}
