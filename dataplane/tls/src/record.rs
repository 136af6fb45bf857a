//! TLS 1.3 records of one direction, sealed and opened in place (RFC 8446, section 5.2).
//!
//! This is the byte path: nothing here allocates, and each byte is touched by the cipher only.
//! What a record's content means, when keys change and who may still send is `records`' business.

use std::ops::Range;

use ring::aead::Aad;

use crate::error::Error;
use crate::keys::TrafficKey;
use crate::limits::SEAL_RECORDS_MAX;

/// Bytes before the plaintext of a record: type, version, length.
pub const RECORD_HEADER: usize = 5;
/// Bytes behind the plaintext of a record: its true type and the tag.
pub const RECORD_TRAILER: usize = 1 + TAG;
/// Bytes a record has beside its plaintext.
pub const RECORD_OVERHEAD: usize = RECORD_HEADER + RECORD_TRAILER;
/// Most plaintext bytes of one record (RFC 8446, section 5.1).
pub const MAX_PLAINTEXT: usize = 1 << 14;

/// Longest record without its header (RFC 8446, section 5.2).
pub(crate) const MAX_CIPHERTEXT: usize = MAX_PLAINTEXT + 256;
/// Shortest record without its header: a type and a tag.
pub(crate) const MIN_CIPHERTEXT: usize = RECORD_TRAILER;

/// Content types (RFC 8446, section 5.1).
pub(crate) mod content {
    pub(crate) const ALERT: u8 = 21;
    pub(crate) const HANDSHAKE: u8 = 22;
    pub(crate) const APPLICATION_DATA: u8 = 23;
}

const TAG: usize = 16;
/// What every TLS 1.3 record says for a version (RFC 8446, section 5.2).
const LEGACY_VERSION: [u8; 2] = [3, 3];

/// Seals the records of one direction.
#[derive(Debug)]
pub(crate) struct Sealer {
    key: TrafficKey,
    sequence: u64,
}

impl Sealer {
    pub(crate) fn new(key: TrafficKey, sequence: u64) -> Self {
        Self { key, sequence }
    }

    /// Records sealed under the present key.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Replaces the key; the sequence starts over.
    pub(crate) fn rekey(&mut self, key: TrafficKey, sequence: u64) {
        *self = Self { key, sequence };
    }

    /// Seals `record` in place: header, plaintext, type and tag, `RECORD_OVERHEAD` bytes more than
    /// the plaintext that already stands behind the header.
    #[inline]
    pub(crate) fn seal(&mut self, record: &mut [u8], content_type: u8) -> Result<(), Error> {
        let length = record.len();
        let Some((header, rest)) = record.split_first_chunk_mut::<RECORD_HEADER>() else {
            return Err(Error::RecordLayout { length });
        };
        let Some((inner, tag)) = rest.split_last_chunk_mut::<TAG>() else {
            return Err(Error::RecordLayout { length });
        };
        let announced = inner.len() + TAG;
        let Some(type_byte) = inner.last_mut() else {
            return Err(Error::RecordLayout { length });
        };
        if announced > MAX_PLAINTEXT + RECORD_TRAILER {
            return Err(Error::RecordLayout { length });
        }
        // One place higher than the wall is left for the key update or alert that ends this key.
        if self.sequence > SEAL_RECORDS_MAX
            || (self.sequence == SEAL_RECORDS_MAX && content_type == content::APPLICATION_DATA)
        {
            return Err(Error::KeyWornOut);
        }
        let Ok(announced) = u16::try_from(announced) else {
            return Err(Error::RecordLayout { length });
        };
        let [high, low] = announced.to_be_bytes();
        *type_byte = content_type;
        *header = [
            content::APPLICATION_DATA,
            LEGACY_VERSION[0],
            LEGACY_VERSION[1],
            high,
            low,
        ];
        //= RFC 8446, section 5.2
        //# additional_data = TLSCiphertext.opaque_type ||
        //#                   TLSCiphertext.legacy_record_version ||
        //#                   TLSCiphertext.length
        let sealed = self
            .key
            .cipher
            .seal_in_place_separate_tag(self.key.nonce(self.sequence), Aad::from(*header), inner)
            .map_err(|ring::error::Unspecified| Error::RecordLayout { length })?;
        tag.copy_from_slice(sealed.as_ref());
        self.sequence += 1;
        Ok(())
    }

