//! One record's worth of memory, laid out so that payload never moves.
//!
//! `[5 TLS header][12 mux header][payload][1 content type][16 tag]`: payload is read from a socket
//! straight to its place, then the mux header is written in front of it and the record is sealed
//! where it lies. Where the memory comes from is the caller's business.

use std::fmt;

use adit_mux::Payload;
use adit_tls::{MAX_PLAINTEXT, RECORD_HEADER, RECORD_TRAILER};

/// Where payload begins in a slot: behind the TLS and the mux header.
pub const PAYLOAD_OFFSET: usize = RECORD_HEADER + MUX_HEADER;
/// What a slot needs behind its payload: content type and tag.
pub const SLOT_TRAILER: usize = RECORD_TRAILER;
/// Bytes of a slot that are not payload.
pub const SLOT_OVERHEAD: usize = PAYLOAD_OFFSET + SLOT_TRAILER;
/// Payload of a full slot: 16372 bytes, so that with its mux header it fills one record.
pub const PAYLOAD_MAX: usize = MAX_PLAINTEXT - MUX_HEADER;

pub(crate) const MUX_HEADER: usize = 12;

/// Memory `B` with `len` bytes of payload in it.
pub struct Slot<B> {
    memory: B,
    len: usize,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Slot<B> {
    /// A slot without payload.
    pub fn new(memory: B) -> Self {
        Self { memory, len: 0 }
    }

    /// How much payload fits.
    pub fn capacity(&self) -> usize {
        self.memory
            .as_ref()
            .len()
            .saturating_sub(SLOT_OVERHEAD)
            .min(PAYLOAD_MAX)
    }

    /// The whole payload field, to read into.
    pub fn space(&mut self) -> &mut [u8] {
        let end = PAYLOAD_OFFSET + self.capacity();
        self.memory
            .as_mut()
            .get_mut(PAYLOAD_OFFSET..end)
            .unwrap_or_default()
    }

    /// Says how many bytes of the payload field count; more than fit count as full.
    pub fn fill(&mut self, len: usize) {
        self.len = len.min(self.capacity());
    }

    /// Copies as much of `bytes` as still fits behind what is there; returns how much.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let at = self.len;
        let space = self.space();
        let taken = bytes.len().min(space.len().saturating_sub(at));
        if let (Some(to), Some(from)) = (space.get_mut(at..at + taken), bytes.get(..taken)) {
            to.copy_from_slice(from);
        }
        self.len = at + taken;
        taken
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.memory
            .as_ref()
            .get(PAYLOAD_OFFSET..PAYLOAD_OFFSET + self.len)
            .unwrap_or_default()
    }

    /// The memory and the length of its payload.
    pub(crate) fn into_parts(self) -> (B, usize) {
        (self.memory, self.len)
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Payload for Slot<B> {
    fn len(&self) -> usize {
        self.len
    }

    fn absorb(&mut self, next: &Self) -> bool {
        let fits = self.len + next.len <= self.capacity();
        fits && self.append(next.payload()) == next.len
    }
}

// Payload is not for logs.
impl<B> fmt::Debug for Slot<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_slot_is_exactly_one_full_record() {
        // RFC 8446, section 5.1: 2^14 bytes of plaintext; 5 of header, 1 of type, 16 of tag.
        let slot = Slot::new(vec![0; 5 + 16384 + 1 + 16]);
        assert_eq!(slot.capacity(), 16372);
        assert_eq!(SLOT_OVERHEAD + PAYLOAD_MAX, 16406);
    }

    #[test]
    fn memory_of_more_than_a_record_holds_no_more_than_one() {
        assert_eq!(Slot::new(vec![0; 40_000]).capacity(), PAYLOAD_MAX);
    }

    #[test]
    fn a_slot_absorbs_what_fits_to_the_last_byte_and_not_a_byte_more() {
        let slot = |bytes: &[u8]| {
            let mut slot = Slot::new(vec![0; SLOT_OVERHEAD + 4]);
            slot.append(bytes);
            slot
        };
        let mut one = slot(b"ab");
        assert!(one.absorb(&slot(b"cd")));
        assert_eq!(one.payload(), b"abcd");
        assert!(!one.absorb(&slot(b"e")));
        assert_eq!(one.payload(), b"abcd", "nothing of it was taken");
    }

    #[test]
    fn append_stops_where_the_slot_ends() {
        let mut slot = Slot::new(vec![0; SLOT_OVERHEAD + 4]);
        assert_eq!(slot.append(b"abc"), 3);
        assert_eq!(slot.append(b"de"), 1);
        assert_eq!(slot.payload(), b"abcd");
    }
}
