//! Who a node is and whom it trusts: key, certificate, roots, signing keys, revoked certificates; checked as one.
//!
//! A value. Where it comes from and where it is kept is `enrol`'s, `renew`'s and `folder`'s.

use std::fmt;
use std::sync::Arc;

use adit_proto::control::Trust;
use adit_tls::{Credentials, Leaf, Roots, SpiffeId};

use crate::keys;

/// An identity that is whole: its key fits its certificate, and its roots can be read.
#[derive(Clone)]
pub struct Identity {
    key_pem: Arc<str>,
    chain_pem: Arc<str>,
    credentials: Arc<Credentials>,
    roots: Roots,
    leaf: Leaf,
    trust: Arc<Trust>,
    location: Arc<str>,
    renew_unix_s: u64,
}

impl Identity {
    pub(crate) fn new(
        key_pem: &str,
        chain_pem: &str,
        location: &str,
        trust: Trust,
    ) -> Result<Self, String> {
        let credentials = Credentials::from_pem(chain_pem.as_bytes(), key_pem.as_bytes())
            .map_err(|error| error.to_string())?;
        let leaf = credentials
            .leaf()
            .ok_or("no certificate")
            .and_then(|leaf| Leaf::read(leaf).map_err(|_malformed| "not a certificate"))?;
        if keys::public_key(key_pem).as_ref() != Some(&leaf.spki) {
            return Err("the certificate is for another key".to_owned());
        }
        adit_proto::check_location(location).map_err(|error| error.to_string())?;
        Ok(Self {
            key_pem: key_pem.into(),
            chain_pem: chain_pem.into(),
            credentials: Arc::new(credentials),
            roots: read_roots(&trust)?,
            renew_unix_s: leaf.from_unix_s + leaf.until_unix_s.saturating_sub(leaf.from_unix_s) / 2,
            leaf,
            trust: Arc::new(trust),
            location: location.into(),
        })
    }

    /// The same identity, to be renewed when the control plane says so: it knows when the certificate was made, which
    /// begins earlier. A time outside of the certificate's life is not taken.
    pub(crate) fn due_at(mut self, unix_s: u64) -> Self {
        if unix_s >= self.leaf.from_unix_s && unix_s < self.leaf.until_unix_s {
            self.renew_unix_s = unix_s;
        }
        self
    }

    /// The same identity that trusts others.
    pub(crate) fn with_trust(&self, trust: Trust) -> Result<Self, String> {
        Ok(Self {
            roots: read_roots(&trust)?,
            trust: Arc::new(trust),
            ..self.clone()
        })
    }

    /// Key and certificate.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Where a peer's chain may end, and which certificates no longer count.
    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Whom the certificate names.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        self.credentials.id()
    }

    /// The certificate's serial number and life.
    #[must_use]
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// Whom to trust, as the control plane said it.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The location that this node serves; empty is the default one.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// When to ask for the next certificate, in seconds since 1970: half of this one's life, unless the control plane
    /// said another time.
    #[must_use]
    pub fn renew_unix_s(&self) -> u64 {
        self.renew_unix_s
    }

    /// Whether the certificate has expired at `unix_now`.
    #[must_use]
    pub fn has_expired(&self, unix_now: u64) -> bool {
        unix_now > self.leaf.until_unix_s
    }

    /// Whether less than a third of the certificate's life is left: renewals have failed for long.
    #[must_use]
    pub fn is_nearly_over(&self, unix_now: u64) -> bool {
        // What follows the renewal is half of the life as the control plane counts it.
        let half = self.leaf.until_unix_s.saturating_sub(self.renew_unix_s);
        self.leaf.until_unix_s.saturating_sub(unix_now) < half * 2 / 3
    }

    pub(crate) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    pub(crate) fn chain_pem(&self) -> &str {
        &self.chain_pem
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("id", self.id())
            .field("serial", &self.leaf.serial)
            .field("trust", &self.trust.version)
            .finish_non_exhaustive()
    }
}

fn read_roots(trust: &Trust) -> Result<Roots, String> {
    let roots = Roots::from_pem(trust.roots.as_bytes())
        .map_err(|error| format!("trusted roots: {error}"))?;
    Ok(roots.with_revoked(trust.revoked.iter().cloned()))
}
