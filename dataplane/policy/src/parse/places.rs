//! Offsets of a text as lines and columns, as a person counts them.
//!
//! What stands there is `parse`'s.
use std::cell::Cell;

use crate::problem::Place;

/// Turns offsets into lines and columns.
pub(super) struct Places<'t> {
    text: &'t str,
    marks: Vec<Mark>,
    /// Where the last question led: the next one is mostly about what stands a little behind it.
    last: Cell<Mark>,
}

/// A point of the text that is known, so that the text is not read from its beginning for each of its values.
#[derive(Clone, Copy)]
struct Mark {
    offset: usize,
    line: u32,
    column: u32,
}

/// Bytes between two marks.
const MARK_DISTANCE_BYTES: usize = 512;

impl Mark {
    const BEGIN: Self = Self {
        offset: 0,
        line: 1,
        column: 1,
    };

    /// The point behind `text`, which begins here.
    fn behind(self, text: &[u8]) -> Self {
        let mut mark = self;
        mark.offset += text.len();
        for byte in text {
            if *byte == b'\n' {
                (mark.line, mark.column) = (mark.line + 1, 1);
            } else {
                // The second and later bytes of a character begin none.
                mark.column += u32::from(*byte & 0xc0 != 0x80);
            }
        }
        mark
    }
}

impl<'t> Places<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut marks = vec![Mark::BEGIN];
        let mut mark = Mark::BEGIN;
        for piece in text.as_bytes().chunks(MARK_DISTANCE_BYTES) {
            mark = mark.behind(piece);
            marks.push(mark);
        }
        Self {
            text,
            marks,
            last: Cell::new(Mark::BEGIN),
        }
    }

    pub(super) fn at(&self, offset: usize) -> Place {
        let last = self.last.get();
        let near = last.offset..last.offset + MARK_DISTANCE_BYTES;
        let from = if near.contains(&offset) {
            last
        } else {
            let before = self.marks.get(offset / MARK_DISTANCE_BYTES);
            before.copied().unwrap_or(Mark::BEGIN)
        };
        let between = self.text.as_bytes().get(from.offset..offset);
        let mark = from.behind(between.unwrap_or_default());
        self.last.set(mark);
        Place::new(mark.line, mark.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_what_counting_from_the_beginning_finds_in_whatever_order_it_is_asked_for() {
        let text = "a\u{e4}\n\n\u{20ac}b\r\n".repeat(200) + &"\u{e4}x".repeat(700) + "\nend";
        let places = Places::new(&text);
        let counted = |offset: usize| {
            let before = &text[..offset];
            let line = u32::try_from(before.matches('\n').count() + 1).unwrap();
            let column = before
                .rsplit('\n')
                .next()
                .map_or(0, |rest| rest.chars().count())
                + 1;
            (line, u32::try_from(column).unwrap())
        };
        let mut offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        offsets.push(text.len());
        let steps = [1, 7, 400];
        for step in steps {
            let forth = offsets.iter().step_by(step);
            let back = offsets.iter().rev().step_by(step);
            for offset in forth.chain(back) {
                let place = places.at(*offset);
                let found = (place.line(), place.column());
                assert_eq!(found, counted(*offset), "{offset}");
            }
        }
    }
}
