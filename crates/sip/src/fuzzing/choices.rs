//! Bytes read as choices: what a fuzzer mutates is then a list of decisions. A list that has ended chooses the first of
//! everything.

/// The rest of the input.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Choices(data)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number from 0 to `n - 1`, for `n` of 1 to 256.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// True for `of_256` of the 256 bytes.
    pub fn chance(&mut self, of_256: u8) -> bool {
        // The high ones, so that an ended list says no.
        self.byte() > u8::MAX - of_256
    }

    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len().min(256))]
    }

    /// One of a list that grows, counted from its end: late entries are alive. `None` of an empty list.
    pub fn recent<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let back = usize::from(self.byte());
        let at = from.len().checked_sub(1 + back % from.len().max(1))?;
        from.get(at).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_choose_the_same_and_an_ended_list_chooses_the_first() {
        let mut choices = Choices::new(&[7, 255, 1, 4]);
        assert_eq!(choices.below(5), 2);
        assert!(choices.chance(1));
        assert_eq!(*choices.pick(&["a", "b"]), "b");
        assert_eq!(choices.recent(&[1, 2, 3]), Some(2));
        assert!(choices.is_over());
        assert_eq!((choices.below(9), choices.chance(200), choices.recent::<u8>(&[])), (0, false, None));
    }
}
