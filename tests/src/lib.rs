//! The lab: a delivery path of real daemons in network namespaces, with faults that are switched
//! live, and the verdict that each fault must get.
//!
//! `topology` builds the namespaces, `daemons` what runs in them, `fault` breaks one thing at a
//! time and knows whom a verdict must name for it, `mesh` starts the programs under test through their
//! published commands alone, `verdicts` says what a mesh can know with the agents and the service file
//! that it is given, and `expectation` compares what `meshctl localize` says with that.

pub mod address;
pub mod app;
pub mod asking;
pub mod astray;
pub mod balancer;
pub mod behaviour;
pub mod blame;
pub mod cache;
pub mod certificates;
pub mod chain;
pub mod clock;
pub mod daemon;
pub mod daemons;
pub mod delay;
pub mod edge;
pub mod expectation;
pub mod fault;
pub mod full;
pub mod killing;
pub mod mesh;
pub mod namespace;
pub mod net;
pub mod packets;
pub mod pausing;
pub mod run;
pub mod said;
pub mod shell;
pub mod sign;
pub mod skew;
pub mod symptom;
pub mod topology;
pub mod verdicts;
pub mod watching;
pub mod zone;
