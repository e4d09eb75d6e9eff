//! A simulated delivery path whose faults are known, and engines judged on what it shows.
//!
//! [`draw`] makes a [`CountedCase`](localize::score::CountedCase) and its [`Truth`] from a world, a
//! number of probes and a seed; nothing else is random. [`metrics`] compares what an engine said
//! with the truth, and [`peers`] are published engines, written from their papers, as baselines.

pub mod fault;
pub mod mesh;
pub mod shapes;
pub mod world;

pub use fault::Fault;
pub use world::{Drawn, Truth, World, draw};
