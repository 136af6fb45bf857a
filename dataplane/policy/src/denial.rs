//! Why a request is not granted, in full, for operators.
//!
//! None of this leaves the house: who answers a caller maps [`DenialReason`] to a refusal of the closed list.
use core::fmt;

use serde::Serialize;

use crate::canonical::Ambiguity;
use crate::canonical::host::HostProblem;
use crate::closest::Closest;
use crate::request::Request;

/// The closed list of reasons to deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new reason must be looked at by everyone who answers a caller"
)]
pub enum DenialReason {
    /// No system has this virtual host.
    SystemUnknown,
    /// A system has this virtual host, none at this port.
    PortDenied,
    /// The system speaks another protocol.
    ProtocolMismatch,
    /// No resource reaches the path.
    ResourceDenied,
    /// A resource reaches the path, with other methods.
    MethodDenied,
    /// A resource reaches the path, without upgrade.
    UpgradeDenied,
    /// Only a resource that is not active reaches the path.
    Suspended,
    /// The path could be two things.
    PathAmbiguous,
    /// The host is none, or the port is 0.
    HostMalformed,
}

impl DenialReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::SystemUnknown,
        Self::PortDenied,
        Self::ProtocolMismatch,
        Self::ResourceDenied,
        Self::MethodDenied,
        Self::UpgradeDenied,
        Self::Suspended,
        Self::PathAmbiguous,
        Self::HostMalformed,
    ];

    /// The reason as a word for metrics and records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SystemUnknown => "system-unknown",
            Self::PortDenied => "port-denied",
            Self::ProtocolMismatch => "protocol-mismatch",
            Self::ResourceDenied => "resource-denied",
            Self::MethodDenied => "method-denied",
            Self::UpgradeDenied => "upgrade-denied",
            Self::Suspended => "suspended",
            Self::PathAmbiguous => "path-ambiguous",
            Self::HostMalformed => "host-malformed",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::SystemUnknown => "no system has this virtual host",
            Self::PortDenied => "no system has this virtual host and port",
            Self::ProtocolMismatch => "the system speaks another protocol",
            Self::ResourceDenied => "no resource reaches this path",
            Self::MethodDenied => "no resource that reaches this path allows the method",
            Self::UpgradeDenied => "no resource that reaches this path allows an upgrade",
            Self::Suspended => "the resource that reaches this path is not active",
            Self::PathAmbiguous => "the path could be read in two ways",
            Self::HostMalformed => "the virtual host or port is malformed",
        }
    }
}

impl fmt::Display for DenialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A request is not granted. Displayed as the explanation for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    reason: DenialReason,
    detail: Detail,
}

/// What is known beyond the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    Nothing,
    Host(HostProblem),
    PortZero,
    Path(Ambiguity),
    Method(&'static str),
    Closest(Box<Closest>),
}

impl Denial {
    pub(crate) fn new(reason: DenialReason, detail: Detail) -> Self {
        Self { reason, detail }
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> DenialReason {
        self.reason
    }

    /// The rule that came closest, and why it did not match.
    #[must_use]
    pub fn closest(&self) -> Option<&Closest> {
        match &self.detail {
            Detail::Closest(closest) => Some(closest),
            Detail::Nothing
            | Detail::Host(_)
            | Detail::PortZero
            | Detail::Path(_)
            | Detail::Method(_) => None,
        }
    }

    /// What makes the path ambiguous, when that is the reason.
    #[must_use]
    pub fn ambiguity(&self) -> Option<Ambiguity> {
        match self.detail {
            Detail::Path(ambiguity) => Some(ambiguity),
            Detail::Nothing
            | Detail::Host(_)
            | Detail::PortZero
            | Detail::Method(_)
            | Detail::Closest(_) => None,
        }
    }

    /// The explanation with the request it is about in front.
    #[must_use]
    pub fn about(&self, request: &Request<'_>) -> String {
        format!("{request}: {self}")
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.text())?;
        match &self.detail {
            Detail::Nothing => Ok(()),
            Detail::Host(problem) => write!(f, ": {problem}"),
            Detail::PortZero => f.write_str(": port 0 is none"),
            Detail::Path(ambiguity) => write!(f, ": {ambiguity}"),
            Detail::Method(why) => write!(f, ": {why}"),
            Detail::Closest(closest) => write!(f, "; closest is {closest}"),
        }
    }
}

impl std::error::Error for Denial {}
