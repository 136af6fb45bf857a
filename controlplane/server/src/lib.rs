//! The control plane: rules, nodes, people and keys behind one door.
//!
//! [`Server::start`] opens the store, the authority and the door. Judging requests is the agents'; compiling rules is
//! `policy`'s; memory is `store`'s.
#![forbid(unsafe_code)]

mod acts;
mod backup;
mod book;
mod clock;
mod door;
mod format;
mod hub;
mod keys;
mod life;
pub mod limits;
mod members;
pub mod metrics;
mod oidc;
mod place;
mod register;
mod rest;
mod scan;
mod secret;
mod sender;
mod server;
mod settings;
#[cfg(test)]
mod test_world;
mod trouble;

pub use rest::openapi;
pub use server::{Server, StartError};
pub use settings::{IssuerKeys, Seal, Settings, SettingsError, StoreSettings};

/// Name and version of this program.
pub(crate) const SOFTWARE: &str = concat!("adit ", env!("CARGO_PKG_VERSION"));
