//! Bytes that look random, are the same at every run, and their SHA-256.

use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256};

/// An endless row of bytes.
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Noise {
    /// The row with this number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Fills `into` with the next bytes.
    pub fn fill(&mut self, into: &mut [u8]) {
        for eight in into.chunks_mut(8) {
            // xorshift64 (Marsaglia, 2003).
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let bytes = self.0.to_le_bytes();
            eight.copy_from_slice(&bytes[..eight.len()]);
        }
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(u64::from_le_bytes(bytes) % end).unwrap_or(0)
    }

    /// The first `len` bytes of the row.
    #[must_use]
    pub fn bytes(mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// Writes `len` bytes to `to`; gives back their digest.
    ///
    /// # Errors
    /// When `to` takes no more.
    pub fn write(mut self, len: u64, to: &mut impl Write) -> io::Result<Digest> {
        let mut sum = Sum::default();
        let mut left = len;
        let mut chunk = vec![0; CHUNK];
        while left > 0 {
            let n = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            self.fill(&mut chunk[..n]);
            to.write_all(&chunk[..n])?;
            sum.add(&chunk[..n]);
            left -= u64::try_from(n).unwrap_or(left);
        }
        Ok(sum.digest())
    }
}

/// A digest and of how many bytes it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Bytes.
    pub len: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// Gathers a digest.
#[derive(Clone)]
pub struct Sum {
    context: Context,
    len: u64,
}

impl std::fmt::Debug for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sum")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            context: Context::new(&SHA256),
            len: 0,
        }
    }
}

impl Sum {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.len += u64::try_from(bytes.len()).unwrap_or(0);
    }

    /// What came of all of them.
    #[must_use]
    pub fn digest(self) -> Digest {
        let sha256 = self
            .context
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Digest {
            len: self.len,
            sha256,
        }
    }
}

/// Reads `from` to its end.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of(mut from: impl Read) -> io::Result<Digest> {
    let mut sum = Sum::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(sum.digest()),
            n => sum.add(&chunk[..n]),
        }
    }
}

/// Whether the long forms of the long tests are asked for, with `ADIT_TEST_LARGE=1`.
#[must_use]
pub fn is_large() -> bool {
    std::env::var_os("ADIT_TEST_LARGE").is_some()
}

/// How large the large transfers are: 256 MiB, or 1 GiB with `ADIT_TEST_LARGE=1`.
#[must_use]
pub fn large_bytes() -> u64 {
    if is_large() { 1 << 30 } else { 256 << 20 }
}

const CHUNK: usize = 256 * 1024;
