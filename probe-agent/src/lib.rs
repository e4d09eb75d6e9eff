//! The agent: probes, witness, clock and spool of one vantage point.
//!
//! An agent reports facts and never judges. It fires what the coordinator announces at the announced
//! instant ([`fire`]), follows each probe through its layers ([`probe`]), keeps every observation on
//! disk until the coordinator has it on its own ([`outbox`]), and has one clock ([`clock`]).

pub mod clock;
pub mod clocks;
pub mod discover;
pub mod failure;
pub mod fire;
pub mod host;
pub mod identity;
pub mod join;
pub mod link;
#[cfg(test)]
mod namespaces;
pub mod outbox;
pub mod policy;
pub mod probe;
pub mod renewal;
pub mod round;
pub mod secret;
pub mod service;
pub mod session;
pub mod spool;
pub mod trace;
pub mod uplink;
pub mod witness;
