//! Expired nodes.
