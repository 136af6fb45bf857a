//! Looks at eight bytes of a text at a time, as one number.
//!
//! Each recorded request has nine texts of a few dozen bytes, too short for what compilers make of a loop over bytes.

/// Eight bytes, of which each may be marked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Eight(u64);

/// Which of eight bytes are marked: the high bit of each tells. A byte above a marked one may be marked as well, so only
/// whether there is one is exact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marked(u64);

impl core::ops::BitOr for Marked {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Eight {
    /// Bytes below `limit`, which is at most 128.
    pub(crate) fn below(self, limit: u8) -> Marked {
        Marked(self.0.wrapping_sub(each(limit)) & !self.0)
    }

    /// Bytes above `limit`, which is below 128.
    pub(crate) fn above(self, limit: u8) -> Marked {
        Marked(((self.0 & !HIGH) + each(127 - limit)) | self.0)
    }

    /// Bytes that are `byte`.
    pub(crate) fn are(self, byte: u8) -> Marked {
        Self(self.0 ^ each(byte)).below(1)
    }
}

/// Whether `mark` marks no byte of `bytes`.
pub(crate) fn none(bytes: &[u8], mark: impl Fn(Eight) -> Marked) -> bool {
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut marked = Marked(0);
    for eight in eights {
        marked = marked | mark(Eight(u64::from_le_bytes(*eight)));
    }
    if let Some(last) = bytes.last_chunk::<8>() {
        // Some bytes twice is less work than the rest by itself.
        marked = marked | mark(Eight(u64::from_le_bytes(*last)));
    } else {
        for byte in rest {
            marked = marked | mark(Eight(each(*byte)));
        }
    }
    marked.0 & HIGH == 0
}

const HIGH: u64 = each(0x80);

/// The same byte eight times.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_of_texts_of_every_length_is_seen() {
        for length in 0..40 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    let marked = |mark: fn(Eight) -> Marked| !none(&text, mark);
                    assert_eq!(marked(|eight| eight.below(b' ')), byte < b' ');
                    assert!(!marked(|eight| eight.below(0)));
                    assert_eq!(marked(|eight| eight.above(b'~')), byte > b'~');
                    assert_eq!(marked(|eight| eight.are(b'\\')), byte == b'\\');
                    let either = marked(|eight| eight.are(b'"') | eight.below(1));
                    assert_eq!(either, byte == b'"' || byte == 0);
                }
            }
        }
    }
}
