//! The agent: probes, witness, clock and spool of one vantage point.

pub mod policy;
pub mod spool;
pub mod witness;
