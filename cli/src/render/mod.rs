//! Text for people.

pub mod asked;
mod beside;
mod check;
mod diff;
mod explain;
mod mended;
mod table;
mod verdict;
mod words;
mod wrap;

#[cfg(test)]
pub mod samples;

pub use self::check::{check, grade, worst};
pub use self::diff::{diff, painted};
pub use self::explain::explain;
pub use self::mended::{mended, mended_progress};
pub use self::table::{Grid, Table};
pub use self::verdict::{verdict, verdict_line};
pub use self::words::{ago, kind, micros, percent};
pub use self::wrap::wrap;
