//! What is written in a certificate besides whom it names: its serial number and its life.
//!
//! Whether the certificate is genuine is rustls' and webpki's to say; what its end means is the caller's.

use std::fmt::Write as _;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::IdentityError;

/// Serial number, life and public key of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaf {
    /// Lower-case hexadecimal without leading zeros.
    pub serial: String,
    /// When it begins to count, in seconds since 1970.
    pub from_unix_s: u64,
    /// The last second in which it counts, in seconds since 1970.
    pub until_unix_s: u64,
    /// Its public key, a DER `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
}

impl Leaf {
    /// Reads them.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`].
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_rest, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_cause: x509_parser::nom::Err<_>| IdentityError::Malformed)?;
        let life = parsed.validity();
        // Before 1970 nothing of ours was issued.
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        Ok(Self {
            serial: hex(parsed.raw_serial()),
            from_unix_s: seconds(life.not_before.timestamp()),
            until_unix_s: seconds(life.not_after.timestamp()),
            spki: parsed.public_key().raw.to_vec(),
        })
    }
}

fn hex(serial: &[u8]) -> String {
    let mut text = String::with_capacity(serial.len() * 2);
    for byte in serial {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    match text.trim_start_matches('0') {
        "" => "0".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_written_without_leading_zeros() {
        for (bytes, text) in [
            (&[0x00, 0x9f][..], "9f"),
            (&[0x09, 0x00], "900"),
            (&[0], "0"),
            (&[], "0"),
        ] {
            assert_eq!(hex(bytes), text);
        }
    }

    #[test]
    fn a_certificate_tells_its_serial_its_life_and_its_key() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x0a, 0xbc]));
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        let certificate = params.self_signed(&key).unwrap();
        let leaf = Leaf::read(certificate.der()).unwrap();
        assert_eq!(leaf.serial, "abc");
        // 50 years of which 12 have a leap day: (50 x 365 + 12) x 86,400 s.
        assert_eq!(leaf.from_unix_s, (50 * 365 + 12) * 86_400);
        assert_eq!(leaf.until_unix_s, leaf.from_unix_s + 86_400);
        assert_eq!(
            leaf.spki,
            rcgen::PublicKeyData::subject_public_key_info(&key)
        );
        assert!(Leaf::read(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }
}
