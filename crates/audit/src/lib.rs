//! Floor 5: the verdict over a run.
