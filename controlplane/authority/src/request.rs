//! Certificate signing requests (RFC 2986): from a stranger's text to a public key whose owner wrote it.
//!
//! Names and extensions of a request are not looked at: the invitation, or the certificate it came with, says who asks.

use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequestInfo;
use x509_parser::prelude::FromDer as _;

use crate::error::RequestError;
use crate::key::NodeKey;
use crate::limits::REQUEST_BYTES_MAX;
use crate::signed::Signed;

/// The key of the one request in `pem`, proven by the request's own signature.
pub(crate) fn proven_key(pem: &str) -> Result<NodeKey, RequestError> {
    if pem.len() > REQUEST_BYTES_MAX {
        return Err(RequestError::TooLong { bytes: pem.len() });
    }
    let mut sections = CertificateSigningRequestDer::pem_slice_iter(pem.as_bytes());
    let (Some(Ok(der)), None) = (sections.next(), sections.next()) else {
        return Err(RequestError::NotPem);
    };
    let signed = Signed::read(&der).ok_or(RequestError::Malformed)?;
    let (_, info) = X509CertificationRequestInfo::from_der(signed.message)
        .map_err(|_malformed: x509_parser::nom::Err<_>| RequestError::Malformed)?;
    let key = NodeKey::read(&info.subject_pki)
        .filter(|key| key.signs_with(signed.algorithm))
        .ok_or(RequestError::Key)?;
    if !key.verifies_as(signed.algorithm, signed.message, signed.signature) {
        return Err(RequestError::Signature);
    }
    Ok(key)
}

#[cfg(test)]
mod tests;
