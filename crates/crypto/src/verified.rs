//! Values whose signatures were checked, as a type.
//!
//! Guarantees: a function that takes `Verified<T>` cannot be handed what just came off the wire by
//! accident; somebody wrote `trust` and is answerable for it. The type says nothing about *which*
//! rules were checked: the validity function of each `T` documents that.

use std::ops::Deref;

/// A value whose signatures (and whatever else its validity function demands) were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Declares `value` verified. For validity functions, which call it as their last step; for values
    /// this process signed or verified before it stored them; and for tests. Nowhere else.
    pub const fn trust(value: T) -> Self {
        Self(value)
    }

    /// The value without the claim.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// The same claim about a reference.
    pub const fn as_ref(&self) -> Verified<&T> {
        Verified(&self.0)
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
