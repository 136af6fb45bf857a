//! One stream of a link, as a task holds it.
//!
//! Credit is waited for before bytes are read, so nothing is read that cannot be sent. A stream
//! that is dropped before both directions ended is reset.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::Poll;

use adit_runtime::buffer::{Buffer, Class};
use adit_runtime::clock;
use adit_tunnel::StreamId;

use crate::Slot;
use crate::link::Link;
use crate::piece::{self, Piece, total};

/// A stream's two directions.
pub struct Stream {
    link: Rc<Link>,
    id: StreamId,
    // We said that we send no more.
    ended: Cell<bool>,
    // The peer said so, and all before it was taken.
    drained: Cell<bool>,
    // Received by the holder and not yet given back as consumed.
    taken: Cell<usize>,
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed by nature: whoever matches must look at each"
)]
pub enum Received {
    /// Bytes.
    Data,
    /// The peer sends no more; everything before was taken.
    Finished,
}

/// Why a stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed by nature: whoever matches must look at each"
)]
pub enum StreamError {
    /// The peer reset it, or we did.
    Reset,
    /// The peer reset it before anybody there looked at it: what it asked for was not begun.
    Unseen,
    /// Its tunnel ended.
    TunnelLost,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "stream was reset",
            Self::Unseen => "stream was refused unseen",
            Self::TunnelLost => "tunnel was lost",
        })
    }
}

impl std::error::Error for StreamError {}

impl Stream {
    pub(crate) fn new(link: Rc<Link>, id: StreamId) -> Self {
        Self {
            link,
            id,
            ended: Cell::new(false),
            drained: Cell::new(false),
            taken: Cell::new(0),
        }
    }

    /// Its number in the tunnel.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The tunnel it belongs to.
    #[must_use]
    pub fn link(&self) -> &Rc<Link> {
        &self.link
    }

    /// Waits until something may be sent; returns how many bytes.
    ///
    /// # Errors
    /// [`StreamError`] when nothing can be sent any more.
    pub async fn credit(&self) -> Result<usize, StreamError> {
        std::future::poll_fn(|cx| {
            self.link.with(|core| {
                if let Some(error) = self.broken(core) {
                    return Poll::Ready(Err(error));
                }
                let sendable = core.tunnel.sendable(self.id);
                if sendable > 0 {
                    return Poll::Ready(Ok(sendable));
                }
                match core.ends.get_mut(&self.id) {
                    Some(end) => {
                        end.writer = Some(cx.waker().clone());
                        Poll::Pending
                    }
                    None => Poll::Ready(Err(StreamError::Reset)),
                }
            })
        })
        .await
    }

    /// How many bytes may be sent now without waiting.
    #[must_use]
    pub fn sendable(&self) -> usize {
        self.link.with(|core| core.tunnel.sendable(self.id))
    }

    /// Queues one slot, within the credit; `fin` ends our direction with it.
    ///
    /// # Errors
    /// [`StreamError`] when the stream or its tunnel is gone, or the slot exceeds the credit (a bug).
    pub fn send(&self, slot: Slot, fin: bool) -> Result<(), StreamError> {
        if fin {
            self.ended.set(true);
        }
        self.queue(slot, fin, false)
    }

