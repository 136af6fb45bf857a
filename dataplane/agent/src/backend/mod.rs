//! Connections to backends: dialled by permit, kept while quiet, never used again when in doubt.
//!
//! Nothing here decides: [`dial`] takes a permit and connects to what it names, [`pool`] keeps what
//! came back clean. What is said on a connection is `serve`'s.

pub(crate) mod dial;
pub(crate) mod pool;
pub(crate) mod tls;
pub(crate) mod trust;

use std::io::{self, IoSlice, IoSliceMut};

use adit_transport::{Socket, Wire};

use pool::Keepable;
use tls::TlsWire;

/// A connection to a backend.
#[derive(Debug)]
pub(crate) enum Backend {
    Plain(Socket),
    Tls(Box<TlsWire>),
}

impl Wire for Backend {
    fn try_read(&self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_read(into),
            Self::Tls(tls) => tls.try_read(into),
        }
    }

    fn try_write(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write(from),
            Self::Tls(tls) => tls.try_write(from),
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.readable().await,
            Self::Tls(tls) => tls.readable().await,
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.writable().await,
            Self::Tls(tls) => tls.writable().await,
        }
    }

    async fn finish(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.finish().await,
            Self::Tls(tls) => tls.finish().await,
        }
    }

    fn abort(&self) {
        match self {
            Self::Plain(socket) => socket.abort(),
            Self::Tls(tls) => tls.abort(),
        }
    }
}

impl Keepable for Backend {
    // Bytes that nobody asked for are as bad as an end: whose answer would they be?
    fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(socket) => {
                matches!(socket.peek(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(tls) => tls.is_quiet(),
        }
    }
}
