//! Which vantage point fires which arm.
