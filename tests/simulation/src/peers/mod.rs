//! Published engines as baselines, each written from its paper.
//!
//! None of them knows windows; they see [`Counts`](crate::Counts). What each one's settings mean is
//! said at its `ENGINE`; the grids hold what training cases choose from.

pub mod coverage;
pub mod flock;
pub mod netbouncer;
pub mod scfs;
pub mod sherlock;
pub mod spectrum;
pub mod votes;
