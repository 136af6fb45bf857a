//! What the relay needs of a byte pipe: try without waiting, wait without a buffer.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};

/// A byte pipe that is tried first and waited for only then, so that a quiet pipe holds no buffer.
///
/// Two kinds exist: [`crate::Socket`], and a TLS connection to a backend.
pub trait Wire {
    /// Reads what is there. 0 means the peer has ended its direction.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; anything else ends the pipe.
    fn try_read(&self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Writes what fits.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; anything else ends the pipe.
    fn try_write(&self, from: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Waits until reading is worth a try.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// Waits until writing is worth a try.
    fn writable(&self) -> impl Future<Output = io::Result<()>>;

    /// Ends our direction; what was written before still arrives.
    fn finish(&self) -> impl Future<Output = io::Result<()>>;

    /// Makes the coming close an abrupt one (RST), so that a cut message is not taken for a whole one.
    fn abort(&self);

    /// Writes all of `bytes`, waiting as needed.
    ///
    /// # Errors
    /// When the pipe has ended.
    fn write_all(&self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
        async move {
            let mut at = 0;
            while let Some(rest) = bytes.get(at..)
                && !rest.is_empty()
            {
                match self.try_write(&[IoSlice::new(rest)]) {
                    Ok(n) => at += n,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.writable().await?
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }
    }

    /// Reads at least one byte into `into`, waiting as needed; 0 means the peer has ended.
    ///
    /// # Errors
    /// When the pipe has ended otherwise.
    fn read(&self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        async move {
            loop {
                match self.try_read(&mut [IoSliceMut::new(into)]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.readable().await?
                    }
                    done => return done,
                }
            }
        }
    }
}
