//! One direction between a byte pipe and a stream, without copying payload.
//!
//! Towards the stream, bytes are read by one scatter read straight into the slots in which they are
//! sealed; from it, slices of the opened block go out in one gather write. An [`HttpBody`] says where
//! a message ends; without one the direction is carried to its end.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;

use adit_proto::http::Body as HttpBody;
use adit_runtime::buffer::{Buffer, Class};
use adit_runtime::local::{Either, either};
use adit_transport::piece::{advance, copy_out, let_wait};
use adit_transport::{Piece, Received, Slot, Stream, Wire};

use crate::Broken;

/// How much a connection was worth reading at once: small rows for quiet ones, large for busy ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Appetite {
    // 0: one small slot; n: 2^(n-1) slots of a full record.
    level: u8,
}

impl Appetite {
    fn slots(self) -> usize {
        match self.level {
            0 => 1,
            n => 1 << (n - 1).min(4),
        }
    }

    fn class(self) -> Class {
        if self.level == 0 {
            Class::Small
        } else {
            Class::Record
        }
    }

    // A filled row asks for a larger one; a nearly empty one for a smaller.
    fn learn(&mut self, read: usize, room: usize) {
        if read >= room {
            self.level = (self.level + 2).min(LEVEL_MAX);
        } else if read < room / 8 {
            self.level = self.level.saturating_sub(1);
        }
    }
}

/// A message body that is read from a pipe.
#[derive(Debug)]
pub struct Reading<'a> {
    /// Where it ends.
    pub body: &'a mut HttpBody,
    /// Takes the bytes that were read behind it.
    pub spill: &'a mut Vec<u8>,
}

/// Carries bytes from `wire` to `stream`: all of them up to the end of the pipe when `message` is
/// `None`, else exactly one message body.
///
/// The stream is not finished here: who composed the message knows whether it has ended.
///
/// # Errors
/// [`Broken`].
pub fn wire_to_stream<W: Wire>(
    wire: &W,
    stream: &Stream,
    mut message: Option<Reading<'_>>,
) -> impl Future<Output = Result<(), Broken>> {
    async move {
        let mut appetite = Appetite::default();
        let mut eager = true;
        loop {
            if message.as_ref().is_some_and(|m| m.body.is_complete()) {
                return Ok(());
            }
            let credit = stream.credit().await?;
            if !eager {
                // Waits without a buffer; a stream that breaks meanwhile must not wait for the pipe.
                match either(wire.readable(), stream.broken_off()).await {
                    Either::Left(ready) => ready.map_err(Broken::Wire)?,
                    Either::Right(error) => return Err(error.into()),
                }
            }
            let wanted = message
                .as_ref()
                .and_then(|m| m.body.remaining())
                .and_then(|left| usize::try_from(left).ok())
                .map_or(credit, |left| left.min(credit));
            let mut row = Row::borrow(appetite, wanted);
            let read = match row.read(wire) {
                Ok(0) => {
                    return match message {
                        None => Ok(()),
                        Some(m) => m.body.on_close().map_err(|_cut| Broken::WireCut),
                    };
                }
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    eager = false;
                    continue;
                }
                Err(error) => return Err(Broken::Wire(error)),
            };
            eager = read == row.room;
            appetite.learn(read, row.room);
            let mut slots = row.filled(read);
            if let Some(m) = &mut message {
                keep_body(&mut slots, m.body, m.spill)?;
            }
            stream.send_row(slots.into_iter())?;
        }
    }
}

// Leaves in `slots` what belongs to the body; the rest goes to `spill`.
fn keep_body(
    slots: &mut Vec<Slot>,
    body: &mut HttpBody,
    spill: &mut Vec<u8>,
) -> Result<(), Broken> {
    let mut kept = 0;
    for slot in &mut *slots {
        if body.is_complete() {
            spill.extend_from_slice(slot.payload());
            continue;
        }
        let step = body.advance(slot.payload()).map_err(Broken::WireBody)?;
        if step.taken < slot.payload().len() {
            spill.extend_from_slice(slot.payload().get(step.taken..).unwrap_or_default());
            slot.fill(step.taken);
        }
        kept += usize::from(step.taken > 0);
    }
    slots.truncate(kept);
    Ok(())
}

// Slots to read into.
struct Row {
    slots: Vec<Slot>,
    room: usize,
}

impl Row {
    fn borrow(appetite: Appetite, wanted: usize) -> Self {
        let mut slots = Vec::with_capacity(appetite.slots());
        let mut room = 0;
        while room < wanted && slots.len() < appetite.slots() {
            let slot = Slot::new(Buffer::take(appetite.class()));
            room += slot.capacity();
            slots.push(slot);
        }
        Self {
            slots,
            room: room.min(wanted),
        }
    }

