//! The store: the only folder that names sled.
