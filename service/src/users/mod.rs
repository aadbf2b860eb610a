//! Users: names and passwords, sessions and keys.
//!
//! `accounts` keeps users, `password` hashes with a bound on how many at a time, `sessions` knows who asks,
//! `throttle` slows down who guesses or floods.

pub mod accounts;
pub mod password;
pub mod sessions;
pub mod throttle;

pub use accounts::{User, Users, key_proof_message};
pub use password::{Cost, Passwords};
pub use sessions::{Caller, CallerKind, Login, Sessions};
pub use throttle::{Attempts, Buckets, Place, Places};
