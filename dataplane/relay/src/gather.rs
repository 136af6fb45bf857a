//! The front of a message, gathered until it can be parsed: heads and connect requests.
//!
//! Only heads are gathered; what follows them is carried where it lies. What the bytes mean, and how
//! many are too many, is said by the parser that is passed in.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;

use adit_transport::{Piece, Received, Stream, StreamError, Wire};

/// Moves bytes from `stream` to the end of `front` until `parse` is satisfied. What was gathered
/// beyond the message stays in `front`; what was not gathered stays in `pieces`.
///
/// # Errors
/// [`Gathered::Cut`] when the stream ends before, [`Gathered::Broken`] when it breaks,
/// [`Gathered::Refused`] when the parser refuses.
pub async fn from_stream<T, E>(
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    front: &mut Vec<u8>,
    mut parse: impl FnMut(&[u8]) -> Result<Option<T>, E>,
) -> Result<T, Gathered<E>> {
    loop {
        if !front.is_empty()
            && let Some(parsed) = parse(front).map_err(Gathered::Refused)?
        {
            return Ok(parsed);
        }
        if pieces.is_empty() && stream.receive(pieces).await? == Received::Finished {
            return Err(Gathered::Cut);
        }
        if let Some(piece) = pieces.pop_front() {
            front.extend_from_slice(piece.bytes());
            stream.consumed(piece.len());
        }
    }
}

/// Reads from `wire` to the end of `front` until `parse` is satisfied. Waits without a buffer.
///
/// # Errors
/// As [`from_stream`].
pub async fn from_wire<W: Wire, T, E>(
    wire: &W,
    front: &mut Vec<u8>,
    mut parse: impl FnMut(&[u8]) -> Result<Option<T>, E>,
) -> Result<T, Gathered<E>> {
    loop {
        if !front.is_empty()
            && let Some(parsed) = parse(front).map_err(Gathered::Refused)?
        {
            return Ok(parsed);
        }
        if read_more(wire, front).await.map_err(Gathered::Wire)? == 0 {
            return Err(Gathered::Cut);
        }
    }
}

/// Reads what is there to the end of `front`, waiting for the first byte without a buffer; 0 at the end.
///
/// It waits before it tries: a head is asked for right after something was sent, when nothing can have
/// come yet.
///
/// # Errors
/// What the pipe says.
pub async fn read_more<W: Wire>(wire: &W, front: &mut Vec<u8>) -> io::Result<usize> {
    if front.is_empty() {
        // A quiet connection holds no memory.
        *front = Vec::new();
    }
    loop {
        wire.readable().await?;
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let n = wire.try_read(&mut [io::IoSliceMut::new(scratch)])?;
            front.extend_from_slice(scratch.get(..n).unwrap_or_default());
            Ok::<usize, io::Error>(n)
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

thread_local! {
    // Where heads are read to before they are copied to memory of their own size.
    static SCRATCH: RefCell<[u8; READ_BYTES]> = const { RefCell::new([0; READ_BYTES]) };
}

/// Why no message was gathered.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed by nature: whoever matches must look at each"
)]
pub enum Gathered<E> {
    /// The side ended before the message was whole.
    Cut,
    /// The stream broke.
    Broken(StreamError),
    /// The pipe broke.
    Wire(io::Error),
    /// The parser refuses what came.
    Refused(E),
}

impl<E> From<StreamError> for Gathered<E> {
    fn from(error: StreamError) -> Self {
        Self::Broken(error)
    }
}

/// One read of a head. A typical one fits.
const READ_BYTES: usize = 4096;
