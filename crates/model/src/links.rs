//! Where nodes stand, how long messages travel, and how fast a node's line is.

/// Times between places, in one direction, and the bandwidth of each node's line out.
#[derive(Debug, Clone, PartialEq)]
pub struct Links {
    /// Its name.
    pub name: &'static str,
    /// Where the figures come from.
    pub source: &'static str,
    /// Microseconds from place to place. Member i stands at place i modulo their number.
    one_way_us: Vec<Vec<u64>>,
    /// Bytes a node sends in a microsecond.
    pub bytes_per_us: f64,
}

/// Round trips in milliseconds: Virginia, Oregon, Ireland, Tokyo, Singapore.
const AWS_ROUND_TRIP_MS: [[f64; 5]; 5] = [
    [1.0, 87.0, 80.5, 145.3, 216.7],
    [87.0, 1.0, 137.0, 89.1, 161.4],
    [80.5, 137.0, 1.0, 212.4, 238.5],
    [145.3, 89.1, 212.4, 1.0, 73.8],
    [216.7, 161.4, 238.5, 73.8, 1.0],
];

impl Links {
    /// All nodes on one machine.
    pub fn loopback() -> Self {
        let source = "one machine: the kernel's own time is in the cost of messages";
        Self { name: "loopback", source, one_way_us: vec![vec![10]], bytes_per_us: 2_000.0 }
    }

    /// One data centre.
    pub fn lan() -> Self {
        let source = "assumed: 0.2 ms round trip, 10 Gbit/s";
        Self { name: "LAN", source, one_way_us: vec![vec![100]], bytes_per_us: 1_250.0 }
    }

    /// Three availability zones of one region.
    pub fn region() -> Self {
        let source = "assumed: 1 ms round trip between zones (public measurements say 0.25 to 3.4), 5 Gbit/s";
        let one_way = |from: usize, to: usize| if from == to { 100 } else { 500 };
        let one_way_us = (0..3).map(|from| (0..3).map(|to| one_way(from, to)).collect()).collect();
        Self { name: "one region", source, one_way_us, bytes_per_us: 625.0 }
    }

    /// Five regions of AWS.
    pub fn aws() -> Self {
        let source = "half the average round trips between Virginia, Oregon, Ireland, Tokyo and Singapore published in \
            2017 (acomputerscientistlearnsaws.blogspot.com/2017/04/aws-regions.html), not measured here; 1 Gbit/s assumed";
        let one_way_us = AWS_ROUND_TRIP_MS.map(|row| row.map(|ms| (ms * 500.0) as u64).to_vec()).to_vec();
        Self { name: "5 AWS regions", source, one_way_us, bytes_per_us: 125.0 }
    }

    /// From member to member, without what the bytes take.
    pub fn delay_us(&self, from: usize, to: usize) -> u64 {
        let places = self.one_way_us.len();
        self.one_way_us[from % places][to % places]
    }

    /// The mean over the members of a committee of `members` of the time until a message of each of `quorum` members,
    /// itself included, is there.
    pub fn quorum_us(&self, members: usize, quorum: usize) -> f64 {
        let reach = |to: usize| {
            let mut delays: Vec<u64> =
                (0..members).map(|from| if from == to { 0 } else { self.delay_us(from, to) }).collect();
            delays.sort_unstable();
            delays[quorum - 1] as f64
        };
        (0..members).map(reach).sum::<f64>() / members as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_as_far_as_its_last_member() {
        assert_eq!(Links::lan().quorum_us(4, 3), 100.0);
        assert_eq!(Links::lan().quorum_us(1, 1), 0.0);
        // Virginia, Oregon, Ireland, Tokyo: each waits for the second nearest other one
        let expected = (43_500.0 + 44_550.0 + 68_500.0 + 72_650.0) / 4.0;
        assert_eq!(Links::aws().quorum_us(4, 3), expected);
    }

    #[test]
    fn ways_are_as_long_in_both_directions() {
        for links in [Links::loopback(), Links::lan(), Links::region(), Links::aws()] {
            for (from, to) in (0..7).flat_map(|from| (0..7).map(move |to| (from, to))) {
                assert_eq!(links.delay_us(from, to), links.delay_us(to, from), "{}", links.name);
            }
        }
    }
}