    /// Appends one sealed record with a copy of `content` to `out`: for alerts and key updates.
    pub(crate) fn append(
        &mut self,
        content: &[u8],
        content_type: u8,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let start = out.len();
        out.extend_from_slice(&[0; RECORD_HEADER]);
        out.extend_from_slice(content);
        out.extend_from_slice(&[0; RECORD_TRAILER]);
        let sealed = match out.get_mut(start..) {
            Some(record) => self.seal(record, content_type),
            None => Err(Error::RecordLayout { length: 0 }),
        };
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }
}

/// Opens the records of one direction.
#[derive(Debug)]
pub(crate) struct Opener {
    key: TrafficKey,
    sequence: u64,
}

/// What stood at the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// Not yet a whole record: it takes `need` bytes in all, as far as can be told.
    Incomplete { need: usize },
    /// One record of `record` bytes, whose plaintext now stands at `plaintext`.
    Whole {
        record: usize,
        content_type: u8,
        plaintext: Range<usize>,
    },
}

impl Opener {
    pub(crate) fn new(key: TrafficKey, sequence: u64) -> Self {
        Self { key, sequence }
    }

    /// Records opened under the present key.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn suite(&self) -> crate::keys::Suite {
        self.key.suite()
    }

    /// Replaces the key; the sequence starts over.
    pub(crate) fn rekey(&mut self, key: TrafficKey, sequence: u64) {
        *self = Self { key, sequence };
    }

    /// Opens the record at the front of `buf` in place, if it is whole.
    #[inline]
    pub(crate) fn open(&mut self, buf: &mut [u8]) -> Result<Fragment, Error> {
        let Some((header, rest)) = buf.split_first_chunk_mut::<RECORD_HEADER>() else {
            return Ok(Fragment::Incomplete {
                need: RECORD_HEADER,
            });
        };
        // The version is authenticated with the rest of the header, but says nothing:
        //= RFC 8446, section 5.2
        //# legacy_record_version: The legacy_record_version field is always 0x0303.
        let [content_type, _, _, high, low] = *header;
        if content_type != content::APPLICATION_DATA {
            return Err(Error::UnexpectedRecord { content_type });
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        //= RFC 8446, section 5.2
        //# An endpoint that receives a record that exceeds this length MUST terminate the
        //# connection with a "record_overflow" alert.
        if length > MAX_CIPHERTEXT {
            return Err(Error::RecordTooLarge { length });
        }
        if length < MIN_CIPHERTEXT {
            return Err(Error::RecordTooShort { length });
        }
        let Some(sealed) = rest.get_mut(..length) else {
            return Ok(Fragment::Incomplete {
                need: RECORD_HEADER + length,
            });
        };
        let inner = self
            .key
            .cipher
            .open_in_place(self.key.nonce(self.sequence), Aad::from(*header), sealed)
            .map_err(|ring::error::Unspecified| Error::BadRecordMac)?;
        self.sequence += 1;
        if inner.len() > MAX_PLAINTEXT + 1 {
            return Err(Error::PlaintextTooLarge);
        }
        //= RFC 8446, section 5.4
        //# the receiving implementation scans the field from the end toward the beginning
        //# until it finds a non-zero octet.
        let Some(end) = inner.iter().rposition(|&byte| byte != 0) else {
            return Err(Error::UnexpectedRecord { content_type: 0 });
        };
        let content_type = inner.get(end).copied().unwrap_or(0);
        Ok(Fragment::Whole {
            record: RECORD_HEADER + length,
            content_type,
            plaintext: RECORD_HEADER..RECORD_HEADER + end,
        })
    }
}

#[cfg(test)]
mod tests;
