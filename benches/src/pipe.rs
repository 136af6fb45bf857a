//! The pipe between two ends in memory: copies bytes in and copies them out, as a socket does.
//!
//! Ours and the baseline use the same one, so what it costs is in both.

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    bytes: Vec<u8>,
    at: usize,
}

impl Pipe {
    /// Copies `bytes` in; there is always room.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Copies out as much as is there and fits; says how much.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        self.at += length;
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
        }
        length
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
