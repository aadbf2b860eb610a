//! Starts N committees, injects faults, runs experiments, gives a verdict.
