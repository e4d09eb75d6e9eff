//! When the next round of a service is due.
