//! What the authority issues, as others see it: OpenSSL, rustls, and the two ends of a tunnel.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the room is quiet, its foreign peers are not: they are programs that read files"
)]

mod openssl;
mod peers;
mod roll;

use std::time::Duration;

use adit_authority::{Authority, Identity, Issued};
use rcgen::{CertificateParams, KeyPair};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(86_400);

/// 2027-01-15: no test depends on today.
fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn authority() -> Authority {
    Authority::new(&"adit.local".parse().unwrap(), 3_650 * DAY, now()).unwrap()
}

fn agent() -> Identity {
    Identity::Agent {
        subaccount: "acme".parse().unwrap(),
        name: "berlin-1".parse().unwrap(),
    }
}

fn gateway() -> Identity {
    Identity::Gateway {
        name: "gw-1".parse().unwrap(),
    }
}

/// A node's key, PEM, and its certificate.
fn node(authority: &Authority, identity: &Identity) -> (Issued, String) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key);
    let csr = request.unwrap().pem().unwrap();
    let issued = authority.issue(&csr, identity, 30 * DAY, now()).unwrap();
    (issued, key.serialize_pem())
}
