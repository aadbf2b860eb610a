#![no_main]

// Frames are cut out of streams before anything in them is decoded: the cutter and its check are files without
// dependencies of crates/transport.
#[path = "../../crates/transport/src/cut.rs"]
mod cut;
#[path = "../../crates/transport/tests/common/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| frames::check(bytes));
