//! What must hold in every run, checked on what honest nodes put out and on nothing else.
//!
//! The checkers share no code with what they check beyond types, hashing and the signature scheme:
//! thresholds, books, order and bounds are computed here a second time. Each is plain data that takes
//! observations in and returns a [`Fault`](Violation) the moment one contradicts an earlier one.

mod books;
mod bounds;
mod certificates;
mod commits;
mod rule;
mod signatures;

pub(crate) use books::Books;
pub(crate) use bounds::Bounds;
pub(crate) use certificates::Certificates;
pub(crate) use commits::{CommitKey, Commits};
pub(crate) use rule::CommitRule;
pub(crate) use signatures::Signatures;

use serde::Serialize;

/// What was found to be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The checker's rule, one word per idea.
    pub rule: &'static str,
    /// The circumstances.
    pub what: String,
}

impl Violation {
    /// A violation of `rule`.
    pub fn new(rule: &'static str, what: impl Into<String>) -> Self {
        Self { rule, what: what.into() }
    }
}

/// Fails with a violation unless a condition holds.
macro_rules! hold {
    ($condition:expr, $rule:expr, $($format:tt)*) => {
        if !$condition {
            return Err($crate::checkers::Violation::new($rule, format!($($format)*)));
        }
    };
}
pub(crate) use hold;
