//! The reading half of a link: one large read, opened in place, handed out in slices.
//!
//! What a slice means to its stream is not decided here; only whether it may stay in the block or must
//! be copied out, so that a stream that is stuck does not keep the block from being used again.

use std::io::{self, IoSliceMut};
use std::rc::Rc;
use std::task::Waker;

use adit_runtime::buffer::{self, Buffer, Class};
use adit_runtime::clock;
use adit_runtime::pace::yield_now;
use adit_tunnel::Event;

use super::{End, Ending, Link};
use crate::piece::{self, Piece};
use crate::wire::Wire;

impl Link {
    pub(super) async fn read(&self, leftover: Vec<u8>) {
        let mut events = Vec::new();
        let mut block: Option<Rc<Buffer>> = None;
        let mut filled = 0;
        // The socket was read to its end for now.
        let mut exhausted = true;
        // Bytes lie in the block that nobody has looked at.
        let mut unread = !leftover.is_empty();
        if unread {
            let mut first = Buffer::take(Class::Block);
            filled = leftover.len().min(first.len());
            if let (Some(to), Some(from)) = (first.get_mut(..filled), leftover.get(..filled)) {
                to.copy_from_slice(from);
            }
            block = Some(Rc::new(first));
        }
        drop(leftover);
        loop {
            if !unread {
                if exhausted {
                    if filled == 0 {
                        // A quiet tunnel holds no buffer.
                        block = None;
                    }
                    if let Err(error) = self.socket.readable().await {
                        self.end(Ending::Lost(error.to_string()));
                        return;
                    }
                }
                let current = writable_block(&mut block, filled);
                let room = current.len() - filled;
                match self.socket.try_read(&mut [IoSliceMut::new(
                    current.get_mut(filled..).unwrap_or_default(),
                )]) {
                    Ok(0) => {
                        self.peer_gone();
                        return;
                    }
                    Ok(n) => {
                        filled += n;
                        // A read that filled the block says that more is waiting.
                        exhausted = n < room;
                        self.core.borrow_mut().traffic.received_bytes +=
                            u64::try_from(n).unwrap_or(u64::MAX);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        exhausted = true;
                        continue;
                    }
                    Err(error) => {
                        self.end(Ending::Lost(error.to_string()));
                        return;
                    }
                }
            }
            unread = false;
            let Some(shared) = block.as_mut() else {
                continue;
            };
            events.clear();
            let received = match Rc::get_mut(shared).and_then(|bytes| bytes.get_mut(..filled)) {
                Some(bytes) => {
                    let mut core = self.core.borrow_mut();
                    core.turn += 1;
                    core.tunnel.receive(bytes, clock::now(), &mut events)
                }
                // `writable_block` has just made it ours alone.
                None => Ok(filled),
            };
            self.dispatch(&mut events, shared);
            let used = match received {
                Ok(used) => used.min(filled),
                Err(error) => {
                    self.fail(&error);
                    return;
                }
            };
            if self.core.borrow().tunnel.peer_has_closed() {
                self.flush();
                self.end(Ending::PeerClosed);
                return;
            }
            if self.core.borrow().tunnel.wants_write() {
                self.flusher.notify();
            }
            // The streams that got slices run now and give them back; then the block is ours again.
            yield_now().await;
            if used < filled {
                keep_rest(&mut block, used, filled);
            }
            filled -= used;
        }
    }

    fn dispatch(&self, events: &mut Vec<Event>, block: &Rc<Buffer>) {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        let turn = core.turn;
        for event in events.drain(..) {
            match event {
                Event::Opened(id) => {
                    core.ends.insert(
                        id,
                        Box::new(End {
                            fresh: turn,
                            ..End::default()
                        }),
                    );
                    core.incoming.push_back(id);
                    self.arrived.notify();
                }
                Event::Data { stream, range } => {
                    let bytes = range.len();
                    match core.ends.get_mut(&stream) {
                        Some(end) => {
                            if let Some(reader) = end.reader.take() {
                                end.fresh = turn;
                                reader.wake();
                            }
                            let may_wait =
                                !end.stalled && piece::may_pin(bytes, buffer::lent(Class::Block));
                            if end.fresh == turn || may_wait {
                                piece::push(
                                    &mut end.inbox,
                                    Piece::new(block, range.start, range.end),
                                );
                            } else {
                                // Its task is busy elsewhere, perhaps for long: it must not pin the block.
                                piece::append_copy(
                                    &mut end.inbox,
                                    block.get(range).unwrap_or_default(),
                                );
                            }
                        }
                        // Nobody holds the stream any more; the credit goes back all the same.
                        None => core.tunnel.consumed(stream, bytes, clock::now()),
                    }
                }
                Event::Finished(id) => {
                    if let Some(end) = core.ends.get_mut(&id) {
                        end.finished = true;
                        end.wake();
                    }
                }
                Event::Reset(id) => {
                    if let Some(end) = core.ends.get_mut(&id) {
                        end.reset = true;
                        end.wake();
                    }
                    core.openers.drain(..).for_each(Waker::wake);
                }
                Event::Writable(id) => {
                    if let Some(writer) = core.ends.get_mut(&id).and_then(|end| end.writer.take()) {
                        writer.wake();
                    }
                }
                Event::Acknowledged(id) => {
                    if let Some(end) = core.ends.get_mut(&id) {
                        end.unseen = false;
                    }
                    core.openers.drain(..).for_each(Waker::wake);
                }
                Event::WentAway(_) => {
                    core.draining = true;
                    self.changed.notify();
                }
            }
        }
    }
}

// The block to read into, ours alone, with its first `filled` bytes kept.
fn writable_block(block: &mut Option<Rc<Buffer>>, filled: usize) -> &mut Buffer {
    let usable = block
        .as_mut()
        .is_some_and(|shared| Rc::get_mut(shared).is_some());
    if !usable {
        let mut fresh = Buffer::take(Class::Block);
        if let Some(old) = block.as_ref()
            && let (Some(to), Some(from)) = (fresh.get_mut(..filled), old.get(..filled))
        {
            to.copy_from_slice(from);
        }
        *block = Some(Rc::new(fresh));
    }
    block
        .as_mut()
        .and_then(Rc::get_mut)
        .expect("a block that nobody shares was put there just now")
}

// Moves the beginning of a record to the front, into a new block when the old one is still read.
fn keep_rest(block: &mut Option<Rc<Buffer>>, used: usize, filled: usize) {
    if let Some(alone) = block.as_mut().and_then(Rc::get_mut) {
        alone.copy_within(used..filled, 0);
        return;
    }
    let mut fresh = Buffer::take(Class::Block);
    if let Some(old) = block.as_ref()
        && let (Some(to), Some(from)) = (fresh.get_mut(..filled - used), old.get(used..filled))
    {
        to.copy_from_slice(from);
    }
    *block = Some(Rc::new(fresh));
}
