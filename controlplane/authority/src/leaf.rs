//! What a certificate says: its number, whom it names, when it counts.
//!
//! Whether it is genuine is left to whoever checked the chain.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::error::LeafError;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaf {
    /// Its number, as revocation lists write it: lower-case hexadecimal without leading zeros.
    pub serial: String,
    /// Its one URI, unparsed; [`Identity::parse`](crate::Identity::parse) reads it.
    pub spiffe_id: String,
    /// Its first second, since 1970.
    pub not_before_unix_s: u64,
    /// Its last second, since 1970.
    pub not_after_unix_s: u64,
}

/// Reads a certificate, for instance a peer's. Says nothing about whether it is genuine.
///
/// # Errors
/// [`LeafError`], when it is not X.509, or not with exactly one URI.
pub fn parse_leaf(der: &[u8]) -> Result<Leaf, LeafError> {
    read(&certificate(der)?)
}

/// The certificate that `der` is, with nothing behind it.
pub(crate) fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, LeafError> {
    match X509Certificate::from_der(der) {
        Ok((&[], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(LeafError::Malformed),
    }
}

pub(crate) fn read(certificate: &X509Certificate<'_>) -> Result<Leaf, LeafError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_twice_or_damaged| LeafError::Malformed)?;
    let mut uris = Vec::new();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        // A name the parser cannot read may be a second URI.
        if matches!(name, GeneralName::Invalid(..)) {
            return Err(LeafError::Malformed);
        }
        if let GeneralName::URI(uri) = name {
            uris.push(*uri);
        }
    }
    let [spiffe_id] = uris.as_slice() else {
        return Err(LeafError::Names { uris: uris.len() });
    };
    let validity = certificate.validity();
    Ok(Leaf {
        serial: hex_number(certificate.tbs_certificate.raw_serial()),
        spiffe_id: (*spiffe_id).to_owned(),
        not_before_unix_s: seconds(validity.not_before.timestamp()),
        not_after_unix_s: seconds(validity.not_after.timestamp()),
    })
}

/// Seconds since 1970, and 0 for what was before.
pub(crate) fn seconds(timestamp: i64) -> u64 {
    u64::try_from(timestamp).unwrap_or(0)
}

/// Big-endian bytes as a hexadecimal number without leading zeros.
pub(crate) fn hex_number(bytes: &[u8]) -> String {
    let digits = hex(bytes);
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        number => number.to_owned(),
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A String takes everything.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
