//! Every wire format but the multiplexer and TLS, exactly as written.
//!
//! Bytes go in and typed values come out, or a typed refusal; nothing here opens a socket, reads a clock or decides
//! whether a request is allowed. What one side writes the other side reads back to the same value, whatever way the
//! bytes were cut on the road.
#![forbid(unsafe_code)]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod connect;
pub mod control;
pub mod hello;
pub mod http;
pub mod limits;
mod location;
pub mod refusal;
pub mod socks5;
mod wire;

pub use location::{LocationError, check_location};
pub use refusal::Refusal;
pub use wire::{DecodeError, EncodeError};
