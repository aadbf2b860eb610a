//! A committee member.
