//! The lab: a delivery path of real daemons in network namespaces, with faults that are switched
//! live, and the verdict that each fault must get.
//!
//! `topology` builds the namespaces, `daemons` what runs in them, `fault` breaks one thing at a
//! time, `mesh` starts the programs under test through their published commands alone, and
//! `expectation` compares what `meshctl localize` says with what was broken.

pub mod address;
pub mod app;
pub mod asking;
pub mod behaviour;
pub mod certificates;
pub mod chain;
pub mod clock;
pub mod daemon;
pub mod daemons;
pub mod delay;
pub mod edge;
pub mod expectation;
pub mod fault;
pub mod killing;
pub mod mesh;
pub mod namespace;
pub mod net;
pub mod run;
pub mod said;
pub mod shell;
pub mod skew;
pub mod switch;
pub mod symptom;
pub mod topology;
pub mod truth;
pub mod verdicts;
pub mod watching;
