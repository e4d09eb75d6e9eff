//! Facts: what was seen, of what, from where and when. Everything else in this crate reads them.

pub mod arm;
pub mod baseline;
pub mod case;
pub mod component;
pub mod declared;
pub mod dns;
pub mod host;
pub mod observation;
pub mod sighting;
pub mod time;
pub mod topology;
pub mod trace;
