//! Which targets this host agrees to probe, and how fast.
