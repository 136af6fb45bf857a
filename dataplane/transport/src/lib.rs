//! Tunnels on real sockets: dial, accept, and the one loop that feeds a tunnel.
//!
//! A moving room: it owns sockets and decides nothing. Whom to admit, what a stream is for and what
//! to do when a tunnel ends is said by the roles.

pub mod accept;
pub mod backoff;
pub mod connect;
pub mod dial;
pub mod link;
pub mod listen;
pub mod piece;
pub mod proxy;
pub mod socket;
pub mod stream;
pub mod watched;
pub mod wire;

pub use link::{Ending, Link};
pub use piece::Piece;
pub use socket::Socket;
pub use stream::{Received, Stream, StreamError};
pub use watched::Watched;
pub use wire::Wire;

/// A record's worth of this process's memory, as the tunnel carries it.
pub type Slot = adit_tunnel::Slot<adit_runtime::buffer::Buffer>;
/// A tunnel over this process's buffers.
pub type Tunnel = adit_tunnel::Tunnel<adit_runtime::buffer::Buffer>;
