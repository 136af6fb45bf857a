//! Nodes that come too late: what proves who asks when the certificate has expired.
//!
//! Whether such a node gets a new one is the policy of whoever calls, and so is whether it was revoked.

use adit_proto::control::Expired;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;

use crate::error::ExpiredError;
use crate::identity::{Identity, TrustDomain};
use crate::key::NodeKey;
use crate::leaf;
use crate::limits::{CERTIFICATE_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::root::Root;
use crate::signed::Signed;

/// Who has proven to hold the key of an expired certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiredNode {
    /// Whom the certificate names: an agent or a gateway.
    pub identity: Identity,
    /// The certificate's number, as revocation lists write it.
    pub serial: String,
    /// When it ended, in seconds since 1970. May lie ahead: a node whose clock is early asks this way too.
    pub not_after_unix_s: u64,
}

/// Judges the proof; `roots` are those that count.
pub(crate) fn check<'r>(
    proof: &Expired,
    csr: &str,
    roots: impl Iterator<Item = &'r Root>,
    trust_domain: &TrustDomain,
    now: OffsetDateTime,
) -> Result<ExpiredNode, ExpiredError> {
    if csr.len() > REQUEST_BYTES_MAX {
        return Err(ExpiredError::TooLong);
    }
    if proof.certificate.len() > CERTIFICATE_BYTES_MAX {
        return Err(ExpiredError::Certificate);
    }
    let mut sections = CertificateDer::pem_slice_iter(proof.certificate.as_bytes());
    let (Some(Ok(der)), None) = (sections.next(), sections.next()) else {
        return Err(ExpiredError::Certificate);
    };
    let certificate = leaf::certificate(&der).map_err(|_malformed| ExpiredError::Certificate)?;
    let mut roots = roots.filter(|root| now < root.not_after());
    if !roots.any(|root| signed_by(&certificate, &der, root)) {
        return Err(ExpiredError::Stranger);
    }
    let leaf = leaf::read(&certificate).map_err(|_no_name| ExpiredError::Identity)?;
    if leaf::seconds(now.unix_timestamp()) < leaf.not_before_unix_s {
        return Err(ExpiredError::Early);
    }
    let identity = Identity::parse(&leaf.spiffe_id, trust_domain)
        .filter(|identity| !certificate.is_ca() && !matches!(identity, Identity::Control { .. }))
        .ok_or(ExpiredError::Identity)?;
    let key = NodeKey::read(certificate.public_key()).ok_or(ExpiredError::Certificate)?;
    let verified = proof.signature.len() <= SIGNATURE_CHARS_MAX
        && STANDARD
            .decode(&proof.signature)
            .is_ok_and(|signature| key.verifies(&Expired::signed(csr), &signature));
    if !verified {
        return Err(ExpiredError::Signature);
    }
    Ok(ExpiredNode {
        identity,
        serial: leaf.serial,
        not_after_unix_s: leaf.not_after_unix_s,
    })
}

/// Whether `root` has signed `certificate`, which is `der`.
fn signed_by(certificate: &X509Certificate<'_>, der: &[u8], root: &Root) -> bool {
    let (Ok(root), Some(signed)) = (leaf::certificate(root.der()), Signed::read(der)) else {
        return false;
    };
    //= RFC 5280, section 4.1.2.3
    //# This field MUST contain the same algorithm identifier as the signatureAlgorithm field in the sequence Certificate
    certificate.issuer() == root.subject()
        && certificate.tbs_certificate.signature == certificate.signature_algorithm
        && NodeKey::read(root.public_key())
            .is_some_and(|key| key.verifies_as(signed.algorithm, signed.message, signed.signature))
}

/// A P-384 signature in ASN.1 has at most 104 bytes, 140 characters.
const SIGNATURE_CHARS_MAX: usize = 160;

#[cfg(test)]
mod tests;
