//! Why a request is granted or denied, told by the function that decides.
//!
//! It decides nothing itself: it asks the snapshot and tells what came back.
use core::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::closest::Closest;
use crate::denial::DenialReason;
use crate::permit::InternalProtocol;
use crate::problem::did_you_mean;
use crate::request::Request;
use crate::rule::{HostHeader, Scope};
use crate::snapshot::Snapshot;

/// A decision with its grounds. Displayed for people, serialised for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The request, as [`OwnedRequest`](crate::OwnedRequest) reads it.
    pub request: String,
    /// The version of the snapshot that decided.
    pub version: u64,
    /// The SHA-256 of that snapshot's text, in hexadecimal digits.
    pub hash: String,
    /// The decision and its grounds.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A decision and its grounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "a request is granted or it is not")]
pub enum Verdict {
    /// The request is granted.
    Allow {
        /// The system that was asked for.
        system: String,
        /// The path of the granting resource; none for opaque streams.
        path: Option<String>,
        /// Its scope.
        scope: Option<Scope>,
        /// What people say of the granting rule.
        description: Option<String>,
        /// The line where the rule is written.
        line: u32,
        /// What the agent speaks to the backend.
        protocol: InternalProtocol,
        /// The internal host and port.
        internal: String,
        /// Which host the backend is told.
        host_header: HostHeader,
    },
    /// The request is denied.
    Deny {
        /// The reason.
        reason: DenialReason,
        /// The reason and what is known beyond it, for people.
        text: String,
        /// The rule that came closest.
        closest: Option<Closest>,
        /// The virtual host that was probably meant.
        did_you_mean: Option<String>,
    },
}

impl Explanation {
    /// Whether the request is granted.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        match self.verdict {
            Verdict::Allow { .. } => true,
            Verdict::Deny { .. } => false,
        }
    }

    /// Why the request is denied; `None` when it is granted.
    #[must_use]
    pub fn reason(&self) -> Option<DenialReason> {
        match self.verdict {
            Verdict::Allow { .. } => None,
            Verdict::Deny { reason, .. } => Some(reason),
        }
    }
}

/// Asks `snapshot` about `request` and tells what it decided and why.
///
/// Unlike deciding, it looks at every system to name the one that was probably meant, so it is for people and not for
/// every request.
#[must_use]
pub fn explain(snapshot: &Arc<Snapshot>, request: &Request<'_>) -> Explanation {
    let verdict = match snapshot.decide(request) {
        Ok(permit) => {
            let system = permit.system();
            let resource = permit.resource();
            let (host, port) = permit.internal();
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            };
            Verdict::Allow {
                system: system.name().to_owned(),
                path: resource.map(|resource| resource.path.as_str().to_owned()),
                scope: resource.map(|resource| resource.scope),
                description: resource
                    .and_then(|resource| resource.description.as_deref())
                    .or(system.description.as_deref())
                    .map(str::to_owned),
                line: resource.map_or_else(|| system.line(), |resource| resource.line()),
                protocol: permit.protocol(),
                internal: format!("{host}:{port}"),
                host_header: permit.host_header(),
            }
        }
        Err(denial) => {
            let systems = &snapshot.table().rules().systems;
            let hosts = systems
                .iter()
                .map(|system| system.virtual_end.host.as_str());
            Verdict::Deny {
                reason: denial.reason(),
                text: denial.to_string(),
                closest: denial.closest().cloned(),
                did_you_mean: (denial.reason() == DenialReason::SystemUnknown)
                    .then(|| did_you_mean(request.host(), hosts).map(str::to_owned))
                    .flatten(),
            }
        }
    };
    Explanation {
        request: request.to_string(),
        version: snapshot.version(),
        hash: snapshot.hash_hex(),
        verdict,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Allow {
                system,
                path,
                scope,
                description,
                line,
                protocol,
                internal,
                host_header,
            } => {
                writeln!(f, "allow  {}", self.request)?;
                write!(f, "  rule      ")?;
                if let (Some(path), Some(scope)) = (path, scope) {
                    write!(f, "{scope} `{path}` of ")?;
                }
                write!(f, "system `{system}`")?;
                if *line > 0 {
                    write!(f, ", line {line}")?;
                }
                if let Some(description) = description {
                    write!(f, " ({description})")?;
                }
                let host = match host_header {
                    HostHeader::Virtual => "virtual",
                    HostHeader::Internal => "internal",
                };
                write!(f, "\n  goes to   {}://{internal}", protocol.word())?;
                if matches!(protocol, InternalProtocol::Http | InternalProtocol::Https) {
                    write!(f, " with the {host} host")?;
                }
                writeln!(f)?;
            }
            Verdict::Deny {
                reason,
                text,
                closest: _,
                did_you_mean,
            } => {
                writeln!(f, "deny   {}", self.request)?;
                writeln!(f, "  reason    {reason}: {text}")?;
                if let Some(host) = did_you_mean {
                    writeln!(f, "  did you mean `{host}`?")?;
                }
            }
        }
        let hash = self.hash.get(..12).unwrap_or(&self.hash);
        write!(f, "  snapshot  version {}, sha256 {hash}", self.version)
    }
}
