//! Whole observations of a simulated delivery path, as a coordinator gathers them, and a localisation asked
//! at a random instant of an hour in which faults begin, end, recur and overlap.
//!
//! A [`Site`](site::Site) is what there is and what of it a service file declares, [`history`] what goes
//! wrong and when, [`World`](world::World) what probes meet. [`ask`] asks as a user does, with default options,
//! and [`score`] holds what was said against what was so. Modes, balancers and edges are tables: a new one is a row.

pub mod ceiling;
pub mod course;
pub(crate) mod dns;
pub mod history;
pub mod localisation;
pub mod modes;
pub(crate) mod naming;
pub(crate) mod noise;
pub(crate) mod probe;
pub(crate) mod proxies;
pub mod report;
pub mod score;
pub(crate) mod serve;
pub(crate) mod shape;
pub mod site;
pub(crate) mod usual;
pub(crate) mod wire;
pub(crate) mod witness;
pub mod world;

pub use localisation::{Asked, ask};
pub use score::Scored;
