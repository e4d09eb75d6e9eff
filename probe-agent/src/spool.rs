//! What the coordinator has not acknowledged yet, on disk.
