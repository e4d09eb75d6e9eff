//! The passive witness.
