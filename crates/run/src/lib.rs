//! Floor 5: experiment specs and run directories.