    fn read<W: Wire>(&mut self, wire: &W) -> io::Result<usize> {
        let mut left = self.room;
        let mut spaces: Vec<IoSliceMut<'_>> = Vec::with_capacity(self.slots.len());
        for slot in &mut self.slots {
            let space = slot.space();
            let length = space.len().min(left);
            left -= length;
            spaces.push(IoSliceMut::new(space.get_mut(..length).unwrap_or_default()));
        }
        wire.try_read(&mut spaces)
    }

    fn filled(mut self, read: usize) -> Vec<Slot> {
        let mut left = read;
        for slot in &mut self.slots {
            let length = slot.capacity().min(left);
            slot.fill(length);
            left -= length;
        }
        self.slots.retain(|slot| !slot.payload().is_empty());
        self.slots
    }
}

/// Carries bytes from `stream` to `wire`: all of them when `body` is `None`, else exactly one message
/// body. `pieces` holds what was received before, and afterwards what lies behind the body.
///
/// # Errors
/// [`Broken`].
pub fn stream_to_wire<W: Wire>(
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    wire: &W,
    mut body: Option<&mut HttpBody>,
) -> impl Future<Output = Result<(), Broken>> {
    async move {
        loop {
            if body.as_ref().is_some_and(|body| body.is_complete()) {
                return Ok(());
            }
            if pieces.is_empty() && stream.receive(pieces).await? == Received::Finished {
                return match body {
                    None => Ok(()),
                    Some(body) => body.on_close().map_err(|_cut| Broken::StreamCut),
                };
            }
            let mut ours = 0;
            match body.as_deref_mut() {
                None => ours = adit_transport::piece::total(pieces),
                Some(body) => {
                    for piece in pieces.iter() {
                        let step = body.advance(piece.bytes()).map_err(Broken::StreamBody)?;
                        ours += step.taken;
                        if step.complete || step.taken < piece.len() {
                            break;
                        }
                    }
                }
            }
            while !write_pieces(stream, pieces, &mut ours, wire)? {
                // A quiet conversation has no room for this wait; most have none when they are busy either.
                Box::pin(wait_for_room(stream, pieces, wire)).await?;
            }
        }
    }
}

// Writes of the first `left` bytes of `pieces` what the pipe takes, and gives their credit back; says whether all of
// them are gone.
fn write_pieces<W: Wire>(
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    left: &mut usize,
    wire: &W,
) -> Result<bool, Broken> {
    while *left > 0 {
        let mut gather = [IoSlice::new(&[]); GATHER_MAX];
        let mut count = 0;
        let mut offered = 0;
        for (place, piece) in gather.iter_mut().zip(pieces.iter()) {
            let length = piece.len().min(*left - offered);
            *place = IoSlice::new(piece.bytes().get(..length).unwrap_or_default());
            offered += length;
            count += 1;
            if offered == *left {
                break;
            }
        }
        match wire.try_write(gather.get(..count).unwrap_or_default()) {
            Ok(n) => {
                advance(pieces, n);
                *left -= n.min(*left);
                stream.consumed(n);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(Broken::Wire(error)),
        }
    }
    Ok(true)
}

// A reader that is as fast as the tunnel is waited for with the bytes where they lie. One that is not must
// not pin the tunnel's blocks: its bytes are copied out, those that arrive meanwhile as well.
async fn wait_for_room<W: Wire>(
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    wire: &W,
) -> Result<(), Broken> {
    let room = async {
        let_wait(pieces);
        if let Ok(ready) = adit_runtime::timer::timeout(STALLED_AFTER, wire.writable()).await {
            return ready;
        }
        copy_out(pieces);
        stream.stall(true);
        let ready = wire.writable().await;
        stream.stall(false);
        ready
    };
    match either(room, stream.broken_off()).await {
        Either::Left(ready) => ready.map_err(Broken::Wire),
        Either::Right(error) => Err(error.into()),
    }
}

/// A connection that takes nothing for so long counts as stalled.
const STALLED_AFTER: Duration = Duration::from_millis(50);
/// Pieces of one gather write.
const GATHER_MAX: usize = 64;
/// 2^4 full records: 256 KiB in one scatter read.
const LEVEL_MAX: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appetite_grows_with_full_rows_up_to_sixteen_records() {
        let mut appetite = Appetite::default();
        assert_eq!((appetite.slots(), appetite.class()), (1, Class::Small));
        for _ in 0..10 {
            appetite.learn(100, 100);
        }
        assert_eq!((appetite.slots(), appetite.class()), (16, Class::Record));
        for _ in 0..10 {
            appetite.learn(1, 100);
        }
        assert_eq!((appetite.slots(), appetite.class()), (1, Class::Small));
    }

    #[test]
    fn a_row_offers_no_more_than_the_credit() {
        let row = Row::borrow(Appetite { level: 5 }, 20_000);
        assert_eq!(row.room, 20_000);
        assert_eq!(row.slots.len(), 2);
    }
}
