//! Proof that one snapshot allowed one request: what a backend is dialled with, and nothing else is.
//!
//! Only [`Snapshot::decide`] makes one. It dials nothing itself.
use core::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::canonical::address::{AddressClass, address_class};
use crate::denial::Denial;
use crate::request::Request;
use crate::rule::{HostHeader, Resource, System};
use crate::snapshot::Snapshot;
use crate::table::{Decided, Grant};

/// Proof that a snapshot allowed a request.
#[derive(Clone, Debug)]
pub struct Permit {
    snapshot: Arc<Snapshot>,
    decided: Decided,
}

/// What the agent speaks to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new protocol must be looked at by everyone who dials"
)]
pub enum InternalProtocol {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/1.1 in TLS.
    Https,
    /// Opaque bytes.
    Tcp,
    /// Opaque bytes in TLS.
    Tls,
}

impl InternalProtocol {
    /// Whether the agent speaks TLS.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        match self {
            Self::Https | Self::Tls => true,
            Self::Http | Self::Tcp => false,
        }
    }

    /// The protocol in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

impl Permit {
    pub(crate) fn new(snapshot: Arc<Snapshot>, decided: Decided) -> Self {
        Self { snapshot, decided }
    }

    fn grant(&self) -> Grant<'_> {
        Grant::again(self.snapshot.table(), self.decided)
    }

    /// The snapshot that granted the request.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The version of that snapshot.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.snapshot.version()
    }

    /// The system that was asked for.
    #[must_use]
    pub fn system(&self) -> &System {
        self.grant().system()
    }

    /// The name of that system.
    #[must_use]
    pub fn system_name(&self) -> &str {
        self.grant().system().name()
    }

    /// The resource that granted the request; `None` for opaque streams, which the system itself grants.
    #[must_use]
    pub fn resource(&self) -> Option<&Resource> {
        self.grant().resource()
    }

    /// The granting rule in one word: the path of the resource, or the name of the system.
    #[must_use]
    pub fn rule(&self) -> &str {
        self.grant().rule()
    }

    /// The virtual host, in lower case.
    #[must_use]
    pub fn virtual_host(&self) -> &str {
        self.grant().system().virtual_end.host.as_str()
    }

    /// The virtual port that was asked for.
    #[must_use]
    pub fn virtual_port(&self) -> u16 {
        self.decided.port
    }

    /// What the agent speaks to the backend.
    #[must_use]
    pub fn protocol(&self) -> InternalProtocol {
        self.grant().protocol()
    }

    /// The internal host (an IPv6 address without brackets) and port; of a port range, the port that belongs to the
    /// virtual one.
    #[must_use]
    pub fn internal(&self) -> (&str, u16) {
        self.grant().internal()
    }

    /// Which host the backend is told.
    #[must_use]
    pub fn host_header(&self) -> HostHeader {
        self.grant().system().host_header
    }

    /// The file of certificates to trust instead of the operating system's.
    #[must_use]
    pub fn ca_file(&self) -> Option<&str> {
        self.grant().system().ca_file.as_deref()
    }

    /// Whether the rules allow the agent's own machine, link-local and metadata addresses.
    #[must_use]
    pub fn allows_loopback(&self) -> bool {
        self.grant().system().allow_loopback
    }

    /// Whether `address` may be dialled. To be asked of the very address that is dialled, after resolution: a name
    /// may lead anywhere, and elsewhere the next time.
    #[must_use]
    pub fn admits_address(&self, address: IpAddr) -> bool {
        match address_class(address) {
            AddressClass::Ordinary => true,
            AddressClass::Loopback
            | AddressClass::LinkLocal
            | AddressClass::Unspecified
            | AddressClass::Metadata => self.allows_loopback(),
            AddressClass::Many => false,
        }
    }

    /// Asks a newer snapshot the same again, for a stream that still lives. `request` is what this permit was given
    /// for.
    ///
    /// # Errors
    /// [`Withdrawn`] when the newer rules deny the request, or grant it for another backend: the stream is to be
    /// ended.
    pub fn renew(&self, newer: &Arc<Snapshot>, request: &Request<'_>) -> Result<Self, Withdrawn> {
        let renewed = newer
            .decide(request)
            .map_err(|denial| Withdrawn::Denied(Box::new(denial)))?;
        let same_backend = self.protocol() == renewed.protocol()
            && self.internal() == renewed.internal()
            && (renewed.allows_loopback() || !self.allows_loopback());
        if same_backend {
            Ok(renewed)
        } else {
            Err(Withdrawn::Moved)
        }
    }
}

/// A stream's permit is not renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Withdrawn {
    /// The newer rules deny the request.
    Denied(Box<Denial>),
    /// The newer rules send the request to another backend.
    Moved,
}

impl core::fmt::Display for Withdrawn {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Denied(denial) => denial.fmt(f),
            Self::Moved => f.write_str("the system has another internal end now"),
        }
    }
}

impl std::error::Error for Withdrawn {}
