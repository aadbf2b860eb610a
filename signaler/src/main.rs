//! Organises committees, plans, epochs; not a node.

fn main() {}