    /// Queues a row of slots, within the credit, which leave together.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_row(&self, slots: impl Iterator<Item = Slot>) -> Result<(), StreamError> {
        let mut slots = slots.peekable();
        while let Some(slot) = slots.next() {
            self.queue(slot, false, slots.peek().is_some())?;
        }
        Ok(())
    }

    fn queue(&self, slot: Slot, fin: bool, more: bool) -> Result<(), StreamError> {
        self.link.queue(self.id, slot, fin, more).map_err(|()| {
            self.link
                .with(|core| self.broken(core))
                .unwrap_or(StreamError::Reset)
        })
    }

    /// Sends all of `bytes`, copied into slots, waiting for credit as needed.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn send_bytes(&self, mut bytes: &[u8], fin: bool) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            let credit = self.credit().await?;
            let class = if bytes.len() + adit_tunnel::SLOT_OVERHEAD <= Class::Small.bytes() {
                Class::Small
            } else {
                Class::Record
            };
            let mut slot = Slot::new(Buffer::take(class));
            let offered = bytes.get(..credit.min(bytes.len())).unwrap_or_default();
            let taken = slot.append(offered);
            bytes = bytes.get(taken..).unwrap_or_default();
            self.send(slot, fin && bytes.is_empty())?;
        }
        if fin && !self.ended.get() {
            self.finish();
        }
        Ok(())
    }

    /// Ends our direction after what is queued.
    pub fn finish(&self) {
        if !self.ended.replace(true) {
            self.link.with(|core| core.tunnel.finish(self.id));
            self.link.wants_flush();
        }
    }

    /// Ends both directions now; what is queued is dropped.
    pub fn reset(&self) {
        self.link.with(|core| {
            core.tunnel.reset(self.id);
            if let Some(end) = core.ends.get_mut(&self.id) {
                end.reset = true;
                end.inbox.clear();
            }
        });
        self.link.wants_flush();
    }

    /// Waits for bytes and appends them to `into`.
    ///
    /// # Errors
    /// [`StreamError`]; bytes that came before a reset are lost with it, as yamux says.
    pub async fn receive(&self, into: &mut VecDeque<Piece>) -> Result<Received, StreamError> {
        std::future::poll_fn(|cx| {
            self.link.with(|core| {
                let lost = core.ending().is_some();
                let Some(end) = core.ends.get_mut(&self.id) else {
                    return Poll::Ready(Err(StreamError::Reset));
                };
                if !end.inbox.is_empty() {
                    let bytes = total(&end.inbox);
                    self.taken.set(self.taken.get() + bytes);
                    if into.is_empty() {
                        std::mem::swap(into, &mut end.inbox);
                    } else {
                        into.append(&mut end.inbox);
                    }
                    return Poll::Ready(Ok(Received::Data));
                }
                if end.finished {
                    self.drained.set(true);
                    return Poll::Ready(Ok(Received::Finished));
                }
                if end.reset {
                    return Poll::Ready(Err(if lost {
                        StreamError::TunnelLost
                    } else {
                        end.reset_error()
                    }));
                }
                // One of the two rows keeps room for one; the other would keep it for nothing.
                piece::rest(&mut end.inbox);
                if into.is_empty() {
                    *into = VecDeque::new();
                }
                end.reader = Some(cx.waker().clone());
                Poll::Pending
            })
        })
        .await
    }

    /// Says whether the holder takes nothing for a while: what arrives meanwhile is copied, so that it
    /// does not keep the tunnel's blocks from being used again.
    pub fn stall(&self, stalled: bool) {
        self.link.with(|core| {
            if let Some(end) = core.ends.get_mut(&self.id) {
                end.stalled = stalled;
                if stalled {
                    piece::copy_out(&mut end.inbox);
                }
            }
        });
    }

    /// Whether bytes or an end wait to be received.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.link.with(|core| {
            core.ends
                .get(&self.id)
                .is_none_or(|end| !end.inbox.is_empty() || end.finished || end.reset)
        })
    }

    /// Waits until the stream is reset or its tunnel ends.
    pub async fn broken_off(&self) -> StreamError {
        std::future::poll_fn(|cx| {
            self.link.with(|core| {
                if let Some(error) = self.broken(core) {
                    return Poll::Ready(error);
                }
                if let Some(end) = core.ends.get_mut(&self.id) {
                    end.writer = Some(cx.waker().clone());
                }
                Poll::Pending
            })
        })
        .await
    }

    /// `bytes` of what was received have gone on: the peer may send as many more.
    pub fn consumed(&self, bytes: usize) {
        let bytes = bytes.min(self.taken.get());
        self.taken.set(self.taken.get() - bytes);
        let wants = self.link.with(|core| {
            core.tunnel.consumed(self.id, bytes, clock::recent());
            core.tunnel.wants_write()
        });
        if wants {
            self.link.wants_flush();
        }
    }

    fn broken(&self, core: &crate::link::Core) -> Option<StreamError> {
        if core.ending().is_some() {
            return Some(StreamError::TunnelLost);
        }
        match core.ends.get(&self.id) {
            Some(end) if end.reset => Some(end.reset_error()),
            Some(_) => None,
            None => Some(StreamError::Reset),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.id)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let wants = self.link.with(|core| {
            let end = core.ends.remove(&self.id);
            let drained =
                self.drained.get() || end.is_some_and(|end| end.finished && end.inbox.is_empty());
            if self.ended.get() && drained {
                // What the holder dropped unread no longer counts against the tunnel.
                if self.taken.get() > 0 {
                    core.tunnel
                        .consumed(self.id, self.taken.get(), clock::recent());
                }
            } else {
                core.tunnel.reset(self.id);
            }
            core.tunnel.wants_write()
        });
        if wants {
            self.link.wants_flush();
        }
    }
}
