//! Open-loop load, latency free of coordinated omission.
