//! A simulated delivery path whose faults are known, and engines judged on what it shows.
//!
//! [`draw`] makes a [`CountedCase`](localize::score::CountedCase) and its [`Truth`] from a world, a
//! number of probes and a seed; nothing else is random. [`metrics`] compares what an engine said
//! with the truth, and [`peers`] are published engines, written from their papers, as baselines.

pub mod asking;
pub mod ceiling;
pub mod counts;
pub mod diagram;
pub(crate) mod drawing;
pub mod engine;
pub mod fault;
pub mod mesh;
pub mod metrics;
pub mod observed;
pub mod peers;
pub mod posterior;
pub mod shapes;
pub mod vigil;
pub mod world;

pub use counts::Counts;
pub use engine::{ENGINES, Engine, Judge, Judgement, Suspect};
pub use fault::Fault;
pub use world::{Drawn, Truth, World, draw, healthy};
