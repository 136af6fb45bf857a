//! The bytes that are sent in bulk: pages of memory the kernel sends without a copy.
//!
//! Neither client nor backend looks at bulk bytes: one sends pages, the other lets the kernel count
//! and drop them (`MSG_TRUNC`, tcp(7)). So they cost next to nothing beside what is measured.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::TcpStream;

use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::net::{RecvFlags, recv};

/// A file in memory.
#[derive(Debug)]
pub(crate) struct Content(File);

impl Content {
    pub(crate) fn new() -> io::Result<Self> {
        let mut file = File::from(memfd_create("adit-loadtest", MemfdFlags::CLOEXEC)?);
        // Not zeros and not soon repeated: nobody between may find them easy to compress.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(CONTENT_BYTES);
        while bytes.len() < CONTENT_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        file.write_all(&bytes)?;
        Ok(Self(file))
    }

    /// Sends up to `most` bytes; 0 when the socket takes none now.
    pub(crate) fn send(&self, socket: &TcpStream, most: u64) -> io::Result<u64> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(SEND_BYTES);
        match sendfile(socket, &self.0, Some(&mut 0), most) {
            Ok(sent) => Ok(u64::try_from(sent).unwrap_or(0)),
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// How an attempt to receive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes(u64),
    NothingNow,
    End,
}

/// Receives up to `most` bytes and drops them in the kernel.
pub(crate) fn drop_received(
    socket: &TcpStream,
    most: u64,
    scratch: &mut [u8],
) -> io::Result<Received> {
    let most = usize::try_from(most)
        .unwrap_or(usize::MAX)
        .min(scratch.len());
    let scratch = scratch.get_mut(..most).unwrap_or_default();
    told(recv(socket, scratch, RecvFlags::TRUNC | RecvFlags::DONTWAIT).map(|(_, length)| length))
}

/// Receives into `buffer`.
pub(crate) fn receive(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<Received> {
    told(recv(socket, buffer, RecvFlags::DONTWAIT).map(|(_, length)| length))
}

fn told(result: rustix::io::Result<usize>) -> io::Result<Received> {
    match result {
        Ok(0) => Ok(Received::End),
        Ok(length) => Ok(Received::Bytes(u64::try_from(length).unwrap_or(0))),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Received::NothingNow),
        Err(error) => Err(error.into()),
    }
}

/// Size of the content; it is sent over and over.
const CONTENT_BYTES: usize = 1024 * 1024;
/// Sent at once at most.
const SEND_BYTES: usize = 256 * 1024;
/// A good size for the scratch memory of [`drop_received`].
pub(crate) const SCRATCH_BYTES: usize = 1024 * 1024;
