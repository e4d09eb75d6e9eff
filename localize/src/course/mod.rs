//! What goes on in time, beyond one verdict: what the rounds since a question bear out, alarms raised and
//! over, faults mended, rates that would show.

pub mod asked;
mod evalue;
pub mod mended;
pub mod power;
pub mod watch;
