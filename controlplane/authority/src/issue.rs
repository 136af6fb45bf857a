//! What it is to issue: the one question that an authority answers, wherever its key is.

use core::time::Duration;

use time::OffsetDateTime;

use crate::error::IssueError;
use crate::identity::Identity;

/// Who gives nodes their certificates.
///
/// A seam. [`Authority`](crate::Authority) holds its keys in memory; an authority whose key is behind PKCS#11, or one of
/// another house that is asked over the network, stands here too. Whoever implements it must keep what nodes rely on:
/// the key is the request's and was proven, the names are those of `identity` and nothing of the request, and the
/// certificate ends when [`Issued`] says.
pub trait Issue {
    /// A certificate for `identity` over the key of `csr_pem`, that lives for `life` from `now` on.
    ///
    /// # Errors
    /// [`IssueError`]: the request is not one, or the authority cannot sign now.
    fn issue(
        &self,
        csr_pem: &str,
        identity: &Identity,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<Issued, IssueError>;
}

/// A certificate that was just issued.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issued {
    /// The leaf, PEM; who signed it is a root, so the chain has one link.
    pub certificate_pem: String,
    /// Its number, as revocation lists write it: lower-case hexadecimal without leading zeros.
    pub serial: String,
    /// Its last second, since 1970.
    pub not_after_unix_s: u64,
    /// Whom it names.
    pub spiffe_id: String,
}
