//! What each fuzz target does with its bytes, and what must hold whatever they are.
//!
//! Called by libFuzzer (`fuzz/fuzz_targets`) with bytes it makes up, and by `cargo test -p adit-tests --test corpus` with
//! the corpus. A target panics when a promise is broken; that it returns at all is the first promise.
#![forbid(unsafe_code)]

mod agrees;
mod audit;
mod authority;
mod bearer;
mod discovery;
mod forwarder;
mod http;
mod importer;
mod input;
mod manifest;
mod messages;
mod mux;
mod oracle;
mod person;
mod policy;
mod socks5;
mod tls;
mod token;

pub use agrees::policy_agrees;
pub use audit::{audit, traffic};
pub use authority::authority;
pub use bearer::bearer;
pub use discovery::discovery;
pub use forwarder::forwarder;
pub use http::{http_body, http_request_head, http_response_head};
pub use importer::import_scc;
pub use manifest::manifest;
pub use messages::{connect, control_event, hello};
pub use mux::mux_receive;
pub use person::person;
pub use policy::{policy_canonical, policy_parse};
pub use socks5::socks5;
pub use tls::tls_open;
pub use token::{jwks, jwt};

/// One target: its name, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target. `fuzz/Cargo.toml` has a program for each, `fuzz/corpus` a folder.
pub const ALL: &[Target] = &[
    ("bearer", bearer),
    ("authority", authority),
    ("audit", audit),
    ("traffic", traffic),
    ("connect", connect),
    ("control_event", control_event),
    ("discovery", discovery),
    ("forwarder", forwarder),
    ("hello", hello),
    ("http_body", http_body),
    ("http_request_head", http_request_head),
    ("http_response_head", http_response_head),
    ("import_scc", import_scc),
    ("jwks", jwks),
    ("jwt", jwt),
    ("manifest", manifest),
    ("mux_receive", mux_receive),
    ("person", person),
    ("policy_agrees", policy_agrees),
    ("policy_canonical", policy_canonical),
    ("policy_parse", policy_parse),
    ("socks5", socks5),
    ("tls_open", tls_open),
];
