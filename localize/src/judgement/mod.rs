//! From counts to a verdict: who is blamed and cleared, what is not known, and what would tell.

mod ask;
pub mod choice;
mod explain;
pub(crate) mod inference;
pub(crate) mod problem;
mod rhythm;
pub(crate) mod stretch;
pub(crate) mod unprobed;
pub mod verdict;
pub(crate) mod words;
