//! Many streams over one ordered byte pipe, wire-compatible with yamux.
//!
//! A [`Session`] is a value with four doors: bytes go in by [`Session::receive`], commands by its
//! other methods, frames come out of [`Session::next_frame`], and time is an argument. It has no
//! socket, clock, thread or buffer of its own: payload that arrives stays in the caller's input,
//! payload that leaves is the caller's [`Payload`], and neither is ever copied or looked into.
//! Who reads and writes the pipe, and what a stream is for, is left to `tunnel` and `transport`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod error;
mod flood;
mod frame;
mod ids;
pub mod limits;
mod ping;
mod schedule;
mod session;
mod slots;
mod stats;
mod stream;
mod window;

pub use error::{Error, Flood, OpenError, SendError};
pub use frame::{Frame, GoAwayCode, HEADER_BYTES, Payload, Side, StreamId};
pub use limits::{MAX_FRAME_PAYLOAD, Settings, SettingsError};
pub use session::{Event, Session};
pub use stats::Stats;
pub use window::{Budget, INITIAL_CREDIT};
