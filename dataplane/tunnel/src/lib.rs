//! TLS, hello and mux as one machine without a socket, so that a whole tunnel can be simulated.
//!
//! An [`Opening`] shakes hands and greets; what it leaves is a [`Tunnel`], which turns ciphertext
//! into stream events and stream payload into ciphertext, in place. Sockets, clocks and the decision
//! whom to admit are elsewhere.
#![forbid(unsafe_code)]

mod batch;
mod error;
mod opening;
mod slot;
mod tunnel;

pub use adit_mux::{Event, GoAwayCode, StreamId};
pub use batch::Batch;
pub use error::Error;
pub use opening::{Opened, Opening, Progress};
pub use slot::{PAYLOAD_MAX, PAYLOAD_OFFSET, SLOT_OVERHEAD, SLOT_TRAILER, Slot};
pub use tunnel::{PACK_MAX, Peer, Tunnel};
