//! Test kit: a cheap signature scheme, a builder of DAGs, an observer that never proposes, a small network
//! of instances in virtual time, and a naive commit rule to compare with.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each scenario uses a part of it")]

pub mod build;
pub mod keys;
pub mod naive;
pub mod net;
pub mod observe;

pub use build::{Builder, payload};
pub use net::{Net, Options};
pub use observe::Observer;

use shardpay_types::{MemberIndex, Round};

/// Member `index`.
pub fn member(index: usize) -> MemberIndex {
    MemberIndex::at(index)
}

/// Round `number`.
pub fn round(number: u64) -> Round {
    Round::new(number)
}

/// f and Q by their definitions: at most a third, less one, is faulty.
pub fn faults_and_quorum(members: usize) -> (usize, usize) {
    let mut faults = 0;
    while 3 * (faults + 1) < members {
        faults += 1;
    }
    (faults, members - faults)
}

/// A small deterministic generator (splitmix64).
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True in `percent` of the cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
