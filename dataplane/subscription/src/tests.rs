//! A node and a made-up control plane, on real connections.

mod authority;
mod enrolling;
mod limits;
mod renewing;
mod server;
mod subscribing;
mod world;
