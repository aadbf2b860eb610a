//! The last values of one metric, one per slot of time.

/// What a slot holds: a number, one of whose values means that there is none.
pub(crate) trait Cell: Copy {
    /// Nothing.
    const NONE: Self;
    /// Whether this is nothing.
    fn is_none(self) -> bool;
}

impl Cell for f32 {
    const NONE: Self = Self::NAN;
    fn is_none(self) -> bool {
        self.is_nan()
    }
}

impl Cell for i64 {
    const NONE: Self = Self::MIN;
    fn is_none(self) -> bool {
        self == Self::MIN
    }
}

/// A bounded window of values. Slots are numbered since 1970; older ones make room for newer ones.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    /// The newest slot that was ever written.
    head: i64,
    values: Box<[T]>,
}

impl<T: Cell> Ring<T> {
    /// Nothing in `slots` slots.
    pub(crate) fn new(slots: usize) -> Self {
        Self { head: i64::MIN / 2, values: vec![T::NONE; slots].into_boxed_slice() }
    }

    /// Room it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.values)
    }

    fn index(&self, slot: i64) -> usize {
        slot.rem_euclid(self.values.len() as i64) as usize
    }

    /// Writes a slot; one that has left the window is left alone.
    pub(crate) fn set(&mut self, slot: i64, value: T) {
        let length = self.values.len() as i64;
        if slot > self.head {
            let gap = slot.saturating_sub(self.head).min(length);
            for passed in slot - gap + 1..=slot {
                let index = self.index(passed);
                self.values[index] = T::NONE;
            }
            self.head = slot;
        }
        if slot > self.head - length {
            let index = self.index(slot);
            self.values[index] = value;
        }
    }

    /// The value of a slot.
    pub(crate) fn get(&self, slot: i64) -> Option<T> {
        if slot > self.head || slot <= self.head - self.values.len() as i64 {
            return None;
        }
        Some(self.values[self.index(slot)]).filter(|value| !value.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_slots_make_room() {
        let mut ring = Ring::<f32>::new(4);
        assert_eq!(ring.get(7), None);
        ring.set(7, 1.0);
        ring.set(9, 3.0);
        assert_eq!((ring.get(7), ring.get(8), ring.get(9), ring.get(10)), (Some(1.0), None, Some(3.0), None));
        ring.set(8, 2.0);
        ring.set(11, 5.0);
        assert_eq!((ring.get(7), ring.get(8), ring.get(9), ring.get(11)), (None, Some(2.0), Some(3.0), Some(5.0)));
        ring.set(7, 9.0);
        assert_eq!((ring.get(7), ring.get(11)), (None, Some(5.0)));
        ring.set(1_000_000, 1.0);
        assert_eq!((ring.get(999_999), ring.get(1_000_000)), (None, Some(1.0)));
    }
}
