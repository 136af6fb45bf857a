//! The world of the tests: the real programs, real peers and scripted ones, each test in a folder of
//! its own.
//!
//! [`World`] starts `aditd gateway`, `aditd agent` and has `adit` make keys, tokens and rules for
//! them. Nothing here shares code with what it tests: HTTP, SOCKS5 and frames are written and read by
//! hand. What is expected is said by the tests.
#![forbid(unsafe_code)]
#![allow(
    clippy::panic,
    reason = "whoever supports tests reports by panicking, as the tests do"
)]

pub mod backend;
pub mod cable;
pub mod curl;
pub mod disk;
pub mod etcd;
pub mod haproxy;
pub mod http;
pub mod load;
pub mod member;
pub mod net;
pub mod nginx;
pub mod node;
pub mod openssl;
pub mod payload;
pub mod plane;
pub mod process;
pub mod programs;
pub mod python;
pub mod redis;
pub mod rsyslog;
pub mod rules;
pub mod scratch;
pub mod socks;
pub mod strace;
pub mod token;
pub mod tunnel;
pub mod turn;
pub mod wait;
pub mod world;

pub use backend::Backend;
pub use cable::Cable;
pub use etcd::Etcd;
pub use haproxy::Haproxy;
pub use http::{Connection, Response};
pub use nginx::Nginx;
pub use rsyslog::Rsyslog;
pub use rules::Rules;
pub use scratch::Scratch;
pub use wait::{until, until_some};
pub use world::{Driver, World};

/// Writes one test for each driver of the shards: `name::on_io_uring` and `name::on_epoll`
/// (done when the journeys pass with io_uring forbidden, too).
#[macro_export]
macro_rules! on_both_drivers {
    ($( $(#[$meta:meta])* fn $name:ident($driver:ident: Driver) $body:block )*) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                fn story($driver: $crate::Driver) $body

                #[test]
                fn on_io_uring() {
                    story($crate::Driver::IoUring);
                }

                #[test]
                fn on_epoll() {
                    story($crate::Driver::Epoll);
                }
            }
        )*
    };
}
