//! TLS to a backend, as a byte pipe: rustls over a socket of this shard.
//!
//! Ciphertext that the socket did not take at once is written by a task of its own, so that nothing
//! waits for a caller who has no more to say. An end without close_notify is an error: a cut answer is
//! never taken for a whole one. Whom to trust is said by `trust`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use adit_runtime::local::{Notify, Once, either};
use adit_transport::{Socket, Wire};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

/// A TLS connection.
pub(crate) struct TlsWire {
    inner: Rc<Inner>,
}

struct Inner {
    socket: Socket,
    tls: RefCell<ClientConnection>,
    // A task writes what the socket did not take; until it is done nothing more is sealed.
    flushing: Cell<bool>,
    flushed: Notify,
    dropped: Once,
    // Opened bytes may be waiting that no read has taken.
    waiting: Cell<bool>,
    finished: Cell<bool>,
    aborted: Cell<bool>,
    // The peer broke TLS; nothing it sends counts any more.
    failed: Cell<bool>,
}

impl TlsWire {
    /// Shakes hands on a connected socket. Not limited in time here.
    ///
    /// # Errors
    /// What rustls, the peer's alert or the path says.
    pub(crate) async fn connect(
        socket: Socket,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let tls = ClientConnection::new(Arc::clone(config), name).map_err(invalid)?;
        let wire = Self {
            inner: Rc::new(Inner {
                socket,
                tls: RefCell::new(tls),
                flushing: Cell::new(false),
                flushed: Notify::new(),
                dropped: Once::new(),
                // The backend may have spoken right behind its handshake.
                waiting: Cell::new(true),
                finished: Cell::new(false),
                aborted: Cell::new(false),
                failed: Cell::new(false),
            }),
        };
        wire.inner.shake().await?;
        Ok(wire)
    }

    /// Whether the connection is alive and nothing waits on it. Takes in what belongs to TLS alone, such
    /// as session tickets.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut one = [0_u8; 1];
        !self.inner.flushing.get()
            && matches!(
                self.try_read(&mut [IoSliceMut::new(&mut one)]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            )
    }
}

impl Wire for TlsWire {
    fn try_read(&self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let inner = &self.inner;
        let mut filling = Filling::new(into);
        loop {
            match inner.take_opened(&mut filling) {
                // The room is full; there may be more.
                Ok(Opened::More) => {
                    inner.waiting.set(true);
                    return Ok(filling.bytes);
                }
                Ok(Opened::Nothing) => inner.waiting.set(false),
                Ok(Opened::End) if filling.bytes > 0 => {
                    inner.waiting.set(true);
                    return Ok(filling.bytes);
                }
                Ok(Opened::End) => return Ok(0),
                Err(_) if filling.bytes > 0 => {
                    // Told by the next read, which finds the same.
                    inner.waiting.set(true);
                    return Ok(filling.bytes);
                }
                Err(error) => return Err(error),
            }
            match inner.read_records() {
                Ok(()) => {}
                Err(_) if filling.bytes > 0 => return Ok(filling.bytes),
                Err(error) => return Err(error),
            }
        }
    }

    fn try_write(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let inner = &self.inner;
        if inner.flushing.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        {
            let mut tls = inner.tls.borrow_mut();
            let mut writer = tls.writer();
            for piece in from {
                let n = writer.write(piece)?;
                taken += n;
                if n < piece.len() {
                    break;
                }
            }
        }
        inner.flush_or_leave()?;
        if taken == 0 && from.iter().any(|piece| !piece.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    async fn readable(&self) -> io::Result<()> {
        if self.inner.waiting.get() {
            return Ok(());
        }
        self.inner.socket.readable().await
    }

    async fn writable(&self) -> io::Result<()> {
        while self.inner.flushing.get() {
            self.inner.flushed.notified().await;
        }
        Ok(())
    }

    async fn finish(&self) -> io::Result<()> {
        if !self.inner.finished.replace(true) {
            self.inner.tls.borrow_mut().send_close_notify();
        }
        loop {
            self.writable().await?;
            if self.inner.flush()? {
                break;
            }
            self.inner.leave_flushing();
        }
        self.inner.socket.finish().await
    }

    fn abort(&self) {
        self.inner.aborted.set(true);
        self.inner.socket.abort();
    }
}

impl Drop for TlsWire {
    fn drop(&mut self) {
        let inner = &self.inner;
        if !inner.finished.get() && !inner.aborted.get() && !inner.flushing.get() {
            inner.tls.borrow_mut().send_close_notify();
            // Best effort: the backend sees an end without it as well.
            let _ = inner.flush();
        }
        inner.dropped.happen();
    }
}

impl fmt::Debug for TlsWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsWire")
            .field("socket", &self.inner.socket)
            .finish_non_exhaustive()
    }
}

