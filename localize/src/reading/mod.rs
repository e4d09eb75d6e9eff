//! Facts made comparable: which of them are symptoms, and how often each was seen where.

pub(crate) mod cells;
pub(crate) mod choosing;
pub(crate) mod clock;
pub(crate) mod clusters;
pub(crate) mod comparison;
pub(crate) mod delay;
pub(crate) mod dns;
pub(crate) mod epochs;
pub(crate) mod kernel;
pub(crate) mod passing;
pub(crate) mod sessions;
pub mod thinning;
pub(crate) mod unborne;
pub(crate) mod unrest;
pub(crate) mod wanted;
pub(crate) mod witness;
