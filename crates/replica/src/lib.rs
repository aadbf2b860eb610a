//! One committee member as a sans-IO machine.
