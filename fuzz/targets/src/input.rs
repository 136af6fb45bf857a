//! The bytes of one run: first some that steer, then those that are read.

/// A row of bytes, taken from the front. What is not there reads as zero.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let (byte, rest) = self
            .rest
            .split_first()
            .map_or((0, self.rest), |(byte, rest)| (*byte, rest));
        self.rest = rest;
        byte
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Up to `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// `bytes` in pieces of `length`; all at once for zero.
pub(crate) fn pieces(bytes: &[u8], length: u8) -> impl Iterator<Item = &[u8]> {
    let length = if length == 0 {
        bytes.len()
    } else {
        usize::from(length)
    };
    bytes.chunks(length.max(1))
}

/// Lengths of beginnings of `bytes` to try: all of them when there are few, else some at every place.
pub(crate) fn beginnings(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let step = bytes.len() / 64 + 1;
    (0..bytes.len()).rev().step_by(step)
}

/// A reader of something whole must say the same of what it was shown, however much of it there was: a beginning is
/// either not enough, or judged as the whole is.
pub(crate) fn judged_alike<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) {
    let whole = read(bytes);
    for length in beginnings(bytes) {
        if let Some(early) = read(&bytes[..length]) {
            assert_eq!(
                Some(&early),
                whole.as_ref(),
                "of {} bytes the first {length}",
                bytes.len()
            );
        }
    }
}
