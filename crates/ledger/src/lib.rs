//! Deterministic execution of what a committee committed.
