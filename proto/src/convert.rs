//! Conversions between wire and heart.
