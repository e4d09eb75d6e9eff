//! From counts to a verdict: who is blamed and cleared, what is not known, and what would tell.

mod ask;
mod balancing;
pub(crate) mod carried;
pub mod choice;
mod enough;
mod explain;
pub(crate) mod guilt;
mod habit;
pub(crate) mod inference;
pub(crate) mod problem;
mod rhythm;
pub(crate) mod stretch;
pub(crate) mod unprobed;
pub mod verdict;
pub(crate) mod words;
