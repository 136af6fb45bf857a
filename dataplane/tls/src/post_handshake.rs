//! Messages after the handshake, cut out of records however the peer split or joined them.
//!
//! This module finds and bounds the messages; `records` obeys them.

use crate::error::Error;
use crate::limits::HANDSHAKE_MESSAGE_BYTES_MAX;

/// Handshake types (RFC 8446, section 4).
pub(crate) const NEW_SESSION_TICKET: u8 = 4;
pub(crate) const KEY_UPDATE: u8 = 24;

const MESSAGE_HEADER: usize = 4;

/// The front of a message whose rest has not arrived.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    pending: Vec<u8>,
}

impl Reassembly {
    /// True while part of a message has arrived.
    #[inline]
    pub(crate) fn is_within_message(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes the content of one handshake record and gives each message that is now whole to
    /// `obey`: its type, its body, and whether it is the last thing in this record.
    pub(crate) fn receive(
        &mut self,
        fragment: &[u8],
        mut obey: impl FnMut(u8, &[u8], bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        //= RFC 8446, section 5.1
        //# Implementations MUST NOT send zero-length fragments of Handshake types
        if fragment.is_empty() {
            return Err(Error::EmptyFragment);
        }
        let mut bytes = std::mem::take(&mut self.pending);
        bytes.extend_from_slice(fragment);
        let mut rest = bytes.as_slice();
        while let Some((header, after)) = rest.split_first_chunk::<MESSAGE_HEADER>() {
            let [message_type, a, b, c] = *header;
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
            if length > HANDSHAKE_MESSAGE_BYTES_MAX {
                return Err(Error::MessageTooLarge { length });
            }
            if !matches!(message_type, NEW_SESSION_TICKET | KEY_UPDATE) {
                return Err(Error::UnexpectedMessage { message_type });
            }
            let Some((body, next)) = after.split_at_checked(length) else {
                break;
            };
            obey(message_type, body, next.is_empty())?;
            rest = next;
        }
        if !rest.is_empty() {
            let start = bytes.len() - rest.len();
            bytes.drain(..start);
            self.pending = bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(records: &[&[u8]]) -> Result<Vec<(u8, Vec<u8>, bool)>, Error> {
        let mut reassembly = Reassembly::default();
        let mut seen = Vec::new();
        for record in records {
            reassembly.receive(record, |kind, body, last| {
                seen.push((kind, body.to_vec(), last));
                Ok(())
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn two_messages_in_one_record_come_in_order_and_only_the_second_is_last() {
        let record = [4, 0, 0, 2, 7, 8, 24, 0, 0, 1, 0];
        assert_eq!(
            messages(&[&record]).unwrap(),
            vec![(4, vec![7, 8], false), (24, vec![0], true)]
        );
    }

    #[test]
    fn a_message_split_at_every_place_arrives_whole() {
        let record = [4, 0, 0, 3, 7, 8, 9];
        for at in 1..record.len() {
            let (front, back) = record.split_at(at);
            assert_eq!(
                messages(&[front, back]).unwrap(),
                vec![(4, vec![7, 8, 9], true)],
                "split at {at}"
            );
        }
    }

    #[test]
    fn an_empty_fragment_is_refused() {
        assert_eq!(messages(&[&[]]), Err(Error::EmptyFragment));
    }

    #[test]
    fn the_largest_message_passes() {
        let mut record = vec![4, 0, 0x40, 0];
        record.resize(4 + HANDSHAKE_MESSAGE_BYTES_MAX, 1);
        let seen = messages(&[&record[..16000], &record[16000..]]).unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].1.len(), HANDSHAKE_MESSAGE_BYTES_MAX);
    }

    #[test]
    fn one_byte_more_is_refused_by_its_header_alone() {
        assert_eq!(
            messages(&[&[4, 0, 0x40, 1]]),
            Err(Error::MessageTooLarge { length: 16385 })
        );
    }

    #[test]
    fn a_message_of_another_type_is_refused_by_its_header_alone() {
        // certificate_request: we never offered authentication after the handshake.
        assert_eq!(
            messages(&[&[13, 0, 0, 9]]),
            Err(Error::UnexpectedMessage { message_type: 13 })
        );
    }
}