enum Opened {
    /// The room is full.
    More,
    /// All was taken.
    Nothing,
    /// The peer has ended in good order, and all was taken.
    End,
}

impl Inner {
    async fn shake(self: &Rc<Self>) -> io::Result<()> {
        loop {
            while !self.flush()? {
                self.socket.writable().await?;
            }
            if !self.tls.borrow().is_handshaking() {
                return Ok(());
            }
            match self.read_records() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.readable().await?
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn take_opened(&self, filling: &mut Filling<'_, '_>) -> io::Result<Opened> {
        let mut tls = self.tls.borrow_mut();
        let mut reader = tls.reader();
        loop {
            let Some(room) = filling.room() else {
                return Ok(Opened::More);
            };
            match reader.read(room) {
                Ok(0) => return Ok(Opened::End),
                Ok(n) => filling.filled(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Opened::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    // Reads what the socket has and opens it.
    fn read_records(self: &Rc<Self>) -> io::Result<()> {
        if self.failed.get() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the peer broke TLS",
            ));
        }
        let mut tls = self.tls.borrow_mut();
        let read = tls.read_tls(&mut Ciphertext(&self.socket))?;
        if let Err(error) = tls.process_new_packets() {
            self.failed.set(true);
            // The alert that tells the peer what it did; it may be gone already.
            while tls.wants_write()
                && tls
                    .write_tls(&mut Ciphertext(&self.socket))
                    .is_ok_and(|n| n > 0)
            {}
            return Err(invalid(error));
        }
        if read == 0 && tls.is_handshaking() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed during the TLS handshake",
            ));
        }
        drop(tls);
        // Answers of TLS itself: key updates, alerts. In a handshake `shake` sends them.
        if !self.tls.borrow().is_handshaking() {
            self.flush_or_leave()?;
        }
        Ok(())
    }

    // Writes what is sealed; false when the socket took not all of it.
    fn flush(&self) -> io::Result<bool> {
        let mut tls = self.tls.borrow_mut();
        while tls.wants_write() {
            match tls.write_tls(&mut Ciphertext(&self.socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    // Writes what is sealed, or leaves that to a task.
    fn flush_or_leave(self: &Rc<Self>) -> io::Result<()> {
        if !self.flushing.get() && !self.flush()? {
            self.leave_flushing();
        }
        Ok(())
    }

    fn leave_flushing(self: &Rc<Self>) {
        if self.flushing.replace(true) {
            return;
        }
        let inner = Rc::clone(self);
        monoio::spawn(async move {
            let writing = async {
                // A path that broke is told by the next read or write.
                while inner.socket.writable().await.is_ok() && matches!(inner.flush(), Ok(false)) {}
            };
            either(inner.dropped.wait(), writing).await;
            inner.flushing.set(false);
            inner.flushed.notify();
        });
    }
}

// Room in the reader's slices, filled from the front.
struct Filling<'r, 's> {
    into: &'r mut [IoSliceMut<'s>],
    slice: usize,
    at: usize,
    bytes: usize,
}

impl<'r, 's> Filling<'r, 's> {
    fn new(into: &'r mut [IoSliceMut<'s>]) -> Self {
        Self {
            into,
            slice: 0,
            at: 0,
            bytes: 0,
        }
    }

    fn room(&mut self) -> Option<&mut [u8]> {
        while self
            .into
            .get(self.slice)
            .is_some_and(|slice| slice.len() <= self.at)
        {
            self.slice += 1;
            self.at = 0;
        }
        self.into.get_mut(self.slice)?.get_mut(self.at..)
    }

    fn filled(&mut self, bytes: usize) {
        self.at += bytes;
        self.bytes += bytes;
    }
}

// The socket as rustls wants it.
struct Ciphertext<'s>(&'s Socket);

impl Read for Ciphertext<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(&mut [IoSliceMut::new(into)])
    }
}

impl Write for Ciphertext<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.try_write(&[IoSlice::new(from)])
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        // More pieces than the kernel takes in one call are an error there.
        self.0.try_write(from.get(..PIECES_MAX).unwrap_or(from))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Pieces of one gather write.
const PIECES_MAX: usize = 64;

#[cfg(test)]
mod tests;
