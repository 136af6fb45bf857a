//! The one place where a host or a path becomes comparable.
//!
//! What could be read in two ways by two programs is refused here, for requests and for rules alike. Nothing is
//! rewritten: the bytes judged are the bytes forwarded, and both sides of a comparison are decoded the same way.
pub mod address;
mod ambiguity;
pub mod host;
pub mod path;
mod segment;

pub use ambiguity::{Ambiguity, Oddity};
