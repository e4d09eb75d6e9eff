//! Text for people.

mod explain;
mod table;
mod verdict;
mod words;
mod wrap;

#[cfg(test)]
pub mod samples;

pub use self::explain::explain;
pub use self::table::Table;
pub use self::verdict::{verdict, verdict_line};
pub use self::words::{ago, kind, micros, percent};
pub use self::wrap::wrap;
