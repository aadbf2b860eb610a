//! Floor 3: metric names, recorder, task events, line protocol.
