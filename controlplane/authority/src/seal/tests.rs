//! Sealed bytes.
