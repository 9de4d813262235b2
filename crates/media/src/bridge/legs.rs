//! The legs of a bridge by number. Two in nearly every call, so that a short list holds less and finds faster than a tree.

use super::LegIx;
use super::leg::Leg;

/// In the order of their numbers, which only go up.
#[derive(Debug, Default)]
pub(super) struct Legs(Vec<(LegIx, Leg)>);

impl Legs {
    /// `ix` is above every number before it.
    pub fn push(&mut self, ix: LegIx, leg: Leg) {
        debug_assert!(self.0.last().is_none_or(|(last, _)| *last < ix));
        if self.0.capacity() == 0 {
            self.0.reserve_exact(2);
        }
        self.0.push((ix, leg));
    }

    pub fn get(&self, ix: LegIx) -> Option<&Leg> {
        self.0.iter().find(|(at, _)| *at == ix).map(|(_, leg)| leg)
    }

    pub fn get_mut(&mut self, ix: LegIx) -> Option<&mut Leg> {
        self.0.iter_mut().find(|(at, _)| *at == ix).map(|(_, leg)| leg)
    }

    pub fn remove(&mut self, ix: LegIx) -> Option<Leg> {
        let at = self.0.iter().position(|(at, _)| *at == ix)?;
        Some(self.0.remove(at).1)
    }

    pub fn contains(&self, ix: LegIx) -> bool {
        self.get(ix).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (LegIx, &Leg)> {
        self.0.iter().map(|(ix, leg)| (*ix, leg))
    }

    pub fn values(&self) -> impl Iterator<Item = &Leg> {
        self.0.iter().map(|(_, leg)| leg)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Leg> {
        self.0.iter_mut().map(|(_, leg)| leg)
    }

    pub fn into_values(self) -> impl Iterator<Item = Leg> {
        self.0.into_iter().map(|(_, leg)| leg)
    }
}
