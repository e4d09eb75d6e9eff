//! What the world can do: the parts of a path, how each can fail, and how that looks from where.

pub(crate) mod mode;
pub(crate) mod part;
pub(crate) mod path;
pub(crate) mod proxy;
pub(crate) mod signature;
pub(crate) mod symptom;
