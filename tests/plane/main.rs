//! The control plane as processes: `adit serve` on its own file and on a real etcd, asked by people over its REST door
//! and by scripted nodes. Rows of the attack catalogue stand beside their tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; its helpers are as much test as it is"
)]

mod cluster;
mod crashes;
mod damage;
mod fleet;
mod full;
mod isolation;
mod issuer;
mod nodes;
mod people;
mod pushes;
mod renewals;
mod rules;
mod schema;
mod secrets;
mod tokens;

/// Writes one test for each memory: `name::embedded` and `name::etcd`.
macro_rules! on_both_memories {
    ($( $(#[$meta:meta])* fn $name:ident($memory:ident: &Memory) $body:block )*) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                fn story($memory: &Memory) $body

                #[test]
                fn embedded() {
                    story(&Memory::of("embedded"));
                }

                #[test]
                fn etcd() {
                    story(&Memory::of("etcd"));
                }
            }
        )*
    };
}
pub(crate) use on_both_memories;
