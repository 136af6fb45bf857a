//! Sealed records on their way to the socket, in the order in which they were sealed.

use std::collections::VecDeque;
use std::fmt;

/// Records that wait for one gather write. TLS numbers them, so they leave in this order or never.
pub struct Batch<B> {
    records: VecDeque<Sealed<B>>,
    bytes: usize,
}

struct Sealed<B> {
    memory: B,
    start: usize,
    end: usize,
}

impl<B: AsRef<[u8]>> Batch<B> {
    /// Nothing to send.
    #[must_use]
    pub fn new() -> Self {
        Self {
            records: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The waiting bytes, piece by piece, oldest first.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.records
            .iter()
            .filter_map(|r| r.memory.as_ref().get(r.start..r.end))
    }

    /// The socket took the first `sent` bytes.
    pub fn advance(&mut self, sent: usize) {
        let mut left = sent.min(self.bytes);
        self.bytes -= left;
        while left > 0 {
            let Some(front) = self.records.front_mut() else {
                return;
            };
            let length = front.end - front.start;
            if left < length {
                front.start += left;
                return;
            }
            left -= length;
            self.records.pop_front();
        }
    }

    pub(crate) fn push(&mut self, memory: B, end: usize) {
        self.bytes += end;
        self.records.push_back(Sealed {
            memory,
            start: 0,
            end,
        });
    }
}

impl<B: AsRef<[u8]>> Default for Batch<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> fmt::Debug for Batch<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Batch({} records, {} bytes)",
            self.records.len(),
            self.bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_write_leaves_exactly_the_rest() {
        let whole: Vec<u8> = (0..30).collect();
        for cut in 0..=30 {
            let mut batch = Batch::new();
            for piece in whole.chunks(10) {
                batch.push(piece.to_vec(), 10);
            }
            batch.advance(cut);
            assert_eq!(batch.pieces().collect::<Vec<_>>().concat(), whole[cut..]);
            assert_eq!(batch.bytes(), 30 - cut);
        }
    }
}
