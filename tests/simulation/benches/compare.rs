//! The comparison of engines.

fn main() {}
