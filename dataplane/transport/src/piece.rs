//! Bytes that have arrived on a stream, where they lie.
//!
//! A piece is a range of the block into which the tunnel was read and opened; it keeps that block
//! from being used again. One that has to wait is copied out, so that a stalled stream cannot pin
//! the blocks of its neighbours.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use adit_runtime::buffer::{Buffer, Class, lent};

/// A range of a shared block, or of a copy of its own.
#[derive(Clone)]
pub struct Piece {
    block: Rc<Buffer>,
    start: usize,
    end: usize,
    copied: bool,
}

impl Piece {
    pub(crate) fn new(block: &Rc<Buffer>, start: usize, end: usize) -> Self {
        Self {
            block: Rc::clone(block),
            start,
            end: end.max(start),
            copied: false,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.block.get(self.start..self.end).unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether none are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops the first `bytes`.
    pub fn advance(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }
}

// Payload is not for logs.
impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({} bytes)", self.len())
    }
}

/// Appends a piece. Most rows hold one and no more.
pub(crate) fn push(pieces: &mut VecDeque<Piece>, piece: Piece) {
    if pieces.capacity() == 0 {
        pieces.reserve_exact(ROW_KEPT);
    }
    pieces.push_back(piece);
}

/// Gives back what an empty row need not keep: its stream may stay quiet for hours.
pub(crate) fn rest(pieces: &mut VecDeque<Piece>) {
    if pieces.is_empty() && pieces.capacity() > ROW_KEPT {
        *pieces = VecDeque::new();
    }
}

/// Pieces for which an empty row keeps its memory.
const ROW_KEPT: usize = 1;

/// Drops the first `bytes` of a row of pieces.
pub fn advance(pieces: &mut VecDeque<Piece>, bytes: usize) {
    let mut left = bytes;
    while let Some(front) = pieces.front_mut() {
        if left < front.len() {
            front.advance(left);
            return;
        }
        left -= front.len();
        pieces.pop_front();
    }
}

/// How many bytes a row of pieces holds.
#[must_use]
pub fn total(pieces: &VecDeque<Piece>) -> usize {
    pieces.iter().map(Piece::len).sum()
}

/// Blocks that waiting payload may keep from being used again, on one shard: 8 MiB. Beyond it payload
/// that has to wait is copied.
pub const PINNED_BLOCKS_MAX: usize = 32;

/// Payload smaller than this is not worth a block of 256 KiB while it waits.
const PINNING_BYTES_MIN: usize = 2 * 1024;

/// Whether `bytes` of payload that have to wait may do so in their block, of which the shard has lent so many.
pub(crate) const fn may_pin(bytes: usize, blocks_lent: usize) -> bool {
    bytes >= PINNING_BYTES_MIN && blocks_lent <= PINNED_BLOCKS_MAX
}

/// Copies out what may not wait where it lies: too little, or beyond what the shard may hold.
pub fn let_wait(pieces: &mut VecDeque<Piece>) {
    if !may_pin(total(pieces), lent(Class::Block)) {
        copy_out(pieces);
    }
}

/// Payload bytes that this thread has copied because whoever shall take them was busy elsewhere or too
/// slow. All other payload stays where it was opened.
#[must_use]
pub fn copied_bytes() -> u64 {
    COPIED.with(Cell::get)
}

thread_local! {
    static COPIED: Cell<u64> = const { Cell::new(0) };
}

