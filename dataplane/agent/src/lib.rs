//! The on-premise end: tunnels out, requests judged by the snapshot in force, backends dialled.
//!
//! An agent opens no port. Whatever a gateway asks is decided here and nowhere else: a request is
//! parsed again, judged by one snapshot, and only the permit that comes of it can be dialled. Who the
//! caller is was proven at the gateway; what may be reached is said by the rules alone.
#![forbid(unsafe_code)]

mod backend;
mod control;
mod decisions;
mod enforce;
mod limits;
mod live;
pub mod metrics;
mod run;
mod serve;
mod settings;
mod shard;
mod signers;
mod snapshot_store;
mod status;
mod subscription;
#[cfg(test)]
mod test_world;
mod trace;
mod tunnels;

pub use run::{Addresses, Agent, StartError};
pub use settings::{BackendSettings, Gateway, Settings, TlsRoots, TunnelCount};
