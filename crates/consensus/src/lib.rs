//! Byzantine fault-tolerant ordering inside one committee.
