//! A committee member.

fn main() {}
