//! The frame of a signed thing in X.509: what was signed, by which algorithm, the signature.
//!
//! The parser of what is inside is lenient with this frame, which no signature covers; here it has one spelling. What
//! was signed is left to that parser.

/// Certificate (RFC 5280, section 4.1) and CertificationRequest (RFC 2986, section 4.2) alike.
pub(crate) struct Signed<'d> {
    /// What was signed.
    pub(crate) message: &'d [u8],
    /// The AlgorithmIdentifier, DER.
    pub(crate) algorithm: &'d [u8],
    /// The signature's bytes.
    pub(crate) signature: &'d [u8],
}

impl<'d> Signed<'d> {
    /// Takes the frame off `der`, which must be all of it.
    pub(crate) fn read(der: &'d [u8]) -> Option<Self> {
        let (frame, rest) = element(SEQUENCE, der)?;
        let (_, after_message) = element(SEQUENCE, frame)?;
        let (_, after_algorithm) = element(SEQUENCE, after_message)?;
        let (signature, nothing) = element(BIT_STRING, after_algorithm)?;
        let (0, signature) = signature.split_first()? else {
            return None;
        };
        let whole = |from: &'d [u8], to: &'d [u8]| from.get(..from.len() - to.len());
        (rest.is_empty() && nothing.is_empty()).then_some(Self {
            message: whole(frame, after_message)?,
            algorithm: whole(after_message, after_algorithm)?,
            signature,
        })
    }
}

/// The content of the element of `tag` at the front of `der`, and what is behind it. Lengths up to 65,535, in their shortest form.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match *der {
        [found, length @ 0..=0x7f, ref rest @ ..] if found == tag => (u16::from(length), rest),
        [found, 0x81, length @ 0x80..=0xff, ref rest @ ..] if found == tag => {
            (u16::from(length), rest)
        }
        [found, 0x82, high @ 1..=0xff, low, ref rest @ ..] if found == tag => {
            (u16::from_be_bytes([high, low]), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(usize::from(length))
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_apart_at_its_seams() {
        let der = [
            0x30, 0x0a, 0x30, 0x01, 0xaa, 0x30, 0x00, 0x03, 0x03, 0x00, 0x01, 0x02,
        ];
        let signed = Signed::read(&der).unwrap();
        assert_eq!(signed.message, [0x30, 0x01, 0xaa]);
        assert_eq!(signed.algorithm, [0x30, 0x00]);
        assert_eq!(signed.signature, [1, 2]);
    }

    #[test]
    fn lengths_have_one_spelling() {
        let of = |head: &[u8], length: usize| [head, &vec![0; length]].concat();
        let read = |der: &[u8]| element(SEQUENCE, der).map(|(found, _)| found.len());
        assert_eq!(read(&of(&[0x30, 0x7f], 0x7f)), Some(0x7f));
        assert_eq!(read(&of(&[0x30, 0x81, 0x80], 0x80)), Some(0x80));
        assert_eq!(read(&of(&[0x30, 0x81, 0x7f], 0x80)), None);
        assert_eq!(read(&of(&[0x30, 0x82, 0x01, 0x00], 0x100)), Some(0x100));
        assert_eq!(read(&of(&[0x30, 0x82, 0x00, 0xff], 0x100)), None);
        assert_eq!(read(&of(&[0x30, 0x80], 0x10)), None);
        assert_eq!(read(&of(&[0x30, 0x83, 0x01, 0x00, 0x00], 0x1_0000)), None);
        assert_eq!(read(&of(&[0x31, 0x01], 1)), None);
        assert_eq!(read(&of(&[0x30, 0x02], 1)), None);
        assert_eq!(read(&[]), None);
    }
}
