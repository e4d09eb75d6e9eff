//! The scoring door: counted cases of other engines' kind, translated for the same engine.

mod cases;
pub mod score;
