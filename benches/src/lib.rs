//! Criterion benches of the core crates; the benches themselves stand in `benches/*.rs`.
