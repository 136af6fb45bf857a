//! From a permit to a connection: name, address, TCP, TLS. No permit, no call.
//!
//! The name is resolved once and what came of it is judged and dialled, so a name that leads elsewhere
//! the next time cannot lead past the check (row P-08 of docs/hostile.md). Trying again is the caller's affair.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use adit_policy::Permit;
use adit_proto::refusal::Refusal;
use adit_runtime::clock;
use adit_runtime::resolve::Resolver;
use adit_transport::connect;
use adit_transport::socket::Leg;
use rustix::io::Errno;
use rustls_pki_types::ServerName;

use super::Backend;
use super::tls::TlsWire;
use super::trust::Anchors;

/// A connection and the address it leads to.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) backend: Backend,
    pub(crate) address: IpAddr,
}

/// Why there is no connection: the caller's refusal, and for our own log what was said where.
#[derive(Debug)]
pub(crate) struct DialError {
    pub(crate) refusal: Refusal,
    pub(crate) detail: String,
    /// The process has no descriptor left: quiet connections should be given up.
    pub(crate) exhausted: bool,
}

impl DialError {
    pub(crate) fn new(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self {
            refusal,
            detail: detail.into(),
            exhausted: false,
        }
    }
}

/// Connects to what `permit` names, within `limit` for everything.
///
/// # Errors
/// [`DialError`].
pub(crate) async fn dial(
    permit: &Permit,
    anchors: Option<&Anchors>,
    resolver: &Resolver,
    limit: Duration,
) -> Result<Dialled, DialError> {
    let started = clock::now();
    let (host, port) = permit.internal();
    let found = match adit_runtime::timer::timeout(limit, resolver.resolve(host, port)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            return Err(DialError::new(
                Refusal::BackendDns,
                format!("{host}: {error}"),
            ));
        }
        Err(_elapsed) => {
            return Err(DialError::new(
                Refusal::BackendDns,
                format!("{host}: no answer in time"),
            ));
        }
    };
    let admitted = admitted(permit, &found)?;
    let left = limit.saturating_sub(clock::now().saturating_sub(started));
    let socket = connect::any(&admitted, left, Leg::Local)
        .await
        .map_err(|error| DialError {
            refusal: refusal(&error.last),
            detail: error.to_string(),
            exhausted: is_exhausted(&error.last),
        })?;
    let address = socket
        .peer_addr()
        .map_err(|error| DialError::new(Refusal::BackendReset, error.to_string()))?
        .ip();
    let Some(anchors) = anchors else {
        return Ok(Dialled {
            backend: Backend::Plain(socket),
            address,
        });
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| DialError::new(Refusal::BackendTls, format!("{host}: {error}")))?;
    let left = limit.saturating_sub(clock::now().saturating_sub(started));
    let shaking = TlsWire::connect(socket, anchors.config(permit.protocol()), name);
    match adit_runtime::timer::timeout(left, Box::pin(shaking)).await {
        Ok(Ok(wire)) => Ok(Dialled {
            backend: Backend::Tls(Box::new(wire)),
            address,
        }),
        Ok(Err(error)) => Err(DialError::new(
            Refusal::BackendTls,
            format!("{address}:{port}: {error}"),
        )),
        Err(_elapsed) => Err(DialError::new(
            Refusal::BackendTimeout,
            format!(
                "{address}:{port}: no end of the TLS handshake within {} ms",
                limit.as_millis()
            ),
        )),
    }
}

// The addresses that may be dialled: of a name that leads to several, those that the rules admit.
fn admitted(permit: &Permit, found: &[SocketAddr]) -> Result<Vec<SocketAddr>, DialError> {
    let admitted: Vec<_> = found
        .iter()
        .copied()
        .filter(|address| permit.admits_address(address.ip()))
        .collect();
    if admitted.is_empty() {
        let (host, _) = permit.internal();
        return Err(DialError::new(
            Refusal::BackendAddressForbidden,
            format!(
                "{host} leads to {found:?}, which only a system with allow_loopback = true may reach"
            ),
        ));
    }
    Ok(admitted)
}

fn refusal(error: &io::Error) -> Refusal {
    if is_exhausted(error) {
        return Refusal::AgentOverloaded;
    }
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "io::ErrorKind is open; the rest is a path that does not lead there"
    )]
    match error.kind() {
        io::ErrorKind::TimedOut => Refusal::BackendTimeout,
        io::ErrorKind::ConnectionRefused => Refusal::BackendRefused,
        io::ErrorKind::ConnectionReset => Refusal::BackendReset,
        _ => Refusal::BackendUnreachable,
    }
}

// No descriptors, ports or kernel memory: our trouble, not the backend's.
fn is_exhausted(error: &io::Error) -> bool {
    [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
    ]
    .iter()
    .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use adit_policy::{Request, Snapshot};

    use super::*;

    fn permit(more: &str) -> Permit {
        let rules = format!(
            "[[system]]\nvirtual = \"db.virtual:1\"\nprotocol = \"tcp\"\ninternal = \"db.corp:1\"\n{more}\n"
        );
        let request = Request::Tcp {
            host: "db.virtual",
            port: 1,
        };
        Snapshot::new(1, rules).unwrap().decide(&request).unwrap()
    }

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn p08_a_name_that_leads_into_this_machine_or_to_metadata_is_not_dialled() {
        for forbidden in [
            "127.0.0.1:1",
            "[::1]:1",
            "0.0.0.0:1",
            "169.254.169.254:1",
            "[::ffff:127.0.0.1]:1",
            "[fe80::1]:1",
            "224.0.0.1:1",
        ] {
            let error = admitted(&permit(""), &addresses(&[forbidden])).unwrap_err();
            assert_eq!(
                error.refusal,
                Refusal::BackendAddressForbidden,
                "{forbidden}"
            );
            assert!(error.detail.contains("db.corp"), "{}", error.detail);
        }
    }

    #[test]
    fn p08_of_several_addresses_only_the_admitted_ones_are_dialled() {
        let found = addresses(&["127.0.0.1:1", "10.0.0.5:1", "[::1]:1", "[2001:db8::5]:1"]);
        let expected = addresses(&["10.0.0.5:1", "[2001:db8::5]:1"]);
        assert_eq!(admitted(&permit(""), &found).unwrap(), expected);
        let with_consent = admitted(&permit("allow_loopback = true"), &found).unwrap();
        assert_eq!(with_consent, found);
    }

    #[test]
    fn r10_a_process_without_descriptors_says_that_it_is_overloaded() {
        for errno in [Errno::MFILE, Errno::NFILE] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert!(is_exhausted(&error));
            assert_eq!(refusal(&error), Refusal::AgentOverloaded);
        }
    }

    #[test]
    fn r12_what_the_kernel_says_of_a_backend_becomes_its_reason() {
        for (kind, expected) in [
            (io::ErrorKind::TimedOut, Refusal::BackendTimeout),
            (io::ErrorKind::ConnectionRefused, Refusal::BackendRefused),
            (io::ErrorKind::HostUnreachable, Refusal::BackendUnreachable),
            (
                io::ErrorKind::NetworkUnreachable,
                Refusal::BackendUnreachable,
            ),
        ] {
            assert_eq!(refusal(&io::Error::from(kind)), expected, "{kind:?}");
        }
    }
}