/// Copies `bytes` behind the last piece, into its own memory or new.
pub(crate) fn append_copy(pieces: &mut VecDeque<Piece>, mut bytes: &[u8]) {
    COPIED.with(|copied| {
        copied.set(copied.get() + u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    });
    while !bytes.is_empty() {
        let grown = pieces
            .back_mut()
            .filter(|last| last.copied)
            .and_then(|last| {
                let end = last.end;
                let room = Rc::get_mut(&mut last.block)?.get_mut(end..)?;
                let taken = room.len().min(bytes.len());
                room.get_mut(..taken)?.copy_from_slice(bytes.get(..taken)?);
                last.end += taken;
                Some(taken)
            })
            .unwrap_or(0);
        bytes = bytes.get(grown..).unwrap_or_default();
        if grown == 0 {
            let class = if bytes.len() <= Class::Small.bytes() {
                Class::Small
            } else {
                Class::Record
            };
            pieces.push_back(Piece {
                block: Rc::new(Buffer::take(class)),
                start: 0,
                end: 0,
                copied: true,
            });
        }
    }
}

/// Copies out whatever pins a shared block.
pub fn copy_out(pieces: &mut VecDeque<Piece>) {
    if pieces.iter().all(|piece| piece.copied) {
        return;
    }
    let pinned = std::mem::take(pieces);
    for piece in pinned {
        if piece.copied {
            pieces.push_back(piece);
        } else {
            append_copy(pieces, piece.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: &[u8]) -> Rc<Buffer> {
        let mut buffer = Buffer::take(Class::Small);
        buffer[..bytes.len()].copy_from_slice(bytes);
        Rc::new(buffer)
    }

    fn joined(pieces: &VecDeque<Piece>) -> Vec<u8> {
        pieces.iter().flat_map(|p| p.bytes().to_vec()).collect()
    }

    #[test]
    fn copying_out_keeps_the_bytes_and_frees_the_block() {
        let shared = block(b"hello world");
        let mut pieces = VecDeque::from([Piece::new(&shared, 0, 5), Piece::new(&shared, 5, 11)]);
        pieces.front_mut().unwrap().advance(1);
        copy_out(&mut pieces);
        assert_eq!(joined(&pieces), b"ello world");
        assert_eq!(Rc::strong_count(&shared), 1);
        assert_eq!(pieces.len(), 1, "small pieces share one copy");
    }

    #[test]
    fn a_long_copy_is_spread_over_records() {
        let bytes: Vec<u8> = (0..50_000_u32)
            .map(|n| u8::try_from(n % 256).unwrap())
            .collect();
        let mut pieces = VecDeque::new();
        append_copy(&mut pieces, &bytes);
        assert_eq!(joined(&pieces), bytes);
        assert_eq!(total(&pieces), 50_000);
    }

    #[test]
    fn what_waits_pins_a_block_up_to_both_borders() {
        assert!(may_pin(PINNING_BYTES_MIN, PINNED_BLOCKS_MAX));
        assert!(!may_pin(PINNING_BYTES_MIN - 1, PINNED_BLOCKS_MAX));
        assert!(!may_pin(PINNING_BYTES_MIN, PINNED_BLOCKS_MAX + 1));
    }

    #[test]
    fn what_waits_beyond_the_last_block_is_copied_out_at_once() {
        let lent_now = |count: usize| -> Vec<Rc<Buffer>> {
            (0..count)
                .map(|_| Rc::new(Buffer::take(Class::Block)))
                .collect()
        };
        for (blocks, is_copied) in [(PINNED_BLOCKS_MAX, false), (PINNED_BLOCKS_MAX + 1, true)] {
            let blocks = lent_now(blocks);
            let mut pieces = VecDeque::from([Piece::new(&blocks[0], 0, PINNING_BYTES_MIN)]);
            let_wait(&mut pieces);
            assert_eq!(Rc::strong_count(&blocks[0]) == 1, is_copied);
        }
        let blocks = lent_now(1);
        let mut pieces = VecDeque::from([Piece::new(&blocks[0], 0, PINNING_BYTES_MIN - 1)]);
        let_wait(&mut pieces);
        assert_eq!(Rc::strong_count(&blocks[0]), 1, "a little pins nothing");
    }

    #[test]
    fn an_empty_row_keeps_the_memory_of_one_piece_and_of_no_more() {
        let shared = block(b"abc");
        let mut row = VecDeque::new();
        push(&mut row, Piece::new(&shared, 0, 1));
        row.clear();
        rest(&mut row);
        assert_eq!(row.capacity(), ROW_KEPT);
        push(&mut row, Piece::new(&shared, 0, 1));
        push(&mut row, Piece::new(&shared, 1, 2));
        rest(&mut row);
        assert_eq!(joined(&row), b"ab", "what is held stays");
        row.clear();
        rest(&mut row);
        assert_eq!(row.capacity(), 0);
    }

    #[test]
    fn advancing_crosses_pieces() {
        let shared = block(b"abcdef");
        let mut pieces = VecDeque::from([Piece::new(&shared, 0, 3), Piece::new(&shared, 3, 6)]);
        advance(&mut pieces, 4);
        assert_eq!(joined(&pieces), b"ef");
        advance(&mut pieces, 2);
        assert!(pieces.is_empty());
    }
}
