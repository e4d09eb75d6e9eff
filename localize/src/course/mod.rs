//! What goes on in time, beyond one verdict: alarms raised and over, faults mended, rates that would show.

mod evalue;
pub mod mended;
pub mod power;
pub mod watch;
