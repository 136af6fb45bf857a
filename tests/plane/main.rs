//! The control plane as processes: `adit serve` on its own file and on a real etcd, asked by people over its REST door
//! and by scripted nodes. Rows of the attack catalogue stand beside their tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; its helpers are as much test as it is"
)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use adit_tests::plane::{Caller, Plane};
use adit_tests::programs;

mod certificates;
mod cluster;
mod crashes;
mod damage;
mod expiry;
mod fleet;
mod formats;
mod full;
mod isolation;
mod issuer;
mod killed;
mod nodes;
mod people;
mod pushes;
mod renewals;
mod rules;
mod schema;
mod secrets;
mod sinks;
mod tokens;
mod traffic;

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

/// `adit` at a desk of `caller`, with a control plane to ask.
pub(crate) fn adit(plane: &Plane, caller: &Caller) -> Command {
    let scratch = plane.scratch();
    let token = scratch.write("token-of-caller", caller.token());
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let mut command = Command::new(programs::adit());
    command
        .current_dir(scratch.dir())
        .env("ADIT_CONFIG_DIR", scratch.path("config"))
        .env("ADIT_SERVER", format!("https://{}", plane.address()))
        .env("ADIT_ROOT", scratch.write("roots.pem", plane.roots()))
        .env("ADIT_TOKEN_FILE", token)
        .stdin(Stdio::null());
    command
}
