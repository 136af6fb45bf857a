//! TLS 1.3 for tunnels: rustls shakes hands, our record layer seals and opens in place.
//!
//! A quiet room: bytes go in, bytes come out. It decides who the peer is (the SPIFFE URI of the
//! leaf whose key the handshake proved) and keeps the keys. It leaves sockets, timeouts and what
//! the plaintext means to its callers, and asks no clock but the one it was given for
//! certificates.
//!
//! ```text
//! Handshake::client / ::server -> advance(..) until Done -> finish() -> Established { records, peer }
//! Records::seal / open in place; maintenance() when needs_maintenance(); close() at the end
//! ```
#![forbid(unsafe_code)]

mod control;
mod error;
mod handshake;
mod identity;
mod keys;
mod leaf;
mod limits;
mod post_handshake;
mod record;
mod records;
mod server_verifier;
mod settings;

pub use control::{CONTROL_ALPN, control_client, pinned_client, spki_sha256};
pub use error::{Error, Fault};
pub use handshake::{Established, Handshake, Progress};
pub use identity::{IdentityError, PeerIdentity, Role, RoleName, SpiffeId};
pub use keys::Suite;
pub use leaf::Leaf;
pub use limits::{
    HANDSHAKE_BYTES_MAX, HANDSHAKE_MESSAGE_BYTES_MAX, HANDSHAKE_RECORDS_MAX, Limits,
    SEAL_RECORDS_MAX,
};
pub use record::{MAX_PLAINTEXT, RECORD_HEADER, RECORD_OVERHEAD, RECORD_TRAILER};
pub use records::{Opened, Records};
pub use settings::{
    ALPN, ClientSettings, Credentials, Options, Roots, ServerSettings, SettingsError, client,
    client_with, server, server_with,
};

pub use rustls::AlertDescription;
pub use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
pub use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

#[cfg(test)]
extern crate self as adit_tls;
#[cfg(test)]
#[path = "../tests/tls/support.rs"]
mod support;
